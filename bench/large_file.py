"""`make large-file`: measure a CSV of 1,000,000 rows and 118 columns (docs/large-files.md).

Writes a random file and trains the default network for one epoch, twice, starting with an empty
cache folder. Reports the peak memory of both runs beyond that of Python and torch. Then reports how
long the first 2,700, 27,000 … rows take to read, the first and the second time.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from mlrun.data.table_file import read_table
from mlrun.system import data_files

ROWS, COLUMNS = 1_000_000, 118
TENSOR = 4 * ROWS * (COLUMNS - 1)  # bytes of all features as float32
JOB = (
    "task=csv data.train=big.csv data.target=y trainer.epochs=1 trainer.batch_size=1024 quiet=true"
)


def draw(path: Path) -> None:
    """Write normal random numbers; the last column is the sum of the first five plus noise."""
    random = np.random.default_rng(0)
    names = [*(f"c{number}" for number in range(COLUMNS - 1)), "y"]
    with path.open("w") as file:
        file.write(",".join(names) + "\n")
        for _ in range(0, ROWS, 20_000):
            values = random.normal(size=(20_000, COLUMNS))
            values[:, -1] = values[:, :5].sum(axis=1) + 0.1 * values[:, -1]
            np.savetxt(file, values, fmt="%.5f", delimiter=",")


def beginning(path: Path, rows: int) -> Path:
    """Copy the first rows into a new file; return its path."""
    shorter = path.with_name(f"{rows}.csv")
    with path.open() as whole, shorter.open("w") as file:
        file.writelines(islice(whole, rows + 1))
    return shorter


def seconds_to_read(path: Path) -> float:
    """Return the time to parse or memory-map the file, as in a new process."""
    data_files._sha256.cache_clear()
    begun = time.perf_counter()
    read_table(path)
    return time.perf_counter() - begun


def peak(*words: str) -> int:
    """Run Python with these arguments; return its peak memory in bytes."""
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)} failed")
    return used.ru_maxrss * 1024


def main() -> None:
    """Measure and print everything."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["XDG_CACHE_HOME"] = folder
        draw(Path("big.csv"))
        idle = peak("-c", "import torch, pandas, mlrun.runs.single")
        print(f"the features take {TENSOR / 1e6:.0f} MB, Python and torch {idle / 1e6:.0f} MB")
        for run in ("first", "second"):
            more = peak("-m", "mlrun", *JOB.split()) - idle
            print(f"{run} run: {more / 1e6:.0f} MB more, {more / TENSOR:.2f} times the features")
        read_table(beginning(Path("big.csv"), 10))  # imports the modules for reading
        for rows in (2_700, 27_000, 270_000, ROWS):
            path = beginning(Path("big.csv"), rows)
            shutil.rmtree(Path(folder, "mlrun"), ignore_errors=True)
            first, second = seconds_to_read(path), seconds_to_read(path)
            each = f"{first / rows * 1e6:.1f} µs per row"
            print(f"{rows:>9,} rows: {first:.3f} s ({each}), then {second:.3f} s")


if __name__ == "__main__":
    main()
