"""Tables in other formats than text: Excel, Feather, Parquet and JSON, as the same cells."""

from collections.abc import Callable
from pathlib import PurePosixPath

from mlrun.data.arrow_formats import open_arrow, open_parquet
from mlrun.data.cells import FileSettings
from mlrun.data.excel_file import open_excel
from mlrun.data.foreign_formats import refuse_foreign
from mlrun.data.json_file import open_json
from mlrun.data.source_file import Source
from mlrun.data.text_pieces import Opened

Reader = Callable[[Source, FileSettings], Opened]
BY_START: tuple[tuple[bytes, Reader], ...] = (
    (b"PAR1", open_parquet),
    (b"ARROW1", open_arrow),
    (b"FEA1", open_arrow),
    (b"PK\x03\x04", open_excel),
)
BY_SUFFIX: dict[str, Reader] = {
    ".parquet": open_parquet,
    ".pq": open_parquet,
    ".feather": open_arrow,
    ".arrow": open_arrow,
    ".json": open_json,
    ".jsonl": open_json,
    ".ndjson": open_json,
}


def open_other(source: Source, settings: FileSettings) -> Opened | None:
    """Return the table of a file that is not delimited text; None if it is.

    Raises:
        MlrunError: the file is damaged, has values that are not numbers or texts, or needs a
            package that is not installed.
    """
    with source.open() as file:
        start = file.read(16)
    refuse_foreign(source.path, source.name, start)
    found = next((read for magic, read in BY_START if start.startswith(magic)), None)
    reader = found or BY_SUFFIX.get(PurePosixPath(source.name).suffix.lower())
    return None if reader is None else reader(source, settings)
