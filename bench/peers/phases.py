"""Measure where the time of a complete mlrun command goes, from its start to its last file.

Each function below gets a stopwatch; the time of a nested one does not count for its caller.
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

# (module, name) → phase.
PHASES = {
    (
        "hydra._internal.config_loader_impl.ConfigLoaderImpl",
        "load_configuration",
    ): "composing the configuration",
    ("mlrun.data.tabular.Tabular", "load"): "data: reading, checking, splitting, preprocessing",
    ("mlrun.runs.job", "build_learner"): "model, loss, optimizer, scheduler",
    ("mlrun.runs.single", "write_beginning"): "first files of the run folder",
    ("mlrun.training.engines.native.engine.Native", "train_epoch"): "training: other",
    (
        "mlrun.training.engines.native.calls.ThreadPool",
        "wait",
    ): "training: waiting for kernel threads",
    (
        "mlrun.training.engines.native.lookahead.Lookahead",
        "epochs",
    ): "training: row order and rates of the next epochs",
    ("mlrun.training.loop", "_end_epoch"): "training: scores",
    ("mlrun.runs.record.Record", "epoch"): "training: metrics.csv, TensorBoard, checkpoints",
    ("mlrun.runs.record.Record", "__exit__"): "training: final files",
    ("mlrun.runs.finish", "score"): "scores of the best weights, pred.csv",
    ("mlrun.report.plots", "_save"): "plots",
}
OF_MEMBERS = {
    ("mlrun.runs.members", "_prepare"): "data and models of the members",
    ("mlrun.runs.members", "write_beginning"): "first files of the run folder",
    ("mlrun.runs.members", "_begin"): "first files of the members",
    ("mlrun.runs.members", "train_together"): "training: other",
    ("mlrun.runs.group", "score"): "scores of the best weights, pred.csv",
    ("mlrun.training.engines.native.engine.Native", "begin"): "training: preparing the members",
}


class Stopwatch:
    """Seconds by phase; one phase runs at a time."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._running = ["other"]
        self._since = time.perf_counter() - running_since()

    def switch(self) -> None:
        """Add the elapsed time to the current phase."""
        now = time.perf_counter()
        self.spent[self._running[-1]] += now - self._since
        self._since = now

    def around(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """Wrap a function so that its time counts for a phase."""

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
    """Seconds since the start of this process (Linux)."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def owner_of(path: str) -> Any:
    """Import a module, or a class in a module."""
    module, _, name = path.rpartition(".")
    if name.lower() != name:
        return getattr(importlib.import_module(module), name)
    return importlib.import_module(path)


def main() -> None:
    """Train with mlrun and print the time of each phase."""
    watch, job = Stopwatch(), heat("members")
    gc.disable()  # as the command does before its imports
    importlib.import_module("mlrun.runs.members")
    watch.switch()
    watch.spent["Python imports"] = watch.spent.pop("other")
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
    for phase, seconds in (watch.spent | {"total": sum(watch.spent.values())}).items():
        answer(job, seconds, [], label=phase)


if __name__ == "__main__":
    main()
