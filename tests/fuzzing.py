"""What the fuzz tests share: how many examples, one command in process, and what it must not do."""

import contextlib
import csv
import io
import re
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mlrun.cli.main import main
from mlrun.errors import MlrunError

MEMORY = 8 * 2**30  # bytes of addresses; torch and its threads take a part of them by themselves
SECONDS = 60  # an example that takes longer hangs; on a busy machine sound ones took ten
JARGON = re.compile(
    r"Traceback|NoneType|object has no|object is not|not subscriptable|unhashable|<class"
    r"|positional argument|unexpected keyword|Errno|Error\("
)
EVERY_HEALTH_CHECK = list(HealthCheck)


class Hang(BaseException):
    """Past every `except Exception` of the program."""


@dataclass
class Share:
    """A number of examples to try: few and always the same, or many and new ones."""

    examples: int
    soak: bool
    tried: int = 0

    def of(self, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> int:
        """Try `check` on that many examples; the number really tried."""

        def counted(example: Any) -> None:
            self.tried += 1
            with time_limit(), memory_limit():
                check(example)

        chosen = settings(
            max_examples=self.examples,
            derandomize=not self.soak,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=EVERY_HEALTH_CHECK,
        )
        chosen(given(strategy)(counted))()
        return self.tried


def shares(*, fast: int, soak: int, parts: int = 1) -> pytest.MarkDecorator:
    """Parametrize a test: a fast share, and the soak in several parts for several processes."""
    params = [pytest.param(Share(fast, soak=False), id="fast")]
    for number in range(parts):
        share = Share(soak // parts, soak=True)
        params.append(pytest.param(share, id=f"soak{number}", marks=pytest.mark.slow))
    return pytest.mark.parametrize("share", params)


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    def raise_hang(_: int, __: FrameType | None) -> None:
        raise Hang(f"more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, raise_hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def memory_limit() -> Iterator[None]:
    """Whatever an example asks for, the machine keeps its memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


def command(*words: str) -> Ended:
    """Run one command line here and see that it ended in one of the ways it may."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    ended = Ended(code, out.getvalue(), err.getvalue())
    assert "Traceback" not in ended.err, ended.err
    assert code in (0, 2) or (code == 1 and _explained(ended, words)), ended
    if code == 2:
        lines = ended.err[ended.err.index("error: ") :].splitlines()
        assert len(lines) <= 2, ended.err
        check_words(ended.err.partition("error: ")[2])
    return ended


def _explained(ended: Ended, words: Sequence[str]) -> bool:
    """Exit code 1: a loss that is no number, a rerun that differs, a failed job of a sweep."""
    if "-m" in words or (words[0] == "resume" and "repeat       mlrun resume" in ended.err):
        return "failed: " in ended.err
    return ended.err.startswith("diverged: ") or "different: " in ended.out


def check_words(message: str) -> None:
    """A message is not empty and contains no programmers' terms."""
    assert message.strip(), "an empty message"
    assert not JARGON.search(message), message


def refused(action: Callable[[], Any]) -> bool:
    """Whether the action ended with an MlrunError; any other exception goes on."""
    return bool(refusal(action))


def refusal(action: Callable[[], Any]) -> str:
    """The message of the MlrunError with which the action ended, or an empty text."""
    try:
        action()
    except MlrunError as error:
        check_words(str(error))
        return str(error)
    return ""


def check_no_leftovers(folder: Path) -> None:
    leftovers = [path for path in folder.rglob("*") if path.name.endswith(".tmp")]
    assert not leftovers, leftovers


def is_whole(predictions: Path, *, rows: int | None = None) -> bool:
    """Whether every row has its two cells, the last its line end, and none is missing."""
    text = predictions.read_text(encoding="utf-8")
    lines = list(csv.reader(io.StringIO(text, newline="")))
    enough = len(lines) > 1 if rows is None else len(lines) == rows + 1
    return text.endswith("\n") and enough and all(len(line) == 2 for line in lines)
