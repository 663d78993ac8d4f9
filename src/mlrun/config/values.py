"""A configuration as plain values: what Hydra composed and what comes of its references."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.errors import MlrunError

NOT_SET = "???"


@dataclass(frozen=True)
class Composed:
    """A whole configuration, without the `hydra` node; not to be changed."""

    raw: Mapping[str, Any]  # as it was asked for, with references to other values
    values: Mapping[str, Any]  # the same, every reference resolved

    def changed(self, changes: Mapping[str, Any]) -> "Composed":
        """The same with other values at some keys, and at those that refer to them.

        Args:
            changes: by keys like `trainer.epochs`.

        Raises:
            MlrunError: as `composed`.
        """
        config = OmegaConf.create(dict(self.raw))
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
        return composed(config)

    def seeded(self, seeds: Iterable[int]) -> Iterator["Composed"]:
        """The same for each seed, as `changed` gives it, in half the time."""
        config = OmegaConf.create(dict(self.raw))
        for seed in seeds:
            OmegaConf.update(config, "seed", seed)
            yield composed(config)

    @property
    def but_for_the_seed(self) -> str:
        """A key: configurations share it if they differ in nothing but the value of `seed`.

        It compares composed values, because a reference to the seed has many spellings
        (`${seed}`, `${oc.select:seed}`, `${...seed}`, `${rates.${seed}}`).
        """
        return json.dumps([{**self.raw, "seed": None}, {**self.values, "seed": None}])


def composed(config: DictConfig) -> Composed:
    """What Hydra, or OmegaConf, made.

    Raises:
        MlrunError: a reference to what is not there.
    """
    try:
        raw: Any = OmegaConf.to_container(config)
        values: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise MlrunError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    return Composed(raw, values)
