"""Images in the IDX format: what is read, what is refused, what is fetched."""

import gzip
import json
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mlrun.data.dataset import Dataset
from mlrun.data.images import HASHES, STEMS, URL, read_idx
from mlrun.errors import MlrunError

from .conftest import idx_bytes
from .test_tabular import data_of

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
HEADER = struct.pack(">4B3I", 0, 0, 8, 3, *IMAGES.shape)
PATH = Path("images-idx3-ubyte")


def load(**settings: Any) -> Dataset:
    dataset: Dataset = data_of("mnist", **settings).load()
    return dataset


def read(content: bytes, dimensions: int = 3) -> np.ndarray:
    PATH.write_bytes(content)
    return read_idx(PATH, dimensions=dimensions)


def rewrite(folder: Path, name: str, array: np.ndarray) -> None:
    """Replace one of the fixture's files, gzipped or not."""
    for path in folder.glob(f"{name}*"):
        path.unlink()
    (folder / f"{name}-ubyte").write_bytes(idx_bytes(array))


# --- one file -------------------------------------------------------------------------------


def test_a_plain_file_is_read():
    np.testing.assert_array_equal(read(idx_bytes(IMAGES)), IMAGES)


def test_a_gzipped_file_is_read_whatever_its_name():
    np.testing.assert_array_equal(read(gzip.compress(idx_bytes(IMAGES))), IMAGES)


def test_a_file_of_several_gzip_members_is_read():
    content = idx_bytes(IMAGES)
    both = gzip.compress(content[:20]) + gzip.compress(content[20:])
    np.testing.assert_array_equal(read(both), IMAGES)


def test_labels_have_one_dimension():
    assert read(idx_bytes(np.array([7, 2, 1])), dimensions=1).tolist() == [7, 2, 1]


def test_labels_where_images_are_due_are_refused():
    with pytest.raises(MlrunError, match=r"starts with 00 00 08 01, but .* 00 00 08 03"):
        read(idx_bytes(np.array([7, 2, 1])))


@pytest.mark.parametrize(
    ("content", "start"),
    [(b"", "nothing"), (b"<html>", "3c 68 74 6d"), (b"\0\0\x0d\x03" + HEADER[4:], "00 00 0d 03")],
    ids=["empty", "a-web-page", "floats"],
)
def test_another_format_is_refused_with_its_first_bytes(content, start):
    with pytest.raises(MlrunError, match=f"{PATH}: starts with {start}, but an IDX file"):
        read(content)


@pytest.mark.parametrize("change", [-1, -23, 1], ids=["a-byte-short", "one-byte-left", "too-long"])
def test_a_payload_of_another_length_is_refused(change):
    content = idx_bytes(IMAGES)[:change] if change < 0 else idx_bytes(IMAGES) + bytes(change)
    words = (
        f"truncated or damaged: the header announces 2 x 3 x 4 elements, but {24 + change} bytes"
    )
    with pytest.raises(MlrunError, match=words):
        read(content)


def test_a_file_that_ends_within_its_dimensions_is_refused():
    with pytest.raises(MlrunError, match="truncated or damaged"):
        read(HEADER[:8])


def test_a_file_without_elements_is_refused():
    with pytest.raises(MlrunError, match="has no elements"):
        read(idx_bytes(np.empty((0, 28, 28))))


def test_dimensions_beyond_any_memory_are_refused():
    with pytest.raises(MlrunError, match=r"announces 4294967295 x "):
        read(HEADER[:4] + b"\xff" * 12)


@pytest.mark.parametrize("length", [5, 20, -4])
def test_a_truncated_gzip_file_is_refused(length):
    with pytest.raises(MlrunError, match="damaged or truncated gzip"):
        read(gzip.compress(idx_bytes(IMAGES))[:length])


def test_a_damaged_gzip_file_is_refused():
    content = bytearray(gzip.compress(idx_bytes(IMAGES)))
    content[-6] ^= 1
    with pytest.raises(MlrunError, match="damaged or truncated gzip"):
        read(bytes(content))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(MlrunError, match="cannot read nowhere: No such file"):
        read_idx(Path("nowhere"), dimensions=3)


any_rest = st.binary(max_size=40).map(lambda rest: HEADER[:4] + rest)
sound = arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=3)).map(idx_bytes)
gzipped = (any_rest | sound).map(gzip.compress)
cut_short = st.tuples(sound | gzipped, st.integers(0, 60)).map(lambda pair: pair[0][: pair[1]])


@given(st.binary(max_size=40) | any_rest | sound | gzipped | cut_short)
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_an_array_or_a_refusal(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any"
        path.write_bytes(content)
        try:
            array = read_idx(path, dimensions=3)
        except MlrunError:
            return
    assert array.ndim == 3
    assert array.size > 0


# --- the four files -------------------------------------------------------------------------


@pytest.mark.usefixtures("mnist_files")
def test_gzipped_images_and_plain_labels_are_loaded():
    dataset = load()
    assert dataset.spec.in_shape == (1, 8, 8)
    assert dataset.spec.classes == ("0", "1", "2", "3")
    assert dataset.spec.header == ("id", "label")
    assert not dataset.sample


@pytest.mark.usefixtures("mnist_files")
def test_a_tenth_of_the_training_images_validates():
    dataset = load()
    assert (len(dataset.train), len(dataset.valid)) == (54, 6)
    assert sorted(dataset.train.ids + dataset.valid.ids) == list(range(60))


@pytest.mark.usefixtures("mnist_files")
def test_the_test_images_are_tested_and_predicted():
    dataset = load()
    assert dataset.test is dataset.predict
    assert dataset.predict.ids == list(range(20))
    assert dataset.predict.targets is not None
    assert dataset.predict.targets.tolist() == [row % 4 for row in range(20)]


@pytest.mark.usefixtures("mnist_files")
def test_an_image_keeps_its_label():
    train = load().train
    assert train.targets is not None
    assert (train.inputs[:, 0, :, 0].float().argmax(dim=1) == train.targets * 2).all()


@pytest.mark.usefixtures("mnist_files")
def test_training_images_are_standardised():
    dataset = load()
    pixels = dataset.preprocess(dataset.train.inputs)
    assert pixels.mean().item() == pytest.approx(0, abs=1e-5)
    assert pixels.std(correction=0).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.usefixtures("mnist_files")
def test_a_recorded_contract_is_used_as_it_is():
    contract = load().contract | {"mean": 0.5}
    again = data_of("mnist").load(contract=json.loads(json.dumps(contract)))
    assert again.contract == contract


def test_recorded_files_are_read_where_they_were(mnist_files):
    files = load().files
    mnist_files.rename("elsewhere")
    moved = {role: Path("elsewhere", path.name) for role, path in files.items()}
    dataset = data_of("mnist").load(files=moved)
    assert dataset.files == moved
    assert not dataset.sample


def test_blank_images_are_not_divided_by_zero(mnist_files):
    rewrite(mnist_files, "train-images-idx3", np.zeros((60, 8, 8)))
    dataset = load()
    assert dataset.contract == {"input": "images", "mean": 0.0, "std": 1.0}


@pytest.mark.usefixtures("mnist_files")
def test_a_recorded_split_is_drawn_again():
    dataset = data_of("mnist").load(split={"train": [3, 1], "valid": [2]})
    assert (dataset.train.ids, dataset.valid.ids) == ([3, 1], [2])


def test_a_folder_may_be_named(mnist_files):
    mnist_files.rename("elsewhere")
    assert load(dir="elsewhere").files["train_images"].parent == Path("elsewhere")


def test_more_images_than_labels_are_refused(mnist_files):
    rewrite(mnist_files, "train-labels-idx1", np.arange(59) % 4)
    with pytest.raises(MlrunError, match=r"train-images.* has 60 images, but .*train-labels.* 59"):
        load()


def test_test_images_of_another_size_are_refused(mnist_files):
    rewrite(mnist_files, "t10k-images-idx3", np.ones((20, 9, 9)))
    with pytest.raises(MlrunError, match=r"t10k.*\(9, 9\) pixels, but .*train.*\(8, 8\)"):
        load()


def test_one_class_only_is_refused(mnist_files):
    rewrite(mnist_files, "train-labels-idx1", np.full(60, 3))
    with pytest.raises(MlrunError, match=r"train-labels.*only one class"):
        load()


def test_a_file_that_is_missing_is_named_with_the_way_to_fetch_it(mnist_files):
    (mnist_files / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MlrunError, match=r"no file t10k-labels.* or .*\.gz in .*download=true"):
        load()


@pytest.mark.usefixtures("mnist_files")
def test_a_new_file_of_images_has_no_targets():
    data = data_of("mnist")
    dataset = data.load()
    rows = data.read_file(
        Path("data/mnist/t10k-images-idx3-ubyte.gz"), dataset.contract, dataset.spec
    )
    assert rows.targets is None
    assert torch.equal(rows.inputs, dataset.predict.inputs)


@pytest.mark.usefixtures("mnist_files")
def test_new_images_of_another_size_are_refused():
    data = data_of("mnist")
    dataset = data.load()
    PATH.write_bytes(idx_bytes(IMAGES))
    with pytest.raises(MlrunError, match=r"\(3, 4\) pixels; the model needs \(8, 8\)"):
        data.read_file(PATH, dataset.contract, dataset.spec)


# --- fetching -------------------------------------------------------------------------------


def test_a_failed_download_names_url_folder_and_files(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(MlrunError, match="cannot download") as caught:
        load(download=True)
    assert f"{URL}train-images-idx3-ubyte.gz" in str(caught.value)
    assert "into data/mnist" in str(caught.value)
    assert all(f"{stem}.gz" in str(caught.value) for stem in STEMS.values())


def test_another_file_than_expected_is_refused(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("the hash does not match")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    with pytest.raises(MlrunError, match=r"cannot download .* \(ValueError\)"):
        load(download=True)


def test_only_what_is_missing_is_fetched(mnist_files, monkeypatch):
    missing = mnist_files / "train-images-idx3-ubyte.gz"
    content = missing.read_bytes()
    missing.unlink()
    fetched = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> None:
        fetched.append((url, known_hash))
        (path / fname).write_bytes(content)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    assert len(load(download=True).train) == 54
    assert fetched == [(f"{URL}{missing.name}", f"sha256:{HASHES['train_images']}")]


@pytest.mark.usefixtures("mnist_files")
def test_nothing_is_downloaded_by_default(monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("fetched"))
    Path("data/mnist/t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(MlrunError, match="no file t10k-labels"):
        load()
