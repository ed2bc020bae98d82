"""What `softmax` and `log_softmax` share."""

from __future__ import annotations

import functools
import math

import torch

from nnzoo_fast import _extension, tables
from nnzoo_fast._compat import any_autocast_enabled
from nnzoo_fast.backends import Backend, Verdict, cpu_supports
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation

SMALL = 2**14
"""Fewer values take less time than finding the kernel for them, where no table of this CPU says."""

SHORT = 256
"""Rows of fewer values are of another kind: what is done once for each takes as long as its vectors."""


def allocate(input, dim, training):
    return (torch.empty(input.shape, dtype=input.dtype, device=input.device),)


def supports(input, dim) -> Verdict:
    return cpu_supports(input, "softmax_forward")


def kind_of(input, dim) -> tuple[str, int]:
    """The kind of call that a table tells apart, and its values."""
    columns = dim < input.dim() - 1
    lines = "columns" if columns else "short rows" if input.shape[dim] < SHORT else "rows"
    return f"{tables.DTYPE_NAMES[input.dtype]} {lines} {tables.way(input)}", math.prod(input.shape)


def pays(operation: str, input, dim) -> Verdict:
    if input.dtype not in tables.DTYPE_NAMES:
        return False, f"no kernel for {input.dtype}"
    if not input.is_contiguous():
        return False, "stock torch makes the contiguous copy within its own operator"
    kind, values = kind_of(input, dim)
    if values < SMALL:
        rule = False, f"fewer than {SMALL} values: the call itself takes longer"
    elif "short" in kind:
        rule = False, f"rows of fewer than {SHORT} values: what is done once for each takes as long as its vectors"
    else:
        rule = True, "each row stays in the first-level cache between its passes"
    return tables.pays(operation, kind, values, rule, "values")


def in_three(shape, dim: int) -> tuple[int, int, int]:
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def forward(input, dim, training, *, logarithm: bool):
    (output,) = allocate(input, dim, training)
    input = input.contiguous()
    _extension._C.softmax_forward(
        input.data_ptr(),
        output.data_ptr(),
        *in_three(input.shape, dim),
        logarithm,
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return (output,)


def backward(grads, args, outputs, needs, *, logarithm: bool):
    grad, output = grads[0].contiguous(), outputs[0]
    grad_input = torch.empty(output.shape, dtype=output.dtype)
    _extension._C.softmax_backward(
        grad.data_ptr(),
        output.data_ptr(),
        grad_input.data_ptr(),
        *in_three(output.shape, args[1]),
        logarithm,
        _extension.DTYPE_CODES[output.dtype],
        torch.get_num_threads(),
    )
    return (grad_input,)


def keeps(args, needs):
    # As in torch, which lets callers change the input in place after the call.
    return (False,), (True,)


def formula(grads, args, outputs, needs, *, logarithm: bool):
    """`backward` in PyTorch: the output, attached to its history, says all that the input would."""
    grad, output, dim = grads[0], outputs[0], args[1]
    if logarithm:
        return (grad - output.exp() * grad.sum(dim, keepdim=True),)
    product = grad * output
    return (product - output * product.sum(dim, keepdim=True),)


def flops(input, dim):
    return 5 * math.prod(input)


def make_operation(name: str, reference, stock) -> Operation:
    logarithm = name == "log_softmax"
    row = Backend(
        "cpu",
        supports,
        functools.partial(forward, logarithm=logarithm),
        functools.partial(backward, logarithm=logarithm),
        functools.partial(pays, name),
    )
    return Operation(
        name,
        "Tensor input, int dim",
        ("output",),
        allocate=allocate,
        reference=reference,
        stock=stock,
        table=(row,),
        keeps=keeps,
        formula=functools.partial(formula, logarithm=logarithm),
        flops=flops,
        compiles=False,
    )


def call(operation: Operation, input, dim: int, dtype: torch.dtype | None, backend: str | None):
    """Normalises the arguments. Autocast, which differs from device to device, is left to torch."""
    if dtype is None and operation.goes_to_stock((input, dim), backend):
        return operation.stock(input, dim)
    check_tensors(operation.name, input=input)
    if not is_traceable(input):
        return operation.stock(input if dtype is None else input.to(dtype), dim)
    if dtype is not None:
        input = input.to(dtype)
    if not isinstance(dim, int) or isinstance(dim, bool):
        raise TypeError(f"{operation.name}: dim must be an int, got {dim!r}")
    rank = max(input.dim(), 1)
    if not -rank <= dim < rank:
        raise IndexError(f"{operation.name}: dim is {dim}, expected {-rank} to {rank - 1}")
    if any_autocast_enabled():
        return operation.stock(input, dim)
    if input.dim() == 0:
        return operation(input.unsqueeze(0), 0, backend=backend).squeeze(0)
    return operation(input, dim % rank, backend=backend, call=(input, dim))
