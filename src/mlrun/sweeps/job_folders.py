"""The folders of the jobs: plain names inside the sweep, another one for each job."""

from collections.abc import Iterable
from pathlib import Path

from mlrun.errors import MlrunError

# Files of the sweep itself, also of Hydra's and of Optuna's.
_TAKEN = {
    *("sweep.json", "journal.jsonl", "summary.csv", "sweep.log"),
    *("multirun.yaml", "optuna.journal"),
}
_LONGEST = 255  # bytes of a name; file systems have this limit
_LONGEST_PATH = 1000


def check_folders(folders: Iterable[str]) -> None:
    """Check that every folder is inside the sweep, and that no two jobs write to the same place.

    Raises:
        MlrunError: naming the folder.
    """
    seen: set[str] = set()
    for folder in folders:
        if not is_inside(folder):
            what = "must be a folder inside the sweep, with a plain name"
            raise MlrunError(f"folder '{_shown(folder)}': {what}")
        if folder in seen:
            raise MlrunError(f"several jobs would write to {folder}")
        seen.add(folder)
    for folder in seen:
        if "/" in folder and any(str(parent) in seen for parent in Path(folder).parents):
            raise MlrunError(f"several jobs would write to {Path(folder).parts[0]}")


def check_chosen(folders: Iterable[str]) -> None:
    """Like `check_folders`, for folders that the user chose.

    Raises:
        MlrunError: naming the setting and the folder.
    """
    try:
        check_folders(folders)
    except MlrunError as error:
        raise MlrunError(f"hydra.sweep.subdir: {error}") from error


def is_inside(folder: str) -> bool:
    """Whether this is a relative path of plain names: no `..`, and no file of the sweep itself."""
    names = folder.split("/")
    plain = folder.isprintable() and Path(folder).parts == (*names,)
    # Windows ignores dots and blanks at the end.
    free = names[0].casefold().rstrip(". ") not in _TAKEN
    return plain and free and not any(name.startswith(".") for name in names) and _is_short(names)


def _is_short(names: list[str]) -> bool:
    sizes = [len(name.encode()) for name in names]
    return max(sizes) <= _LONGEST and sum(sizes) <= _LONGEST_PATH


def _shown(folder: str) -> str:
    return folder if len(folder) <= 60 else f"{folder[:60]}…"
