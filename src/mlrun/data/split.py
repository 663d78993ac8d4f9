"""Split rows into training and validation rows; seeded, and saved with the run."""

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mlrun.data.dataset import CLASSIFICATION
from mlrun.data.split_settings import Split
from mlrun.errors import MlrunError

log = logging.getLogger(__name__)
RowNumbers = NDArray[np.int64]


def split_or_recorded(
    split: Split,
    recorded: Any,
    targets: NDArray[Any],
    *,
    kind: str,
    column: NDArray[Any] | None = None,
) -> dict[str, RowNumbers]:
    """Return the row numbers for train and valid: those in a split.json, or those of `split_rows`.

    Raises:
        MlrunError: like `recorded_split` and `split_rows`.
    """
    if recorded is not None:
        train, valid = recorded_split(recorded, len(targets))
    else:
        train, valid = split_rows(split, targets, kind=kind, column=column)
    return {"train": train, "valid": valid}


def recorded_split(split: Any, count: int) -> tuple[RowNumbers, RowNumbers]:
    """Return the row numbers from a run's split.json.

    Raises:
        MlrunError: they are not valid row numbers of the data.
    """
    parts: list[Any] = [
        split.get(name) if isinstance(split, Mapping) else None for name in ("train", "valid")
    ]
    for part in parts:
        plain = isinstance(part, list) and 0 < len(part) <= count
        plain = plain and all(type(number) is int for number in part)
        if not plain or len({*part}) != len(part) or min(part) < 0 or max(part) >= count:
            raise MlrunError(f"split.json is damaged: row numbers must be from 0 to {count - 1}")
    if {*parts[0]} & {*parts[1]}:
        raise MlrunError("split.json is damaged: a row is in both parts")
    return np.array(parts[0]), np.array(parts[1])


def split_rows(
    split: Split, targets: NDArray[Any], *, kind: str, column: NDArray[Any] | None = None
) -> tuple[RowNumbers, RowNumbers]:
    """Return the row numbers for training and validation; both have at least one row.

    Args:
        split: the settings `data.split`.
        targets: (n,) class numbers or values, for stratification.
        kind: regression or classification.
        column: (n,) values of `data.split.column`.

    Raises:
        MlrunError: the method cannot split these rows.
    """
    count = len(targets)
    if count < 2:
        raise MlrunError(
            f"{count} row for training: at least 2 are needed, one of them for validation"
        )
    method = split.method
    if method == "auto":
        method = _automatic(targets, kind, split.ratio)
    if method == "auto_kfold":
        method = "stratified_kfold" if kind == CLASSIFICATION else "kfold"
    if method in ("stratified", "stratified_kfold"):
        _check_classes(method, targets, kind)
    try:
        train, valid = _METHODS[method](split, targets, column)
    except ValueError as error:  # from scikit-learn: too few groups, more folds than rows …
        raise MlrunError(f"data.split.method={method}: {str(error)[:300]}") from error
    return np.asarray(train, dtype=np.int64), np.asarray(valid, dtype=np.int64)


def _check_classes(method: str, targets: NDArray[Any], kind: str) -> None:
    if kind != CLASSIFICATION:
        raise MlrunError(f"data.split.method={method} needs classes; try data.split.method=holdout")
    if method == "stratified" and np.unique(targets, return_counts=True)[1].min() < 2:
        raise MlrunError(
            "data.split.method=stratified: a class has only 1 row, but needs 2; "
            "try data.split.method=holdout"
        )


def _automatic(targets: NDArray[Any], kind: str, ratio: float) -> str:
    if kind != CLASSIFICATION:
        return "holdout"
    counts = np.unique(targets, return_counts=True)[1]
    held = _held_out(len(targets), ratio)
    each_side_has_every_class = min(held, len(targets) - held) >= len(counts)
    if counts.min() >= 2 and each_side_has_every_class:
        return "stratified"
    log.info("a class has too few rows for a stratified split; using a plain hold-out")
    return "holdout"


def _held_out(count: int, ratio: float) -> int:
    """Return the number of validation rows, rounded up as in scikit-learn; both parts get a row."""
    return min(max(1, int(np.ceil(count * ratio))), count - 1)


def _holdout(split: Split, targets: NDArray[Any], column: None) -> tuple[RowNumbers, RowNumbers]:
    """Return the rows of scikit-learn's train_test_split, without importing it."""
    held = _held_out(len(targets), split.ratio)
    order = np.random.RandomState(split.seed).permutation(len(targets))
    return order[held:], order[:held]


def _stratified(split: Split, targets: NDArray[Any], column: None) -> tuple[RowNumbers, RowNumbers]:
    from sklearn.model_selection import train_test_split

    held = _held_out(len(targets), split.ratio)
    train, valid = train_test_split(
        np.arange(len(targets)), test_size=held, random_state=split.seed, stratify=targets
    )
    return train, valid


def _random_split(
    split: Split, targets: NDArray[Any], column: None
) -> tuple[RowNumbers, RowNumbers]:
    """Split as the course notebooks do: torch's random_split with a seeded generator."""
    held = min(max(1, int(split.ratio * len(targets))), len(targets) - 1)
    generator = torch.Generator().manual_seed(split.seed)
    lengths = [len(targets) - held, held]
    train, valid = torch.utils.data.random_split(range(len(targets)), lengths, generator)  # type: ignore[arg-type,var-annotated]
    return np.asarray(train.indices), np.asarray(valid.indices)


def _kfold(split: Split, targets: NDArray[Any], column: None) -> tuple[RowNumbers, RowNumbers]:
    from sklearn.model_selection import KFold

    folds = KFold(split.folds, shuffle=True, random_state=split.seed).split(targets)
    return list(folds)[split.fold]  # type: ignore[no-any-return]


def _stratified_kfold(
    split: Split, targets: NDArray[Any], column: None
) -> tuple[RowNumbers, RowNumbers]:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(split.folds, shuffle=True, random_state=split.seed)
    with warnings.catch_warnings():
        # A class with fewer rows than folds is missing in some folds.
        warnings.simplefilter("ignore")
        return list(folds.split(targets, targets))[split.fold]  # type: ignore[no-any-return]


def _group(
    split: Split, targets: NDArray[Any], column: NDArray[Any]
) -> tuple[RowNumbers, RowNumbers]:
    from sklearn.model_selection import GroupShuffleSplit

    splitter = GroupShuffleSplit(1, test_size=split.ratio, random_state=split.seed)
    return next(splitter.split(targets, groups=column))  # type: ignore[no-any-return]


def _group_kfold(
    split: Split, targets: NDArray[Any], column: NDArray[Any]
) -> tuple[RowNumbers, RowNumbers]:
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(split.folds, shuffle=True, random_state=split.seed)
    return list(folds.split(targets, groups=column))[split.fold]  # type: ignore[no-any-return]


def _time(
    split: Split, targets: NDArray[Any], column: NDArray[Any] | None
) -> tuple[RowNumbers, RowNumbers]:
    """Validate on the last rows, in the order of the column or of the file."""
    order = np.arange(len(targets)) if column is None else np.argsort(column, kind="stable")
    held = _held_out(len(targets), split.ratio)
    return order[:-held], order[-held:]


_METHODS: dict[str, Any] = {
    "holdout": _holdout,
    "stratified": _stratified,
    "random_split": _random_split,
    "kfold": _kfold,
    "stratified_kfold": _stratified_kfold,
    "group": _group,
    "group_kfold": _group_kfold,
    "time": _time,
}
