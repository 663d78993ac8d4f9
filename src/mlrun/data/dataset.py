"""The interface between data and the rest of the program: Spec and Dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mlrun.config.signature import from_plain
from mlrun.data.findings import Finding
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.data.rows import Rows
from mlrun.errors import MlrunError
from mlrun.system.data_files import DataFile, data_files

REGRESSION, CLASSIFICATION = "regression", "classification"
EXAMPLES = 16


@dataclass(frozen=True)
class Spec:
    """Shapes, classes and names, derived from the data and never set in YAML.

    A regression model is trained on `(target - target_center) / target_scale`.
    """

    kind: str  # regression | classification
    in_shape: tuple[int, ...]  # of one preprocessed row, e.g. (93,) or (1, 28, 28)
    out_features: int  # 1, or the number of classes
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  # names after preprocessing; empty for images
    target: str = ""
    header: tuple[str, str] = ("id", "prediction")  # of pred.csv
    target_center: float = 0.0
    target_scale: float = 1.0
    rows_per_class: tuple[int, ...] = ()  # of the training rows; empty: not counted

    @classmethod
    def from_record(cls, record: Any, source: str) -> "Spec":
        """Rebuild a Spec from the values of `dataclasses.asdict`, also from JSON.

        Raises:
            MlrunError: the values are not valid.
        """
        spec = from_plain(cls, record, source=source)
        classes = len(spec.classes)
        outputs = {REGRESSION: (1, 0), CLASSIFICATION: (classes, classes)}.get(spec.kind)
        sizes = (*spec.in_shape, spec.out_features)
        counted = len(spec.rows_per_class) in (0, classes)
        agree = outputs == (spec.out_features, classes) and counted and bool(spec.in_shape)
        if not agree or min(sizes) < 1:
            raise MlrunError(f"{source} is damaged: its shapes and classes contradict each other")
        return spec


@dataclass(frozen=True, eq=False)  # compared by identity, used as a key
class Dataset:
    """The data of a task after the split; preprocessing is fitted on the training rows only."""

    spec: Spec
    preprocess: nn.Module  # raw rows → (n, *spec.in_shape) float32
    contract: dict[str, Any]  # plain values that rebuild `preprocess` and read new files
    train: Rows
    valid: Rows
    test: Rows | None  # rows with targets that are not used for training
    predict: Rows  # the rows for pred.csv
    files: dict[str, Path]  # role → file
    split: dict[str, NDArray[np.int64]]  # train, valid → row numbers
    sample: bool  # bundled sample data, not real data
    findings: tuple[Finding, ...] = ()  # what was decided about the files
    data: tuple[DataFile, ...] = field(init=False)  # the files as they were read

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", data_files(self.files))

    @property
    def parts(self) -> dict[str, Rows]:
        """The rows with targets: train, valid and, if present, test."""
        parts = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: rows for name, rows in parts.items() if rows is not None}

    @property
    def examples(self) -> Tensor:
        """A few raw validation rows; checkpoints store them for checking an export."""
        return self.valid.take(range(min(EXAMPLES, len(self.valid)))).inputs.clone()


def divided(
    rows: Rows,
    split: Mapping[str, NDArray[np.int64]],
    *,
    spec: Spec,
    contract: Contract,
    others: Rows | None,
    scored: Rows | None,
    files: Mapping[str, Path],
    sample: bool,
    findings: Sequence[Finding] = (),
) -> Dataset:
    """Return the dataset of these rows, divided into training and validation rows.

    Args:
        rows: the rows of the training file.
        split: train, valid → row numbers.
        spec: shapes, classes and names.
        contract: the preprocessing.
        others: the rows of the test file, for pred.csv; without it, the validation rows.
        scored: those of them that have targets.
        files: role → file.
        sample: whether the files are sample data.
        findings: what was decided about the files.

    Raises:
        MlrunError: the contract is damaged.
    """
    train, valid = rows.take(split["train"]), rows.take(split["valid"])
    if spec.classes and train.targets is not None:
        counts = train.targets.bincount(minlength=len(spec.classes))
        spec = replace(spec, rows_per_class=tuple(counts.tolist()))
    return Dataset(
        spec=spec,
        preprocess=build_preprocess(contract),
        contract=contract,
        train=train,
        valid=valid,
        test=scored,
        predict=valid if others is None else others,
        files=dict(files),
        split=dict(split),
        sample=sample,
        findings=tuple(findings),
    )
