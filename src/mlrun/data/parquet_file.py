"""Read Parquet files as tables like those of CSV files: numbers, flags, texts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from mlrun.errors import MlrunError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SUFFIXES = (".parquet", ".pq")


@contextmanager
def _opened(path: Path) -> Iterator["ParquetFile"]:
    """Open the file.

    Raises:
        MlrunError: the file does not exist or is not a Parquet file, or a column has nested or
            binary values.
    """
    from pyarrow import ArrowException, types
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            for field in file.schema_arrow:
                if types.is_nested(field.type) or types.is_binary(field.type):
                    held = f"{field.type} values, not numbers or texts"
                    raise MlrunError(f"{path}, column '{field.name}' contains {held}")
            yield file
    except ArrowException as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise MlrunError(f"{path} cannot be read as Parquet: {first}") from None
    except OSError as error:
        raise MlrunError(f"cannot read {path}: {error.strerror or error}") from None


def names_and_rows(path: Path) -> tuple[list[str], int]:
    """Return the column names in order, and the number of rows."""
    with _opened(path) as file:
        return [str(name) for name in file.schema_arrow.names], file.metadata.num_rows


def pieces(
    path: Path,
    header: Sequence[str],
    names: Sequence[str],
    texts: Sequence[str],
    *,
    rows: int,
) -> Iterator[pd.DataFrame]:
    """Yield the table in chunks.

    Args:
        path: the file.
        header: names for all columns.
        names: the columns to read.
        texts: the columns to read as text.
        rows: number of rows per chunk.
    """
    with _opened(path) as file:
        for batch in file.iter_batches(batch_size=rows):
            # Ignore pandas metadata: an index is a column like any other.
            table = batch.to_pandas(ignore_metadata=True).set_axis([*header], axis=1)
            yield pd.DataFrame({name: _plain(table[name], name in texts) for name in names})


def _plain(column: "pd.Series", is_text: bool) -> "pd.Series":
    """Keep numbers and flags; convert everything else (dates, decimals, categories) to text."""
    numeric = pd.api.types.is_numeric_dtype(column.dtype)  # bool counts as a number too
    if numeric and not is_text:
        return column
    whole = is_text and pd.api.types.is_float_dtype(column.dtype)
    texts = column.map(_as_whole) if whole else column.astype(str)
    return texts.astype(object).where(column.notna().to_numpy(), None)


def _as_whole(value: float) -> str:
    """Write an identifier, which is a float only because some are missing, as an integer."""
    return str(int(value)) if value == value and float(value).is_integer() else str(value)
