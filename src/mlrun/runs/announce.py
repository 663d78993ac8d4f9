"""Print the description of a run before its first step."""

import logging

import torch

from mlrun.models.summary import layers_of
from mlrun.report.console import Console
from mlrun.runs.job import Job
from mlrun.system.plain_text import one_line

log = logging.getLogger(__name__)


def announce(console: Console, job: Job) -> None:
    """Print the model, the data and the device."""
    dataset, spec = job.dataset, job.dataset.spec
    if dataset.sample:
        console.sample_warning(next(iter(dataset.files.values())).parent)
    wanted = f"{len(spec.classes)} classes" if spec.classes else "1 value"
    target = one_line(spec.target)
    log.info(
        "%s: %s of '%s' (%s) from %s features",
        *(job.settings.task, spec.kind, target, wanted, "x".join(map(str, spec.in_shape))),
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
