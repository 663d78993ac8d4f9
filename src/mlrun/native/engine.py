"""The native engine: multilayer perceptrons on the CPU, their epochs computed by the kernel.

torch's tensors are the truth: the kernel reads and writes them in place, one call after another, so
that checkpoints, schedules and everything else know nothing of it.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim import Adagrad, Adam, RMSprop

from mlrun.data.batches import row_order
from mlrun.device import choose_threads
from mlrun.engine import Learner, Member, advance_step, diverged, step_sizes, will_step
from mlrun.errors import Diverged
from mlrun.models.dropout import epoch_keys
from mlrun.native import calls
from mlrun.native.network import (
    Network,
    kept_moments,
    network_of,
    plan_of,
    training_plan,
)

MULTIPLY_ADDS_A_CALL = 2_000_000_000  # a tenth of a second or so, after which Ctrl-C is heard
Places = ctypes.Array[ctypes.c_void_p]
Numbers = ctypes.Array[ctypes.c_double]


@dataclass(frozen=True)
class Ready:
    """A member's tensors as the kernel takes them; alive as long as their places are in use."""

    network: Network
    plan: calls.Plan
    parameters: Places
    moments: Sequence[Places | None]
    counters: Sequence[Tensor]  # the optimizer's own count of steps, one a parameter
    sizes: Sequence[int]  # the rows of each step of an epoch


class Native:
    """MLPs and linear models by the kernel.

    Args:
        threads: members trained at the same time; one member has one thread.
    """

    name = "native"

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._ready: dict[int, Ready] = {}

    def begin(self, members: Sequence[Member]) -> None:
        """Note where the members' tensors are, and give a fresh optimizer its state."""
        self._ready = {id(member): _ready(member) for member in members}

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[float | Diverged]:
        """One pass over each member's training rows, in calls of so many steps."""
        epochs = [_Epoch(member, self._ready[id(member)]) for member in members]
        while unfinished := [epoch for epoch in epochs if not epoch.finished]:
            jobs = [epoch.next_steps() for epoch in unfinished]
            calls.train(jobs, threads=self._threads)
            for epoch, job in zip(unfinished, jobs, strict=True):
                epoch.take_in(job)
            stop()
        return [epoch.error or epoch.total / epoch.rows for epoch in epochs]


def outputs_by_kernel(model: nn.Module, inputs: Tensor) -> Tensor:
    """The model's outputs (n, out_features); a row's depend on no other row, to the last bit."""
    if model not in _described:
        network = network_of(model)
        _described[model] = network, plan_of(network)
    network, plan = _described[model]
    inputs = inputs.flatten(1).contiguous()
    outputs = torch.empty(len(inputs), network.sizes[-1])
    places = _places([parameter.detach() for parameter in network.parameters])
    threads = choose_threads(network.multiply_adds * len(inputs))
    rows = -(-len(inputs) // threads)
    jobs = [
        calls.Forward(
            plan=ctypes.pointer(plan),
            parameters=places,
            inputs=part.data_ptr(),
            rows=len(part),
            outputs=outputs[start:].data_ptr(),
        )
        for start, part in zip(range(0, len(inputs), rows), torch.split(inputs, rows), strict=True)
    ]
    calls.forward(jobs, threads=threads)
    return outputs


# Looking a model through takes as long as computing the outputs of a small one.
_described: WeakKeyDictionary[nn.Module, tuple[Network, calls.Plan]] = WeakKeyDictionary()


class _Epoch:
    """One epoch of one member: its rows in order, its steps, and how far it has come."""

    def __init__(self, member: Member, ready: Ready) -> None:
        self.total, self.rows = 0.0, 0
        self.error: Diverged | None = None
        self._member, self._ready = member, ready
        trainer, count = member.trainer, len(member.train.inputs)
        epoch, seed = member.progress.epoch, member.seed
        self._order = row_order(count, seed=seed, epoch=epoch, shuffle=trainer.shuffle)
        self._sizes = ready.sizes
        layers = len(ready.network.sizes)
        keys = epoch_keys(seed, epoch, layers) if ready.network.dropout else ()
        self._keys = (ctypes.c_uint64 * layers)(*keys)

    @property
    def finished(self) -> bool:
        return self.error is not None or not self._sizes

    def next_steps(self) -> calls.Steps:
        """The next steps, as many as a call may take."""
        member, ready = self._member, self._ready
        sizes = self._sizes[: self._steps_a_call()]
        self._sizes = self._sizes[len(sizes) :]
        rates, momenta = _schedule(member.learner, len(sizes))
        job = calls.Steps(
            plan=ctypes.pointer(ready.plan),
            parameters=ready.parameters,
            first_moments=ready.moments[0],
            second_moments=ready.moments[1],
            inputs=member.train.inputs.data_ptr(),
            targets=member.train.targets.data_ptr(),
            order=self._order.data_ptr() + 8 * self.rows,
            counts=(ctypes.c_int64 * len(sizes))(*sizes),
            rates=rates,
            momenta=momenta,
            steps=len(sizes),
            steps_before=member.progress.step,
            rows_before=self.rows,
            keys=self._keys,
        )
        self.rows += sum(sizes)
        return job

    def take_in(self, job: calls.Steps) -> None:
        """Note what became of the steps."""
        progress = self._member.progress
        progress.step += job.done
        if job.done < job.steps:
            loss_is_fine = math.isfinite(job.step_loss)
            what = "the norm of the gradients" if loss_is_fine else "the training loss"
            value = job.step_norm if loss_is_fine else job.step_loss
            self.error = diverged(what, value, progress)
        self.total += job.loss
        for counter in self._ready.counters:
            counter.fill_(progress.step)

    def _steps_a_call(self) -> int:
        work = 3 * self._ready.network.multiply_adds * self._sizes[0]
        return max(1, MULTIPLY_ADDS_A_CALL // work)


def _ready(member: Member) -> Ready:
    learner = member.learner
    network = network_of(learner.model)
    states = [learner.optimizer.state[parameter] for parameter in network.parameters]
    names = kept_moments(learner.optimizer)
    counts_steps = isinstance(learner.optimizer, Adam | RMSprop | Adagrad)
    for parameter, state in zip(network.parameters, states, strict=True):
        if counts_steps:
            state.setdefault("step", torch.tensor(0.0))
        for name in names:
            state.setdefault(name, torch.zeros_like(parameter))
    will_step(learner.optimizer)
    moments = [_places([state[name] for state in states]) for name in names]
    return Ready(
        network,
        training_plan(network, learner, member.trainer),
        _places([parameter.detach() for parameter in network.parameters]),
        [*moments, None, None][:2],
        [state["step"] for state in states if "step" in state],
        [sum(sizes) for sizes in step_sizes(len(member.train.inputs), member.trainer)],
    )


def _places(tensors: Sequence[Tensor]) -> Places:
    """Where the tensors are in memory; each must be contiguous."""
    assert all(tensor.is_contiguous() for tensor in tensors)
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _schedule(learner: Learner, steps: int) -> tuple[Numbers, Numbers]:
    """The rate and the momentum (or Adam's first beta) of each of the next steps."""
    group = learner.optimizer.param_groups[0]
    rates, momenta = (ctypes.c_double * steps)(), (ctypes.c_double * steps)()
    for step in range(steps):
        rates[step] = group["lr"]
        momenta[step] = group["betas"][0] if "betas" in group else group.get("momentum", 0.0)
        advance_step(learner.scheduler)
    return rates, momenta
