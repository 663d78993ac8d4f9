"""One model trained by several processes (`torchrun`): each computes its share of every batch.

Gradients are added up before a step is taken, so that every process takes the step that one alone
would have taken; rows, dropout and the statistics of batch norm are those of the whole batch. All
hold the same numbers at any time, and only the first one writes them down.
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

CPU = torch.device("cpu")
STEPS_BETWEEN = 20  # asking the others whether to stop makes a GPU wait
Outputs = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run, as one of them sees them; without torchrun it is alone."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU  # where what they exchange must be

    def share(self, rows: int) -> slice:
        """This process's part of so many rows; the parts in order are all of them."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors by their sums over all processes."""
        whole = torch.cat([tensor.flatten() for tensor in tensors]).to(self.device)
        dist.all_reduce(whole)
        parts = torch.split(whole, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def outputs(self, outputs_of: Outputs) -> Outputs:
        """What a model says of rows, each row asked for by one process and known to all."""

        def together(model: nn.Module, inputs: Tensor) -> Tensor:
            mine = self.share(len(inputs))
            said = outputs_of(model, inputs[mine])
            whole = said.new_zeros(len(inputs), said.shape[1])
            whole[mine] = said
            self.add_up([whole])
            return whole

        return together if self.size > 1 else outputs_of

    def stop(self, stop: Callable[[], None]) -> Callable[[], None]:
        """A function that raises in all processes at the same step, once `stop` does in one."""
        steps = itertools.count(1)

        def stop_together() -> None:
            if next(steps) % STEPS_BETWEEN == 0 and (number := self._largest(_asked(stop))):
                raise Interrupted(int(number))

        return stop_together if self.size > 1 else stop

    def clock(self) -> float:
        """Seconds, the same in all processes."""
        now = time.perf_counter()
        return self._largest(now) if self.size > 1 else now

    def _largest(self, value: float) -> float:
        found = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.item()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first process goes through this block before the others do (it may make files)."""
        if self.rank:
            dist.barrier()
        yield
        if self.size > 1 and not self.rank:
            dist.barrier()

    def take_places(self, model: nn.Module, first: int) -> None:
        """Dropout masks are those of the rows from this one on, counted in the epoch's order."""
        for layer in model.modules() if self.size > 1 else ():
            if isinstance(layer, Dropout):
                layer.counters[2] = first

    def share_statistics(self, model: nn.Module) -> None:
        """Batch norm by the mean and variance of the whole batch."""
        for layer in model.modules() if self.size > 1 else ():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.forward = partial(_normed, layer)  # type: ignore[method-assign]


ALONE = ProcessGroup()
_joined: list[ProcessGroup] = []


def process_group() -> ProcessGroup:
    """That of this process, if it has joined one."""
    return _joined[-1] if _joined else ALONE


@contextmanager
def joined(device: str) -> Iterator[ProcessGroup]:
    """Meet the other processes that torchrun started, if there are any.

    Args:
        device: as `choose_device` takes it.

    Raises:
        MlrunError: no such device; another process left.
    """
    if processes.size() == 1:
        yield ALONE
        return
    try:
        place = choose_device(device)
        _joined.append(_met(place))
        with lost_process_explained():
            yield _joined[-1]
    finally:
        _joined.clear()
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def lost_process_explained() -> Iterator[None]:
    """What torch says of a connection to another process that is gone, in the user's words.

    Raises:
        MlrunError: instead.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        gone = "another process of this run ended: it says why, or it was killed"
        raise MlrunError(gone) from error


def _met(place: torch.device) -> ProcessGroup:
    """The team, once all are there; on GPUs they exchange what they know directly."""
    if place.type == "cuda":
        torch.cuda.set_device(place)
        dist.init_process_group("nccl")
        return ProcessGroup(dist.get_rank(), dist.get_world_size(), place)
    dist.init_process_group("gloo")
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def _asked(stop: Callable[[], None]) -> float:
    """The signal's number, if one has come."""
    try:
        stop()
    except Interrupted as error:
        return error.exit_code - 128
    return 0


# --- batch norm; torch's SyncBatchNorm does without CPUs ---


class _Sum(torch.autograd.Function):
    """The sum over all processes, to each of which all gradients flow back."""

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


def _normed(layer: nn.modules.batchnorm._BatchNorm, inputs: Tensor) -> Tensor:
    """What the layer would say of these rows among those of the other processes."""
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


def _follow(layer: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics, as torch does."""
    assert layer.num_batches_tracked is not None
    layer.num_batches_tracked += 1
    step = layer.momentum if layer.momentum is not None else 1 / layer.num_batches_tracked.item()
    for running, now in ((layer.running_mean, mean), (layer.running_var, variance)):
        assert running is not None
        running.lerp_(now, step)
