"""The settings of the split into training and validation rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlrun.config.signature import check_arguments
from mlrun.errors import MlrunError, did_you_mean

METHODS = (
    "auto",
    "holdout",
    "stratified",
    "random_split",
    "kfold",
    "stratified_kfold",
    "auto_kfold",
    "group",
    "group_kfold",
    "time",
)


@dataclass(frozen=True)
class Split:
    """The checked settings `data.split`.

    Raises:
        MlrunError: the method is unknown or a number is out of range.
    """

    method: str
    ratio: float
    seed: int
    folds: int
    fold: int
    column: str | None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Split":
        """Build from the mapping in the configuration."""
        check_arguments("data.split", cls, settings)
        return cls(**settings)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            hint = did_you_mean(str(self.method), METHODS)
            raise MlrunError(
                f"data.split.method={self.method}: must be one of {', '.join(METHODS)}.{hint}"
            )
        if not 0 < self.ratio < 1:
            raise MlrunError(f"data.split.ratio={self.ratio}: must be between 0 and 1")
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise MlrunError(
                f"data.split.fold={self.fold}, folds={self.folds}: "
                "needs at least 2 folds, and a fold from 0 to folds - 1"
            )
        if not 0 <= self.seed < 2**32:
            raise MlrunError(f"data.split.seed={self.seed}: must be between 0 and {2**32 - 1}")
        if self.method in ("group", "group_kfold") and self.column is None:
            raise MlrunError(
                f"data.split.method={self.method}: set the column with data.split.column=…"
            )
