"""Tables: one class for covid, phone_price and any CSV of a user, configured in YAML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pandas.api.types import is_numeric_dtype

from mlrun.data import column_roles as roles
from mlrun.data import doubts
from mlrun.data.cells import FileSpelling
from mlrun.data.column_kinds import feature_reading
from mlrun.data.dataset import Dataset, Spec, divided
from mlrun.data.feature_selection import select_top
from mlrun.data.findings import Findings
from mlrun.data.identifiers import NUMBERED, identifiers, row_ids
from mlrun.data.locate import find
from mlrun.data.number_format import PLAIN, format_of
from mlrun.data.preprocess.apply import raw_rows, warn_about_missing, warn_about_surplus
from mlrun.data.preprocess.fit import fit_table
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.data.preprocess.plan import ColumnPlan, MissingValues, check_table
from mlrun.data.rows import Rows
from mlrun.data.sample import folder_or_sample
from mlrun.data.split import RowNumbers, split_or_recorded
from mlrun.data.split_settings import Split
from mlrun.data.table_file import TableFile, read_table
from mlrun.data.table_settings import TableSettings
from mlrun.data.target import Target, target_column, target_of, with_target
from mlrun.errors import MlrunError
from mlrun.system.data_files import unchanged


@dataclass(frozen=True)
class Tabular(TableSettings):
    """Reads tables by the settings of conf/data/csv.yaml."""

    def find_files(self) -> tuple[dict[str, Path], bool]:
        """Return role → file, and whether the files are sample data.

        Raises:
            MlrunError: a file is missing.
        """
        folder, sample = folder_or_sample(Path(self.dir), self.sample)
        found = {
            role: find(folder, getattr(self, role), key=f"data.{role}")
            for role in ("train", "test")
        }
        return {role: path for role, path in found.items() if path is not None}, sample

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
        if files is None:
            files, sample = self.find_files()
        with Findings(files["train"].name) as told, unchanged(*files.values()):
            return self._load(files, sample, split, contract, told)

    def _load(
        self,
        files: Mapping[str, Path],
        sample: bool,
        recorded: Any,
        contract: Contract | None,
        told: Findings,
    ) -> Dataset:
        method, path, read = Split.of(self.split), files["train"], self._read_files(files, told)
        tables = {role: one.table for role, one in read.items()}
        test = tables.get("test")
        doubts.report_total(tables["train"], told)
        name = self._target_name(tables["train"], test, path, told)
        own_ids = identifiers(tables["train"], test, setting=self.id, target=name, told=told)
        spelling = self.spelling(read["train"].decimal)
        table = with_target(tables["train"], name, na_texts=self.missing_texts, **spelling)
        if absent := len(tables["train"]) - len(table):
            told.add("rows", f"{absent} of {len(tables['train'])} have no '{name}': left out")
        target = Target.of(table[name], self.kind, path, told=told, **spelling)
        doubts.report_target(table, name, target.classes, told)
        parts = self._split(method, recorded, table, target, path)
        if contract is None:
            columns = self._columns(table, target.name, own_ids, path, told)
            roles.report_copies(table[[*columns, name]], **parts, told=told)
            contract = self._fit(table, parts["train"], target, columns, path, spelling, told)
            contract["has_header"] = read["train"].has_header
        spec = self._spec(own_ids, contract, target, parts["train"])
        others, scored = self._test_rows(test, contract, spec, files.get("test"), told)
        return divided(
            self.read(table, contract, spec, path, among=tables["train"].index),
            parts,
            spec=spec,
            contract=contract,
            others=others,
            scored=scored,
            files=files,
            sample=sample,
            findings=told.found,
        )

    def read_file(
        self, path: Path, contract: Contract, spec: Spec, *, allow_unknown: bool = False
    ) -> Rows:
        """Read the rows of a file for a trained model; with targets, if the file has them.

        Raises:
            MlrunError: the file does not fit the model; without `allow_unknown`, also if a
                category is unknown to training.
        """
        with Findings(path.name) as told, unchanged(path):
            read = self._read_new(path, contract, spec)
            told.extend(read.findings)
        table = read.table
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
        among: pd.Index | None = None,
    ) -> Rows:
        """Return the rows of a table for a trained model, with the columns of the contract.

        For `among`, see `row_ids`.
        """
        targets, why = target_of(table, contract, spec, path)
        budget = self.memory_budget * 1e9
        inputs = raw_rows(table, contract, path, allow_unknown=allow_unknown, memory_budget=budget)
        names = row_ids(table, spec.header[0], among=among)
        return Rows(inputs, targets, names, no_targets=why)

    # The steps of load, in order.

    def _read_files(self, files: Mapping[str, Path], told: Findings) -> dict[str, TableFile]:
        """Read the files; what was decided about the test file counts where it differs."""
        read = {"train": self._read(files["train"])}
        told.extend(read["train"].findings)
        if "test" in files:
            read["test"] = self._read(files["test"], like=read["train"].spelling)
            for one in read["test"].findings:
                if one not in told.found:
                    told.add(f"{files['test'].name}: {one.what}", one.value, one.override)
        return read

    def _read(self, path: Path, *, like: FileSpelling | None = None) -> TableFile:
        """Read a training or test file, with target and categories as text."""
        listed = [] if isinstance(self.categorical, str) else self.categorical
        named = [name for name in (self.id, self.target) if name is not None]
        return read_table(
            path,
            self.file_settings(like),
            texts=[*named, *listed],
            last_as_text=self.target is None,
        )

    def _read_new(self, path: Path, contract: Contract, spec: Spec) -> TableFile:
        """Read a file for a trained model; the contract says how it is spelled."""
        like = FileSpelling(contract.get("decimal", "."), contract.get("has_header", True))
        texts, spelled = _kept_texts(contract, spec)
        return read_table(path, self.file_settings(like), texts=texts, spelled=spelled)

    def _target_name(
        self, table: pd.DataFrame, test: pd.DataFrame | None, path: Path, told: Findings
    ) -> str:
        if self.id not in (None, NUMBERED) and (test is None or self.id not in test.columns):
            roles.require(str(self.id), table, path, key="data.id")
        if self.target is None:
            return target_column(table, test, path, told=told)
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
        told: Findings,
    ) -> Contract:
        readings = {name: feature_reading(table[name], **spelling) for name in columns}
        categorical, left_out = roles.categorical_columns(
            table[columns], self.categorical, readings, path, told=told
        )
        columns = [column for column in columns if column not in left_out]
        if not columns:
            raise MlrunError(f"{path}: no feature column is left to predict '{target.name}'")
        roles.report(readings, columns, categorical, told)
        listed = () if isinstance(self.categorical, str) else self.categorical
        doubts.report(
            table[columns],
            {name: readings[name] for name in readings if name not in listed},
            categorical=categorical,
            left_out=left_out,
            na_values=self.missing_texts,
            told=told,
        )
        plan = ColumnPlan(
            categorical=categorical,
            formats={name: readings[name].form for name in columns},
            dates=roles.date_columns(readings, columns, categorical),
            missing=MissingValues(
                self.missing,
                among_numbers=spelling["na_values"],
                among_texts=self.missing_texts,
            ),
            min_frequency=self.min_frequency,
        )
        check_table(table[columns], plan, path=path)
        how = {"encode": self.encode, "scale": self.scale}
        contract = fit_table(table[columns], train, plan, path=path, told=told, **how)
        if isinstance(self.features, Mapping):
            rows = Rows(raw_rows(table, contract, path), None, [], torch.from_numpy(train))
            features = rows.prepared(build_preprocess(contract)).numpy()
            contract = select_top(contract, features, target.values[train], **self.features)
        used = {column["name"] for column in contract["columns"]}
        unused = [str(name) for name in table.columns if name not in used]
        facts = {"target_format": target.form.as_plain(), "decimal": spelling["decimal"]}
        return contract | {"unused": unused} | facts

    def _columns(
        self,
        table: pd.DataFrame,
        target: str,
        own_ids: Sequence[str],
        path: Path,
        told: Findings,
    ) -> list[str]:
        dropped = [roles.require(c, table, path, key="data.drop") for c in self.drop]
        if not isinstance(self.features, str | Mapping):
            if target in self.features:
                raise MlrunError(f"data.features: '{target}' is the target and cannot be a feature")
            names = [roles.require(c, table, path, key="data.features") for c in self.features]
            return [name for name in dict.fromkeys(names) if name not in dropped]
        groups = roles.group_column(self.split, told)
        return roles.feature_columns(
            table, leave_out=[target, *dropped, *own_ids, *groups], told=told
        )

    def _test_rows(
        self,
        table: pd.DataFrame | None,
        contract: Contract,
        spec: Spec,
        path: Path | None,
        told: Findings,
    ) -> tuple[Rows | None, Rows | None]:
        """Return the rows to predict, and those of them that have a target."""
        if table is None or path is None:
            return None, None
        texts, spelled = _kept_texts(contract, spec)
        kept = [name for name in (*texts, *spelled) if name in table]
        if spec.target in spelled or any(is_numeric_dtype(table[name]) for name in kept):
            table = self._read_new(path, contract, spec).table  # texts as in training
        rows = self.read(table, contract, spec, path)
        if rows.targets is not None or spec.target not in table.columns:
            return rows, rows if rows.targets is not None else None
        words = {"na_texts": self.missing_texts, **self.spelling(".")}
        labelled = with_target(table, spec.target, **words)
        if not len(labelled):
            return rows, None
        value = f"{len(table) - len(labelled)} of {len(table)} have no '{spec.target}': not scored"
        told.add(f"{path.name}: rows", value)
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


def _kept_texts(contract: Contract, spec: Spec) -> tuple[list[str], list[str]]:
    """Return the columns that a new file has as text: texts, and numbers not spelled plainly.

    The spelling of these numbers is that of training: 1.200 may be 1200.
    """
    columns = contract["columns"]
    texts = [column["name"] for column in columns if column["categories"] is not None]
    texts += [spec.header[0], *([spec.target] if spec.classes else [])]
    formats = {column["name"]: column["format"] for column in columns}
    if not spec.classes:
        formats[spec.target] = contract["target_format"]
    return texts, [name for name, form in formats.items() if format_of(form) != PLAIN]
