"""torchrun: several processes train the model that one alone would have trained."""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrun.training.distributed import ProcessGroup
from tests.test_resume import assert_same_run

pytestmark = pytest.mark.sample  # other processes train, on samples of full size
MLP = ("task=covid", "trainer.epochs=3", "trainer.batch_size=50", "model.dropout=0.2")
CNN = ("task=mnist", "model=cnn", "model.channels=[2,4]", "optimizer=sgd", "trainer.batch_size=33")


@given(st.integers(0, 1000), st.integers(1, 9))
def test_shares_in_order_are_all_rows_and_differ_by_one_at_most(rows, size):
    shares = [list(range(rows))[ProcessGroup(rank, size).share(rows)] for rank in range(size)]
    assert [*itertools.chain.from_iterable(shares)] == [*range(rows)]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("-m", "seed=1,2"), "-m"),
        (("seeds=2",), "seeds or folds"),
        (("evaluate", "run"), "mlrun evaluate"),
    ],
    ids=" ".join,
)
def test_what_one_process_does_is_refused_in_a_sentence(mlrun, monkeypatch, words, what):
    for name, value in (("TORCHELASTIC_RUN_ID", "a"), ("WORLD_SIZE", "2"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    answer = mlrun(*words)
    assert answer.code == 2
    assert answer.err == f"error: {what}: works in one process only; start it without torchrun\n"
    assert not list(Path().iterdir())


def started(*words: str, processes: int = 2) -> "subprocess.Popen[str]":
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return subprocess.Popen(
        [sys.executable, *torchrun, "-m", "mlrun", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def ended(process: "subprocess.Popen[str]") -> str:
    output, _ = process.communicate(timeout=120)
    return output


def epochs(run: str) -> list[dict[str, str]]:
    with Path(run, "metrics.csv").open(newline="") as file:
        return [row | {"seconds": "0"} for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "processes"),
    [
        ((*MLP, "trainer.accumulate=2", "trainer.clip_norm=0.1", "trainer.l1=0.01"), 3),
        ((*MLP, "trainer.batch_size=2", "trainer.limit_batches=20"), 3),
        ((*CNN, "trainer.epochs=2", "trainer.limit_batches=2", "model.norm=batch"), 2),
    ],
    ids=["accumulated", "fewer rows than processes", "batch norm"],
)
def test_it_is_the_run_of_one_process_to_rounding(mlrun, words, processes):
    output = ended(started(*words, "hydra.run.dir=several", "quiet=true", processes=processes))
    assert output == "several\n"
    assert mlrun(*words, "hydra.run.dir=one", "trainer.engine=autograd").code == 0
    one, several = epochs("one"), epochs("several")
    assert len(one) == len(several)
    for first, second in zip(one, several, strict=True):
        for name in ("epoch", "step", "lr", "train/loss", "valid/loss"):
            assert float(second[name]) == pytest.approx(float(first[name]), rel=2e-5), name
    assert json.loads(Path("several/run.json").read_text())["processes"] == processes
    assert {path.name for path in Path().iterdir()} - {"data"} == {"one", "several"}
    assert mlrun("evaluate", "several").code == 0


@pytest.mark.slow
def test_a_killed_run_is_resumed_to_the_same_bits(mlrun):
    words = [*MLP, "trainer.epochs=60", "trainer.patience=null", "checkpoint.every_seconds=0"]
    words.append("quiet=true")
    assert ended(started(*words, "hydra.run.dir=whole")) == "whole\n"
    process = started(*words, "hydra.run.dir=killed")
    while not Path("killed/checkpoints/last.safetensors").exists():
        time.sleep(0.05)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    assert "another process of this run ended" in ended(process)
    assert len(epochs("killed")) < 60
    assert "killed" in ended(started("resume", "killed"))
    assert_same_run(Path("whole"), Path("killed"))


@pytest.mark.slow
def test_a_mistake_is_reported_once():
    output = ended(started("task=covid", "optimizer.lrr=1"))
    assert output.count("unknown key 'optimizer.lrr'. Did you mean 'lr'?") == 1
    assert not Path("outputs").exists()
