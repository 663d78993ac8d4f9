"""The members of a run with `seeds` or `folds`: name, seed and configuration of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlrun.config.schema import Settings
from mlrun.config.values import Composed
from mlrun.errors import MlrunError

# data.split.method → the matching method with folds
FOLDED = {
    "auto": "auto_kfold",
    "holdout": "kfold",
    "random_split": "kfold",
    "stratified": "stratified_kfold",
    "group": "group_kfold",
    **{name: name for name in ("kfold", "stratified_kfold", "auto_kfold", "group_kfold")},
}


@dataclass(frozen=True)
class MemberSpec:
    """A member: its name, its seed, and the configuration of its single run."""

    name: str
    seed: int
    config: Composed


def member_specs(config: Composed, settings: Settings) -> Iterator[MemberSpec]:
    """Yield every member: all seeds of each fold.

    Raises:
        MlrunError: the split method does not support folds.
    """
    folds = range(settings.folds) if settings.folds else [None]
    seeds = range(settings.seed, settings.seed + (settings.seeds or 1))
    for fold in folds:
        of_fold = config.changed(_folded(config, settings.folds, fold))
        for seed, own in zip(seeds, of_fold.seeded(seeds), strict=True):
            names = [] if fold is None else [f"fold_{fold}"]
            if settings.seeds:
                names.append(f"seed_{seed}")
            yield MemberSpec("_".join(names), seed, own)


def _folded(config: Composed, folds: int | None, fold: int | None) -> dict[str, Any]:
    alone: dict[str, Any] = {"seeds": None, "folds": None}
    if fold is None:
        return alone
    split = config.values["data"].get("split")
    if not isinstance(split, Mapping) or "method" not in split:
        raise MlrunError(f"folds={folds}: this data class has no data.split.method")
    method, group = str(split["method"]), "data.split"
    if method not in FOLDED:
        raise MlrunError(f"folds={folds}: data.split.method={method} does not support folds")
    return alone | {
        f"{group}.method": FOLDED[method],
        f"{group}.folds": folds,
        f"{group}.fold": fold,
    }
