"""Random and damaged data files: success, or one error line.

Most examples go to `Tabular.load` and `Images.load`, which do all of the reading: a whole training
run takes a hundred times as long and does the same with the file. A smaller share goes through the
command line, and files of new rows go to `predict` and `evaluate`, which are fast.
"""

import contextlib
import csv
import gzip
import io
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from mlrun.data.images import STEMS, read_idx
from tests import faults
from tests.conftest import idx_bytes
from tests.fuzzing import Share, check_no_leftovers, command, is_whole, refused, shares
from tests.mutations import edited, edits
from tests.test_tabular import data_of

TRAIN = ("trainer.epochs=1", "model=linear", "quiet=true", "hydra.run.dir=run")

# --- CSV ---

NAMES = (
    "size",
    "color",
    "price",
    "id",
    "ID",
    "",
    " ",
    "größe",
    "size.1",
    "Unnamed: 0",
    "a,b",
    "=x",
)
ODD = (
    *("", " ", "NA", "nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "9" * 30, "-0"),
    *("0x10", "1_000", "1,5", "1.000,5", "true", "False", "2020-01-01", '"', '""', "a\nb", "=1+1"),
    *(
        "\ufeff",
        "\0",
        "007",
        "1.",
        "+5",
        "\uff11\uff12",
        "²",
        "1e5",
        "None",
        "null",
        "#",
        "\\",
        "'",
        "\r",
    ),
)
number = st.floats(-1e6, 1e6).map(str) | st.integers(-5, 5).map(str)
any_number = st.floats().map(str) | st.integers().map(str) | number
word = st.sampled_from(("red", "blue", "green", "x y", "ß", "日本")) | st.text(max_size=4)
odd = st.sampled_from(ODD)
KINDS = (
    number,
    number,
    number,
    word,
    word,
    any_number,
    odd,
    number | word,
    word | odd,
    number | odd,
)
kind_of_column = st.sampled_from(KINDS)


def one_in(count: int) -> st.SearchStrategy[bool]:
    return st.sampled_from((*[False] * (count - 1), True))


def mostly(often: st.SearchStrategy[Any], now_and_then: st.SearchStrategy[Any]) -> Any:
    return one_in(12).flatmap(lambda rare: now_and_then if rare else often)


@st.composite
def tables(draw: st.DrawFn) -> list[list[str]]:
    """A header and rows; each column repeats a few cells of one kind, now and then a stray one."""
    odd_names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)
    header = draw(st.one_of(st.builds(list, st.just(("size", "color", "price"))), odd_names))
    if draw(one_in(8)):
        header[-1] = draw(st.text(max_size=3))
    kinds = [draw(kind_of_column) for _ in header]
    if draw(one_in(2)):
        kinds[-1] = number  # a target, most of the time
    pools = [draw(st.lists(kind, min_size=3, max_size=6, unique=True)) for kind in kinds]
    count = draw(st.sampled_from((20, 20, 20, 20, 9, 5, 3, 1, 0)))
    rows = [[pool[(i * (k + 1)) % len(pool)] for k, pool in enumerate(pools)] for i in range(count)]
    if draw(one_in(3)) and rows:
        at = draw(st.integers(0, count - 1))
        rows[at] = draw(stray(row=rows[at]))
    return [header, *rows]


@st.composite
def stray(draw: st.DrawFn, *, row: list[str]) -> list[str]:
    """The row with another cell, one too many or one too few."""
    how = draw(st.sampled_from(("other", "other", "more", "fewer")))
    if how == "fewer":
        return row[:-1]
    at = draw(st.integers(0, len(row) - 1))
    return [*row[:at], draw(odd), *row[at + (how == "other") :]]


@st.composite
def near_csv(draw: st.DrawFn) -> bytes:
    """A table as text, in one of the ways people write it, and now and then damaged."""
    separator = draw(st.sampled_from((",", ",", ";", "\t", "|")))
    end = draw(st.sampled_from(("\n", "\n", "\r\n", "\r", "\n\n")))
    quoting = draw(st.sampled_from(("minimal", "minimal", "all", "none")))
    table = draw(tables())
    if quoting == "none":
        text = end.join(separator.join(row) for row in table) + end
    else:
        file = io.StringIO()
        kind: Any = csv.QUOTE_ALL if quoting == "all" else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=separator, lineterminator=end, quoting=kind).writerows(table)
        text = file.getvalue()
    start = draw(st.sampled_from(("", "", "", "\ufeff", "\n", " ")))
    coding = draw(st.sampled_from(("utf-8",) * 15 + ("latin-1", "utf-16")))
    content = (start + text).encode(coding, errors="replace")
    return draw(damaged(content)) if draw(one_in(12)) else content


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes changed, or the end cut off."""
    if not content:
        return content
    if draw(one_in(2)):
        return content[: draw(st.integers(0, len(content) - 1))]
    changed = bytearray(content)
    for at in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        changed[at] = draw(st.integers(0, 255))
    return bytes(changed)


any_csv = mostly(near_csv(), st.binary(max_size=200))
column = st.sampled_from(("size", "color", "price", "id", "größe"))
csv_settings = st.fixed_dictionaries(
    {},
    optional={
        "target": column,
        "id": column,
        "kind": st.sampled_from(("regression", "classification")),
        "features": st.sampled_from(({"top": 1, "by": "f_test"}, {"top": 2, "by": "correlation"}))
        | st.just({"top": 2, "by": "mutual_info"})
        | st.lists(column, max_size=2),
        "scale": st.sampled_from(("minmax", "none")),
        "categorical": st.just("none") | st.lists(column, max_size=2),
        "encode": st.just("ordinal"),
        "missing": st.sampled_from(("mean", "median", 0, -1e300)),
        "decimal": st.just("comma"),
        "duplicates": st.just("number"),
        "drop": st.lists(column, max_size=1),
        "split": st.fixed_dictionaries(
            {
                "method": st.sampled_from(("stratified", "random_split", "kfold", "time", "group")),
                "column": st.none() | column,
            }
        ),
    },
)
plain_settings = st.sampled_from(({}, {"missing": "mean"}, {"kind": "regression"}))
few_settings = st.one_of(plain_settings, csv_settings)


@faults.random_csv
@shares(fast=8, soak=5000, parts=4)
def test_any_csv_is_loaded_or_refused(share: Share, record_property: Any) -> None:
    def check(example: tuple[bytes, bytes | None, dict[str, Any]]) -> None:
        train, test, chosen = example
        Path("t.csv").write_bytes(train)
        Path("new.csv").write_bytes(test or b"")
        names = {"train": "t.csv", "test": None if test is None else "new.csv"}
        refused(lambda: data_of("csv", **names, **chosen).load())

    strategy = st.tuples(any_csv, mostly(st.none(), any_csv), few_settings)
    record_property("examples", share.of(strategy, check))


@faults.random_csv
@shares(fast=2, soak=300, parts=2)
def test_any_csv_is_trained_on_or_refused_without_a_trace(
    share: Share, record_property: Any
) -> None:
    def check(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            Path("t.csv").write_bytes(content)
            ended = command("task=csv", "data.train=t.csv", "data.missing=mean", *TRAIN)
            assert Path("run").exists() == (ended.code != 2)
            assert ended.code or is_whole(Path("run/pred.csv"))
            check_no_leftovers(Path())

    record_property("examples", share.of(near_csv(), check))


@pytest.fixture(scope="module")
def flower_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a price, of a number and a color."""
    folder = tmp_path_factory.mktemp("flowers")
    colors = ("red", "blue", "green")
    rows = "".join(f"{i * 0.7},{colors[i % 3]},{i * 1.3 + 0.25}\n" for i in range(24))
    with contextlib.chdir(folder):
        Path("t.csv").write_text(f"size,color,price\n{rows}")
        assert command("task=csv", "data.train=t.csv", "data.missing=mean", *TRAIN).code == 0
    return folder / "run"


def check_new_file(run: Path, verb: str, content: bytes, *more: str) -> None:
    """predict or evaluate with these bytes as --input."""
    Path("new").write_bytes(content)
    output = Path("out.csv")
    output.unlink(missing_ok=True)
    words = ("--output", str(output)) if verb == "predict" else ()
    ended = command(verb, str(run), "--input", "new", *words, *more)
    assert output.exists() == (verb == "predict" and ended.code == 0)
    assert not output.exists() or is_whole(output)
    check_no_leftovers(Path())


@faults.random_csv
@shares(fast=5, soak=3000, parts=2)
@pytest.mark.slow
def test_any_csv_is_predicted_and_scored_or_refused(
    share: Share, record_property: Any, flower_run: Path
) -> None:
    def check(example: tuple[bytes, str, bool]) -> None:
        content, verb, allow = example
        check_new_file(flower_run, verb, content, *(["--allow-unknown"] if allow else []))

    strategy = st.tuples(any_csv, st.sampled_from(("predict", "evaluate")), st.booleans())
    record_property("examples", share.of(strategy, check))


# --- IDX ---

SIDE = 3
size = st.sampled_from((0, 1, 2, SIDE, SIDE, SIDE, 8, 2**16, 2**31, 2**32 - 1))


@st.composite
def idx_files(draw: st.DrawFn, *, dimensions: int = 3) -> bytes:
    """An IDX file that fits its header, or nearly; gzipped or not; now and then damaged."""
    shape = [draw(st.integers(1, 12)), SIDE, SIDE][:dimensions]
    array = np.arange(int(np.prod(shape))).reshape(shape) % draw(st.integers(1, 256))
    content = idx_bytes(array)
    if draw(one_in(3)):
        sizes = [draw(size) for _ in range(draw(st.integers(0, 4)))]
        magic = bytes([0, 0, draw(st.sampled_from((8, 8, 9, 13))), draw(st.integers(0, 4))])
        content = magic + struct.pack(f">{len(sizes)}I", *sizes) + content[4 + 4 * dimensions :]
    if draw(one_in(4)):
        content = draw(damaged(content))
    if draw(one_in(2)):
        content = gzip.compress(content, mtime=0) * draw(st.sampled_from((1, 1, 1, 2)))
        content = draw(damaged(content)) if draw(one_in(3)) else content
    return content


any_idx = mostly(idx_files(), st.one_of(idx_files(dimensions=1), st.binary(max_size=60)))


sound_idx = st.sampled_from(
    [
        zipped
        for shape in ((5,), (2, SIDE, SIDE), (1, 1, 9), (3, SIDE))
        for plain in (idx_bytes(np.arange(np.prod(shape)).reshape(shape)),)
        for zipped in (plain, gzip.compress(plain, mtime=0))
    ]
)
edited_idx = st.tuples(sound_idx, edits).map(lambda pair: edited(*pair))


def values_of(content: bytes, dimensions: int) -> np.ndarray:
    """What an IDX file says, if it says anything."""
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    header = 4 + 4 * dimensions
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    return np.frombuffer(content, np.uint8, offset=header).reshape(sizes)


@faults.random_idx
@shares(fast=40, soak=16000, parts=2)
def test_any_idx_is_read_as_it_stands_or_refused(share: Share, record_property: Any) -> None:
    read = 0

    def check(example: tuple[bytes, int]) -> None:
        nonlocal read
        content, dimensions = example
        Path("any").write_bytes(content)
        found: list[np.ndarray] = []
        if not refused(lambda: found.append(read_idx(Path("any"), dimensions=dimensions))):
            read += 1
            np.testing.assert_array_equal(found[0], values_of(content, dimensions), strict=True)

    strategy = st.tuples(any_idx | edited_idx, st.sampled_from((1, 3, 3)))
    record_property("examples", share.of(strategy, check))
    assert 0 < read < share.tried


def write_images(folder: Path, replaced: dict[str, bytes]) -> None:
    """The four files, some of them with other content."""
    for role, stem in STEMS.items():
        count = 10 if role.startswith("train") else 4
        labels = np.arange(count) % 3
        images = np.arange(count * SIDE * SIDE).reshape(count, SIDE, SIDE)
        sound = idx_bytes(images if role.endswith("images") else labels)
        (folder / stem).write_bytes(replaced.get(role, sound))


any_images = st.dictionaries(st.sampled_from(tuple(STEMS)), any_idx, max_size=2)
plain_labels = st.lists(st.integers(0, 255), min_size=1, max_size=12).map(
    lambda numbers: idx_bytes(np.array(numbers))
)
other_labels = st.fixed_dictionaries({}, optional={"train_labels": plain_labels})


@faults.random_idx
@shares(fast=5, soak=4000, parts=2)
def test_any_four_idx_files_are_loaded_or_refused(share: Share, record_property: Any) -> None:
    def check(replaced: dict[str, bytes]) -> None:
        write_images(Path(), replaced)
        refused(lambda: data_of("mnist", dir=".", split={"ratio": 0.4}).load())

    record_property("examples", share.of(any_images | other_labels, check))


@pytest.fixture(scope="module")
def image_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    with contextlib.chdir(folder):
        write_images(folder, {})
        assert command("task=mnist", "data.dir=.", "data.split.ratio=0.4", *TRAIN).code == 0
    return folder / "run"


@faults.random_idx
@shares(fast=7, soak=3000, parts=2)
@pytest.mark.slow
def test_any_idx_is_predicted_or_refused(
    share: Share, record_property: Any, image_run: Path
) -> None:
    def check(content: bytes) -> None:
        check_new_file(image_run, "predict", content)

    record_property("examples", share.of(any_idx | edited_idx, check))
