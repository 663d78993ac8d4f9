"""Build everything that a run needs, and check that it fits, before a folder is created."""

import time
from dataclasses import dataclass, replace
from typing import Any

from mlrun.config.allowlist import ALLOWED, check_targets
from mlrun.config.build import build, plain
from mlrun.config.recorded import check_lookups, for_the_record
from mlrun.config.schema import Settings
from mlrun.config.values import Composed
from mlrun.data.dataset import Dataset
from mlrun.runs.checkpoint import check_savable
from mlrun.runs.predictor import Predictor
from mlrun.system.device import choose_device
from mlrun.system.random import seed_everything
from mlrun.training.engines.base import Engine
from mlrun.training.engines.choose import choose_outputs
from mlrun.training.learner import build_learner
from mlrun.training.loop import encoded
from mlrun.training.threads import set_threads
from mlrun.training.types import Features, Learner, Member, Progress


@dataclass(frozen=True)
class Job:
    """Everything that a run needs, built and checked."""

    plain_config: dict[str, Any]  # the result of `for_the_record`
    settings: Settings
    dataset: Dataset
    learner: Learner
    engine: Engine
    predictor: Predictor
    threads: int
    seconds: float  # duration of `prepare`
    not_native: str = ""  # why the native engine was not used

    def features(self) -> tuple[Features, Features]:
        """Return training and validation rows for the training loop."""
        train, valid = map(self.predictor.features, (self.dataset.train, self.dataset.valid))
        return encoded(self.learner.objective, train), valid

    def member(
        self,
        features: tuple[Features, Features],
        progress: Progress,
        until: int | None = None,
    ) -> Member:
        """Return the member for the training loop."""
        trainer, seed = self.settings.trainer, self.settings.seed
        return Member(self.learner, *features, trainer, seed, progress, until)


def prepare(config: Composed, settings: Settings, dataset: Dataset | None = None) -> Job:
    """Read the data, unless given, and build model and engine; write nothing."""
    started = time.perf_counter()
    check_lookups(config)
    check_targets({group: plain(config.values.get(group)) for group in ALLOWED})
    trainer = settings.trainer
    device = choose_device(settings.device)
    seed_everything(settings.seed, device, deterministic=trainer.deterministic)
    if dataset is None:
        dataset = build("data", config.values).load()
    learner, engine, reason = build_learner(config.values, settings, dataset, device)
    check_savable(learner)
    predictor = Predictor(
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
    plain_config = for_the_record(config)
    return Job(
        plain_config, settings, dataset, learner, engine, predictor, threads, seconds, reason
    )


def sibling(job: Job, config: Composed, seed: int) -> Job:
    """Return the job for another seed on the same data; much faster than `prepare`.

    Args:
        job: a prepared job.
        config: its configuration, without references to the seed.
        seed: the other seed.
    """
    started = time.perf_counter()
    settings = replace(job.settings, seed=seed)
    seed_everything(seed, job.predictor.device, deterministic=settings.trainer.deterministic)
    learner, engine, _ = build_learner(config.values, settings, job.dataset, job.predictor.device)
    return replace(
        job,
        plain_config=job.plain_config | {"seed": seed},
        settings=settings,
        learner=learner,
        engine=engine,
        predictor=replace(job.predictor, model=learner.model, objective=learner.objective),
        seconds=time.perf_counter() - started,
    )
