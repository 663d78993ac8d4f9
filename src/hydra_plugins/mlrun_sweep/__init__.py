"""mlrun's sweepers and launcher, in the package where Hydra searches for plugins.

Hydra imports this at every start, so the implementation in mlrun.sweeps is imported only when used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mlrun.errors import MlrunError


@dataclass
class _SweeperConf:
    _target_: str = "hydra_plugins.mlrun_sweep.MlrunSweeper"
    params: dict[str, str] = field(default_factory=dict)  # values, in addition to the command line


@dataclass
class _LauncherConf:
    _target_: str = "hydra_plugins.mlrun_sweep.MlrunLauncher"
    per_device: int | None = None  # processes per GPU; null: train all jobs in this process


@dataclass
class _OptunaConf:
    _target_: str = "hydra_plugins.mlrun_sweep.OptunaSweeper"
    params: dict[str, str] = field(default_factory=dict)  # ranges, in addition to the command line
    sampler: str = "tpe"  # tpe | random | grid | cmaes
    n_trials: int = 64
    n_jobs: int = 16  # trials to train together before proposing the next ones
    seed: int = 0


_store = ConfigStore.instance().store
_store(group="hydra/launcher", name="mlrun", node=_LauncherConf, provider="mlrun")
_store(group="hydra/sweeper", name="mlrun", node=_SweeperConf, provider="mlrun")
_store(group="hydra/sweeper", name="optuna", node=_OptunaConf, provider="mlrun")


class MlrunLauncher(Launcher):
    """Trains the jobs of a sweep in this process, together where the engine can."""

    def __init__(self, per_device: int | None) -> None:
        """Check the setting; it is read from `hydra.launcher` later."""
        if per_device is not None and per_device < 1:
            raise MlrunError(f"hydra.launcher.per_device={per_device}: must be at least 1, or null")

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Implement Hydra's hook."""
        self.loader: Any = hydra_context.config_loader
        self.config: DictConfig = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Implement Hydra's hook, for sweepers other than mlrun's."""
        from mlrun.sweeps.launch import launch

        setup_globals()
        return launch(self.config, self.loader, job_overrides, initial_job_idx)


class MlrunSweeper(Sweeper):
    """Runs every combination of the values on the command line; freezes all jobs first."""

    def __init__(self, **settings: Any) -> None:
        """Accept the settings; they are read from `hydra.sweeper` later."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Implement Hydra's hook."""
        self.loader: Any = hydra_context.config_loader
        self.config: DictConfig = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Implement Hydra's hook."""
        from mlrun.sweeps.launch import sweep_grid

        setup_globals()
        return sweep_grid(self.config, self.loader, self.launcher, arguments)


class OptunaSweeper(MlrunSweeper):
    """Runs points that Optuna proposes by earlier results."""

    def sweep(self, arguments: list[str]) -> Any:
        """Implement Hydra's hook."""
        from mlrun.sweeps.search import search

        setup_globals()
        return search(self.config, self.loader, self.launcher, arguments)
