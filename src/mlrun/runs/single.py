"""One run from start to end: data, model, training, best epoch, test, pred.csv."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlrun.config.schema import Settings
from mlrun.config.values import Composed
from mlrun.data.dataset import Dataset
from mlrun.errors import Diverged
from mlrun.report.console import Console
from mlrun.runs.announce import announce
from mlrun.runs.checkpoint import State
from mlrun.runs.finish import finish
from mlrun.runs.first_record import write_beginning
from mlrun.runs.folder import RunFolder, locked
from mlrun.runs.job import Job, prepare
from mlrun.runs.record import Record, outcome_written
from mlrun.system.garbage import resume_collection
from mlrun.system.seams import Place, reached
from mlrun.system.signals import interruptible
from mlrun.training.distributed import joined, lost_process_explained, process_group
from mlrun.training.loop import Epochs, fit
from mlrun.training.memory import out_of_memory_explained
from mlrun.training.types import Progress


def train_run(
    config: Composed,
    settings: Settings,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str] = (),
    overrides: Sequence[str] = (),
    dataset: Dataset | None = None,
) -> float:
    """Train one model and write a run folder.

    Args:
        config: the configuration, composed from conf/.
        settings: its fixed parts.
        make_folder: creates the empty run folder; called after all checks.
        command: the command line, for the record.
        overrides: the user's overrides, for the record.
        dataset: the data, if already loaded.

    Returns:
        The monitored score of the best epoch, for sweeps.

    Raises:
        MlrunError: a user error (no folder was created), or a write error.
        Diverged: the loss became NaN or infinite; the folder has the best weights so far.
        Interrupted: Ctrl-C or SIGTERM; the folder has the best weights so far.
    """
    with joined(settings.device) as group, Console(quiet=settings.quiet) as console:
        with group.first_before_others():
            job = prepare(config, settings, dataset)
        progress = Progress()
        if group.rank:
            return follow(job, progress)
        run = RunFolder(make_folder())
        with locked(run), outcome_written(run) as outcome:
            console.log_to(run.log)
            reached(Place.RUN_BEGINS)
            announce(console, job)
            write_beginning(run, job, config=config, command=command, overrides=overrides)
            with training(run, job, console, progress) as (epochs, record):
                for [(_, result)] in epochs:
                    row = record.epoch(result)
                    console.epoch(row, progress.best_epoch, progress.best_score)
            outcome.status = finish(run, job, progress, record.history, console)
        return progress.best_score


@contextmanager
def training(
    run: RunFolder, job: Job, console: Console, progress: Progress, resumed: State | None = None
) -> Iterator[tuple[Epochs, Record]]:
    """Yield the remaining epochs, and the record that writes their files.

    At the end the model has the weights of its best epoch.

    Raises:
        Diverged: raised by the record for a loss or gradient that is not finite.
        MlrunError: out of memory (naming a batch size that fits), or another process ended.
        Interrupted: Ctrl-C or SIGTERM.
    """
    begun, trainer = time.perf_counter(), job.settings.trainer
    member = job.member(job.features(), progress)
    resume_collection()
    reached(Place.TRAINING_BEGINS)
    console.begin_progress(trainer.epochs, trainer.monitor)
    with (
        out_of_memory_explained(job.learner, member.train, trainer),
        interruptible() as stop_if_requested,
        Record(run, job, progress, resumed=resumed) as record,
        lost_process_explained(),
    ):
        group = process_group()
        outputs, stop = group.outputs(job.predictor.outputs_of), group.stop(stop_if_requested)
        yield fit([member], job.engine, outputs, stop=stop, clock=group.clock), record
        record.finish()
    spent = time.perf_counter() - begun
    run.note(seconds={"prepare": round(job.seconds, 3), "fit": round(spent, 3)})


def follow(job: Job, progress: Progress) -> float:
    """Train in a process with rank > 0 of a process group: write nothing."""
    resume_collection()
    with interruptible() as stop_if_requested, lost_process_explained():
        group, member = process_group(), job.member(job.features(), progress)
        outputs, stop = group.outputs(job.predictor.outputs_of), group.stop(stop_if_requested)
        for [(_, row)] in fit([member], job.engine, outputs, stop=stop, clock=group.clock):
            if isinstance(row, Diverged):
                raise row
    return progress.best_score
