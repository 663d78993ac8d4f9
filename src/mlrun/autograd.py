"""The autograd engine: any model, on any device, one optimizer step after another."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mlrun.config import Trainer
from mlrun.data.batches import row_order
from mlrun.device import counter_seed
from mlrun.engine import (
    Epoch,
    Features,
    Learner,
    Member,
    Progress,
    advance_step,
    diverged,
    step_sizes,
)
from mlrun.errors import Diverged
from mlrun.models.dropout import begin_epoch
from mlrun.objective import penalty

# Rows scored at once, whatever the batch size, the last few filled up with zeros: a matrix product
# of another size may round differently (and on some processors one row than the next). On a CPU
# the activations of more images leave the cache (1,024 at once took four times as long as 128).
ROWS_AT_ONCE, IMAGES_AT_ONCE = 256, 128


class Autograd:
    """torch's own gradients and optimizers."""

    name = "autograd"

    def begin(self, members: Sequence[Member]) -> None:
        """Nothing to prepare: torch has everything."""

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """One pass over each member's training rows, one member after another."""
        return [self._train_member(member, stop) for member in members]

    def _train_member(self, member: Member, stop: Callable[[], None]) -> Epoch | Diverged:
        try:
            return Epoch(self._pass(member, stop))
        except Diverged as error:
            return error

    def _pass(self, member: Member, stop: Callable[[], None]) -> float:
        learner, trainer, progress = member.learner, member.trainer, member.progress
        learner.model.train()
        torch.manual_seed(counter_seed(member.seed, progress.epoch))  # for modules of users' own
        rows, device = len(member.train.inputs), member.train.inputs.device
        order = row_order(rows, seed=member.seed, epoch=progress.epoch, shuffle=trainer.shuffle)
        order = order.to(device)
        begin_epoch(learner.model, member.seed, progress.epoch)
        total, seen = torch.zeros((), device=device), 0
        for sizes in step_sizes(rows, trainer):
            batches = torch.split(order[seen : seen + sum(sizes)], sizes)
            total += train_step(learner, member.train, batches, trainer, progress)
            seen += sum(sizes)
            progress.step += 1
            advance_step(learner.scheduler)
            stop()
        return total.item() / seen


def outputs_by_torch(model: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    """The model's outputs (n, out_features), float32 on the CPU, so many rows at a time."""
    model.eval()
    size = IMAGES_AT_ONCE if inputs.dim() == 4 else ROWS_AT_ONCE
    with torch.inference_mode(), autocast(inputs.device, precision):
        parts = [model(_filled(part, size)).float().cpu() for part in torch.split(inputs, size)]
    return torch.cat(parts)[: len(inputs)]


def train_step(
    learner: Learner,
    train: Features,
    batches: Sequence[Tensor],
    trainer: Trainer,
    progress: Progress,
) -> Tensor:
    """One optimizer step over a group of batches; the sum of their rows' losses."""
    rows = sum(map(len, batches))
    total = torch.zeros((), device=train.inputs.device)
    learner.optimizer.zero_grad()
    for batch in batches:
        with autocast(train.inputs.device, trainer.precision):
            outputs = learner.model(train.inputs[batch])
        loss = learner.objective.loss(outputs.float(), train.targets[batch])
        (loss * (len(batch) / rows)).backward()  # as one large batch would
        total += loss.detach() * len(batch)
    if trainer.l1 or trainer.l2:
        penalty(learner.model, l1=trainer.l1, l2=trainer.l2).backward()  # type: ignore[no-untyped-call]
    norm = _clip(learner.model, trainer)
    if not torch.isfinite(total + norm):  # asked once a step: an answer from a GPU takes time
        what = "the training loss" if not torch.isfinite(total) else "the norm of the gradients"
        value = (norm if torch.isfinite(total) else total / rows).item()
        raise diverged(what, value, progress)
    learner.optimizer.step()
    return total


def _clip(model: nn.Module, trainer: Trainer) -> Tensor:
    """Clip as the trainer says; the norm of all gradients together, before it was clipped."""
    if trainer.clip_value is not None:
        nn.utils.clip_grad_value_(model.parameters(), trainer.clip_value)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm: Tensor = nn.utils.get_total_norm(gradients)
    if trainer.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), trainer.clip_norm, norm)
    return norm


def _filled(part: Tensor, size: int) -> Tensor:
    """With rows of zeros at the end, up to `size` rows."""
    missing = size - len(part)
    return torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 where the trainer asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
