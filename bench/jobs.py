"""The training jobs of `make bench`, with files that have the shapes of the real tasks.

The values are random: a signal plus noise, with a fixed seed. So anyone can run the benchmark, and
every contestant that learns reaches about the same loss. Speed depends on the shapes only.
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FLOATS = NDArray[np.float32]


@dataclass(frozen=True)
class Job:
    """A training job: every contestant trains and validates it every epoch."""

    name: str
    task: str  # task whose files it reads
    sizes: tuple[int, ...]  # inputs, hidden layers, outputs
    batch: int
    loss: str  # mse | cross_entropy
    rate: float = 0.01
    momentum: float = 0.9
    channels: tuple[int, ...] = ()  # convolutions before the first hidden layer

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one row's forward pass through the linear layers."""
        return sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))

    def overrides(self, data: Path) -> list[str]:
        """Return the mlrun overrides for this job."""
        hidden = ",".join(map(str, self.sizes[1:-1]))
        channels = ",".join(map(str, self.channels))
        model = ["model=mlp"]
        if self.channels:
            model = ["model=cnn", f"model.channels=[{channels}]", "model.norm=none"]
        return [
            f"task={self.task}",
            f"paths.data={data}",
            *model,
            *(f"model.hidden=[{hidden}]", "model.activation=relu", "model.dropout=0"),
            *("optimizer=sgd", f"optimizer.lr={self.rate}", f"optimizer.momentum={self.momentum}"),
            *("scheduler=constant", "trainer.l1=0", "trainer.patience=null"),
            *(
                f"loss={self.loss}",
                f"trainer.batch_size={self.batch}",
                "trainer.monitor=valid/loss",
            ),
            *SPLITS[self.task],
        ]


SPLITS = {
    "covid": ["data.features=all", "data.split.ratio=0.2"],
    "phone_price": ["data.split.ratio=0.2"],
    "mnist": [f"data.split.ratio={1 / 6}"],
}
JOBS = {
    job.name: job
    for job in (
        Job("covid", "covid", (117, 16, 8, 1), 256, "mse"),
        Job("phone_price", "phone_price", (20, 128, 256, 4), 64, "cross_entropy"),
        Job("mnist_mlp_32", "mnist", (784, 256, 10), 32, "cross_entropy"),
        Job("mnist_mlp_128", "mnist", (784, 256, 10), 128, "cross_entropy"),
        Job("mnist_cnn", "mnist", (784, 128, 10), 128, "cross_entropy", channels=(32, 64)),
    )
}


def write_files(data: Path) -> None:
    """Write the files of the three tasks in their real size (MNIST: a fifth of the images)."""
    generator = np.random.default_rng(0)
    _write_table(data / "covid" / "covid.train.csv", _covid(generator, 2700), "tested_positive.4")
    _write_table(data / "phone_price" / "train.csv", _phones(generator, 2000), "price_range")
    test = pd.read_csv(data / "covid" / "covid.train.csv").drop(columns="tested_positive.4")
    test.to_csv(data / "covid" / "covid.test.csv", index=False)
    _write_digits(generator, data / "mnist")


def _covid(generator: np.random.Generator, rows: int) -> tuple[FLOATS, FLOATS]:
    inputs = generator.normal(size=(rows, 117))
    signal = inputs @ generator.normal(size=117) / np.sqrt(117)
    return inputs.astype(np.float32), 10 + signal + 0.5 * generator.normal(size=rows)


def _phones(generator: np.random.Generator, rows: int) -> tuple[FLOATS, NDArray[np.int64]]:
    inputs = generator.normal(size=(rows, 20))
    score = inputs @ generator.normal(size=20) + generator.normal(size=rows)
    return inputs.astype(np.float32), np.argsort(np.argsort(score)) * 4 // rows


def _write_table(path: Path, table: tuple[FLOATS, NDArray[np.generic]], target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs, targets = table
    frame = pd.DataFrame(inputs, columns=[f"feature_{i}" for i in range(inputs.shape[1])])
    frame.assign(**{target: targets}).to_csv(path, index_label="id")


def _write_digits(generator: np.random.Generator, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shapes = generator.integers(0, 256, size=(10, 28, 28))
    for stem, count in (("train", 12_000), ("t10k", 1_000)):
        labels = np.arange(count) % 10
        noise = generator.integers(0, 256, size=(count, 28, 28))
        images = (0.15 * shapes[labels] + 0.85 * noise).astype(np.uint8)
        _write_idx(folder / f"{stem}-images-idx3-ubyte.gz", images)
        _write_idx(folder / f"{stem}-labels-idx1-ubyte.gz", labels.astype(np.uint8))


def _write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))
