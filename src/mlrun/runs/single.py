"""The story of a run, in order: data, model, loss, optimizer, scheduler, fit, best, test, pred.csv.

Plain Python behind the command line: call `train` from a test or a notebook with a composed
configuration and a function that makes the run folder.
"""

import gc
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from mlrun.config.allowlist import ALLOWED, allow_words, allowed_now, check_targets
from mlrun.config.build import build, plain
from mlrun.config.recorded import check_lookups, for_the_record, left_out
from mlrun.config.schema import Settings, settings_of
from mlrun.config.values import Composed, composed
from mlrun.data.dataset import Dataset
from mlrun.errors import Diverged
from mlrun.models.summary import layers_of
from mlrun.report.console import Console
from mlrun.runs.checkpoint import State
from mlrun.runs.folder import RunFolder, locked
from mlrun.runs.predictions import write_predictions
from mlrun.runs.predictor import Trained, scored_parts
from mlrun.runs.record import Record, begin, recorded, write_for_people
from mlrun.system import processes
from mlrun.system.device import choose_device
from mlrun.system.provenance import made_of
from mlrun.system.random import seed_everything
from mlrun.system.signals import interruptible
from mlrun.training.distributed import joined, loss_told, team
from mlrun.training.engines.base import Engine
from mlrun.training.engines.choose import choose_outputs
from mlrun.training.learner import build_learner
from mlrun.training.loop import Row, Scores, encoded, finished, fit
from mlrun.training.memory import memory_told
from mlrun.training.metrics import class_accuracy, shown
from mlrun.training.threads import set_threads
from mlrun.training.types import Features, Learner, Member, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Everything a run needs, built and known to fit together."""

    recorded: dict[str, Any]  # the configuration as plain values
    settings: Settings
    dataset: Dataset
    learner: Learner
    engine: Engine
    trained: Trained
    threads: int
    seconds: float  # it took to get here

    def features(self) -> tuple[Features, Features]:
        """Training and validation rows, ready for the loop."""
        train, valid = map(self.trained.features, (self.dataset.train, self.dataset.valid))
        return encoded(self.learner.objective, train), valid

    def member(
        self,
        features: tuple[Features, Features],
        progress: Progress,
        until: int | None = None,
    ) -> Member:
        """What the loop trains."""
        trainer, seed = self.settings.trainer, self.settings.seed
        return Member(self.learner, *features, trainer, seed, progress, until)


def train(
    config: DictConfig | Composed,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str] = (),
    overrides: Sequence[str] = (),
    dataset: Dataset | None = None,
) -> float:
    """Train what the configuration describes and leave a run folder.

    Args:
        config: composed from conf/.
        make_folder: creates the empty run folder; called once all else is known to be fine.
        command: the command line, for the record.
        overrides: what the user changed, for the record.
        dataset: read already; read as the configuration says if not given.

    Returns:
        The best epoch's monitored score, for sweeps.

    Raises:
        MlrunError: a user's mistake (no folder was made), or a disk that refuses to be written.
        Diverged: the loss is not finite any more; the best weights so far are in the folder.
        Interrupted: Ctrl-C or SIGTERM; likewise.
    """
    config = config if isinstance(config, Composed) else composed(config)
    settings = settings_of(config.values)
    if settings.seeds or settings.folds:
        from mlrun.runs.members import train_members

        processes.refuse("seeds or folds")
        return train_members(config, settings, make_folder, command=command, overrides=overrides)
    with joined(settings.device) as team, Console(quiet=settings.quiet) as console:
        with team.first_before_others():
            job = prepare(config, settings, dataset)
        if team.rank:
            return follow(job, Progress())
        run = RunFolder(make_folder())
        with locked(run), recorded(run) as outcome:
            console.log_to(run.log)
            announce(console, job)
            write_beginning(run, job, config=config, command=command, overrides=overrides)
            progress = Progress()
            outcome.status = carry_out(run, job, console, progress=progress)
        return progress.best_score


def follow(job: Job, progress: Progress) -> float:
    """What a process does that is not the first one of its run: train, and write nothing."""
    begin_training()
    with interruptible() as stop_if_asked:
        for row in _epochs(job, job.member(job.features(), progress), stop_if_asked):
            if isinstance(row, Diverged):
                raise row
    return progress.best_score


def carry_out(
    run: RunFolder,
    job: Job,
    console: Console,
    *,
    progress: Progress,
    resumed: State | None = None,
) -> str:
    """Train from where `progress` stands, then score, predict and draw; the run's status."""
    begun = time.perf_counter()
    history = learn(run, job, console, progress, resumed)
    fitted = time.perf_counter()
    results = conclude(run, job, progress, history)
    ended = time.perf_counter()
    phases = {"prepare": job.seconds, "fit": fitted - begun, "conclude": ended - fitted}
    run.note(seconds={name: round(seconds, 3) for name, seconds in phases.items()})
    lines = summary(run, job, progress, history, results)
    done = finished(progress, job.settings.trainer)
    title = f"{'done' if done else 'out of time'} in {sum(phases.values()):.1f} s"
    console.result(lines, title=title, folder=run.path)
    return "done" if done else "interrupted"


def prepare(config: Composed, settings: Settings, dataset: Dataset | None = None) -> Job:
    """Read the data, unless it is given, and build what is trained on it; writes nothing."""
    started = time.perf_counter()
    check_lookups(config)
    check_targets({group: plain(config.values.get(group)) for group in ALLOWED})
    trainer = settings.trainer
    device = choose_device(settings.device)
    seed_everything(settings.seed, device, deterministic=trainer.deterministic)
    if dataset is None:
        dataset = build("data", config.values).load()
    learner, engine = build_learner(config.values, settings, dataset, device)
    trained = Trained(
        learner.model,
        learner.objective,
        dataset.preprocess,
        dataset.contract,
        choose_outputs(learner.model, trainer),
        device,
        dataset.examples,
    )
    threads = set_threads(learner.model, dataset.spec, trainer.batch_size)
    seconds = time.perf_counter() - started
    recorded = for_the_record(config)
    return Job(recorded, settings, dataset, learner, engine, trained, threads, seconds)


def sibling(job: Job, config: Composed, seed: int) -> Job:
    """The job of another seed on the same data, in a fraction of the time.

    Args:
        job: prepared already.
        config: its configuration, in which nothing refers to the seed.
        seed: of the new one.
    """
    started = time.perf_counter()
    settings = replace(job.settings, seed=seed)
    seed_everything(seed, job.trained.device, deterministic=settings.trainer.deterministic)
    learner, engine = build_learner(config.values, settings, job.dataset, job.trained.device)
    return replace(
        job,
        recorded=job.recorded | {"seed": seed},
        settings=settings,
        learner=learner,
        engine=engine,
        trained=replace(job.trained, model=learner.model, objective=learner.objective),
        seconds=time.perf_counter() - started,
    )


def announce(console: Console, job: Job) -> None:
    """Say what is about to be trained on what."""
    dataset, spec = job.dataset, job.dataset.spec
    if dataset.sample:
        console.sample_warning(next(iter(dataset.files.values())).parent)
    wanted = f"{len(spec.classes)} classes" if spec.classes else "1 value"
    log.info(
        "%s: %s of '%s' (%s) from %s features",
        *(job.settings.task, spec.kind, spec.target, wanted, "x".join(map(str, spec.in_shape))),
    )
    words = {"train": "to train", "valid": "to validate", "test": "to test"}
    counts = [f"{len(rows)} {words[part]}" for part, rows in dataset.parts.items()]
    log.info("rows: %s; %d to predict", ", ".join(counts), len(dataset.predict))
    row = torch.zeros(1, *spec.in_shape, device=job.trained.device)
    layers = [
        (layer.name, "x".join(map(str, layer.shape)), layer.parameters)
        for layer in layers_of(job.learner.model, row)
    ]
    console.model_summary("model", layers)
    log.info(
        "device: %s, %s engine, %d thread(s)", job.trained.device, job.engine.name, job.threads
    )


def write_beginning(
    run: RunFolder,
    job: Job,
    *,
    config: Composed,
    command: Sequence[str],
    overrides: Sequence[str],
) -> None:
    """Config, overrides, split and the first run.json."""
    write_for_people(run, config, overrides)
    recorded = for_the_record(config)
    for key in left_out(recorded):
        log.warning("%s is a secret or from the environment: without it nobody opens this run", key)
    write_first_record(run, job, recorded, command=command, made_of=made_of(job.dataset.files))


def write_first_record(
    run: RunFolder,
    job: Job,
    config: Mapping[str, Any],
    *,
    command: Sequence[str],
    made_of: Mapping[str, Any],
) -> None:
    """Split and the first run.json; see `record.begin`."""
    begin(
        run,
        job.dataset,
        settings=job.settings,
        config=config,
        command=command,
        made_of=made_of,
        device=str(job.trained.device),
        engine=job.engine.name,
        threads=job.threads,
        processes=team().size,
        parameters=sum(p.numel() for p in job.learner.model.parameters()),
    )


def begin_training() -> None:
    """From here on garbage is looked for again, see cli.entry_point; what is imported stays."""
    if not gc.isenabled():  # in a sweep once: what earlier jobs left behind must not stay, too
        gc.freeze()
        gc.enable()


def learn(
    run: RunFolder, job: Job, console: Console, progress: Progress, resumed: State | None
) -> list[Row]:
    """Fit, writing down every epoch; the model ends with its best epoch's weights."""
    trainer, member = job.settings.trainer, job.member(job.features(), progress)
    begin_training()
    console.begin_progress(trainer.epochs, trainer.monitor)
    with (
        memory_told(job.learner, member.train, trainer),
        interruptible() as stop_if_asked,
        Record(run, job.recorded, job.dataset, job.settings, resumed=resumed) as record,
    ):
        for row in _epochs(job, member, stop_if_asked):
            if isinstance(row, Diverged):
                raise row
            record.epoch(job.learner, progress, row)
            console.epoch(row, progress.best_epoch, progress.best_score)
        record.finish(job.learner, progress)
    return record.history


def _epochs(job: Job, member: Member, stop: Callable[[], None]) -> Iterator[Row | Diverged]:
    """The loop, with the other processes of this run if there are any."""
    ours = team()
    outputs = ours.outputs(job.trained.outputs_of)
    rows = fit([member], job.engine, outputs, stop=ours.stop(stop), clock=ours.clock)
    with loss_told():
        for [(_, row)] in rows:
            yield row


def conclude(run: RunFolder, job: Job, progress: Progress, history: list[Row]) -> dict[str, Scores]:
    """Score the best weights on every part once, write pred.csv, draw the plots."""
    from mlrun.report.plots import draw_curve, draw_predictions  # jobs of sweeps do without

    results = score(run, job)
    title = f"{run.path.name}: loss"
    draw_curve(run.plots, history, progress.best_epoch, title=title)
    part, words = ("test", "test") if "test" in results else ("valid", "validation")
    rows = job.dataset.parts[part]
    assert rows.targets is not None
    guess = results[part].predictions
    draw_predictions(run.plots, job.dataset.spec, rows.targets, guess, rows=words)
    return results


def score(run: RunFolder, job: Job) -> dict[str, Scores]:
    """Score the best weights on every part once and write pred.csv."""
    dataset, trained = job.dataset, job.trained
    parts = scored_parts(dataset, job.settings.trainer)
    results = {name: trained.score(rows) for name, rows in parts.items()}
    run.note(metrics={name: result.values for name, result in results.items()})

    shown_part = "test" if "test" in results else "valid"
    rows, result = parts[shown_part], results[shown_part]
    assert rows.targets is not None
    if dataset.spec.classes:
        per_class = class_accuracy(dataset.spec, rows.targets, result.predictions)
        run.note(class_accuracy={shown_part: per_class})
    predictions = trained.predict(dataset.predict)
    write_predictions(run.predictions, dataset.spec, dataset.predict.ids, predictions)
    return results


def summary(
    run: RunFolder, job: Job, progress: Progress, history: list[Row], results: dict[str, Scores]
) -> list[tuple[str, str]]:
    """What the user reads at the end: scores, files, what to type next."""
    trainer = job.settings.trainer
    lines = [("best epoch", f"{progress.best_epoch} of {progress.epoch}")]
    lines += [(name, shown(result.values)) for name, result in results.items()]
    if job.dataset.sample:
        lines.append(("data", "the bundled SAMPLE, not real data"))
    if trainer.limit_batches == 1 and not trainer.shuffle:
        first, last = history[0]["train/loss"], history[-1]["train/loss"]
        lines.append(("one batch", f"its loss went from {first:.4g} to {last:.4g}; zero is wanted"))
    own = allow_words(allowed_now())
    predictions = f"{run.predictions} ({len(job.dataset.predict)} rows)"
    return [
        *lines,
        ("predictions", predictions),
        ("run folder", str(run.path)),
        ("score again", " ".join(["mlrun evaluate", str(run.path), *own])),
        ("new rows", " ".join(["mlrun predict", str(run.path), "--input FILE", *own])),
    ]
