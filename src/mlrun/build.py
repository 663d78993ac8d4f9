"""From a node of the configuration to an object: the one call of what a configuration names.

Hydra's instantiate would do the same after milliseconds; the keys it adds are refused anyway.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from mlrun.allowlist import resolve
from mlrun.arguments import check_arguments
from mlrun.errors import MlrunError

T = TypeVar("T")
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
    make = _translated(group, partial(kind, **settings, **runtime))
    return make if node.get("_partial_") else make()


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


def _translated(group: str, make: Callable[..., T]) -> Callable[..., T]:
    """The callable, with its constructor's refusals told as the user's mistake they are."""

    def call(*arguments: Any) -> T:
        try:
            return make(*arguments)
        except (TypeError, ValueError) as error:
            raise MlrunError(f"{group}: {str(error).partition(chr(10))[0]}") from error

    return call
