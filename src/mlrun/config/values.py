"""A configuration as plain values, with references and with resolved references."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.config.references import limited_references
from mlrun.errors import MlrunError
from mlrun.system.secrets import remember

NOT_SET = "???"


@dataclass(frozen=True)
class Composed:
    """A whole configuration without the `hydra` node; do not change its values."""

    raw: Mapping[str, Any]  # as composed, with references to other values
    values: Mapping[str, Any]  # the same values with resolved references

    def changed(self, changes: Mapping[str, Any]) -> "Composed":
        """Return a copy with other values at some keys, and at keys that refer to them.

        Args:
            changes: key (e.g. `trainer.epochs`) → value.

        Raises:
            MlrunError: like `composed`.
        """
        config = OmegaConf.create(dict(self.raw))
        for key, value in changes.items():
            OmegaConf.update(config, key, value)
        return composed(config)

    def seeded(self, seeds: Iterable[int]) -> Iterator["Composed"]:
        """Yield a copy for each seed, as `changed` does, in half the time."""
        config = OmegaConf.create(dict(self.raw))
        for seed in seeds:
            OmegaConf.update(config, "seed", seed)
            yield composed(config)

    @property
    def key_without_seed(self) -> str:
        """A key that is equal for configurations that differ only in the value of `seed`.

        It compares composed values, because a reference to the seed has many spellings
        (`${seed}`, `${oc.select:seed}`, `${...seed}`, `${rates.${seed}}`).
        """
        return json.dumps([{**self.raw, "seed": None}, {**self.values, "seed": None}])


def composed(config: DictConfig) -> Composed:
    """Convert a composed configuration.

    Its secrets are remembered, so that no message repeats them.

    Raises:
        MlrunError: a reference leads nowhere, or references describe too many values.
    """
    try:
        raw: Any = OmegaConf.to_container(config)
        remember(raw)
        with limited_references():
            values: Any = OmegaConf.to_container(config, resolve=True)
        remember(values)
    except RecursionError:
        raise MlrunError(
            "the values or references of the configuration are nested too deeply"
        ) from None
    except OmegaConfBaseException as error:
        raise MlrunError(f"{error.full_key}: {str(error.msg).splitlines()[0]}") from error
    return Composed(raw, values)
