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
SHORT = 9  # characters; a question is longer
MOST_BELOW = 3  # rows between the header and the data
LOOKED_AT = 200
ROLES = {"class", "meta", "ignore", "i", "m", "c"}  # of Orange's columns
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
    if not any(columns) or header_is_certain(first, rows, decimal):
        return False
    each = [*zip(first, above, kinds, columns, strict=True)]
    if any(over == kind and kind in (NUMBER, DATE) for _, over, kind, _ in each):
        numbers = [field.strip() for field, over, *_ in each if over == NUMBER]
        below = [cell for _, over, _, column in each if over == NUMBER for cell in column]
        return not (_count_evenly(numbers) or _are_years(numbers, below))
    return _occur_below(first, columns)


def header_is_certain(first: Sequence[str], rows: Rows, decimal: str) -> bool:
    """Whether the row has a text above a column of numbers; it may be repeated below."""
    columns = _columns([row for row in rows if [*row] != [*first]], len(first))
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


def rows_below_header(rows: Rows, decimal: str) -> int:
    """Return how many rows below the header are not data: units, types, questions, a rule.

    Args:
        rows: the rows below the header, at least one.
        decimal: the decimal separator.
    """
    for number, row in enumerate(rows[:3]):
        if sum(field.lstrip().startswith('{"ImportId"') for field in row) > len(row) / 2:
            return number + 1  # of a Qualtrics survey, below the questions
        if number and _are_roles(row):
            return number + 1  # of Orange, below the types
    number = int(_are_questions(rows[0], rows[1:]))
    while number < MOST_BELOW and number < len(rows) and _is_no_data(rows, number, decimal):
        number += 1
    return number


def _is_no_data(rows: Rows, at: int, decimal: str) -> bool:
    row, below = rows[at], rows[at + 1 : at + 1 + LOOKED_AT]
    if is_rule(row) or is_units(row, below, decimal):
        return True
    first = [r[0] for r in below if r]  # pandas writes the name of the index alone in a row
    alone = bool(row[0].strip()) and not any(field.strip() for field in row[1:]) and len(row) > 1
    index = column_kind(first, decimal) in (NUMBER, DATE) and len(below) > 1
    return alone and index and kind_of(row[0], decimal) == TEXT


def _are_questions(row: Sequence[str], below: Rows) -> bool:
    """Whether a row has the questions of a survey, above answers."""
    asked = [at for at, field in enumerate(row) if "?" in field and len(field) > SHORT]
    answers = [r[at] for r in below for at in asked if at < len(r)]
    no_question = sum("?" not in answer for answer in answers) >= 0.9 * len(answers)
    return len(asked) > 1 and 2 * len(asked) >= len(row) and bool(answers) and no_question


def _are_roles(row: Sequence[str]) -> bool:
    filled = {field.strip() for field in row if field.strip()}
    return bool(filled & {"class", "meta"}) and filled <= ROLES


def is_rule(fields: Sequence[str]) -> bool:
    """Whether a row below the header has nothing but lines of dashes."""
    filled = [field.strip() for field in fields if field.strip()]
    return bool(filled) and all(re.fullmatch(r":?-{2,}:?|={2,}", field) for field in filled)


def joined_names(upper: Sequence[str], lower: Sequence[str]) -> list[str] | None:
    """Return the names of a header of two rows, or None if the upper one names no groups.

    A group is a name with empty fields at its right that have names below.
    """
    fields = [*zip(upper, lower, strict=False)]
    gaps = [not above.strip() and bool(below.strip()) for above, below in fields]
    if len(upper) != len(lower) or not any(gaps):
        return None
    names, group = [], ""
    for at, (above, below) in enumerate(fields):
        group = above.strip() or group
        in_group = any(gaps[at : at + 1]) or any(gaps[at + 1 : at + 2])
        names.append(f"{group} {below.strip()}".strip() if in_group else above.strip())
    return names


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
