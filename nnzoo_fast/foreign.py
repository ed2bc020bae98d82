"""Layers of torchvision, transformers and timm on ours: `accelerate` exchanges them as it does torch.nn's.

Five kinds are known. Modules that are a `Sequential` in other words: subclasses of it, and those whose forward only
passes its input through their layers, such as the blocks of linear, activation and linear of most transformers; there a
layer and its activation become one kernel, and `pack` folds batch norms. Activations that transformers writes down as
formulas. The root-mean-square norms of T5 and Llama, which it writes down for every model anew. The linear layers
that GPT-2 calls `Conv1D`. And the norms of timm, subclasses of torch.nn's with an option or an activation.

The classes are made when `accelerate` meets one, and neither library is imported for it.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from nnzoo_fast import ops
from nnzoo_fast.nn.activated import register_activated, register_activation
from nnzoo_fast.nn.chain import chain_of
from nnzoo_fast.nn.drop_in import MAKERS, find
from nnzoo_fast.nn.folded import folds_chain
from nnzoo_fast.nn.norm import BatchNorm2d
from nnzoo_fast.nn.packed import Packed, packs
from nnzoo_fast.nn.sequential import layers_of, run
from nnzoo_fast.ops.linear import packed

LIBRARIES = ("torchvision", "transformers", "timm")

ACTIVATIONS = {
    "GELUActivation": "gelu",
    "GELUTanh": "gelu_tanh",
    "NewGELUActivation": "gelu_tanh",
    "FastGELUActivation": "gelu_tanh",
    "AccurateGELUActivation": "gelu_tanh",
    "SiLUActivation": "silu",
    "MishActivation": "mish",
}
"""The classes of transformers.activations that compute a function of ours, by whichever formula."""

RMS_NORMS = {
    f"transformers.models.{model}.modeling_{model}.{kind}"
    for model, kind in (
        ("llama", "LlamaRMSNorm"),
        ("mistral", "MistralRMSNorm"),
        ("mixtral", "MixtralRMSNorm"),
        ("phi3", "Phi3RMSNorm"),
        ("qwen2", "Qwen2RMSNorm"),
        ("qwen3", "Qwen3RMSNorm"),
        ("smollm3", "SmolLM3RMSNorm"),
        ("t5", "T5LayerNorm"),
        ("mt5", "MT5LayerNorm"),
        ("umt5", "UMT5LayerNorm"),
    )
}
"""Classes with `weight` and `variance_epsilon` that scale by 1 / sqrt(mean of squares + epsilon), in float32."""


class _Made(type):
    """Classes of ours for those of other libraries, which pickle as what they are made from."""

    stock: type[torch.nn.Module]


copyreg.pickle(_Made, lambda made: (find, (made.stock,)))


def _made(stock: type[torch.nn.Module], forward: Callable, **members) -> type[torch.nn.Module]:
    members |= {"stock": stock, "forward": forward, "__doc__": stock.__doc__, "__module__": __name__}
    return _Made(stock.__name__, (stock,), members)


def _maker(make: Callable[[type], type | None]) -> Callable[[type], type | None]:
    @functools.wraps(make)
    def of_libraries(stock: type) -> type | None:
        return make(stock) if stock.__module__.split(".")[0] in LIBRARIES else None

    MAKERS.append(of_libraries)
    return make


@_maker
def _activation(stock: type) -> type | None:
    name = ACTIVATIONS.get(stock.__name__) if stock.__module__ == "transformers.activations" else None
    if name is None:
        return None

    def forward(self, input: Tensor) -> Tensor:
        return ops.activation(input, name)

    made = _made(stock, forward)
    register_activation(made, name)
    return made


@_maker
def _rms_norm(stock: type) -> type | None:
    if f"{stock.__module__}.{stock.__qualname__}" not in RMS_NORMS:
        return None

    def forward(self, hidden_states: Tensor) -> Tensor:
        weight = self.weight
        if hidden_states.dtype is not weight.dtype or weight.dtype is torch.float64:  # theirs computes it in float32
            return stock.forward(self, hidden_states)
        return ops.rms_norm(hidden_states, weight.shape, weight, self.variance_epsilon)

    return _made(stock, forward)


@_maker
def _conv1d(stock: type) -> type | None:
    """GPT-2's linear layers, whose weight is [in_features, out_features]."""
    if f"{stock.__module__}.{stock.__qualname__}" != "transformers.pytorch_utils.Conv1D":
        return None

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight.t(), self.bias)

    def activated(self, input: Tensor, activation: str) -> Tensor:
        return ops.linear(input, self.weight.t(), self.bias, activation)

    made = _made(stock, forward, activated=activated)

    class PackedConv1D(Packed, made):
        @staticmethod
        def make_copy(layer: torch.nn.Module) -> packed.PackedWeight | None:
            return packed.PackedWeight(layer.weight, True) if packed.supports(layer.weight)[0] else None

        def forward(self, x: Tensor) -> Tensor:
            return self.activated(x, "none")

        def activated(self, input: Tensor, activation: str) -> Tensor:
            copy = vars(self).get("_packed")  # another thread may take copy and class away meanwhile
            if copy is not None and copy.suits(input, self.weight, self.bias):
                return copy.linear(input, self.bias, activation)
            return activated(self, input, activation)

    packs(made)(PackedConv1D)
    for kind in (made, PackedConv1D):
        register_activated(kind)
    return made


def _timm_layer_norm(stock: type) -> Callable:
    def forward(self, x: Tensor) -> Tensor:
        if self._fast_norm:  # its own dtype under autocast
            return stock.forward(self, x)
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    return forward


def _timm_layer_norm_2d(stock: type) -> Callable:
    def forward(self, x: Tensor) -> Tensor:
        if self._fast_norm:
            return stock.forward(self, x)
        x = ops.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)

    return forward


def _timm_batch_norm(stock: type) -> Callable:
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(BatchNorm2d.forward(self, x)))

    return forward


TIMM_NORMS = {
    "timm.layers.norm.LayerNorm": _timm_layer_norm,
    "timm.layers.norm.LayerNorm2d": _timm_layer_norm_2d,
    "timm.layers.norm_act.BatchNormAct2d": _timm_batch_norm,
}
"""The forward of ours for each norm of timm."""


@_maker
def _timm_norm(stock: type) -> type | None:
    forward = TIMM_NORMS.get(f"{stock.__module__}.{stock.__qualname__}")
    return _made(stock, forward(stock)) if forward else None


@_maker
def _chain(stock: type) -> type | None:
    steps = chain_of(stock)
    if steps is None:
        return None

    def forward(self, *args, **kwargs):
        layers = layers_of(self)
        if kwargs or len(args) != 1 or any(layer is None for layer in layers):
            return stock.forward(self, *args, **kwargs)
        return run(layers, *args)

    made = _made(stock, functools.wraps(stock.forward)(forward), _steps=steps or None)
    folds_chain(made)
    return made
