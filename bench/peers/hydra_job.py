"""A job for Hydra's multirun: train one seed with the notebook loop or Lightning."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

import hydra

sys.path.insert(0, str(Path(__file__).parent))


@hydra.main(version_base="1.3", config_path=None)
def main(config: Any) -> None:
    """Train, then print the end time."""
    script = f"{config.script}.py"
    flags = ["--template"] if config.script == "with_lightning" else []
    sys.argv = [script, str(config.data), "covid", str(config.epochs), *flags]
    importlib.import_module(config.script).main()
    print(f"END {time.perf_counter()}", flush=True)


if __name__ == "__main__":
    main()
