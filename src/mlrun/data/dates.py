"""Dates as numbers: year, month, day, weekday and hour.

Exported models come with the source of this module; it needs only NumPy and pandas.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ISO = "ISO8601"
ISO_DAY = r"\s*\d{4}-\d{2}-\d{2}"
_DAYS = ("%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%b %d, %Y", "%d %b %Y")
_TIMES = ("", " %H:%M", " %H:%M:%S")
FORMATS = (ISO, *(day + time for day in _DAYS for time in _TIMES))
PARTS = ("year", "month", "day", "weekday", "hour")  # Monday is 0


def date_format(texts: NDArray[np.object_]) -> str | None:
    """Return the first format in which all (n,) distinct texts are dates, or None."""
    if not len(texts) or not all(sum(map(str.isdigit, str(text))) >= 4 for text in texts[:20]):
        return None
    fitting = (one for one in FORMATS if _parsed(texts[:20], one).notna().all())
    return next((one for one in fitting if _parsed(texts, one).notna().all()), None)


def date_part(texts: NDArray[np.object_], form: str, part: str) -> NDArray[np.float64]:
    """Return a part (see `PARTS`) of (n,) dates; NaN for what is none of this format or ISO's."""
    attribute = "day_of_week" if part == "weekday" else part
    values: pd.Series = getattr(_parsed_or_iso(texts, form).dt, attribute)
    numbers: NDArray[np.float64] = values.to_numpy(np.float64, na_value=np.nan)
    return numbers


def _parsed_or_iso(texts: NDArray[np.object_], form: str) -> pd.Series:
    """Parse dates of a format; those that a program stores as dates, not as texts, are ISO's."""
    found = _parsed(texts, form)
    if form == ISO or not found.isna().any():
        return found
    days = pd.Series(texts, dtype=object).astype(str)
    iso = _parsed(days.where(days.str.match(ISO_DAY)).to_numpy(object), ISO)
    return found.fillna(iso.dt.tz_localize(None).astype(found.dtype))


def _parsed(texts: NDArray[np.object_], form: str) -> pd.Series:
    cells = pd.Series(texts, dtype=object)
    utc = form == ISO  # times with different zones
    return pd.to_datetime(cells.astype(str).str.strip(), format=form, errors="coerce", utc=utc)
