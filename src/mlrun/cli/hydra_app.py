"""Hydra's only door: compose the configuration, hand it to `train`, tell its errors plainly."""

import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import hydra
import hydra._internal.hydra
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from mlrun.config.allowlist import allow_words, allowed_now, allowing, check_hydra
from mlrun.config.options import CONF, GROUPS, options, own_conf
from mlrun.config.schema import Schema, register
from mlrun.config.values import composed
from mlrun.errors import JobsFailed, MlrunError, did_you_mean
from mlrun.runs.folder import claim, claim_exactly
from mlrun.sweep import only_told
from mlrun.system import processes
from mlrun.system.secrets import hide_in_text
from mlrun.system.signals import Interrupted

# OmegaConf reads YAML with yaml.SafeLoader; this one is the same, in C.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class OwnConf(SearchPathPlugin):
    """The user's ./conf comes after ours: it adds options and shadows none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Hydra's hook."""
        folder = own_conf()
        if folder is not None:
            search_path.append("mlrun-own-conf", f"file://{folder}")


class CheckedLoader(ConfigLoaderImpl):
    """Hydra builds loggers, callbacks and plugins as soon as it has composed: look before."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """Compose, and refuse what must not be built."""
        config = super().load_configuration(*args, **kwargs)
        check_hydra(OmegaConf.to_container(config.hydra))
        return config


_composed_mode = hydra._internal.hydra.Hydra.get_mode


def _mode(opened: Any, config_name: str | None, overrides: list[str]) -> Any:
    """Hydra composes everything once more to read hydra.mode, which only users set."""
    may_be_set = own_conf() is not None or any("hydra" in word for word in sys.argv)
    return _composed_mode(opened, config_name, overrides) if may_be_set else None


def run_hydra(arguments: Sequence[str]) -> int:
    """Train as the arguments say, once or (`-m`) once per combination; return the exit code.

    Raises:
        MlrunError: the arguments do not make a configuration, or one run's own mistake.
    """
    register()
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # type: ignore[attr-defined]
    hydra._internal.hydra.Hydra.get_mode = _mode  # type: ignore[method-assign, assignment]
    Plugins.instance().register(OwnConf)
    outcome = Outcome()
    allow = allowed_now()

    def job(config: DictConfig) -> float:
        # Allowing again, because a launcher may run the job in another process.
        with _no_empty_folder(), allowing(allow):
            return _job(config, [*arguments, *allow_words(allow)], outcome)

    arguments = _without_dry_run(arguments)
    _check_flags(arguments)
    flags = [word for word in arguments if word in ("-m", "--multirun")]
    if flags:
        processes.refuse("-m")
    if processes.rank():  # the folder is for the first process to make
        arguments = [word for word in arguments if not word.startswith("hydra.run.dir=")]
    arguments = [*flags, *(word for word in arguments if word not in flags)]  # as argparse wants
    command = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)
    before, sys.argv = sys.argv, ["mlrun", *arguments]
    if os.environ.get("MLRUN_DATA") == "":
        del os.environ["MLRUN_DATA"]  # set but empty is not set
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of printing and exiting
    printing = any(word.partition("=")[0] in ("--cfg", "-c", "--info", "-i") for word in arguments)
    try:
        _without_secrets(command) if printing else command()
    except SystemExit as error:  # argparse and --help leave this way
        return 2 if error.code else 0
    except (BrokenPipeError, Interrupted, JobsFailed, MlrunError):
        raise
    except Exception as error:
        raise MlrunError(explain(error)) from error
    finally:
        sys.argv = before
    if outcome.error is not None:
        raise outcome.error
    return 0


def _without_secrets(command: Callable[[], Any]) -> None:
    """What Hydra prints of the configuration may end in a file or an issue."""
    with redirect_stdout(io.StringIO()) as text:
        command()
    print(hide_in_text(text.getvalue()), end="")  # noqa: T201


def _without_dry_run(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--dry-run`; whether it was there is noted."""
    left = [word for word in arguments if word != "--dry-run"]
    if len(left) < len(arguments) and not {"-m", "--multirun"} & {*left}:
        raise MlrunError("--dry-run goes with -m; --cfg job shows what one run would be")
    only_told.set(len(left) < len(arguments))
    return left


def _check_flags(arguments: Sequence[str]) -> None:
    if any(word.startswith("--experimental-rerun") for word in arguments):
        raise MlrunError("--experimental-rerun would unpickle a file: mlrun rerun RUN trains again")
    known = [flag for action in get_args_parser()._actions for flag in action.option_strings]
    for word in arguments:
        flag = word.partition("=")[0]
        if flag.startswith("-") and flag not in known:
            written = flag.lstrip("-")
            raise MlrunError(f"no option {flag}; settings are written KEY=VALUE, e.g. {written}=…")


@dataclass
class Outcome:
    """What became of a run, kept past Hydra, which would print its own account of it."""

    error: BaseException | None = None


def _job(config: DictConfig, arguments: Sequence[str], outcome: Outcome) -> float:
    """One run, or one job of a sweep that is not carried out by our own launcher."""
    from mlrun.api import train_composed

    state: Any = HydraConfig.get()
    if state.mode == RunMode.MULTIRUN:
        from mlrun.sweep.joined_job import work

        return work(config, state, ["mlrun", *arguments])
    if state.runtime.choices["hydra/sweeper"] == "optuna":
        outcome.error = MlrunError("hydra/sweeper=optuna searches: add -m (as hparams=… does)")
        return math.nan
    # Here, where it is still explained if one of them is not set.
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
    """The folder the user named in Hydra's way, which Hydra has just created; never a used one."""
    _remove_if_empty(path)
    return claim_exactly(path.parent, path.name)


@contextmanager
def _no_empty_folder() -> Iterator[None]:
    """Hydra has just created the folder that it was told; away with it if nothing came of it."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        yield
    finally:
        if folder != Path.cwd():
            _remove_if_empty(folder)


def _remove_if_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()  # does nothing to a folder that holds anything


# --- errors in the user's words ---


def explain(error: BaseException) -> str:
    """What Hydra or OmegaConf refused, in one line, without Hydra's advice to add a `+`."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, MlrunError):
            return str(cause)
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            return _no_option(cause)
        if "group override must be a string or a list" in str(cause):
            return "GROUP=OPTION needs the name of an option, e.g. model=mlp; mlrun ls lists them"
        if isinstance(cause, OverrideParseException):
            wanted = "KEY=VALUE or GROUP=OPTION is wanted (odd characters: KEY=\\'VALUE\\')"
            return f"cannot read '{cause.override}': {wanted}"
        if isinstance(cause, yaml.YAMLError):
            return _malformed(cause)
        if isinstance(cause, UnicodeDecodeError):
            return f"a file in {own_conf()} is not UTF-8 text: {cause.reason}"
    text = str(error)
    unpackaged = "a file in conf/task/ must start with the line: # @package _global_"
    if any("Cannot convert 'DictConfig' to string" in str(cause) for cause in chain):
        return unpackaged
    if several := re.match(r"Ambiguous value for argument '(.+)'", text):
        return f"{several[1]}: several values; add -m to run each, or [a,b] for a list"
    for cause in chain:
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key:
            return _no_key(cause)
        if "is not a subclass of" in str(cause) and isinstance(cause, OmegaConfBaseException):
            return f"{cause.full_key}: set a key of it, {cause.full_key}.KEY=VALUE"
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return f"{cause.full_key}: {str(cause.msg or cause).splitlines()[0]}"
    if group := re.match(r"You must specify '(\w+)'", text):
        if any("@package" not in _text(file) for file in _own_tasks()):
            return unpackaged
        listed = ", ".join(options(group[1]))
        return f"nothing chosen for {group[1]}: say {group[1]}=OPTION, one of {listed}"
    if isinstance(error, OSError) and error.filename:
        return f"cannot create {error.filename}: {error.strerror}"
    if isinstance(error, TypeError | AttributeError | AssertionError):  # Hydra did not expect it
        return "no configuration comes of these words: GROUP=OPTION and KEY=VALUE are wanted"
    return _without_advice(text)


def _own_tasks() -> list[Path]:
    folder = own_conf()
    return sorted((folder / "task").glob("*.yaml")) if folder else []


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _malformed(error: yaml.YAMLError) -> str:
    """Name the user's file, which Hydra does not tell."""
    folder = own_conf()
    for file in sorted(folder.rglob("*.yaml")) if folder else []:
        try:
            yaml.safe_load(_text(file))
        except yaml.YAMLError as found:
            return f"{file} is not well-formed YAML: {' '.join(str(found).split())}"
    return f"malformed YAML: {' '.join(str(error).split())}"


def _no_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    known = list(error.options or options(group))
    hint = did_you_mean(option, known)
    return f"no option '{option}' in group '{group}'.{hint} Options: {', '.join(known)}"


def _no_key(error: OmegaConfBaseException) -> str:
    parent = error.parent_node
    siblings = [str(key) for key in parent] if isinstance(parent, DictConfig) else []
    if "." not in str(error.full_key):
        siblings = [*GROUPS, *(field.name for field in fields(Schema))]
    known = [key for key in siblings if not key.startswith("_")]
    hint = did_you_mean(str(error.key), known)
    inside = [
        f"{group}.{error.key}"
        for group in ("trainer", "optimizer", "model", "data")
        if isinstance(parent, DictConfig) and error.key in (parent.get(group) or {})
    ]
    if inside and "." not in str(error.full_key):
        return f"unknown key '{error.full_key}'. Did you mean '{inside[0]}'?"
    return f"unknown key '{error.full_key}'.{hint} Keys there: {', '.join(dict.fromkeys(known))}"


def _without_advice(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and "use +" not in line]
    return lines[0] if lines else text
