"""Tables in Excel files (.xlsx): one sheet as rows of texts, laid out as in a text file."""

import datetime
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mlrun.data.cells import AUTO, NONE, FileSettings, Progress, counted, shortened
from mlrun.data.delimiter import Delimiter, Record
from mlrun.data.findings import Finding
from mlrun.data.layout import find_layout
from mlrun.data.source_file import Source, check_size, seekable
from mlrun.data.text_pieces import Opened
from mlrun.errors import MlrunError, did_you_mean

LOOKED_AT = 1000  # rows that decide about the layout


def open_excel(source: Source, settings: FileSettings) -> Opened:
    """Return the table of one sheet.

    Raises:
        MlrunError: openpyxl is not installed, the file is damaged, or the sheet does not exist or
            is empty.
    """
    values, found = _read(source, settings)
    rows, left = _texts(values)
    records = [Record(row, i + 1, i + 1) for i, row in enumerate(rows) if any(row)]
    top = settings.skip_rows if isinstance(settings.skip_rows, int) else 0
    top = settings.header - 1 if isinstance(settings.header, int) else top
    records = [record for record in records if record.first > top]
    if not records:
        raise MlrunError(f"{source.path} is empty")
    layout = find_layout(Delimiter("\t", ".", records[:LOOKED_AT]), settings, skipped=top)
    body = rows[layout.lines :]
    if isinstance(settings.footer, int):
        body = body[: len(body) - settings.footer]

    def columns(_: int, __: Progress) -> Iterator[list[Any]]:
        fields = [row[: len(layout.names)] for row in body]
        if fields:
            yield [pa.array(column, pa.string()) for column in zip(*fields, strict=True)]

    findings = (*source.findings, *found, *left, *layout.findings)
    kind = None if settings.footer == NONE else layout.kinds[0]
    typed = _without_texts(values.iloc[layout.lines :, -len(rows[0]) :])
    return Opened(source.path, layout.names, columns, findings, typed=typed, first_kind=kind)


def _read(source: Source, settings: FileSettings) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the values of the sheet, and which one it is if there are several."""
    check_size(source)
    try:
        with seekable(source) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations
            with pd.ExcelFile(file, engine="openpyxl") as book:
                sheet, found = _sheet([str(n) for n in book.sheet_names], source, settings)
                return book.parse(sheet, header=None, dtype=object, na_filter=False), found
    except ImportError:
        raise MlrunError(f"{source.path}: Excel needs pip install 'mlrun-cli[excel]'") from None
    except MlrunError:
        raise
    except Exception as error:  # openpyxl raises any of them for a damaged file
        raise MlrunError(
            f"{source.path} cannot be read as Excel: {shortened(error, 100)}"
        ) from None


def _sheet(names: list[str], source: Source, settings: FileSettings) -> tuple[str, list[Finding]]:
    if settings.sheet == AUTO:
        others = shortened(", ".join(names[1:]), 60)
        value = f"'{names[0]}', the first of {counted(len(names), 'sheet')} (others: {others})"
        return names[0], [Finding("sheet", value, "data.sheet=…")] if len(names) > 1 else []
    if isinstance(settings.sheet, int) and 1 <= settings.sheet <= len(names):
        return names[settings.sheet - 1], []
    if settings.sheet in names:
        return str(settings.sheet), []
    hint = did_you_mean(str(settings.sheet), names)
    raise MlrunError(f"data.sheet={settings.sheet}: {source.path} has {', '.join(names)}.{hint}")


# --- cells ----------------------------------------------------------------------------------


def _texts(values: pd.DataFrame) -> tuple[list[list[str]], list[Finding]]:
    """Return the rows as texts, without empty columns at the left."""
    columns = [_column(values[name].tolist()) for name in values]
    first = next((i for i, column in enumerate(columns) if any(column)), 0)
    value = f"{counted(first, 'column')} without a name or a value at the start left out"
    found = [Finding("empty columns", value)] if first else []
    return [list(row) for row in zip(*columns[first:], strict=True)], found


def _without_texts(values: pd.DataFrame) -> frozenset[int]:
    """Return the numbers of the columns that have no text, so that their numbers are numbers."""
    texts = values.map(lambda value: isinstance(value, str) and bool(value.strip())).any()
    return frozenset(np.flatnonzero(~texts.to_numpy(bool)).tolist())


def _column(values: Sequence[Any]) -> list[str]:
    """Return the cells as texts; days without a time if all times are midnight."""
    times = [value for value in values if isinstance(value, datetime.datetime)]
    days = all(value.time() == datetime.time() for value in times)
    return [_text(value, days) for value in values]


def _text(value: Any, days: bool) -> str:
    if value is None or (isinstance(value, float) and value != value) or value is pd.NaT:
        return ""
    if isinstance(value, datetime.datetime):
        return str(value.date()) if days else str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2.0**53:
        return str(int(value))
    return str(value).strip()
