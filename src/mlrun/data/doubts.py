"""What a careful reader would ask about a table: codes for missing values, totals, spellings."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.categories import levels_of
from mlrun.data.column_kinds import Reading
from mlrun.data.findings import Findings
from mlrun.data.number_format import MISSING_WORDS

NINES = re.compile(r"99+(\.9+)?")
TOTAL = re.compile(
    r"(grand |sub)?totale?s?|sum|summe|gesamt|insgesamt|suma|somme|totaal|итого|всего|合计|总计",
    re.IGNORECASE,
)
MOST_LISTED = 3
MOST_COMPARED = 200_000  # rows of a table whose numbers are looked at
FEWEST_NAMES = 10
FEWEST_OTHERS = 3  # different numbers besides a code


def report(
    table: pd.DataFrame,
    readings: Mapping[str, Reading],
    *,
    categorical: Sequence[str],
    left_out: Sequence[str],
    na_values: Collection[str],
    told: Findings,
) -> None:
    """Report what is odd about the columns.

    Args:
        table: the feature columns.
        readings: column → how its cells are read.
        categorical: those with categories.
        left_out: names, free text and empty columns.
        na_values: words that mean a missing value among texts.
        told: where to add what is reported.
    """
    report_others(readings, [*categorical, *left_out], told)
    report_names(table, [name for name in categorical if name in readings], told)
    levels = {name: levels_of(table[name], na_values) for name in categorical}
    for name in categorical:
        report_spellings(name, levels[name], told)
    report_words(table, levels, told)
    if len(table) <= MOST_COMPARED:
        report_codes(table.drop(columns=[*categorical, *left_out], errors="ignore"), told)


def report_others(readings: Mapping[str, Reading], columns: Iterable[str], told: Findings) -> None:
    """Report the columns that are numbers or dates for the most part, but not in every cell."""
    for name in columns:
        if name in readings and (others := readings[name].others) is not None:
            told.add(name, f"texts, because {others.text}")


def report_names(table: pd.DataFrame, columns: Iterable[str], told: Findings) -> None:
    """Report categories of which most stand in one row; those of a long table are left out."""
    counts = {name: table[name].nunique() for name in columns}
    found = {
        n: count for n, count in counts.items() if count >= max(FEWEST_NAMES, 0.8 * len(table))
    }
    if found:
        listed = _listed([f"'{name}' ({count})" for name, count in found.items()])
        value = f"nearly another text in each of the {len(table)} rows: {listed}"
        told.add("names", value, f"data.drop=[{next(iter(found))}]")


def report_codes(table: pd.DataFrame, told: Findings) -> None:
    """Report numbers like -999 that stand far from the others and may mean a missing value."""
    found: dict[float, list[str]] = defaultdict(list)
    for name in table.select_dtypes("number").columns:
        values = table[name].to_numpy(np.float64, na_value=np.nan)
        for code in codes_among(values[np.isfinite(values)]):
            found[code].append(f"'{name}' ({int((values == code).sum())})")
    for code, columns in found.items():
        text, listed = f"{code:.15g}", _listed(columns)
        value = f"a number in {listed}, far from the others; a code for a missing value?"
        told.add(text, value, f"data.na_values=[{text}]")


def codes_among(values: NDArray[np.float64]) -> list[float]:
    """Return the least or the largest value if it repeats and may be a code for a missing one.

    It is at most -9 while no other value is negative; or it is farther from the others than they
    are from each other, and at most -9 or written in nines.
    """
    return [code for code in _ends(values) if _is_code(code, values)]


def _ends(values: NDArray[np.float64]) -> list[float]:
    if not len(values):
        return []
    least, largest = float(values.min()), float(values.max())
    ends = [least] if least <= -9 else []
    return [*ends, largest] if NINES.fullmatch(f"{largest:.15g}") else ends


def _is_code(code: float, values: NDArray[np.float64]) -> bool:
    others = values[values != code]
    if len(values) - len(others) < 2 or len(np.unique(others[:1000])) < FEWEST_OTHERS:
        return False
    low, high = float(others.min()), float(others.max())
    if code.is_integer() and code <= -9 and low >= 0:
        return True
    nines = NINES.fullmatch(f"{abs(code):.15g}") is not None
    return nines and min(abs(code - low), abs(code - high)) > high - low


def report_target(table: pd.DataFrame, name: str, classes: Sequence[str], told: Findings) -> None:
    """Report what is odd about the classes of a target; nothing of quantities."""
    report_spellings(name, classes, told)
    report_words(table, {name: classes}, told)


def report_total(table: pd.DataFrame, told: Findings) -> None:
    """Report a last row that seems to be the total of the others."""
    if len(table) < 2:
        return
    for name, cell in table.iloc[-1].items():
        if isinstance(cell, str) and TOTAL.fullmatch(cell.strip(" :")):
            if not (table[name].iloc[:-1] == cell).any():
                value = f"the last row seems to be a total (column '{name}': '{cell}')"
                told.add("total", value, "data.footer=1")
            return


def report_spellings(name: str, levels: Sequence[str], told: Findings) -> None:
    """Report levels of a category, or classes, that differ only in case or blanks."""
    alike: dict[str, list[str]] = defaultdict(list)
    for level in levels:
        alike[" ".join(level.casefold().split())].append(level)
    pairs = [f"'{same[0]}' and '{same[1]}'" for same in alike.values() if same[1:]]
    if pairs:
        told.add(name, f"{_listed(pairs)} differ only in case or blanks; they stay different")


def report_words(table: pd.DataFrame, levels: Mapping[str, Sequence[str]], told: Findings) -> None:
    """Report words like NA and ? that are levels of a category, or classes.

    Args:
        table: the columns of `levels`.
        levels: column → its levels or classes.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name, own in levels.items():
        for level in own:
            if level.lower() in MISSING_WORDS:
                found[level].append(f"'{name}' ({int((table[name] == level).sum())})")
    for word, columns in found.items():
        value = f"a text like others in {_listed(columns)}; a missing value?"
        told.add(f"'{word}'", value, f"data.na_values=[{word}]")


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:MOST_LISTED]) + (" …" if texts[MOST_LISTED:] else "")
