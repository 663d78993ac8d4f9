"""mlrun from Python, and which kind of run a command asks for: one model, members, or a sweep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from mlrun.config.allowlist import allowing
from mlrun.config.compose import composing, explained, plain_overrides, words_of
from mlrun.config.hydra_patches import typed
from mlrun.config.schema import settings_of
from mlrun.config.values import Composed, composed
from mlrun.errors import JobsFailed, MlrunError
from mlrun.runs.ensemble import is_ensemble
from mlrun.runs.folder import claim, claim_exactly, is_sweep, open_run, register_new_folder
from mlrun.runs.members import resume_members, train_members
from mlrun.runs.opened import Run
from mlrun.runs.resume import newest_unfinished, resume_run
from mlrun.runs.single import train_run
from mlrun.system import processes
from mlrun.system.process_state import restored


def train(*overrides: str, allow: Sequence[str] = (), **settings: Any) -> Run:
    """Train what the overrides describe, as `mlrun OVERRIDES` does, and leave a run folder.

    Args:
        overrides: words of the command line, e.g. "task=covid", "optimizer.lr=1e-2".
        allow: classes of your own that the configuration may name, e.g. "nets.Wide".
        settings: the same as keywords, e.g. seed=3, trainer={"epochs": 5}.

    Returns:
        The finished run.

    Raises:
        MlrunError: a user's mistake (no folder was made), or a disk that refuses to be written.
        Diverged: the loss is not finite any more; the best weights so far are in the folder.
        Interrupted: Ctrl-C; likewise.
    """
    with _composed_words(overrides, settings, allow, sweep=False) as (config, _, words):
        folders: list[Path] = []

        def make_folder() -> Path:
            folders.append(_claimed(config))
            return folders[0]

        plain = composed(_without_hydra(config))
        command, asked = ["mlrun", *words], plain_overrides(config)
        kind = settings_of(plain.values)
        if kind.seeds or kind.folds:
            train_members(plain, kind, make_folder, command=command, overrides=asked)
        else:
            train_run(plain, kind, make_folder, command=command, overrides=asked)
    return Run(folders[0])


def load(path: str | Path) -> Run:
    """The run in a folder.

    Raises:
        MlrunError: there is none, or its record is damaged.
    """
    return Run(open_run(path).path)


def sweep(*overrides: str, allow: Sequence[str] = (), **settings: Any) -> pd.DataFrame:
    """Train every combination of the values, as `mlrun -m OVERRIDES` does.

    Args:
        overrides: words of the command line, e.g. "seed=0,1,2", "optimizer.lr=1e-3,1e-2".
        allow: classes of your own that the configuration may name.
        settings: the same as keywords; a text with commas holds several values: seed="0,1,2".

    Returns:
        summary.csv: a row for each job, its status, score, values and folder; the sweep's folder
        is `table.attrs["path"]`. Failed jobs are rows with an error.

    Raises:
        MlrunError: the words make no sweep (nothing was made).
        Interrupted: Ctrl-C; `mlrun.resume` goes on.
    """
    swept = {k: v for k, v in settings.items() if isinstance(v, str) and "," in v}
    words = [f"{key}={value}" for key, value in swept.items()]
    others = {key: value for key, value in settings.items() if key not in swept}
    asked = _composed_words([*overrides, *words], others, allow, sweep=True)
    with asked as (config, loader, _), explained(), suppress(JobsFailed):
        _kind_of_sweep(config)(config, loader, None, plain_overrides(config))
    path = Path(config.hydra.sweep.dir)
    table = pd.read_csv(path / "summary.csv")
    table.attrs["path"] = path
    return table


@contextmanager
def _composed_words(
    overrides: Sequence[str], settings: dict[str, Any], allow: Sequence[str], *, sweep: bool
) -> Iterator[tuple[DictConfig, Any, list[str]]]:
    """What Hydra composes of the words; the caller's process is as before afterwards."""
    words = words_of(overrides, settings)
    command = ["-m", *words] if sweep else words
    register_new_folder()
    with restored(), allowing(allow), typed(command), composing(words, sweep=sweep) as made:
        yield *made, words


def _kind_of_sweep(config: DictConfig) -> Callable[..., None]:
    """Every combination, or a search; both train their jobs in this process.

    Raises:
        MlrunError: another launcher was asked for.
    """
    choices = config.hydra.runtime.choices
    if choices["hydra/launcher"] != "mlrun":
        raise MlrunError(f"hydra/launcher={choices['hydra/launcher']} works on the command line")
    if choices["hydra/sweeper"] == "optuna":
        from mlrun.sweeps.search import search

        return search
    from mlrun.sweeps.launch import sweep as every_combination

    return every_combination


def _without_hydra(config: DictConfig) -> DictConfig:
    plain = config.copy()
    plain._set_flag(["struct", "readonly"], [False, False])
    del plain["hydra"]
    return plain


def _claimed(config: DictConfig) -> Path:
    """A new run folder: the one that `hydra.run.dir` names, or one named after time and task."""
    asked = Path(config.hydra.run.dir)
    if asked != Path():
        return claim_exactly(asked.parent, asked.name)
    return claim(config.paths.outputs, f"{config.task}_{config.hydra.runtime.choices.model}")


def train_composed(
    config: Composed,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str],
    overrides: Sequence[str],
) -> float:
    """Train what a composed configuration describes: one model, or members.

    Args:
        config: the whole configuration.
        make_folder: creates the empty run folder; called once all else is known to be fine.
        command: the command line, for the record.
        overrides: what the user changed, for the record.

    Returns:
        The best epoch's monitored score, for sweeps.

    Raises:
        MlrunError: a user's mistake (no folder was made), or a disk that refuses to be written.
        Diverged: the loss is not finite any more; the best weights so far are in the folder.
        Interrupted: Ctrl-C or SIGTERM; likewise.
    """
    settings = settings_of(config.values)
    if settings.seeds or settings.folds:
        processes.refuse("seeds or folds")
        return train_members(config, settings, make_folder, command=command, overrides=overrides)
    return train_run(config, settings, make_folder, command=command, overrides=overrides)


def resume(
    folder: str,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    failed: bool = False,
) -> None:
    """Go on with the run in `folder`, or with the newest unfinished one below it.

    Args:
        folder: a run folder, or a folder of such.
        overrides: KEY=VALUE for the keys of MAY_CHANGE, e.g. more epochs.
        data: where its data files are now, if not where they were.
        failed: of a sweep: also try again the jobs that failed.

    Raises:
        MlrunError: no run to resume, another process is at it, its data has changed, or a change
            that could not be honoured exactly.
    """
    path = newest_unfinished(Path(folder))
    if is_sweep(path):
        from mlrun.sweeps.resume import resume_sweep

        processes.refuse("a sweep")
        if overrides:
            raise MlrunError(f"{path} is a sweep, whose jobs stay as they are: no {overrides[0]}")
        resume_sweep(path, data=data, failed=failed)
        return
    if failed:
        raise MlrunError(f"{path} is no sweep: --failed is for those")
    run = open_run(path)
    if is_ensemble(run):
        processes.refuse("seeds or folds")
        resume_members(run, overrides, data=data)
    else:
        resume_run(run, overrides, data=data)
