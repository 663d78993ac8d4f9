"""Hydra's hello world, without torch: the minimum cost of `--cfg job`."""

from dataclasses import dataclass
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore


@dataclass
class Settings:
    """A configuration."""

    name: str = "world"


ConfigStore.instance().store("config", Settings)


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config: Any) -> None:
    """Greet."""
    print(f"hello {config.name}")


if __name__ == "__main__":
    main()
