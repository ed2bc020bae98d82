"""Real data for the recipes and benchmarks: images, text and a graph.

Each loader reads a folder (its argument, else the environment variable NNZOO_DATA), laid out as

    DIR/mnist/t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte   MNIST, optionally with train-*; plain or .gz
    DIR/text/*.txt                                             UTF-8
    DIR/cora/cora.npz                                          the Planetoid split of Cora, without pickles

and without a folder returns what ships in a dependency: scikit-learn's digits, the topics of Python's own help,
Zachary's karate club from networkx. A folder that was named but lacks the file is an error, never a silent change of
data.
"""

from __future__ import annotations

import gzip
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

IMAGE_SIZE = 28
_IDX_UBYTE = 0x08


@dataclass(frozen=True)
class Images:
    """Grey images float32 [N, 1, 28, 28] in 0..1 with labels int64 [N]; `source` says where they come from."""

    train: torch.Tensor
    train_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor
    classes: int
    source: str


@dataclass(frozen=True)
class Text:
    """Characters as int64 [N], numbered by their place in `symbols`: the first 90 % for training, the rest for test."""

    train: torch.Tensor
    test: torch.Tensor
    symbols: str
    source: str


@dataclass(frozen=True)
class GraphData:
    """One graph: features float32 [N, F], edge_index int64 [2, E] (source, target), labels int64 [N], masks."""

    features: torch.Tensor
    edge_index: torch.Tensor
    labels: torch.Tensor
    train_mask: torch.Tensor
    test_mask: torch.Tensor
    classes: int
    source: str


def data_folder(directory: str | os.PathLike | None) -> Path | None:
    """`directory`, else NNZOO_DATA, else None.

    Raises:
        FileNotFoundError: the folder that was named does not exist.
    """
    named = directory or os.environ.get("NNZOO_DATA")
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        origin = "--data" if directory else "NNZOO_DATA"
        raise FileNotFoundError(f"{origin}: there is no folder {folder}")
    return folder


def images(directory: str | os.PathLike | None = None) -> Images:
    """MNIST from `directory`, else scikit-learn's 8x8 digits enlarged to 28x28.

    With only the 10,000 test images of MNIST at hand, the first 8,000 train and the last 2,000 test.

    Raises:
        FileNotFoundError: the folder has no MNIST.
        ValueError: a file is not what its name says.
    """
    folder = data_folder(directory)
    if folder is None:
        return _digits()
    pixels, labels = _mnist_part(folder, "t10k")
    if _idx_file(folder, "train-images-idx3-ubyte") is None:
        split = 8 * len(pixels) // 10
        parts = pixels[:split], labels[:split], pixels[split:], labels[split:]
    else:
        parts = *_mnist_part(folder, "train"), pixels, labels
    return Images(*parts, classes=10, source=f"MNIST ({len(parts[0])} train, {len(parts[2])} test)")


def text(directory: str | os.PathLike | None = None) -> Text:
    """Every `DIR/text/*.txt` one after the other, else the help topics of Python.

    Raises:
        FileNotFoundError: the folder has no text.
        ValueError: a file is not UTF-8, or all of them together are shorter than 1,000 characters.
    """
    folder = data_folder(directory)
    if folder is None:
        from pydoc_data.topics import topics

        content, source = "\n".join(topics[name] for name in sorted(topics)), "Python's pydoc_data.topics"
    else:
        files = sorted((folder / "text").glob("*.txt"))
        if not files:
            raise FileNotFoundError(f"{folder / 'text'}: no *.txt file; expected the text to train on")
        content, source = "".join(map(_read_text, files)), ", ".join(file.name for file in files)
        if len(content) < 1000:
            raise ValueError(f"{folder / 'text'}: {len(content)} characters, expected at least 1000")
    symbols = "".join(sorted(set(content)))
    place = {symbol: number for number, symbol in enumerate(symbols)}
    codes = torch.tensor([place[symbol] for symbol in content])
    split = 9 * len(codes) // 10
    return Text(codes[:split], codes[split:], symbols, f"{source} ({len(content)} characters, {len(symbols)} symbols)")


def graph(directory: str | os.PathLike | None = None) -> GraphData:
    """Cora with its public split and rows of features that sum to 1, else Zachary's karate club.

    Raises:
        FileNotFoundError: the folder has no `cora/cora.npz`.
        ValueError: the file lacks an array, or its indices lie outside the graph.
    """
    folder = data_folder(directory)
    return _karate_club() if folder is None else _cora(folder / "cora" / "cora.npz")


def _idx_file(folder: Path, name: str) -> Path | None:
    candidates = [folder / "mnist" / name, folder / "mnist" / f"{name}.gz"]
    return next((path for path in candidates if path.is_file()), None)


def _mnist_part(folder: Path, prefix: str) -> tuple[torch.Tensor, torch.Tensor]:
    arrays = []
    for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        path = _idx_file(folder, name)
        if path is None:
            raise FileNotFoundError(f"{folder / 'mnist'}: no {name} or {name}.gz; expected MNIST's IDX files")
        arrays.append(read_idx(path))
    pixels, labels = arrays
    if pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE) or labels.shape != pixels.shape[:1] or labels.max(initial=0) > 9:
        raise ValueError(
            f"{folder / 'mnist'}: {prefix} has images {list(pixels.shape)} and labels {list(labels.shape)}, expected "
            "[N, 28, 28] and [N] with labels 0..9"
        )
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255, torch.from_numpy(labels).long()


def read_idx(path: Path) -> np.ndarray:
    """A file of unsigned bytes in the IDX format of MNIST, plain or gzipped: two zero bytes, the type, the rank, then
    sizes as big-endian int32, then the values.

    Raises:
        ValueError: the header or the length is wrong.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: broken gzip file: {error}") from None
    if len(content) < 4 or content[:3] != bytes((0, 0, _IDX_UBYTE)):
        raise ValueError(f"{path}: not an IDX file of unsigned bytes (starts with {content[:4].hex(' ')})")
    rank = content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise ValueError(f"{path}: ends inside its header")
    shape = tuple(int(size) for size in np.frombuffer(content, ">i4", rank, 4))
    expected = int(np.prod(shape, dtype=np.int64))
    if min(shape, default=0) < 0 or len(content) - start != expected:
        raise ValueError(f"{path}: {len(content) - start} bytes of values, expected {expected} for {list(shape)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _digits() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    pixels = torch.nn.functional.interpolate(small, IMAGE_SIZE, mode="bilinear", align_corners=False)
    labels = torch.from_numpy(bunch.target).long()
    split = 8 * len(pixels) // 10
    source = f"scikit-learn digits, enlarged ({split} train, {len(pixels) - split} test)"
    return Images(pixels[:split], labels[:split], pixels[split:], labels[split:], 10, source)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8: {error}") from None


_CORA_ARRAYS = (
    "feature_rows",
    "feature_cols",
    "num_nodes",
    "num_features",
    "edge_index",
    "y",
    "train_mask",
    "test_mask",
)


def _cora(path: Path) -> GraphData:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the graph Cora")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in _CORA_ARRAYS if name not in archive]
            if missing:
                raise ValueError(f"{path}: lacks {', '.join(missing)}")
            arrays = {name: archive[name] for name in _CORA_ARRAYS}
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a readable npz file: {error}") from None
    nodes, width = int(arrays["num_nodes"]), int(arrays["num_features"])
    for name, limit in (("feature_rows", nodes), ("feature_cols", width), ("edge_index", nodes)):
        if arrays[name].size and not 0 <= arrays[name].min() <= arrays[name].max() < limit:
            raise ValueError(f"{path}: {name} has values outside 0..{limit - 1}")
    for name in ("y", "train_mask", "test_mask"):
        if arrays[name].shape != (nodes,):
            raise ValueError(f"{path}: {name} is {list(arrays[name].shape)}, expected [{nodes}]")
    features = torch.zeros(nodes, width)
    features[arrays["feature_rows"], arrays["feature_cols"]] = 1.0
    features /= features.sum(1, keepdim=True).clamp(min=1)
    labels = torch.from_numpy(arrays["y"]).long()
    edges = torch.from_numpy(arrays["edge_index"]).long()
    return GraphData(
        features,
        edges,
        labels,
        torch.from_numpy(arrays["train_mask"]),
        torch.from_numpy(arrays["test_mask"]),
        classes=int(labels.max()) + 1,
        source=f"Cora ({nodes} nodes, {edges.shape[1]} edges)",
    )


def _karate_club() -> GraphData:
    """Features are one-hot, the labels the two clubs; two members of each train."""
    import networkx

    club = networkx.karate_club_graph()
    edges = torch.tensor(list(club.edges)).t()
    labels = torch.tensor([int(club.nodes[node]["club"] == "Officer") for node in club])
    train = torch.zeros(len(labels), dtype=torch.bool)
    for name in range(2):
        train[(labels == name).nonzero()[:2]] = True
    both_ways = torch.cat([edges, edges.flip(0)], dim=1)
    source = f"Zachary's karate club ({len(labels)} nodes, {both_ways.shape[1]} edges)"
    return GraphData(torch.eye(len(labels)), both_ways, labels, train, ~train, 2, source)
