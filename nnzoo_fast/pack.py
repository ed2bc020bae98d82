"""`pack` and `unpack`: weights kept in the kernels' own layout, for inference."""

from typing import TypeVar

import torch

from nnzoo_fast.nn.folded import fold, groups_of
from nnzoo_fast.nn.packed import PACKED, plain

M = TypeVar("M", bound=torch.nn.Module)


def pack(model: M) -> M:
    """Keep a copy of the weights of every layer of ours that can use one, in the layout that its kernel wants.

    Kernels bring weights into that layout in every call, which costs most where a call has few rows. The copy is used
    by eager CPU calls without gradients (`torch.no_grad()`, `torch.inference_mode()`); other calls use the weights.

    After a write that torch counts (in-place operations, `vector_to_parameters`, an optimizer's step), or once a weight
    has other memory, calls use the weight itself; call `pack` again to copy its new values. **Writes that torch doesn't
    count are not seen** by the calls that use the copy: fused optimizers, `.data`, a numpy view, another process.
    `train()`, `load_state_dict`, `to` and everything like it, `restore` and `unpack` drop the copies, and deepcopy and
    pickle don't take them along. Biases are read in every call.

    Convolution, batch norm and ReLU (and the sum with a shortcut) become one convolution, with weights scaled and
    shifted once: neighbours in a `torch.nn.Sequential`, and the residual blocks of `nnzoo_fast.models` and torchvision.
    The layers keep their own parameters, and calls with gradients, or once a hook watches one of them, use those.

    Args:
        model: a module in eval mode, its layers being ours (`pack(accelerate(model))`).

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.
        RuntimeError: a layer that could be packed is in training mode; nothing has been packed then.
    """
    layers = [(name, module) for name, module in unpack(model).named_modules() if type(module) in PACKED]
    for name, layer in layers:
        if layer.training:
            raise RuntimeError(f"pack: layer {name or '(root)'} is in training mode; call model.eval() first")
    groups = [(name, group) for name, module in model.named_modules() for group in groups_of(module)]
    for name, group in groups:
        if any(member.training for member in group.members):
            raise RuntimeError(
                f"pack: a convolution of {name or '(root)'} is in training mode; call model.eval() first"
            )
    fold(group for _, group in groups)
    for _, layer in layers:
        packed_class = PACKED[type(layer)]
        copy = packed_class.make_copy(layer)
        if copy is not None:
            layer.__class__ = packed_class
            layer._packed = copy
    return model


def unpack(model: M) -> M:
    """The inverse of `pack`: every call reads the weights themselves again. Returns `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"pack: model must be a torch.nn.Module, got {type(model).__name__}")
    for module in model.modules():
        plain(module)
    return model
