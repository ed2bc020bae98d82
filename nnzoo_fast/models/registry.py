"""The published models by name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from nnzoo_fast.graph import Graph
from nnzoo_fast.models.arguments import checked_count
from nnzoo_fast.models.attention import GPT
from nnzoo_fast.models.bert import BERTForPreTraining
from nnzoo_fast.models.convolutional import VGGS, AlexNet, LeNet
from nnzoo_fast.models.dense import FCN, UNet
from nnzoo_fast.models.efficient import EFFICIENTNETS
from nnzoo_fast.models.feed_forward import MLP
from nnzoo_fast.models.graph import GAT, GCN, GIN, GATv2, GraphSAGE
from nnzoo_fast.models.link_prediction import GAE, VGAE
from nnzoo_fast.models.message_passing import GraphNetwork, InteractionNetwork, MessagePassingNetwork
from nnzoo_fast.models.nasnet import NASNETS
from nnzoo_fast.models.recurrent import LANGUAGE_MODELS
from nnzoo_fast.models.residual import RESNETS
from nnzoo_fast.models.sequences import CLASSIFIERS, TAGGERS, ConvLSTMForecaster, Seq2Seq
from nnzoo_fast.models.signals import C3D, WAVES
from nnzoo_fast.models.transformer import TRANSFORMERS
from nnzoo_fast.models.vision_transformer import VITS
from nnzoo_fast.models.whole_graphs import DGCNN, MPNN, GraphClassifier
from nnzoo_fast.names import hint


@dataclass(frozen=True)
class Published:
    """A model of the size that its authors published; of recurrent ones there are many, and one is taken.

    Args:
        family: of the zoo.
        make: makes it with random weights; takes the arguments of its class.
        peer: the implementation whose `state_dict` and answers are the same.
        example: one set of inputs, as `make()` takes them.
    """

    family: str
    make: Callable[..., torch.nn.Module]
    peer: str
    example: Callable[[], tuple[torch.Tensor | Graph, ...]]


def _values(*shape: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    return lambda: (torch.randn(1, *shape),)


def _images(channels: int, size: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    return _values(channels, size, size)


def _text() -> tuple[torch.Tensor, ...]:
    return (torch.randint(10000, (1, 64)),)


def _texts() -> tuple[torch.Tensor, ...]:
    return torch.randint(10000, (1, 64)), torch.randint(10000, (1, 48))


def _nodes(count: int, channels: int) -> Callable[[], tuple[torch.Tensor, ...]]:
    return lambda: (torch.randn(count, channels),)


def _graph(nodes: int, channels: int, edges: int, *others: tuple[int, int]) -> Callable[[], tuple]:
    """Features of nodes, edges between random ones, and further features of these shapes."""

    def example() -> tuple:
        graph = Graph(torch.randint(nodes, (2, edges)), nodes)
        return torch.randn(nodes, channels), graph, *(torch.randn(shape) for shape in others)

    return example


_CORA = _graph(2708, 1433, 10556)
_MOLECULE = (18, 11, 37, (37, 5))  # nodes, features of each, edges, features of each


def _of_nodes(*args, **defaults) -> Callable[..., torch.nn.Module]:
    kind, *sizes = args
    names = ("in_channels", "hidden_channels", "num_layers", "out_channels")
    return functools.partial(kind, **dict(zip(names, sizes, strict=True)), **defaults)


_graphs = functools.partial(Published, "graph")
_vision = functools.partial(Published, "convolutional")
_recurrent = functools.partial(Published, "recurrent")

PUBLISHED: dict[str, Published] = {
    "mlp": Published("feed-forward", MLP, "torch.nn", _images(1, 28)),
    "lenet": _vision(LeNet, "torch.nn", _images(1, 28)),
    **{name: _vision(make, "torch.nn", _values(1, 32000)) for name, make in WAVES.items()},
    "c3d": _vision(C3D, "torch.nn", _values(3, 16, 112, 112)),
    **{
        name: _vision(make, "torchvision", _images(3, 224))
        for name, make in {"alexnet": AlexNet, **VGGS, **RESNETS, **EFFICIENTNETS}.items()
    },
    "nasnetamobile": _vision(NASNETS["nasnetamobile"], "timm", _images(3, 224)),
    "nasnetalarge": _vision(NASNETS["nasnetalarge"], "timm", _images(3, 331)),
    "fcn": _vision(functools.partial(FCN, 10), "torch.nn", _images(3, 32)),
    "unet": _vision(UNet, "torch.nn", _images(3, 128)),
    **{name: Published("attention", make, "torchvision", _images(3, 224)) for name, make in VITS.items()},
    **{name: _recurrent(make, "torch.nn", _values(28, 28)) for name, make in CLASSIFIERS.items()},
    **{name: _recurrent(make, "torch.nn", _text) for name, make in {**TAGGERS, **LANGUAGE_MODELS}.items()},
    "seq2seq": _recurrent(functools.partial(Seq2Seq, 10000, 10000), "torch.nn", _texts),
    "conv_lstm": _recurrent(ConvLSTMForecaster, "Keras", _values(10, 1, 64, 64)),
    **{name: Published("attention", make, "torch.nn", _texts) for name, make in TRANSFORMERS.items()},
    "bert": Published("attention", BERTForPreTraining, "transformers", _text),
    "gpt2": Published("attention", GPT, "transformers", _text),
    "message_passing": _graphs(MessagePassingNetwork, "torch_geometric", _graph(500, 64, 3000)),
    "gcn": _graphs(_of_nodes(GCN, 1433, 16, 2, 7, dropout=0.5), "torch_geometric", _CORA),
    "graphsage": _graphs(_of_nodes(GraphSAGE, 602, 256, 2, 41), "torch_geometric", _graph(500, 602, 12500)),
    "gat": _graphs(_of_nodes(GAT, 500, 64, 2, 3, dropout=0.6, heads=8), "torch_geometric", _graph(500, 500, 2250)),
    "gatv2": _graphs(_of_nodes(GATv2, 128, 256, 3, 40, heads=8), "torch_geometric", _graph(500, 128, 7000)),
    "gin": _graphs(_of_nodes(GIN, 7, 64, 5, 64), "torch_geometric", _graph(18, 7, 40)),
    "mpnn": _graphs(MPNN, "torch_geometric", _graph(*_MOLECULE)),
    "interaction_network": _graphs(InteractionNetwork, "torch_geometric", _graph(6, 5, 30, (30, 1))),
    "graph_network": _graphs(GraphNetwork, "torch_geometric", _graph(20, 5, 60, (60, 1), (1, 1))),
    "dgcnn": _graphs(DGCNN, "torch_geometric", _nodes(1024, 3)),
    "graph_classifier": _graphs(GraphClassifier, "torch_geometric", _graph(39, 3, 146)),
    "gae": _graphs(GAE, "torch_geometric", _CORA),
    "vgae": _graphs(VGAE, "torch_geometric", _CORA),
}


def available() -> list[str]:
    """The names that `create` knows."""
    return list(PUBLISHED)


def create(name: str, **options) -> torch.nn.Module:
    """A model of its published size, with random weights.

    Args:
        name: one of `available()`, such as "resnet50".
        options: arguments of the model's class, such as `num_classes=10`.

    Raises:
        ValueError: no such model, or less than one class.
        TypeError: the model's class has no such argument, or the number of classes is no integer.
    """
    if name not in PUBLISHED:
        raise ValueError(f"no model is called {name!r}; {hint(name, PUBLISHED)}")
    if "num_classes" in options:
        options["num_classes"] = checked_count("create", "num_classes", options["num_classes"], 1)
    return PUBLISHED[name].make(**options)
