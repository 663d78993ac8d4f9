"""Checkpoints: plain, whole, safe to open."""

from pathlib import Path

import pytest
import torch

from mlrun.errors import MlrunError
from mlrun.runs.checkpoint import FORMAT, load, save
from mlrun.system.files import write_atomically

STATE = {"format": FORMAT, "weights": {"w": torch.arange(3.0)}, "progress": {"epoch": 3}}


def test_what_is_saved_is_loaded(workdir):
    save(workdir / "a.pt", STATE)
    state = load(workdir / "a.pt")
    assert state["progress"] == {"epoch": 3}
    assert torch.equal(state["weights"]["w"], torch.arange(3.0))


class Payload:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(workdir):
    torch.save({"format": FORMAT, "weights": Payload()}, workdir / "evil.pt")
    with pytest.raises(MlrunError, match="cannot be loaded as plain tensors"):
        load(workdir / "evil.pt")
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated zip"])
def test_a_damaged_checkpoint_is_named(workdir, content):
    (workdir / "bad.pt").write_bytes(content)
    with pytest.raises(MlrunError, match=r"bad\.pt cannot be loaded"):
        load(workdir / "bad.pt")


def test_a_truncated_checkpoint_is_named(workdir):
    save(workdir / "a.pt", STATE)
    whole = (workdir / "a.pt").read_bytes()
    (workdir / "a.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MlrunError, match="cannot be loaded"):
        load(workdir / "a.pt")


def test_a_missing_checkpoint_and_another_format_are_named(workdir):
    with pytest.raises(MlrunError, match="no checkpoint"):
        load(workdir / "none.pt")
    save(workdir / "later.pt", {**STATE, "format": 99})
    with pytest.raises(MlrunError, match="format 1"):
        load(workdir / "later.pt")


@pytest.mark.parametrize(
    "value", [torch.tensor([]), torch.ones(3), None, "1"], ids=["empty", "tensor", "none", "text"]
)
def test_a_format_that_is_no_number_is_refused(workdir, value):
    save(workdir / "odd.pt", {**STATE, "format": value})
    with pytest.raises(MlrunError, match="format 1"):
        load(workdir / "odd.pt")


def test_a_missing_part_or_one_of_another_kind_is_named(workdir):
    save(workdir / "a.pt", {**STATE, "spec": [1]})
    for name in ("contract", "spec"):
        with pytest.raises(MlrunError, match=rf"a\.pt is damaged: '{name}' is missing in it or is"):
            load(workdir / "a.pt", parts={name: dict})


def test_a_failed_write_leaves_the_old_file_and_no_debris(workdir, monkeypatch):
    path = workdir / "file"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in workdir.iterdir()] == ["file"]
