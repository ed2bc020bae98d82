"""`scatter`: rows reduced by an index, on the kernels of `gather_scatter`."""

from __future__ import annotations

import torch

from nnzoo_fast.backends import Backend
from nnzoo_fast.front_door import check_tensors, is_traceable
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.gather_scatter.reference import REDUCES, along_first, rows_kept
from nnzoo_fast.ops.scatter import cpu
from nnzoo_fast.ops.scatter.reference import reference

__all__ = ["operation", "reference", "scatter"]

_SAME = {"add": "sum", "amax": "max", "amin": "min"}


def scatter(
    src: torch.Tensor,
    index: torch.Tensor,
    dim: int = 0,
    dim_size: int | None = None,
    reduce: str = "sum",
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """Reduces the slices of `src` along `dim` that have the same `index`. `torch_geometric.utils.scatter`.

    Args:
        src: [*, E, *], E being the size of `dim`.
        index: int64 [E].
        dim_size: N, the size of `dim` in the result; by default the largest index plus 1.
        reduce: "sum" ("add"), "mean", "max", "min", "mul", "any", or of floating-point values "var", "std" or "softmax"
            (see `gather_scatter`); "any" and integers run on stock torch.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [*, N, *]; 0 where no index points, 1 for "mul". Equal values share the gradient of "max" and "min" equally.

    Raises:
        TypeError: `src` or `index` is no tensor.
        ValueError: `index` is not one-dimensional, `dim` is out of range, or `reduce` is unknown.
        RuntimeError: sizes or devices that don't fit together, an index out of range.
        BackendError: `backend` can't run this call.
    """
    reduce = _SAME.get(reduce, reduce)
    if reduce not in (*REDUCES, "any"):
        raise ValueError(f"scatter: reduce is {reduce!r}, expected {', '.join(REDUCES)} or any")
    check_tensors("scatter", src=src, index=index)
    if is_traceable(index) and index.dim() != 1:
        raise ValueError(f"scatter: index is {list(index.shape)}, expected one dimension")
    if is_traceable(src) and not -src.dim() <= dim < src.dim():
        raise ValueError(f"scatter: dim is {dim}, expected -{src.dim()} to {src.dim() - 1}")
    if dim_size is None:
        dim_size = int(index.max()) + 1 if index.numel() else 0
    rows = src.movedim(dim, 0)
    if reduce in REDUCES and rows.is_floating_point():
        return operation(rows, index, dim_size, reduce, backend=backend).movedim(0, dim)
    return _stock_only(rows, index, dim_size, reduce).movedim(0, dim)


def _stock_only(rows: torch.Tensor, index: torch.Tensor, dim_size: int, reduce: str) -> torch.Tensor:
    shape = (dim_size, *rows.shape[1:])
    along = along_first(index, rows).expand(rows.shape)
    if reduce == "any":
        return rows.new_zeros(shape).scatter(0, along, rows)
    if reduce == "mul":
        return rows.new_ones(shape).scatter_reduce(0, along, rows, "prod")
    if reduce in ("sum", "mean"):
        total = rows.new_zeros(shape).index_add(0, index, rows)
        count = torch.bincount(index, minlength=dim_size).clamp(min=1)
        return total if reduce == "sum" else total / along_first(count, total)
    if reduce in ("max", "min"):
        return rows.new_zeros(shape).scatter_reduce(0, along, rows, f"a{reduce}", include_self=False)
    raise RuntimeError(f"scatter: src is {rows.dtype}, expected a floating-point dtype for {reduce}")


def check(src, index, dim_size, reduce):
    if index.dtype != torch.int64:
        raise RuntimeError(f"scatter: index is {index.dtype}, expected torch.int64")
    if index.shape[0] != src.shape[0]:
        raise RuntimeError(
            f"scatter: index has {index.shape[0]} elements, expected {src.shape[0]}, src's size along dim"
        )
    if index.device != src.device:
        raise RuntimeError(f"scatter: index is on {index.device}, expected src's {src.device}")
    if dim_size < 0 or max(dim_size, index.shape[0]) >= 2**31:
        raise RuntimeError(f"scatter: dim_size is {dim_size}, expected 0 to 2^31 - 1, as many as elements of index")


def allocate(src, index, dim_size, reduce, training):
    def groups(size):
        return index.new_empty((size if training else 0,), dtype=torch.int32)

    return src.new_empty((dim_size, *src.shape[1:])), groups(dim_size + 1), groups(index.shape[0])


def keeps(args, needs):
    return (rows_kept(args[3]) > 0, True), (args[3] in ("max", "min", "softmax"), True, True)


def flops(src, index, dim_size, reduce):
    count = 1
    for size in src:
        count *= size
    return count


operation = Operation(
    "scatter",
    "Tensor src, Tensor index, SymInt dim_size, str reduce",
    ("out", "start", "order"),
    allocate=allocate,
    reference=reference,
    stock=reference,
    table=(Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),),
    check=check,
    keeps=keeps,
    flops=flops,
)
