"""The native engine: the kernel trains multilayer perceptrons on the CPU.

The weights and the optimizer's state stay in torch's tensors, so checkpoints, schedules and all
other code do not depend on the kernel. While Python records an epoch, the kernel's threads compute
the next ones. Several threads share a large step.
"""

import ctypes
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mlrun.errors import Diverged
from mlrun.system.device import choose_threads, usable_cores
from mlrun.training.engines.base import Epoch
from mlrun.training.engines.native import calls
from mlrun.training.engines.native.interface import ForwardJob, NetworkPlan, TrainingJob
from mlrun.training.engines.native.lookahead import Lookahead
from mlrun.training.engines.native.network import Network, network_of, plan_of
from mlrun.training.types import Member

# Epochs, multiplications and bytes that may be computed ahead: some hundredths of a second, so that
# Python records many small epochs in a row, while the processor's caches hold its code and data.
EPOCHS_AHEAD, WORK_AHEAD, MEMORY_AHEAD = 32, 4_000_000_000, 64_000_000
A_CALL = 8_000_000_000  # multiplications: a quarter of a second, after which Ctrl-C takes effect


class Native:
    """Train MLPs and linear models with the kernel."""

    name, trains_together = "native", True

    def __init__(self) -> None:
        self._lookaheads: dict[int, Lookahead] = {}
        self._pool: calls.ThreadPool | None = None
        self._threads = usable_cores()

    def begin(self, members: Sequence[Member]) -> None:
        """Read where the members' tensors are, and create the state of new optimizers."""
        self._lookaheads = {id(member): Lookahead(member, self._threads) for member in members}
        self._pool = calls.ThreadPool(max(1, self._threads - 1), alive=self._lookaheads)

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """Return the next epoch of each member, computed now or ahead of time."""
        lookaheads = [self._lookaheads[id(member)] for member in members]
        at_once = self._epochs_at_once(lookaheads)
        share = A_CALL // 4 // len(lookaheads)
        for lookahead in lookaheads:
            if not lookahead.begin_epoch():
                self._finish(lookahead)
                lookahead.forget()
            if not (lookahead.ready or lookahead.job):
                self._begin(lookahead.epochs(at_once) if at_once else lookahead.steps(share))
        for lookahead in lookaheads:
            while not lookahead.ready:
                self._finish(lookahead)
                if not lookahead.ready:
                    self._begin(lookahead.steps(share))
                stop()
            if at_once and lookahead.left > 0 and not lookahead.job:
                self._begin(lookahead.epochs(at_once))
        return [lookahead.take() for lookahead in lookaheads]

    def _epochs_at_once(self, lookaheads: Sequence[Lookahead]) -> int:
        """Return how many epochs of each member to start; 0 if one epoch is too long for a call."""
        work = sum(lookahead.work for lookahead in lookaheads)
        memory = sum(lookahead.memory for lookahead in lookaheads)
        if work > A_CALL * self._threads or memory > MEMORY_AHEAD:
            return 0
        # Fewer towards the end: while Python records the last epochs, the threads are idle.
        most = min(EPOCHS_AHEAD, -(-max(lookahead.left for lookahead in lookaheads) // 3))
        return max(1, min(most, WORK_AHEAD // work, MEMORY_AHEAD // memory))

    def _begin(self, job: TrainingJob) -> None:
        assert self._pool
        self._pool.submit(job)

    def _finish(self, lookahead: Lookahead) -> None:
        """Wait for the member's job, if there is one, and take its results."""
        if lookahead.job:
            assert self._pool
            self._pool.wait(lookahead.job)
            lookahead.take_in()


def outputs_by_kernel(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return the model's outputs (n, out_features).

    The outputs of a row are bit-identical whatever the other rows are.
    """
    if model not in _described:
        network = network_of(model)
        _described[model] = network, plan_of(network)
    network, plan = _described[model]
    inputs = inputs.flatten(1).contiguous()
    outputs = torch.empty(len(inputs), network.sizes[-1])
    state = torch.cat([parameter.detach().flatten() for parameter in network.parameters])
    job = ForwardJob(
        plan=ctypes.pointer(plan),
        state=state.data_ptr(),
        inputs=inputs.data_ptr(),
        rows=len(inputs),
        outputs=outputs.data_ptr(),
        threads=choose_threads(network.multiply_adds * len(inputs)),
    )
    calls.forward(job)
    return outputs


# Analysing a model takes as long as computing the outputs of a small one.
_described: WeakKeyDictionary[nn.Module, tuple[Network, NetworkPlan]] = WeakKeyDictionary()
