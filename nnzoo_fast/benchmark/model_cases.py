"""The models that `nnzoo-fast bench models` times: one of each family of ours, and those of other libraries.

All of them have their published sizes, random weights and no dropout, so that two implementations can be compared.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnzoo_fast import huggingface, models, pyg
from nnzoo_fast.accelerate import accelerate, restore
from nnzoo_fast.backends import STOCK_BACKEND
from nnzoo_fast.benchmark.graphs import OnGraph
from nnzoo_fast.benchmark.ops import FORWARD, TRAINING
from nnzoo_fast.graph import Graph
from nnzoo_fast.models import peers
from nnzoo_fast.ops.gather_scatter.spec import skewed
from nnzoo_fast.spec import Maker

Inputs = dict[str, Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True)
class Model:
    """A model worth timing.

    Args:
        id: what it is, and what it is given.
        make: the model with random weights, ours or stock.
        inputs: arguments of a call.
        stock: makes the one to compare with of a copy, which runs on `stock_backend`.
        fast: makes ours of a copy.
        library: the one that it comes from, "" for ours.
        check: arguments of a smaller call to compare results on; by default those of `inputs`.
        quick: time it in a quick run too.
        compiles: the works that torch.compile is timed at.
        packs: whether `pack` may change something.
    """

    id: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], Inputs]
    stock: Callable[[nn.Module], nn.Module] = lambda model: model
    fast: Callable[[nn.Module], nn.Module] = accelerate
    library: str = ""
    check: Callable[[], Inputs] | None = None
    quick: bool = False
    compiles: tuple[str, ...] = ()
    packs: bool = True

    @property
    def stock_backend(self) -> str | None:
        """Layers that torch.nn has no class for run on stock operators because they are told to."""
        return None if self.library else STOCK_BACKEND


def _images(count: int, size: int = 224) -> Callable[[], Inputs]:
    return lambda: (torch.randn(count, 3, size, size),)


def _tokens(count: int, length: int) -> Callable[[], Inputs]:
    return lambda: (torch.randint(1000, (count, length)),)


def _values(*shape: int) -> Callable[[], Inputs]:
    return lambda: (torch.randn(shape),)


_ours = functools.partial(Model, stock=restore, fast=lambda model: model, compiles=(FORWARD, TRAINING))

NODES, EDGES, FEATURES, CLASSES = 2708, 10556, 1433, 7
"""The sizes of Cora, published with GCN and GAT."""


def _on_graph(make: Callable[[], nn.Module], graph: bool = True) -> nn.Module:
    edges = skewed(Maker(), NODES, EDGES)
    return OnGraph(make(), Graph(edges, NODES) if graph else edges)


PUBLISHED = [
    _ours("MLP 784-512-512-10, 256 images", models.MLP, _values(256, 1, 28, 28), quick=True),
    _ours("ResNet-50, 2 images", lambda: models.create("resnet50"), _images(2), check=_images(2, 64)),
    _ours(
        "LSTM language model 650x2, 20 texts of 35",
        lambda: models.CharLSTM(10000, 650, 650, 2),
        _tokens(20, 35),
        check=_tokens(3, 7),
        quick=True,
    ),
    _ours(
        "ConvLSTM 64x2, 4 videos of 5x16x16x16",
        lambda: models.ConvLSTMForecaster(16, 64),
        _values(4, 5, 16, 16, 16),
        check=_values(1, 2, 16, 16, 16),
        compiles=(FORWARD,),  # every step is unrolled, which takes minutes with gradients
    ),
    _ours("BERT-base, 2 texts of 64", lambda: models.create("bert", dropout=0.0), _tokens(2, 64), check=_tokens(1, 9)),
    _ours("GPT-2, 1 text of 128", lambda: models.create("gpt2", dropout=0.0), _tokens(1, 128), check=_tokens(1, 9)),
    _ours(
        "ViT-B/16, 1 image",
        lambda: models.create("vit_b_16"),
        _images(1),
    ),
    _ours(
        "GCN 1433-16-7, a graph of the size of Cora",
        lambda: _on_graph(lambda: models.GCN(FEATURES, 16, 2, CLASSES)),
        _values(NODES, FEATURES),
        quick=True,
    ),
    _ours(
        "GAT 1433-8x8-7, a graph of the size of Cora",
        lambda: _on_graph(lambda: models.GAT(FEATURES, 64, 2, CLASSES, heads=8)),
        _values(NODES, FEATURES),
    ),
]


def _torchvision(name: str, count: int = 2, check: int = 64, **options) -> Model:
    def make() -> nn.Module:
        return getattr(peers.torchvision().models, name)(**options)

    images = "1 image" if count == 1 else f"{count} images"
    return Model(f"{name}, {images}", make, _images(count), library="torchvision", check=_images(count, check))


def _transformers(id: str, kind: str, inputs: Callable[[], Inputs], check: Callable[[], Inputs], **sizes) -> Model:
    def make() -> nn.Module:
        made = getattr(peers.module("transformers"), kind)
        config = made.config_class(**sizes)
        for key in [key for key in vars(config) if "drop" in key and isinstance(getattr(config, key), float)]:
            setattr(config, key, 0.0)
        return made(config)

    return Model(id, make, inputs, fast=huggingface.accelerate, library="transformers", check=check)


def _two_texts(source: int, target: int) -> Callable[[], Inputs]:
    return lambda: {
        "input_ids": torch.randint(3, 1000, (2, source)),
        "decoder_input_ids": torch.randint(3, 1000, (2, target)),
    }


def _speech() -> Inputs:
    return {"input_features": torch.randn(1, 80, 3000), "decoder_input_ids": torch.randint(3, 1000, (1, 32))}


def _pyg(name: str, *sizes: int, **options) -> Model:
    def make() -> nn.Module:
        return _on_graph(
            lambda: getattr(peers.module("torch_geometric.nn.models"), name)(*sizes, **options), graph=False
        )

    text = f"{name} {'-'.join(map(str, sizes))}, a graph of the size of Cora"
    inputs = _values(NODES, FEATURES)
    return Model(text, make, inputs, fast=pyg.accelerate, library="torch_geometric", packs=False)


WHISPER_TINY = dict(d_model=384, encoder_layers=4, decoder_layers=4, encoder_ffn_dim=1536, decoder_ffn_dim=1536)
T5_SMALL = dict(d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, decoder_start_token_id=0)

FOREIGN = [
    _torchvision("resnet50"),
    _torchvision("efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0),
    _torchvision("vgg16", 1, 224, dropout=0.0),
    _torchvision("vit_b_16", 1, 224),
    _transformers("BertModel (base), 2 texts of 64", "BertModel", _tokens(2, 64), _tokens(1, 9)),
    _transformers("GPT2LMHeadModel, 1 text of 128", "GPT2LMHeadModel", _tokens(1, 128), _tokens(1, 9)),
    _transformers("ViTModel (base), 1 image", "ViTModel", _images(1), _images(1)),
    _transformers(
        "WhisperModel (tiny), 30 s",
        "WhisperModel",
        _speech,
        _speech,
        **WHISPER_TINY,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
    ),
    _transformers("T5Model (small), 2 texts of 128", "T5Model", _two_texts(128, 32), _two_texts(9, 5), **T5_SMALL),
    _pyg("GCN", FEATURES, 16, 2, CLASSES),
    _pyg("GraphSAGE", FEATURES, 64, 2, CLASSES),
    _pyg("GAT", FEATURES, 64, 2, CLASSES, heads=8),
]


LIBRARIES = list(dict.fromkeys(model.library for model in FOREIGN))


def cases(quick: bool) -> list[Model]:
    """What to time here: models of libraries that are installed."""
    there = {library for library in LIBRARIES if importlib.util.find_spec(library) is not None}
    found = [model for model in (*PUBLISHED, *FOREIGN) if not model.library or model.library in there]
    return [model for model in found if model.quick] if quick else found
