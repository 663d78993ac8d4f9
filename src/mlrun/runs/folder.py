"""The run folder: everything about one run on disk.

Every file is written under a temporary name and then renamed, so that readers, also after a crash,
find either the old or the new file, never a partial one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf

from mlrun.errors import MlrunError, did_you_mean
from mlrun.system.files import as_json, read_json, write_atomically
from mlrun.system.locks import take
from mlrun.system.no_links import distrust, opened, refuse_link_within, refuse_links

T = TypeVar("T")
RUN_FORMAT = 2


def claim(outputs: str | Path, name: str) -> Path:
    """Create and return `outputs/<date>/<time>_<name>`, with _2, _3 … if it exists."""
    now = datetime.now()
    return claim_exactly(Path(outputs) / f"{now:%Y-%m-%d}", f"{now:%H-%M-%S}_{name}")


def register_new_folder() -> None:
    """Register the resolver `${new_folder:parent,name}`; repeated calls are allowed."""
    # Cached by Hydra for all jobs of one sweep, like ${now:}: the folder is claimed once.
    OmegaConf.register_new_resolver(
        "new_folder", lambda outputs, name: str(claim(outputs, name)), use_cache=True, replace=True
    )


def claim_exactly(parent: Path, name: str) -> Path:
    """Create and return `parent/name`, or `name_2` … if it exists; never share a folder."""
    number = 1
    while True:
        path = parent / (name if number == 1 else f"{name}_{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.is_dir() and not path.exists():
                raise MlrunError(f"{path.parent} is a file, not a folder for runs") from None
            number += 1
        except OSError as error:
            raise MlrunError(f"cannot create {path}: {error.strerror}; see paths.outputs") from None
        except ValueError as error:  # a zero byte
            raise MlrunError(f"cannot create {path}: {error}; see paths.outputs") from None
        else:
            return path


@dataclass
class RunFolder:
    """Paths and small files of one run (format 2; docs/run-folder.md lists them)."""

    path: Path
    record: dict[str, Any] = field(default_factory=dict)

    config = property(lambda self: self.path / "config.yaml")
    best = property(lambda self: self.path / "checkpoints" / "best.safetensors")
    last = property(lambda self: self.path / "checkpoints" / "last.safetensors")
    previous = property(lambda self: self.path / "checkpoints" / "previous.safetensors")
    metrics = property(lambda self: self.path / "metrics.csv")
    split = property(lambda self: self.path / "split.json")
    predictions = property(lambda self: self.path / "pred.csv")
    plots = property(lambda self: self.path / "plots")
    log = property(lambda self: self.path / "run.log")

    def entry(self, name: str, kind: type[T]) -> T:
        """Return an entry of run.json.

        Raises:
            MlrunError: the entry is missing or has another type.
        """
        value = self.record.get(name)
        if not isinstance(value, kind):
            raise MlrunError(f"{self.path / 'run.json'} is damaged or unfinished: no '{name}'")
        return value

    def note(self, **entries: Any) -> None:
        """Set entries of run.json; the next `update` writes them."""
        self.record.update(entries)

    def update(self, **entries: Any) -> None:
        """Set entries of run.json and write the file."""
        self.note(**entries)
        write_atomically(self.path / "run.json", as_json(self.record))


def has_begun(run: RunFolder) -> bool:
    """Whether the folder has a configuration with which a run can continue.

    A run that failed while it was being prepared has none; neither has a damaged run.json.
    """
    file = run.path / "run.json"
    try:
        record = read_json(file) if file.is_file() else {}
    except MlrunError:
        return False
    return isinstance(record, dict) and "config" in record


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Lock the folder against other training processes; the lock ends with the process.

    Raises:
        MlrunError: another process holds the lock.
    """
    try:
        file = opened(run.path / ".lock", "ab")
    except OSError as error:
        raise MlrunError(f"cannot write to {run.path}: {error.strerror}") from None
    with file:
        if not take(file.fileno()):
            raise MlrunError(f"another process is training in {run.path}")
        yield


def open_run(path: str | Path) -> RunFolder:
    """Open the run folder at `path` and read its run.json.

    Raises:
        MlrunError: there is no usable run, or run.json is damaged.
    """
    folder = Path(path)
    file = folder / "run.json"
    if folder.is_file():
        raise MlrunError(f"{folder} is a file; give the run folder")
    if not folder.is_dir():
        siblings = [p.name for p in folder.parent.iterdir()] if folder.parent.is_dir() else []
        raise MlrunError(f"there is no run folder {folder}.{did_you_mean(folder.name, siblings)}")
    if is_sweep(folder):
        raise MlrunError(f"{folder} is a sweep, not a run{_runs_in(folder)}")
    if not file.is_file() and (folder / ".lock").is_file():
        raise MlrunError(f"{folder}: the run ended before its training started; start it again")
    if not file.is_file():
        raise MlrunError(f"{folder} is not a run folder: it has no run.json{_runs_in(folder)}")
    refuse_link_within(folder)
    refuse_links(folder)
    distrust(folder)
    record = read_json(file)
    if not isinstance(record, dict) or record.get("format") != RUN_FORMAT:
        raise MlrunError(f"{file}: wrong format; this version of mlrun reads format {RUN_FORMAT}")
    return RunFolder(folder, record)


def _runs_in(folder: Path) -> str:
    found = [*folder.glob("*/run.json"), *folder.glob("*/*/run.json")]
    inside = sorted(str(path.parent.relative_to(folder)) for path in found)
    return f"; it contains runs: {', '.join(inside[:6])}" if inside else ""


def is_sweep(path: Path) -> bool:
    """Whether this is the folder of a sweep."""
    return (path / "sweep.json").is_file()
