"""Find errors that torch raises only during training, before the run folder is created."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlrun.data.dataset import REGRESSION
from mlrun.errors import MlrunError
from mlrun.training.batches import batch_sizes
from mlrun.training.objective import Objective
from mlrun.training.torch_private import import_optimizers_without_compiler, will_step


def rehearse(
    objective: Objective,
    make_optimizer: Callable[..., Optimizer],
    make_scheduler: Callable[..., LRScheduler],
) -> None:
    """Try loss, optimizer and scheduler on dummy data.

    Raises:
        MlrunError: with torch's message.
    """
    rows = 2
    with _refused_as("loss"):
        outputs = torch.zeros(rows, objective.out_features, requires_grad=True)
        targets = torch.zeros(rows, 1) if objective.spec.kind == REGRESSION else torch.arange(rows)
        loss = objective.loss_of(outputs, objective.encode(targets))
    _check_loss(type(objective.loss).__name__, loss)
    optimizer = _dummy(make_optimizer)
    if optimizer.param_groups[0]["lr"] <= 0:
        raise MlrunError(f"optimizer.lr={optimizer.param_groups[0]['lr']}: must be more than 0")
    scheduler = make_scheduler(optimizer)
    with _refused_as("optimizer or scheduler"):
        will_step(optimizer)
        one_step(scheduler)


def _check_loss(name: str, loss: object) -> None:
    """Check what the user's own loss returned.

    Raises:
        MlrunError: it is not a number with a gradient.
    """
    if not isinstance(loss, torch.Tensor) or loss.dim():
        shape = f" of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else ""
        raise MlrunError(
            f"loss: {name} must return one number, the mean over the rows, not "
            f"{type(loss).__name__}{shape}"
        )
    if not loss.requires_grad:
        raise MlrunError(f"loss: {name} returns a number without a gradient; use torch's functions")


def rehearse_step(make_optimizer: Callable[..., Optimizer]) -> None:
    """Try a step of torch's optimizer on a dummy weight; the kernel's optimizers never fail.

    Raises:
        MlrunError: with torch's message.
    """
    optimizer = _dummy(make_optimizer)
    with _refused_as("optimizer or scheduler"):
        optimizer.step()


def _dummy(make_optimizer: Callable[..., Optimizer]) -> Optimizer:
    """Build the optimizer for a single weight."""
    import_optimizers_without_compiler()
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    return make_optimizer([weight])


@contextmanager
def _refused_as(what: str) -> Iterator[None]:
    """Turn torch's errors into user errors."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise MlrunError(f"{what}: {error}") from error


def one_step(scheduler: LRScheduler) -> None:
    """Step a scheduler once, to see whether it works."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(0.0)
    else:
        scheduler.step()


def check_batch_norm(model: nn.Module, rows: int, batch_size: int) -> None:
    """Raise MlrunError for batch norm with batches of one row, which have no variance."""
    normed = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    if normed and min(batch_sizes(rows, batch_size)) == 1:
        raise MlrunError(
            f"model.norm=batch needs batches of at least 2 rows (trainer.batch_size={batch_size}, "
            f"{rows} training rows); set model.norm=none"
        )
