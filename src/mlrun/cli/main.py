"""The command line: a verb, or overrides that train; Hydra's only door; friendly errors.

Neither this module nor what it imports at the top imports torch, pandas or Hydra, so that
`mlrun --help`, `mlrun --version` and `mlrun ls` answer at once.
"""

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from mlrun import __version__
from mlrun.config.options import GROUPS, listing
from mlrun.errors import Diverged, JobsFailed, MlrunError, did_you_mean, one_line
from mlrun.system import processes
from mlrun.system.signals import Interrupted

SECONDS_TO_SAY_IT = 5.0
HELP = f"""\
mlrun {__version__}: train a model that a configuration describes.

  mlrun [OVERRIDES]           train; e.g. mlrun task=covid model=mlp optimizer.lr=3e-3
  mlrun seeds=8 folds=5       that many members at once; their mean predicts
  mlrun -m [OVERRIDES]        one run per combination; e.g. mlrun -m task=covid seed=0,1,2
                              [--dry-run]: what it would be
  mlrun evaluate RUN          score a run folder's model  [--input FILE]
  mlrun predict RUN           write its predictions       [--input FILE] [--members]
  mlrun export RUN --format F one file for another program: onnx, torch_export or safetensors
  mlrun show RUN|SWEEP        what it is, how it went, what a new file must have
  mlrun resume RUN|SWEEP      go on after a stop or a crash, exactly  [trainer.epochs=N]
  mlrun rerun RUN             train it again: identical, or where and why not
  mlrun ls [GROUP]            what there is to choose from: {", ".join(GROUPS)}
  mlrun --cfg job [OVERRIDES] print the composed configuration and stop
  mlrun --version, --help, --hydra-help

Overrides are GROUP=OPTION (model=linear) or KEY=VALUE (trainer.epochs=20). Your own options go to
./conf/GROUP/OPTION.yaml. Tab completion: eval "$(mlrun -sc install=bash)"
"""


def entry_point() -> None:
    """The `mlrun` command."""
    if processes.rank():  # the first process speaks for all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    gc.disable()  # looking for garbage while torch is imported takes a quarter of the time
    code = main(sys.argv[1:])
    if processes.size() > 1:  # what torch keeps for exchange aborts one of ten processes that leave
        sys.stdout.flush()
        os._exit(code)
    gc.freeze()  # leaving, Python would look through all that was imported, for half a second
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run one command line; exit code 0, 1 (our fault, or a failed job) or 2 (a mistake)."""
    try:
        allow, words = _allowed(arguments)
        if not allow:
            return _dispatch(words)
        from mlrun.config.allowlist import allowing

        with allowing(allow):
            return _dispatch(words)
    except MlrunError as error:
        _tell(f"error: {one_line(error)}")
        return 2
    except Diverged as error:
        _tell(f"diverged: {one_line(error)}")
        return 1
    except JobsFailed:
        return 1
    except Interrupted as error:
        if error.folder is not None or not processes.rank():
            print(error, file=sys.stderr)  # noqa: T201
        if error.folder is not None:
            own = [word for word in arguments if word.startswith("allow=")]
            command = " ".join(["mlrun resume", str(error.folder), *own])
            print(f"to go on: {command}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away: mlrun ls | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _out_of_memory(error):
            print(f"error: out of memory: {one_line(error)}", file=sys.stderr)  # noqa: T201
            return 2
        traceback.print_exc()
        return 1


def _tell(text: str) -> None:
    """Say it once: of several processes that fail, torchrun ends all when the first one has."""
    if processes.rank():
        time.sleep(SECONDS_TO_SAY_IT)
        text = f"process {processes.rank()}: {text}"
    print(text, file=sys.stderr)  # noqa: T201


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from mlrun.training.memory import is_out_of_memory

    return is_out_of_memory(error)


def _allowed(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The patterns of every `allow=[my_module.*]`, and the other words."""
    patterns: list[str] = []
    for word in arguments:
        if word.startswith("allow="):
            names = word.removeprefix("allow=").strip("[]").split(",")
            patterns += [name.strip(" '\"") for name in names]
    return patterns, [word for word in arguments if not word.startswith("allow=")]


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    if first in VERBS and first != "train":
        if first != "resume":
            processes.refuse(f"mlrun {first}")
        return VERBS[first](arguments[1:])
    if first == "help" or {"-h", "--help"} & {*arguments}:
        print(HELP, end="")  # noqa: T201
        return 0
    if {"-V", "--version"} & {*arguments}:
        print(f"mlrun {__version__}")  # noqa: T201
        return 0
    if first == "train":
        return _train(arguments[1:])
    if first and "=" not in first and first[0] not in "-+~":
        hint = did_you_mean(first, VERBS)
        raise MlrunError(f"no command '{first}': {', '.join(VERBS)}, or overrides KEY=VALUE.{hint}")
    return _train(arguments)


# --- the verbs ---


def _train(arguments: list[str]) -> int:
    from mlrun.cli.hydra_app import run_hydra

    return run_hydra(arguments)


def _ls(arguments: list[str]) -> int:
    parser = _Parser("ls", "list the options of a group, or of all")
    parser.add_argument("group", nargs="?", metavar="GROUP")
    print(listing(parser.parse_args(arguments).group))  # noqa: T201
    return 0


def _evaluate(arguments: list[str]) -> int:
    parser = _Parser("evaluate", "score a run folder's best model on its own data")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--input", metavar="FILE", help="score these rows instead; with targets")
    _add_data(parser)
    _add_allow_unknown(parser)
    options = vars(parser.parse_args(arguments))
    _show_warnings()
    from mlrun.runs.inference import evaluate
    from mlrun.training.metrics import shown

    results = evaluate(options.pop("run"), **options)
    width = max(map(len, results))
    for name, values in results.items():
        print(f"{name:<{width}}  {shown(values)}")  # noqa: T201
    return 0


def _predict(arguments: list[str]) -> int:
    parser = _Parser("predict", "write the predictions of a run folder's best model")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--input", metavar="FILE", help="rows to predict; the run's own if absent")
    parser.add_argument("--output", metavar="FILE", help="where to; into the run folder if absent")
    parser.add_argument("--proba", action="store_true", help="a column of each class's probability")
    each = "what each member says (seeds=, folds=), and how much they disagree"
    parser.add_argument("--members", action="store_true", help=each)
    _add_data(parser)
    _add_allow_unknown(parser)
    options = vars(parser.parse_args(arguments))
    _show_warnings()
    from mlrun.runs.inference import predict

    print(predict(options.pop("run"), **options))  # noqa: T201
    return 0


def _export(arguments: list[str]) -> int:
    parser = _Parser("export", "write a run folder's best model as one file, checked on real rows")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    kinds = "onnx, torch_export or safetensors"
    parser.add_argument("--format", required=True, metavar="FORMAT", help=kinds)
    parser.add_argument("--output", metavar="FILE", help="where to; into the run folder if absent")
    given = parser.parse_args(arguments)
    _show_warnings()
    from mlrun.export.write import export

    made = export(given.run, given.format, output=given.output)
    compared = f"{made.rows} rows compared, largest difference {made.difference:.1g}"
    print(f"{made.path}  ({compared})")  # noqa: T201
    return 0


def _show_warnings() -> None:
    """What the program notices on the way goes to stderr; a training run has its console."""
    log = logging.getLogger("mlrun")
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(_on_one_line)
    log.handlers, log.propagate = [handler], False


def _on_one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = one_line(record.getMessage()), ()
    return True


def _add_data(parser: argparse.ArgumentParser) -> None:
    text = "where the run's data files are now; else where they were, in MLRUN_DATA or in data/"
    parser.add_argument("--data", metavar="FOLDER", help=text)


def _add_allow_unknown(parser: argparse.ArgumentParser) -> None:
    text = "take categories that training never saw as unknown instead of refusing them"
    parser.add_argument("--allow-unknown", action="store_true", help=text)


def _show(arguments: list[str]) -> int:
    parser = _Parser("show", "say what a run is and what a new file must have, from its folder")
    parser.add_argument("run", metavar="RUN", help="the folder of a run, or of a sweep: its table")
    given = parser.parse_args(arguments)
    from mlrun.runs.describe import show
    from mlrun.runs.folder import is_sweep

    if is_sweep(Path(given.run)):
        from mlrun.sweep.table import show_sweep

        show_sweep(Path(given.run))
        return 0
    lines = show(given.run)
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(one_line(f"{name:<{width}}  {text}"))  # noqa: T201
    return 0


def _resume(arguments: list[str]) -> int:
    parser = _Parser("resume", "go on with a run from its last checkpoint, exactly")
    parser.add_argument("run", metavar="RUN", help="a run folder, or a folder of runs: the newest")
    more = "e.g. trainer.epochs=200"
    parser.add_argument("overrides", metavar="KEY=VALUE", nargs="*", default=[], help=more)
    _add_data(parser)
    parser.add_argument("--failed", action="store_true", help="of a sweep: also what failed")
    given = parser.parse_intermixed_args(arguments)
    from mlrun.api import resume

    resume(given.run, given.overrides, data=given.data, failed=given.failed)
    return 0


def _rerun(arguments: list[str]) -> int:
    parser = _Parser("rerun", "train a run again and say whether it came out the same")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--output", metavar="FOLDER", help="where to; beside the run if absent")
    _add_data(parser)
    options = vars(parser.parse_args(arguments))
    from mlrun.runs.rerun import rerun

    command = ["mlrun", "rerun", *arguments]
    identical, lines = rerun(options.pop("run"), **options, command=command)
    print("\n".join(map(one_line, lines)))  # noqa: T201
    return 0 if identical else 1


class _Parser(argparse.ArgumentParser):
    """argparse with our errors."""

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
