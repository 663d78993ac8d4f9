"""Compute the epochs of one member, several of them ahead of time.

The number of an epoch determines its row order and dropout, and with most schedules its learning
rates. So several small epochs can be computed in one call, into separate tensors; when the training
loop reaches an epoch, its state is copied into torch's tensors. If the schedule's rates then differ
from the predicted ones, the epochs are computed again.
"""

import ctypes
import itertools
import math
from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Adagrad, Adam, RMSprop

from mlrun.errors import Diverged
from mlrun.models.dropout import epoch_keys
from mlrun.system.seams import Place, reached
from mlrun.training.batches import row_order
from mlrun.training.engines.base import Epoch
from mlrun.training.engines.native import interface
from mlrun.training.engines.native.forecast import Forecast, Rates, rates_of
from mlrun.training.engines.native.network import Network, kept_moments, network_of, training_plan
from mlrun.training.schedule import step_sizes, validates
from mlrun.training.torch_private import move_into, will_step
from mlrun.training.types import Learner, Member, diverged

A_THREAD = 3_000_000  # multiplications per step that make one more thread worthwhile


@dataclass(frozen=True)
class NetworkState:
    """The state at the end of an epoch: torch's own tensors, or a copy computed ahead."""

    numbers: Tensor  # all parameters, then all first moments, then all second ones
    outputs: Tensor | None = None  # (n, out_features) for the validation rows


class Lookahead:
    """The epochs of a member that are computed ahead or in progress.

    Args:
        member: the member; a new optimizer gets its state here.
        threads: maximum number of threads for a step.
    """

    def __init__(self, member: Member, threads: int) -> None:
        learner = member.learner
        self.member, self.network = member, network_of(learner.model)
        self.plan = training_plan(self.network, learner, member.trainer)
        self.sizes = [sum(s) for s in step_sizes(len(member.train.inputs), member.trainer)]
        step = 3 * self.network.multiply_adds * max(self.sizes)
        self._threads = max(1, min(threads, step // A_THREAD))
        self._own, self._counters = _own_state(self.network, learner)
        self._valid = member.valid.inputs.contiguous()
        self._rates = Rates([], [])
        self._forecast: Forecast | None = None
        self._ahead: deque[_PlannedEpoch] = deque()  # computed epochs, the next one first
        self._under_way: list[_PlannedEpoch] = []
        self._start = self._own  # where the job starts; must exist as long as the job
        self.job: interface.TrainingJob | None = None  # the job in the kernel, if any

    @property
    def work(self) -> int:
        """Number of multiplications in an epoch, forward and backward."""
        return 3 * self.network.multiply_adds * sum(self.sizes)

    @property
    def memory(self) -> int:
        """Bytes that an epoch needs: its final state and outputs, and its row order."""
        outputs = len(self._valid) * self.network.sizes[-1]
        return 4 * (self._own.numbers.numel() + outputs) + 8 * len(self.member.train.inputs)

    @property
    def ready(self) -> bool:
        """Whether the next epoch has been computed."""
        return bool(self._ahead)

    @property
    def left(self) -> int:
        """Number of further epochs that are needed, whatever the validation scores are."""
        if self._ahead and self._ahead[-1].error:
            return 0
        progress, trainer = self.member.progress, self.member.trainer
        last = trainer.epochs
        if trainer.patience is not None:
            last = min(last, (progress.improved_epoch or progress.epoch) + trainer.patience)
        last = min(last, self.member.until or last)
        return last - (progress.epoch - 1 + len(self._ahead) + len(self._under_way))

    def begin_epoch(self) -> bool:
        """Advance the schedule by an epoch; return whether its rates are those predicted."""
        learner = self.member.learner
        self._rates = rates_of(learner.scheduler, learner.optimizer, len(self.sizes))
        known = [*self._ahead, *self._under_way]
        return not known or known[0].rates == self._rates

    def forget(self) -> None:
        """Discard the epochs that were computed ahead."""
        self._ahead.clear()
        self._forecast = None

    def epochs(self, count: int) -> interface.TrainingJob:
        """Return a job for the next `count` epochs, or for as many as are needed, at least one."""
        count = max(1, min(count, self.left))
        self._start = self._ahead[-1].state if self._ahead else self._own
        numbers = self._own.numbers.new_empty(count, self._own.numbers.numel())
        outputs = self._valid.new_empty(count, len(self._valid), self.network.sizes[-1])
        for room in zip(numbers, outputs, strict=True):
            self._under_way.append(self._next_epoch(NetworkState(*room)))
        return self._job(most=len(self.sizes))

    def steps(self, multiplications: int) -> interface.TrainingJob:
        """Return a job for the next steps of the current epoch, directly in torch's tensors."""
        if not self._under_way:
            self._start = self._own
            self._under_way.append(self._next_epoch(self._own))
        work = 3 * self.network.multiply_adds * max(self.sizes)
        return self._job(most=max(1, multiplications // work))

    def take_in(self) -> None:
        """Take the results of the finished job."""
        job, self.job = self.job, None
        assert job
        for number in range(job.count):
            epoch = self._under_way[0]
            epoch.take_in(job.epochs[number])
            if epoch.finished:
                self._ahead.append(self._under_way.pop(0))
            if epoch.error:
                self._under_way.clear()
                break

    def take(self) -> Epoch | Diverged:
        """Return the next epoch, and copy its weights and moments into torch's tensors."""
        reached(Place.KERNEL_STATE_TAKEN)
        epoch, progress = self._ahead.popleft(), self.member.progress
        if epoch.state is not self._own:
            self._own.numbers.copy_(epoch.state.numbers)
        progress.step += epoch.done
        for counter in self._counters:
            counter.fill_(progress.step)
        if epoch.error:
            return diverged(*epoch.error, progress, self.member.learner)
        return Epoch(epoch.loss / epoch.rows, epoch.outputs)

    def _next_epoch(self, state: NetworkState) -> "_PlannedEpoch":
        """Return the next epoch to compute; rates after the current epoch are predicted."""
        before = len(self._ahead) + len(self._under_way)
        rates = self._rates
        if before:
            self._forecast = self._forecast or Forecast(self.member.learner)
            rates = self._forecast.next_epoch(len(self.sizes))
        return _PlannedEpoch(self, self.member.progress.epoch + before, rates, state)

    def _job(self, *, most: int) -> interface.TrainingJob:
        """Return a job for the epochs in progress, with at most `most` steps of each."""
        steps_before = self.member.progress.step + len(self._ahead) * len(self.sizes)
        epochs = (interface.EpochJob * len(self._under_way))()
        for number, epoch in enumerate(self._under_way):
            before = steps_before + number * len(self.sizes)
            epoch.describe(epochs[number], steps_before=before, most=most)
        self.job = interface.TrainingJob(
            plan=ctypes.pointer(self.plan),
            state=self._start.numbers.data_ptr(),
            inputs=self.member.train.inputs.data_ptr(),
            targets=self.member.train.targets.data_ptr(),
            valid_inputs=self._valid.data_ptr(),
            valid_rows=len(self._valid),
            epochs=epochs,
            count=len(epochs),
            threads=self._threads,
        )
        return self.job


class _PlannedEpoch:
    """One epoch: row order, steps, and progress."""

    def __init__(
        self, lookahead: Lookahead, number: int, rates: Rates, state: NetworkState
    ) -> None:
        member, network = lookahead.member, lookahead.network
        self.rates, self.state = rates, state
        self.loss, self.rows, self.done = 0.0, 0, 0
        self.error: tuple[str, float] | None = None
        self.outputs = state.outputs if validates(number, member.trainer) else None
        self._sizes = lookahead.sizes
        rows, seed, shuffle = len(member.train.inputs), member.seed, member.trainer.shuffle
        self._order = row_order(rows, seed=seed, epoch=number, shuffle=shuffle)
        layers = len(network.sizes)
        keys = epoch_keys(seed, number, layers) if network.dropout else ()
        self._keys = (ctypes.c_uint64 * layers)(*keys)

    @property
    def finished(self) -> bool:
        return self.error is not None or self.done == len(self._sizes)

    def describe(self, job: interface.EpochJob, *, steps_before: int, most: int) -> None:
        """Write the next steps, at most `most`, into the kernel's struct."""
        steps = slice(self.done, self.done + most)
        sizes = self._sizes[steps]
        job.order = self._order.data_ptr() + 8 * self.rows
        job.counts = (ctypes.c_int64 * len(sizes))(*sizes)
        job.rates = (ctypes.c_double * len(sizes))(*self.rates.rates[steps])
        job.momenta = (ctypes.c_double * len(sizes))(*self.rates.momenta[steps])
        job.steps = len(sizes)
        job.steps_before = steps_before + self.done
        job.rows_before = self.rows
        job.keys = self._keys
        job.state = self.state.numbers.data_ptr()
        job.outputs = None if self.outputs is None else self.outputs.data_ptr()

    def take_in(self, found: interface.EpochJob) -> None:
        """Take the results of the steps."""
        self.loss += found.loss
        self.rows += sum(self._sizes[self.done : self.done + found.done])
        self.done += found.done
        if found.done < found.steps and math.isfinite(found.step_loss):
            self.error = "the norm of the gradients", found.step_norm
        elif found.done < found.steps:
            self.error = "the training loss", found.step_loss


def _own_state(network: Network, learner: Learner) -> tuple[NetworkState, list[Tensor]]:
    """Move torch's tensors into one array; return it and the optimizer's step counters.

    The state that a new optimizer does not have yet is created.
    """
    states = [learner.optimizer.state[parameter] for parameter in network.parameters]
    names = kept_moments(learner.optimizer)
    for parameter, state in zip(network.parameters, states, strict=True):
        if isinstance(learner.optimizer, Adam | RMSprop | Adagrad):
            state.setdefault("step", torch.tensor(0.0))
        for name in names:
            state.setdefault(name, torch.zeros_like(parameter))
    will_step(learner.optimizer)
    tensors = [p.detach() for p in network.parameters] + [s[name] for name in names for s in states]
    numbers = torch.cat([tensor.flatten() for tensor in tensors])
    parts = iter(torch.split(numbers, [tensor.numel() for tensor in tensors]))
    for parameter in network.parameters:
        move_into(parameter, next(parts))
    for name, state in itertools.product(names, states):
        state[name] = next(parts).view_as(state[name])
    return NetworkState(numbers), [state["step"] for state in states if "step" in state]
