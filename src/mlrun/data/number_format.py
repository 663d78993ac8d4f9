"""How a column writes its numbers: decimal comma, thousands, currency, percent, words for gaps."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Words that mean a missing value in a column of numbers, in any case; `data.na_values` replaces
# them. In a column of texts they are texts: NA is a country, None a kind of garage.
MISSING_WORDS = (
    *("na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil", "missing"),
    *("?", "-", "--", "–", "—", ".", "…", "..."),
)
CURRENCIES = ("$", "€", "£", "¥", "₹", "₩", "₽", "US$", "USD", "EUR", "GBP", "CHF", "JPY", "CNY")
MINUS = "\u2212"
FLAGS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
_BLANKS = "[ \u00a0\u202f]"


@dataclass(frozen=True)
class NumberFormat:
    """The spelling of a column's numbers; the default is the plain one, 1234.5 or 1e-3."""

    decimal: str = "."
    thousands: str = ""  # empty, or the separator of groups of three digits
    symbols: str = (
        ""  # empty, currency or percent; a number of percent stays as written: 10 % is 10
    )
    flags: bool = False  # true and false, in any case, for 1 and 0

    def parse(self, texts: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return (n,) float64 for (n,) texts, with NaN for what is not such a number."""
        if self.flags:
            lowered = pd.Series(texts, dtype=object).map(_lower)
            return np.array([FLAGS.get(word, np.nan) for word in lowered], dtype=np.float64)
        if self == PLAIN:
            return _plain(texts)
        pattern = _pattern(self)
        return _plain(np.array([self._as_plain(text, pattern) for text in texts], dtype=object))

    def _as_plain(self, text: object, pattern: re.Pattern[str]) -> str | None:
        match = pattern.fullmatch(text) if isinstance(text, str) else None
        if match is None or (match["sign"] and match["inner"]):
            return None
        digits = re.sub(_BLANKS, "", match["number"]) if self.thousands == " " else match["number"]
        digits = digits.replace(self.thousands, "") if self.thousands else digits
        sign = "-" if "-" in (match["sign"] + match["inner"]).replace(MINUS, "-") else ""
        return sign + digits.replace(self.decimal, ".")

    @property
    def words(self) -> str:
        """Describe the format for people."""
        parts = [
            "true/false as 1/0" if self.flags else "",
            "decimal commas" if self.decimal == "," else "",
            f"thousands separated by '{self.thousands}'" if self.thousands else "",
            f"{self.symbols} signs" if self.symbols else "",
        ]
        return ", ".join(filter(None, parts)) or "plain numbers"

    def as_plain(self) -> dict[str, Any]:
        """Return the values for a contract."""
        return asdict(self)


PLAIN = NumberFormat()


def formats(decimal: str) -> Iterator[NumberFormat]:
    """Yield the formats to try for a column, the likeliest first.

    Args:
        decimal: the decimal separator of the file; the other one is tried after it.
    """
    yield NumberFormat(decimal)
    yield NumberFormat(flags=True)
    other = {".": ",", ",": "."}
    for symbols in ("", "currency", "percent"):
        for point in (decimal, other[decimal]):
            if symbols or point != decimal:
                yield NumberFormat(point, symbols=symbols)
            for thousands in (other[point], " ", "'"):
                yield NumberFormat(point, thousands, symbols)


def detect(texts: NDArray[np.object_], *, decimal: str) -> tuple[NumberFormat, float]:
    """Return the format that reads the most of these distinct texts, and the share it reads."""
    best, share = PLAIN, 0.0
    for candidate in formats(decimal) if len(texts) else ():
        read = float(np.isfinite(candidate.parse(texts)).mean())
        if read > share:
            best, share = candidate, read
        if share == 1:
            break
    return best, share


def missing_among(texts: NDArray[np.object_], words: Collection[str]) -> NDArray[np.bool_]:
    """Return (n,) whether each text is missing: None, NaN, empty, or one of `words` in any case."""
    lowered = pd.Series(texts, dtype=object).map(_lower)
    return (lowered.isna() | lowered.isin(["", *words])).to_numpy()


def without_missing(numbers: NDArray[np.float64], words: Collection[str]) -> NDArray[np.float64]:
    """Return the numbers with NaN for those that mean a missing value, like -999."""
    values = _plain(np.array([*words], dtype=object))
    codes = values[np.isfinite(values)]
    return np.where(np.isin(numbers, codes), np.nan, numbers) if len(codes) else numbers


def _lower(text: object) -> object:
    return text.strip().lower() if isinstance(text, str) else text


def _plain(texts: NDArray[np.object_]) -> NDArray[np.float64]:
    cells = pd.Series(texts, dtype=object)
    found: NDArray[np.float64] = pd.to_numeric(cells, errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    failed = np.flatnonzero(np.isnan(found)).tolist()
    minus = [at for at in failed if MINUS in str(texts[at])]
    if not minus:
        return found
    hyphens = cells.iloc[minus].str.replace(MINUS, "-")
    numbers = found.copy()
    numbers[minus] = pd.to_numeric(hyphens, errors="coerce")
    return numbers


@cache
def _pattern(form: NumberFormat) -> re.Pattern[str]:
    point = re.escape(form.decimal)
    separator = _BLANKS if form.thousands == " " else re.escape(form.thousands)
    groups = rf"[1-9]\d{{0,2}}(?:{separator}\d{{3}})+"
    whole = rf"{groups}|\d+" if form.thousands else r"\d+"
    number = rf"(?P<number>(?:{whole})(?:{point}\d*)?(?:[eE][+-]?\d+)?|{point}\d+)"
    sign, inner = rf"(?P<sign>[+\-{MINUS}]?)", rf"(?P<inner>[+\-{MINUS}]?)"
    if form.symbols == "currency":
        names = "|".join(map(re.escape, sorted(CURRENCIES, key=len, reverse=True)))
        return re.compile(rf"\s*{sign}\s*(?:{names})?\s*{inner}\s*{number}\s*(?:{names})?\s*")
    unit = r"\s*%" if form.symbols == "percent" else ""
    return re.compile(rf"\s*{sign}{inner}{number}{unit}\s*")


def format_of(values: Mapping[str, Any] | None) -> NumberFormat:
    """Rebuild a format from the values of `as_plain`; None: the plain one."""
    return NumberFormat(**values) if values else PLAIN
