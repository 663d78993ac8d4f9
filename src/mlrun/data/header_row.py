"""Whether a row is a header, data, or the units of the columns."""

import re
from collections.abc import Sequence
from itertools import pairwise

from mlrun.data.cell_kinds import DATE, NUMBER, TEXT, column_kind, kind_of

Rows = Sequence[Sequence[str]]
UNIT = re.compile(
    r"\(.{1,12}\)|\[.{1,12}\]|%|°[CF]?|[munkMG]?(?:m|g|s|W|V|A|Pa|Hz|J|L|l)|cm|min|hours?|days?"
    r"|years?|km/h|m/s|kg|t|USD|EUR|€|\$|usd|eur|in|ft|lb|oz|mph|ppm|[a-z]{1,3}/[a-z]{1,4}\d?",
)
LONGEST_UNIT = 15
YEAR = re.compile(r"(?:19|20)\d\d")


def is_data(first: Sequence[str], rows: Rows, decimal: str) -> bool:
    """Whether the first row of a file is data and no header.

    A text above numbers is a name. A number above numbers is data, unless the numbers count
    evenly, like 0, 1, 2, or are years above other numbers. A row of texts is data if most of
    them occur below.
    """
    columns = _columns(rows, len(first))
    kinds = [column_kind(column, decimal) for column in columns]
    above = [kind_of(field, decimal) for field in first]
    if not any(columns) or _names_above_numbers(first, above, columns, kinds):
        return False
    each = [*zip(first, above, kinds, columns, strict=True)]
    if any(over == kind and kind in (NUMBER, DATE) for _, over, kind, _ in each):
        numbers = [field.strip() for field, over, *_ in each if over == NUMBER]
        below = [cell for _, over, _, column in each if over == NUMBER for cell in column]
        return not (_count_evenly(numbers) or _are_years(numbers, below))
    return _occur_below(first, columns)


def header_is_certain(first: Sequence[str], rows: Rows, decimal: str) -> bool:
    """Whether the row has a text above a column of numbers."""
    columns = _columns(rows, len(first))
    kinds = [column_kind(column, decimal) for column in columns]
    above = [kind_of(field, decimal) for field in first]
    return _names_above_numbers(first, above, columns, kinds)


def is_units(first: Sequence[str], rows: Rows, decimal: str) -> bool:
    """Whether a row below the header has units: short texts above all columns of numbers."""
    columns = _columns(rows, len(first))
    kinds = [column_kind(column, decimal) for column in columns]
    over = [f.strip() for f, kind in zip(first, kinds, strict=True) if kind == NUMBER]
    texts = [f for f in over if kind_of(f, decimal) == TEXT and len(f) <= LONGEST_UNIT]
    if len(rows) < 2 or len(texts) * 2 < len(over) or not texts:
        return False
    if any(kind_of(f, decimal) in (NUMBER, DATE) for f in first):
        return False
    if any(f.strip() in column for f, column in zip(first, columns, strict=True) if f.strip()):
        return False
    return len(texts) > 1 or bool(UNIT.fullmatch(texts[0]))


def is_rule(fields: Sequence[str]) -> bool:
    """Whether a row below the header has nothing but lines of dashes."""
    filled = [field.strip() for field in fields if field.strip()]
    return bool(filled) and all(re.fullmatch(r":?-{2,}:?|={2,}", field) for field in filled)


def _columns(rows: Rows, width: int) -> list[list[str]]:
    same = [row for row in rows if len(row) == width]
    return [[row[i].strip() for row in same] for i in range(width)]


def _names_above_numbers(
    first: Sequence[str], above: Sequence[str], columns: Rows, kinds: Sequence[str]
) -> bool:
    """Whether a text that does not occur below stands above numbers or dates."""
    each = zip(first, above, columns, kinds, strict=True)
    return any(
        over == TEXT and kind in (NUMBER, DATE) and field.strip() not in column
        for field, over, column, kind in each
    )


def _are_years(fields: Sequence[str], below: Sequence[str]) -> bool:
    years = all(YEAR.fullmatch(field) for field in fields)
    return years and bool(fields) and not any(YEAR.fullmatch(cell) for cell in below)


def _count_evenly(fields: Sequence[str]) -> bool:
    if len(fields) < 3 or not all(re.fullmatch(r"\d+(\.\d+)?", field) for field in fields):
        return False
    numbers = [float(field) for field in fields]
    steps = {round(b - a, 6) for a, b in pairwise(numbers)}
    return len(steps) == 1 and min(steps) > 0


def _occur_below(first: Sequence[str], columns: Rows) -> bool:
    """Whether most of the texts occur below, in their own columns."""
    fields = [field.strip() for field in first]
    found = [f in column for f, column in zip(fields, columns, strict=True) if f]
    return len(found) == len(fields) and sum(found) > len(found) / 2
