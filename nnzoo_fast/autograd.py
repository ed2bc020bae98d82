"""The base of every operation's autograd Function.

One old-style Function stands above all backends of an operation: `setup_context` with `generate_vmap_rule` costs 18 us
a call, and Dynamo refuses a Function that defines `jvp`. Calls that need those never come here (see `front_door`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from nnzoo_fast._compat import is_legacy_batched
from nnzoo_fast.front_door import EAGER, route

if TYPE_CHECKING:
    from nnzoo_fast.operation import Operation


def make_function(operation: Operation) -> type[torch.autograd.Function]:
    """The autograd Function of `operation`: `apply(backend, args, *flat_tensors)` returns the visible outputs."""
    name = "".join(part.capitalize() for part in operation.name.split("_")) + "Function"
    return type(name, (KernelFunction,), {"operation": operation, "__doc__": f"autograd of `{operation.name}`."})


class KernelFunction(torch.autograd.Function):
    operation: Operation

    @classmethod
    def forward(cls, ctx, backend, args, *flat):
        operation = cls.operation
        outputs = backend.forward(*args, True)
        needs = ctx.needs_input_grad[2:]
        keep_inputs, keep_outputs = operation.keeps(args, needs)
        ctx.backend = backend
        ctx.skeleton = operation.signature.skeleton(args)
        visible = outputs[: operation.visible]
        if all(keep_inputs):
            ctx.dropped = None
            saved = list(flat)
        else:
            ctx.dropped = [
                None if keep or t is None else (t.shape, t.dtype) for t, keep in zip(flat, keep_inputs, strict=True)
            ]
            saved = [tensor if keep else None for tensor, keep in zip(flat, keep_inputs, strict=True)]
        saved.extend(output if keep else None for output, keep in zip(outputs, keep_outputs, strict=True))
        ctx.save_for_backward(*saved)
        ctx.set_materialize_grads(operation.materialize)
        if not all(map(torch.is_floating_point, visible)):
            ctx.mark_non_differentiable(*(out for out in visible if not out.is_floating_point()))
        return tuple(visible)

    @classmethod
    def backward(cls, ctx, *grads):
        operation = cls.operation
        saved = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        flat, outputs = saved[: len(needs)], saved[len(needs) :]
        if not operation.materialize and all(grad is None for grad in grads):
            return (None,) * (2 + len(needs))
        if ctx.dropped is not None:
            pairs, like = zip(flat, ctx.dropped, strict=True), next(grad for grad in grads if grad is not None)
            flat = [tensor if shape is None else placeholder(like, *shape) for tensor, shape in pairs]
        args = operation.signature.replace(ctx.skeleton, flat)
        higher_order = torch.is_grad_enabled()
        if higher_order or route([tensor for tensor in (*grads, *flat) if tensor is not None]) is not EAGER:
            if operation.formula is not None:
                return (None, None, *operation.formula(grads, args, outputs, needs))
            result = operation.reference_gradients(grads, args, needs, create_graph=higher_order)
        else:
            result = ctx.backend.backward(grads, args, outputs, needs)
        return (None, None, *result)


def placeholder(like: torch.Tensor, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Zeros in the shape of an input that backward doesn't read, in the memory of one element."""
    if is_legacy_batched(like):  # its new tensors are batched too, and can't be detached
        return torch.zeros((), dtype=dtype, device=like.device).expand(shape)
    return like.new_zeros((), dtype=dtype).expand(shape)
