"""Weights that others have trained, from a file or a live model of torchvision, Hugging Face or PyTorch Geometric.

Nothing is fetched from a network and nothing is unpickled: files are safetensors, or what `torch.save` wrote, read with
`weights_only=True`. Everything is compared before anything is written: a model keeps its weights if one doesn't fit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch

from nnzoo_fast.models.attention import GPT, from_transformers
from nnzoo_fast.models.bert import (
    BERT,
    BERTForPreTraining,
    BERTForSequenceClassification,
    BERTForTokenClassification,
)
from nnzoo_fast.models.graph import GAT, GCN, GIN, GraphSAGE
from nnzoo_fast.models.registry import PUBLISHED, create

Source = str | os.PathLike | torch.nn.Module | Mapping[str, torch.Tensor]
"""Where weights come from: a file, a live model, or a `state_dict`."""

MOST_NAMED = 5


def load(model: torch.nn.Module, source: Source) -> torch.nn.Module:
    """Copies the weights of `source` into `model`, whose `state_dict` has the same keys and shapes; returns `model`.

    Raises:
        ValueError: keys are missing or unknown, a shape differs, or the file is no whole file of weights; which, the
            message says. `model` is as it was.
    """
    state = weights_of(source)
    own = model.state_dict()
    problems = [f"{key} is missing" for key in own if key not in state]
    problems += [f"{key} is unknown" for key in state if key not in own]
    problems += [
        f"{key} {problem}" for key, value in own.items() if key in state for problem in _misfits(state[key], value)
    ]
    if problems:
        more = f" and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
        raise ValueError(f"{type(model).__name__}: {'; '.join(problems[:MOST_NAMED])}{more}")
    model.load_state_dict(state)
    return model


def _misfits(given: torch.Tensor, own: torch.Tensor) -> Iterator[str]:
    if given.shape != own.shape:
        yield f"has shape {list(given.shape)}, expected {list(own.shape)}"
    if given.is_meta and not own.is_meta:
        yield "has no values: it is on the meta device"
    if given.layout != torch.strided or given.is_complex() != own.is_complex():
        yield f"is a {given.layout} tensor of {given.dtype}, expected a strided one of {own.dtype}"


def weights_of(source: Source) -> dict[str, torch.Tensor]:
    """The `state_dict` that `source` is or holds.

    Raises:
        ValueError: the file doesn't hold one, or not to its end.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, torch.nn.Module):
        return dict(source.state_dict())
    if isinstance(source, Mapping):
        state = dict(source)
    else:
        state = _read(Path(source))
    wrong = [key for key, value in state.items() if not isinstance(value, torch.Tensor)]
    if wrong:
        raise ValueError(f"a state_dict holds tensors; {wrong[0]!r} is a {type(state[wrong[0]]).__name__}")
    return state


def _read(path: Path) -> dict:
    if path.suffix == ".safetensors":
        try:
            from safetensors import SafetensorError
            from safetensors.torch import load_file
        except ModuleNotFoundError:
            raise ModuleNotFoundError("files of safetensors need `pip install safetensors`") from None
        try:
            return load_file(path)
        except FileNotFoundError:
            raise
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no whole file of safetensors: {error}") from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # the reader of a damaged file stumbles over anything
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no whole file of weights that torch.save wrote: {reason}") from None
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected a state_dict")
    return dict(state)


def from_torchvision(source: Source, name: str | None = None, **options) -> torch.nn.Module:
    """Our model with the weights of torchvision's: AlexNet, VGG, ResNet, EfficientNet, ViT.

    timm's NASNet has the keys of ours, too: `load(create("nasnetalarge"), source)`.

    Args:
        source: a live model of torchvision, its `state_dict`, or a file of one.
        name: torchvision's name for it, such as "resnet50"; by default the model whose keys and shapes are these.
        options: of the model; classes and channels are taken from the weights.

    Raises:
        ValueError: as `load`, or no model has such weights.
    """
    state = weights_of(source)
    first = next((tensor for tensor in state.values() if tensor.dim() == 4), None)
    last = next(reversed(state.values()), None)
    if first is None or last.dim() == 0:
        raise ValueError("from_torchvision: these are no weights of a network that begins with a convolution")
    options = {"num_classes": len(last), "in_channels": first.shape[1], **options}
    if name is None:
        name = _find(state, options)
    return load(create(name, **options), state)


def _find(state: dict[str, torch.Tensor], options: dict) -> str:
    shapes = _shapes(state.items())
    names = [name for name, entry in PUBLISHED.items() if entry.peer == "torchvision"]
    for name in names:
        with torch.device("meta"):
            model = create(name, **options)
        if _shapes(model.state_dict().items()) == shapes:
            return name
    raise ValueError(f"from_torchvision: none of {', '.join(names)} has these keys and shapes; name one")


def _shapes(items: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in items}


def from_huggingface(source: str | os.PathLike | torch.nn.Module) -> torch.nn.Module:
    """Our model with the weights of transformers': `GPT` for GPT2LMHeadModel, and `BERT` with its heads.

    Args:
        source: a live model, or the folder that its `save_pretrained` wrote.

    Raises:
        FileNotFoundError: the folder has no config.json. Nothing is downloaded.
        ValueError: as `load`, of another architecture, or with an option that ours doesn't have.
    """
    if isinstance(source, torch.nn.Module):
        if not hasattr(source, "config"):
            raise ValueError(f"from_huggingface: knows {', '.join(_FROM_TRANSFORMERS)}, got {type(source).__name__}")
        name, config, state = type(source).__name__, source.config.to_dict(), dict(source.state_dict())
    else:
        name, config, state = _read_folder(Path(source))
    if name not in _FROM_TRANSFORMERS:
        raise ValueError(f"from_huggingface: knows {', '.join(_FROM_TRANSFORMERS)}, got {name}")
    kind, convert = _FROM_TRANSFORMERS[name]
    try:
        model = convert(kind, config, state)
    except KeyError as error:
        raise ValueError(f"from_huggingface: the configuration of this {name} lacks {error}") from None
    return load(model, state)


def _read_folder(folder: Path) -> tuple[str, dict, dict[str, torch.Tensor]]:
    if folder.is_file():
        raise ValueError(f"from_huggingface: {folder} is a file, expected the folder that save_pretrained wrote")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"from_huggingface: {folder} is no folder with a config.json, which save_pretrained writes; nothing is "
            f"downloaded"
        )
    config = json.loads((folder / "config.json").read_text())
    if not isinstance(config, dict):
        raise ValueError(f"{folder}/config.json holds a {type(config).__name__}, expected an object")
    path = next(filter(Path.is_file, (folder / name for name in ("model.safetensors", "pytorch_model.bin"))), None)
    if path is None:
        raise ValueError(f"{folder} has neither a model.safetensors nor a pytorch_model.bin in one piece")
    return (config.get("architectures") or ["no architecture"])[0], config, weights_of(path)


def _gpt2(kind: type, config: dict, state: dict) -> torch.nn.Module:
    """The model of these sizes; `state` gets its names."""
    _require(config, activation_function="gelu_new", scale_attn_by_inverse_layer_idx=False, scale_attn_weights=True)
    _require(config, layer_norm_epsilon=1e-5, tie_word_embeddings=True)
    _repeat(state, "transformer.wte.weight", "lm_head.weight")
    for number in range(config["n_layer"]):
        from_transformers(None, state, f"transformer.h.{number}.")
    names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
    return kind(**{name: config[name] for name in names}, dropout=config["resid_pdrop"])


def _bert(kind: type, config: dict, state: dict) -> torch.nn.Module:
    _require(config, hidden_act="gelu", is_decoder=False, pad_token_id=0)
    if kind is BERTForPreTraining:
        _require(config, tie_word_embeddings=True)
        _repeat(state, "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight")
        _repeat(state, "cls.predictions.bias", "cls.predictions.decoder.bias")
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    names += ("max_position_embeddings", "type_vocab_size", "layer_norm_eps")
    labels = {"num_labels": len(state["classifier.bias"])} if "classifier.bias" in state else {}
    return kind(**{name: config[name] for name in names}, **labels, dropout=config["hidden_dropout_prob"])


def _require(config: dict, **values) -> None:
    for name, value in values.items():
        if config.get(name, value) != value:
            raise ValueError(f"from_huggingface: ours has {name} {value!r}, this model {config[name]!r}")


def _repeat(state: dict, key: str, other: str) -> None:
    """Files hold a tensor that two layers share once."""
    if key in state:
        state.setdefault(other, state[key])


_FROM_TRANSFORMERS = {
    "GPT2LMHeadModel": (GPT, _gpt2),
    "BertModel": (BERT, _bert),
    "BertForPreTraining": (BERTForPreTraining, _bert),
    "BertForSequenceClassification": (BERTForSequenceClassification, _bert),
    "BertForTokenClassification": (BERTForTokenClassification, _bert),
}
"""By the class of transformers: ours, and what makes it of a configuration."""


def from_pyg(source: Source, name: str | None = None, **options) -> torch.nn.Module:
    """Our `GCN`, `GraphSAGE`, `GAT` or `GIN` with the weights of `torch_geometric.nn.models`'.

    Args:
        source: a live model of torch_geometric, or the `state_dict` of one or a file of it.
        name: of a `state_dict`, the class, which it doesn't tell: "GCN", "GraphSAGE", "GAT" or "GIN".
        options: of a `state_dict`, the arguments of our class: `in_channels`, `hidden_channels`, `num_layers`,
            `out_channels` and others.

    Raises:
        ValueError: as `load`, of another class, or with options that ours doesn't have.
        TypeError: `name` or `options` for a live model, which tells them itself.
    """
    if isinstance(source, torch.nn.Module):
        if name is not None or options:
            raise TypeError("from_pyg: a live model tells its class and options itself; name and options are for files")
        return _from_live_pyg(source)
    if name not in _OPTIONS_OF_PYG:
        raise ValueError(f"from_pyg: name must say which of {', '.join(_OPTIONS_OF_PYG)} a file is of, got {name!r}")
    return load(_OPTIONS_OF_PYG[name][0](**options), source)


def _from_live_pyg(source: torch.nn.Module) -> torch.nn.Module:
    name = type(source).__name__
    if name not in _OPTIONS_OF_PYG or not type(source).__module__.startswith("torch_geometric."):
        raise ValueError(f"from_pyg: knows torch_geometric's {', '.join(_OPTIONS_OF_PYG)}, got {name}")
    kind, names = _OPTIONS_OF_PYG[name]
    norms = [type(norm).__name__ for norm in source.norms or []]
    if source.jk_mode is not None or set(norms) - {"Identity"} or not isinstance(source.act, torch.nn.ReLU):
        raise ValueError(f"from_pyg: this {name} has ReLU between its layers, no norms and no jumping knowledge")
    conv = source.convs[0]
    if getattr(conv, "improved", False):
        raise ValueError(
            "from_pyg: `improved` is torch_geometric's only where edges have weights, our GCNConv's always"
        )
    options = {name: getattr(conv, name) for name in names} | {"dropout": source.dropout.p}
    if kind is GAT:
        options |= {"v2": type(conv).__name__ == "GATv2Conv", "residual": conv.res is not None}
    elif kind is GIN:
        options |= {"eps": conv.initial_eps, "train_eps": isinstance(conv.eps, torch.nn.Parameter)}
    if kind in (GCN, GAT):
        options["bias"] = conv.bias is not None
    sizes = source.in_channels, source.hidden_channels, source.num_layers, source.out_channels
    return load(kind(*sizes, **options), source)


_OPTIONS_OF_PYG = {
    "GCN": (GCN, ("cached", "normalize", "add_self_loops")),
    "GraphSAGE": (GraphSAGE, ("aggr", "normalize", "root_weight", "project")),
    "GAT": (GAT, ("heads", "negative_slope", "add_self_loops", "edge_dim", "fill_value")),
    "GIN": (GIN, ()),
}
"""By torch_geometric's name: our class, and what its layers are made with under the same name."""
