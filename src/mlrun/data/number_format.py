"""How a column writes its numbers: decimal comma, thousands, currency, percent, words for gaps."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Words that mean a missing value in a column of numbers, in any case; `data.na_values` replaces
# them. In a column of texts they are texts: NA is a country, None a kind of garage.
MISSING_WORDS = (
    *("na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null", "(null)", "\\n", "none", "nil"),
    *("missing", "?", "-", "--", "–", "—", ".", "..", "…", "...", ":"),
    *("#div/0!", "#value!", "#ref!", "#name?", "#num!"),
)
CURRENCIES = (
    *("$", "€", "£", "¥", "₹", "₩", "₽", "₺", "US$", "R$", "A$", "C$", "HK$", "Rs.", "Rs", "kr"),
    *("USD", "EUR", "GBP", "CHF", "JPY", "CNY", "BRL", "INR", "AUD", "CAD", "PLN", "SEK", "NOK"),
)
MINUS = "\u2212"
# Byte order marks within a file, blanks without width, and the end of a file of DOS.
INVISIBLE = str.maketrans("", "", "\ufeff\u200b\u200e\x1a")
_SIGNS = INVISIBLE | {ord(minus): "-" for minus in (MINUS, "\u2013", "\uff0d")}
for zero in (0xFF10, 0x0660, 0x06F0):  # digits of East Asia, Arabic and Persian
    _SIGNS |= {zero + digit: str(digit) for digit in range(10)}
SAME = {"US$": "$", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CNY": "¥"}
FLAGS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0}
BRACKETS, BEHIND = "(5)", "5-"  # negative numbers of accountants
LONGEST_UNIT = 15
SAMPLE = 1000  # texts that tell what may be a format
_BLANKS = "[ \u00a0\u202f\u2009]"


@dataclass(frozen=True)
class NumberFormat:
    """The spelling of a column's numbers; the default is the plain one, 1234.5 or 1e-3."""

    decimal: str = "."
    thousands: str = ""  # empty, or the separator of groups of three digits
    symbols: str = (
        ""  # empty, currency or percent; a number of percent stays as written: 10 % is 10
    )
    flags: bool = False  # true and false, in any case, for 1 and 0
    negative: str = ""  # empty, or how it writes -5: BRACKETS or BEHIND
    unit: str = ""  # the text behind every number

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
        if not isinstance(text, str):
            return None
        amount, is_negative = self._unsigned(text.translate(_SIGNS).strip())
        match = pattern.fullmatch(amount)
        signs = match["sign"] + match["inner"] + "-" * is_negative if match else "--"
        if match is None or len(signs) > 1:
            return None
        digits = re.sub(_BLANKS, "", match["number"]) if self.thousands == " " else match["number"]
        digits = digits.replace(self.thousands, "") if self.thousands else digits
        return signs.strip("+") + digits.replace(self.decimal, ".")

    def _unsigned(self, text: str) -> tuple[str, bool]:
        """Return the text without the brackets or the minus behind it, and whether it had them."""
        if self.negative == BRACKETS and (match := re.fullmatch(r"([^(]*)\(([^()]+)\)", text)):
            return match[1] + match[2], True
        if self.negative == BEHIND and text.endswith("-"):
            return text[:-1], True
        return text, False

    @property
    def words(self) -> str:
        """Describe the format for people."""
        parts = [
            "true/false as 1/0" if self.flags else "",
            "decimal commas" if self.decimal == "," else "",
            f"thousands separated by '{self.thousands}'" if self.thousands else "",
            f"{self.symbols} signs" if self.symbols else "",
            f"unit '{self.unit}'" if self.unit else "",
            f"{self.negative} is -5" if self.negative else "",
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
    best, share = _best(formats(decimal), texts)
    for oddity in _oddities(texts[:SAMPLE]) if share < 1 else ():
        changed = (replace(form, **oddity) for form in formats(decimal))
        best, share = max((best, share), _best(changed, texts), key=lambda one: one[1])
    return best, share


def _best(
    candidates: Iterable[NumberFormat], texts: NDArray[np.object_]
) -> tuple[NumberFormat, float]:
    best, share = PLAIN, 0.0
    for candidate in candidates if len(texts) else ():
        if len(texts) > SAMPLE and not np.isfinite(candidate.parse(texts[:SAMPLE])).any():
            continue  # most columns of texts, soon
        read = float(np.isfinite(candidate.parse(texts)).mean())
        if read > share:
            best, share = candidate, read
        if share == 1:
            break
    return best, share


def _oddities(texts: NDArray[np.object_]) -> list[dict[str, Any]]:
    """Return the fields of a format that these texts suggest."""
    words = [str(text).translate(_SIGNS).strip() for text in texts]
    behind = [word for word in words if re.search(r"\d-$", word)]
    found: list[dict[str, Any]] = []
    if len({word.endswith(")") for word in words}) == 2:  # not a column of (1), (2)
        found.append({"negative": BRACKETS})
    if behind and all(re.search(r"\d\d-$", word) for word in behind):  # 2- may be a school grade
        found.append({"negative": BEHIND})
    ends = [match[1] for word in words if (match := re.search(r"\d\s*([^\d\s)-]\D*)$", word))]
    unit, count = Counter(ends).most_common(1)[0] if ends else ("", 0)
    known = unit in (*CURRENCIES, "%", ".", ",") or len(unit) > LONGEST_UNIT
    return found if known or count < max(2, 0.9 * len(words)) else [*found, {"unit": unit}]


def currencies_among(texts: NDArray[np.object_]) -> list[str]:
    """Return the different currencies of texts that are money."""
    signs = {re.sub(r"[\d\s.,'()+-]", "", str(text).translate(_SIGNS)) for text in texts}
    return sorted({SAME.get(sign, sign) for sign in signs} - {""})


def missing_among(texts: NDArray[np.object_], words: Collection[str]) -> NDArray[np.bool_]:
    """Return (n,) whether each text is missing: None, NaN, empty, or one of `words` in any case."""
    lowered = pd.Series(texts, dtype=object).map(_lower)
    return (lowered.isna() | lowered.isin(["", *words])).to_numpy()


def without_missing(numbers: NDArray[np.float64], words: Collection[str]) -> NDArray[np.float64]:
    """Return the numbers with NaN for those that mean a missing value, like -999."""
    codes = _codes(tuple(words))
    return np.where(np.isin(numbers, codes), np.nan, numbers) if len(codes) else numbers


@cache
def _codes(words: tuple[str, ...]) -> NDArray[np.float64]:
    values = _plain(np.array(words, dtype=object))
    return values[np.isfinite(values)]


def _lower(text: object) -> object:
    return text.translate(INVISIBLE).strip().lower() if isinstance(text, str) else text


def _plain(texts: NDArray[np.object_]) -> NDArray[np.float64]:
    cells = pd.Series(texts, dtype=object)
    found: NDArray[np.float64] = pd.to_numeric(cells, errors="coerce").to_numpy(
        np.float64, na_value=np.nan
    )
    failed = [at for at in np.flatnonzero(np.isnan(found)).tolist() if isinstance(texts[at], str)]
    spelled = [texts[at].translate(_SIGNS).strip() for at in failed]
    changed = [(at, text) for at, text in zip(failed, spelled, strict=True) if text != texts[at]]
    if not changed:
        return found
    numbers, (places, cleaned) = found.copy(), zip(*changed, strict=True)
    numbers[[*places]] = pd.to_numeric(pd.Series(cleaned, dtype=object), errors="coerce")
    return numbers


@cache
def _pattern(form: NumberFormat) -> re.Pattern[str]:
    point = re.escape(form.decimal)
    separator = _BLANKS if form.thousands == " " else re.escape(form.thousands)
    groups = rf"[1-9]\d{{0,2}}(?:{separator}\d{{3}})+"
    if form.thousands == ",":  # 12,34,567 of India
        groups = rf"{groups}|[1-9]\d?(?:,\d\d)+,\d{{3}}"
    whole = rf"{groups}|\d+" if form.thousands else r"\d+"
    number = rf"(?P<number>(?:{whole})(?:{point}\d*)?(?:[eE][+-]?\d+)?|{point}\d+)"
    sign, inner = r"(?P<sign>[+-]?)", r"(?P<inner>[+-]?)"
    if form.symbols == "currency":
        names = "|".join(map(re.escape, sorted(CURRENCIES, key=len, reverse=True)))
        return re.compile(rf"\s*{sign}\s*(?:{names})?\s*{inner}\s*{number}\s*(?:{names})?\s*")
    unit = re.escape("%" if form.symbols == "percent" else form.unit)
    return re.compile(rf"\s*{sign}{inner}{number}\s*{unit}\s*")


def format_of(values: Mapping[str, Any] | None) -> NumberFormat:
    """Rebuild a format from the values of `as_plain`; None: the plain one."""
    return NumberFormat(**values) if values else PLAIN
