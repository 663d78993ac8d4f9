"""The fixed parts of the configuration: types and ranges.

The other groups (data, model, loss, optimizer, scheduler) are checked against the signature of
the class they name, in `build.py`. Nothing in here imports torch or pandas. The dataclasses are
not frozen because Hydra writes overrides into them while it composes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from mlrun.config.values import NOT_SET
from mlrun.errors import MlrunError, did_you_mean


@dataclass
class Trainer:
    """Settings of the training loop; conf/trainer/default.yaml explains them."""

    epochs: int = MISSING
    batch_size: int = MISSING
    patience: int | None = MISSING
    min_delta: float = MISSING
    monitor: str = MISSING
    mode: str = MISSING
    eval_every: int = MISSING
    clip_norm: float | None = MISSING
    clip_value: float | None = MISSING
    accumulate: int = MISSING
    l1: float = MISSING
    l2: float = MISSING
    engine: str = MISSING
    precision: str = MISSING
    compile: bool = MISSING
    limit_batches: int | None = MISSING
    max_minutes: float | None = MISSING
    shuffle: bool = MISSING
    deterministic: bool = MISSING
    member_memory: float = MISSING
    profile: bool = MISSING


@dataclass
class Paths:
    """Folders for data and runs."""

    data: str = MISSING
    outputs: str = MISSING


@dataclass
class Checkpoint:
    """Settings for checkpoints."""

    every_seconds: float = MISSING


@dataclass
class Sweep:
    """Settings for sweeps."""

    fail_fast: bool = MISSING
    halving: int | None = MISSING
    objectives: list[str] | None = MISSING


@dataclass
class Settings:
    """The fixed parts of a run's configuration."""

    seed: int = MISSING
    seeds: int | None = MISSING
    folds: int | None = MISSING
    device: str = MISSING
    task: str = MISSING
    quiet: bool = MISSING
    paths: Paths = field(default_factory=Paths)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    sweep: Sweep = field(default_factory=Sweep)
    trainer: Trainer = field(default_factory=Trainer)


@dataclass
class Schema(Settings):
    """The base of `conf/config.yaml`: the fixed parts and one untyped node per group."""

    data: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: Any = MISSING
    scheduler: Any = MISSING
    metric: Any = field(default_factory=dict)  # NAME → the user's own metric


BUILT_GROUPS = ("data", "model", "loss", "optimizer", "scheduler")
_AT_LEAST_ONE = ("epochs", "batch_size", "patience", "eval_every", "accumulate", "limit_batches")
_POSITIVE = ("clip_norm", "max_minutes", "member_memory")
_FLOAT32_MAX = (2 - 2**-23) * 2.0**127  # torch rejects larger clip values, but only during training
_NOT_NEGATIVE = ("min_delta", "l1", "l2")
_OWN_METRICS = "docs/extending.md"
_CHOICES = {
    "mode": ("auto", "min", "max"),
    "engine": ("auto", "autograd", "native"),
    "precision": ("32", "bf16"),
}


def register() -> None:
    """Register the schema in Hydra; repeated calls are allowed."""
    ConfigStore.instance().store(name="schema", node=Schema)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return the fixed parts as dataclasses, with checked keys, types and ranges.

    Args:
        values: the values of the whole configuration.

    Raises:
        MlrunError: a key is unknown (even if added with `+`), or a type or range is wrong.
    """
    names = {f.name for f in fields(Settings)}
    groups = (*BUILT_GROUPS, "metric")
    unknown = [str(key) for key in values if key not in names and key not in groups]
    if unknown:
        hint = did_you_mean(unknown[0], [*names, *groups])
        if unknown[0] == "allow":
            hint = " Allow your own classes on the command line: allow=[my_package.MyClass]"
        raise MlrunError(f"unknown key '{unknown[0]}'.{hint}")
    if absent := [n for n in (*sorted(names), *BUILT_GROUPS) if values.get(n, NOT_SET) == NOT_SET]:
        raise MlrunError(f"{absent[0]} is not set: use {absent[0]}=…")
    try:
        fixed = {name: values[name] for name in names}
        seed = fixed["seed"] if type(fixed["seed"]) is int else None
        settings = _typed(json.dumps(fixed if seed is None else fixed | {"seed": 0}))
        settings = settings if seed is None else replace(settings, seed=seed)
    except ConfigKeyError as error:
        known = [str(key) for key in error.parent_node] if error.parent_node else []
        where = str(error.full_key)
        raise MlrunError(f"unknown key '{where}'.{did_you_mean(str(error.key), known)}") from error
    except OmegaConfBaseException as error:
        raise MlrunError(_refusal(str(error.full_key), str(error.msg))) from error
    _check_ranges(settings)
    return _with_mode(settings, own_metrics(values))


def own_metrics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return name → node of the user's own metrics.

    Raises:
        MlrunError: a node is not a class or function with its direction.
    """
    nodes = values.get("metric") or {}
    if not isinstance(nodes, Mapping):
        raise MlrunError(f"metric={nodes}: must be an option of ./conf/metric, see {_OWN_METRICS}")
    for name, node in nodes.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or not isinstance(node, Mapping):
            raise MlrunError(
                f"metric.{name}: a file in ./conf/metric must have NAME: {{_target_: …, "
                f"higher_is_better: …}}, see {_OWN_METRICS}"
            )
        if not isinstance(node.get("higher_is_better"), bool):
            raise MlrunError(
                f"metric.{name}.higher_is_better={node.get('higher_is_better')}: must be true or "
                "false"
            )
    return dict(nodes)


def _with_mode(settings: Settings, own: Mapping[str, Any]) -> Settings:
    """Set trainer.mode=auto to the direction of the user's own metric, if it is monitored."""
    node = own.get(settings.trainer.monitor.removeprefix("valid/"))
    if node is None or settings.trainer.mode != "auto":
        return settings
    mode = "max" if node["higher_is_better"] else "min"
    return replace(settings, trainer=replace(settings.trainer, mode=mode))


@cache  # most jobs of a sweep differ only in other settings
def _typed(fixed: str) -> Settings:
    """Convert to dataclasses; the result is shared, so do not change it."""
    values = json.loads(fixed)
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), values))
    assert isinstance(settings, Settings)
    return settings


def _refusal(key: str, message: str) -> str:
    """Describe what OmegaConf refused, without its names of classes."""
    found = re.search(r": \w+ is not a subclass of (\w+)", message)
    if not found:
        return f"{key}: {message.splitlines()[0]}"
    kind = found[1]
    return (
        f"{key}: must be a text" if kind == "str" else f"{key or kind.lower()}: must be a mapping"
    )


def _check_ranges(settings: Settings) -> None:
    trainer = settings.trainer
    for name in _AT_LEAST_ONE:
        _require(name, getattr(trainer, name), lambda v: v >= 1, "at least 1")
    for name in _POSITIVE:
        _require(name, getattr(trainer, name), lambda v: v > 0, "more than 0")
    _require(
        "clip_value",
        trainer.clip_value,
        lambda v: 0 < v <= _FLOAT32_MAX,
        "more than 0, at most 3.4e38",
    )
    for name in _NOT_NEGATIVE:
        _require(name, getattr(trainer, name), lambda v: v >= 0, "0 or more")
    for name, choices in _CHOICES.items():
        value = getattr(trainer, name)
        if value not in choices:
            hint = did_you_mean(value, choices)
            raise MlrunError(f"trainer.{name}={value}: must be one of {', '.join(choices)}.{hint}")
    if not 0 <= settings.seed < 2**32 - (settings.seeds or 1):
        raise MlrunError(f"seed={settings.seed}: must be between 0 and {2**32 - 2}")
    for name, least in (("seeds", 1), ("folds", 2)):
        if (value := getattr(settings, name)) is not None and value < least:
            raise MlrunError(f"{name}={value}: must be at least {least}, or null")
    if settings.sweep.halving is not None and settings.sweep.halving < 2:
        raise MlrunError(f"sweep.halving={settings.sweep.halving}: must be at least 2, or null")
    objectives = settings.sweep.objectives
    if objectives is not None and len({*objectives}) < max(2, len(objectives)):
        raise MlrunError(
            f"sweep.objectives={objectives}: must be two or more different scores, or null"
        )
    if settings.checkpoint.every_seconds < 0:
        raise MlrunError("checkpoint.every_seconds: must be 0 or more")


def _require(name: str, value: Any, holds: Any, words: str) -> None:
    if value is not None and not holds(value):
        raise MlrunError(f"trainer.{name}={value}: must be {words}")
