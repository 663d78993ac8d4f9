"""The rows of a text file as Arrow columns: by pyarrow, or by Python where a file is irregular."""

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import pyarrow as pa
from pyarrow import csv as arrow_csv

from mlrun.data.cells import NONE, Progress
from mlrun.data.delimiter import with_blanks, without_last_blank
from mlrun.data.dialect import Dialect
from mlrun.data.text_file import TextFile
from mlrun.data.text_pieces import MOST_FOOTER, is_note
from mlrun.errors import MlrunError

END = "\0"  # a line below the last one; inside quotes it becomes a part of a cell
RULE = re.compile(r"[-+=_]{3,}")  # a line below the header or the table
CELLS_AT_ONCE = 500_000


SMALL = 4  # blocks; a shorter file is parsed in one piece


class _Irregular(Exception):
    """Python has to read the file."""


def text_columns(file: TextFile, block: int, progress: Progress) -> Iterator[list[Any]]:
    """Yield the columns of consecutive rows as Arrow arrays of strings.

    Args:
        file: the file.
        block: about the number of bytes at once.
        progress: gets the lines that are no rows.

    Raises:
        MlrunError: a row has more or fewer fields than the header, or a quote never closes.
    """
    done = 0
    try:
        for columns in _fast(file, block):
            yield columns
            done += len(columns[0])
    except (pa.ArrowInvalid, _Irregular):
        yield from _slow(file, progress, skip=done)


# --- by pyarrow -----------------------------------------------------------------------------


def _fast(file: TextFile, block: int) -> Iterator[list[Any]]:
    dialect = file.dialect
    if not file.is_plain or dialect.comments_always or isinstance(file.settings.footer, int):
        raise _Irregular
    with file.open() as text:
        for batch in _batches(text, dialect, block):
            columns = batch.columns
            if any(column.null_count < len(column) for column in columns[len(dialect.names) :]):
                raise _Irregular
            if batch.num_rows:
                yield columns[: len(dialect.names)]


def _batches(text: io.TextIOWrapper, dialect: Dialect, block: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows; a small file is parsed in one piece, without pyarrow's reading thread.

    That thread could end the process if it still reads when the interpreter stops.
    """
    most = SMALL * block
    start = text.read(most).encode()
    if len(start) < most:
        options = _options(dialect, len(start) + 1)
        yield from arrow_csv.read_csv(pa.BufferReader(start), **options).to_batches()
        return
    reader = arrow_csv.open_csv(pa.PythonFile(_Utf8(text, start), "r"), **_options(dialect, block))
    try:
        yield from reader
    finally:
        reader.close()


def _options(dialect: Dialect, block: int) -> dict[str, Any]:
    names = [str(i) for i in range(dialect.width)]
    return {
        "read_options": arrow_csv.ReadOptions(
            column_names=names, block_size=block, use_threads=False
        ),
        "parse_options": arrow_csv.ParseOptions(
            delimiter=dialect.separator,
            newlines_in_values=True,
            invalid_row_handler=lambda row: "error" if row.text.strip(" ") else "skip",
        ),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    }


class _Utf8(io.RawIOBase):
    """A text as the bytes of its UTF-8.

    No block ends between CR and LF: pyarrow drops an LF at the start of a block, also in quotes.
    """

    def __init__(self, text: io.TextIOWrapper, start: bytes) -> None:
        self._text, self._rest = text, start

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._rest + self._text.read(max(0, size - len(self._rest))).encode()
        end = size - (len(content) > 1 and content[:size].endswith(b"\r"))
        self._rest = content[end:]
        return content[:end]


# --- by Python ------------------------------------------------------------------------------


def _slow(file: TextFile, progress: Progress, *, skip: int) -> Iterator[list[Any]]:
    """Yield the rows after the first `skip`."""
    rows = islice(_rows(file, progress), skip, None)
    at_once = max(1, CELLS_AT_ONCE // len(file.dialect.names))
    while some := list(islice(rows, at_once)):
        yield [pa.array(column, pa.string()) for column in zip(*some, strict=True)]


def _rows(file: TextFile, progress: Progress) -> Iterator[Sequence[str]]:
    """Yield the fields of each row; all have as many as there are names."""
    held: list[tuple[int, list[str], bool]] = []  # rows that do not fit; notes below the table?
    after_gap = False
    for line, fields in _without_last(_records(file), file.settings.footer):
        if _is_blank(fields, file.dialect):
            after_gap = True
        elif _is_comment(fields, file.dialect):
            progress.comments += 1
            after_gap = after_gap or _is_rule(fields)
        elif (row := _fitted(fields, file.dialect)) is None:
            held.append((line, fields, after_gap))
            if len(held) > MOST_FOOTER:
                raise _ragged(file, *held[0][:2])
        else:
            if held:
                raise _ragged(file, *held[0][:2])
            after_gap = False
            yield row
    _check_notes(file, held, progress)


def _records(file: TextFile) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of its last line; [] for a blank line."""
    dialect, first = file.dialect, file.dialect.lines + 1
    with file.open() as text:
        lines = chain(with_blanks(text, dialect.separator), [END])
        reader = csv.reader(lines, delimiter=dialect.separator, skipinitialspace=True)
        try:
            for fields in reader:
                last = dialect.lines + reader.line_num
                if fields == [END]:
                    return
                if fields and fields[-1].endswith(END):
                    break
                yield last, without_last_blank(fields) if dialect.separator == " " else fields
                first = last + 1
        except csv.Error as error:
            raise MlrunError(f"{file.path} cannot be read as CSV: {error}") from None
    raise MlrunError(
        f"{file.path} cannot be read as CSV: a quote that opens in line {first} never closes"
    )


def _without_last(
    records: Iterable[tuple[int, list[str]]], number: str | int
) -> Iterator[tuple[int, list[str]]]:
    """Leave out the last `number` records, not counting blank lines."""
    if not isinstance(number, int):
        yield from records
        return
    filled = (record for record in records if record[1])
    held = deque(islice(filled, number))
    for record in filled:
        held.append(record)
        yield held.popleft()


def _is_blank(fields: Sequence[str], dialect: Dialect) -> bool:
    """Whether a line has no field; in a table of one column, one of blanks is an empty row."""
    return not fields or (len(fields) == 1 < dialect.width and not fields[0].strip())


def _is_comment(fields: Sequence[str], dialect: Dialect) -> bool:
    marked = fields[0].lstrip().startswith(dialect.comments) or _is_rule(fields)
    return marked and (dialect.comments_always or _fitted(fields, dialect) is None)


def _is_rule(fields: Sequence[str]) -> bool:
    return RULE.fullmatch("".join(fields).strip()) is not None


def _fitted(fields: Sequence[str], dialect: Dialect) -> Sequence[str] | None:
    """Return one field per name; None if there are more or fewer."""
    number = len(dialect.names)
    surplus = fields[number:]
    fits = number <= len(fields) <= dialect.width and not any(f.strip() for f in surplus)
    return fields[:number] if fits else None


def _check_notes(
    file: TextFile, held: Sequence[tuple[int, list[str], bool]], progress: Progress
) -> None:
    """Raise an error unless the rows are notes below the table."""
    for line, fields, after_gap in held:
        only_first = bool(fields[0].strip()) and not any(field.strip() for field in fields[1:])
        known = is_note(fields[0].strip(), file.dialect.kinds[0], after_gap=after_gap)
        if file.settings.footer == NONE or not only_first or not (known or progress.footer):
            raise _ragged(file, line, fields)
        progress.footer.append(fields[0].strip())


def _ragged(file: TextFile, line: int, fields: Sequence[str]) -> MlrunError:
    width, number = len(fields), len(file.dialect.names)
    has = f"the header has {number}" if file.dialect.has_header else f"the table has {number}"
    escaped = any('\\"' in field for field in fields)
    hint = '; write a quote within quotes as "", not as \\"' if escaped else ""
    return MlrunError(
        f"{file.path}, line {line}: {width} field{'s' if width != 1 else ''}, but {has}{hint}"
    )
