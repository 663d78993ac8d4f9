"""The only file that touches what Hydra, OmegaConf and PyYAML keep to themselves.

Written against hydra-core 1.3.8 and omegaconf 2.3.1, the newest that pyproject.toml allows.
tests/test_hydra_patches.py has a canary for each of these names.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import hydra._internal.hydra as hydra_internals
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import OmegaConfDumper

ConfigLoader = ConfigLoaderImpl


@contextmanager
def patched(check: Callable[[Any], None], *, may_set_mode: bool) -> Iterator[None]:
    """Change three things of Hydra for this block; all is as before afterwards.

    Hydra builds loggers, callbacks and plugins as soon as it has composed: `check` looks at the
    plain `hydra` node before. It composes everything once more to read hydra.mode, which only
    users set. OmegaConf reads YAML with yaml.SafeLoader, which exists in C, too.

    Args:
        check: called with the composed `hydra` node, unresolved; raises to refuse it.
        may_set_mode: whether the user's words or files could say hydra.mode.
    """

    class Checked(ConfigLoaderImpl):
        def load_configuration(self, *arguments: Any, **named: Any) -> DictConfig:
            config = super().load_configuration(*arguments, **named)
            check(OmegaConf.to_container(config.hydra))
            return config

    changes: list[tuple[Any, str, Any]] = [
        (hydra_internals, "ConfigLoaderImpl", Checked),
        (yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader)),
    ]
    if not may_set_mode:
        changes.append((hydra_internals.Hydra, "get_mode", lambda *_, **__: None))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def typed(arguments: Sequence[str]) -> Iterator[None]:
    """Let Hydra see these command-line words, which it takes from sys.argv."""
    before, sys.argv = sys.argv, ["mlrun", *arguments]
    try:
        yield
    finally:
        sys.argv = before


def known_flags() -> list[str]:
    """The options that Hydra's command line has, e.g. --multirun."""
    return [flag for action in get_args_parser()._actions for flag in action.option_strings]


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Set values in a configuration as Hydra does, with its checks and its errors."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def overrides_dirname(overrides: Sequence[Override], told: Mapping[str, Any]) -> str:
    """What Hydra makes of `${hydra.job.override_dirname}`.

    Args:
        overrides: of the job.
        told: the node hydra.job.config.override_dirname.
    """
    separators = {"kv_sep": told["kv_sep"], "item_sep": told["item_sep"]}
    exclude = list(told["exclude_keys"])
    return str(get_overrides_dirname(list(overrides), exclude_keys=exclude, **separators))


def returned(job: JobReturn) -> Any:
    """What a job returned, or its exception; asking `return_value` would raise that."""
    return job._return_value


def to_yaml(value: Any) -> str:
    """Plain values as OmegaConf.to_yaml writes them, in a fraction of the time."""
    return str(
        yaml.dump(
            value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
        )
    )


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Puts in quotes what would be read as something else than a text."""


_Dumper.add_representer(str, OmegaConfDumper.str_representer)
