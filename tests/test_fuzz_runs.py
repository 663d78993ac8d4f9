"""Random overrides and damaged run folders: success, or one error line.

Everything goes through the command line. A job is as small as one can be (24 rows, one epoch), and
sizes are either tiny or beyond any memory, so that none of them really fills the machine.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pooch
import pytest
import torch
from hypothesis import assume
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mlrun.config import options as catalogue
from mlrun.runs.checkpoint import load_state, save_state
from mlrun.system.plain_text import one_line
from tests import faults
from tests.forged import sealed
from tests.fuzzing import Ended, Share, check_no_leftovers, command, is_whole, shares
from tests.mutations import Change, any_leaf, changed, changes, edited, edits, with_changes
from tests.test_foreign_sweeps import content
from tests.test_tabular import composed

COLORS = ("red", "blue", "green")
ROWS = 24


def write_table(name: str, target: Callable[[int], Any]) -> None:
    """A number, a color and the target."""
    rows = (f"{i * 0.7},{COLORS[i % 3]},{target(i)}\n" for i in range(ROWS))
    Path(name).write_text("size,color,price\n" + "".join(rows))


def price(row: int) -> float:
    return row * 1.3 + 0.25


# --- overrides ---

BASE = ("task=csv", "data.train=t.csv", "trainer.epochs=1", "quiet=true", "model=linear")
# None of these numbers is a size that a machine really has and slowly fills.
NUMBERS = ("-1", "0", "1", "2", "3", "0.5", "-0.0", "1e-9", "1e308", "1000000000000", "9" * 30)
TEXTS = (
    "",
    "''",
    "a",
    "x y",
    "'a b'",
    '"',
    "'",
    "größe",
    "日本",
    "size",
    "color",
    "price",
    "\\",
    "%",
)
VALUES = (
    *(
        "inf",
        "-inf",
        "nan",
        "null",
        "none",
        "true",
        "false",
        "???",
        "[]",
        "{}",
        "[1]",
        "[0]",
        "[-1]",
    ),
    *("[a,b]", "[[1]]", "[null]", "{a:1}", "{a:{b:[1]}}", "[1,", "{a", "a:b", "a=b", "1,2", "{}x"),
    *(
        "${seed}",
        "${no.such}",
        "${task}",
        "${oc.env:NO_SUCH}",
        "${no_resolver:1}",
        "${",
        "${a.${b}}",
    ),
    *(
        "${trainer}",
        "${optimizer.lr}",
        "${data}",
        "${oc.env:HOME}",
        "${oc.select:x,1}",
        "${..seed}",
    ),
    *(
        "cuda",
        "mps",
        "meta",
        "cpu:9",
        "auto",
        "mean",
        "bf16",
        "kfold",
        "time",
        "group",
        "valid/mse",
    ),
    *("torch.nn.Linear", "os.system", "torch.optim.SGD", "t.csv", "no.csv", ".", "max", "batch"),
    *("range(3)", "choice(1,2)", "glob(*)", "int(x)", "1e5", "_target_", "@package", "0x10", "1_0"),
)
value = st.sampled_from(NUMBERS) | st.sampled_from(TEXTS) | st.sampled_from(VALUES)


@cache
def keys() -> tuple[str, ...]:
    """Every key of the composed configuration, groups included."""

    def below(node: Any, name: str) -> Iterator[str]:
        yield name
        for key in node if isinstance(node, dict) else ():
            yield from below(node[key], f"{name}.{key}")

    plain: Any = OmegaConf.to_container(composed("csv"))
    return tuple(name for key, node in plain.items() for name in below(node, str(key)))


OTHERS = (
    "hydra.run.dir",
    "hydra.verbose",
    "hydra.job.name",
    "hydra.no",
    "no.such",
)


@st.composite
def key(draw: st.DrawFn) -> str:
    """A key there is, or nearly."""
    name = draw(st.sampled_from(keys()) | st.sampled_from(keys()) | st.sampled_from(OTHERS))
    at = draw(st.integers(0, len(name)))
    change = draw(st.integers(0, 9))
    if change == 0:
        return name[:at] + name[at + 1 :]
    if change == 1:
        return name[:at] + draw(st.sampled_from("x._/@-=[ é")) + name[at:]
    return name


@st.composite
def option(draw: st.DrawFn) -> str:
    """GROUP=OPTION, or nearly."""
    group = draw(st.sampled_from(catalogue.GROUPS))
    chosen = draw(st.sampled_from(sorted(catalogue.options(group))))
    slips = st.sampled_from((chosen[1:], chosen.upper(), "no_such", "[a,b]", "null", ""))
    chosen = chosen if draw(st.integers(0, 4)) else draw(slips)
    return f"{draw(st.sampled_from(('', '', '', '+', '++', '~')))}{group}={chosen}"


@st.composite
def override(draw: st.DrawFn) -> str:
    sign = draw(st.sampled_from(("", "", "", "", "+", "++", "~")))
    name = draw(key())
    return f"{sign}{name}" if sign == "~" and draw(st.booleans()) else f"{sign}{name}={draw(value)}"


overrides = st.lists(
    st.one_of(override(), override(), override(), option()), min_size=1, max_size=3
)
stray = st.sampled_from(
    ("-m", "--cfg", "--cfg=job", "-x", "--no-such", "train", "=", "a", "--", "é")
)


def check_overrides(words: list[str]) -> None:
    """Train with these words in a folder of its own."""
    text = " ".join(words)
    assume(not ("epochs" in text and "max_minutes" in text))  # many epochs would be asked for
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_table("t.csv", price)
        ended = command(*BASE, "trainer.max_minutes=1e-4", *words)
        check_folders(ended)


def check_folders(ended: Ended) -> None:
    """What is left: nothing after a mistake, else whole runs."""
    check_no_leftovers(Path())
    for file in Path().rglob("run.json"):
        status = json.loads(file.read_text())["status"]
        of_a_sweep = (file.parent.parent / "sweep.json").is_file()  # whose other jobs went on
        ended_well = ("done", "interrupted", "diverged", *("failed",) * of_a_sweep)
        assert status in (("failed",) if ended.code == 2 else ended_well)
        assert status not in ("done", "interrupted") or is_whole(file.parent / "pred.csv")
    if ended.code == 2:
        folders = [path for path in Path().rglob("*") if path.is_dir() and not [*path.iterdir()]]
        assert not folders, (folders, ended.err)


@pytest.mark.filterwarnings("default")  # trainer.compile: torch's compiler uses deprecated parts
@faults.random_overrides
@shares(fast=3, soak=1200, parts=4)
@pytest.mark.slow
def test_any_overrides_train_or_are_refused(
    share: Share, record_property: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    words = st.tuples(overrides, st.lists(stray, max_size=1) | st.just([])).map(
        lambda pair: pair[0] + pair[1]
    )
    record_property("examples", share.of(overrides | words, check_overrides))


# --- run folders ---


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A regression and a classification, each with a file to predict."""
    folder = tmp_path_factory.mktemp("runs")
    small = ("model.hidden=[3]", "trainer.epochs=2", "trainer.max_minutes=0.05", "quiet=true")
    with contextlib.chdir(folder):
        for name, target in (("regression", price), ("classification", lambda row: row % 2)):
            write_table(f"{name}.csv", target)
            words = (f"data.train={name}.csv", f"data.test={name}.csv", "data.target=price", *small)
            assert command("task=csv", *words, f"hydra.run.dir={name}").code == 0
    return {name: folder / name for name in ("regression", "classification")}


tensor = st.builds(
    lambda shape, kind: torch.ones(shape).to(kind),
    st.sampled_from(((), (0,), (1,), (3,), (1, 3), (3, 5), (2, 2, 2))),
    st.sampled_from((torch.float32, torch.float64, torch.int64, torch.bool, torch.float16)),
)


def change_json(file: Path, change: Change) -> None:
    file.write_text(with_changes(file.read_text(), [change]))


def change_checkpoint(file: Path, change: Change) -> None:
    state = load_state(file)
    changed(state, change)
    save_state(file, state)


def change_bytes(file: Path, content: Callable[[bytes], bytes] | str) -> None:
    if file.is_dir():
        shutil.rmtree(file)
        file.write_bytes(b"a file where a folder was")
    elif content == "folder":
        file.unlink()
        file.mkdir()
    elif content == "gone":
        file.unlink()
    elif callable(content):
        file.write_bytes(content(file.read_bytes()))


def change_sealed_bytes(file: Path, content: Callable[[bytes], bytes] | str) -> None:
    """Other bytes in a checkpoint, with the checksum that fits them."""
    if callable(content):
        file.write_bytes(sealed(content(file.read_bytes())))


@st.composite
def bytes_changes(draw: st.DrawFn) -> Callable[[bytes], bytes] | str:
    """Other content for a file, a folder in its place, or nothing."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(("folder", "gone")))
    other, share = draw(st.binary(max_size=20)), draw(st.floats(0, 1))

    def change(content: bytes) -> bytes:
        at = int(share * len(content))
        return content[:at] + (other + content[at + len(other) :] if other else b"")

    return change


JSON_FILES = ("run.json", "run.json", "split.json")
CHECKPOINTS = ("best.safetensors", "last.safetensors")
PLACES = (
    *(
        "run.json",
        "split.json",
        "checkpoints/best.safetensors",
        "checkpoints/last.safetensors",
        "metrics.csv",
    ),
    *("pred.csv", "config.yaml", "run.log", ".hydra/config.yaml", "plots/learning_curve.png"),
    *(".lock", "checkpoints", "plots", "tensorboard", ".hydra"),
)
checkpoint_changes = st.tuples(st.integers(0, 2**16), st.just("set"), tensor) | changes()
damages = st.one_of(
    st.tuples(st.just(change_json), st.sampled_from(JSON_FILES), changes(any_leaf)),
    st.tuples(
        st.just(change_checkpoint),
        st.sampled_from(CHECKPOINTS).map(lambda name: f"checkpoints/{name}"),
        checkpoint_changes,
    ),
    st.tuples(st.just(change_bytes), st.sampled_from(PLACES), bytes_changes()),
    st.tuples(
        st.just(change_sealed_bytes),
        st.sampled_from(CHECKPOINTS).map(lambda name: f"checkpoints/{name}"),
        bytes_changes(),
    ),
)
COMMANDS = (
    *(("evaluate", "run"), ("evaluate", "run", "--input", "new.csv"), ("predict", "run")),
    *(("predict", "run", "--input", "new.csv"), ("resume", "run"), ("rerun", "run")),
    ("show", "run"),
    *(("resume", "run", f"trainer.epochs={epochs}") for epochs in (1, 3, 3)),
)


def check_run(run: Path, damages: list[Any], words: tuple[str, ...]) -> None:
    """A command on a damaged copy of the run."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        shutil.copytree(run, "run")
        write_table("new.csv", lambda _: 1)
        for damage, name, change in damages:
            file = Path("run", name)
            if file.exists():
                with (
                    contextlib.suppress(Exception) if len(damages) > 1 else contextlib.nullcontext()
                ):
                    damage(file, change)
        predictions = Path("run/pred.csv")
        before = predictions.read_bytes() if predictions.is_file() else None
        ended = command(*words)
        assert "out of memory" not in ended.err, ended.err
        check_no_leftovers(Path())
        after = predictions.read_bytes() if predictions.is_file() else None
        asked_for_fewer = any(name in JSON_FILES for _, name, _ in damages)
        assert after == before or is_whole(predictions, rows=None if asked_for_fewer else ROWS)
        written = [*Path("run").glob("pred_*.csv")]
        assert not written or (ended.code == 0 and is_whole(written[0], rows=ROWS))


@faults.damaged_folder
@shares(fast=5, soak=2000, parts=4)
def test_any_run_folder_is_opened_or_refused(
    share: Share, record_property: Any, runs: dict[str, Path]
) -> None:
    def check(example: tuple[str, list[Any], tuple[str, ...]]) -> None:
        name, damages, words = example
        check_run(runs[name], damages, words)

    few = st.lists(damages, min_size=1, max_size=2)
    strategy = st.tuples(
        st.sampled_from(("regression", "classification")), few, st.sampled_from(COMMANDS)
    )
    record_property("examples", share.of(strategy, check))


def change_by_edits(file: Path, these: list[Any]) -> None:
    if file.is_file():
        file.write_bytes(edited(file.read_bytes(), these))


record_damages = st.one_of(
    st.tuples(st.just(change_json), st.just("run.json"), changes(any_leaf)),
    st.tuples(st.just(change_by_edits), st.just("run.json"), edits),
    st.tuples(st.just(change_by_edits), st.sampled_from(PLACES), edits),
    damages,
)


@faults.damaged_folder
@shares(fast=10, soak=5000, parts=2)
def test_any_run_folder_is_shown_as_it_stands_or_refused(
    share: Share, record_property: Any, runs: dict[str, Path]
) -> None:
    """`show` reads the record and the checkpoint of a run, and writes nothing."""

    def check(example: tuple[str, list[Any]]) -> None:
        name, these = example
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            shutil.copytree(runs[name], "run", ignore=shutil.ignore_patterns("plots", "*.html"))
            for damage, place, change in these:
                if Path("run", place).exists():
                    with contextlib.suppress(Exception):
                        damage(Path("run", place), change)
            before = content(Path())
            ended = command("show", "run")
            assert content(Path()) == before
            if ended.code == 0:
                record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
                assert ended.out.startswith("status ")
                assert f"of '{one_line(record['spec']['target'])}' from" in ended.out

    names = st.sampled_from(("regression", "classification"))
    strategy = st.tuples(names, st.lists(record_damages, min_size=1, max_size=2))
    record_property("examples", share.of(strategy, check))
