"""After training: scores, pred.csv, plots and the summary."""

import time

from mlrun.config.allowlist import allow_words, allowed_now
from mlrun.config.schema import Trainer
from mlrun.report.console import Console
from mlrun.runs.folder import RunFolder
from mlrun.runs.job import Job
from mlrun.runs.predictions import predictions_csv, warn_of_control_characters
from mlrun.runs.predictor import scored_parts
from mlrun.system.files import write_atomically
from mlrun.system.seams import Place, reached
from mlrun.training.loop import EpochRow, Scores, finished
from mlrun.training.metrics import class_accuracy, shown
from mlrun.training.types import Progress

# The entry `stopped` of run.json → words for people.
STOP_REASONS = {
    "epochs": "all epochs done",
    "patience": "early stopping",
    "halving": "paused by successive halving (sweep.halving)",
    "max_minutes": "time limit reached (trainer.max_minutes)",
}


def finish(
    run: RunFolder, job: Job, progress: Progress, history: list[EpochRow], console: Console
) -> str:
    """Score, predict, plot and print the results; return the status of the run."""
    reached(Place.SCORING_BEGINS)
    begun = time.perf_counter()
    results = conclude(run, job, progress, history)
    seconds = run.record["seconds"] | {"conclude": round(time.perf_counter() - begun, 3)}
    run.note(seconds=seconds)
    lines = summary(run, job, progress, history, results)
    done = finished(progress, job.settings.trainer)
    title = f"{'done' if done else 'time limit reached'} in {sum(seconds.values()):.1f} s"
    console.result(lines, title=title, folder=run.path)
    return "done" if done else "interrupted"


def conclude(
    run: RunFolder, job: Job, progress: Progress, history: list[EpochRow]
) -> dict[str, Scores]:
    """Score the best weights on every part, write pred.csv and draw the plots."""
    from mlrun.report.plots import draw_curve, draw_predictions  # jobs of sweeps draw no plots

    results = score(run, job)
    monitor, spec = job.settings.trainer.monitor, job.dataset.spec
    best = progress.best_epoch
    draw_curve(run.plots, history, best, title=run.path.name, monitor=monitor, spec=spec)
    part, words = ("test", "test") if "test" in results else ("valid", "validation")
    rows = job.dataset.parts[part]
    assert rows.targets is not None
    warn_of_control_characters(spec, job.dataset.predict.ids)
    guess = results[part].predictions
    draw_predictions(run.plots, spec, rows.targets, guess, rows=words)
    return results


def score(run: RunFolder, job: Job) -> dict[str, Scores]:
    """Score the best weights on every part and write pred.csv."""
    dataset, predictor = job.dataset, job.predictor
    parts = scored_parts(dataset, job.settings.trainer)
    results = {name: predictor.score(rows) for name, rows in parts.items()}
    run.note(metrics={name: result.values for name, result in results.items()})

    shown_part = "test" if "test" in results else "valid"
    rows, result = parts[shown_part], results[shown_part]
    assert rows.targets is not None
    if dataset.spec.classes:
        per_class = class_accuracy(dataset.spec, rows.targets, result.predictions)
        run.note(class_accuracy={shown_part: per_class})
    predictions = predictor.predict(dataset.predict)
    content = predictions_csv(dataset.spec, dataset.predict.ids, predictions)
    write_atomically(run.predictions, content)
    return results


def summary(
    run: RunFolder,
    job: Job,
    progress: Progress,
    history: list[EpochRow],
    results: dict[str, Scores],
) -> list[tuple[str, str]]:
    """Return the lines of the summary: scores, files, next commands."""
    trainer = job.settings.trainer
    lines = [
        ("stopped", _reason(run.entry("stopped", str), trainer)),
        ("best epoch", f"{progress.best_epoch} of {progress.epoch}"),
    ]
    lines += [(name, shown(result.values)) for name, result in results.items()]
    if job.dataset.sample:
        lines.append(("data", "bundled SAMPLE data, not real data"))
    if trainer.limit_batches == 1 and not trainer.shuffle:
        first, last = history[0]["train/loss"], history[-1]["train/loss"]
        lines.append(
            ("one batch", f"its loss went from {first:.4g} to {last:.4g}; it should approach zero")
        )
    own = allow_words(allowed_now())
    predictions = f"{run.predictions} ({len(job.dataset.predict)} rows)"
    return [
        *lines,
        ("predictions", predictions),
        ("run folder", str(run.path)),
        ("score again", " ".join(["mlrun evaluate", str(run.path), *own])),
        ("new rows", " ".join(["mlrun predict", str(run.path), "--input FILE", *own])),
    ]


def _reason(stopped: str, trainer: Trainer) -> str:
    """Describe why training stopped, with the numbers of this run."""
    if stopped == "patience":
        return f"early stopping (no improvement for {trainer.patience} epochs)"
    if stopped == "epochs":
        return f"all epochs done ({trainer.epochs})"
    return STOP_REASONS[stopped]
