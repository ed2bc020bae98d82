"""Which of three ways a call takes.

`EAGER` hands raw pointers to a kernel, which is safe only for plain tensors with nothing watching. `OPS` goes through
`torch.ops.nnzoo_fast`, which tracers, modes, fake and meta tensors understand. `STOCK` runs PyTorch's own operators,
which know everything else: functorch transforms, forward mode, tensor subclasses, fx proxies.
"""

from collections.abc import Iterable

from torch import Tensor, strided
from torch.compiler import is_compiling
from torch.nn import Parameter

from nnzoo_fast import _compat

EAGER, OPS, STOCK = "eager", "ops", "stock"


def route(tensors: Iterable[object]) -> str:
    """`EAGER`, `OPS` or `STOCK` for a call (or a backward) with these tensors; 1 to 2 us."""
    if is_compiling():
        return _traced_route(tensors)
    if _compat.watched():
        return STOCK
    way = OPS if _compat.dispatch_mode_depth() or _compat.function_mode_depth() else EAGER
    for tensor in tensors:
        kind = type(tensor)
        if kind is not Tensor and kind is not Parameter:
            if kind not in _compat.TRACED_TENSOR_TYPES:
                return STOCK
            way = OPS
        elif tensor.layout is not strided or tensor.is_nested or tensor.is_neg() or _compat.is_legacy_batched(tensor):
            return STOCK
        elif tensor.is_meta:
            way = OPS
    return way


def _traced_route(tensors: Iterable[object]) -> str:
    for tensor in tensors:
        kind = type(tensor)
        if kind is not Tensor and kind is not Parameter and kind not in _compat.TRACED_TENSOR_TYPES:
            return STOCK
        if tensor.layout is not strided or tensor.is_nested:
            return STOCK
    return OPS


def check_tensors(operation: str, **tensors: object) -> None:
    """Raises TypeError for what is neither a tensor nor, like an fx proxy, stands for one."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor) and not hasattr(type(value), "__torch_function__"):
            raise TypeError(f"{operation}: {name} is a {type(value).__name__}, expected a Tensor")


def is_traceable(tensor: object) -> bool:
    """Whether `tensor` has a shape to look at: not so for an fx proxy, which only stock operators can record."""
    return isinstance(tensor, Tensor)
