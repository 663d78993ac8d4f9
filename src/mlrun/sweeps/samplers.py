"""The samplers of a search: random, tpe and cmaes of Optuna, and a grid."""

import itertools
from typing import Any

from mlrun.errors import MlrunError
from mlrun.sweeps.search_record import SearchPlan
from mlrun.sweeps.search_space import Space, values_of

try:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
except ImportError:
    raise MlrunError("hydra/sweeper=optuna needs: pip install 'mlrun-cli[sweep]'") from None


def sampler_of(plan: SearchPlan, space: Space, number: int) -> optuna.samplers.BaseSampler:
    """Return the sampler for the batch that starts with this trial; equal after a resume."""
    kind, seed = plan.sampler, plan.seed + number
    if kind == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if kind == "cmaes":
        return optuna.samplers.CmaEsSampler(seed=seed)
    if kind == "grid":
        return _Grid(space, plan.trials)
    return optuna.samplers.TPESampler(seed=seed)


class _Grid(optuna.samplers.BaseSampler):
    """A grid sampler; Optuna's own would stop a study, which works only inside optimize()."""

    def __init__(self, space: Space, trials: int) -> None:
        values = {key: values_of(found) for key, found in space.ranges.items()}
        points = itertools.islice(itertools.product(*values.values()), trials)
        self._points = [dict(zip(values, point, strict=True)) for point in points]

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        """Implement Optuna's hook: there is no joint sampling."""
        return {}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        """Implement Optuna's hook."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Implement Optuna's hook: return one value of a trial."""
        return self._points[trial.number % len(self._points)][name]
