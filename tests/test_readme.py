"""README's shell blocks are run, command by command, as a newcomer would type them."""

import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mlrun.cli.main import main

TOP = Path(__file__).resolve().parents[1]
README = (TOP / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    command.strip()
    for block in re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    for command in line.partition("  #")[0].split(" && ")
]
# Not run here: what they need is checked instead.
SHELL = {
    "git clone <this repository> mlrun": "pyproject.toml",
    "cd mlrun": "pyproject.toml",
    "source .venv/bin/activate": "Makefile",
}
SHORT = ("trainer.epochs=1", "trainer.limit_batches=2", "quiet=true")
SLOW = ("model=cnn", "-m", "seeds=8", "onnx")  # seconds each
HOUSES = "area,agent,price\n" + "".join(f"{40 + i},Ann,{100 + 3 * i}\n" for i in range(40))


def of(program: str) -> list[Any]:
    """Every command of README that starts a program, those of several seconds marked slow."""
    found = [command for command in COMMANDS if command.split()[0] == program]
    return [
        pytest.param(c, marks=pytest.mark.slow if {*c.split()} & {*SLOW} else (), id=c)
        for c in found
    ]


def shortened(words: Sequence[str]) -> list[str]:
    """The words; where they train, an epoch of two batches is enough."""
    trains = words[0] == "-m" or "=" in words[0]
    return [*words, *SHORT] if trains else [*words]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the reader's own file, whose copies stand for RUN."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "my.csv").write_text(HOUSES)
    where = f"hydra.run.dir={folder}/run"
    words = ("task=csv", f"data.train={folder}/my.csv", "data.target=price", *SHORT, where)
    assert main(words) == 0
    return folder / "run"


@pytest.mark.parametrize("command", of("mlrun"))
def test_every_mlrun_command_of_the_readme_works(mlrun, command, workdir, finished):
    shutil.copytree(finished, "RUN")
    for name in ("my.csv", "new.csv"):
        Path(name).write_text(HOUSES)
    answer = mlrun(*shortened(shlex.split(command)[1:]))
    assert answer.code == 0, answer.err


def test_the_own_task_in_the_readme_works(mlrun, workdir):
    name, text = re.findall(r"`(conf/task/\w+\.yaml)`.*?```yaml\n(.*?)^```$", README, re.M | re.S)[
        0
    ]
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text(text)
    Path("houses.csv").write_text(HOUSES)
    assert f"`mlrun task={Path(name).stem}`" in README
    answer = mlrun(f"task={Path(name).stem}", *SHORT)
    assert answer.code == 0, answer.err


def test_every_make_command_of_the_readme_is_a_target():
    text = (TOP / "Makefile").read_text()
    named = [c.values[0].split()[1] for c in of("make")] + re.findall(r"`make ([\w-]+)`", README)
    assert named
    for target in named:
        assert re.search(rf"^{target}:", text, re.MULTILINE), target


def test_every_other_command_of_the_readme_is_known():
    others = [command for command in COMMANDS if command.split()[0] not in ("mlrun", "make")]
    assert {*others} == {*SHELL}
    assert all((TOP / needed).is_file() for needed in SHELL.values())
