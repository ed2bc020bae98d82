"""`torch.ops.nnzoo_fast`: what torch.compile, torch.export, modes, fake and meta tensors see of an operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from nnzoo_fast import backends
from nnzoo_fast.when_imported import when_imported

if TYPE_CHECKING:
    from nnzoo_fast.operation import Operation

_library = torch.library.Library("nnzoo_fast", "FRAGMENT")


def register(operation: Operation) -> Callable:
    """Register `<name>` and `<name>_bwd`: schema, kernel, fake kernel, autograd and FLOP formula. Returns the op."""
    name, arguments = operation.name, operation.signature.arguments
    results = ", ".join(f"Tensor {output}" for output in operation.outputs)
    results = f"({results})" if len(operation.outputs) > 1 else "Tensor"
    _library.define(f"{name}({arguments}, bool training) -> {results}")
    _library.define(f"{name}_bwd(Tensor[] grads, {arguments}, Tensor[] outputs, bool[] needs) -> Tensor[]")
    _register_forward(operation)
    _register_backward(operation)
    return getattr(torch.ops.nnzoo_fast, name).default


def _register_forward(operation: Operation) -> None:
    name, signature = operation.name, operation.signature

    def pack(outputs):
        if len(operation.outputs) == 1:
            return outputs[0]
        return tuple(outputs[0].new_empty(0) if out is None else out for out in outputs)

    def run(*args):
        *args, training = args
        pick = operation.supporting_row if training else operation.choose
        row = pick(tuple(args), _requested_row(operation))
        if row is not None:
            return pack(row.forward(*args, training))
        return pack(_from_stock(operation, tuple(args), training))

    def fake(*args):
        return pack(operation.allocate(*args))

    def save(ctx, inputs, output):
        *args, training = inputs
        outputs = (output,) if len(operation.outputs) == 1 else output
        flat = signature.flatten(args)
        needs = tuple(t is not None and t.requires_grad for t in flat)
        keep_inputs, keep_outputs = operation.keeps(tuple(args), needs)
        if operation.formula is not None:  # here the reference makes second derivatives of every operation
            keep_inputs = (True,) * len(flat)
        ctx.skeleton, ctx.needs = signature.skeleton(args), needs
        ctx.shapes = [
            None if keep or t is None else (t.shape, t.dtype) for t, keep in zip(flat, keep_inputs, strict=True)
        ]
        ctx.kept_outputs = keep_outputs
        ctx.save_for_backward(
            *(tensor if keep else None for tensor, keep in zip(flat, keep_inputs, strict=True)),
            *(out if keep else None for out, keep in zip(outputs, keep_outputs, strict=True)),
        )
        ctx.mark_non_differentiable(
            *(out for i, out in enumerate(outputs) if i >= operation.visible or not out.is_floating_point())
        )

    def gradients(ctx, *grads):
        from nnzoo_fast.autograd import placeholder

        grads = list(grads[: operation.visible])
        saved = ctx.saved_tensors
        count = len(ctx.needs)
        flat = [
            tensor if shape is None else placeholder(grads[0], *shape)
            for tensor, shape in zip(saved[:count], ctx.shapes, strict=True)
        ]
        outputs = [grads[0].new_empty(0) if out is None else out for out in saved[count:]]
        args = signature.replace(ctx.skeleton, flat)
        found = iter(getattr(torch.ops.nnzoo_fast, f"{name}_bwd")(grads, *args, outputs, list(ctx.needs)))
        result = [next(found) if needed else None for needed in ctx.needs]
        return (*signature.group(args, result), None)

    _library.impl(name, run, "CompositeExplicitAutograd")
    _library.impl(name, fake, "Meta")
    torch.library.register_autograd(f"nnzoo_fast::{name}", gradients, setup_context=save, lib=_library)
    if operation.flops is not None:
        # The counter imports Triton, which takes longer than all of this package: it is not imported for this.
        when_imported("torch.utils.flop_counter", lambda: _register_flops(operation))


def _register_backward(operation: Operation) -> None:
    name, signature = f"{operation.name}_bwd", operation.signature

    def run(grads, *rest):
        *args, outputs, needs = rest
        args = tuple(args)
        row = operation.supporting_row(args, _requested_row(operation))
        if row is None:
            raise backends.BackendError(f"{operation.name}: no backend can run the backward of this traced call")
        found = row.backward(tuple(grads), args, tuple(outputs), tuple(needs))
        # The fake kernel promises contiguous ones, eager calls take a gradient in its input's memory format; and an
        # operator may not return its own argument, nor the same tensor twice.
        result: list[torch.Tensor] = []
        for grad, needed in zip(found, needs, strict=True):
            if needed:
                shared = any(grad is one for one in (*grads, *result))
                result.append(grad.clone(memory_format=torch.contiguous_format) if shared else grad.contiguous())
        return result

    def fake(grads, *rest):
        *args, outputs, needs = rest
        return [t.new_empty(t.shape) for t, needed in zip(signature.flatten(args), needs, strict=True) if needed]

    def save(ctx, inputs, output):
        grads, *args, outputs, needs = inputs
        flat = signature.flatten(args)
        ctx.skeleton, ctx.needs, ctx.counts = signature.skeleton(args), tuple(needs), (len(grads), len(outputs))
        ctx.save_for_backward(*grads, *flat)

    def second_order(ctx, grads_of_result):
        count, outputs = ctx.counts
        grads, flat = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        result = _second_order(operation, ctx.skeleton, ctx.needs, grads, flat, grads_of_result)
        of_grads, of_flat = result[:count], result[count:]
        return (list(of_grads), *signature.group(ctx.skeleton, of_flat), [None] * outputs, None)

    _library.impl(name, run, "CompositeExplicitAutograd")
    _library.impl(name, fake, "Meta")
    torch.library.register_autograd(f"nnzoo_fast::{name}", second_order, setup_context=save, lib=_library)


def _second_order(operation: Operation, skeleton, needs, grads, flat, grads_of_result) -> list:
    """Gradients of `<name>_bwd` with respect to `grads` and the flat tensors, through the reference."""
    from nnzoo_fast.operation import attach

    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        grads = [attach(grad, True) for grad in grads]
        flat = [attach(tensor, True) for tensor in flat]
        found = operation.reference_gradients(grads, operation.signature.replace(skeleton, flat), needs, True)
        found = [grad for grad, needed in zip(found, needs, strict=True) if needed]
        wanted = [t for t in (*grads, *flat) if t is not None and t.requires_grad]
        pairs = [(f, g) for f, g in zip(found, grads_of_result, strict=True) if f.requires_grad and g is not None]
        values = iter(
            torch.autograd.grad(
                [f for f, _ in pairs], wanted, [g for _, g in pairs], create_graph=create_graph, allow_unused=True
            )
            if pairs
            else [None] * len(wanted)
        )
    return [next(values) if t is not None and t.requires_grad else None for t in (*grads, *flat)]


def _register_flops(operation: Operation) -> None:
    from torch.utils.flop_counter import register_flop_formula

    packet = getattr(torch.ops.nnzoo_fast, operation.name)
    backward_packet = getattr(torch.ops.nnzoo_fast, f"{operation.name}_bwd")

    @register_flop_formula(packet)
    def forward_flops(*args, out_shape=None, **kwargs) -> int:
        return operation.flops(*args[:-1])

    @register_flop_formula(backward_packet)
    def backward_flops(grads, *args, out_shape=None, **kwargs) -> int:
        return 2 * operation.flops(*args[:-2])


def _requested_row(operation: Operation) -> str | None:
    name = backends.requested(operation.name)
    return None if name in (backends.STOCK_BACKEND, backends.REFERENCE_BACKEND) else name


def _from_stock(operation: Operation, args: tuple, training: bool) -> tuple:
    """Stock results of an inference call, laid out as `allocate` promises."""
    if training:
        raise backends.BackendError(f"{operation.name}: no backend can run this traced call with gradients")
    outputs = operation.allocate(*args, training)
    results = operation.stock(*args)
    results = (results,) if operation.visible == 1 else results
    for output, result in zip(outputs[: operation.visible], results, strict=True):
        output.copy_(result)
    return outputs
