"""`mlrun -m`: from the command line to a sweep folder, whichever sweeper and launcher Hydra has."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from mlrun.allowlist import allow_words, allowed_now
from mlrun.errors import JobsFailed, MlrunError
from mlrun.interrupt import Interrupted
from mlrun.report.sweep_progress import SweepProgress
from mlrun.report.sweep_table import show_end
from mlrun.sweep import only_told
from mlrun.sweep.carry_out import Jobs
from mlrun.sweep.dry_run import tell
from mlrun.sweep.folder import Sweep, at_work, begin, claim_sweep, open_sweep, queue
from mlrun.sweep.journal import DONE, Entry
from mlrun.sweep.points import Composer, Point
from mlrun.sweep.summary import write_summary


def sweep(
    config: DictConfig, loader: ConfigLoaderImpl, launcher: Launcher, arguments: Sequence[str]
) -> None:
    """Every combination of the values in the arguments.

    Raises:
        MlrunError: the words make no sweep; nothing was made.
        JobsFailed: when all else is done.
        Interrupted: Ctrl-C or SIGTERM.
    """
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
    [jobs] = BasicSweeper.split_arguments(overrides, None)
    points = Composer(loader, config).points(jobs, 0)
    if only_told.get():
        tell(points)
        return
    opened = _new(config, points)
    with concluded(opened, quiet=points[0].settings.quiet), at_work(opened):
        if is_ours(launcher):
            carry_out(opened, points)
        else:
            launcher.launch(jobs, 0)


def launch(
    config: DictConfig, loader: ConfigLoaderImpl, jobs: Sequence[Sequence[str]], first: int
) -> Sequence[JobReturn]:
    """A batch of jobs that a sweeper of somebody else's wants."""
    points = Composer(loader, config).points(jobs, first)
    opened = _new(config, points) if first == 0 else open_sweep(Path(config.hydra.sweep.dir))
    if first > 0:
        queue(opened.journal, points)
    with concluded(opened, quiet=points[0].settings.quiet, failing=False), at_work(opened):
        carry_out(opened, points)
    entries = opened.journal.read()
    return [_returned(point, entries[point.number]) for point in points]


def carry_out(opened: Sweep, points: Sequence[Point]) -> None:
    """Train the points in this process."""
    with SweepProgress(points, quiet=points[0].settings.quiet) as progress:
        fail_fast = points[0].settings.sweep.fail_fast
        Jobs(opened, _command(), progress, fail_fast).carry_out(points)


@contextmanager
def concluded(opened: Sweep, *, quiet: bool, failing: bool = True) -> Iterator[None]:
    """However it ends: the summary, and what to type next.

    Raises:
        JobsFailed: jobs did, and `failing`.
    """
    try:
        yield
    except Interrupted as error:
        error.folder = opened.path
        write_summary(opened)
        raise
    except MlrunError:
        write_summary(opened)
        raise
    ranking = write_summary(opened)
    show_end(opened, ranking, quiet=quiet)
    if failing and any(entry.status != DONE for entry in opened.journal.read().values()):
        raise JobsFailed


def is_ours(launcher: Launcher) -> bool:
    """Whether jobs are trained in this process, by us."""
    return type(launcher).__module__ == "hydra_plugins.mlrun_sweep"


def _new(config: DictConfig, points: Sequence[Point]) -> Sweep:
    """A folder for the points, which Hydra learns of."""
    asked = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(asked, dict)
    own = str(asked["dir"]).startswith("${new_folder:")
    wanted = None if own else str(config.hydra.sweep.dir)
    path = claim_sweep(points, points[0].settings.paths.outputs, wanted)
    with open_dict(config):
        config.hydra.sweep.dir = str(path)
    launcher = config.hydra.runtime.choices["hydra/launcher"]
    return begin(path, points, command=_command(), launcher=launcher)


def _command() -> list[str]:
    return [*sys.argv, *allow_words(allowed_now())]


def _returned(point: Point, entry: Entry) -> JobReturn:
    done = entry.status == DONE
    found = JobReturn(list(point.overrides), point.config, None, str(Path.cwd()), "mlrun")
    found.status = JobStatus.COMPLETED if done else JobStatus.FAILED
    found.return_value = entry.score if done else MlrunError(entry.error)
    return found
