"""Control characters of data, configurations and file names reach nobody, whatever prints them."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mlrun as api
from mlrun.system.files import as_json
from mlrun.system.plain_text import one_line, plain, plain_json
from tests.test_cli import SMOKE

CODES = [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)]
CODES += [0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x2070), 0xDC80]
CONTROL = re.compile("[" + "".join(f"\\u{code:04x}" for code in CODES) + "]|\\r(?!\\n)")
CLIPBOARD = "\x1b]52;c;cHduZWQ=\x07"
KIND, RED, TULIP, ROSE = f"{CLIPBOARD}kind", "red\x9b31m", "tu\u202elip", "ro\x7fse"
HOSTILE = f"id,x,c\u2066c,{KIND}\n" + "".join(
    f"n{i}\x1b[2J,{i % 7}.5,{RED if i % 2 else 'blue'},{TULIP if i % 3 else ROSE}\n"
    for i in range(40)
)
WORDS = ("task=csv", "data.train=hostile.csv", "data.id=id", "trainer.epochs=2")


@pytest.fixture(autouse=True)
def _hostile(write_csv):
    write_csv("hostile.csv", HOSTILE)


def texts_of(folder: str) -> dict[str, str]:
    binary = {".png", ".safetensors", ".mlrun", ".onnx", ".pt2"}
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(p): p.read_bytes().decode() for p in files if p.suffix not in binary}


def control_in(answer: Any, *folders: str) -> list[str]:
    texts = {"stdout": answer.out, "stderr": answer.err}
    for folder in folders:
        texts |= texts_of(folder)
    return [name for name, text in texts.items() if CONTROL.search(text)]


@pytest.mark.parametrize("code", CODES, ids=hex)
def test_each_control_character_is_written_out(code):
    spelled = ascii(chr(code))[1:-1]
    assert plain(f"a{chr(code)}b") == one_line(f"a{chr(code)}b") == f"a{spelled}b"
    dumped = json.dumps(f"a{chr(code)}b", ensure_ascii=False)
    assert not CONTROL.search(plain_json(dumped))
    assert json.loads(plain_json(dumped)) == f"a{chr(code)}b"


def test_everything_else_stays():
    text = "tab\tline\r\nline\nPreis\u00a0(€) 👩\u200d🔬 نص עברית e\u0301 \u200b\ufeff"
    assert plain(text) == text
    assert one_line("a\tb\r\nc\nd") == "a\\tb\\r\\nc\\nd"
    assert plain("over\rwritten") == "over\\rwritten"


def test_json_keeps_every_value():
    value = {KIND: [RED, TULIP, "\ud800", "a\nb\r\x00"]}
    assert json.loads(as_json(value)) == value
    assert not CONTROL.search(as_json(value).decode())


def test_training_and_predicting_write_no_control_character(mlrun):
    answer = mlrun(*WORDS, "hydra.run.dir=run")
    assert answer.code == 0
    assert control_in(answer, "run") == []
    assert answer.out.count("have control characters, written as \\x1b") == 1
    assert "classification of '\\x1b]52;c;cHduZWQ=\\x07kind'" in answer.out
    header, first, *_ = Path("run/pred.csv").read_text("utf-8").splitlines()
    assert header == "id,\\x1b]52;c;cHduZWQ=\\x07kind"
    assert re.fullmatch(r"n\d+\\x1b\[2J,(tu\\u202elip|ro\\x7fse)", first)
    for command in (
        ("predict", "run", "--input", "hostile.csv", "--proba"),
        ("evaluate", "run"),
        ("show", "run"),
        ("export", "run", "--format", "safetensors"),
    ):
        answer = mlrun(*command)
        assert answer.code == 0
        assert control_in(answer, "run") == []
        assert ("have control characters" in answer.err) == (command[0] == "predict")


def test_python_gets_ids_and_labels_as_they_are():
    run = api.train(*WORDS, "quiet=true", "hydra.run.dir=run")
    table = run.predict("hostile.csv")
    assert list(table.columns) == ["id", KIND]
    assert table["id"][0] == "n0\x1b[2J"
    assert {*table[KIND]} <= {TULIP, ROSE}


@pytest.mark.slow
def test_members_and_resumed_runs_write_none_either(mlrun):
    assert mlrun(*WORDS, "folds=2", "scheduler=constant", "hydra.run.dir=run").code == 0
    answer = mlrun("resume", "run", "trainer.epochs=3")
    assert control_in(answer, "run") == []
    answer = mlrun("predict", "run", "--input", "hostile.csv", "--members")
    assert control_in(answer, "run") == []


def test_a_line_break_in_a_name_breaks_no_line(mlrun, write_csv):
    write_csv("hostile.csv", HOSTILE.replace(KIND, '"ki\nnd\tx"'))
    answer = mlrun(*WORDS, "data.target='ki\nnd\tx'", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "classification of 'ki\\nnd\\tx'" in answer.out
    lines = (answer.out + Path("run/run.log").read_text()).splitlines()
    assert not [line for line in lines if line.startswith("nd")]
    assert Path("run/pred.csv").read_text().startswith('id,"ki\nnd\tx"\n')  # as in the file


def test_errors_about_data_are_plain(mlrun, write_csv):
    assert mlrun(*WORDS, "quiet=true", "hydra.run.dir=run").code == 0
    write_csv("new.csv", HOSTILE.replace(RED, "gr\x1b[31meen\u202e"))
    answer = mlrun("predict", "run", "--input", "new.csv")
    assert answer.code == 2
    assert "gr\\x1b[31meen\\u202e" in answer.err
    assert control_in(answer) == []
    answer = mlrun("predict", "run", "--input", "new.csv", "--allow-unknown")
    assert "gr\\x1b[31meen\\u202e" in answer.err
    assert control_in(answer, "run") == []


def test_sweeps_write_none(mlrun, write_csv):
    write_csv("other\x1b[31m.csv", HOSTILE)
    files = "data.train=hostile.csv,'other\x1b[31m.csv','no\x1b[31m.csv'"
    answer = mlrun("-m", *WORDS[0::2], "trainer.epochs=2", files, "hydra.sweep.dir=sweep")
    assert answer.code == 1
    assert "other\\x1b[31m.csv" in answer.out
    assert control_in(answer, "sweep") == []
    for command in (("show", "sweep"), ("-m", *WORDS[0::2], files, "--dry-run")):
        assert control_in(mlrun(*command)) == []


@pytest.mark.slow
def test_a_terminal_gets_only_the_codes_of_rich(mlrun, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for words in ((*WORDS, "hydra.run.dir=run"), ("-m", *WORDS, "seed=0,1")):
        answer = mlrun(*words)
        assert answer.code == 0
        assert "\x1b[" in answer.out
        without_colours = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", answer.out)
        assert not CONTROL.search(without_colours.replace("\r", ""))


OWN = """
from torch import nn

class Shouts(nn.Sequential):
    def __init__(self, in_shape, out_features, *, text="", fails=False):
        super().__init__(nn.Linear(in_shape[0], out_features))
        self.text, self.fails = text, fails

    def forward(self, x):
        if self.fails:
            raise LookupError("bad " + self.text)
        return super().forward(x)
"""


@pytest.fixture
def shouts(write_csv, monkeypatch):
    write_csv("shouts.py", OWN)
    text = '_target_: shouts.Shouts\ntext: "text\\e[31m\\u202E\\u2029end"\n'
    write_csv("conf/model/shouts.yaml", text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("shouts", None)


@pytest.mark.usefixtures("shouts")
@pytest.mark.slow
def test_texts_of_a_configuration_are_plain_in_every_file(mlrun):
    answer = mlrun(*WORDS, "model=shouts", "allow=[shouts.*]", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert control_in(answer, "run") == []
    [events] = Path("run/tensorboard").iterdir()
    content = events.read_bytes()
    assert b"text\\x1b[31m\\u202e\\u2029end" in content
    assert b"\x1b[31m" not in content
    answer = mlrun("--cfg", "job", "model=shouts")
    assert "u202e" in answer.out.lower()
    assert control_in(answer) == []


@pytest.mark.usefixtures("shouts")
@pytest.mark.slow
def test_a_traceback_of_an_own_class_is_plain(mlrun):
    own = ("model=shouts", "allow=[shouts.*]", "+model.fails=true")
    answer = mlrun(*SMOKE, *own, "hydra.run.dir=run")
    assert answer.code == 1
    assert "LookupError: bad text\\x1b[31m\\u202e\\u2029end" in answer.err
    assert control_in(answer, "run") == []


def test_what_a_stranger_named_is_plain(mlrun, write_csv):
    write_csv("conf/model/evil\x1b[31m.yaml", "# \x1b[2J describes\n_target_: x\n")
    for command in (("ls", "model"), ("ls",), ("model=evil",), ("show", "no\x1b[31m")):
        assert control_in(mlrun(*command)) == []


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch_export"])
def test_the_program_of_an_export_prints_the_same_labels(mlrun, form):
    run = mlrun(*WORDS, "quiet=true").run
    answer = mlrun("export", str(run), "--format", form, "--output", "model")
    assert answer.code == 0, answer.err
    done = subprocess.run(
        [sys.executable, "model.py", "hostile.csv"], capture_output=True, check=True
    )
    assert not CONTROL.search(done.stdout.decode())
    assert mlrun("predict", str(run), "--input", "hostile.csv", "--output", "p.csv").code == 0
    ours, theirs = pd.read_csv("p.csv"), pd.read_csv(io.BytesIO(done.stdout))
    assert list(ours.iloc[:, 1]) == list(theirs.iloc[:, 0])
