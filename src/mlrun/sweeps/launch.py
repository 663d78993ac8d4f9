"""`mlrun -m`: from the command line to a sweep folder, whichever sweeper and launcher Hydra has."""

import signal
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
from mlrun.data.locate import DEFAULT_DATA
from mlrun.errors import FailedFast, JobsFailed, MlrunError
from mlrun.sweeps import dry_run_asked, halving
from mlrun.sweeps.dry_run import print_plan
from mlrun.sweeps.folder import SweepFolder, at_work, begin_sweep, claim_sweep, open_sweep, queue
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE, FAILED, Entry
from mlrun.sweeps.points import Composer, Point, combinations, swept
from mlrun.sweeps.processes import WorkerPool
from mlrun.sweeps.progress import SweepProgress
from mlrun.sweeps.summary import write_summary
from mlrun.sweeps.table import show_end, show_what_is_left
from mlrun.system.signals import Interrupted
from mlrun.training.metrics import check_objectives


def sweep(
    config: DictConfig, loader: ConfigLoader, launcher: Launcher | None, arguments: Sequence[str]
) -> None:
    """Every combination of the values in the arguments.

    Args:
        config: the sweep's own, `hydra` included.
        loader: Hydra's.
        launcher: Hydra's; None for ours.
        arguments: overrides, as they were typed.

    Raises:
        MlrunError: the words make no sweep; nothing was made.
        JobsFailed: when all else is done.
        Interrupted: Ctrl-C or SIGTERM.
    """
    overrides = overrides_of(config, loader, arguments)
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise MlrunError(f"{override.input_line}: no values; hydra/sweeper=optuna searches it")
    jobs = combinations(overrides)
    if not jobs:
        raise MlrunError("no jobs: a range or glob among the values holds nothing")
    points = Composer(loader, config).points(jobs, 0)
    check_keys(swept(points))
    check_objectives(points[0].settings.sweep.objectives or [])
    if points[0].settings.sweep.halving:
        halving.check(points)
        if not is_ours(launcher):
            raise MlrunError("sweep.halving needs hydra/launcher=mlrun")
    if dry_run_asked.get():
        print_plan(points)
        return
    opened = new_sweep(config, points, points, keys=swept(points))
    with concluded(opened, quiet=points[0].settings.quiet), at_work(opened):
        if launcher is None or is_ours(launcher):
            train_points(opened, points)
        else:
            launch_elsewhere(opened, launcher, points)


def check_keys(keys: Sequence[str]) -> None:
    """Refuse to vary what is said of the whole sweep.

    Raises:
        MlrunError: with the key.
    """
    for key in keys:
        if key.startswith("sweep.") or key == "quiet":
            raise MlrunError(f"{key}: is of the whole sweep; give it one value")


def launch_elsewhere(opened: SweepFolder, launcher: Launcher, points: Sequence[Point]) -> None:
    """Let a launcher of Hydra's run the jobs; what it keeps to itself is journalled."""
    jobs = [point.overrides for point in points]
    results = launcher.launch(jobs, points[0].number)
    entries = opened.journal.read()
    for point, found in zip(points, results, strict=True):
        if entries[point.number].status not in (DONE, FAILED):
            reason = str(returned(found))
            opened.journal.add({"job": point.number, "status": FAILED, "error": reason})


def overrides_of(
    config: DictConfig, loader: ConfigLoader, arguments: Sequence[str]
) -> list[Override]:
    """Those of `hydra.sweeper.params` and those that were typed, which count where both are."""
    words = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    return list({override.get_key_element(): override for override in parsed}.values())


def launch(
    config: DictConfig, loader: ConfigLoader, jobs: Sequence[Sequence[str]], first: int
) -> Sequence[JobReturn]:
    """A batch of jobs that a sweeper of somebody else's wants."""
    points = Composer(loader, config).points(jobs, first)
    if first == 0:
        opened = new_sweep(config, points, points, keys=swept(points))
    else:
        opened = open_sweep(Path(config.hydra.sweep.dir))
        queue(opened.journal, points)
    with concluded(opened, quiet=points[0].settings.quiet, failing=False), at_work(opened):
        train_points(opened, points)
    entries = opened.journal.read()
    return [_returned(point, entries[point.number]) for point in points]


def train_points(opened: SweepFolder, points: Sequence[Point]) -> None:
    """Train the points in this process."""
    with SweepProgress(len(points), quiet=points[0].settings.quiet) as progress:
        jobs = jobs_of(opened, points[0], progress)
        if points[0].settings.sweep.halving:
            halving.train(opened, jobs, points)
        else:
            jobs.train(points)


def jobs_of(opened: SweepFolder, first: Point, progress: SweepProgress) -> Jobs | WorkerPool:
    """What carries out jobs of which this is one."""
    jobs = Jobs(opened, command_line(), progress, first.settings.sweep.fail_fast)
    per_device = opened.record.get("per_device")
    return WorkerPool(jobs, per_device) if per_device else jobs


@contextmanager
def concluded(opened: SweepFolder, *, quiet: bool, failing: bool = True) -> Iterator[None]:
    """However it ends: the summary, and what to type next.

    Raises:
        JobsFailed: jobs did, and `failing`.
        Interrupted: Ctrl-C, also where nothing was being trained.
    """
    fast = False
    try:
        yield
    except FailedFast:
        failing = fast = True
    except (Interrupted, KeyboardInterrupt) as raised:
        error = raised if isinstance(raised, Interrupted) else Interrupted(signal.SIGINT)
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
    """Whether jobs are trained in this process, by us."""
    return launcher is None or type(launcher).__module__ == "hydra_plugins.mlrun_sweep"


def new_sweep(
    config: DictConfig,
    like: Sequence[Point],
    points: Sequence[Point],
    *,
    keys: Sequence[str],
    **facts: Any,
) -> SweepFolder:
    """A folder for a sweep, which Hydra learns of.

    Args:
        config: the sweep's own, `hydra` included.
        like: what the points are like, from which the folder gets its name.
        points: those that are known.
        keys: in which they will differ.
        facts: for sweep.json.
    """
    asked = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(asked, dict)
    own = str(asked["dir"]).startswith("${new_folder:")
    wanted = None if own else str(config.hydra.sweep.dir)
    path = claim_sweep(like, like[0].settings.paths.outputs, wanted)
    with open_dict(config):
        config.hydra.sweep.dir = str(path)
        quoted = str(path).replace("\\", "\\\\").replace("'", "\\'")
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{quoted}'")  # for who composes anew
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    if launcher == "mlrun":
        facts["per_device"] = config.hydra.launcher.per_device
    data = Path(like[0].settings.paths.data)
    facts["folder"] = "" if data == DEFAULT_DATA else str(data.absolute())
    return begin_sweep(path, points, keys, command=command_line(), launcher=launcher, **facts)


def command_line() -> list[str]:
    """What was typed."""
    return [*sys.argv, *allow_words(allowed_now())]


def _returned(point: Point, entry: Entry) -> JobReturn:
    done = entry.status == DONE
    config = OmegaConf.create(dict(point.config.raw))
    found = JobReturn(list(point.overrides), config, None, str(Path.cwd()), "mlrun")
    found.status = JobStatus.COMPLETED if done else JobStatus.FAILED
    found.return_value = entry.score if done else MlrunError(entry.error)
    return found
