"""Write the files of the jobs, and the rows that mlrun reads from them as arrays for all."""

import sys
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from jobs import JOBS, Job, write_files

from mlrun.config.options import CONF
from mlrun.config.schema import register, settings_of
from mlrun.config.values import composed
from mlrun.runs.job import Job as Prepared
from mlrun.runs.job import prepare


def main(folder: Path) -> None:
    """Write everything into `folder`."""
    write_files(folder / "data")
    for job in JOBS.values():
        write_arrays(job, folder)


def write_arrays(job: Job, folder: Path) -> None:
    """Write the training and validation rows of a job, preprocessed by mlrun."""
    ready = prepared(job, folder)
    train, valid = ready.features()
    place = folder / job.name
    place.mkdir(exist_ok=True)
    np.save(place / "train_inputs.npy", train.inputs.numpy())
    np.save(place / "valid_inputs.npy", valid.inputs.numpy())
    np.save(place / "train_targets.npy", train.targets.numpy())
    np.save(place / "valid_targets.npy", ready.learner.objective.encode(valid.targets).numpy())


def prepared(job: Job, folder: Path) -> Prepared:
    """Return the job in the state that mlrun has at the start of training."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=job.overrides(folder / "data"))
    whole = composed(config)
    return prepare(whole, settings_of(whole.values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
