"""Write the files of a run that exist before its training: configuration, split, first run.json."""

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlrun.config.hydra_patches import to_yaml
from mlrun.config.recorded import for_the_record, left_out
from mlrun.config.values import Composed
from mlrun.config.words import hide_in_words
from mlrun.runs.folder import RUN_FORMAT, RunFolder
from mlrun.runs.job import Job
from mlrun.system.files import write_atomically
from mlrun.system.plain_text import plain
from mlrun.system.provenance import now, provenance_of
from mlrun.system.secrets import hide
from mlrun.training.distributed import process_group
from mlrun.training.engines.choose import kernel_built

log = logging.getLogger(__name__)


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
    provenance = provenance_of(job.dataset.data)
    write_first_record(run, job, config=recorded, command=command, provenance=provenance)


def write_first_record(
    run: RunFolder,
    job: Job,
    *,
    config: Mapping[str, Any],
    command: Sequence[str],
    provenance: Mapping[str, Any],
) -> None:
    """Write split.json and the first run.json.

    Args:
        run: an empty folder.
        job: the job of the run.
        config: the result of `for_the_record`.
        command: the command line.
        provenance: data files, versions and commit, see `provenance_of`.
    """
    dataset, settings = job.dataset, job.settings
    split = {part: rows.tolist() for part, rows in dataset.split.items()}
    write_atomically(run.split, json.dumps(split).encode())
    run.update(
        format=RUN_FORMAT,
        status="running",
        started=now(),
        command=shlex.join(hide_in_words(command)),
        config=config,
        task=settings.task,
        seed=settings.seed,
        monitor=settings.trainer.monitor,
        sample=dataset.sample,
        read=[asdict(one) for one in dataset.findings],
        spec=asdict(dataset.spec),
        rows={name: len(rows) for name, rows in dataset.parts.items()}
        | {"predict": len(dataset.predict)},
        **provenance,
        device=str(job.predictor.device),
        engine=job.engine.name,
        kernel=kernel_built(job.predictor.outputs_of),
        threads=job.threads,
        processes=process_group().size,
        parameters=sum(p.numel() for p in job.learner.model.parameters()),
    )


def write_for_people(run: RunFolder, config: Composed, overrides: Sequence[str]) -> None:
    """Write config.yaml and .hydra/, with unresolved references; mlrun never reads them."""
    text = _yaml(hide(config.raw))
    write_atomically(run.config, text, durable=False)
    (run.path / ".hydra").mkdir(exist_ok=True)
    write_atomically(run.path / ".hydra" / "config.yaml", text, durable=False)
    words = _yaml(hide_in_words(overrides))
    write_atomically(run.path / ".hydra" / "overrides.yaml", words, durable=False)


def _yaml(value: Any) -> bytes:
    return plain(to_yaml(value)).encode()
