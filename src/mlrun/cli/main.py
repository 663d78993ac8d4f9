"""The command line: a verb, or overrides that train; prints errors and returns exit codes.

This module and its imports at the top do not import torch, pandas or Hydra, so that `mlrun --help`,
`mlrun --version` and `mlrun ls` are fast.
"""

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence

from mlrun.cli.verbs import VERBS, _train
from mlrun.config.options import GROUPS
from mlrun.errors import Diverged, JobsFailed, MlrunError, did_you_mean
from mlrun.system import processes
from mlrun.system.garbage import pause_collection
from mlrun.system.plain_text import one_line
from mlrun.system.safe_text import safe_streams, say
from mlrun.system.secrets import is_secret, remembering
from mlrun.system.signals import Interrupted, number_of, stop_on_signals
from mlrun.system.streams import end_streams, mute_stdout, prepare_streams
from mlrun.version import __version__

SECONDS_TO_SAY_IT = 5.0
HELP = f"""\
mlrun {__version__}: train the model that a configuration describes.

  mlrun [OVERRIDES]           train; e.g. mlrun task=covid model=mlp optimizer.lr=3e-3
  mlrun seeds=8 folds=5       train an ensemble: 8 seeds × 5 folds
  mlrun -m [OVERRIDES]        sweep: one run per combination; e.g. mlrun -m task=covid seed=0,1,2
                              [--dry-run]: only print the plan
  mlrun evaluate RUN          score the model in a run folder  [--input FILE]
  mlrun predict RUN           write its predictions  [--input FILE] [--members]
  mlrun export RUN --format F write one file for another program: onnx, torch_export, safetensors
  mlrun show RUN|SWEEP        describe a run and its input columns, or a sweep
  mlrun resume RUN|SWEEP      continue exactly after a stop or a crash  [trainer.epochs=N]
  mlrun rerun RUN             check that retraining gives identical results
  mlrun ls [GROUP]            list the options of {", ".join(GROUPS)}
  mlrun --cfg job [OVERRIDES] print the composed configuration
  mlrun --version, --help, --hydra-help

Overrides are GROUP=OPTION (model=linear) or KEY=VALUE (trainer.epochs=20). Put your own options
into ./conf/GROUP/OPTION.yaml. Tab completion: eval "$(mlrun -sc install=bash)"
"""
# Commands of other programs → what to do here.
MEANT = {
    **dict.fromkeys(
        ("delete", "remove", "rm", "clean"),
        "mlrun deletes nothing; a run is one folder: rm -r RUN",
    ),
    **dict.fromkeys(("list", "runs", "options"), "Did you mean 'ls'?"),
    **dict.fromkeys(("run", "fit", "start"), "To train, write only overrides: mlrun task=covid"),
    **dict.fromkeys(("test", "eval", "score", "validate"), "Did you mean 'evaluate'?"),
    **dict.fromkeys(("inference", "infer", "submit"), "Did you mean 'predict'?"),
    **dict.fromkeys(("continue", "restart"), "Did you mean 'resume'?"),
    **dict.fromkeys(("info", "describe", "cat", "history"), "Did you mean 'show'?"),
    **dict.fromkeys(
        ("compare", "diff"),
        "diff RUN/config.yaml OTHER/config.yaml shows how the settings of two runs differ",
    ),
    **dict.fromkeys(
        ("sweep", "tune", "search", "multirun"),
        "A sweep is mlrun -m KEY=VALUE,VALUE; a search is mlrun -m hparams=NAME",
    ),
}


def entry_point() -> None:
    """Run the `mlrun` command."""
    os.environ["PYTHONSAFEPATH"] = "1"  # workers import nothing from the current folder either
    prepare_streams()
    stop_on_signals()
    if processes.rank():  # rank 0 prints for all
        mute_stdout()
    pause_collection()
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt as error:  # a signal while an error was being reported
        code = 128 + number_of(error)
    if not end_streams() and code == 0:
        code = 2
    if processes.size() > 1:  # torch's threads abort one of ten processes at exit
        os._exit(code)
    gc.freeze()  # otherwise Python scans all imports at exit, for half a second
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Run a command line; return 0, 1 (a bug or a failed job) or 2 (a user error)."""
    with remembering(), safe_streams():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        _check_names(arguments)
        _remember_secrets(arguments)
        allow, words = _allowed(arguments)
        if not allow:
            return _dispatch(words)
        from mlrun.config.allowlist import allowing

        with allowing(allow):
            return _dispatch(words)
    except MlrunError as error:
        from mlrun.system.cache import without_cache_folder

        _print_error(f"error: {without_cache_folder(one_line(error))}")
        return 2
    except Diverged as error:
        _print_error(f"diverged: {one_line(error)}")
        return 1
    except JobsFailed:
        return 1
    except Interrupted as error:
        if error.folder is not None or not processes.rank():
            say(error, error=True)
        if error.folder is not None:
            own = [word for word in arguments if word.startswith("allow=")]
            command = " ".join(["mlrun resume", str(error.folder), *own])
            say(f"to continue: {command}", error=True)
        return error.exit_code
    except KeyboardInterrupt as error:
        return 128 + number_of(error)
    except BrokenPipeError:  # the reader of the output exited: mlrun ls | head
        mute_stdout()
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _print_error(f"error: {one_line(place)}{error.strerror or error}")
        return 2
    except Exception as error:
        if _out_of_memory(error):
            say(f"error: out of memory: {one_line(error)}", error=True)
            return 2
        say(traceback.format_exc(), error=True, end="")
        return 1


def _check_names(arguments: Sequence[str]) -> None:
    """Reject what would not be text in run.json and config.yaml."""
    try:
        here = os.getcwd()  # noqa: PTH109  it is a part of recorded paths
    except FileNotFoundError:
        raise MlrunError("the current folder was deleted; change to another one") from None
    for name in [*arguments, here]:
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            encoding = sys.getfilesystemencoding()
            raise MlrunError(f"{name}: not text in {encoding}; rename it, or set LC_ALL=C.UTF-8")


def _print_error(text: str) -> None:
    """Print an error; other ranks wait, because torchrun stops all after the first failure."""
    if processes.rank():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # it ends the waiting, without a word
        time.sleep(SECONDS_TO_SAY_IT)
        text = f"process {processes.rank()}: {text}"
    say(text, error=True)


def _remember_secrets(arguments: Sequence[str]) -> None:
    if any(is_secret(word) or ":/" in word for word in arguments):
        from mlrun.config.column_words import with_quoted_names  # imports Hydra
        from mlrun.config.words import remember_words

        remember_words(with_quoted_names(arguments, sweep="-m" in arguments))


def _out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from mlrun.training.memory import is_out_of_memory

    return is_out_of_memory(error)


def _allowed(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the patterns of every `allow=[my_module.*]`, and the other words."""
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
        print(HELP, end="")
        return 0
    if {"-V", "--version"} & {*arguments}:
        print(f"mlrun {__version__}")
        return 0
    if first == "train":
        return _train(arguments[1:])
    if first and "=" not in first and first[0] not in "-+~":
        raise MlrunError(
            f"unknown command '{first}'; use {', '.join(VERBS)}, or overrides KEY=VALUE."
            f"{_hint(arguments)}"
        )
    return _train(arguments)


def _hint(arguments: Sequence[str]) -> str:
    """Return what to write instead of an unknown command."""
    first = arguments[0]
    if first in MEANT:
        return f" {MEANT[first]}"
    from mlrun.config.suggestions import instead_of, value_after

    if hint := did_you_mean(first, VERBS):
        return hint
    written = instead_of(first, value_after(arguments, 0))
    return f" Did you mean {written}?" if written else ""
