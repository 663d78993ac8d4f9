"""Column names that differ: a name for columns without one, numbers for names that repeat."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mlrun.errors import MlrunError


def unique_names(header: Sequence[str], duplicates: str, path: Path) -> list[str]:
    """Return a different name for each column; a column without a name is `Unnamed: 0`.

    Args:
        header: the names in the file, possibly empty or repeated.
        duplicates: "error", or "number" to rename a second `x` to `x.1` as pandas does.
        path: the file, for messages.

    Raises:
        MlrunError: a name repeats, and `duplicates` is "error".
    """
    names = [name or f"Unnamed: {i}" for i, name in enumerate(header)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice and duplicates == "error":
        columns = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
        listed = " and ".join(columns[:3]) + (" …" if columns[3:] else "")
        raise MlrunError(
            f"{path}: columns {listed} all have the name '{twice[0]}'; rename them, set "
            "data.duplicates=number or, if another line has the names, data.header=LINE"
        )
    return _numbered(names)


def _numbered(names: list[str]) -> list[str]:
    taken = set(names)
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        number, unique = seen[name], name
        while number and (unique := f"{name}.{number}") in taken:
            number += 1
        seen[name] = number + 1
        taken.add(unique)
        result.append(unique)
    return result
