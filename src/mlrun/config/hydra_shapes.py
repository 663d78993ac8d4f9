"""The shapes that Hydra's own settings may have; `config/hydra_settings.py` compares them.

They have room for numbers, names and texts, but none for code: no shape of a logger has a class for
files or networks, and no shape of a launcher has commands or places to write to.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """A single value."""

    fits: Callable[[Any], bool]
    words: str  # for messages: what it must be


@dataclass(frozen=True)
class Each:
    """A mapping with free names, which are none of Hydra's special keys."""

    shape: Any
    names: str = r"(?!_\w+_$).+"  # as a regular expression


@dataclass(frozen=True)
class Plugin:
    """An object that Hydra builds: its class decides the shapes of its settings."""

    classes: Mapping[str, Mapping[str, Any]]


# A mapping is the shape of mappings with these names only; a list has the shape of its entries.
Shape = Value | Each | Plugin | Mapping[str, Any] | list[Any]


def _one_of(*choices: Any) -> Value:
    known = [repr(choice) for choice in choices]  # 1 is not true
    names = [{"None": "null"}.get(str(choice), str(choice)) for choice in choices]
    return Value(lambda value: repr(value) in known, " or ".join(names))


def _text(pattern: str, words: str) -> Value:
    return Value(lambda value: value is None or bool(re.fullmatch(pattern, str(value))), words)


def _all(shape: Value, *names: str) -> dict[str, Value]:
    return dict.fromkeys(names, shape)


ANYTHING = Value(lambda _: True, "a plain value")  # also lists and mappings of plain values
NOTHING = Value(lambda value: value in (None, False, "", [], {}), "empty")
NUMBER = Value(lambda value: isinstance(value, int | float | None), "a number")
_FLAG = _one_of(True, False, None)
# No line breaks: launchers write it into scripts.
_WORD = _text(r"[\w.,:=/+@%*-]*", "one word")
_NAME = _text(r"[\w.-]*", "a name")  # also of files and loggers
# logging imports what a text such as ext://sys.stdout names
_TEXT = _text(r"(?![a-z]+://)[^\x00-\x08\x0b-\x1f\x7f-\x9f]*", "a plain text")

_COLORED = _one_of("colorlog.ColoredFormatter")
_FORMATTER = {
    "()": _COLORED,
    "class": _COLORED,
    "style": _one_of("%"),
    "log_colors": Each(_NAME),
    **_all(_TEXT, "format", "datefmt"),
}
_HANDLER = {
    "class": _one_of("logging.StreamHandler", "logging.NullHandler"),
    "stream": _one_of("ext://sys.stdout", "ext://sys.stderr"),
    **_all(_NAME, "level", "formatter"),
}
_LOGGER = {"level": _NAME, "handlers": [_NAME], "propagate": _FLAG}
_LOGGING = {
    "version": _one_of(1),
    "disable_existing_loggers": _FLAG,
    "formatters": Each(_FORMATTER),
    "handlers": Each(_HANDLER),
    "loggers": Each(_LOGGER),
    "root": _LOGGER,
}

# Resolving these creates the folder of the sweep, so they stay references.
NEW_FOLDER = "${new_folder:${paths.outputs},${task}_sweep}"  # conf/hydra/default.yaml
SUBMITIT_FOLDER = "${hydra.sweep.dir}/.submitit/%j"  # the launcher's default
SUBMITIT_KEYS = ("hydra", "launcher", "submitit_folder")
DIRNAME_KEYS = ("hydra", "job", "override_dirname")  # the command line as a text, by Hydra
_SUBMITIT = {  # not: setup, additional_parameters, submitit_folder
    **_all(NUMBER, "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb"),
    **_all(NUMBER, "nodes", "stderr_to_stdout", "cpus_per_gpu", "gpus_per_task"),
    **_all(NUMBER, "signal_delay_s", "max_num_timeout", "array_parallelism"),
    **_all(_NAME, "name"),
    **_all(_WORD, "partition", "qos", "comment", "constraint", "exclude", "gres"),
    **_all(_WORD, "mem_per_gpu", "mem_per_cpu", "account"),
}
_JOBLIB = {  # not: temp_folder
    "backend": _one_of(None, "loky", "threading", "multiprocessing"),
    **_all(NUMBER, "n_jobs", "verbose", "timeout"),
    **_all(_WORD, "prefer", "require", "pre_dispatch", "batch_size", "max_nbytes", "mmap_mode"),
}
_RAY = {"ray": {"init": Each(NUMBER), "remote": Each(NUMBER)}}
_LAUNCHER = Plugin(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher": {},
        "hydra_plugins.mlrun_sweep.MlrunLauncher": {"per_device": NUMBER},
        "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher": _JOBLIB,
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher": _SUBMITIT,
        "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher": _SUBMITIT,
        "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher": _RAY,
    }
)

# Each is a word KEY=VALUE of the jobs, which may set everything but Hydra's own settings.
_PARAMS = Each(
    Value(lambda value: isinstance(value, str | int | float | None), "a text or a number"),
    names=r"[+~]*(?!hydra\b)[A-Za-z_][\w./-]*",
)
_SEARCH = {"params": _PARAMS, "sampler": _WORD, **_all(NUMBER, "n_trials", "n_jobs", "seed")}
_SWEEPER = Plugin(
    {
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper": {
            "params": _PARAMS,
            "max_batch_size": NUMBER,
        },
        "hydra_plugins.mlrun_sweep.MlrunSweeper": {"params": _PARAMS},
        "hydra_plugins.mlrun_sweep.OptunaSweeper": _SEARCH,
    }
)

_DIRNAME = {**_all(_TEXT, "kv_sep", "item_sep"), "exclude_keys": [_TEXT]}
_JOB = {
    **_all(_NAME, "name", "id", "num", "config_name"),
    **_all(NOTHING, "chdir", "env_set", "env_copy"),
    "config": {"override_dirname": _DIRNAME},
}
OWN_PLUGIN = Each(ANYTHING, names=r"_target_|(?!_\w+_$).+")  # of the user: allow=[…]
SETTINGS: Mapping[str, Shape] = {
    "callbacks": Each(Plugin({})),
    "hydra_logging": _LOGGING,
    "job": _JOB,
    "job_logging": _LOGGING,
    "launcher": _LAUNCHER,
    "output_subdir": NOTHING,
    "searchpath": NOTHING,
    "sweeper": _SWEEPER,
    "verbose": ANYTHING,  # true, false, or names of loggers
}
# Texts, which stay as they are: Hydra's own types hold nothing else.
TEXTS = ("mode", "run", "sweep", "help", "hydra_help", "overrides", "runtime")
# The command line may go beyond the shapes of these settings.
FREE = ("launcher", "output_subdir", "searchpath")
