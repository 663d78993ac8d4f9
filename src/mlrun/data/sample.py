"""Sample data for the three tasks, so that everything runs without files and network.

covid and phone_price are random, with the column names, types and ranges of the real files and a
learnable signal; mnist uses scikit-learn's real 8x8 handwritten digits, enlarged to 28x28. The data
is written to files, so that runs use the same code as with real files. Scores on it say nothing
about the real data.
"""

import functools
import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.locate import wants_sample
from mlrun.errors import MlrunError
from mlrun.system.files import read_bytes, write_atomically
from mlrun.system.locks import take
from mlrun.system.no_links import distrust, opened, refused

FOLDER = Path("data") / "sample"
ROWS = {"covid": (2699, 1078), "phone_price": (2000, 1000), "mnist": (1437, 360)}  # train, test
STATES = [
    "AL",
    "AK",
    "AZ",
    "AR",
    "CA",
    "CO",
    "CT",
    "FL",
    "GA",
    "ID",
    "IL",
    "IN",
    "IA",
    "KS",
    "KY",
    "LA",
    "MD",
    "MA",
    "MI",
    "MN",
    "MS",
    "MO",
    "NE",
    "NV",
    "NJ",
    "NM",
    "NY",
    "NC",
    "OH",
    "OK",
    "OR",
    "RI",
    "SC",
    "TX",
    "UT",
    "VA",
    "WA",
]
# One day of the survey: name, typical value, spread between states, spread from day to day.
SURVEY = (
    ("cli", 1.1, 0.4, 0.04),
    ("ili", 1.1, 0.4, 0.04),
    ("hh_cmnty_cli", 22.0, 7.0, 0.4),
    ("nohh_cmnty_cli", 17.0, 6.0, 0.4),
    ("wearing_mask", 72.0, 15.0, 0.8),
    ("travel_outside_state", 11.0, 4.0, 0.4),
    ("work_outside_home", 34.0, 4.0, 0.4),
    ("shop", 63.0, 5.0, 0.5),
    ("restaurant", 26.0, 8.0, 0.5),
    ("spent_time", 45.0, 7.0, 0.5),
    ("large_event", 14.0, 5.0, 0.4),
    ("public_transit", 4.0, 2.0, 0.2),
    ("anxious", 14.0, 3.0, 0.3),
    ("depressed", 11.0, 2.5, 0.3),
    ("worried_finances", 36.0, 5.0, 0.4),
)
# One phone: name, smallest and largest value, decimals.
PHONE = (
    ("battery_power", 501, 1998, 0),
    ("blue", 0, 1, 0),
    ("clock_speed", 0.5, 3.0, 1),
    ("dual_sim", 0, 1, 0),
    ("fc", 0, 19, 0),
    ("four_g", 0, 1, 0),
    ("int_memory", 2, 64, 0),
    ("m_dep", 0.1, 1.0, 1),
    ("mobile_wt", 80, 200, 0),
    ("n_cores", 1, 8, 0),
    ("pc", 0, 20, 0),
    ("px_height", 0, 1960, 0),
    ("px_width", 500, 1998, 0),
    ("ram", 256, 3998, 0),
    ("sc_h", 5, 19, 0),
    ("sc_w", 0, 18, 0),
    ("talk_time", 2, 20, 0),
    ("three_g", 0, 1, 0),
    ("touch_screen", 0, 1, 0),
    ("wifi", 0, 1, 0),
)


def folder_or_sample(folder: Path, sample: str | None) -> tuple[Path, bool]:
    """Return the folder to read, and whether it is the one of the sample data `sample`.

    Raises:
        MlrunError: like `write_sample`.
    """
    if sample is not None and wants_sample(folder, sample):
        return write_sample(sample), True
    return folder, False


def write_sample(name: str) -> Path:
    """Write the sample files to data/sample/<name> and return that folder.

    Raises:
        MlrunError: there is no such sample, or the folder cannot be written or has links.
    """
    if name not in _SAMPLES:
        raise MlrunError(f"data.sample={name}: must be one of {', '.join(_SAMPLES)} or null")
    folder = FOLDER / name
    # The current folder may come from a stranger, whose links would lead elsewhere.
    distrust(FOLDER)
    if FOLDER.is_symlink():
        raise refused(FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with opened(folder / ".lock", "ab") as lock:
            take(lock.fileno(), wait=True)  # of runs that start at once, one writes
            for file, content in _contents(name, *ROWS[name]).items():
                if not _has(folder / file, content):
                    write_atomically(folder / file, content)
    except OSError as error:
        raise MlrunError(f"cannot write sample data to {folder}: {error.strerror}") from None
    return folder


def _has(file: Path, content: bytes) -> bool:
    return file.is_file() and read_bytes(file) == content


@functools.cache  # the jobs of a sweep need it repeatedly
def _contents(name: str, train_rows: int, test_rows: int) -> dict[str, bytes]:
    return _SAMPLES[name](train_rows, test_rows)


def _covid(train_rows: int, test_rows: int) -> dict[str, bytes]:
    train, test = _survey(train_rows, seed=1), _survey(test_rows, seed=2)
    return {
        "covid.train.csv": _csv(train),
        "covid.test.csv": _csv(test.drop(columns="tested_positive.4")),
    }


def _survey(rows: int, *, seed: int) -> pd.DataFrame:
    """Five days in a state: a random walk of infections drives symptoms and positive tests."""
    random = np.random.default_rng(seed)
    state = random.integers(len(STATES), size=rows)
    table: dict[str, NDArray[np.generic]] = {"id": np.arange(rows)}
    table |= {name: (state == number).astype(int) for number, name in enumerate(STATES)}
    level = random.gamma(4.0, 2.5, size=rows)  # percent of positive tests on the first day
    habits = {name: random.normal(size=rows) for name, *_ in SURVEY}
    for day in range(5):
        suffix = f".{day}" if day else ""
        for name, typical, between, daily in SURVEY:
            drawn = typical + between * habits[name] + daily * random.normal(size=rows)
            follows = between / 4 * (level - 10) if "cli" in name or "ili" in name else 0.0
            table[name + suffix] = np.clip(drawn + follows, 0, 100).round(7)
        table["tested_positive" + suffix] = np.clip(
            level + 0.5 * random.normal(size=rows), 0, 100
        ).round(7)
        mask = (table["wearing_mask" + suffix].astype(float) - 72) / 15
        level = np.clip(level * (1.02 - 0.04 * mask) + 0.5 * random.normal(size=rows), 0.1, 60)
    return pd.DataFrame(table)


def _phone_price(train_rows: int, test_rows: int) -> dict[str, bytes]:
    train, test = _phones(train_rows, seed=3), _phones(test_rows, seed=4)
    test = test.drop(columns="price_range")
    test.insert(0, "id", np.arange(1, len(test) + 1))
    return {"train.csv": _csv(train), "test.csv": _csv(test)}


def _phones(rows: int, *, seed: int) -> pd.DataFrame:
    """Phones with independent features; memory, battery and pixels determine the price."""
    random = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            name: random.uniform(low - 0.5 * (digits == 0), high + 0.5 * (digits == 0), rows)
            .round(digits)
            .clip(low, high)
            for name, low, high, digits in PHONE
        }
    )
    whole = [name for name, *_, digits in PHONE if digits == 0]
    table[whole] = table[whole].astype(int)
    price = table["ram"] + 0.5 * table["battery_power"]
    price += 0.3 * (table["px_height"] + table["px_width"]) + 80 * random.normal(size=rows)
    table["price_range"] = pd.qcut(price, 4, labels=False)
    return table


def _csv(table: pd.DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


def _mnist(train_rows: int, test_rows: int) -> dict[str, bytes]:
    """The 1,797 optical digits in scikit-learn (from UCI); four fifths are for training."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = _enlarge(digits.images), digits.target
    order = np.random.default_rng(5).permutation(len(labels))
    train, test = order[:train_rows], order[train_rows:][:test_rows]
    return {
        "train-images-idx3-ubyte.gz": _idx(images[train]),
        "train-labels-idx1-ubyte.gz": _idx(labels[train]),
        "t10k-images-idx3-ubyte.gz": _idx(images[test]),
        "t10k-labels-idx1-ubyte.gz": _idx(labels[test]),
    }


def _enlarge(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale (n, 8, 8) levels 0..16 by 3 and pad by 2 to (n, 28, 28) levels 0..255."""
    large = np.kron(images, np.ones((1, 3, 3))) * 255 / 16
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))


def _idx(array: NDArray[np.generic]) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


_SAMPLES: dict[str, Callable[[int, int], dict[str, bytes]]] = {
    "covid": _covid,
    "phone_price": _phone_price,
    "mnist": _mnist,
}
