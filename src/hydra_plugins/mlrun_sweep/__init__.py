"""mlrun's sweeper and launcher, where Hydra looks for plugins.

Hydra imports this at every start: what the two do is in mlrun.sweep and imported when used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class _SweeperConf:
    _target_: str = "hydra_plugins.mlrun_sweep.MlrunSweeper"


@dataclass
class _LauncherConf:
    _target_: str = "hydra_plugins.mlrun_sweep.MlrunLauncher"


for _group, _node in (("hydra/sweeper", _SweeperConf), ("hydra/launcher", _LauncherConf)):
    ConfigStore.instance().store(group=_group, name="mlrun", node=_node, provider="mlrun")


class MlrunLauncher(Launcher):
    """Trains the jobs of a sweep in this process, together where the engine can."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's hook."""
        self.loader: Any = hydra_context.config_loader
        self.config: DictConfig = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's hook, for sweepers that are not ours."""
        from mlrun.sweep.launch import launch

        setup_globals()
        return launch(self.config, self.loader, job_overrides, initial_job_idx)


class MlrunSweeper(Sweeper):
    """Every combination of the values on the command line, composed and frozen before the first."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Hydra's hook."""
        self.loader: Any = hydra_context.config_loader
        self.config: DictConfig = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's hook."""
        from mlrun.sweep.launch import sweep

        setup_globals()
        return sweep(self.config, self.loader, self.launcher, arguments)
