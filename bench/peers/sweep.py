"""Run 64 covid configurations as a sweep; `--with` is a key of WAYS.

Each trial is the in-memory eager loop (`eager.py`), but under Hydra's multirun, where it is the
notebook's or Lightning's loop; a few trials, fewer than 64, since their time adds up.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from contestant import Heat, answer, heat


def trial(job: Heat, seed: int, rate: float = 0.01) -> float:
    """Train one configuration; return its best validation loss."""
    import torch
    from eager import train

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    return min(train(replace(job, job=replace(job.job, rate=rate))).losses)


def by_joblib(job: Heat, trials: int) -> list[float]:
    """Run the trials with joblib on both cores."""
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=os.cpu_count())
    workers(delayed(trial)(replace(job, epochs=1), n) for n in range(os.cpu_count() or 1))
    begun()
    return list(workers(delayed(trial)(job, seed) for seed in range(trials)))


def by_optuna(job: Heat, trials: int) -> list[float]:
    """Run a random search with Optuna, one trial after another."""
    import optuna

    trial(replace(job, epochs=1), 0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    begun()
    study.optimize(lambda t: trial(job, t.number, t.suggest_float("rate", 5e-3, 2e-2)), trials)
    return [float(t.value) for t in study.trials]


def by_ray(job: Heat, trials: int) -> list[float]:
    """Run Ray Tune on both cores."""
    import ray
    from ray import tune

    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    ray.init(runtime_env={"env_vars": {"PYTHONPATH": path}}, log_to_driver=False)
    stored = ray.put(job)
    begun()
    tuner = tune.Tuner(
        lambda config: {"loss": trial(ray.get(stored), config["seed"])},
        param_space={"seed": tune.grid_search(list(range(trials)))},
        run_config=tune.RunConfig(storage_path=tempfile.mkdtemp()),
    )
    return [float(result.metrics["loss"]) for result in tuner.fit()]


def by_hydra(job: Heat, trials: int, script: str) -> list[float]:
    """Run Hydra's basic multirun in a separate process."""
    seeds = ",".join(map(str, range(trials + 1)))
    folder = tempfile.mkdtemp()
    words = [f"+seed={seeds}", f"+script={script}", f"+epochs={job.epochs}", f"+data={job.folder}"]
    command = [sys.executable, str(Path(__file__).with_name("hydra_job.py")), "-m", *words]
    done = subprocess.run(
        [*command, f"hydra.sweep.dir={folder}"], stdout=subprocess.PIPE, text=True, check=True
    )
    ends = [float(line.split()[1]) for line in done.stdout.splitlines() if line[:4] == "END "]
    BEGUN[:] = [time.perf_counter() - (ends[-1] - ends[0])]  # the first job imports
    return []


WAYS: dict[str, Callable[[Heat, int], list[float]]] = {
    "joblib": by_joblib,
    "optuna": by_optuna,
    "ray": by_ray,
    "hydra_notebook": lambda job, trials: by_hydra(job, trials, "notebook"),
    "hydra_lightning": lambda job, trials: by_hydra(job, trials, "with_lightning"),
}
BEGUN: list[float] = []


def begun() -> None:
    """Start the clock, after imports and start-up."""
    BEGUN[:] = [time.perf_counter()]


def main() -> None:
    """Run the sweep; an epoch here is one epoch of all trials."""
    job: Any = heat("with", "trials")
    trials = int(job.options.trials)
    losses = WAYS[getattr(job.options, "with")](job, trials)
    seconds = (time.perf_counter() - BEGUN[0]) * (job.epochs - 1) / job.epochs
    answer(job, seconds, losses[:1], members=trials)


if __name__ == "__main__":
    main()
