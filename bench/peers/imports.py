"""The minimum that a run of mlrun needs: torch, pandas and Hydra's composition of conf/."""

import sys

import pandas  # noqa: F401
import torch  # noqa: F401
from hydra import compose, initialize_config_dir

from mlrun.config.options import CONF
from mlrun.config.schema import register

if __name__ == "__main__":
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", overrides=sys.argv[1:])
