"""Tables: one class for covid, phone_price and any CSV of a user, configured in YAML."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype

from mlrun.data import column_roles as roles
from mlrun.data.cells import FileSettings
from mlrun.data.column_kinds import reading_of
from mlrun.data.dataset import CLASSIFICATION, REGRESSION, Dataset, Spec, divided
from mlrun.data.feature_selection import select_top
from mlrun.data.identifiers import NUMBERED, identifiers, row_ids
from mlrun.data.locate import find
from mlrun.data.number_format import MISSING_WORDS
from mlrun.data.preprocess.apply import raw_rows, warn_about_missing, warn_about_surplus
from mlrun.data.preprocess.fit import ColumnPlan, MissingValues, check_table, fit_table
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.data.rows import Rows
from mlrun.data.sample import folder_or_sample
from mlrun.data.split import RowNumbers, split_or_recorded
from mlrun.data.split_settings import Split
from mlrun.data.table_file import TableFile, read_table
from mlrun.data.target import Target, target_column, target_of, with_target
from mlrun.errors import MlrunError, did_you_mean

CHOICES = {
    "kind": ("auto", REGRESSION, CLASSIFICATION),
    "scale": ("standard", "minmax", "none"),
    "encode": ("onehot", "ordinal"),
}
MISSING = ("auto", "error", "mean", "median")
SELECT_BY = ("f_test", "mutual_info", "correlation")
log = logging.getLogger(__name__)

Tables = Mapping[str, pd.DataFrame]  # role of the file → its table


@dataclass(frozen=True)
class Tabular:
    """The checked settings of conf/data/csv.yaml; `load` reads the files.

    Raises:
        MlrunError: a setting has an invalid value.
    """

    dir: str
    train: str | Sequence[str]
    test: str | Sequence[str | None] | None
    target: str | None
    id: str | None
    prediction: str | None
    drop: Sequence[str]
    kind: str
    features: str | Sequence[str] | Mapping[str, Any]
    scale: str
    scale_target: bool
    categorical: str | Sequence[str]
    encode: str
    missing: str | float
    na_values: str | Sequence[str]
    encoding: str
    separator: str
    decimal: str
    header: str | int
    comment: str
    skip_rows: str | int
    units: str
    footer: str | int
    sheet: str | int
    duplicates: str
    memory_budget: float
    sample: str | None
    split: Mapping[str, Any]
    needs: ClassVar = ("train",)  # roles of the required files

    def __post_init__(self) -> None:
        self._file_settings()
        for name, choices in CHOICES.items():
            _one_of(f"data.{name}", getattr(self, name), choices)
        if isinstance(self.missing, str):
            _one_of("data.missing", self.missing, MISSING, "a number")
        elif not math.isfinite(self.missing):
            raise MlrunError(f"data.missing={self.missing}: must be a finite number")
        if not self.memory_budget > 0:
            raise MlrunError(f"data.memory_budget={self.memory_budget}: must be more than 0")
        if isinstance(self.categorical, str):
            _one_of("data.categorical", self.categorical, ("auto", "none"), "a list [a,b]")
        if isinstance(self.na_values, str):
            _one_of("data.na_values", self.na_values, ("auto",), "a list [a,b]")
        if isinstance(self.features, str):
            _one_of("data.features", self.features, ("all",), "a list [a,b]", "{top: 9, by: …}")
        elif isinstance(self.features, Mapping):
            _check_top(self.features)

    def load(
        self,
        *,
        files: Mapping[str, Path] | None = None,
        split: Any = None,
        contract: Contract | None = None,
        sample: bool = False,
    ) -> Dataset:
        """Read, check, split and fit.

        Args:
            files: role ("train", "test") → file; default: found by `dir`, `train` and `test`.
            split: row numbers of an earlier run; default: a new split by `data.split`.
            contract: the preprocessing of an earlier run; default: fitted on the training rows.
            sample: whether `files` are sample data; ignored without `files`.

        Raises:
            MlrunError: a file is missing, malformed or unusable for training.
        """
        method = Split.of(self.split)
        if files is None:
            files, sample = self._find()
        read = {role: self._read(files[role]) for role in ("train", "test") if role in files}
        tables, path = {role: one.table for role, one in read.items()}, files["train"]
        name = self._target_name(tables, path)
        own_ids = identifiers(tables["train"], tables.get("test"), setting=self.id, target=name)
        spelling = self._spelling(read["train"].decimal)
        table = with_target(tables["train"], name, path, **spelling)
        target = Target.of(table[name], self.kind, path, **spelling)
        parts = self._split(method, split, table, target, path)
        if contract is None:
            columns = self._columns(table, target.name, own_ids, path)
            contract = self._fit(table, parts["train"], target, columns, path, spelling)
        spec = self._spec(own_ids, contract, target, parts["train"])
        others, scored = self._test_rows(tables.get("test"), contract, spec, files.get("test"))
        return divided(
            self.read(table, contract, spec, path),
            parts,
            spec=spec,
            contract=contract,
            others=others,
            scored=scored,
            files=files,
            sample=sample,
            findings={role: [one.text for one in file.findings] for role, file in read.items()},
        )

    def read_file(
        self, path: Path, contract: Contract, spec: Spec, *, allow_unknown: bool = False
    ) -> Rows:
        """Read the rows of a file for a trained model; with targets, if the file has them.

        Raises:
            MlrunError: the file does not fit the model; without `allow_unknown`, also if a
                category is unknown to training.
        """
        table = self._read(path, target=spec.target, texts=_categories(contract)).table
        warn_about_surplus(table, contract, path)
        rows = self.read(table, contract, spec, path, allow_unknown=allow_unknown)
        warn_about_missing(rows.source, contract, path)
        return rows

    def read(
        self,
        table: pd.DataFrame,
        contract: Contract,
        spec: Spec,
        path: Path,
        *,
        allow_unknown: bool = True,
    ) -> Rows:
        """Return the rows of a table for a trained model, with the columns of the contract."""
        targets, why = target_of(table, contract, spec, path)
        budget = self.memory_budget * 1e9
        inputs = raw_rows(table, contract, path, allow_unknown=allow_unknown, memory_budget=budget)
        return Rows(inputs, targets, row_ids(table, spec.header[0]), no_targets=why)

    # The steps of load, in order.

    def _find(self) -> tuple[dict[str, Path], bool]:
        """Return role → file, and whether the files are sample data."""
        folder, sample = folder_or_sample(Path(self.dir), self.sample)
        found = {
            role: find(folder, getattr(self, role), key=f"data.{role}")
            for role in ("train", "test")
        }
        return {role: path for role, path in found.items() if path is not None}, sample

    def _spelling(self, decimal: str) -> dict[str, Any]:
        """How a file with this decimal separator spells numbers and missing values."""
        words = MISSING_WORDS if self.na_values == "auto" else _lower(self.na_values)
        return {"decimal": decimal, "na_values": words}

    def _file_settings(self) -> FileSettings:
        return FileSettings(**{one.name: getattr(self, one.name) for one in fields(FileSettings)})

    def _read(
        self, path: Path, *, target: str | None = None, texts: Sequence[str] = ()
    ) -> TableFile:
        """Read a file, with target and categories as text, and report what was decided."""
        listed = [] if isinstance(self.categorical, str) else self.categorical
        named = [name for name in (self.id, self.target, target) if name is not None]
        found = read_table(
            path,
            self._file_settings(),
            texts=[*named, *listed, *texts],
            last_as_text=target is None and self.target is None,
        )
        if found.findings and not texts:
            log.info("%s: %s", path.name, "; ".join(one.text for one in found.findings))
        return found

    def _target_name(self, tables: Tables, path: Path) -> str:
        table, test = tables["train"], tables.get("test")
        if self.id not in (None, NUMBERED) and (test is None or self.id not in test.columns):
            roles.require(str(self.id), table, path, key="data.id")
        if self.target is None:
            return target_column(table, test, path)
        return roles.require(self.target, table, path, key="data.target")

    def _split(
        self, method: Split, recorded: Any, table: pd.DataFrame, target: Target, path: Path
    ) -> dict[str, RowNumbers]:
        column = None
        if recorded is None and method.column is not None:
            roles.require(method.column, table, path, key="data.split.column")
            in_order = method.method == "time"
            column = roles.order_or_groups(table[method.column], path, in_order=in_order)
        return split_or_recorded(method, recorded, target.values, kind=target.kind, column=column)

    def _fit(
        self,
        table: pd.DataFrame,
        train: RowNumbers,
        target: Target,
        columns: list[str],
        path: Path,
        spelling: Mapping[str, Any],
    ) -> Contract:
        readings = {name: reading_of(table[name], **spelling) for name in columns}
        categorical, left_out = roles.categorical_columns(
            table[columns], self.categorical, readings, path
        )
        columns = [column for column in columns if column not in left_out]
        if not columns:
            raise MlrunError(f"{path}: no feature column is left to predict '{target.name}'")
        roles.report(readings, columns, categorical)
        plan = ColumnPlan(
            categorical=categorical,
            formats={name: readings[name].form for name in columns},
            dates=roles.date_columns(readings, columns, categorical),
            missing=MissingValues(
                self.missing,
                among_numbers=spelling["na_values"],
                among_texts=() if self.na_values == "auto" else spelling["na_values"],
            ),
        )
        check_table(table[columns], plan, path=path)
        contract = fit_table(
            table[columns], train, plan, path=path, encode=self.encode, scale=self.scale
        )
        if isinstance(self.features, Mapping):
            rows = Rows(raw_rows(table, contract, path), None, [], torch.from_numpy(train))
            features = rows.prepared(build_preprocess(contract)).numpy()
            contract = select_top(contract, features, target.values[train], **self.features)
        used = {column["name"] for column in contract["columns"]}
        unused = [str(name) for name in table.columns if name not in used]
        return contract | {"unused": unused, "target_format": target.form.as_plain()}

    def _columns(
        self, table: pd.DataFrame, target: str, own_ids: Sequence[str], path: Path
    ) -> list[str]:
        dropped = [roles.require(c, table, path, key="data.drop") for c in self.drop]
        if not isinstance(self.features, str | Mapping):
            if target in self.features:
                raise MlrunError(f"data.features: '{target}' is the target and cannot be a feature")
            names = [roles.require(c, table, path, key="data.features") for c in self.features]
            return [name for name in dict.fromkeys(names) if name not in dropped]
        groups = roles.group_column(self.split)
        return roles.feature_columns(table, leave_out=[target, *dropped, *own_ids, *groups])

    def _test_rows(
        self, table: pd.DataFrame | None, contract: Contract, spec: Spec, path: Path | None
    ) -> tuple[Rows | None, Rows | None]:
        """Return the rows to predict, and those of them that have a target."""
        if table is None or path is None:
            return None, None
        texts = _categories(contract)
        if any(is_numeric_dtype(table[name]) for name in texts if name in table):
            table = self._read(path, target=spec.target, texts=texts).table  # as in training
        rows = self.read(table, contract, spec, path)
        if rows.targets is not None or spec.target not in table.columns:
            return rows, rows if rows.targets is not None else None
        labelled = with_target(table, spec.target, path, **self._spelling("."))
        if not len(labelled):
            return rows, None
        scored = self.read(labelled, contract, spec, path)
        if scored.targets is None:
            raise MlrunError(scored.no_targets)
        return rows, scored

    def _spec(
        self, own_ids: Sequence[str], contract: Contract, target: Target, train: RowNumbers
    ) -> Spec:
        return Spec(
            kind=target.kind,
            in_shape=(len(contract["features"]),),
            out_features=len(target.classes) or 1,
            classes=target.classes,
            features=tuple(feature["name"] for feature in contract["features"]),
            target=target.name,
            header=(own_ids[0] if own_ids else "id", self.prediction or target.name),
            **(target.scaling(train) if self.scale_target else {}),
        )


def _categories(contract: Contract) -> list[str]:
    return [c["name"] for c in contract["columns"] if c["categories"] is not None]


def _lower(words: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(str(word).strip().lower() for word in words)


def _one_of(key: str, value: Any, choices: Sequence[str], *others: str) -> None:
    """Raise MlrunError if `value` is not one of `choices`; `others` describe further values."""
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise MlrunError(f"{key}={value}: must be {' or '.join([*choices, *others])}.{hint}")


def _check_top(features: Mapping[str, Any]) -> None:
    if set(features) != {"top", "by"} or type(features["top"]) is not int:
        raise MlrunError("data.features: write a selection as {top: 24, by: f_test}")
    if features["top"] < 1:
        raise MlrunError(f"data.features.top={features['top']}: must be at least 1")
    _one_of("data.features.by", features["by"], SELECT_BY)
