"""Handle Ctrl-C and SIGTERM: finish the step, then stop."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from mlrun.system import processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """A signal stopped the run; exit code 128 + signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        self.folder: Path | None = None  # the run folder, once known


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Yield a function that raises `Interrupted` after a signal; a second signal kills."""
    received: list[int] = []
    of_several = processes.size() > 1 or multiprocessing.parent_process() is not None

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if not of_several:  # the parent process repeats the signal and kills later
            restore()

    def stop_if_requested() -> None:
        if received:
            raise Interrupted(received[0])

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    # Only the main thread may set handlers; in other threads the handlers stay unchanged.
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in SIGNALS} if in_main_thread else {}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop_if_requested
    finally:
        restore()
