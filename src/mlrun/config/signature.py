"""Check settings and recorded values against a signature: names, types, missing values."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from mlrun.errors import MlrunError, did_you_mean

T = TypeVar("T")
Parameter = inspect.Parameter
WORDS = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    Sequence: "a list [a,b]",
    tuple: "a list [a,b]",
    Mapping: "a mapping {key: value}",
}


def check_arguments(
    prefix: str, kind: type, settings: Mapping[str, Any], *, given: Sequence[str] = ()
) -> None:
    """Check that `kind(**settings)` is a valid call.

    Args:
        prefix: the key of the settings in the configuration, for messages.
        kind: the class; its annotations or defaults determine the types.
        settings: from the configuration.
        given: arguments that the program itself passes.

    Raises:
        MlrunError: a key is unknown or not set, or a value has the wrong type.
    """
    try:
        parameters = inspect.signature(kind).parameters
    except ValueError as error:  # a class written in C
        raise MlrunError(f"{prefix}: cannot be configured: {error}") from error
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in settings.items():
        if takes_any and key not in parameters:
            continue
        if key not in parameters:
            hint = did_you_mean(key, parameters)
            raise MlrunError(
                f"unknown key '{prefix}.{key}' ({kind.__name__} has no such setting).{hint}"
            )
        wanted = _wanted(parameters[key])
        if not _fits(value, wanted):
            raise MlrunError(f"{prefix}.{key}={value}: must be {_words(wanted)}")
    for key, parameter in parameters.items():
        variadic = parameter.kind in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
        needed = parameter.default is Parameter.empty and not variadic
        if needed and key not in settings and key not in given:
            raise MlrunError(f"{prefix}.{key} is not set: use {prefix}.{key}=…")


def from_plain(kind: type[T], values: Any, *, source: str) -> T:
    """Build the dataclass `kind` from recorded values, and check their names and types.

    Raises:
        MlrunError: naming the wrong field.
    """
    assert is_dataclass(kind)
    wanted = {field.name: field.type for field in fields(kind)}
    if not isinstance(values, Mapping) or {*values} != {*wanted}:
        raise MlrunError(f"{source} is damaged: it must have {', '.join(wanted)}")
    # JSON has no tuples.
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    for name, annotation in wanted.items():
        if not _fits(tuples[name], annotation):
            raise MlrunError(f"{source} is damaged: {name} has an invalid value")
    return kind(**tuples)


def _wanted(parameter: Parameter) -> Any:
    """Return the annotation; float if the default is a number (torch also accepts tensors)."""
    default = parameter.default
    if isinstance(default, int | float) and not isinstance(default, bool):
        return float
    spelled = {"int": int, "float": float, "bool": bool}  # annotations may be stored as text
    return spelled.get(str(parameter.annotation), parameter.annotation)


def _fits(value: Any, wanted: Any) -> bool:
    kind = get_origin(wanted) or wanted
    if kind is UnionType:
        return any(_fits(value, choice) for choice in get_args(wanted))
    if kind is tuple and isinstance(value, tuple | list):
        entries = get_args(wanted)
        each = entries[:1] * len(value) if entries[-1:] == (Ellipsis,) else entries
        return len(each) == len(value) and all(map(_fits, value, each))
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(
            value, bool
        )
    if kind is Sequence:
        entries = get_args(wanted)[0]
        return isinstance(value, list | tuple) and all(_fits(entry, entries) for entry in value)
    return not isinstance(kind, type) or kind not in WORDS or isinstance(value, kind)


def _words(wanted: Any) -> str:
    choices = get_args(wanted) if get_origin(wanted) is UnionType else (wanted,)
    return " or ".join(WORDS[get_origin(choice) or choice] for choice in choices)
