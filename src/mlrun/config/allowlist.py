"""The allow-list of classes that a configuration may build, by group.

A configuration may come from a stranger, and `_target_` is code execution by design. A name is
allowed only if it has the form `module.Class` with one of the modules below, and if it resolves to
a subclass of the group's base class. Nothing else is imported, so looking up a name runs no code.
A metric may also be a function.

Only the command line can allow the user's own classes: `allow=[nets.*]`.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from mlrun.errors import MlrunError, did_you_mean

_NAME = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)\.(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class Allowed:
    """The modules of a group's classes, and their required base class."""

    modules: tuple[str, ...]
    base: str
    own_base: str = ""  # of the user's own classes, if it is another one
    functions: bool = False  # whether a function will do


ALLOWED = {
    "data": Allowed(("mlrun.data.tabular", "mlrun.data.images"), "builtins.object"),
    "model": Allowed(
        ("mlrun.models.linear", "mlrun.models.mlp", "mlrun.models.cnn"), "torch.nn.Module"
    ),
    "loss": Allowed(("torch.nn",), "torch.nn.modules.loss._Loss", own_base="torch.nn.Module"),
    "optimizer": Allowed(("torch.optim",), "torch.optim.Optimizer"),
    "scheduler": Allowed(("torch.optim.lr_scheduler",), "torch.optim.lr_scheduler.LRScheduler"),
    "metric": Allowed((), "builtins.object", functions=True),
}


def check_targets(config: Mapping[str, Any]) -> None:
    """Check all classes in the configuration before anything is built.

    Raises:
        MlrunError: a class is not allowed.
    """
    for group in [name for name in ALLOWED if name in config]:
        node = config[group]
        choices = [node]
        if group == "loss" and isinstance(node, Mapping) and "_target_" not in node:
            # loss=auto has one per kind of task, and class weights, which are not built
            choices = [value for key, value in node.items() if key != "weight"]
        if group == "metric":  # a mapping of names
            choices = [*node.values()] if isinstance(node, Mapping) else []
        for choice in choices:
            resolve(group, choice)


def resolve(group: str, node: Any) -> Any:
    """Return the class that `node` builds, if it is allowed and the only one in the node.

    For a metric it may be a function.

    Raises:
        MlrunError: naming the refused class and the allowed modules.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise MlrunError(f"{group}: nothing to build; choose one with {group}=… (mlrun ls {group})")
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    for key in _special_keys(arguments):
        raise MlrunError(f"{group}: '{key}' is not allowed inside a group's settings")
    return _class(group, node["_target_"])


def _special_keys(value: Any) -> Sequence[str]:
    """Return Hydra's special keys (`_target_`, `_args_` …) at any depth."""
    if isinstance(value, Mapping):
        own = [str(key) for key in value if re.fullmatch(r"_\w+_", str(key))]
        return [*own, *(key for entry in value.values() for key in _special_keys(entry))]
    if isinstance(value, list | tuple):
        return [key for entry in value for key in _special_keys(entry)]
    return []


def _class(group: str, target: str) -> Any:
    allowed = ALLOWED[group]
    match = _NAME.fullmatch(target)
    own = match is not None and _is_own(target)
    if match is None or not (own or match["module"] in allowed.modules):
        only = f"; only classes in {' or '.join(allowed.modules)} are allowed"
        raise MlrunError(
            f"{group}._target_={target}: refused{only if allowed.modules else ''}{_advice(target)}"
        )
    module = _imported(match["module"], own=own)
    found = getattr(module, match["name"], None)
    base = _named((own and allowed.own_base) or allowed.base)
    fits = isinstance(found, type) and issubclass(found, base)
    if not (fits or (allowed.functions and isinstance(found, FunctionType))):
        raise MlrunError(_no_such(group, target, module, base))
    _check_home(group, target, found, anything=base is object or not own)
    return found


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _no_such(group: str, target: str, module: ModuleType, base: type) -> str:
    """Return the message for a name that is missing, or is not what the group needs."""
    name = target.rpartition(".")[2]
    problem = f"{group}._target_={target}: there is no such class for this group"
    if ALLOWED[group].functions:
        problem = f"{group}._target_={target}: there is no such function or class"
    elif hasattr(module, name) and not isinstance(getattr(module, name), type):
        return f"{group}._target_={target}: refused; it is not a class"
    elif hasattr(module, name):
        problem += f"; it must be a subclass of {base.__module__}.{base.__name__}"
    hint = did_you_mean(name, {*dir(module)} - {name})
    return f"{problem}.{hint}"


def _check_home(group: str, target: str, found: Any, *, anything: bool) -> None:
    """Check that a class of any kind is not one that its module only imports, like Popen.

    Raises:
        MlrunError: it belongs to another package.
    """
    package, home = target.partition(".")[0], str(found.__module__)
    if anything and home.partition(".")[0] != package:
        raise MlrunError(f"{group}._target_={target}: refused; it belongs to {home}")


# --- the user's own classes ---

_own: ContextVar[tuple[str, ...]] = ContextVar("patterns of allow=[…]", default=())


@contextmanager
def allowing(patterns: Sequence[str]) -> Iterator[None]:
    """Allow classes that match the patterns, for configurations in this block.

    Args:
        patterns: `my_package.nets.Wide` or `my_package.*`.

    Raises:
        MlrunError: a pattern does not start with a module.
    """
    for pattern in patterns:
        if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.([A-Za-z_]\w*|\*)", pattern):
            raise MlrunError(f"allow=[{pattern}]: must be my_module.MyClass or my_module.*")
    token = _own.set((*dict.fromkeys((*_own.get(), *patterns)),))
    try:
        yield
    finally:
        _own.reset(token)


def allowed_now() -> tuple[str, ...]:
    """Return the current patterns."""
    return _own.get()


def allow_words(patterns: Sequence[str]) -> list[str]:
    """Return the command-line words that set these patterns."""
    return [f"allow=[{','.join(patterns)}]"] if patterns else []


def _advice(target: Any) -> str:
    """Return a hint for allowing `target`, if it could be a user's class or function."""
    match = _NAME.fullmatch(str(target))
    if match is None:
        return ""
    if match["name"][0].isupper():
        return f"; for your own class: allow=[{target}]"
    top = Path(match["module"].partition(".")[0])
    here = top.is_dir() or top.with_suffix(".py").is_file()
    return f"; for your own function: allow=[{target}]" if here else ""


def _is_own(target: str) -> bool:
    return _NAME.fullmatch(target) is not None and any(
        fnmatchcase(target, pattern) for pattern in _own.get()
    )


def _imported(module: str, *, own: bool) -> ModuleType:
    if own and os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.append(os.getcwd())  # noqa: PTH109
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MlrunError(f"allow: cannot import {module}: {error}") from error


# --- Hydra's own configuration ---

# Keys that make Hydra, or Python's logging, import and call something from a configuration.
_CALLS = ("_target_", "()", "class", "factory", "custom_search_space")
_HYDRAS_OWN = re.compile(
    r"hydra\._internal\.core_plugins\.\w+\.Basic(Launcher|Sweeper)"
    r"|hydra_plugins\.mlrun_sweep\.\w+"
    r"|hydra_plugins\.hydra_(joblib|submitit|ray|rq)_launcher\.\w+\.\w+"
    r"|hydra_plugins\.hydra_(optuna|ax|nevergrad)_sweeper\.\w+\.\w+"
    r"|optuna\.samplers\.[A-Z]\w+"
    r"|logging\.(Stream|Null)Handler|colorlog\.ColoredFormatter"  # no file handlers
)
_STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# Hydra builds these. A reference could insert unchecked values, except one within `hydra`.
_BUILT = ("callbacks", "launcher", "sweeper", "job_logging", "hydra_logging")
_REFERENCES_WITHIN = re.compile(r"([^$]|\$\{hydra\.[\w.]+\})*")


def check_hydra(node: Any) -> None:
    """Check that Hydra's configuration has only known callbacks, loggers and plugins.

    Args:
        node: the `hydra` node as plain values, unresolved.

    Raises:
        MlrunError: naming the refused setting.
    """
    _refuse_calls(node, "hydra")
    for name in _BUILT:
        _refuse_references(node.get(name), f"hydra.{name}")
    if node.get("job", {}).get("env_set"):  # PATH, LD_PRELOAD, GIT_CONFIG_… run other programs
        raise MlrunError(
            "hydra.job.env_set: refused; set variables in the shell: NAME=VALUE mlrun …"
        )


def _refuse_references(value: Any, name: str) -> None:
    if isinstance(value, Mapping | list):
        for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            _refuse_references(entry, f"{name}.{key}")
    elif isinstance(value, str) and not _REFERENCES_WITHIN.fullmatch(value):
        raise MlrunError(f"{name}={value}: refused; only references to hydra.… are allowed")


def _refuse_calls(value: Any, name: str) -> None:
    if isinstance(value, Mapping | list):
        for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
            if key in _CALLS and not _known(entry):
                raise MlrunError(f"{name}.{key}={entry}: refused{_advice(entry)}")
            _refuse_calls(entry, f"{name}.{key}")
    elif str(value).startswith(("ext://", "cfg://")) and value not in _STREAMS:
        raise MlrunError(f"{name}={value}: refused; must be {' or '.join(_STREAMS)}")


def _known(target: Any) -> bool:
    if target is None:
        return True
    return isinstance(target, str) and bool(_HYDRAS_OWN.fullmatch(target) or _is_own(target))
