"""Print and record the description of a run before its first step."""

import logging
from collections.abc import Sequence

import torch

from mlrun.config.recorded import for_the_record, left_out
from mlrun.config.values import Composed
from mlrun.models.summary import layers_of
from mlrun.report.console import Console
from mlrun.runs.folder import RunFolder
from mlrun.runs.job import Job
from mlrun.runs.record import write_first_record, write_for_people
from mlrun.system.provenance import made_of

log = logging.getLogger(__name__)


def announce(console: Console, job: Job) -> None:
    """Print the model, the data and the device."""
    dataset, spec = job.dataset, job.dataset.spec
    if dataset.sample:
        console.sample_warning(next(iter(dataset.files.values())).parent)
    wanted = f"{len(spec.classes)} classes" if spec.classes else "1 value"
    log.info(
        "%s: %s of '%s' (%s) from %s features",
        *(job.settings.task, spec.kind, spec.target, wanted, "x".join(map(str, spec.in_shape))),
    )
    words = {"train": "for training", "valid": "for validation", "test": "for testing"}
    counts = [f"{len(rows)} {words[part]}" for part, rows in dataset.parts.items()]
    log.info("rows: %s; %d to predict", ", ".join(counts), len(dataset.predict))
    row = torch.zeros(1, *spec.in_shape, device=job.predictor.device)
    layers = [
        (layer.name, "x".join(map(str, layer.shape)), layer.parameters)
        for layer in layers_of(job.learner.model, row)
    ]
    console.model_summary("model", layers)
    log.info(
        "device: %s, %s engine, %d thread(s)", job.predictor.device, job.engine.name, job.threads
    )


def write_beginning(
    run: RunFolder,
    job: Job,
    *,
    config: Composed,
    command: Sequence[str],
    overrides: Sequence[str],
) -> None:
    """Write configuration, overrides, split and the first run.json."""
    write_for_people(run, config, overrides)
    recorded = for_the_record(config)
    for key in left_out(recorded):
        log.warning(
            "%s is a secret or comes from the environment, so it is not recorded: "
            "this run cannot be opened again",
            key,
        )
    files = made_of(job.dataset.files)
    write_first_record(run, job, config=recorded, command=command, made_of=files)
