"""Every example of docs/extending.md is written to a folder and run, as a reader would."""

import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"
FILE = re.compile(r"^`(?P<name>[\w/.]+)`\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = dict(
    section.split("\n", 1)
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
)
FAST = ("A model", "A metric", "A data class")  # the others: make test-all


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the working folder are found, and forgotten afterwards."""
    before = {*sys.modules}
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    here = str(Path.cwd())
    own = [name for name in {*sys.modules} - before if _file(name).startswith(here)]
    for name in own:
        del sys.modules[name]


def _file(module: str) -> str:
    return str(getattr(sys.modules[module], "__file__", None))


def written(section: str) -> Mapping[str, str]:
    """The files of a section, written to the working folder."""
    files = {match["name"]: match["text"] for match in FILE.finditer(SECTIONS[section])}
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    return files


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize(
    "section",
    [pytest.param(s, marks=() if s in FAST else pytest.mark.slow, id=s) for s in SECTIONS],
)
@pytest.mark.slow
def test_every_example_runs(section, mlrun, monkeypatch):
    assert written(section)
    lines = [line for block in SHELL.findall(SECTIONS[section]) for line in block.splitlines()]
    assert lines
    for line in lines:
        program, *words = shlex.split(line.replace("RUN", str(newest_run())))
        if program == "python":
            with monkeypatch.context() as patch:
                patch.setattr(sys, "argv", words)
                runpy.run_path(words[0], run_name="__main__")
        else:
            assert program == "mlrun"
            answer = mlrun(*words)
            assert answer.code == 0, f"{line}\n{answer.err}"


def newest_run() -> Path:
    """The run folder made last."""
    return max(
        Path("outputs").glob("*/*"), key=lambda run: run.stat().st_ctime, default=Path("RUN")
    )
