"""Dates as numbers: year, month, day, weekday and hour.

Exported models come with the source of this module; it needs only NumPy and pandas.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.number_format import INVISIBLE

ISO = "ISO8601"
ISO_DAY = r"\s*\d{4}-\d{2}-\d{2}"
_DAYS = (
    *("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%m-%d-%Y", "%b %d, %Y", "%d %b %Y"),
    *("%b %d %Y", "%d-%b-%Y", "%B %d, %Y", "%d %B %Y", "%Y年%m月%d日"),
    *("%d.%m.%y", "%m/%d/%y", "%d/%m/%y", "%d-%b-%y"),
)
_TIMES = (" %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_MONTHS = ("%b %Y", "%b-%Y", "%B %Y", "%m/%Y")
DIGITS = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # by their number
FORMATS = (
    *(ISO, *(day + time for day in _DAYS for time in ("", *_TIMES)), *_MONTHS),
    *DIGITS.values(),
)
PARTS = ("year", "month", "day", "weekday", "hour")  # Monday is 0
VERSION = "%d.%m.%y"
FEWEST_DIGITS = 3  # 1-Jan-99
FEW, LOOKED_AT = 20, 1000  # texts or numbers that rule out most formats


def date_format(texts: NDArray[np.object_]) -> str | None:
    """Return the first format in which all (n,) distinct texts are dates, or None."""
    if not len(texts) or not all(map(_may_be_date, texts[:FEW])):
        return None
    fitting = (one for one in _likely(texts[0]) if _parsed(texts[:FEW], one).notna().all())
    found = next((one for one in fitting if _parsed(texts, one).notna().all()), None)
    other = None if found is None else other_order(texts, found)
    if found is None or other is None:
        return found
    days = {one: _parsed(texts, one).dt.day.nunique() for one in (found, other)}
    return other if days[other] == 1 < days[found] else found  # the first day of each month


def nearly_dates(texts: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return (n,) which of the distinct texts are dates of the format that most of them have."""
    few = [text for text in texts[:FEW] if _may_be_date(text)]
    if 2 * len(few) < len(texts[:FEW]) or not few:
        return np.zeros(len(texts), dtype=bool)
    best = max(_likely(few[0]), key=lambda one: _parsed(texts[:FEW], one).notna().sum())
    return _parsed(texts, best).notna().to_numpy()


def _likely(text: object) -> Iterator[str]:
    """Yield the formats to try for texts like this one."""
    yield ISO
    if ":" in str(text):
        yield from (day + time for day in _DAYS for time in _TIMES)
    else:
        yield from (*_DAYS, *_MONTHS)


def _may_be_date(text: object) -> bool:
    return sum(map(str.isdigit, str(text))) >= FEWEST_DIGITS


def other_order(texts: NDArray[np.object_], form: str) -> str | None:
    """Return the format with day and month exchanged if all texts are dates in it, too."""
    if "%m/%d" not in form and "%d/%m" not in form and "%d-%m" not in form:
        return None
    swapped = form.translate(str.maketrans("dm", "md"))
    return swapped if _parsed(texts, swapped).notna().all() else None


def digits_format(numbers: NDArray[np.float64]) -> str | None:
    """Return the format if all (n,) numbers, NaN apart, are dates such as 20240131, or None."""
    if _digits(numbers[:LOOKED_AT]) is None:  # as most columns
        return None
    form, distinct = _digits(numbers), np.unique(numbers[np.isfinite(numbers)])
    if form is None or len(distinct) < 2:
        return None
    texts = np.array([f"{number:.0f}" for number in distinct], dtype=object)
    return form if _parsed(texts, form).notna().all() else None


def _digits(numbers: NDArray[np.float64]) -> str | None:
    """Return the format if the numbers are whole and between the years 1800 and 2100."""
    known = numbers[np.isfinite(numbers)]
    if not len(known) or not known.min() >= 18000101 or (known != known.round()).any():
        return None
    length = len(f"{known.min():.0f}")
    fits = known.max() < 2101 * 10.0 ** (length - 4)
    return DIGITS.get(length) if fits else None


def date_part(cells: NDArray[Any], form: str, part: str) -> NDArray[np.float64]:
    """Return a part (see `PARTS`) of (n,) dates; NaN for what is none of this format or ISO's."""
    attribute = "day_of_week" if part == "weekday" else part
    numbers, distinct = pd.factorize(pd.Series(cells))  # a missing date is -1, the last one
    values: pd.Series = getattr(
        _parsed_or_iso(np.asarray(distinct, dtype=object), form).dt, attribute
    )
    found: NDArray[np.float64] = values.to_numpy(np.float64, na_value=np.nan)
    return np.append(found, np.nan)[numbers]


def _parsed_or_iso(texts: NDArray[np.object_], form: str) -> pd.Series:
    """Parse dates of a format; those that a program stores as dates, not as texts, are ISO's."""
    found = _parsed(texts, form)
    if form == ISO or not found.isna().any():
        return found
    days = pd.Series(texts, dtype=object).astype(str)
    iso = _parsed(days.where(days.str.match(ISO_DAY)).to_numpy(object), ISO)
    return found.fillna(iso.dt.tz_localize(None).astype(found.dtype))


def _parsed(texts: NDArray[np.object_], form: str) -> pd.Series:
    cells = pd.Series(texts, dtype=object).astype(str).str.translate(INVISIBLE).str.strip()
    if form in DIGITS.values():
        cells = cells.str.removesuffix(".0")  # of a number
    if form == VERSION:
        cells = cells.where(cells.str.len() >= 8)  # 1.2.10 is no date
    utc = form == ISO  # times with different zones
    cells = cells.str.removesuffix(" UTC") if utc else cells
    return pd.to_datetime(cells, format=form, errors="coerce", utc=utc)
