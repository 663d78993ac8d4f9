"""resume: go on with a run from its folder, to the same bits as if it had never stopped."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.checkpoint import State, load_last
from mlrun.config import settings_of
from mlrun.errors import MlrunError
from mlrun.loop import Learner, Progress, finished
from mlrun.record import recorded
from mlrun.report.console import Console
from mlrun.run_data import load_run_data
from mlrun.run_folder import RunFolder, locked, open_run, read_json
from mlrun.train import carry_out, prepare

log = logging.getLogger(__name__)

# What a resumed run may change: how long it goes on, and what is said and saved meanwhile.
MAY_CHANGE = (
    "trainer.epochs",
    "trainer.patience",
    "trainer.max_minutes",
    "checkpoint.every_seconds",
    "quiet",
)
UNFINISHED = ("running", "interrupted", "failed")


def resume(folder: str, overrides: Sequence[str] = ()) -> None:
    """Go on with the run in `folder`, or with the newest unfinished one below it.

    Args:
        folder: a run folder, or a folder of such.
        overrides: KEY=VALUE for the keys of MAY_CHANGE, e.g. more epochs.

    Raises:
        MlrunError: no run to resume, another process is at it, its data has changed, or a change
            that could not be honoured exactly.
    """
    run = open_run(_newest_unfinished(Path(folder)))
    with locked(run):
        state, complaint = load_last(run)
        config = _changed(configuration(run, state), overrides)
        settings = settings_of(config)
        with Console(quiet=settings.quiet) as console:
            progress = Progress(**state["progress"]) if state else Progress()
            if finished(progress, settings.trainer) and run.record["status"] == "done":
                log.info("nothing left to do: %d epochs are done", progress.epoch)
                log.info("to go on: mlrun resume %s trainer.epochs=…", run.path)
                return
            dataset = load_run_data(run, config, state["contract"] if state else None)
            job = prepare(config, settings, dataset)
            if state:
                restore(job.learner, state)
            console.log_to(run.log)
            if complaint:
                log.warning(complaint)
            log.info("resuming %s after epoch %d", run.path, progress.epoch)
            with recorded(run) as outcome:
                run.update(status="running", resumed_after=progress.epoch)
                outcome.status = carry_out(run, job, console, progress=progress, resumed=state)


def restore(learner: Learner, state: State) -> None:
    """Put model, optimizer and scheduler where they were."""
    learner.model.load_state_dict(state["weights"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.scheduler.load_state_dict(state["scheduler"])


def _newest_unfinished(folder: Path) -> Path:
    if not folder.is_dir() or (folder / "run.json").is_file():
        return folder
    records = [file for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}/run.json")]
    unfinished = [file for file in records if read_json(file).get("status") in UNFINISHED]
    if not unfinished:
        raise MlrunError(f"no unfinished run in {folder}")
    return max(unfinished, key=lambda file: file.stat().st_mtime).parent


def configuration(run: RunFolder, state: State | None) -> DictConfig:
    """What the run was asked to do: as its checkpoint says, else as its config.yaml says."""
    if state is not None:
        return DictConfig(state["config"])
    if "spec" not in run.record:
        raise MlrunError(f"{run.path}: the run ended before it began; start it again")
    loaded: Any = OmegaConf.load(run.config)
    return loaded  # type: ignore[no-any-return]


def _changed(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise MlrunError(f"'{override}': KEY=VALUE is wanted")
        if key not in MAY_CHANGE:
            raise MlrunError(
                f"{key} cannot change in a resumed run, which must go on exactly; only "
                f"{', '.join(MAY_CHANGE)} can. Start a new run for {override}"
            )
    try:
        changes = OmegaConf.from_dotlist(list(overrides))
        return OmegaConf.merge(config, changes)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise MlrunError(str(error).splitlines()[0]) from error
