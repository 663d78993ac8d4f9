"""mlrun from Python; selects the kind of run: one model, an ensemble, or a sweep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf

from mlrun.config.allowlist import allowing
from mlrun.config.column_words import with_quoted_names
from mlrun.config.compose import composing, explained, plain_overrides
from mlrun.config.hydra_patches import typed
from mlrun.config.schema import settings_of
from mlrun.config.values import Composed, composed
from mlrun.config.words import remember_words, words_of
from mlrun.errors import JobsFailed, MlrunError
from mlrun.runs.ensemble import is_ensemble
from mlrun.runs.folder import claim, claim_exactly, is_sweep, open_run, register_new_folder
from mlrun.runs.members import resume_members, train_members
from mlrun.runs.opened import Run
from mlrun.runs.resume import newest_unfinished, resume_run
from mlrun.runs.single import train_run
from mlrun.system import processes
from mlrun.system.process_state import restored
from mlrun.system.secrets import remembering
from mlrun.training.torch_private import forget_optimizers_without_compiler


def train(*overrides: str, allow: Sequence[str] = (), **settings: Any) -> Run:
    """Train like `mlrun OVERRIDES` and write a run folder.

    Args:
        overrides: overrides as on the command line, e.g. "task=covid", "optimizer.lr=1e-2".
        allow: your own classes that the configuration may name, e.g. "nets.Wide".
        settings: overrides as keywords, e.g. seed=3, trainer={"epochs": 5}.

    Returns:
        The finished run.

    Raises:
        MlrunError: a user error (no folder was created), or a write error.
        Diverged: the loss became NaN or infinite; the folder has the best weights so far.
        Interrupted: Ctrl-C; the folder has the best weights so far.
    """
    processes.refuse("mlrun.train")
    with _composed_words(overrides, settings, allow, sweep=False) as (config, _, words):
        folders: list[Path] = []

        def make_folder() -> Path:
            folders.append(_claimed(config))
            return folders[0]

        plain = composed(_without_hydra(config))
        command, typed = ["mlrun", *words], plain_overrides(config)
        kind = settings_of(plain.values)
        if kind.seeds or kind.folds:
            train_members(plain, kind, make_folder, command=command, overrides=typed)
        else:
            train_run(plain, kind, make_folder, command=command, overrides=typed)
    return Run(folders[0], tuple(allow))


def load(path: str | Path, *, allow: Sequence[str] = ()) -> Run:
    """Open the run in a folder.

    Args:
        path: a run folder.
        allow: your own classes that its configuration may name.

    Raises:
        MlrunError: there is no run, or run.json is damaged.
    """
    return Run(open_run(path).path, tuple(allow))


def sweep(*overrides: str, allow: Sequence[str] = (), **settings: Any) -> pd.DataFrame:
    """Train every combination of the values, like `mlrun -m OVERRIDES`.

    Args:
        overrides: overrides as on the command line, e.g. "seed=0,1,2", "optimizer.lr=1e-3,1e-2".
        allow: your own classes that the configuration may name.
        settings: overrides as keywords; a text with commas means several values: seed="0,1,2".

    Returns:
        The table summary.csv: one row per job with status, score, values and folder; failed jobs
        have an error. `table.attrs["path"]` is the sweep folder.

    Raises:
        MlrunError: the arguments are invalid; nothing was written.
        Interrupted: Ctrl-C; `mlrun.resume` continues.
    """
    processes.refuse("mlrun.sweep")
    swept = {k: v for k, v in settings.items() if isinstance(v, str) and "," in v}
    words = [f"{key}={value}" for key, value in swept.items()]
    others = {key: value for key, value in settings.items() if key not in swept}
    composition = _composed_words([*overrides, *words], others, allow, sweep=True)
    with composition as (config, loader, _), explained(), suppress(JobsFailed):
        _kind_of_sweep(config)(config, loader, None, plain_overrides(config))
    path = Path(config.hydra.sweep.dir)
    table = pd.read_csv(path / "summary.csv")
    table.attrs["path"] = path
    return table


@contextmanager
def _composed_words(
    overrides: Sequence[str], settings: dict[str, Any], allow: Sequence[str], *, sweep: bool
) -> Iterator[tuple[DictConfig, Any, list[str]]]:
    """Yield the composed configuration; restore the state of the process afterwards."""
    words = with_quoted_names(words_of(overrides, settings), sweep=sweep)
    command = ["-m", *words] if sweep else words
    register_new_folder()
    with remembering(), _untouched(allow), typed(command):
        remember_words(words)
        with composing(words, sweep=sweep) as made:
            yield *made, words


@contextmanager
def _untouched(allow: Sequence[str]) -> Iterator[None]:
    """Allow classes in this block; restore the state of the process afterwards."""
    try:
        with restored(), allowing(allow):
            yield
    finally:
        forget_optimizers_without_compiler()


def _kind_of_sweep(config: DictConfig) -> Callable[..., None]:
    """Return the function that runs a sweep or a search in this process.

    Raises:
        MlrunError: another launcher is selected.
    """
    choices = config.hydra.runtime.choices
    if choices["hydra/launcher"] != "mlrun":
        raise MlrunError(
            f"hydra/launcher={choices['hydra/launcher']} works only on the command line"
        )
    if choices["hydra/sweeper"] == "optuna":
        from mlrun.sweeps.search import search

        return search
    if choices["hydra/sweeper"] != "mlrun":
        raise MlrunError(f"hydra/sweeper={choices['hydra/sweeper']} works only on the command line")
    from mlrun.sweeps.launch import sweep_grid

    return sweep_grid


def _without_hydra(config: DictConfig) -> DictConfig:
    plain = config.copy()
    OmegaConf.set_readonly(plain, False)
    OmegaConf.set_struct(plain, False)
    del plain["hydra"]
    return plain


def _claimed(config: DictConfig) -> Path:
    """Create a run folder: `hydra.run.dir`, or one named after time and task."""
    with explained():
        folder = Path(config.hydra.run.dir)
    if folder != Path():
        return claim_exactly(folder.parent, folder.name)
    return claim(config.paths.outputs, f"{config.task}_{config.hydra.runtime.choices.model}")


def train_composed(
    config: Composed,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str],
    overrides: Sequence[str],
) -> float:
    """Train what a composed configuration describes: one model or an ensemble.

    Args:
        config: the whole configuration.
        make_folder: creates the empty run folder; called after all checks.
        command: the command line, for the record.
        overrides: the user's overrides, for the record.

    Returns:
        The monitored score of the best epoch, for sweeps.

    Raises:
        MlrunError: a user error (no folder was created), or a write error.
        Diverged: the loss became NaN or infinite; the folder has the best weights so far.
        Interrupted: Ctrl-C or SIGTERM; the folder has the best weights so far.
    """
    settings = settings_of(config.values)
    if settings.seeds or settings.folds:
        processes.refuse("seeds or folds")
        return train_members(config, settings, make_folder, command=command, overrides=overrides)
    return train_run(config, settings, make_folder, command=command, overrides=overrides)


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    failed: bool = False,
    allow: Sequence[str] = (),
) -> None:
    """Continue the run in `folder`, or the newest unfinished one below it.

    Args:
        folder: a run folder, or a folder of run folders.
        overrides: KEY=VALUE for the keys of MAY_CHANGE, e.g. more epochs.
        data: a folder with its data files, if they were moved.
        failed: for a sweep: also repeat failed jobs.
        allow: your own classes that its configuration may name.

    Raises:
        MlrunError: there is no run to resume, another process is training it, its data has
            changed, or an override is not allowed.
        JobsFailed: jobs of a sweep failed; the others have ended.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with _untouched(allow):
        _resume(Path(folder), overrides, data=data, failed=failed)


def _resume(folder: Path, overrides: Sequence[str], *, data: str | None, failed: bool) -> None:
    path = newest_unfinished(folder)
    if is_sweep(path):
        from mlrun.sweeps.resume import resume_sweep

        processes.refuse("a sweep")
        if overrides:
            raise MlrunError(f"{path} is a sweep, whose jobs cannot change; remove {overrides[0]}")
        resume_sweep(path, data=data, failed=failed)
        return
    if failed:
        raise MlrunError(f"{path} is not a sweep; --failed is only for sweeps")
    run = open_run(path)
    if is_ensemble(run):
        processes.refuse("seeds or folds")
        resume_members(run, overrides, data=data)
    else:
        resume_run(run, overrides, data=data)
