"""Where the time of a whole mlrun command goes, from its start to its last file.

Functions get a stopwatch each; one that calls another is charged for the rest only.
"""

import gc
import importlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contestant import answer, heat

# Module and name → what it does.
PHASES = {
    ("mlrun.cli.hydra_app.CheckedLoader", "load_configuration"): "Hydra composes",
    ("mlrun.data.tabular.Tabular", "load"): "data: read, checked, split, fitted",
    ("mlrun.runs.single", "build_learner"): "model, loss, optimizer, scheduler",
    ("mlrun.runs.single", "write_beginning"): "the run folder's first files",
    ("mlrun.runs.single", "learn"): "training: all else",
    (
        "mlrun.training.engines.native.calls.Crew",
        "wait",
    ): "training: waiting for the kernel's threads",
    (
        "mlrun.training.engines.native.course.Course",
        "epochs",
    ): "training: order and rates of the epochs to come",
    ("mlrun.training.loop", "_end_epoch"): "training: scores",
    ("mlrun.runs.record.Record", "epoch"): "training: metrics.csv, TensorBoard, checkpoints",
    ("mlrun.runs.record.Record", "__exit__"): "training: the last files",
    ("mlrun.runs.single", "score"): "scores of the best weights, pred.csv",
    ("mlrun.report.plots", "_save"): "plots",
}
OF_MEMBERS = {
    ("mlrun.runs.members", "_prepare"): "data, and the members' models",
    ("mlrun.runs.members", "write_beginning"): "the run folder's first files",
    ("mlrun.runs.members", "_begin"): "the members' first files",
    ("mlrun.runs.members", "train_together"): "training: all else",
    ("mlrun.runs.group", "score"): "scores of the best weights, pred.csv",
    ("mlrun.training.engines.native.engine.Native", "begin"): "training: the members' plans",
}


class Stopwatch:
    """Time by phase; one at a time."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._running = ["all else"]
        self._since = time.perf_counter() - running_since()

    def switch(self) -> None:
        """Charge what has passed to the phase that is running."""
        now = time.perf_counter()
        self.spent[self._running[-1]] += now - self._since
        self._since = now

    def around(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """The function, charged to a phase."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self.switch()
            self._running.append(phase)
            try:
                return function(*arguments, **named)
            finally:
                self.switch()
                self._running.pop()

        return timed


def running_since() -> float:
    """Seconds since this process began (Linux)."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def owner_of(path: str) -> Any:
    """A module, or a class in one."""
    module, _, name = path.rpartition(".")
    if name.lower() != name:
        return getattr(importlib.import_module(module), name)
    return importlib.import_module(path)


def main() -> None:
    """Train with mlrun, and say what took how long."""
    watch, job = Stopwatch(), heat("members")
    gc.disable()  # as the command does before it imports anything
    importlib.import_module("mlrun.runs.members")
    watch.switch()
    watch.spent["Python's imports"] = watch.spent.pop("all else")
    members = job.options.members
    for (path, name), phase in (PHASES | (OF_MEMBERS if members else {})).items():
        owner = owner_of(path)
        setattr(owner, name, watch.around(getattr(owner, name), phase))
    run = Path(tempfile.mkdtemp(), "run")
    words = job.job.overrides(job.folder / "data")
    mlrun = importlib.import_module("mlrun.cli.main").main
    words += [f"seeds={members}"] if members else []
    mlrun([*words, f"trainer.epochs={job.epochs}", f"hydra.run.dir={run}"])
    watch.switch()
    for phase, seconds in (watch.spent | {"the whole": sum(watch.spent.values())}).items():
        answer(job, seconds, [], label=phase)


if __name__ == "__main__":
    main()
