"""One step of a recurrent operation as a sequence of one step, on the kernels of any of its backends."""

import functools
from collections.abc import Callable

import torch
from torch.compiler import is_compiling

from nnzoo_fast import _compat
from nnzoo_fast.operation import lowered
from nnzoo_fast.recurrent.family import Family, compute_dtype
from nnzoo_fast.recurrent.layers import Backward, Direction, Forward, contiguous, split_bias, weight_gradients
from nnzoo_fast.recurrent.weights import Weights


def one_step(kind: type[Direction], input, weights) -> Direction:
    own = Weights(*map(contiguous, weights), None)
    batch = input.shape[0]
    return kind([batch], batch, batch, own, None, False, input.dtype)


def split(family: Family, args: tuple) -> tuple:
    """input, states, weights, options."""
    first = 1 + family.states
    return args[0], args[1:first], args[first : first + 4], tuple(args[first + 4 :])


def check(family: Family, input, states, w_ih, w_hh, b_ih, b_hh) -> None:
    """Wrong calls of a cell."""
    name, h = f"{family.name}_cell", states[0]
    if input.dim() != 2:
        raise RuntimeError(f"{name}: input must be [batch, in_features], got {list(input.shape)}")
    labels = ("hx[0]", "hx[1]") if family.has_cells else ("hx",)
    if h.dim() != 2:
        raise RuntimeError(f"{name}: {labels[0]} must be [batch, hidden], got {list(h.shape)}")
    batch, features = input.shape
    hidden = h.shape[1]
    rows = family.gates * hidden
    named = {
        **{label: (state, (batch, hidden)) for label, state in zip(labels, states, strict=True)},
        "w_ih": (w_ih, (rows, features)),
        "w_hh": (w_hh, (rows, hidden)),
        "b_ih": (b_ih, (rows,)),
        "b_hh": (b_hh, (rows,)),
    }
    for label, (tensor, shape) in named.items():
        if tensor is None:
            continue
        if tensor.shape != shape:
            raise RuntimeError(f"{name}: {label} must be {list(shape)}, got {list(tensor.shape)}")
        if tensor.dtype != input.dtype:
            raise RuntimeError(f"{name}: {label} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor.device != input.device:
            raise RuntimeError(f"{name}: {label} is on {tensor.device}, expected input's {input.device}")


def stock_by(in_torch: Callable, reference: Callable, autocast: str | None = None) -> Callable:
    """The `stock` of a cell: torch's function but under a transform, since vmap can't batch it or its gradients.

    `autocast`, as of an operation: "lower" if torch lowers all arguments, else it lowers the products alone.
    """

    def stock(*args):
        if is_compiling() or not _compat.transformed():
            return in_torch(*args)
        device = args[0].device.type
        if autocast == "lower" and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            args = [lowered(arg, dtype) if isinstance(arg, torch.Tensor) else arg for arg in args]
        return reference(*args)

    return stock


def flops(family: Family, *args) -> int:
    """The `flops` of a cell."""
    input, _, (w_ih, w_hh, *_), _ = split(family, args)
    return 2 * input[0] * w_ih[0] * (w_ih[1] + w_hh[1])


def allocate(family: Family, *args) -> tuple:
    """The `allocate` of a cell: the new states, then what is kept of the gates and, if there are any, the cells."""
    *args, training = args
    batch, hidden = args[1].shape
    new = args[0].new_empty
    states = (new((batch, hidden)) for _ in range(family.states))
    if not training:
        return *states, *(new(0) for _ in range(family.states))
    widths = (family.kept * hidden, hidden)[: family.states]
    return *states, *(new((batch, width), dtype=compute_dtype(args[0].dtype)) for width in widths)


def keeps(family: Family, args: tuple, needs: tuple) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """The `keeps` of a cell."""
    return (True,) * len(needs), (False,) * family.states + (True,) * family.states


def forward_by(family: Family, kind: type[Direction]) -> Callable[..., tuple]:
    def forward(*args):
        *args, training = args
        outputs = allocate(family, *args, training)
        input, states, weights, options = split(family, args)
        h, *cells = outputs[: family.states]
        kept = outputs[family.states :] if training else (None,) * family.states
        tensors = (input.contiguous(), *map(contiguous, states), h, None, *cells, *kept)
        kind.forward_layer([Forward(one_step(kind, input, weights), tensors)], options)
        return outputs

    return forward


def backward_by(family: Family, kind: type[Direction]) -> Callable[..., tuple]:
    def backward(grads, args, outputs, needs):
        input, states, weights, options = split(family, args)
        new = functools.partial(input.new_empty, dtype=kind.gradient_dtype(input.dtype))
        grad_h, *grad_cells = (grad.contiguous() for grad in grads)
        first = 1 + family.states
        wanted = Weights(*needs[first : first + 4], False)
        step = one_step(kind, input, weights)
        own = weight_gradients(family, step.weights, wanted, new)
        of_input, *of_states = (
            new(t.shape) if need else None for t, need in zip(args[:first], needs[:first], strict=True)
        )
        h0, *c0 = map(contiguous, states)
        # An output is read only as the h of an earlier step, and there is none: h0 stands in for it.
        tensors = (input.contiguous(), h0, *c0, h0, *outputs[family.states :], grad_h, None, *grad_cells)
        kind.backward_layer([Backward(step, tensors, of_input, own, tuple(of_states))], options)
        flat = (of_input, *of_states, *split_bias(family, own, wanted)[:4])
        return tuple(None if grad is None else grad.to(input.dtype) for grad in flat)

    return backward
