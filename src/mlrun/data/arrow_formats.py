"""Parquet and Feather files as columns of text."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlrun.data.cells import FileSettings, Progress
from mlrun.data.source_file import Source, seekable
from mlrun.data.text_pieces import Opened
from mlrun.errors import MlrunError

ROWS_AT_ONCE = 50_000
LARGEST_WHOLE = 2.0**53  # beyond it float64 cannot represent every integer


def open_parquet(source: Source, _: FileSettings) -> Opened:
    """Return the table of a Parquet file.

    Raises:
        MlrunError: it is not a Parquet file, or a column has nested or binary values.
    """
    from pyarrow.parquet import ParquetFile

    def batches() -> Iterator[Any]:
        with seekable(source) as file, ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=ROWS_AT_ONCE)

    with _errors(source, "Parquet"), seekable(source) as file, ParquetFile(file) as parquet:
        return _opened(source, "Parquet", parquet.schema_arrow, batches)


def open_arrow(source: Source, _: FileSettings) -> Opened:
    """Return the table of a Feather or Arrow file.

    Raises:
        MlrunError: it is not such a file, or a column has nested or binary values.
    """
    from pyarrow import feather

    with _errors(source, "Feather"), seekable(source) as file:
        table = feather.read_table(file)
    return _opened(source, "Feather", table.schema, lambda: table.to_batches(ROWS_AT_ONCE))


def _opened(source: Source, kind: str, schema: Any, batches: Callable[[], Any]) -> Opened:
    for field in schema:
        if pa.types.is_nested(field.type) or _is_binary(field.type):
            held = f"{field.type} values, not numbers or texts"
            raise MlrunError(f"{source.path}, column '{field.name}' contains {held}")

    def columns(_: int, __: Progress) -> Iterator[list[Any]]:
        with _errors(source, kind):
            for batch in batches():
                if batch.num_rows:
                    yield [as_texts(column) for column in batch.columns]

    typed = frozenset(i for i, field in enumerate(schema) if _is_number(field.type))
    names = [str(name) for name in schema.names]
    return Opened(source.path, names, columns, source.findings, typed=typed)


def _is_number(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_binary(kind: Any) -> bool:
    found = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return bool(found or pa.types.is_fixed_size_binary(kind))


@contextmanager
def _errors(source: Source, kind: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowException as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise MlrunError(f"{source.path} cannot be read as {kind}: {first}") from None
    except OSError as error:
        raise MlrunError(f"cannot read {source.path}: {error.strerror or error}") from None


def as_texts(column: Any) -> Any:
    """Return an Arrow column as strings: 3 for 3.0, True, 2024-01-31 23:59:59; null stays null."""
    kind = column.type
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "True", "False")
    if pa.types.is_floating(kind):
        return pa.array(_numbers(column), pa.string())
    if pa.types.is_temporal(kind) and not pa.types.is_date(kind):
        values = column.to_pandas()
        return pa.array([None if pd.isna(v) else str(v) for v in values], pa.string())
    return column.cast(pa.string())


def _numbers(column: Any) -> list[str | None]:
    values = column.to_numpy(zero_copy_only=False)
    whole = (values == np.floor(values)) & (np.abs(values) <= LARGEST_WHOLE)
    return [
        None if value != value else str(int(value)) if is_whole else str(value)
        for value, is_whole in zip(values, whole, strict=True)
    ]
