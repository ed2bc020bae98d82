"""`cross_entropy` on the kernels of `csrc/ops/cross_entropy`."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.backends import Verdict, address, cpu_supports
from nnzoo_fast.ops.cross_entropy.outputs import allocate
from nnzoo_fast.ops.cross_entropy.reference import REDUCTIONS

FEW, SMALL = 256, 2**14
"""Fewer classes, or fewer values, take less time than what surrounds them."""


def supports(input, target, weight, reduction, ignore_index, label_smoothing) -> Verdict:
    if not target.is_floating_point() and target.dtype != torch.int64:
        return False, f"target is {target.dtype}, not torch.int64"
    if target.is_floating_point() and target.dtype != input.dtype:
        return False, f"target is {target.dtype}, not input's {input.dtype}: stock torch promotes"
    if weight is not None and weight.dtype != input.dtype:
        return False, f"weight is {weight.dtype}, not input's {input.dtype}: stock torch promotes"
    if input.shape[1] == 0:
        return False, f"input {list(input.shape)} has no classes"
    return cpu_supports(input, "cross_entropy_forward")


def pays(input, target, weight, reduction, ignore_index, label_smoothing) -> Verdict:
    if input.numel() < SMALL:
        return False, f"fewer than {SMALL} values: the call itself takes longer"
    if input.dim() > 2 or not input.is_contiguous():
        return False, "classes that are not adjacent would have to be laid out first"
    if input.shape[1] < FEW:
        return False, f"fewer than {FEW} classes: the logarithm of each row takes longer than its sum"
    return True, "never writes the logarithms of the softmax; backward computes them again from the sum of each row"


def rows_of(tensor: torch.Tensor) -> torch.Tensor:
    """[N, C, *size] as [N * size, C]."""
    return tensor.movedim(1, -1).reshape(-1, tensor.shape[1]).contiguous()


def _call(args, rows):
    input, target, weight, reduction, ignore_index, label_smoothing = args
    soft = target.is_floating_point()
    tensors = [rows, None if soft else target.contiguous(), rows_of(target) if soft else None]
    tensors.append(None if weight is None else weight.contiguous())
    numbers = (
        *rows.shape,
        ignore_index,
        label_smoothing,
        REDUCTIONS.index(reduction),
        _extension.DTYPE_CODES[input.dtype],
        torch.get_num_threads(),
    )
    return tensors, numbers


def check_targets(target, classes, ignore_index):
    """Raises IndexError, as torch does, for what is no class."""
    wrong = _extension._C.cross_entropy_check(target.data_ptr(), target.numel(), classes, ignore_index)
    if wrong >= 0:
        value = int(target.reshape(-1)[wrong])
        raise IndexError(f"cross_entropy: target {value} is out of bounds, expected 0 <= target < {classes}")


def forward(*args):
    *args, training = args
    loss, kept, denominator = allocate(*args, training)
    tensors, numbers = _call(args, rows_of(args[0]))
    if tensors[1] is not None:
        check_targets(tensors[1], args[0].shape[1], args[4])
    if denominator is None:
        denominator = torch.empty(1, dtype=torch.float64)
    addresses = map(address, (loss, kept, denominator, *tensors))
    _extension._C.cross_entropy_forward(*addresses, *numbers)
    return loss, kept, denominator


def backward(grads, args, outputs, needs):
    input = args[0]
    _, kept, denominator = outputs
    rows = rows_of(input)
    tensors, numbers = _call(args, rows)
    if tensors[1] is not None:  # again: `target.data` changes behind autograd's back
        check_targets(tensors[1], input.shape[1], args[4])
    grad_rows = torch.empty_like(rows)
    grad_probabilities = torch.empty_like(rows) if needs[1] else None
    grad_loss = grads[0].contiguous()
    addresses = map(address, (grad_loss, kept, denominator, grad_rows, grad_probabilities, *tensors))
    _extension._C.cross_entropy_backward(*addresses, *numbers)
    return (
        as_image(grad_rows, input.shape) if needs[0] else None,
        as_image(grad_probabilities, input.shape) if needs[1] else None,
        _gradient_of_weight(grads, args) if needs[2] else None,
    )


def as_image(rows, shape):
    """The inverse of `rows_of`."""
    if len(shape) == 2:
        return rows
    return rows.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1).contiguous()


def _gradient_of_weight(grads, args):
    from nnzoo_fast.ops.cross_entropy import operation

    return operation.reference_gradients(grads, args, (False, False, True), False)[2]
