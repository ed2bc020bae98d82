"""The data loaders: what they return, and what they say of missing or broken files."""

import gzip
import os
import struct

import numpy as np
import pytest
import torch

from nnzoo_fast import data

REAL = os.environ.get("NNZOO_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NNZOO_DATA names no folder of real data")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("NNZOO_DATA", raising=False)


def idx(values):
    values = np.asarray(values, np.uint8)
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    generator = np.random.default_rng(0)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(generator.integers(0, 256, (10, 28, 28))))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(10)))
    return tmp_path


def cora_arrays():
    return dict(
        feature_rows=np.array([0, 0, 1], np.int32),
        feature_cols=np.array([0, 2, 1], np.int32),
        num_nodes=np.int64(3),
        num_features=np.int64(4),
        edge_index=np.array([[0, 1], [1, 2]], np.int32),
        y=np.array([0, 1, 1], np.int8),
        train_mask=np.array([True, False, False]),
        test_mask=np.array([False, True, True]),
    )


def write_cora(root, **changes):
    arrays = {name: value for name, value in {**cora_arrays(), **changes}.items() if value is not None}
    (root / "cora").mkdir(exist_ok=True)
    np.savez(root / "cora" / "cora.npz", **arrays)
    return root


def check_images(found):
    assert found.train.shape[1:] == found.test.shape[1:] == (1, 28, 28)
    assert found.train.dtype == torch.float32 and found.train_labels.dtype == torch.int64
    assert len(found.train) == len(found.train_labels) and len(found.test) == len(found.test_labels)
    assert found.train.min() >= 0 and found.train.max() <= 1
    assert int(found.train_labels.max()) < found.classes


def test_what_ships_with_dependencies():
    check_images(data.images())
    words = data.text()
    assert len(words.train) > 8 * len(words.test) > 0
    assert int(words.train.max()) < len(words.symbols)
    club = data.graph()
    assert club.features.shape == (34, 34) and club.edge_index.shape == (2, 156)
    assert not (club.train_mask & club.test_mask).any()


@needs_real
def test_real_data():
    pictures = data.images(REAL)
    check_images(pictures)
    assert (len(pictures.train), len(pictures.test)) == (8000, 2000)
    assert len(data.text(REAL).symbols) == 65
    cora = data.graph(REAL)
    assert cora.features.shape == (2708, 1433) and int(cora.train_mask.sum()) == 140


def test_the_environment_names_the_folder(mnist, monkeypatch):
    monkeypatch.setenv("NNZOO_DATA", str(mnist))
    assert len(data.images().train) == 8
    monkeypatch.setenv("NNZOO_DATA", str(mnist / "nowhere"))
    with pytest.raises(FileNotFoundError, match="NNZOO_DATA.*nowhere"):
        data.images()


def test_gzipped_and_full_mnist(mnist):
    folder = mnist / "mnist"
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros((20, 28, 28)))))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.zeros(20))))
    found = data.images(mnist)
    assert (len(found.train), len(found.test)) == (20, 10)


@pytest.mark.parametrize("load, expected", [(data.images, "mnist"), (data.text, "txt"), (data.graph, "cora.npz")])
def test_a_missing_file_is_named(load, expected, tmp_path):
    with pytest.raises(FileNotFoundError, match=expected):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="--data: there is no folder"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x01", "not an IDX file"),
        (b"\x00\x00\x08\x03\x00", "ends inside its header"),
        (idx(np.zeros((10, 28, 28)))[:-1], "7839 bytes of values, expected 7840"),
        (struct.pack(">4B3i", 0, 0, 8, 3, -1, 28, 28), "expected"),
        (idx(np.zeros((10, 27, 28))), r"expected \[N, 28, 28\]"),
    ],
)
def test_broken_idx_files(mnist, content, message):
    (mnist / "mnist" / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.images(mnist)


def test_broken_gzip(mnist):
    (mnist / "mnist" / "t10k-labels-idx1-ubyte").rename(mnist / "mnist" / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(ValueError, match="broken gzip"):
        data.images(mnist)


def test_labels_that_do_not_fit(mnist):
    (mnist / "mnist" / "t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(10) + 1))
    with pytest.raises(ValueError, match="labels 0..9"):
        data.images(mnist)


def test_text_that_is_none(tmp_path):
    (tmp_path / "text").mkdir()
    file = tmp_path / "text" / "a.txt"
    file.write_bytes(b"\xff\xfe" * 1000)
    with pytest.raises(ValueError, match="a.txt: not UTF-8"):
        data.text(tmp_path)
    file.write_text("short")
    with pytest.raises(ValueError, match="5 characters"):
        data.text(tmp_path)
    file.write_text("abc" * 1000)
    assert data.text(tmp_path).symbols == "abc"


def test_cora_and_its_faults(tmp_path):
    found = data.graph(write_cora(tmp_path))
    assert found.features[0].tolist() == [0.5, 0.0, 0.5, 0.0] and found.features[2].sum() == 0
    for change, message in [
        (dict(y=None), "lacks y"),
        (dict(edge_index=np.array([[0, 3], [1, 2]])), r"edge_index has values outside 0\.\.2"),
        (dict(feature_cols=np.array([0, 2, -1])), "feature_cols"),
        (dict(train_mask=np.array([True])), r"train_mask is \[1\], expected \[3\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.graph(write_cora(tmp_path, **change))
    (tmp_path / "cora" / "cora.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ValueError, match="not a readable npz"):
        data.graph(tmp_path)
