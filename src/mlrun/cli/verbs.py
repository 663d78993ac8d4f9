"""One function per verb: parse its options, call it, print the result."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from mlrun.config.options import listing
from mlrun.errors import MlrunError
from mlrun.system.plain_text import one_line
from mlrun.system.safe_text import SafeFormatter, say


def _train(arguments: list[str]) -> int:
    from mlrun.cli.hydra_app import run_hydra

    return run_hydra(arguments)


def _ls(arguments: list[str]) -> int:
    parser = _Parser("ls", "list the options of a group, or of all groups")
    parser.add_argument("group", nargs="?", metavar="GROUP")
    say(listing(parser.parse_args(arguments).group))
    return 0


def _evaluate(arguments: list[str]) -> int:
    parser = _Parser("evaluate", "score a run folder's best model on its own data")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument(
        "--input", metavar="FILE", help="score the rows of this file; needs targets"
    )
    _add_data(parser)
    _add_allow_unknown(parser)
    options = vars(parser.parse_args(arguments))
    _show_warnings()
    from mlrun.runs.inference import evaluate
    from mlrun.training.metrics import shown

    results = evaluate(options.pop("run"), **options)
    width = max(map(len, results))
    for name, values in results.items():
        say(one_line(f"{name:<{width}}  {shown(values)}"))
    return 0


def _predict(arguments: list[str]) -> int:
    parser = _Parser("predict", "write the predictions of a run folder's best model")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    rows = "rows to predict, - for standard input; default: the run's own"
    parser.add_argument("--input", metavar="FILE", help=rows)
    file = "file to write, - for standard output; default: in the run folder"
    parser.add_argument("--output", metavar="FILE", help=file)
    parser.add_argument("--proba", action="store_true", help="add a probability column per class")
    each = "write each member's prediction (seeds=, folds=) and the disagreement"
    parser.add_argument("--members", action="store_true", help=each)
    guard = "put an apostrophe before texts that a spreadsheet would run as a formula"
    parser.add_argument("--guard-formulas", action="store_true", help=guard)
    _add_data(parser)
    _add_allow_unknown(parser)
    options = vars(parser.parse_args(arguments))
    _show_warnings()
    from mlrun.runs.inference import predict
    from mlrun.system.files import is_standard_output

    target = predict(options.pop("run"), **options)
    if not is_standard_output(target):
        say(target)
    return 0


def _export(arguments: list[str]) -> int:
    parser = _Parser("export", "write a run folder's best model as one file, checked on real rows")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    kinds = "onnx, torch_export or safetensors"
    parser.add_argument("--format", required=True, metavar="FORMAT", help=kinds)
    parser.add_argument(
        "--output", metavar="FILE", help="file to write; default: in the run folder"
    )
    given = parser.parse_args(arguments)
    _show_warnings()
    from mlrun.export.write import export

    made = export(given.run, given.format, output=given.output)
    compared = f"{made.rows} rows compared, largest difference {made.difference:.1g}"
    say(f"{made.path}  ({compared})")
    if made.program:
        say(f"new rows: python {made.program} FILE")
    return 0


def _show_warnings() -> None:
    """Print warnings to stderr; training runs use their console instead."""
    log = logging.getLogger("mlrun")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_OneLine())
    log.handlers, log.propagate = [handler], False


class _OneLine(SafeFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _add_data(parser: argparse.ArgumentParser) -> None:
    text = "folder of the data files; default: their recorded paths, MLRUN_DATA or data/"
    parser.add_argument("--data", metavar="FOLDER", help=text)


def _add_allow_unknown(parser: argparse.ArgumentParser) -> None:
    text = "take categories unknown to training as (unknown) instead of reporting an error"
    parser.add_argument("--allow-unknown", action="store_true", help=text)


def _show(arguments: list[str]) -> int:
    parser = _Parser("show", "describe a run and its input columns, or a sweep")
    parser.add_argument("run", metavar="RUN", help="a run folder or a sweep folder")
    given = parser.parse_args(arguments)
    from mlrun.runs.describe import show
    from mlrun.runs.folder import is_sweep

    if is_sweep(Path(given.run)):
        from mlrun.sweeps.table import show_sweep

        show_sweep(Path(given.run))
        return 0
    lines = show(given.run)
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        say(one_line(f"{name:<{width}}  {text}"))
    return 0


def _resume(arguments: list[str]) -> int:
    parser = _Parser("resume", "continue a run or sweep exactly from its last checkpoint")
    parser.add_argument(
        "run", metavar="RUN", help="a run folder, or a folder of runs (resumes the newest)"
    )
    more = "e.g. trainer.epochs=200"
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[], help=more)
    _add_data(parser)
    parser.add_argument(
        "--failed", action="store_true", help="for a sweep: also repeat failed jobs"
    )
    given = parser.parse_intermixed_args(arguments)
    from mlrun.api import resume

    resume(given.run, given.overrides, data=given.data, failed=given.failed)
    return 0


def _rerun(arguments: list[str]) -> int:
    parser = _Parser("rerun", "check that retraining gives identical results")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--output", metavar="FOLDER", help="new run folder; default: next to RUN")
    _add_data(parser)
    options = vars(parser.parse_args(arguments))
    from mlrun.runs.rerun import rerun

    command = ["mlrun", "rerun", *arguments]
    identical, lines = rerun(options.pop("run"), **options, command=command)
    say("\n".join(map(one_line, lines)))
    return 0 if identical else 1


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises MlrunError."""

    def __init__(self, verb: str, description: str) -> None:
        super().__init__(prog=f"mlrun {verb}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise MlrunError(f"{self.prog}: {message}; see {self.prog} --help")


VERBS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "show": _show,
    "resume": _resume,
    "rerun": _rerun,
    "ls": _ls,
}
