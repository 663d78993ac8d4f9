"""The separator of the fields and the one of decimals, chosen by the header and the rows."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mlrun.data.cell_kinds import NUMBER, TEXT, column_kind, decimal_of, kind_of
from mlrun.data.cells import AUTO, FileSettings

CANDIDATES = (",", ";", "\t", "|", " ")
BRACKETS = ("()", "[]", "{}")
DECIMALS = {"point": ".", "comma": ","}
LOOKED_AT = 60  # rows whose cells are judged
LIKELY = {" ": 0.9}  # blanks separate words, too
UNCLOSED = 0.5
NUMBERS_JOINED = re.compile(r"\d +[-+]?\d")


@dataclass(frozen=True)
class Record:
    """The fields of one row, with the numbers of its first and last line; the first is 1."""

    fields: list[str]
    first: int
    last: int


@dataclass(frozen=True)
class Delimiter:
    """A separator, the decimal separator between it, and the rows it gives."""

    separator: str
    decimal: str
    records: list[Record]
    score: float = 0.0


def choose_delimiter(lines: Sequence[str], settings: FileSettings, *, start: int) -> Delimiter:
    """Return the separator whose rows are the most regular, and whose cells are the cleanest.

    Args:
        lines: the first lines of the file with their ends, without comments above the header.
        settings: `separator` and `decimal` may decide.
        start: the number of lines before `lines`.
    """
    known = settings.separator != AUTO
    separators = [settings.separator_character] if known else [*CANDIDATES]
    found = [_judged(lines, separator, settings.decimal, start) for separator in separators]
    best = max(found, key=lambda one: one.score)
    return best if known or best.score > 0 else found[0]


def _judged(lines: Sequence[str], separator: str, decimal: str, start: int) -> Delimiter:
    records = split(lines, separator, start)
    rows = [record.fields for record in records]
    sign = decimal_of(rows[:LOOKED_AT], separator)  # judges the separator even if another is set
    found = Delimiter(separator, DECIMALS.get(decimal, sign), records)
    if not rows or (separator == " " and _has_tabs(lines)):
        return found
    return replace(found, score=_score(rows, separator, sign))


def _has_tabs(lines: Sequence[str]) -> bool:
    """Whether tabs, and not blanks, could separate the fields."""
    return 2 * sum(line.count("\t") for line in lines) > sum(line.count(" ") for line in lines)


def split(lines: Sequence[str], separator: str, start: int) -> list[Record]:
    """Return the rows that are not blank; [] if a quoted field is too long."""
    records, first = [], start + 1
    reader = csv.reader(with_blanks(lines, separator), delimiter=separator, skipinitialspace=True)
    try:
        for fields in reader:
            last = start + reader.line_num
            if separator == " ":
                fields = without_last_blank(fields)
            if len(fields) > 1 or any(field.strip() for field in fields):
                records.append(Record(fields, first, last))
            first = last + 1
    except csv.Error:
        return []
    return records


def with_blanks(lines: Iterable[str], separator: str) -> Iterable[str]:
    """Return the lines with tabs as blanks if runs of blanks separate the fields."""
    return (line.replace("\t", " ") for line in lines) if separator == " " else lines


def without_last_blank(fields: list[str]) -> list[str]:
    """Leave out the empty field that blanks at the end of a line give."""
    return fields[:-1] if len(fields) > 1 and not fields[-1] else fields


def usual_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the most frequent number of fields below the header; of equals the larger."""
    counts = Counter(len(row) for row in rows[1:] or rows)
    return max(counts, key=lambda width: (counts[width], width))


def _score(rows: Sequence[list[str]], separator: str, decimal: str) -> float:
    """Return 0 if there is one column; otherwise up to 1, more if the rows are regular."""
    width = usual_width(rows)
    same = [row for row in rows if len(row) == width]
    regular = len(same) / len(rows)
    body = same[1:][:LOOKED_AT] or same
    if width < 2 or (separator == " " and not _are_columns(rows, body, decimal)):
        return 0.0
    others = [sign for sign in CANDIDATES if sign not in (separator, " ")]
    cells = [cell for row in body for cell in row]
    clean = sum(_cleanness(cell, decimal, others) for cell in cells) / len(cells)
    score = regular**2 * (0.2 + 0.8 * clean) * (1 - 0.3 / width) * LIKELY.get(separator, 1.0)
    return score * UNCLOSED if any(_is_unclosed(name) for name in rows[0]) else score


def _are_columns(rows: Sequence[list[str]], body: Sequence[list[str]], decimal: str) -> bool:
    """Whether blanks separate columns and not words: half of the columns are numbers."""
    kinds = [column_kind(column, decimal) for column in zip(*body, strict=True)]
    header = len(rows[0]) + 1 >= len(kinds) or len(rows[0]) == 1
    regular = sum(1 for row in rows[1:] if len(row) == len(kinds)) >= 0.8 * (len(rows) - 1)
    return header and regular and kinds.count(NUMBER) * 2 >= len(kinds)


def _cleanness(cell: str, decimal: str, others: Sequence[str]) -> float:
    if kind_of(cell, decimal) != TEXT:
        return 1.0
    joined = any(sign in cell and f"{sign} " not in cell for sign in others)
    return 0.0 if joined or NUMBERS_JOINED.search(cell) else 0.9


def _is_unclosed(name: str) -> bool:
    return any(name.count(pair[0]) != name.count(pair[1]) for pair in BRACKETS)
