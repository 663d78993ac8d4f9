"""Compose configurations with Hydra inside a program, without hydra.main."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlrun.config.explain import explain
from mlrun.config.hydra_patches import ConfigLoader, patched
from mlrun.config.hydra_settings import check_hydra
from mlrun.config.options import CONF, own_conf
from mlrun.config.recorded import check_launcher
from mlrun.config.schema import register
from mlrun.errors import JobsFailed, MlrunError
from mlrun.system.signals import Interrupted

NAME = "config"  # conf/config.yaml


class OwnConf(SearchPathPlugin):
    """Adds the user's ./conf after mlrun's conf/: it adds options and replaces none."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Implement Hydra's hook."""
        folder = own_conf()
        if folder is not None:
            search_path.append("mlrun-own-conf", f"file://{folder}")


def prepare_hydra() -> None:
    """Register the schema and the user's ./conf in Hydra; repeated calls are allowed."""
    register()
    Plugins.instance().register(OwnConf)
    if os.environ.get("MLRUN_DATA") == "":
        del os.environ["MLRUN_DATA"]  # treat an empty variable as not set


def check_composed(config: DictConfig, words: Sequence[str]) -> None:
    """Check what Hydra has composed before it builds anything; see `check_hydra`.

    Raises:
        MlrunError: naming the refused setting.
    """
    check_hydra(config, words)
    check_launcher(OmegaConf.to_container(config))


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf into messages for users.

    Raises:
        MlrunError: instead of their exceptions.
    """
    try:
        yield
    except (BrokenPipeError, Interrupted, JobsFailed, MlrunError):
        raise
    except Exception as error:
        raise MlrunError(explain(error)) from error


@contextmanager
def composing(words: Sequence[str], *, sweep: bool) -> Iterator[tuple[DictConfig, ConfigLoader]]:
    """Yield the composed configuration, including its `hydra` node, and Hydra's loader.

    It restores Hydra's global state afterwards.

    Args:
        words: overrides, as on the command line.
        sweep: whether they may have several values, which the configuration does not contain.

    Raises:
        MlrunError: the overrides are invalid.
    """
    prepare_hydra()
    before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    with patched(check_composed, may_set_mode=True):
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
                loader: Any = GlobalHydra.instance().config_loader()
                mode = RunMode.MULTIRUN if sweep else RunMode.RUN
                with explained():
                    config = loader.load_configuration(NAME, [*words], run_mode=mode)
                if not sweep:
                    HydraConfig.instance().set_config(config)  # for ${hydra:…}
                yield config, loader
        finally:
            GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before


def plain_overrides(config: DictConfig) -> list[str]:
    """Return the overrides of a composed configuration, as typed."""
    words: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    return [str(word) for word in words]
