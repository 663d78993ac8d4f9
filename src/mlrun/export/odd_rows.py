"""A table in the spellings that people's files have, to check an exported model on."""

import csv
import io
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from mlrun.data.dates import ISO
from mlrun.data.number_format import BRACKETS, NumberFormat, format_of

ROWS = 1024
UNKNOWN = "no such level"


def odd_table(contract: Mapping[str, Any], examples: Tensor) -> str:
    """Return a CSV file with padded, odd, missing and unknown cells.

    Args:
        contract: of a table model.
        examples: (n, columns) raw rows of the model's validation data.
    """
    draw = random.Random(0)
    words = contract["na_values"]
    pools: dict[str, list[str]] = {}
    for index, column in enumerate(contract["columns"]):
        pools.setdefault(column["name"], _cells(column, examples[:, index].tolist(), words))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(pools)
    first, *others = pools.values()
    filled = [cell for cell in first if cell.strip()]  # readers skip a wholly empty row
    for _ in range(ROWS):
        cells = [draw.choice(pool) for pool in others]
        pool = first if any(cell.strip() for cell in cells) else filled
        writer.writerow([draw.choice(pool), *cells])
    return text.getvalue()


def _cells(
    column: Mapping[str, Any], values: list[float], words: Mapping[str, list[str]]
) -> list[str]:
    levels, allowed = column["categories"], column["fill"] is not None
    if column["date"] is not None:
        form = column["date"]["format"]
        days = pd.date_range("1999-01-01", periods=500, freq="37h20min")
        dates = [str(day) if form == ISO else day.strftime(form) for day in days]
        return [*dates, *([""] if allowed else [])]
    if levels is None:
        form = format_of(column["format"])
        plain = [_spelled(value, form) for value in values if np.isfinite(value)] or ["0"]
        gaps = ["", *words["numbers"][:3]] if allowed else []
        return [*plain, *(f" {text}  " for text in plain), *gaps]
    numbers = [f"{level}.0" for level in levels if level.lstrip("-").isdigit()]
    flags = [level.swapcase() for level in levels if level.lower() in ("true", "false")]
    gaps = ["", "  ", *words["texts"][:3]] if allowed else []
    return [*levels, *(f"  {level} " for level in levels), *numbers, *flags, UNKNOWN, *gaps]


def _spelled(value: float, form: NumberFormat) -> str:
    """Return a number in the format of its column."""
    if form.flags:
        return ("FALSE", "True")[int(value)]
    if form.negative and value < 0:
        text = _spelled(-value, form)
        return f"({text})" if form.negative == BRACKETS else f"{text}-"
    text = f"{value:,}" if form.thousands and abs(value) >= 1000 else str(value)
    marks = str.maketrans({",": form.thousands, ".": form.decimal})
    unit = {"currency": "$", "percent": "%"}.get(form.symbols, form.unit)
    text = text.translate(marks) if "e" not in text else str(value).replace(".", form.decimal)
    return f"{text}{unit}"
