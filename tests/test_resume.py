"""Resume: to the same bits as the run that never stopped, from wherever it was stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlrun.runs.checkpoint import load_state, save_state
from mlrun.system.seams import Place
from tests import faults
from tests.crashing import crashing_at

TINY = ("quiet=true", "trainer.limit_batches=3", "checkpoint.every_seconds=0", "trainer.epochs=6")


@pytest.fixture
def crashing(mlrun):
    """`crashing(3, "whole/run", ...)`: a run that dies once it has written its third epoch."""

    def run(epoch: int, *arguments: str, before_the_checkpoint: bool = False) -> None:
        place = Place.EPOCH_RECORDING if before_the_checkpoint else Place.EPOCH_RECORDED
        with crashing_at(place, lambda facts: bool(facts["epoch"] == epoch)):
            mlrun(*arguments)

    return run


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through nested states."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def without_seconds(state: Any) -> Any:
    if isinstance(state, dict):
        return {k: without_seconds(v) for k, v in state.items() if k not in ("seconds", "config")}
    return [without_seconds(v) for v in state] if isinstance(state, list) else state


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("best.safetensors", "last.safetensors"):
        states = [without_seconds(load_state(run / "checkpoints" / name)) for run in (one, other)]
        assert same(*states), name
    first, second = (history(run) for run in (one, other))
    assert first == second
    assert (one / "pred.csv").read_bytes() == (other / "pred.csv").read_bytes()


def history(run: Path) -> list[str]:
    return [line.rpartition(",")[0] for line in (run / "metrics.csv").read_text().splitlines()]


def status(run: Path) -> str:
    found: str = json.loads((run / "run.json").read_text())["status"]
    return found


JOBS = {
    "covid": ("task=covid", "model.dropout=0.3"),
    "phone_price": ("task=phone_price", "model.dropout=0.3", "model.norm=batch"),
    "mnist_mlp": ("task=mnist", "model.dropout=0.3"),
    "mnist_cnn": ("task=mnist", "model=cnn", "model.channels=[2,4]"),
    "accumulation": ("task=covid", "trainer.accumulate=2", "trainer.clip_norm=1"),
    "patience": ("task=covid", "trainer.patience=2", "trainer.min_delta=0.5"),
    "rarely_validated": ("task=covid", "trainer.eval_every=4"),
    "sgd": ("task=covid", "optimizer=sgd"),
    "adam": ("task=covid", "optimizer=adam"),
    "adagrad": ("task=covid", "optimizer=adagrad"),
    "autograd": ("task=covid", "trainer.engine=autograd", "model.dropout=0.3"),
    "rmsprop": ("task=covid", "optimizer=rmsprop"),
} | {
    name: ("task=covid", f"scheduler={name}")
    for name in ("step", "multistep", "exponential", "onecycle", "plateau", "warmup")
}


FAST = ("plateau",)  # the others: make soak


@faults.crash
@pytest.mark.parametrize(
    "job", [pytest.param(job, marks=() if job in FAST else pytest.mark.slow) for job in JOBS]
)
def test_a_resumed_run_equals_the_one_that_never_stopped(mlrun, crashing, whole, job):
    short = ("scheduler.patience=0",) if job == "plateau" else ()
    short = ("scheduler.step_size=2",) if job == "step" else short
    arguments = (*JOBS[job], *short, *TINY)
    crashing(3, *arguments, "hydra.run.dir=broken")
    assert status(Path("broken")) != "done"
    assert mlrun("resume", "broken").code == 0
    assert_same_run(whole(mlrun, *arguments), Path("broken"))
    assert status(Path("broken")) == "done"


@pytest.mark.parametrize(
    ("epoch", "before_the_checkpoint"),
    [
        pytest.param(1, True, marks=pytest.mark.slow),
        pytest.param(6, False, marks=pytest.mark.slow),
        pytest.param(1, False, marks=pytest.mark.slow),
        pytest.param(6, True, marks=pytest.mark.slow),
    ],
)
def test_the_first_and_the_last_epoch_can_be_resumed_too(
    mlrun, crashing, whole, epoch, before_the_checkpoint
):
    crashing(epoch, *TINY, "hydra.run.dir=broken", before_the_checkpoint=before_the_checkpoint)
    assert mlrun("resume", "broken").code == 0
    assert_same_run(whole(mlrun, *TINY), Path("broken"))


@faults.older_checkpoint
@pytest.mark.slow
def test_a_run_can_be_resumed_from_a_checkpoint_older_than_its_metrics(mlrun, crashing, whole):
    crashing(4, *TINY, "checkpoint.every_seconds=1000", "hydra.run.dir=broken")
    assert not Path("broken/checkpoints/last.safetensors").exists()
    assert mlrun("resume", "broken").code == 0
    assert_same_run(whole(mlrun, *TINY), Path("broken"))


@faults.older_checkpoint
@pytest.mark.slow
def test_no_epoch_is_twice_in_metrics_or_tensorboard(mlrun, crashing):
    crashing(3, *TINY, "hydra.run.dir=broken")
    mlrun("resume", "broken")
    epochs = [line.split(",")[0] for line in history(Path("broken"))[1:]]
    assert epochs == list("123456")
    reader = EventAccumulator("broken/tensorboard").Reload()
    assert [event.step for event in reader.Scalars("Loss/train")] == [1, 2, 3, 4, 5, 6]


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


@faults.damaged_last
@pytest.mark.parametrize("how", [pytest.param("truncated", marks=pytest.mark.slow), "corrupted"])
def test_a_damaged_last_checkpoint_is_reported_and_the_previous_one_used(
    mlrun, crashing, whole, how
):
    crashing(4, *TINY, "hydra.run.dir=broken")
    damage(Path("broken/checkpoints/last.safetensors"), how)
    answer = mlrun("resume", "broken", "quiet=false")
    assert "last.safetensors cannot be loaded" in answer.out
    assert "resuming broken after epoch 3" in answer.out
    assert_same_run(whole(mlrun, *TINY), Path("broken"))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["contract"], torch.ones(3)),
        (["contract", "features"], torch.ones(3)),
        (["contract", "unused"], [[1]]),
        (["progress", "epoch"], 10**12),
        (["weights", "0.1.weight"], {}),
        (["weights", "0.1.bias"], torch.ones(128, dtype=torch.float64)),
    ],
)
@pytest.mark.slow
@faults.damaged_folder
def test_a_checkpoint_of_other_kinds_of_values_is_refused(mlrun, crashing, path, value):
    crashing(2, *TINY, "hydra.run.dir=broken")
    for name in ("last.safetensors", "previous.safetensors"):
        state = load_state(Path("broken/checkpoints") / name)
        inner = state
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        save_state(Path("broken/checkpoints") / name, state)
    answer = mlrun("resume", "broken")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert "checkpoint" in answer.err


@faults.damaged_all
def test_a_run_without_any_readable_checkpoint_is_reported(mlrun, crashing):
    crashing(4, *TINY, "hydra.run.dir=broken")
    for name in ("last.safetensors", "previous.safetensors"):
        damage(Path("broken/checkpoints") / name, "truncated")
    answer = mlrun("resume", "broken")
    assert (answer.code, "can be read" in answer.err) == (2, True)


def test_a_finished_run_is_left_alone_and_can_be_extended(mlrun):
    mlrun(*TINY, "scheduler=constant", "trainer.epochs=9", "hydra.run.dir=whole")
    mlrun(*TINY, "scheduler=constant", "hydra.run.dir=short")
    before = Path("short/run.json").read_bytes()
    assert "nothing left to do" in mlrun("resume", "short").out
    assert Path("short/run.json").read_bytes() == before
    assert mlrun("resume", "short", "trainer.epochs=9").code == 0
    assert_same_run(Path("whole"), Path("short"))


@pytest.mark.slow
def test_a_rerun_of_an_extended_run_is_identical(mlrun, finished):
    finished("run", *TINY, "scheduler=constant")
    assert mlrun("resume", "run", "--data", ".", "trainer.epochs=8").code == 0
    assert "identical: 8 epochs" in mlrun("rerun", "run").out


@pytest.mark.slow
def test_extending_a_run_that_patience_ended_reports_it(mlrun):
    patience = ("trainer.patience=1", "trainer.min_delta=9")
    mlrun(*TINY, *patience, "hydra.run.dir=run")
    answer = mlrun("resume", "run", "trainer.epochs=9")
    assert "3 epochs are done; early stopping (no improvement for 1 epochs)" in answer.out
    assert "mlrun resume run trainer.patience=…" in answer.out


@pytest.mark.slow
def test_a_cosine_that_is_extended_keeps_its_last_rate(mlrun, finished):
    finished("run", *TINY, "scheduler.eta_min=1e-5")
    answer = mlrun("resume", "run", "trainer.epochs=8")
    rates = [float(line.split(",")[2]) for line in history(Path("run"))[1:]]
    assert rates[5] > rates[6] == rates[7] == 1e-5
    line = "(CosineAnnealingLR) ends after epoch 6; until epoch 8 the learning rate stays at 1e-05"
    assert line in Path("run/run.log").read_text()
    assert answer.code == 0


def test_epochs_with_a_learning_rate_of_0_are_refused(mlrun, finished):
    finished("run", *TINY)
    before = Path("run/metrics.csv").read_bytes()
    assert "its learning rate is 0 now; to train longer, start" in mlrun("resume", "run").out
    answer = mlrun("resume", "run", "trainer.epochs=8")
    assert answer.code == 2
    assert "its schedule (CosineAnnealingLR) has reached learning rate 0" in answer.err
    assert "Start a new run with trainer.epochs=8" in answer.err
    assert Path("run/metrics.csv").read_bytes() == before


ENDING = {  # schedules that reach 0 after six epochs of three steps
    "PolynomialLR": "total_iters: ${trainer.epochs}",
    "LinearLR": "start_factor: 1.0\nend_factor: 0.0\ntotal_iters: 18",
    "MultiStepLR": "milestones: [6]\ngamma: 0.0",
}
OWN = "_target_: torch.optim.lr_scheduler.{}\n_partial_: true\n{}\n"


@pytest.mark.parametrize("name", ENDING)
@pytest.mark.slow
def test_any_schedule_that_stays_at_0_is_not_extended_without_a_word(mlrun, write_csv, name):
    write_csv("conf/scheduler/own.yaml", OWN.format(name, ENDING[name]))
    mlrun(*TINY, "scheduler=own", "hydra.run.dir=run")
    answer = mlrun("resume", "run", "trainer.epochs=8")
    assert answer.code == 2
    assert f"its schedule ({name}) has reached learning rate 0" in answer.err
    mlrun(*TINY, "scheduler=own", "trainer.max_minutes=1e-9", "hydra.run.dir=early")
    assert mlrun("resume", "early", "trainer.epochs=8", "trainer.max_minutes=null").code == 0
    line = f"the schedule ({name}) ends after epoch 6; until epoch 8 the learning rate stays at 0"
    assert line in Path("early/run.log").read_text()


@pytest.mark.slow
def test_a_schedule_that_restarts_is_extended(mlrun, write_csv):
    write_csv("conf/scheduler/own.yaml", OWN.format("CosineAnnealingWarmRestarts", "T_0: 3"))
    mlrun(*TINY, "scheduler=own", "hydra.run.dir=run")
    mlrun(*TINY, "scheduler=own", "trainer.epochs=9", "hydra.run.dir=whole")
    assert mlrun("resume", "run", "trainer.epochs=9").code == 0
    assert_same_run(Path("whole"), Path("run"))
    assert "stays at" not in Path("run/run.log").read_text()


@pytest.mark.slow
def test_an_interrupted_cosine_can_be_extended_before_its_end(mlrun, finished):
    finished("run", *TINY, "trainer.max_minutes=1e-9")
    answer = mlrun("resume", "run", "trainer.epochs=8", "trainer.max_minutes=null")
    assert answer.code == 0
    assert (
        "ends after epoch 6; until epoch 8 the learning rate stays at 0"
        in Path("run/run.log").read_text()
    )


@faults.changed
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.dropout=0.5", "model.dropout cannot change in a resumed run"),
        pytest.param("seed=1", "seed cannot change", marks=pytest.mark.slow),
        pytest.param("trainer.epochs=0", "must be at least 1", marks=pytest.mark.slow),
        pytest.param("trainer.epochs=x", "trainer.epochs: Value 'x'", marks=pytest.mark.slow),
        pytest.param("epochs", "'epochs': must be KEY=VALUE", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_change_that_cannot_be_honoured_exactly_is_refused(mlrun, crashing, override, message):
    crashing(3, *TINY, "hydra.run.dir=broken")
    answer = mlrun("resume", "broken", override)
    assert answer.code == 2
    assert message in answer.err


@pytest.mark.slow
def test_resume_finds_the_newest_unfinished_run_below_a_folder(mlrun, crashing, finished):
    finished("runs/a/done", *TINY)
    crashing(3, *TINY, "hydra.run.dir=runs/a/broken")
    assert mlrun("resume", "runs").out == "runs/a/broken\n"
    assert "no unfinished run" in mlrun("resume", "runs").err


@faults.changed
@pytest.mark.slow
def test_a_run_whose_data_changed_is_not_resumed(mlrun, crashing):
    crashing(3, *TINY, "hydra.run.dir=broken")
    with Path("data/sample/covid/covid.train.csv").open("a") as file:
        file.write("\n")
    assert "has changed since the run" in mlrun("resume", "broken").err


@faults.time_is_up
@pytest.mark.slow
def test_max_minutes_stops_resumably_with_predictions(mlrun, whole):
    mlrun(*TINY, "trainer.max_minutes=1e-9", "hydra.run.dir=timed")
    assert status(Path("timed")) == "interrupted"
    assert Path("timed/pred.csv").is_file()
    mlrun("resume", "timed", "trainer.max_minutes=10")
    assert_same_run(whole(mlrun, *TINY), Path("timed"))


# --- the real command, really killed ---


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mlrun", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


LONG = ("task=phone_price", "trainer.epochs=40", "trainer.patience=null", "model.dropout=0.2")


@faults.second_process
@pytest.mark.slow
@pytest.mark.sample
def test_kill_9_and_a_second_process_on_the_same_run(mlrun):
    arguments = (*LONG, "quiet=true", "checkpoint.every_seconds=0")
    mlrun(*arguments, "hydra.run.dir=whole")
    process = started(*arguments, "hydra.run.dir=killed")
    wait_for(process, Path("killed/checkpoints/previous.safetensors").is_file)
    process.send_signal(signal.SIGSTOP)
    assert "another process is training in killed" in mlrun("resume", "killed").err
    process.kill()
    process.communicate()
    assert status(Path("killed")) == "running"
    assert mlrun("resume", "killed").code == 0
    assert_same_run(Path("whole"), Path("killed"))


@faults.interrupted
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 138, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_an_interrupted_run_ends_cleanly_prints_how_to_continue_and_continues(
    mlrun, write_csv, number, code
):
    # It would go on for hours, so the signal comes in time; where it stops, five epochs are added.
    write_csv("t.csv", "x,y\n" + "".join(f"{i},{i * 0.5}\n" for i in range(40)))
    own = ("task=csv", "data.train=t.csv", "data.target=y", "trainer.patience=null")
    arguments = (*own, "scheduler=constant", "checkpoint.every_seconds=0")
    process = started(*arguments, "trainer.epochs=1000000", "hydra.run.dir=stopped")
    wait_for(process, Path("stopped/checkpoints/last.safetensors").is_file)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    name = signal.Signals(number).name
    assert error == f"interrupted by {name}\nto continue: mlrun resume stopped\n"
    assert status(Path("stopped")) == "interrupted"
    done = load_state(Path("stopped/checkpoints/last.safetensors"))["progress"]["epoch"]
    epochs = f"trainer.epochs={done + 5}"
    assert mlrun("resume", "stopped", epochs, "quiet=true").code == 0
    mlrun(*arguments, epochs, "quiet=true", "hydra.run.dir=whole")
    assert_same_run(Path("whole"), Path("stopped"))


@faults.no_reader
@pytest.mark.slow
def test_a_run_continues_when_the_reader_of_its_output_exits():
    command = [sys.executable, "-u", "-m", "mlrun", "debug=smoke", "hydra.run.dir=run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, b"")
    assert status(Path("run")) == "done"


# --- rerun ---


@pytest.mark.slow
def test_rerun_of_the_same_is_identical(mlrun, finished):
    finished("run", *TINY)
    answer = mlrun("rerun", "run")
    assert answer.code == 0
    assert "identical: 6 epochs and pred.csv, bit for bit (run_rerun)" in answer.out


@faults.other_rerun
@pytest.mark.slow
def test_rerun_names_where_it_differs_and_what_is_different(mlrun):
    mlrun(*TINY, "hydra.run.dir=run")
    file = Path("data/sample/covid/covid.train.csv")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], *lines[5:]]) + "\n")
    kept = json.loads(Path("run/run.json").read_text())
    kept["versions"]["torch"] = "1.0"
    Path("run/run.json").write_text(json.dumps(kept))
    answer = mlrun("rerun", "run")
    assert answer.code == 1
    assert "different: first in epoch 1, train/loss: " in answer.out
    assert f"torch: 1.0, now {torch.__version__}" in answer.out
    assert "covid.train.csv has changed" in answer.out


def test_a_read_only_place_cannot_be_resumed_and_is_reported(mlrun, crashing):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    crashing(3, *TINY, "hydra.run.dir=broken")
    Path("broken").chmod(0o500)
    assert "cannot write to broken" in mlrun("resume", "broken").err
