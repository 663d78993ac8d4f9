"""The allow-list of classes that a configuration may build, by group.

A configuration may come from a stranger, and `_target_` is code execution by design. A name is
allowed only if it is one of the classes below, or if it has the form `module.Class` with one of the
modules below and resolves to a subclass of the group's base class. Nothing else is imported, so
looking up a name runs no code. A metric may also be a function.

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
    """The classes of a group: one by one, or those of some modules with a base class."""

    classes: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    base: str = ""  # empty: any class
    own_base: str = ""  # of the user's own classes, if it is another one
    functions: bool = False  # whether a function will do
    methods: tuple[str, ...] = ()  # of the user's own classes


ALLOWED = {
    "data": Allowed(
        classes=("mlrun.data.tabular.Tabular", "mlrun.data.images.Images"),
        methods=("load", "read_file"),
    ),
    "model": Allowed(
        modules=("mlrun.models.linear", "mlrun.models.mlp", "mlrun.models.cnn"),
        base="torch.nn.Module",
    ),
    "loss": Allowed(
        modules=("torch.nn",), base="torch.nn.modules.loss._Loss", own_base="torch.nn.Module"
    ),
    "optimizer": Allowed(modules=("torch.optim",), base="torch.optim.Optimizer"),
    "scheduler": Allowed(
        modules=("torch.optim.lr_scheduler",), base="torch.optim.lr_scheduler.LRScheduler"
    ),
    "metric": Allowed(functions=True),
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
    for key in special_keys(arguments):
        raise MlrunError(f"{group}: '{key}' is not allowed inside a group's settings")
    return _class(group, node["_target_"])


def special_keys(value: Any) -> Sequence[str]:
    """Return Hydra's special keys (`_target_`, `_args_` …) at any depth."""
    if isinstance(value, Mapping):
        own = [str(key) for key in value if re.fullmatch(r"_\w+_", str(key))]
        return [*own, *(key for entry in value.values() for key in special_keys(entry))]
    if isinstance(value, list | tuple):
        return [key for entry in value for key in special_keys(entry)]
    return []


def _class(group: str, target: str) -> Any:
    allowed = ALLOWED[group]
    match = _NAME.fullmatch(target)
    own = match is not None and is_own(target)
    listed = match is not None and (match["module"] in allowed.modules or target in allowed.classes)
    if match is None or not (own or listed):
        raise MlrunError(f"{group}._target_={target}: refused{_only(allowed)}{advice(target)}")
    module = _imported(match["module"], own=own)
    found = getattr(module, match["name"], None)
    base = _named((own and allowed.own_base) or allowed.base)
    fits = isinstance(found, type) and issubclass(found, base)
    if not (fits or (allowed.functions and isinstance(found, FunctionType))):
        raise MlrunError(_no_such(group, target, module, base))
    _check_home(group, target, found, anything=base is object or not own)
    if missing := [method for method in allowed.methods if not hasattr(found, method)]:
        raise MlrunError(f"{group}._target_={target}: refused; it has no method {missing[0]}")
    return found


def _only(allowed: Allowed) -> str:
    if allowed.modules:
        return f"; only classes in {' or '.join(allowed.modules)} are allowed"
    return f"; only {' or '.join(allowed.classes)} is allowed" if allowed.classes else ""


def _named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name) if path else object


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


def advice(target: Any) -> str:
    """Return a hint for allowing `target`, if it could be a user's class or function."""
    match = _NAME.fullmatch(str(target))
    if match is None or match["module"].startswith("mlrun."):
        return ""
    if match["name"][0].isupper():
        return f"; for your own class: allow=[{target}]"
    top = Path(match["module"].partition(".")[0])
    here = top.is_dir() or top.with_suffix(".py").is_file()
    return f"; for your own function: allow=[{target}]" if here else ""


def is_own(target: str) -> bool:
    """Whether `allow=[…]` allows this class or function."""
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
