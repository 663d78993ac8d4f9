"""Where the table stands among the first rows of a file: preamble, header, units, data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlrun.data.cell_kinds import DATE, NUMBER, column_kind, kind_of
from mlrun.data.cells import AUTO, NONE, FileSettings, counted, shortened
from mlrun.data.delimiter import CANDIDATES, Delimiter, Record, usual_width
from mlrun.data.findings import Finding
from mlrun.data.header_row import header_is_certain, is_data, joined_names, rows_below_header

MOST_PREAMBLE = 50  # rows above the header
LOOKED_AT = 200  # rows below it
MADE_UP = "c"  # c1, c2 …: names of columns in a file without a header


@dataclass(frozen=True)
class Layout:
    """The place and the shape of the table."""

    names: tuple[str, ...]  # as in the header; possibly empty or repeated
    width: int  # fields per row; those beyond the names are empty
    lines: int  # above the first row of data
    has_header: bool
    kinds: tuple[str, ...]  # of the columns, in the first rows
    findings: tuple[Finding, ...] = ()
    commented: bool = False  # the header is a comment


def find_layout(
    found: Delimiter, settings: FileSettings, *, commented: Record | None = None, skipped: int = 0
) -> Layout:
    """Return where the table stands.

    Args:
        found: the separator, and the rows of the first part of the file; at least one.
        settings: `header`, `units` and `skip_rows` may decide.
        commented: a comment line just above the rows that may be the header.
        skipped: the number of lines above the rows.
    """
    width = usual_width([record.fields for record in found.records])
    at = _start(found, settings, width)
    records = found.records[at:] or found.records[-1:]
    header, noted = _header(records, settings, commented, found.decimal, width)
    body = records[1:] if header is not None and header is not commented else records
    units = _units(body, settings, found.decimal) if header is not None else ()
    body = body[len(units) :]
    if header is not None and header is not commented:
        header, units, joined = _with_groups(header, units, found.records[max(0, at - 1) : at])
        noted += joined
    above_header = [r for r in found.records[:at] if header is None or r.first < header.first]
    names, width, fitted = _fitted(header, body, found, width)
    above = [record for record in (header, *units) if record is not None]
    lines = max([skipped, *(record.last for record in (*found.records[:at], *above))])
    kinds = tuple(_kinds(body, found.decimal, len(names)))
    findings = [*_preamble_finding(above_header), *noted, *_units_finding(units), *fitted]
    is_comment = header is not None and header is commented
    return Layout(
        tuple(names), width, lines, header is not None, kinds, tuple(findings), is_comment
    )


# --- the lines above the header -------------------------------------------------------------


def _start(found: Delimiter, settings: FileSettings, width: int) -> int:
    """Return the index of the header, or of the first row if there is none."""
    records = found.records
    if isinstance(settings.header, int) or settings.skip_rows != AUTO or width < 2:
        return 0
    full = [i for i, r in enumerate(records[:MOST_PREAMBLE]) if _is_full(r, width)]
    title = bool(full) and all(_is_title(record, width) for record in records[: full[0]])
    at = next((i for i in full[:1] if _heads(records[i:], width, found.decimal, data=title)), 0)
    if full and at == 0 and _last_filled(records[full[0]].fields) != width:
        others = (i for i in full if _is_sure(records[i:], width, found.decimal))
        at = next(others, 0)
    return at


def _preamble_finding(above: Sequence[Record]) -> list[Finding]:
    if not above:
        return []
    first = shortened(next((f for f in above[0].fields if f.strip()), ""))
    value = f"{counted(len(above), 'line')} above the table skipped ('{first}')"
    return [Finding("preamble", value, "data.skip_rows=0")]


def _is_full(record: Record, width: int) -> bool:
    filled = sum(1 for field in record.fields if field.strip())
    return filled > max(1, width // 2)


def _is_title(record: Record, width: int) -> bool:
    """Whether a row is one text, and no header whose names have another separator."""
    text = record.fields[0]
    return len(record.fields) == 1 < width - 1 and not any(
        text.count(sign) >= width - 1 for sign in CANDIDATES
    )


def _is_sure(records: Sequence[Record], width: int, decimal: str) -> bool:
    rows = [record.fields for record in records[1 : 1 + LOOKED_AT]]
    certain = header_is_certain(records[0].fields, rows, decimal)
    exact = _last_filled(records[0].fields) == width
    return certain and exact and _heads(records, width, decimal)


def _heads(records: Sequence[Record], width: int, decimal: str, *, data: bool = False) -> bool:
    """Whether the first of the rows is a header, or may be `data`, and nearly all rows fit."""
    header = records[0].fields
    header = header[: max(width, _last_filled(header))]  # without empty fields at the end
    rows = [record.fields for record in records[1 : 1 + LOOKED_AT]]
    while rows and sum(1 for field in rows[-1] if field.strip()) < 2:  # a note below the table
        rows.pop()
    same = [row for row in rows if len(row) == len(header)]
    fits = len(same) > 0 and len(same) >= 0.9 * len(rows)
    return fits and (data or not is_data(header, same, decimal))


# --- the header and the units ---------------------------------------------------------------


def _header(
    records: Sequence[Record],
    settings: FileSettings,
    commented: Record | None,
    decimal: str,
    width: int,
) -> tuple[Record | None, list[Finding]]:
    """Return the header, or None if the first row is data."""
    first, rows = records[0], [record.fields for record in records[1 : 1 + LOOKED_AT]]
    if isinstance(settings.header, int):
        return first, []
    auto = settings.header == AUTO and not header_is_certain(first.fields, rows, decimal)
    if auto and commented is not None and len(commented.fields) == width > 1:
        return commented, _commented_finding(commented)
    if settings.header == NONE:
        return None, []
    if is_data(first.fields, rows, decimal):
        value = f"none: line {first.last} is data, the columns are {MADE_UP}1, {MADE_UP}2 …"
        return None, [Finding("header", value, f"data.header={first.last}")]
    return first, _numbers_as_names(first, decimal)


def _commented_finding(record: Record) -> list[Finding]:
    if record.fields[0].startswith(("#", "%", "/", ";")):  # the first name has it, too
        return []
    return [Finding("header", f"the comment in line {record.last}", "data.header=none")]


def _numbers_as_names(header: Record, decimal: str) -> list[Finding]:
    names = [field for field in header.fields if kind_of(field, decimal) in (NUMBER, DATE)]
    if not names:
        return []
    value = f"line {header.last}, with numbers as names ({shortened(', '.join(names))})"
    return [Finding("header", value, "data.header=none")]


def _with_groups(
    header: Record, units: tuple[Record, ...], above: Sequence[Record]
) -> tuple[Record, tuple[Record, ...], list[Finding]]:
    """Join a header of two rows: merged cells above the names, or names below merged cells."""
    if units and (names := joined_names(header.fields, units[0].fields)):
        first, last, override = header.first, units[0].last, "data.units=none"
        units = units[1:]
    elif above and len({*header.fields}) < len(header.fields):  # names that repeat
        names = joined_names(above[0].fields, header.fields)
        first, last, override = above[0].first, header.last, f"data.header={header.last}"
    else:
        names = None
    if names is None:
        return header, units, []
    value = f"lines {first} to {last}, in two rows ('{shortened(names[-1])}')"
    finding = Finding("header", value, override)
    return replace(header, fields=names, first=first, last=last), units, [finding]


def _units(body: Sequence[Record], settings: FileSettings, decimal: str) -> tuple[Record, ...]:
    if not body or settings.units == NONE:
        return ()
    rows = [record.fields for record in body[: 1 + LOOKED_AT]]
    number = 1 if settings.units == "row" else rows_below_header(rows, decimal)
    return tuple(body[:number])


def _units_finding(units: Sequence[Record]) -> list[Finding]:
    if not units:
        return []
    first, last, text = units[0].first, units[-1].last, shortened(", ".join(units[0].fields))
    place = f"lines {first} to {last} are" if len(units) > 1 else f"line {last} is"
    return [Finding("units", f"{place} not data ({text})", "data.units=none")]


# --- the columns ----------------------------------------------------------------------------


def _fitted(
    header: Record | None, body: Sequence[Record], found: Delimiter, width: int
) -> tuple[list[str], int, list[Finding]]:
    """Return the names of the columns and the number of fields per row."""
    rows = [r.fields for r in body[:LOOKED_AT] if len(r.fields) == width]
    used = max((_last_filled(row) for row in rows), default=0)
    if header is None:
        names = [f"{MADE_UP}{i + 1}" for i in range(used or width)]
        return names, width, _empty_columns(width - len(names))
    names = [field.strip() for field in header.fields]
    if len(names) == width - 1 == used - 1 and _are_row_names(rows, found):
        return ["", *names], width, [Finding("row names", "the first column has no name")]
    named = max(_last_filled(names), used if used <= len(names) else 0) or len(names)
    regular = width >= named and (width <= len(names) or len(rows) > 1) and used <= named
    if not regular:
        return names, len(names), []
    return names[:named], width, _empty_columns(max(width, len(names)) - named)


def _last_filled(row: Sequence[str]) -> int:
    return max((i + 1 for i, field in enumerate(row) if field.strip()), default=0)


def _empty_columns(number: int) -> list[Finding]:
    if number < 1:
        return []
    value = f"{counted(number, 'column')} without a name or a value at the end left out"
    return [Finding("empty columns", value)]


def _are_row_names(rows: Sequence[Sequence[str]], found: Delimiter) -> bool:
    """R writes the names of rows in front of them, but no name above."""
    firsts = [row[0].strip() for row in rows]
    numbers = any(kind_of(first, found.decimal) == NUMBER for first in firsts)
    certain = found.separator in (" ", "\t") or not numbers
    return len(rows) >= 3 and certain and len(set(firsts)) == len(firsts)


def _kinds(body: Sequence[Record], decimal: str, number: int) -> list[str]:
    notes = number > 1  # rows with nothing but their first cell are no example
    rows = [
        r.fields
        for r in body[:LOOKED_AT]
        if len(r.fields) >= number and not (notes and _last_filled(r.fields) < 2)
    ]
    return [column_kind((row[i] for row in rows), decimal) for i in range(number)]
