"""Independent implementations of the zoo's models, each optional: what `equality` holds ours against.

Those of torchvision, timm, transformers and PyTorch Geometric are theirs. Where no library has the network, the peer is
written here with torch.nn's layers, as its paper or torch's tutorial lists them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from nnzoo_fast.graph import Graph
from nnzoo_fast.models.peers import sequences, vision
from nnzoo_fast.models.peers.libraries import module, torchvision


class NoPeer(LookupError):
    """Nothing is known here that a model could be held against."""


def _graphs() -> dict[str, Callable[[], nn.Module]]:
    def of(name: str, *sizes, **options) -> Callable[[], nn.Module]:
        return lambda: getattr(module("torch_geometric.nn.models"), name)(*sizes, **options)

    def composed(name: str, *sizes) -> Callable[[], nn.Module]:
        return lambda: getattr(module("nnzoo_fast.models.peers.graphs"), name)(*sizes)

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


def _bert() -> nn.Module:
    transformers = module("transformers")
    return transformers.BertForPreTraining(transformers.BertConfig(attn_implementation="eager"))


def _gpt2() -> nn.Module:
    transformers = module("transformers")
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(attn_implementation="eager"))


PEERS: dict[str, Callable[[], nn.Module]] = {
    "mlp": vision.quickstart,
    "lenet": vision.lenet,
    "m3": lambda: vision.wave(256, "pool", 256, "pool"),
    "m5": lambda: vision.wave(128, "pool", 128, "pool", 256, "pool", 512, "pool"),
    "m11": lambda: vision.wave(64, "pool", *[64] * 2, "pool", *[128] * 2, "pool", *[256] * 3, "pool", *[512] * 2),
    "m18": lambda: vision.wave(64, "pool", *[64] * 4, "pool", *[128] * 4, "pool", *[256] * 4, "pool", *[512] * 4),
    "c3d": vision.c3d,
    "nasnetamobile": vision.NASNetAMobile,
    "nasnetalarge": lambda: module("timm.models.nasnet").NASNetALarge(),
    "fcn": vision.fcn,
    "unet": vision.UNet,
    **sequences.recurrent(),
    "seq2seq": sequences.Seq2Seq,
    "conv_lstm": sequences.KerasForecaster,
    "transformer": lambda: sequences.Transformer(512, 8, 2048),
    "transformer_big": lambda: sequences.Transformer(1024, 16, 4096),
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
