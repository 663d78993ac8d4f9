"""A data file that changes while it is read is noticed and told; nothing of it is cached."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mlrun.data import parquet_file
from mlrun.data.table_file import read_table
from mlrun.data.text_table import read_cells_in_batches
from mlrun.errors import MlrunError
from tests import faults
from tests.conftest import idx_bytes
from tests.test_big_table import everything_is_large  # noqa: F401  a fixture

CHANGED = "changed while it was read: wait until it is written, or copy it"
OLD = pd.DataFrame({"x": range(60), "y": [i % 3 + 0.5 for i in range(60)]})
NEW = OLD.assign(y=[i % 3 + 3.5 for i in range(60)])  # of the same size in bytes


def same(table: pd.DataFrame, other: pd.DataFrame) -> bool:
    return bool(table.to_numpy().tolist() == other.to_numpy().tolist())


def write(path: Path, table: pd.DataFrame) -> None:
    """As a program does that writes into the same file."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix == ".xlsx":
        table.to_excel(path, index=False)
    else:
        table.to_csv(path, index=False)


def new_content(path: Path) -> None:
    write(path, NEW)


def longer(path: Path) -> None:
    write(path, pd.concat([OLD, NEW]))


def shorter(path: Path) -> None:
    write(path, OLD[:20])


def another_file(path: Path) -> None:
    other = path.with_name(f"other{path.suffix}")
    write(other, NEW)
    other.replace(path)


def new_content_with_the_old_time(path: Path) -> None:
    before = path.stat()
    write(path, NEW)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


WAYS = (new_content, longer, shorter, another_file, new_content_with_the_old_time)


@pytest.fixture
def while_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`while_reading(change, "t.csv")`: change the file after its first rows were read."""

    def set_up(change: Callable[[Path], None], name: str) -> None:
        path, waiting = Path(name), [True]

        def once() -> None:
            if waiting:
                waiting.clear()
                change(path)

        def change_after_the_first(read: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
            def reading(*arguments: Any, **named: Any) -> Iterator[Any]:
                for piece in read(*arguments, **named):
                    yield piece
                    once()

            return reading

        batches = change_after_the_first(read_cells_in_batches)
        pieces = change_after_the_first(parquet_file.pieces)
        monkeypatch.setattr("mlrun.data.table_file.read_cells_in_batches", batches)
        monkeypatch.setattr(parquet_file, "pieces", pieces)

    return set_up


@faults.changing
@pytest.mark.parametrize(
    ("name", "change"),
    [*product(("t.csv", "t.parquet"), WAYS), ("t.csv.gz", longer)],
)
def test_a_large_file_that_changes_is_told_and_not_cached(
    everything_is_large,  # noqa: F811
    while_reading,
    name,
    change,
):
    write(Path(name), OLD)
    while_reading(change, name)
    with pytest.raises(MlrunError) as caught:
        read_table(Path(name))
    assert str(caught.value) == f"{name} {CHANGED}"
    assert not [*everything_is_large.iterdir()]
    write(Path(name), OLD)
    assert same(read_table(Path(name)).table, OLD)
    write(Path(name), NEW)
    assert same(read_table(Path(name)).table, NEW)


@pytest.fixture
def after_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`after_reading(change, "t.csv")`: change the file once it was read, before it is hashed."""

    def set_up(change: Callable[[Path], None], name: str) -> None:
        def reading(path: Path, *arguments: Any, **named: Any) -> Any:
            read = read_table(path, *arguments, **named)
            if path.name == name:
                change(path)
            return read

        monkeypatch.setattr("mlrun.data.tabular.read_table", reading)

    return set_up


OTHERS = ("t.csv.gz", "t.parquet", "t.xlsx")


@faults.changing
@pytest.mark.parametrize(
    ("name", "change"),
    [*product(("t.csv",), WAYS), *product(OTHERS, [new_content_with_the_old_time])],
)
@pytest.mark.slow
def test_a_small_file_that_changes_is_told_before_a_folder_is_made(
    mlrun, after_reading, name, change
):
    write(Path(name), OLD)
    after_reading(change, name)
    answer = mlrun("task=csv", f"data.train={name}", "data.kind=regression", "quiet=true")
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {name} {CHANGED}\n")
    assert not Path("outputs").exists()


@faults.changing
@pytest.mark.slow
def test_a_test_file_and_a_new_file_that_change_are_told(mlrun, after_reading):
    for name in ("t.csv", "test.csv", "new.csv"):
        write(Path(name), OLD)
    words = ("task=csv", "data.train=t.csv", "data.target=y", "trainer.epochs=1", "quiet=true")
    run = mlrun(*words, "data.kind=regression").run
    after_reading(new_content, "test.csv")
    answer = mlrun(*words, "data.kind=regression", "data.test=test.csv")
    assert (answer.code, answer.err) == (2, f"error: test.csv {CHANGED}\n")
    after_reading(new_content, "new.csv")
    for verb in ("evaluate", "predict"):
        write(Path("new.csv"), OLD)
        answer = mlrun(verb, str(run), "--input", "new.csv")
        assert (answer.code, answer.err) == (2, f"error: new.csv {CHANGED}\n")


@faults.changing
def test_the_file_of_a_run_that_changes_after_its_hash_was_checked_is_told(mlrun, after_reading):
    write(Path("t.csv"), OLD)
    words = ("task=csv", "data.train=t.csv", "data.target=y", "trainer.epochs=1", "quiet=true")
    run = mlrun(*words, "data.kind=regression").run
    after_reading(new_content, "t.csv")
    answer = mlrun("evaluate", str(run))
    assert (answer.code, answer.err) == (2, f"error: {Path('t.csv').resolve()} {CHANGED}\n")


@faults.changing
def test_images_that_change_are_told(mlrun, mnist_files, monkeypatch):
    from mlrun.data import images

    labels, read = mnist_files / "train-labels-idx1-ubyte", images.read_idx

    def reading(path: Path, *, dimensions: int) -> Any:
        found = read(path, dimensions=dimensions)
        if path == Path("data/mnist") / labels.name:
            labels.write_bytes(idx_bytes(found[::-1]))
        return found

    monkeypatch.setattr(images, "read_idx", reading)
    answer = mlrun("task=mnist", "debug=smoke", "quiet=true")
    assert (answer.code, answer.err) == (2, f"error: data/mnist/{labels.name} {CHANGED}\n")


# --- the cache ------------------------------------------------------------------------------


def test_several_readers_may_fill_the_cache_at_once(everything_is_large):  # noqa: F811
    write(Path("t.csv"), OLD)
    tables: list[pd.DataFrame] = []
    threads = [
        threading.Thread(target=lambda: tables.append(read_table(Path("t.csv")).table))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tables) == 6
    for table in tables:
        assert same(table, OLD)
    assert len([*everything_is_large.iterdir()]) == 1


def linked(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    Path("elsewhere").mkdir()
    Path("elsewhere/precious").touch()
    folder.symlink_to(Path("elsewhere").resolve())


def writable_by_others(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def of_someone_else(folder: Path) -> None:
    folder.mkdir(parents=True)
    if os.getuid() != 0:
        pytest.skip("only root may give folders away")
    shutil.chown(folder, 12345)


def a_file(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.touch()


@faults.odd_world
@pytest.mark.parametrize("how", [linked, writable_by_others, of_someone_else, a_file])
def test_a_cache_that_others_may_change_is_not_used(
    everything_is_large,  # noqa: F811
    caplog,
    how,
):
    how(everything_is_large)
    write(Path("t.csv"), OLD)
    caplog.set_level("INFO", logger="mlrun")
    assert same(read_table(Path("t.csv")).table, OLD)
    assert f"no cache in {everything_is_large}: " in caplog.text
    if everything_is_large.is_dir():
        assert {path.name for path in everything_is_large.iterdir()} <= {"precious"}


def test_folders_that_are_no_entries_of_the_cache_stay(everything_is_large, monkeypatch):  # noqa: F811
    monkeypatch.setattr("mlrun.data.table_cache.MOST_TABLES", 1)
    (everything_is_large / "mine").mkdir(parents=True, mode=0o700)
    everything_is_large.chmod(0o700)
    for table in (OLD, NEW):
        write(Path("t.csv"), table)
        read_table(Path("t.csv"))
    assert (everything_is_large / "mine").is_dir()
    assert len([*everything_is_large.iterdir()]) == 2


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:7])


def of_nonsense(file: Path) -> None:
    file.write_text('{"columns": [1], "rows": "x", "facts": null}')


@faults.odd_world
@pytest.mark.parametrize("name", ["columns.json", "values.bin"])
@pytest.mark.parametrize("how", [cut_off, of_nonsense, Path.unlink])
def test_a_damaged_entry_of_the_cache_is_written_again(everything_is_large, name, how):  # noqa: F811
    write(Path("t.csv"), OLD)
    read_table(Path("t.csv"))
    (entry,) = everything_is_large.iterdir()
    how(entry / name)
    assert same(read_table(Path("t.csv")).table, OLD)
    assert same(read_table(Path("t.csv")).table, OLD)
