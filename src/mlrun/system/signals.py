"""Handle Ctrl-C, SIGTERM and the like: finish the step, then stop.

SIGHUP comes when a terminal closes, SIGUSR1 from Slurm some time before the end (`--signal`).
"""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mlrun.system import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# They are left alone if they are ignored (nohup) or belong to another program (submitit).
OTHERS = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]


class Interrupted(Exception):
    """A signal stopped the run; exit code 128 + signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        self.folder: Path | None = None  # the run folder, once known


class Stop(KeyboardInterrupt):
    """Another signal than Ctrl-C, with the same effect outside of the training."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def number_of(error: BaseException) -> int:
    """Return the number of the signal that raised this KeyboardInterrupt."""
    return error.number if isinstance(error, Stop) else signal.SIGINT


def stop_on_signals() -> None:
    """Let signals raise `Stop`, so that files are tidied up; a second signal kills."""
    for number in (signal.SIGTERM, *OTHERS):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Stop(number)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yield a function that raises `Interrupted` after a signal; a second signal kills."""
    received: list[int] = []
    of_several = processes.size() > 1 or multiprocessing.parent_process() is not None

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if not of_several:  # the parent process repeats the signal and kills later
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is _stop else handler)

    def stop_if_requested() -> None:
        if received:
            raise Interrupted(received[0])

    # Only the main thread may set handlers; in other threads the handlers stay unchanged.
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in _ours()} if in_main_thread else {}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop_if_requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ours() -> list[int]:
    free = [number for number in OTHERS if signal.getsignal(number) in (signal.SIG_DFL, _stop)]
    return [*SIGNALS, *free]
