"""Tables in JSON: one object per line, or an array of objects."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import pyarrow as pa

from mlrun.data.cells import FileSettings, Progress
from mlrun.data.source_file import Source
from mlrun.data.text_pieces import Opened
from mlrun.errors import MlrunError

ROWS_AT_ONCE = 50_000
LONGEST_LINE = 2**20  # bytes
Place = tuple[str, Mapping[str, Any]]


class Number(str):
    """A number of JSON, as it is spelled."""

    __slots__ = ()


def open_json(source: Source, _: FileSettings) -> Opened:
    """Return the table of a JSON file; numbers keep their spelling.

    Raises:
        MlrunError: it is not valid JSON, not a table, or a value is a list or an object.
    """
    names: dict[str, None] = {}
    texts: set[str] = set()
    for __, record in _records(source):
        names.update(dict.fromkeys(record))
        texts.update(name for name, value in record.items() if not _may_be_number(value))
    if not names:
        raise MlrunError(f"{source.path} has no rows")

    def columns(_: int, __: Progress) -> Iterator[list[Any]]:
        rows = _rows(source, names)
        while some := list(islice(rows, ROWS_AT_ONCE)):
            yield [pa.array(column, pa.string()) for column in zip(*some, strict=True)]

    typed = frozenset(number for number, name in enumerate(names) if name not in texts)
    return Opened(source.path, [*names], columns, source.findings, typed=typed)


def _may_be_number(value: Any) -> bool:
    return value is None or isinstance(value, Number)


def _rows(source: Source, names: Iterable[str]) -> Iterator[list[str | None]]:
    for place, record in _records(source):
        yield [_text(record.get(name), f"{place}, column '{name}'") for name in names]


def _text(value: Any, place: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    kind = "a list" if isinstance(value, list) else "an object"
    raise MlrunError(f"{place} contains {kind}, not a number or a text")


def _records(source: Source) -> Iterator[Place]:
    """Yield each object with its place in the file."""
    if source.name.lower().endswith(".json") and not _has_lines(source):
        yield from _of_array(source)
        return
    with io.TextIOWrapper(source.open(), encoding="utf-8-sig") as lines:
        try:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    place = f"{source.path}, line {number}"
                    yield place, _object(_loaded(line, place), place)
        except UnicodeDecodeError:
            raise MlrunError(f"{source.path} is not UTF-8 text") from None


def _has_lines(source: Source) -> bool:
    """Whether the first line is an object of its own, and another line follows."""
    with source.open() as file:
        first, second = file.readline(LONGEST_LINE), file.readline(LONGEST_LINE)
    try:
        return isinstance(json.loads(first), dict) and bool(second.strip())
    except (ValueError, RecursionError):
        return False


def _of_array(source: Source) -> Iterator[Place]:
    with source.open() as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MlrunError(f"{source.path} is not UTF-8 text") from None
    values = _loaded(text, str(source.path))
    if not isinstance(values, list):
        raise MlrunError(
            f"{source.path} must be an array of objects [{{…}}, {{…}}], one per row; pandas writes "
            "one with to_json(orient='records')"
        )
    for number, value in enumerate(values, start=1):
        place = f"{source.path}, row {number}"
        yield place, _object(value, place)


def _loaded(text: str, place: str) -> Any:
    try:
        return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        raise MlrunError(f"{place} is not valid JSON: {error}") from None


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MlrunError(f'{place} is not an object {{"column": value, …}}')
    return value
