"""Lightning: minimal, or with `--template` configured like lightning-hydra-template."""

import logging
import tempfile
import warnings
from typing import Any

import torch
from contestant import Heat, Laps, answer, heat
from in_torch import loss_of, network, optimizer_of, tensors
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    EarlyStopping,
    ModelCheckpoint,
    ModelSummary,
    RichProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection, MinMetric

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Module(LightningModule):
    """The network; for the template with its metrics."""

    def __init__(self, job: Heat, *, template: bool) -> None:
        super().__init__()
        self.net, self.criterion, self.job = network(job.job), loss_of(job.job), job.job
        self.laps = Laps()
        self.template = template
        if template:
            self.means = MetricCollection({"of_train": MeanMetric(), "of_valid": MeanMetric()})
            self.best = MinMetric()

    def training_step(self, batch: Any, _: int) -> Any:
        """Train on one batch."""
        loss = self.criterion(self.net(batch[0]), batch[1])
        if self.template:
            self.means["of_train"](loss)
            self._show("train/loss", self.means["of_train"])
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Validate one batch."""
        loss = self.criterion(self.net(batch[0]), batch[1])
        if self.template:
            self.means["of_valid"](loss, weight=len(batch[0]))
            self._show("valid/mean", self.means["of_valid"])
        self._show("valid/loss", loss)

    def _show(self, name: str, value: Any) -> None:
        self.log(name, value, on_step=False, on_epoch=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Record the loss and update the best one."""
        self.laps.add(float(self.trainer.callback_metrics["valid/loss"]))
        if self.template:
            self.best(self.means["of_valid"].compute())
            self.log("valid/best", self.best.compute(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return SGD."""
        return optimizer_of(self.job, self.net)


def trainer(job: Heat, *, template: bool) -> Trainer:
    """Return a trainer like the template's, or one with checkpoint and TensorBoard only."""
    folder = tempfile.mkdtemp()
    best = ModelCheckpoint(folder, monitor="valid/loss", save_last=template)
    extras = [EarlyStopping("valid/loss", patience=10**6), ModelSummary(-1), RichProgressBar()]
    return Trainer(
        max_epochs=job.epochs,
        accelerator="cpu",
        devices=1,
        num_sanity_val_steps=0,
        log_every_n_steps=50 if template else 10**9,
        default_root_dir=folder,
        logger=TensorBoardLogger(folder),
        callbacks=[best, *(extras if template else [])],
        enable_progress_bar=template,
        enable_model_summary=template,
    )


def main() -> None:
    """Train."""
    job = heat("template")
    inputs, targets, valid_inputs, valid_targets = tensors(job)
    size = job.job.batch
    train = DataLoader(TensorDataset(inputs, targets), batch_size=size, shuffle=True)
    valid = DataLoader(TensorDataset(valid_inputs, valid_targets), batch_size=size)
    module = Module(job, template=bool(job.options.template))
    runner = trainer(job, template=bool(job.options.template))
    torch.manual_seed(0)
    runner.fit(module, train, valid)
    answer(job, module.laps.seconds, module.laps.losses)


if __name__ == "__main__":
    main()
