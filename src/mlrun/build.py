"""From a node of the configuration to an object: the one call of Hydra's instantiate."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mlrun.allowlist import resolve
from mlrun.arguments import check_arguments
from mlrun.errors import MlrunError

PARTIAL = ("optimizer", "scheduler")  # built once their first argument, the weights, is there


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
    return build_node(group, plain(config.get(group)), **runtime)


def build_node(group: str, node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build a node that is already plain; see `build`."""
    kind = resolve(group, node)
    if node.get("_partial_", False) is not (group in PARTIAL):
        wanted = "true" if group in PARTIAL else "left out"
        raise MlrunError(f"{group}._partial_={node.get('_partial_')}: must be {wanted}")
    settings = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    # What a partial object waits for comes later, by position: the optimizer's parameters.
    awaited = list(inspect.signature(kind).parameters)[:1] if node.get("_partial_") else []
    check_arguments(group, kind, settings, given=[*runtime, *awaited])
    try:
        built = instantiate(dict(node), _convert_="all", **runtime)
    except InstantiationException as error:
        raise _readable(group, error) from error
    return _translated(group, built) if node.get("_partial_") else built


def plain(node: Any) -> dict[str, Any]:
    """A node's values with interpolations resolved; keys that are still ??? are left out."""
    if not isinstance(node, DictConfig):
        return {}
    values = {key: node[key] for key in node if not OmegaConf.is_missing(node, key)}
    return {
        str(key): OmegaConf.to_container(value, resolve=True)
        if OmegaConf.is_config(value)
        else value
        for key, value in values.items()
    }


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
        return MlrunError(f"{group}: {str(cause).partition(chr(10))[0]}")
    return error
