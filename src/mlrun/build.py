"""From a node of the configuration to an object: the one call of Hydra's instantiate."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mlrun.allowlist import resolve
from mlrun.errors import MlrunError, did_you_mean


def build(group: str, config: DictConfig, **runtime: Any) -> Any:
    """Build `config[group]`; with `_partial_` a callable that waits for its first argument.

    Args:
        group: data | model | loss | optimizer | scheduler.
        config: the whole configuration, so that interpolations resolve.
        runtime: arguments known only now (shapes, steps per epoch); YAML leaves them out or `???`.

    Raises:
        MlrunError: a class that is not allowed, a key its constructor does not take, a value it
            refuses.
    """
    return build_node(group, plain(config[group]), **runtime)


def build_node(group: str, node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build a node that is already plain; see `build`."""
    kind = resolve(group, node)
    _check_arguments(group, kind, node, runtime)
    try:
        built = instantiate(dict(node), _convert_="all", **runtime)
    except InstantiationException as error:
        raise _readable(group, error) from error
    return _translated(group, built) if node.get("_partial_") else built


def plain(node: DictConfig) -> dict[str, Any]:
    """A node's values with interpolations resolved; keys that are still ??? are left out."""
    values = {key: node[key] for key in node if not OmegaConf.is_missing(node, key)}
    return {
        str(key): OmegaConf.to_container(value, resolve=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in values.items()
    }


def _check_arguments(
    group: str, kind: type, node: Mapping[str, Any], runtime: Mapping[str, Any]
) -> None:
    parameters = inspect.signature(kind).parameters
    settings = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    for key, value in settings.items():
        if key not in parameters:
            hint = did_you_mean(key, parameters)
            raise MlrunError(f"unknown key '{group}.{key}' ({kind.__name__} has none).{hint}")
        _check_type(f"{group}.{key}", value, parameters[key])
    if not node.get("_partial_"):
        for key, parameter in parameters.items():
            if key not in {*settings, *runtime} and parameter.default is parameter.empty:
                raise MlrunError(f"{group}.{key} is not set: say {group}.{key}=…")


def _check_type(key: str, value: Any, parameter: inspect.Parameter) -> None:
    """Numbers where numbers are due; the constructors check the rest themselves."""
    whole = parameter.annotation is int
    default = parameter.default
    number = isinstance(default, int | float) and not isinstance(default, bool)
    if value is None or not (whole or number or parameter.annotation is float):
        return
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        words = "a whole number" if whole else "a number"
        raise MlrunError(f"{key}={value}: {words} is wanted")


def _translated(group: str, partial: Any) -> Any:
    """The callable, with its constructor's refusals told as the user's mistake they are."""

    def call(*arguments: Any) -> Any:
        try:
            return partial(*arguments)
        except (TypeError, ValueError, InstantiationException) as error:
            raise _readable(group, error) from error

    return call


def _readable(group: str, error: Exception) -> Exception:
    cause = error.__cause__ or error
    if isinstance(cause, MlrunError):
        return cause
    if isinstance(cause, TypeError | ValueError):
        return MlrunError(f"{group}: {cause}")
    return error
