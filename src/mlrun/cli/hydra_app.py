"""Compose the configuration of a training command with Hydra, and call `api`."""

import io
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlrun.config.allowlist import allow_words, allowed_now, allowing
from mlrun.config.column_words import with_quoted_names
from mlrun.config.compose import NAME, check_composed, explained, prepare_hydra
from mlrun.config.hydra_patches import known_flags, patched, typed
from mlrun.config.options import CONF, own_conf
from mlrun.config.suggestions import instead_of, value_after
from mlrun.config.values import composed
from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError
from mlrun.runs.folder import claim, claim_exactly, register_new_folder
from mlrun.sweeps import dry_run_requested
from mlrun.system import processes
from mlrun.system.safe_text import safe_streams, say

MULTIRUN = ("-m", "--multirun")
CONFIG_FLAGS = ("--config-name", "-cn", "--config-path", "-cp")
PRINTING = ("--cfg", "-c", "--info", "-i")
COMPLETING = ("--shell-completion", "-sc")
# bash expands what it completes: it would run an option named $(command)
COMPLETED = re.compile(r"[\w./=,:@+~%\[\]-]*")
# hydra.mode itself, the whole hydra node, or a file of one of Hydra's groups
SETS_MODE = re.compile(r"[+~]*hydra(\.mode\b|[=/@])")


@dataclass
class JobOutcome:
    """The error of a run, kept outside Hydra, which would print it in its own way."""

    error: BaseException | None = None


def run_hydra(arguments: Sequence[str]) -> int:
    """Train once, or with `-m` once per combination; return the exit code.

    Raises:
        MlrunError: the arguments are not a valid configuration, or a run had a user error.
    """
    prepare_hydra()
    register_new_folder()
    wanted = _as_hydra_wants(_without_dry_run(arguments))
    words = with_quoted_names(wanted, sweep=not {*MULTIRUN}.isdisjoint(wanted))
    allow, outcome = allowed_now(), JobOutcome()
    recorded = hide_in_words([*words, *allow_words(allow)])  # a launcher may store the function

    def job(config: DictConfig) -> float:
        # Again, because a launcher may run the job in another process.
        with safe_streams(), _no_empty_folder(), allowing(allow):
            return _job(config, recorded, outcome)

    command = hydra.main(version_base="1.3", config_path=str(CONF), config_name=NAME)(job)
    try:
        code = _run(command, words)
    finally:
        dry_run_requested.set(False)
    if outcome.error is not None:
        raise outcome.error
    return code


def _run(command: Callable[[], Any], words: Sequence[str]) -> int:
    """Let Hydra compose and call the job; explain its errors."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing and exiting
    may_set_mode = own_conf() is not None or any(SETS_MODE.match(word) for word in words)
    try:
        with explained(), typed(words), patched(check_composed, may_set_mode=may_set_mode):
            if {*COMPLETING} & {*words} and any(word.startswith("query=") for word in words):
                _harmless_choices(command)
            elif any(word.partition("=")[0] in PRINTING for word in words):
                say(_printed_by(command), end="")
            else:
                command()
    except SystemExit as error:  # errors of argparse, and --help
        return 2 if error.code else 0
    return 0


def _harmless_choices(command: Callable[[], Any]) -> None:
    """Print what can be completed, without names and values that a shell would run."""
    lines = [line.split(" ") for line in _printed_by(command).splitlines()]
    for choices in lines:
        if left := [choice for choice in choices if COMPLETED.fullmatch(choice)]:
            say(" ".join(left))


def _printed_by(command: Callable[[], Any]) -> str:
    with redirect_stdout(io.StringIO()) as text:
        command()
    return text.getvalue()


def _without_dry_run(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without `--dry-run`, and remember whether it was there."""
    left = [word for word in arguments if word != "--dry-run"]
    if len(left) < len(arguments) and not {*MULTIRUN} & {*left}:
        raise MlrunError("--dry-run needs -m; for a single run, use --cfg job")
    dry_run_requested.set(len(left) < len(arguments))
    return left


def _as_hydra_wants(arguments: Sequence[str]) -> list[str]:
    """Check the flags and put them first.

    Raises:
        MlrunError: a flag is unknown, or a sweep was started in several processes.
    """
    _check_flags(arguments)
    flags = [word for word in arguments if word in MULTIRUN]
    if flags:
        processes.refuse("-m")
    words = [word for word in arguments if word not in flags]
    if "--hydra-help" in words:  # composes Hydra's own defaults, which write files
        words += ["hydra/job_logging=none", "hydra.output_subdir=null"]
    if processes.rank():  # rank 0 creates the folder
        words = [word for word in words if not word.startswith("hydra.run.dir=")]
    return [*flags, *words]


def _check_flags(arguments: Sequence[str]) -> None:
    if any(word.startswith("--experimental-rerun") for word in arguments):
        raise MlrunError("--experimental-rerun would unpickle a file; use mlrun rerun RUN")
    known = known_flags()
    for position, word in enumerate(arguments):
        flag, value = word.partition("=")[0], value_after(arguments, position)
        if flag in CONFIG_FLAGS:
            raise MlrunError(
                f"{flag}: mlrun has one configuration; select a part of it with "
                f"experiment={value or 'NAME'} (conf/experiment/{value or 'NAME'}.yaml)"
            )
        if flag.startswith("-") and flag not in known:
            known_here = instead_of(flag, value)
            example = known_here or "KEY=VALUE, e.g. trainer.epochs=20; see mlrun --help"
            raise MlrunError(f"unknown option {flag}; write {example}")


def _job(config: DictConfig, arguments: Sequence[str], outcome: JobOutcome) -> float:
    """Run one run, or one job of a sweep with another launcher than mlrun's."""
    from mlrun.api import train_composed

    state: Any = HydraConfig.get()
    if state.mode == RunMode.MULTIRUN:
        from mlrun.sweeps.joined_job import run_job

        return run_job(config, state, ["mlrun", *arguments])
    if state.runtime.choices["hydra/sweeper"] == "optuna":
        outcome.error = MlrunError("hydra/sweeper=optuna needs -m (also with hparams=…)")
        return math.nan
    # Evaluated here, where errors about missing values are explained.
    name, run_dir = f"{config.task}_{state.runtime.choices['model']}", state.run.dir

    def make_folder() -> Path:
        if run_dir != ".":
            return _claim_named(Path(run_dir))
        return claim(config.paths.outputs, name)

    overrides: Any = OmegaConf.to_container(state.overrides.task, resolve=False)  # as typed
    try:
        return train_composed(
            composed(config), make_folder, command=["mlrun", *arguments], overrides=overrides
        )
    except Exception as error:
        outcome.error = error
        return math.nan


def _claim_named(path: Path) -> Path:
    """Create the folder from hydra.run.dir, which Hydra has already created empty."""
    _remove_if_empty(path)
    return claim_exactly(path.parent, path.name)


@contextmanager
def _no_empty_folder() -> Iterator[None]:
    """Delete the folder that Hydra created, if it is still empty at the end."""
    state: Any = OmegaConf.to_container(HydraConfig.get().runtime, resolve=False)
    folder = Path(state["output_dir"])  # not resolved: ${x} may be a part of its name
    try:
        yield
    finally:
        if folder != Path.cwd():
            _remove_if_empty(folder)


def _remove_if_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()  # fails for a folder that is not empty
