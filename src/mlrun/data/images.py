"""Images in the IDX format of MNIST: four files, gzipped or plain."""

import gzip
import io
import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mlrun.data.dataset import CLASSIFICATION, Dataset, Spec, divided
from mlrun.data.locate import find
from mlrun.data.preprocess.module import Contract
from mlrun.data.rows import Rows
from mlrun.data.sample import folder_or_sample
from mlrun.data.split import split_or_recorded
from mlrun.data.split_settings import Split
from mlrun.errors import MlrunError
from mlrun.system.data_files import unchanged

log = logging.getLogger(__name__)

STEMS = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
# SHA-256 of the four .gz files as published by Y. LeCun, C. Cortes and C. Burges.
HASHES = {
    "train_images": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train_labels": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "test_images": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "test_labels": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
UNSIGNED_BYTE = 0x08  # the only IDX element type in these files


@dataclass(frozen=True)
class Images:
    """The settings of conf/data/mnist.yaml; `load` reads the files."""

    dir: str
    prediction: str
    download: bool
    sample: str | None
    split: Mapping[str, Any]
    needs: ClassVar = tuple(STEMS)  # roles of the required files

    def find_files(self) -> tuple[dict[str, Path], bool]:
        """Return role → file, and whether the files are sample data.

        Raises:
            MlrunError: a file is missing, or cannot be downloaded.
        """
        if self.download:
            _download(Path(self.dir))
        folder, sample = folder_or_sample(Path(self.dir), None if self.download else self.sample)
        found = {}
        for role, stem in STEMS.items():
            path = find(folder, [stem, f"{stem}.gz"], key="data.dir (or data.download=true)")
            assert path is not None
            found[role] = path
        return found, sample

    def load(
        self,
        *,
        files: Mapping[str, Path] | None = None,
        split: Any = None,
        contract: Contract | None = None,
        sample: bool = False,
    ) -> Dataset:
        """Read, check and split; the arguments are those of `Tabular.load`.

        Raises:
            MlrunError: a file is missing or malformed, or does not match the others.
        """
        method = Split.of(self.split)
        if files is None:
            files, sample = self.find_files()
        with unchanged(*files.values()):
            train = _Labelled.read(files["train_images"], files["train_labels"])
            test = _Labelled.read(files["test_images"], files["test_labels"])
            _check_learnable(train, test, files)
            parts = split_or_recorded(method, split, train.labels, kind=CLASSIFICATION)
            return divided(
                train.rows,
                parts,
                spec=self._spec(train, test),
                contract=contract or _fit(train.images[parts["train"]]),
                others=(scored := test.rows),
                scored=scored,
                files=files,
                sample=sample,
            )

    def read_file(
        self, path: Path, contract: Contract, spec: Spec, *, allow_unknown: bool = False
    ) -> Rows:
        """Read the images of an IDX file for a trained model; the file has no labels."""
        with unchanged(path):
            images = read_idx(path, dimensions=3)
        if images.shape[1:] != spec.in_shape[1:]:
            raise MlrunError(
                f"{path}: images of {images.shape[1:]} pixels; the model needs {spec.in_shape[1:]}"
            )
        return Rows(torch.from_numpy(images).unsqueeze(1), None, list(range(len(images))))

    def _spec(self, train: "_Labelled", test: "_Labelled") -> Spec:
        classes = int(max(train.labels.max(), test.labels.max())) + 1
        return Spec(
            kind=CLASSIFICATION,
            in_shape=(1, *train.images.shape[1:]),
            out_features=classes,
            classes=tuple(str(number) for number in range(classes)),
            target=self.prediction,
            header=("id", self.prediction),
        )


@dataclass(frozen=True)
class _Labelled:
    """Images (n, height, width) and their labels (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    @classmethod
    def read(cls, images: Path, labels: Path) -> "_Labelled":
        pixels = read_idx(images, dimensions=3)
        numbers = read_idx(labels, dimensions=1).astype(np.int64)
        if len(pixels) != len(numbers):
            raise MlrunError(
                f"{images} has {len(pixels)} images, but {labels} has {len(numbers)} labels"
            )
        return cls(pixels, numbers)

    @property
    def rows(self) -> Rows:
        pixels = torch.from_numpy(self.images).unsqueeze(1)
        return Rows(pixels, torch.from_numpy(self.labels), range(len(self.labels)))


def _check_learnable(train: _Labelled, test: _Labelled, files: Mapping[str, Path]) -> None:
    sizes = train.images.shape[1:]
    if test.images.shape[1:] != sizes:
        raise MlrunError(
            f"{files['test_images']}: images of {test.images.shape[1:]} pixels, "
            f"but {files['train_images']} has images of {sizes} pixels"
        )
    if train.labels.min() == train.labels.max():
        raise MlrunError(f"{files['train_labels']}: only one class, so there is nothing to learn")


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or plain.

    The format: two zero bytes, the element type, the number of dimensions, each dimension as a
    big-endian 32-bit number, the elements (http://yann.lecun.com/exdb/mnist/).

    Raises:
        MlrunError: the file is unreadable, truncated, or has another type or dimensions.
    """
    header = 4 + 4 * dimensions
    content = _read_bytes(path, header)
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise MlrunError(
            f"{path}: starts with {content[:4].hex(' ') or 'nothing'}, but an IDX file of "
            f"{dimensions} dimension(s) starts with {magic.hex(' ')}"
        )
    if len(content) < header:
        raise MlrunError(f"{path}: truncated or damaged: the header is incomplete")
    shape = [int(size) for size in np.frombuffer(content[4:header], dtype=">u4")]
    expected = math.prod(shape)
    if len(content) - header != expected:
        raise MlrunError(
            f"{path}: truncated or damaged: the header announces {' x '.join(map(str, shape))} "
            f"elements, but {len(content) - header} bytes follow"
        )
    if expected == 0:
        raise MlrunError(f"{path} has no elements")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape).copy()


def _read_bytes(path: Path, header: int) -> bytes:
    """Read header and elements; unpack at most one byte more than the header announces."""
    try:
        content = path.read_bytes()
        if content[:2] != b"\x1f\x8b":
            return content
        with gzip.open(io.BytesIO(content)) as unpacked:
            start = unpacked.read(header)
            sizes = np.frombuffer(start[4 : len(start) // 4 * 4], dtype=">u4")
            return start + b"".join(_pieces(unpacked, math.prod(map(int, sizes)) + 1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise MlrunError(f"{path}: damaged or truncated gzip file ({error})") from None
    except OSError as error:
        raise MlrunError(f"cannot read {path}: {error.strerror}") from None


def _pieces(file: gzip.GzipFile, most: int) -> Iterator[bytes]:
    """Yield up to `most` bytes in chunks of 1 MB; a damaged header may announce any size."""
    while piece := file.read(min(most, 2**20)):
        most -= len(piece)
        yield piece


def _fit(images: NDArray[np.uint8]) -> Contract:
    """Compute mean and standard deviation of all training pixels, scaled to 0..1."""
    counts = np.bincount(images.ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = float((counts * levels).sum() / counts.sum())
    variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
    return {"input": "images", "mean": mean, "std": math.sqrt(variance) or 1.0}


def _download(folder: Path) -> None:
    """Download missing files and check their hashes."""
    import pooch

    for role, stem in STEMS.items():
        name = f"{stem}.gz"
        if (folder / name).is_file() or (folder / stem).is_file():
            continue
        log.info("downloading %s%s", URL, name)
        try:
            pooch.retrieve(URL + name, known_hash=f"sha256:{HASHES[role]}", fname=name, path=folder)
        except (OSError, ValueError) as error:  # no network, or a wrong hash
            names = ", ".join(f"{stem}.gz" for stem in STEMS.values())
            raise MlrunError(
                f"cannot download {URL}{name} ({type(error).__name__}); "
                f"put these files from {URL} into {folder}: {names}"
            ) from error
