"""Categories and class labels: texts as a file spells them, and which of them are the same.

Exported models come with the source of this module; it needs only NumPy and pandas.
"""

import math
import re
from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.number_format import INVISIBLE

WHOLE = re.compile(r"(-?\d+)\.0+")


def text_of(value: object, na_values: Collection[str] = ()) -> str | None:
    """Return a value as text, or None if it is missing; 3, 3.0 and "3" are equal.

    Args:
        value: text, a number or a boolean.
        na_values: words that mean a missing value, lower case, besides the empty cell.
    """
    words = spelled(value)
    if words is None or words.lower() in na_values:
        return None
    whole = WHOLE.fullmatch(words)
    return whole[1] if whole else words


def spelled(value: object) -> str | None:
    """Return the spelling of a value, without blanks around; None if it is missing."""
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).translate(INVISIBLE).strip() or None


def levels_of(column: pd.Series, na_values: Collection[str] = ()) -> list[str]:
    """Return the distinct values in their commonest spelling: numbers by value, then words.

    Values that `text_of` makes equal are one level: 2 and 2.0 are, 7 and 07 are not.
    """
    counts = column.value_counts(dropna=True)  # distinct spellings, the commonest first
    levels: dict[str, str] = {}
    for value in counts.index:
        key = text_of(value, na_values)
        if key is not None:
            levels.setdefault(key, str(spelled(value)))
    return [levels[key] for key in sorted(levels, key=by_value)]


def codes(
    column: pd.Series, levels: Sequence[str], na_values: Collection[str] = ()
) -> NDArray[np.float64]:
    """Return the index of each value in `levels`: (n,), len(levels) if unknown, NaN if missing."""
    code = {str(text_of(level)): float(number) for number, level in enumerate(levels)}
    for level in [level for level in code if level.lower() in ("true", "false")]:
        for variant in (level.lower(), level.upper(), level.title()):
            code.setdefault(variant, code[level])
    unknown = float(len(levels))
    numbers, values = pd.factorize(column)  # a missing value is -1, the last of `found`
    texts = [text_of(value, na_values) for value in values]
    found = [np.nan if text is None else code.get(text, unknown) for text in texts]
    return np.array([*found, np.nan])[numbers]


def by_value(text: str) -> tuple[bool, float, str]:
    """Sort key for levels and classes: numbers by value, then words."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return (False, number, text) if math.isfinite(number) else (True, 0.0, text)
