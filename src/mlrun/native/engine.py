"""The native engine: multilayer perceptrons on the CPU, their epochs computed by the kernel.

torch's tensors are the truth; checkpoints, schedules and everything else know nothing of the
kernel. While Python writes down an epoch, the kernel's threads compute those after it.
"""

import ctypes
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mlrun.device import choose_threads
from mlrun.engine import Epoch, Member
from mlrun.errors import Diverged
from mlrun.native import calls
from mlrun.native.course import Course
from mlrun.native.network import Network, network_of, plan_of

# Epochs, multiplications and bytes that may be computed ahead: some hundredths of a second, so that
# Python's work on many small epochs is done at once, while its caches are warm.
EPOCHS_AHEAD, WORK_AHEAD, MEMORY_AHEAD = 32, 4_000_000_000, 64_000_000
A_CALL = 8_000_000_000  # multiplications: a quarter of a second, after which Ctrl-C is heard


class Native:
    """MLPs and linear models by the kernel.

    Args:
        threads: members trained at the same time; one member has one thread.
    """

    name = "native"

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._courses: dict[int, Course] = {}
        self._working: calls.Working | None = None
        self._jobs: list[tuple[Course, calls.Training]] = []

    def begin(self, members: Sequence[Member]) -> None:
        """Note where the members' tensors are, and give a fresh optimizer its state."""
        self._working, self._jobs = None, []
        self._courses = {id(member): Course(member) for member in members}

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """One pass over each member's training rows, unless it is computed already."""
        courses = [self._courses[id(member)] for member in members]
        misled = [course for course in courses if not course.begin_epoch()]
        if misled:
            self._finish()
        for course in misled:
            course.forget()
        at_once = self._epochs_at_once(courses)
        while late := [course for course in courses if not course.ready]:
            if not self._jobs:
                self._begin(late, at_once)
            self._finish()
            stop()
        coming = [course for course in courses if course.left > 0]
        if at_once and coming and not self._jobs:
            self._begin(coming, at_once)
        return [course.take() for course in courses]

    def _epochs_at_once(self, courses: Sequence[Course]) -> int:
        """Of each member; 0 where one is too much for a call."""
        work = sum(course.work for course in courses)
        memory = sum(course.memory for course in courses)
        if work > A_CALL * self._threads or memory > MEMORY_AHEAD:
            return 0
        return max(1, min(EPOCHS_AHEAD, WORK_AHEAD // work, MEMORY_AHEAD // memory))

    def _begin(self, courses: Sequence[Course], at_once: int) -> None:
        """Set threads to work on the next epochs, or on the next steps of the one to come."""
        share = A_CALL // 4 // len(courses)
        jobs = [course.epochs(at_once) if at_once else course.steps(share) for course in courses]
        self._jobs = list(zip(courses, jobs, strict=True))
        self._working = calls.Working(
            jobs, threads=max(1, self._threads - 1), alive=(courses, self._courses)
        )

    def _finish(self) -> None:
        """Wait for the threads, and take in what they have done."""
        if self._working is not None:
            self._working.finish()
        for course, job in self._jobs:
            course.take_in(job)
        self._working, self._jobs = None, []


def outputs_by_kernel(model: nn.Module, inputs: Tensor) -> Tensor:
    """The model's outputs (n, out_features); a row's depend on no other row, to the last bit."""
    if model not in _described:
        network = network_of(model)
        _described[model] = network, plan_of(network)
    network, plan = _described[model]
    inputs = inputs.flatten(1).contiguous()
    outputs = torch.empty(len(inputs), network.sizes[-1])
    state = torch.cat([parameter.detach().flatten() for parameter in network.parameters])
    threads = choose_threads(network.multiply_adds * len(inputs))
    rows = -(-len(inputs) // threads)
    jobs = [
        calls.Forward(
            plan=ctypes.pointer(plan),
            state=state.data_ptr(),
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
