"""Train one model in a process group (`torchrun`): each process computes a share of every batch.

The gradients are summed before each step, so every process takes the same step as a single process
would; row order, dropout and batch norm statistics are those of the whole batch. All processes have
the same numbers at any time, and only rank 0 writes files.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlrun.errors import MlrunError
from mlrun.models.dropout import Dropout
from mlrun.system import processes
from mlrun.system.device import choose_device
from mlrun.system.signals import Interrupted
from mlrun.training.torch_private import BatchNorm
from mlrun.training.types import Outputs

CPU = torch.device("cpu")
STEPS_BETWEEN = 20  # asking the other processes whether to stop makes a GPU wait


@dataclass(frozen=True)
class ProcessGroup:
    """A process's view of the process group; size 1 without torchrun."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU  # device of the tensors that processes exchange

    def share(self, rows: int) -> slice:
        """Return this process's slice of `rows` rows; the slices in rank order cover all rows."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors with their sums over all processes."""
        whole = torch.cat([tensor.flatten() for tensor in tensors]).to(self.device)
        dist.all_reduce(whole)
        parts = torch.split(whole, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def outputs(self, outputs_of: Outputs) -> Outputs:
        """Share the computation of outputs; every process gets the outputs of all rows."""

        def together(model: nn.Module, inputs: Tensor) -> Tensor:
            mine = self.share(len(inputs))
            outputs = outputs_of(model, inputs[mine])
            whole = outputs.new_zeros(len(inputs), outputs.shape[1])
            whole[mine] = outputs
            self.add_up([whole])
            return whole

        return together if self.size > 1 else outputs_of

    def stop(self, stop: Callable[[], None]) -> Callable[[], None]:
        """Return a function that raises in all processes at one step if `stop` raises in any."""
        steps = itertools.count(1)

        def stop_together() -> None:
            if next(steps) % STEPS_BETWEEN == 0 and (number := self._largest(_signal_number(stop))):
                raise Interrupted(int(number))

        return stop_together if self.size > 1 else stop

    def clock(self) -> float:
        """Return the time in seconds, equal in all processes."""
        now = time.perf_counter()
        return self._largest(now) if self.size > 1 else now

    def _largest(self, value: float) -> float:
        found = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.item()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Let rank 0 run this block before the other processes do (it may create files)."""
        if self.rank:
            dist.barrier()
        yield
        if self.size > 1 and not self.rank:
            dist.barrier()

    def start_dropout_at(self, model: nn.Module, first: int) -> None:
        """Set the dropout masks to those of the rows from `first` on, in the order of the epoch."""
        for layer in model.modules() if self.size > 1 else ():
            if isinstance(layer, Dropout):
                layer.counters[2] = first

    def share_statistics(self, model: nn.Module) -> None:
        """Make batch norm use mean and variance of the whole batch."""
        for layer in model.modules() if self.size > 1 else ():
            if isinstance(layer, BatchNorm):
                layer.forward = partial(_normed, layer)  # type: ignore[method-assign]


ALONE = ProcessGroup()
_joined: list[ProcessGroup] = []


def process_group() -> ProcessGroup:
    """Return the process group of this process, or ALONE."""
    return _joined[-1] if _joined else ALONE


@contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Join the process group of torchrun, if there is one.

    Args:
        device: a name for `choose_device`.

    Raises:
        MlrunError: the device does not exist, or another process ended.
    """
    if processes.size() == 1:
        yield ALONE
        return
    try:
        _joined.append(_met(choose_device(device)))
        with lost_process_explained():
            yield _joined[-1]
    finally:
        _joined.clear()
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def lost_process_explained() -> Iterator[None]:
    """Turn torch's errors about a lost connection into a message for users.

    Raises:
        MlrunError: another process ended.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        gone = "another process of this run ended; see its error message, or it was killed"
        raise MlrunError(gone) from error


def _met(device: torch.device) -> ProcessGroup:
    """Wait for all processes and return the group; GPUs communicate directly."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dist.init_process_group("nccl")
        return ProcessGroup(dist.get_rank(), dist.get_world_size(), device)
    dist.init_process_group("gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def _signal_number(stop: Callable[[], None]) -> float:
    """Return the number of a received signal, or 0."""
    try:
        stop()
    except Interrupted as error:
        return error.exit_code - 128
    return 0


# --- batch norm; torch's SyncBatchNorm does not support CPUs ---


class _Sum(torch.autograd.Function):
    """The sum over all processes; the backward pass sums the gradients."""

    @staticmethod
    def forward(_: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        whole = gradient.clone()
        dist.all_reduce(whole)
        return whole


def _normed(layer: BatchNorm, inputs: Tensor) -> Tensor:
    """Compute batch norm with the statistics over the rows of all processes."""
    if not layer.training:
        return type(layer).forward(layer, inputs)
    rows = inputs.float().movedim(1, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    count = _summed(rows.new_tensor([len(rows)]))
    mean = _summed(rows.sum(dim=0)) / count
    variance = _summed((rows - mean).square().sum(dim=0)) / count
    if layer.running_mean is not None and layer.running_var is not None:
        _follow(layer, mean.detach(), (variance * count / (count - 1)).detach())
    shape = [1, -1] + [1] * (inputs.dim() - 2)
    scaled = (inputs - mean.view(shape)) * (variance + layer.eps).rsqrt().view(shape)
    if layer.affine:
        scaled = scaled * layer.weight.view(shape) + layer.bias.view(shape)
    return scaled


def _summed(part: Tensor) -> Tensor:
    whole: Tensor = _Sum.apply(part)  # type: ignore[no-untyped-call]
    return whole


def _follow(layer: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics as torch does."""
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    step = layer.momentum if layer.momentum is not None else 1 / layer.num_batches_tracked.item()
    for running, now in ((layer.running_mean, mean), (layer.running_var, variance)):
        assert running is not None
        running.lerp_(now, step)
