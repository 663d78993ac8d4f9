"""Predict the learning rates of later epochs with a copy of the schedule."""

from typing import NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mlrun.training.schedule import PER_STEP, advance_epoch, advance_step
from mlrun.training.torch_private import schedule_of_its_own
from mlrun.training.types import Learner


class Rates(NamedTuple):
    """The learning rate of each step, and its momentum or Adam's first beta."""

    rates: list[float]
    momenta: list[float]


class Forecast:
    """A copy of a schedule that predicts its rates."""

    def __init__(self, learner: Learner) -> None:
        self._scheduler = schedule_of_its_own(learner.scheduler, learner.optimizer)
        self._optimizer = self._scheduler.optimizer

    def next_epoch(self, steps: int) -> Rates:
        """Return the rates of the epoch after the last predicted one."""
        advance_epoch(self._scheduler)
        return rates_of(self._scheduler, self._optimizer, steps)


def rates_of(scheduler: LRScheduler, optimizer: Optimizer, steps: int) -> Rates:
    """Return the rates of the next steps; a schedule that counts steps advances."""
    rates, momenta, group = [], [], optimizer.param_groups[0]
    for _ in range(steps if isinstance(scheduler, PER_STEP) else 1):
        rates.append(float(group["lr"]))
        momenta.append(float(group["betas"][0] if "betas" in group else group.get("momentum", 0)))
        advance_step(scheduler)
    repeated = steps // len(rates)
    return Rates(rates * repeated, momenta * repeated)
