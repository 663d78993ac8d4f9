"""`mlrun -m`: run a sweep from the command line, with any of Hydra's sweepers and launchers."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from mlrun.config.allowlist import allow_words, allowed_now
from mlrun.config.hydra_patches import ConfigLoader, returned
from mlrun.config.schema import own_metrics
from mlrun.config.words import quoted
from mlrun.data.locate import DEFAULT_DATA
from mlrun.errors import FailedFast, JobsFailed, MlrunError
from mlrun.report.safe_console import plain_console
from mlrun.sweeps import dry_run_requested, halving
from mlrun.sweeps.dry_run import print_plan
from mlrun.sweeps.first_look import LOCAL, look_at_data
from mlrun.sweeps.folder import (
    SweepFolder,
    at_work,
    begin_sweep,
    check_recorded,
    claim_sweep,
    open_sweep,
    queue,
)
from mlrun.sweeps.grid import combinations, swept
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.job_data import data_of
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE, FAILED, Entry
from mlrun.sweeps.left_out import fitted
from mlrun.sweeps.points import Composer, Point
from mlrun.sweeps.progress import SweepProgress
from mlrun.sweeps.summary import write_summary
from mlrun.sweeps.table import show_end, show_what_is_left
from mlrun.sweeps.worker_pool import WorkerPool
from mlrun.system.files import writing_explained
from mlrun.system.safe_text import safe
from mlrun.system.signals import Interrupted, number_of
from mlrun.training.metrics import check_objectives


def sweep_grid(
    config: DictConfig, loader: ConfigLoader, launcher: Launcher | None, arguments: Sequence[str]
) -> None:
    """Run every combination of the values in the arguments.

    Args:
        config: the configuration of the sweep, including `hydra`.
        loader: Hydra's loader.
        launcher: Hydra's launcher; None for mlrun's own.
        arguments: overrides, as typed.

    Raises:
        MlrunError: the arguments are invalid; nothing was written.
        JobsFailed: some jobs failed; the others are done.
        Interrupted: Ctrl-C or SIGTERM.
    """
    overrides = overrides_of(config, loader, arguments)
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise MlrunError(
                f"{override.input_line}: not a list of values; use hydra/sweeper=optuna"
            )
    jobs = combinations(overrides)
    if not jobs:
        raise MlrunError("no jobs: a range or glob in the arguments is empty")
    composer = Composer(loader, config)
    jobs, left_out = fitted(composer, jobs)
    points = composer.points(jobs, 0)
    check_keys(swept(points))
    own = own_metrics(points[0].config.values)
    check_objectives(points[0].settings.sweep.objectives or [], [*own])
    if points[0].settings.sweep.halving:
        halving.check_comparable(points)
        if not is_ours(launcher):
            raise MlrunError("sweep.halving needs hydra/launcher=mlrun")
    quiet = points[0].settings.quiet
    for one in left_out:
        plain_console(quiet=quiet).print(str(one))
    if dry_run_requested.get():
        print_plan(points)
        return
    look = look_at_data(points, config.hydra.runtime.choices["hydra/launcher"])
    opened = new_sweep(config, points, points, keys=swept(points))
    if look is not None:
        look.show(quiet=quiet)
    with concluded(opened, quiet=quiet), at_work(opened):
        if launcher is None or is_ours(launcher):
            train_points(opened, points, JobCache(look))
        else:
            launch_elsewhere(opened, launcher, points)


def check_keys(keys: Sequence[str]) -> None:
    """Check that no setting of the whole sweep varies.

    Raises:
        MlrunError: naming the key.
    """
    for key in keys:
        if key.startswith("sweep.") or key == "quiet":
            raise MlrunError(f"{key} applies to the whole sweep; give it one value")


def launch_elsewhere(opened: SweepFolder, launcher: Launcher, points: Sequence[Point]) -> None:
    """Run the jobs with one of Hydra's launchers; record failures that it did not report."""
    jobs = [point.overrides for point in points]
    results = launcher.launch(jobs, points[0].number)
    entries = opened.journal.read()
    for point, found in zip(points, results, strict=True):
        if entries[point.number].status not in (DONE, FAILED):
            why = safe(returned(found))
            opened.journal.add({"job": point.number, "status": FAILED, "error": why})


def overrides_of(
    config: DictConfig, loader: ConfigLoader, arguments: Sequence[str]
) -> list[Override]:
    """Return the overrides of `hydra.sweeper.params` and the arguments, which take precedence."""
    words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    return list({override.get_key_element(): override for override in parsed}.values())


def launch(
    config: DictConfig, loader: ConfigLoader, jobs: Sequence[Sequence[str]], first: int
) -> Sequence[JobReturn]:
    """Run a batch of jobs for a sweeper other than mlrun's."""
    points = Composer(loader, config).points(jobs, first)
    look = None
    if first == 0:
        look = look_at_data(points)
        opened = new_sweep(config, points, points, keys=swept(points))
    else:
        opened = open_sweep(Path(config.hydra.sweep.dir))
        queue(opened.journal, points)
    with concluded(opened, quiet=points[0].settings.quiet, failing=False), at_work(opened):
        train_points(opened, points, JobCache(look))
    entries = opened.journal.read()
    return [_returned(point, entries[point.number]) for point in points]


def train_points(opened: SweepFolder, points: Sequence[Point], cache: JobCache) -> None:
    """Train the points in this process; `cache` prepares them."""
    with SweepProgress(len(points), quiet=points[0].settings.quiet) as progress:
        jobs = jobs_of(opened, points[0], progress, cache)
        if points[0].settings.sweep.halving:
            halving.train_by_rungs(opened, jobs, points)
        else:
            jobs.train(points)


def jobs_of(
    opened: SweepFolder, first: Point, progress: SweepProgress, cache: JobCache
) -> Jobs | WorkerPool:
    """Return the object that runs jobs like this one; `cache` prepares them."""
    fail_fast = first.settings.sweep.fail_fast
    jobs = Jobs(opened, command_line(), progress, fail_fast, cache)
    per_device = opened.record.get("per_device")
    return WorkerPool(jobs, per_device) if per_device else jobs


@contextmanager
def concluded(opened: SweepFolder, *, quiet: bool, failing: bool = True) -> Iterator[None]:
    """Write the summary at the end of a sweep, and print the results.

    Raises:
        JobsFailed: jobs failed, and `failing` is set.
        Interrupted: Ctrl-C, also when nothing is being trained.
    """
    fast = False
    with writing_explained(opened.path):
        try:
            yield
        except FailedFast:
            failing = fast = True
        except (Interrupted, KeyboardInterrupt) as raised:
            error = raised if isinstance(raised, Interrupted) else Interrupted(number_of(raised))
            error.folder = opened.path
            write_summary(opened)
            raise error from None
        except MlrunError:
            write_summary(opened)
            raise
        ranking = write_summary(opened)
    show_end(opened, ranking, quiet=quiet)
    if fast:
        show_what_is_left(opened)
    if failing and any(entry.status == FAILED for entry in opened.journal.read().values()):
        raise JobsFailed


def is_ours(launcher: Launcher | None) -> bool:
    """Whether this is mlrun's own launcher."""
    return launcher is None or type(launcher).__module__ == "hydra_plugins.mlrun_sweep"


def new_sweep(
    config: DictConfig,
    like: Sequence[Point],
    points: Sequence[Point],
    *,
    keys: Sequence[str],
    **facts: Any,
) -> SweepFolder:
    """Create the folder of a sweep, and set it in Hydra's configuration.

    Args:
        config: the configuration of the sweep, including `hydra`.
        like: example points, for the name of the folder.
        points: the known points.
        keys: the keys in which they differ.
        facts: further entries of sweep.json.

    Raises:
        MlrunError: the jobs need settings that are not recorded.
    """
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher == "mlrun":
        facts["per_device"] = config.hydra.launcher.per_device
    check_recorded(like, per_device=facts.get("per_device"))
    sweep_node = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(sweep_node, dict)
    own = str(sweep_node["dir"]).startswith("${new_folder:")
    wanted = None if own else str(config.hydra.sweep.dir)
    path = claim_sweep(like, like[0].settings.paths.outputs, wanted)
    with open_dict(config):
        config.hydra.sweep.dir = str(path)
        word = f"hydra.sweep.dir={quoted(str(path))}"
        config.hydra.overrides.hydra.append(word)  # for launchers that compose again
    if launcher in LOCAL:
        facts["data"] = data_of(like)
    data = Path(like[0].settings.paths.data)
    facts["folder"] = "" if data == DEFAULT_DATA else str(data.absolute())
    return begin_sweep(path, points, keys, command=command_line(), launcher=launcher, **facts)


def command_line() -> list[str]:
    """Return the command line."""
    return [*sys.argv, *allow_words(allowed_now())]


def _returned(point: Point, entry: Entry) -> JobReturn:
    done = entry.status == DONE
    config = OmegaConf.create(dict(point.config.raw))
    found = JobReturn(list(point.overrides), config, None, str(Path.cwd()), "mlrun")
    found.status = JobStatus.COMPLETED if done else JobStatus.FAILED
    found.return_value = entry.score if done else MlrunError(entry.error)
    return found
