"""From a node of the configuration to an object: the one call of what a configuration names.

Hydra's instantiate would do the same after milliseconds; the keys it adds are refused anyway.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from mlrun.config.allowlist import resolve
from mlrun.config.signature import check_arguments
from mlrun.config.values import NOT_SET
from mlrun.errors import MlrunError

T = TypeVar("T")
PARTIAL = ("optimizer", "scheduler")  # built once their first argument, the weights, is there


def build(group: str, values: Mapping[str, Any], **runtime: Any) -> Any:
    """Build `values[group]`; with `_partial_` a callable that waits for its first argument.

    Args:
        group: data | model | loss | optimizer | scheduler.
        values: the whole configuration's.
        runtime: arguments known only now (shapes, steps per epoch); YAML leaves them out or `???`.

    Raises:
        MlrunError: a class that is not allowed, a key its constructor does not take, a value it
            refuses.
    """
    return build_node(group, plain(values.get(group)), **runtime)


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
    """A node's values; keys that are still ??? are left out."""
    if not isinstance(node, Mapping):
        return {}
    return {str(key): value for key, value in node.items() if value != NOT_SET}


def _translated(group: str, make: Callable[..., T]) -> Callable[..., T]:
    """The callable, with its constructor's refusals told as the user's mistake they are."""

    def call(*arguments: Any) -> T:
        try:
            return make(*arguments)
        except (TypeError, ValueError) as error:
            raise MlrunError(f"{group}: {str(error).partition(chr(10))[0]}") from error

    return call
