"""Console output of a run, on a terminal or as plain lines; run.log gets the same lines."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from logging.handlers import MemoryHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from mlrun.report.log_file import log_file, log_taken_over
from mlrun.report.safe_console import plain_console
from mlrun.system.safe_text import safe

LINES = 20  # of progress without a terminal: one per 5 % of the run
REFRESH_SECONDS = 0.25
log = logging.getLogger("mlrun")


class Console:
    """Messages, progress and results of one run; a context manager.

    On a terminal, progress is one live line; otherwise plain lines without control codes. With
    `quiet`, it prints only the run folder at the end.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.out = plain_console()
        self.quiet = quiet
        self.live = self.out.is_terminal and not quiet
        self._file = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1)
        self._screen = _Screen(self.out)
        self._progress: Progress | None = None

    def __enter__(self) -> "Console":
        handlers = [self._file] if self.quiet else [self._file, self._screen]
        self._open = ExitStack()
        self._open.enter_context(log_taken_over(*handlers))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_progress()
        for handler in (self._file, self._file.target):
            if handler is not None:
                handler.close()
        self._open.close()

    def log_to(self, path: Path) -> None:
        """Write all lines, including earlier ones, to this file.

        Raises:
            MlrunError: the file cannot be written.
        """
        self._file.setTarget(log_file(path))
        self._file.flushLevel = logging.DEBUG
        self._file.flush()

    # --- before, while and after training ---

    def sample_warning(self, folder: Path) -> None:
        """Print a warning that this is not real data."""
        text = (
            f"SAMPLE DATA: found no data files, so sample data was written to {folder}. Scores on "
            "it say nothing about the real task; data/README.md explains where to put your files."
        )
        log.warning(text, extra={"panel": "yellow"})

    def model_summary(self, title: str, layers: Sequence[tuple[str, str, int]]) -> None:
        """Print the layers of the model: name, output shape, parameters."""
        total = sum(parameters for _, _, parameters in layers)
        log.info("%s: %s parameters", title, f"{total:,}")
        if not self.live:
            return
        table = Table(box=None, header_style="dim", padding=(0, 2))
        table.add_column("layer")
        table.add_column("output")
        table.add_column("parameters", justify="right")
        for name, shape, parameters in layers:
            table.add_row(name, shape, f"{parameters:,}" if parameters else "")
        self.out.print(table)

    def begin_progress(self, epochs: int, monitor: str) -> None:
        """Start the progress display."""
        self._epochs, self._monitor = epochs, monitor
        self._started = self._shown = time.monotonic()
        self._first: int | None = None
        if self.live:
            columns = (BarColumn(12), TextColumn("{task.description}", markup=False))
            self._progress = Progress(*columns, console=self.out, auto_refresh=False)
            self._task: TaskID = self._progress.add_task("", total=epochs)
            self._progress.start()

    def epoch(self, row: Mapping[str, Any], best_epoch: int, best_score: float) -> None:
        """Show an epoch: redraw at most four times a second, or log 20 lines per run."""
        self._first = self._first or row["epoch"]
        if self._progress is not None:
            scores = [name for name in ("train/loss", "valid/loss") if name in row]
            text = self._line(row, scores, best_epoch, best_score)
            self._progress.update(self._task, completed=row["epoch"], description=text)
            if time.monotonic() - self._shown > REFRESH_SECONDS:
                self._shown = time.monotonic()
                self._progress.refresh()
        if self._due(row["epoch"]):
            scores = [name for name in row if name.startswith(("train/", "valid/"))]
            text = self._line(row, scores, best_epoch, best_score)
            log.info("%s", text, extra={"hidden": self.live})

    def end_progress(self) -> None:
        """Stop the progress display."""
        if self._progress is not None:
            self._progress.refresh()
            self._progress.stop()
            self._progress = None

    def result(self, lines: Sequence[tuple[str, str]], *, title: str, folder: Path) -> None:
        """Print the final scores, files and next commands."""
        self.end_progress()
        width = max(len(name) for name, _ in lines)
        text = "\n".join(f"{name:<{width}}  {value}" for name, value in lines)
        log.info("%s\n%s", title, text, extra={"hidden": self.live})
        if self.live:
            head = Text(title)
            panel = Panel(Text(text), title=head, title_align="left", border_style="green")
            self.out.print(panel, soft_wrap=False)
        if self.quiet:
            self.out.print(str(folder))

    def _due(self, epoch: int) -> bool:
        every = max(1, self._epochs // LINES)
        return epoch == self._first or epoch % every == 0 or epoch == self._epochs

    def _line(
        self, row: Mapping[str, Any], scores: Sequence[str], best_epoch: int, best_score: float
    ) -> str:
        done = row["epoch"] - (self._first or 1) + 1
        left = (time.monotonic() - self._started) / done * (self._epochs - row["epoch"])
        width = len(str(self._epochs))
        parts = [f"epoch {row['epoch']:>{width}}/{self._epochs}", f"eta {duration(left)}"]
        if best_epoch:
            parts.append(f"best {self._monitor} {best_score:.4g} (epoch {best_epoch})")
        return "  ".join([*parts, *(f"{name} {row[name]:.4g}" for name in scores)])


def epoch_lines(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for every 5 % of the epochs of a run."""
    every = max(1, len(history) // LINES)
    width = len(str(len(history)))
    for row in history:
        if row["epoch"] == 1 or row["epoch"] % every == 0 or row is history[-1]:
            scores = [name for name in row if name.startswith(("train/", "valid/"))]
            shown = "  ".join(f"{name} {row[name]:.4g}" for name in scores)
            yield f"epoch {row['epoch']:>{width}}/{len(history)}  {shown}"


class _Screen(logging.Handler):
    """Prints log lines on the console, in a coloured panel if the record requests one."""

    def __init__(self, out: RichConsole) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "hidden", False):
            return
        color = getattr(record, "panel", None)
        text = Text(safe(record.getMessage()))
        if color and self._out.is_terminal:
            self._out.print(Panel(text, border_style=color), soft_wrap=False)
        else:
            self._out.print(text)


def duration(seconds: float) -> str:
    """Format seconds as 0:12 or 1:02:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
