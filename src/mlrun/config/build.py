"""Build objects from nodes of the configuration; no other code calls the classes named there.

Hydra's instantiate would do the same more slowly; its extra keys are not allowed anyway.
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
PARTIAL = ("optimizer", "scheduler")  # built later, when their first argument, the weights, exists


def build(group: str, values: Mapping[str, Any], **runtime: Any) -> Any:
    """Build `values[group]`; with `_partial_`, return a callable that takes the first argument.

    Args:
        group: data | model | loss | optimizer | scheduler.
        values: the values of the whole configuration.
        runtime: arguments known only now (shapes, steps per epoch); absent, `???` or
            `auto` in YAML.

    Raises:
        MlrunError: the class is not allowed, a key is unknown to its constructor, or the
            constructor rejects a value.
    """
    return build_node(group, plain(values.get(group)), **runtime)


def build_node(group: str, node: Mapping[str, Any], **runtime: Any) -> Any:
    """Build a node of plain values; see `build`."""
    kind = resolve(group, node)
    if node.get("_partial_", False) is not (group in PARTIAL):
        wanted = "true" if group in PARTIAL else "absent"
        raise MlrunError(f"{group}._partial_={node.get('_partial_')}: must be {wanted}")
    settings = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    # A partial object gets its first argument later: the optimizer's parameters.
    awaited = list(inspect.signature(kind).parameters)[:1] if node.get("_partial_") else []
    check_arguments(group, kind, settings, given=[*runtime, *awaited])
    make = _translated(group, partial(kind, **settings | runtime))
    return make if node.get("_partial_") else make()


def plain(node: Any) -> dict[str, Any]:
    """Return the values of a node without keys that are still ???."""
    if not isinstance(node, Mapping):
        return {}
    return {str(key): value for key, value in node.items() if value != NOT_SET}


def _translated(group: str, make: Callable[..., T]) -> Callable[..., T]:
    """Wrap a constructor so that its errors become user errors."""

    def call(*arguments: Any) -> T:
        try:
            return make(*arguments)
        except (TypeError, ValueError) as error:
            raise MlrunError(f"{group}: {str(error).partition(chr(10))[0]}") from error

    return call
