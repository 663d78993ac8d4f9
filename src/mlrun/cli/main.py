"""The command line: a verb, or overrides that train; Hydra's only door; friendly errors.

Neither this module nor what it imports at the top imports torch, pandas or Hydra, so that
`mlrun --help`, `mlrun --version` and `mlrun ls` answer at once.
"""

import gc
import os
import sys
import time
import traceback
from collections.abc import Sequence

from mlrun.cli.verbs import VERBS, _train
from mlrun.config.options import GROUPS
from mlrun.errors import Diverged, JobsFailed, MlrunError, did_you_mean, one_line
from mlrun.system import processes
from mlrun.system.garbage import pause_collection
from mlrun.system.signals import Interrupted
from mlrun.version import __version__

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
    pause_collection()
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
            print(error, file=sys.stderr)
        if error.folder is not None:
            own = [word for word in arguments if word.startswith("allow=")]
            command = " ".join(["mlrun resume", str(error.folder), *own])
            print(f"to go on: {command}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output went away: mlrun ls | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if _out_of_memory(error):
            print(f"error: out of memory: {one_line(error)}", file=sys.stderr)
            return 2
        traceback.print_exc()
        return 1


def _tell(text: str) -> None:
    """Say it once: of several processes that fail, torchrun ends all when the first one has."""
    if processes.rank():
        time.sleep(SECONDS_TO_SAY_IT)
        text = f"process {processes.rank()}: {text}"
    print(text, file=sys.stderr)


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
        print(HELP, end="")
        return 0
    if {"-V", "--version"} & {*arguments}:
        print(f"mlrun {__version__}")
        return 0
    if first == "train":
        return _train(arguments[1:])
    if first and "=" not in first and first[0] not in "-+~":
        hint = did_you_mean(first, VERBS)
        raise MlrunError(f"no command '{first}': {', '.join(VERBS)}, or overrides KEY=VALUE.{hint}")
    return _train(arguments)
