"""Which classes a configuration may build: default-deny, by group, on the resolved class.

A configuration may come from a stranger, and `_target_` is code execution by design. A name
passes only if it spells `module.Class` with one of the modules below, and what it resolves to is a
class of the group's kind. Nothing else is imported, so a name cannot run code by being looked up.
"""

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlrun.errors import MlrunError, did_you_mean

_NAME = re.compile(r"(?P<module>[a-z_.]+)\.(?P<name>[A-Z]\w*)")


@dataclass(frozen=True)
class Allowed:
    """Where a group's classes may come from, and what they must descend from."""

    modules: tuple[str, ...]
    base: str


ALLOWED = {
    "data": Allowed(("mlrun.data.tabular", "mlrun.data.images"), "builtins.object"),
    "model": Allowed(
        ("mlrun.models.linear", "mlrun.models.mlp", "mlrun.models.cnn"), "torch.nn.Module"
    ),
    "loss": Allowed(("torch.nn",), "torch.nn.modules.loss._Loss"),
    "optimizer": Allowed(("torch.optim",), "torch.optim.Optimizer"),
    "scheduler": Allowed(("torch.optim.lr_scheduler",), "torch.optim.lr_scheduler.LRScheduler"),
}


def resolve(group: str, node: Any) -> type:
    """The class `node` builds, once it is known to be allowed and the only one in the node.

    Raises:
        MlrunError: what was refused and what is accepted there.
    """
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise MlrunError(f"{group}: nothing to build; choose one with {group}=… (mlrun ls {group})")
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    for key in _special_keys(arguments):
        raise MlrunError(f"{group}: '{key}' is not allowed inside a group's settings")
    return _class(group, node["_target_"])


def _special_keys(value: Any) -> Sequence[str]:
    """Hydra's own keys (`_target_`, `_args_` …) at any depth."""
    if isinstance(value, Mapping):
        own = [str(key) for key in value if re.fullmatch(r"_\w+_", str(key))]
        return [*own, *(key for entry in value.values() for key in _special_keys(entry))]
    if isinstance(value, list | tuple):
        return [key for entry in value for key in _special_keys(entry)]
    return []


def _class(group: str, target: str) -> type:
    allowed = ALLOWED[group]
    match = _NAME.fullmatch(target)
    if match is None or match["module"] not in allowed.modules:
        raise MlrunError(
            f"{group}._target_={target}: refused; only classes of "
            f"{' or '.join(allowed.modules)} may stand there"
        )
    module = importlib.import_module(match["module"])
    found = getattr(module, match["name"], None)
    base_module, _, base_name = allowed.base.rpartition(".")
    base = getattr(importlib.import_module(base_module), base_name)
    if not (isinstance(found, type) and issubclass(found, base)):
        hint = did_you_mean(match["name"], dir(module))
        raise MlrunError(f"{group}._target_={target}: no such class to build there.{hint}")
    if not found.__module__.startswith(match["module"].split(".")[0] + "."):
        raise MlrunError(f"{group}._target_={target}: refused; it is {found.__module__}'s")
    return found
