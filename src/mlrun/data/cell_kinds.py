"""What a cell looks like: a missing value, a number, a date or a text. For detection only."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

MISSING, NUMBER, DATE, TEXT = "missing", "number", "date", "text"
MISSING_WORDS = frozenset(
    ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing")
)
MONEY = r"(?:US|HK|R|A|C)?\$|[€£¥₹₩₽₺]|Rs\.?|[A-Z]{3}"
TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?:Z| ?[+-]\d{2}:?\d{2})?"
DATES = re.compile(
    rf"(?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\2(?:\d{{4}}|\d{{2}}))"
    rf"(?:[T ]{TIME})?|{TIME}"
)


def _number(decimal: str, thousands: str) -> re.Pattern[str]:
    digits = rf"(?:\d{{1,3}}(?:[{thousands}]\d{{3}})+|\d+)(?:{decimal}\d*)?|{decimal}\d+"
    power = r"(?:[eE][+-]?\d+)?"
    plain = rf"[+-]?(?:(?:{MONEY}) ?)?[+-]?(?:{digits}){power}(?: ?(?:%|{MONEY}))?"
    return re.compile(rf"{plain}|\({plain}\)|[+-]?inf(?:inity)?")


NUMBERS = {".": _number(r"\.", ", '\u00a0\u202f"), ",": _number(",", ". '\u00a0\u202f")}


@lru_cache(maxsize=2**16)  # detection looks at the same cells several times
def kind_of(cell: str, decimal: str) -> str:
    """Return MISSING, NUMBER, DATE or TEXT."""
    cell = cell.strip()
    if cell.lower() in MISSING_WORDS:
        return MISSING
    if NUMBERS[decimal].fullmatch(cell):
        return NUMBER
    return DATE if DATES.fullmatch(cell) else TEXT


def column_kind(cells: Iterable[str], decimal: str) -> str:
    """Return the kind of at least 80% of the cells that are not missing; otherwise TEXT."""
    kinds = [kind for kind in (kind_of(cell, decimal) for cell in cells) if kind != MISSING]
    if not kinds:
        return MISSING
    for kind in (NUMBER, DATE):
        if kinds.count(kind) >= 0.8 * len(kinds):
            return kind
    return TEXT


def decimal_of(rows: Sequence[Sequence[str]], separator: str) -> str:
    """Return the decimal separator that the cells use.

    1,234 may be either; it counts as a decimal comma only between semicolons and if no cell
    decides.
    """
    cells = [cell.strip() for row in rows for cell in row if "," in cell or "." in cell]
    sure = {sign: sum(1 for cell in cells if _decides(cell, sign)) for sign in ".,"}
    if sure["."] or sure[","]:
        return "," if sure[","] > sure["."] else "."
    unsure = any(NUMBERS[","].fullmatch(cell) and cell.count(",") == 1 for cell in cells)
    return "," if unsure and separator == ";" else "."


def example_of_doubt(rows: Sequence[Sequence[str]]) -> str | None:
    """Return a cell like 1.234 if no cell decides whether a point stands between thousands."""
    cells = [cell.strip() for row in rows for cell in row if "," in cell or "." in cell]
    if any(_decides(cell, sign) for cell in cells for sign in ".,"):
        return None
    return next((cell for cell in cells if "." in cell and NUMBERS[","].fullmatch(cell)), None)


@lru_cache(maxsize=2**16)
def _decides(cell: str, sign: str) -> bool:
    """Whether `sign` cannot stand between thousands, as it could in 1,234."""
    if cell.count(sign) != 1 or not NUMBERS[sign].fullmatch(cell):
        return False
    before, after = re.split(rf"[{sign}]", cell)
    whole, decimals = _digits(before[::-1]), _digits(after)
    mixed = "." in before or "," in before
    return mixed or len(decimals) != 3 or len(whole) in (0, 4) or before[-len(whole) :][:1] == "0"


def _digits(text: str) -> str:
    return re.match(r"\d{0,4}", text)[0]  # type: ignore[index]
