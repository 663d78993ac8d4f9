"""skorch as in its documentation: print log, checkpoint, TensorBoard, predefined split."""

import tempfile

import torch
from contestant import Heat, Laps, answer, heat
from in_torch import loss_of, network
from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, TensorBoard
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch.utils.tensorboard import SummaryWriter


class Lap(Callback):
    """Records the end of each epoch."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """Record the end of an epoch."""
        self.laps.add(net.history[-1, "valid_loss"])


def net(job: Heat, laps: Laps) -> NeuralNet:
    """Return the estimator."""
    folder = tempfile.mkdtemp()
    return NeuralNet(
        network(job.job),
        criterion=type(loss_of(job.job)),
        optimizer=torch.optim.SGD,
        optimizer__momentum=job.job.momentum,
        lr=job.job.rate,
        batch_size=job.job.batch,
        max_epochs=job.epochs,
        iterator_train__shuffle=True,
        train_split=predefined_split(Dataset(job.valid.inputs, job.valid.targets)),
        callbacks=[Checkpoint(dirname=folder), TensorBoard(SummaryWriter(folder)), Lap(laps)],
    ).initialize()


if __name__ == "__main__":
    this, those = heat(), Laps()
    net(this, those).partial_fit(this.train.inputs, this.train.targets)
    answer(this, those.seconds, those.losses)
