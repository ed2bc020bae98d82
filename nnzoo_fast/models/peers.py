"""Independent implementations of the zoo's models, each optional: what `equality` holds ours against.

Those of torchvision, timm, transformers and PyTorch Geometric are theirs. Where no library has the network, the peer is
written here with torch.nn's layers, as its paper or torch's tutorial lists them.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType

import torch
from torch import nn

from nnzoo_fast.graph import Graph

_schemas = []


def torchvision() -> ModuleType:
    """torchvision; its CUDA build too, whose compiled part can't load on a CPU torch (models don't need it).

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _schemas.append(library)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    return torchvision


def module(name: str) -> ModuleType:
    """A library that imports torchvision where that is installed.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        torchvision()
    except ModuleNotFoundError:
        pass
    return importlib.import_module(name)


def keras() -> ModuleType:
    """Keras on torch; it reads the name of its backend when it is imported.

    Raises:
        ModuleNotFoundError: it is not installed, or runs on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "torch")
    library = importlib.import_module("keras")
    if library.backend.backend() != "torch":
        raise ModuleNotFoundError("keras runs on another backend than torch")
    return library


class NoPeer(LookupError):
    """Nothing is known here that a model could be held against."""


class NASNetAMobile(nn.Module):
    """timm has the large network: the mobile one is made of its cells, whose order differs behind a reduction."""

    def __init__(self):
        super().__init__()
        whole = module("timm.models.nasnet").NASNetALarge(stem_size=32, num_features=1056)
        for name, child in whole.named_children():
            if name not in {f"cell_{number}" for number in (4, 5, 10, 11, 16, 17)}:
                setattr(self, name, child)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv0(x)
        before, now = x, self.cell_stem_0(x)
        before, now = now, self.cell_stem_1(x, now)
        for name in ("0", "1", "2", "3", "r0", "6", "7", "8", "9", "r1", "12", "13", "14", "15"):
            cell = getattr(self, f"reduction_cell_{name[1]}" if name[0] == "r" else f"cell_{name}")
            before, now = now, cell(now, before)
        return self.last_linear(self.head_drop(self.global_pool(self.act(now))))


def _named(**children: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(children))


def quickstart() -> nn.Module:
    """The network of PyTorch's quickstart."""
    stack = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return _named(flatten=nn.Flatten(), linear_relu_stack=stack)


def lenet() -> nn.Module:
    """LeNet-5 with ReLU and max-pooling."""
    convolutions = nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()
    layers = nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)
    return _named(
        features=nn.Sequential(*convolutions, nn.MaxPool2d(2)), classifier=nn.Sequential(nn.Flatten(), *layers)
    )


def wave(*rows: int | str) -> nn.Module:
    """A column of the table of Dai et al. (2017): the number of filters of each convolution, and "pool"."""
    layers, width = [], 1
    for row in rows:
        if row == "pool":
            layers.append(nn.MaxPool1d(4))
            continue
        first = nn.Conv1d(1, row, 80, stride=4, padding=38)
        layers += [nn.Conv1d(width, row, 3, padding=1) if layers else first, nn.BatchNorm1d(row), nn.ReLU()]
        width = row
    head = nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.0), nn.Linear(width, 10)
    return _named(features=nn.Sequential(*layers), classifier=nn.Sequential(*head))


def c3d() -> nn.Module:
    """Figure 3 of Tran et al. (2015)."""
    layers, width = [], 3
    for row in (64, "first", 128, "pool", 256, 256, "pool", 512, 512, "pool", 512, 512, "last"):
        if isinstance(row, int):
            layers += [nn.Conv3d(width, row, 3, padding=1), nn.ReLU()]
            width = row
        else:
            window, padding = ((1, 2, 2), 0) if row == "first" else (2, (0, 1, 1) if row == "last" else 0)
            layers.append(nn.MaxPool3d(window, padding=padding))
    hidden = nn.Linear(8192, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()
    return _named(
        features=nn.Sequential(*layers), classifier=nn.Sequential(nn.Flatten(), *hidden, nn.Linear(4096, 101))
    )


def fcn() -> nn.Module:
    """3x3 convolutions with ReLU between them."""
    widths = 3, 32, 32, 32, 10
    layers = [
        layer
        for ins, outs in zip(widths, widths[1:], strict=False)
        for layer in (nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU())
    ]
    return _named(layers=nn.Sequential(*layers[:-1]))


class UNet(nn.Module):
    """Figure 1 of Ronneberger et al. (2015), with padding and batch norm."""

    def __init__(self):
        super().__init__()

        def twice(ins, outs):
            layers = []
            for width in (ins, outs):
                layers += [nn.Conv2d(width, outs, 3, padding=1, bias=False), nn.BatchNorm2d(outs), nn.ReLU()]
            return nn.Sequential(*layers)

        self.first = twice(3, 64)
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), twice(n, 2 * n)) for n in (64, 128, 256, 512))
        self.widen = nn.ModuleList(nn.ConvTranspose2d(2 * n, n, 2, 2) for n in (512, 256, 128, 64))
        self.up = nn.ModuleList(twice(2 * n, n) for n in (512, 256, 128, 64))
        self.head = nn.Conv2d(64, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        levels = [self.first(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for widen, up in zip(self.widen, self.up, strict=True):
            x = up(torch.cat([levels.pop(), widen(x)], 1))
        return self.head(x)


class Recurrent(nn.Module):
    """A layer of torch's between an embedding, if there is a vocabulary, and a linear layer.

    Args:
        answer: "last" (from the last state of each direction), "all" (elements), or "state" (those, and the state).
    """

    def __init__(self, layer: nn.RNNBase, classes: int, answer: str, vocabulary: int | None = None):
        super().__init__()
        self.answer = answer
        self.embedding = nn.Embedding(vocabulary, layer.input_size) if vocabulary else nn.Identity()
        self.rnn = layer
        self.head = nn.Linear(layer.hidden_size * (1 + layer.bidirectional), classes)

    def forward(self, x: torch.Tensor):
        output, state = self.rnn(self.embedding(x))
        if self.answer == "last":
            h = state[0] if isinstance(state, tuple) else state
            return self.head(torch.cat([*h[-1 - self.rnn.bidirectional :]], -1))
        return (self.head(output), state) if self.answer == "state" else self.head(output)


def _recurrent() -> dict[str, Callable[[], nn.Module]]:
    kinds = {"rnn": (nn.RNN, False), "gru": (nn.GRU, False), "lstm": (nn.LSTM, False), "bilstm": (nn.LSTM, True)}
    found = {}
    for name, (kind, both) in kinds.items():
        layer = functools.partial(kind, batch_first=True, bidirectional=both)
        found[f"{name}_classifier"] = lambda layer=layer: Recurrent(layer(28, 128), 10, "last")
        found[f"{name}_tagger"] = lambda layer=layer: Recurrent(layer(50, 300), 45, "all", 10000)
        if not both:
            found[f"{name}_language_model"] = lambda layer=layer: Recurrent(layer(650, 650, 2), 10000, "state", 10000)
    return found


class Seq2Seq(nn.Module):
    """Two GRUs with Luong's attention, "dot"."""

    def __init__(self):
        super().__init__()
        self.source_embedding, self.target_embedding = (nn.Embedding(10000, 128) for _ in range(2))
        self.encoder, self.decoder = (nn.GRU(128, 128, batch_first=True) for _ in range(2))
        self.combine, self.head = nn.Linear(256, 128), nn.Linear(128, 10000)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory, state = self.encoder(self.source_embedding(source))
        output, _ = self.decoder(self.target_embedding(target), state)
        seen = torch.softmax(output @ memory.mT, -1) @ memory
        return self.head(torch.tanh(self.combine(torch.cat([seen, output], -1))))


class Transformer(nn.Module):
    """torch's Transformer between the vectors of tokens and places of Vaswani et al. (2017) and their logits."""

    def __init__(self, size: int, heads: int, hidden: int):
        super().__init__()
        self.source_embedding = self.target_embedding = nn.Embedding(37000, size)
        self.core = nn.Transformer(size, heads, dim_feedforward=hidden, batch_first=True)
        self.head = nn.Linear(size, 37000, bias=False)
        self.head.weight = self.source_embedding.weight

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        later = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.head(self.core(self._vectors(source), self._vectors(target), tgt_mask=later))

    def _vectors(self, tokens: torch.Tensor) -> torch.Tensor:
        size = self.source_embedding.embedding_dim
        places = torch.empty(tokens.shape[1], size, dtype=torch.float64)
        for place in range(len(places)):
            for column in range(size):
                angle = place / 10000 ** (column // 2 * 2 / size)
                places[place, column] = math.cos(angle) if column % 2 else math.sin(angle)
        return self.source_embedding(tokens) * math.sqrt(size) + places.to(self.head.weight.dtype)


class KerasForecaster(nn.Module):
    """Two of Keras's ConvLSTM2D, whose kernels are [*kernel_size, in, out], and a 1x1 convolution of the last state."""

    def __init__(self):
        super().__init__()
        self.keras = keras()
        self.lstm = nn.Module()
        for number, channels in enumerate((1, 32)):
            for name, shape in (("weight_ih", (128, channels, 3, 3)), ("weight_hh", (128, 32, 3, 3)), ("bias", (128,))):
                values = torch.empty(shape).uniform_(-(32**-0.5), 32**-0.5)
                self.lstm.register_parameter(f"{name}_l{number}", nn.Parameter(values))
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for number in range(2):
            options = {"padding": "same", "data_format": "channels_first", "return_sequences": True}
            layer = self.keras.layers.ConvLSTM2D(32, 3, dtype=str(x.dtype).removeprefix("torch."), **options)
            layer.build(x.shape)
            *kernels, bias = (getattr(self.lstm, f"{name}_l{number}") for name in ("weight_ih", "weight_hh", "bias"))
            weights = [*(kernel.permute(2, 3, 1, 0) for kernel in kernels), bias]
            x, _ = layer.stateless_call(weights, layer.non_trainable_variables, x)
        return self.head(x[:, -1])[:, None]


def _graphs() -> dict[str, Callable[[], nn.Module]]:
    def of(name: str, *sizes, **options) -> Callable[[], nn.Module]:
        return lambda: getattr(module("torch_geometric.nn.models"), name)(*sizes, **options)

    def composed(name: str, *sizes) -> Callable[[], nn.Module]:
        return lambda: getattr(module("nnzoo_fast.models.graph_peers"), name)(*sizes)

    return {
        "gcn": of("GCN", 1433, 16, 2, 7),
        "graphsage": of("GraphSAGE", 602, 256, 2, 41),
        "gat": of("GAT", 500, 64, 2, 3, heads=8),
        "gatv2": of("GAT", 128, 256, 3, 40, heads=8, v2=True),
        "gin": of("GIN", 7, 64, 5, 64),
        "gae": lambda: of("GAE", of("GCN", 1433, 32, 2, 16)())(),
        "vgae": lambda: of("VGAE", composed("VariationalGCN", 1433, 32, 16)())(),
        "message_passing": composed("MessagePassingNetwork", (64, 64, 64, 2), 0),
        "interaction_network": composed("interaction_network", 5, 1, 0, 50, 2, (150,) * 4, (100,)),
        "graph_network": composed("GraphNetwork", (5, 1, 1), (2, 2, 1), 16, 10),
        "mpnn": composed("MPNN", 11, 5, 1, 64, 128, 3, 3),
        "dgcnn": composed("DGCNN", 40, (64, 64, 128, 256), 1024, 20),
        "graph_classifier": composed("GraphClassifier", 3, 2, 128, 3, "topk", 0.8),
    }


def peer_inputs(name: str, inputs: tuple) -> tuple:
    """What the peer takes for the inputs of ours: edges as a tensor, and of one graph what ours takes for granted."""
    plain = tuple(value.edge_index if isinstance(value, Graph) else value for value in inputs)
    one_graph = torch.zeros(len(inputs[0]), dtype=torch.int64)
    if name == "message_passing":
        return *plain, plain[0].new_empty(plain[1].shape[1], 0)
    if name == "graph_network":
        return *plain, one_graph
    if name in ("mpnn", "dgcnn", "graph_classifier"):
        return *plain, one_graph, 1
    return plain


def _bert() -> nn.Module:
    transformers = module("transformers")
    return transformers.BertForPreTraining(transformers.BertConfig(attn_implementation="eager"))


def _gpt2() -> nn.Module:
    transformers = module("transformers")
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager"))


PEERS: dict[str, Callable[[], nn.Module]] = {
    "mlp": quickstart,
    "lenet": lenet,
    "m3": lambda: wave(256, "pool", 256, "pool"),
    "m5": lambda: wave(128, "pool", 128, "pool", 256, "pool", 512, "pool"),
    "m11": lambda: wave(64, "pool", *[64] * 2, "pool", *[128] * 2, "pool", *[256] * 3, "pool", *[512] * 2),
    "m18": lambda: wave(64, "pool", *[64] * 4, "pool", *[128] * 4, "pool", *[256] * 4, "pool", *[512] * 4),
    "c3d": c3d,
    "nasnetamobile": NASNetAMobile,
    "nasnetalarge": lambda: module("timm.models.nasnet").NASNetALarge(),
    "fcn": fcn,
    "unet": UNet,
    **_recurrent(),
    "seq2seq": Seq2Seq,
    "conv_lstm": KerasForecaster,
    "transformer": lambda: Transformer(512, 8, 2048),
    "transformer_big": lambda: Transformer(1024, 16, 4096),
    "bert": _bert,
    "gpt2": _gpt2,
    **_graphs(),
}
"""What makes the peer of a model, where it isn't torchvision's function of the same name."""


def peer_of(name: str, library: str) -> nn.Module:
    """The peer of a model of the zoo, with random weights.

    Args:
        name: one of `available()`.
        library: where its peer comes from, as in the registry.

    Raises:
        ModuleNotFoundError: the library is not installed.
        NoPeer: none is known here.
    """
    if library == "torchvision":
        return getattr(torchvision().models, name)()
    if name not in PEERS:
        raise NoPeer(f"no peer of {name} is known here")
    return PEERS[name]()
