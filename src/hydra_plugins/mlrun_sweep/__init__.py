"""mlrun's sweeper and launcher, where Hydra looks for plugins.

Hydra imports this at every start: what the two do is in mlrun.sweeps and imported when used.
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
    params: dict[str, str] = field(default_factory=dict)  # values, beside those that are typed


@dataclass
class _LauncherConf:
    _target_: str = "hydra_plugins.mlrun_sweep.MlrunLauncher"
    per_device: int | None = None  # processes for each GPU; null trains all jobs in this one


@dataclass
class _OptunaConf:
    _target_: str = "hydra_plugins.mlrun_sweep.OptunaSweeper"
    params: dict[str, str] = field(default_factory=dict)  # ranges, beside those that are typed
    sampler: str = "tpe"  # tpe | random | grid | cmaes
    n_trials: int = 64
    n_jobs: int = 16  # trials that are trained together, before the next ones are chosen
    seed: int = 0


_store = ConfigStore.instance().store
_store(group="hydra/launcher", name="mlrun", node=_LauncherConf, provider="mlrun")
_store(group="hydra/sweeper", name="mlrun", node=_SweeperConf, provider="mlrun")
_store(group="hydra/sweeper", name="optuna", node=_OptunaConf, provider="mlrun")


class MlrunLauncher(Launcher):
    """Trains the jobs of a sweep in this process, together where the engine can."""

    def __init__(self, per_device: int | None) -> None:
        """It is read from `hydra.launcher` when it is needed."""
        if per_device is not None and per_device < 1:
            raise MlrunError(f"hydra.launcher.per_device={per_device}: at least 1, or null")

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
        from mlrun.sweeps.launch import launch

        setup_globals()
        return launch(self.config, self.loader, job_overrides, initial_job_idx)


class MlrunSweeper(Sweeper):
    """Every combination of the values on the command line, composed and frozen before the first."""

    def __init__(self, **settings: Any) -> None:
        """Settings are read from `hydra.sweeper` when they are needed."""

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
        from mlrun.sweeps.launch import sweep

        setup_globals()
        return sweep(self.config, self.loader, self.launcher, arguments)


class OptunaSweeper(MlrunSweeper):
    """Points chosen by what those before came to."""

    def sweep(self, arguments: list[str]) -> Any:
        """Hydra's hook."""
        from mlrun.sweeps.search import search

        setup_globals()
        return search(self.config, self.loader, self.launcher, arguments)
