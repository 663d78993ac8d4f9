"""Drawn tables through the whole cycle: train, predict, evaluate, export, resume.

Whatever a table looks like, each row has one answer, the same one from every command, and the
scores are those of these answers.
"""

import contextlib
import csv
import io
import json
import runpy
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from sklearn import metrics

import mlrun
from mlrun.runs.checkpoint import load_state
from mlrun.runs.inference import evaluate
from tests.drawn_tables import PLAIN, Layout, Table, layouts, tables
from tests.fuzzing import Share, command, shares

SETTINGS = (
    *("data.scale=minmax", "data.encode=ordinal", "data.missing=mean", "data.missing=0"),
    *("data.na_values=[red,-5]", "data.categorical=[size]", "data.id=none", "data.id=size"),
    *("data.drop=[size]", "data.features={top: 3, by: correlation}", "data.scale_target=false"),
    *("data.split.method=time", "data.split.method=kfold", "data.split.ratio=0.5"),
    *("trainer.batch_size=7", "trainer.engine=autograd", "trainer.accumulate=2"),
    *("trainer.clip_norm=1", "trainer.l2=0.1", "trainer.l1=0.01"),
    *("optimizer=sgd", "optimizer=adamw"),
)
LOSSES = (
    *(("loss=bce_with_logits", "trainer.monitor=valid/accuracy"), ("loss=nll",)),
    *(("loss=huber", "trainer.monitor=valid/r2"), ("loss=mae",)),
)
SCHEDULERS = ("constant", "exponential", "plateau", "step", "warmup")
MODELS = ("model=linear", "model.hidden=[3]", "model.hidden=[4,3]")
ALLOW = "--allow-unknown"
Row = dict[str, str]
Facts = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A table, the training file and another file of the same rows, and the settings of a run."""

    table: Table
    layout: Layout
    other: Layout
    settings: tuple[str, ...]

    @property
    def known(self) -> list[int]:
        """The numbers of the rows with a target."""
        return [row for row, value in enumerate(self.table.truth) if value is not None]

    def write(self) -> None:
        """Write t.csv; known.csv with the rows that have a target; new.csv, otherwise spelled."""
        table, turned = self.table, self.table.turned()
        self.layout.write(Path("t.csv"), table.header, table.rows)
        rows = [table.rows[row] for row in self.known]
        self.layout.write(Path("known.csv"), table.header, rows)
        self.other.write(Path("new.csv"), turned.header, turned.rows)
        PLAIN.write(Path("plain.csv"), table.header, table.rows)

    def training(self, epochs: int, folder: str) -> tuple[str, ...]:
        """The words that train it."""
        kind = "classification" if self.table.has_classes else "regression"
        data = ("task=csv", "data.train=t.csv", "data.target=y", f"data.kind={kind}")
        shown = ("quiet=true", f"hydra.run.dir={folder}", f"trainer.epochs={epochs}")
        return (*data, *shown, *self.settings)


def key_of(word: str) -> str:
    return word.partition("=")[0]


@st.composite
def examples(draw: st.DrawFn, *more: str) -> Example:
    decimal = draw(st.sampled_from((".", ".", ",")))
    table = draw(tables(decimal))
    words = draw(st.lists(st.sampled_from(SETTINGS), max_size=3, unique_by=key_of))
    losses = LOSSES[:2] if table.has_classes else LOSSES[2:]
    words += draw(st.sampled_from(((), *losses)))
    words += [draw(st.sampled_from(MODELS)), f"scheduler={draw(st.sampled_from(SCHEDULERS))}"]
    words += [draw(st.sampled_from(more))] if more else []
    return Example(table, draw(layouts(decimal)), draw(layouts(decimal)), tuple(words))


# --- what is compared ---


def done(*words: str) -> None:
    ended = command(*words)
    assert ended.code == 0, (words, ended.err)


def read(path: Path | str) -> list[Row]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def record(run: Path | str) -> Facts:
    facts: Facts = json.loads(Path(run, "run.json").read_text())
    return facts


def predicted(run: str, file: str, *more: str) -> list[Row]:
    done("predict", run, "--input", file, "--output", "p.csv", ALLOW, *more)
    return read("p.csv")


def same(found: Sequence[Any], wanted: Sequence[Any], spec: Facts) -> None:
    """Labels are equal; values up to the rounding of float32."""
    if spec["classes"]:
        assert [*found] == [*wanted]
        return
    allowed = 1e-5 * spec["target_scale"]
    np.testing.assert_allclose(
        np.array(found, float), np.array(wanted, float), rtol=1e-5, atol=allowed
    )


def scores_of(truth: Sequence[Any], guess: Sequence[str], spec: Facts) -> dict[str, float]:
    if spec["classes"]:
        f1 = metrics.f1_score(truth, guess, average="macro", zero_division=0)
        return {"accuracy": metrics.accuracy_score(truth, guess), "macro_f1": float(f1)}
    wanted, found = np.array(truth, float), np.array(guess, float)
    mse = metrics.mean_squared_error(wanted, found)
    mae, r2 = metrics.mean_absolute_error(wanted, found), metrics.r2_score(wanted, found)
    return {"mse": mse, "rmse": mse**0.5, "mae": mae, "r2": r2}


def check_scores(
    found: dict[str, float], example: Example, rows: Sequence[int], answers: list[Row]
) -> None:
    """The scores are those of the answers for these rows."""
    spec = record("run")["spec"]
    truth = [example.table.truth[row] for row in rows]
    wanted = scores_of(truth, [answers[row][spec["header"][1]] for row in rows], spec)
    assert {*found} - {"loss"} == {*wanted}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-6)


# --- the steps of the cycle ---


@contextlib.contextmanager
def trained(example: Example) -> Iterator[Facts | None]:
    """Train in a folder of its own; None: the table is refused."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        example.write()
        code = command(*example.training(2, "run")).code
        yield record("run")["spec"] if code == 0 else None


def check_cycle(example: Example) -> None:
    with trained(example) as spec:
        if spec is None:
            return
        answers = predicted("run", "t.csv")
        assert len(answers) == len(example.table.truth)
        check_own_rows(example, answers, spec)
        check_evaluate(example, answers)
        check_new_file(example, answers, spec)
        check_export(answers, spec)
        check_resumed(example, answers)


def check_own_rows(example: Example, answers: list[Row], spec: Facts) -> None:
    """pred.csv has the answers for the validation rows, with the ids of the file."""
    name, target = spec["header"]
    numbers = map(str, range(len(answers)))
    ids = [cell.strip() for cell in example.table.columns.get(name, [*numbers])]
    assert [row[name] for row in answers] == ids
    wanted = [answers[example.known[number]] for number in split_of("run")["valid"]]
    own = read("run/pred.csv")
    assert [row[name] for row in own] == [row[name] for row in wanted]
    same([row[target] for row in own], [row[target] for row in wanted], spec)


def split_of(run: Path | str) -> dict[str, list[int]]:
    split: dict[str, list[int]] = json.loads(Path(run, "split.json").read_text())
    return split


def check_evaluate(example: Example, answers: list[Row]) -> None:
    known, split, own = example.known, split_of("run"), evaluate("run")
    assert sorted(split["train"] + split["valid"]) == [*range(len(known))]
    for part, numbers in split.items():
        rows = [known[number] for number in numbers]
        check_scores(own[part], example, rows, answers)
        check_scores(record("run")["metrics"][part], example, rows, answers)
    new = evaluate("run", input="known.csv", allow_unknown=True)["input"]
    check_scores(new, example, known, answers)


def check_new_file(example: Example, answers: list[Row], spec: Facts) -> None:
    """Other columns first, another separator, another encoding, or a table of pandas."""
    assert predicted("run", "new.csv") == answers
    target, texts = spec["header"][1], pd.DataFrame(example.table.turned().columns)
    found = mlrun.load("run").predict(texts.replace(r"^\s*$", None, regex=True), allow_unknown=True)
    same(found[target].tolist(), [row[target] for row in answers], spec)
    for row in predicted("run", "new.csv", "--proba") if spec["classes"] else ():
        shares = {label: float(row[f"probability_{label}"]) for label in spec["classes"]}
        assert np.isclose(sum(shares.values()), 1, atol=1e-5)
        assert np.isclose(shares[row[target]], max(shares.values()), atol=1e-6)


def check_export(answers: list[Row], spec: Facts) -> None:
    """The exported model gives the same answers; the program that comes with it reads the rows."""
    done("export", "run", "--format", "torch_export", "--output", "m.pt2")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path("m.pt2.py")["main"]("m.pt2", "plain.csv")
    found, target = csv.DictReader(io.StringIO(printed.getvalue())), spec["header"][1]
    same([row[target] for row in found], [row[target] for row in answers], spec)


def check_resumed(example: Example, answers: list[Row]) -> None:
    """One epoch and one more are two epochs, bit for bit."""
    done(*example.training(1, "one"))
    done("resume", "one", "trainer.epochs=2")
    for name in ("best", "last"):
        file = f"checkpoints/{name}.safetensors"
        straight, resumed = (load_state(Path(run, file))["weights"] for run in ("run", "one"))
        assert all(torch.equal(value, resumed[key]) for key, value in straight.items())
    assert Path("one/pred.csv").read_bytes() == Path("run/pred.csv").read_bytes()
    assert predicted("one", "t.csv") == answers


@shares(fast=5, soak=300, parts=3)
@pytest.mark.slow
def test_every_row_has_one_answer(share: Share) -> None:
    share.of(examples(), check_cycle)


# --- several members, and a test file ---


def check_members(example: Example) -> None:
    """Of folds, each row is answered by the member that did not train on it."""
    with trained(example) as spec:
        if spec is None:
            return
        name, target = spec["header"]
        each = predicted("run", "t.csv", "--members")
        answers = {}
        for member in Path("run/members").iterdir():
            for number in split_of(member)["valid"]:
                row = example.known[number]
                answers[row] = {name: each[row][name], target: each[row][member.name]}
        own = read("run/pred.csv")
        assert [row[name] for row in own] == [answers[row][name] for row in example.known]
        same([row[target] for row in own], [answers[row][target] for row in example.known], spec)
        everything = [answers.get(row, {}) for row in range(len(each))]
        check_scores(evaluate("run")["out_of_fold"], example, example.known, everything)


@shares(fast=2, soak=100)
@pytest.mark.slow
def test_folds_answer_every_row(share: Share) -> None:
    share.of(examples("folds=2", "folds=3"), check_members)


def check_test_file(example: Example) -> None:
    """pred.csv has every row of the test file; those with a target are scored."""
    with trained(example) as spec:
        if spec is None:
            return
        answers = predicted("run", "t.csv")
        assert read("run/pred.csv") == answers
        check_scores(record("run")["metrics"]["test"], example, example.known, answers)


@shares(fast=2, soak=100)
@pytest.mark.slow
def test_a_test_file_is_answered_like_a_new_one(share: Share) -> None:
    share.of(examples("data.test=new.csv"), check_test_file)
