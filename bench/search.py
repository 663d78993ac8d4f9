"""`make search`: compare random search, TPE and successive halving on the real data at equal cost.

It needs the real files (MLRUN_DATA or ./data) and optuna. Each method searches the space in
`conf/hparams/` several times with different seeds; the winners are trained again with new seeds and
new splits. Writes docs/search.md.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import optuna
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from scipy import stats

from mlrun.config.options import CONF
from mlrun.sweeps.search_space import space_of

TOP = Path(__file__).resolve().parents[1]
TRIALS, SEARCHES, FRESH = 60, 8, 5
POINTS, FEW = 180, 11  # points for halving; number of random trials that train about as many epochs
METRICS = {"covid": "valid/mse", "phone_price": "valid/loss"}


@dataclass(frozen=True)
class Found:
    """The result of one search."""

    score: float  # of the best job, on the rows that selected it
    fresh: float  # mean score of the same setting with new seeds and splits
    epochs: int  # total over all jobs


@dataclass(frozen=True)
class Method:
    """A search method, and the command-line words for a task and a seed."""

    name: str
    words: Callable[[str, int], list[str]]
    rival: str = ""  # random search at the same cost


def optuna_words(
    sampler: str, at_once: int, trials: int = TRIALS
) -> Callable[[str, int], list[str]]:
    """Return the words for `trials` trials with one of Optuna's samplers."""

    def words(task: str, seed: int) -> list[str]:
        settings = {"sampler": sampler, "n_trials": trials, "n_jobs": at_once, "seed": 1000 * seed}
        return [f"hparams={task}", *(f"hydra.sweeper.{k}={v}" for k, v in settings.items())]

    return words


def halving_words(task: str, seed: int) -> list[str]:
    """Write random points of the same space as experiments into ./conf; return the words."""
    space = yaml.safe_load((CONF / "hparams" / f"{task}.yaml").read_text())
    asked = [f"{key}={value}" for key, value in space["hydra"]["sweeper"]["params"].items()]
    ranges = space_of(OverridesParser.create().parse_overrides(asked)).ranges
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1000 * seed))
    folder = Path("conf", "experiment")
    folder.mkdir(parents=True)
    for number in range(POINTS):
        values = study.ask(ranges).params
        text = f"# @package _global_\n# point {number}\n{yaml.safe_dump(nested(values))}"
        (folder / f"point{number:03}.yaml").write_text(text)
    return [f"task={task}", "experiment=glob(point*)", "sweep.halving=3"]


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys (`a.b`) into nested mappings."""
    whole: dict[str, Any] = {}
    for key, value in values.items():
        *way, last = key.split(".")
        node = whole
        for part in way:
            node = node.setdefault(part, {})
        node[last] = yaml.safe_load(value) if isinstance(value, str) else value
    return whole


MANY, SOME = f"random, {TRIALS} trials", f"random, {FEW} trials"
METHODS = (
    Method(MANY, optuna_words("random", 16)),
    Method("TPE, 60 trials, 16 at a time", optuna_words("tpe", 16), MANY),
    Method("TPE, 60 trials, 4 at a time", optuna_words("tpe", 4), MANY),
    Method(SOME, optuna_words("random", FEW, FEW)),
    Method(f"halving, {POINTS} random points", halving_words, SOME),
)


def main() -> None:
    """Run all searches and write the page."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    lines = [HEAD]
    for task in METRICS:
        found = {
            method.name: [searched(task, method, seed) for seed in range(SEARCHES)]
            for method in METHODS
        }
        lines += table(task, found)
    text = "\n".join([*lines, f"_{date.today()}, `make search`._", ""])
    (TOP / "docs" / "search.md").write_text(text)


def searched(task: str, method: Method, seed: int) -> Found:
    """Run one search in a temporary folder."""
    print(f"{task}: {method.name}, search {seed + 1} of {SEARCHES}", flush=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        words = method.words(task, seed)
        mlrun("-m", *words, "hydra.sweep.dir=search")
        record = json.loads(Path("search/sweep.json").read_text())
        if record["sample"]:
            sys.exit("no real data found; set MLRUN_DATA")
        with Path("search/summary.csv").open(newline="") as file:
            epochs = sum(int(row["epochs"] or 0) for row in csv.DictReader(file))
        best = record["ranking"][0]
        fixed = [word for word in words if word.startswith("task=")] or [f"task={task}"]
        own = [word for word in best["overrides"] if not word.startswith("task=")]
        seeds = f"seed=range(100,{100 + FRESH})"
        mlrun("-m", *fixed, *own, seeds, "data.split.seed=${seed}", "hydra.sweep.dir=fresh")
        again = json.loads(Path("fresh/sweep.json").read_text())["ranking"][0]
        os.chdir(TOP)
        return Found(best["mean"], again["mean"], epochs)


def mlrun(*words: str) -> None:
    """Run the command; ignore its exit code, because jobs of a search may diverge."""
    subprocess.run([sys.executable, "-m", "mlrun", *words, "quiet=true"], capture_output=True)


HEAD = f"""\
# Does a search pay off?

This page compares random search, TPE of [Optuna](https://optuna.org) and successive halving
(`sweep.halving=3`) on the real data, in the task's search space from `conf/hparams/`. Every method
searches {SEARCHES} times with different seeds. *Best* is the score of a search's best job on the
rows that selected it, and is optimistically biased; *fresh* is the mean score of the same setting
with {FRESH} new seeds and splits. Both are mean ± standard deviation over the searches; lower is
better. p: Welch's t-test of *fresh* against random search at the same cost ({TRIALS} trials for
TPE, {FEW} for halving); if it is not below 0.05, the difference is not significant.
"""


def table(task: str, found: dict[str, list[Found]]) -> list[str]:
    """Return the lines for one task."""
    lines = [f"## {task}: {METRICS[task]}", ""]
    lines += ["| method | total epochs | best | fresh | p |", "| --- | --- | --- | --- | --- |"]
    for method in METHODS:
        searches = found[method.name]
        fresh = [one.fresh for one in searches]
        p_value = ""
        if method.rival:
            rival = [one.fresh for one in found[method.rival]]
            p_value = f"{stats.ttest_ind(fresh, rival, equal_var=False).pvalue:.2f}"
        epochs = f"{fmean([one.epochs for one in searches]):,.0f}"
        best = spread([one.score for one in searches])
        lines.append(f"| {method.name} | {epochs} | {best} | {spread(fresh)} | {p_value} |")
    return [*lines, ""]


def spread(values: Sequence[float]) -> str:
    """Format mean ± standard deviation."""
    return f"{fmean(values):.4f} ± {stdev(values):.4f}"


if __name__ == "__main__":
    main()
