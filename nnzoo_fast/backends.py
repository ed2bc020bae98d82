"""The table of backends of an operation, and how a user asks for one.

A table is ordered: an automatic choice takes the first row that supports the call and is expected to win there. An
explicit request (`backend="cpu"`, `with nnzoo_fast.backend("cpu"):` or `NNZOO_BACKEND=cpu`) takes that row or raises.
`torch` (stock operators) and `reference` stand at the end of every table.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from nnzoo_fast import _extension

Verdict = tuple[bool, str]
"""Yes or no, and the reason in words."""

STOCK_BACKEND, REFERENCE_BACKEND = "torch", "reference"


class BackendError(RuntimeError):
    """A backend that was asked for by name can't run this call."""


def always_pays(*args) -> Verdict:
    return True, "first backend of the table that supports the call"


def only_on_request(*args) -> Verdict:
    return False, "runs only when asked for by name"


@dataclass(frozen=True)
class Backend:
    """One row of an operation's table.

    `supports(*args)` says whether the kernel can run the call, `pays(*args)` whether it is expected to beat the rows
    below. `forward(*args, training)` returns every output of the operation, None for what only backward wants unless
    `training`. `backward(grads, args, outputs, needs)` returns one gradient per flattened tensor argument, None
    where `needs` says so, contiguous or one of `grads` itself. `args` are always those of the operation's schema, in
    its order; an input that `keeps` left out comes to `backward` as zeros of stride 0. `supports` may depend on shapes,
    dtypes, devices and the arguments that are no tensors, but not on strides or values: a traced backward asks it
    again. `pays` may also ask `wants_gradients`, whether a tensor is contiguous and the number of threads: declined
    calls are remembered by all of these.
    """

    name: str
    supports: Callable[..., Verdict]
    forward: Callable[..., tuple]
    backward: Callable[..., tuple]
    pays: Callable[..., Verdict] = always_pays


CPU_DTYPES = (torch.float32, torch.bfloat16, torch.float64)


def cpu_supports(tensor: torch.Tensor, kernel: str, dtypes: tuple[torch.dtype, ...] = CPU_DTYPES) -> Verdict:
    """Whether the C++ function `kernel` is there and knows this tensor's device and dtype."""
    if not tensor.is_cpu:
        return False, f"the tensors are on {tensor.device}, not on the CPU"
    if tensor.dtype not in dtypes:
        return False, f"{tensor.dtype} is not one of {', '.join(map(str, dtypes))}"
    if not hasattr(_extension._C, kernel):
        return False, f"this installation's C++ kernels have no {kernel}"
    return True, ""


def wants_gradients(*tensors: torch.Tensor | None) -> bool:
    """Whether autograd will ask for a gradient of one of these."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def address(tensor: torch.Tensor | None) -> int:
    """What a kernel takes for a tensor: its `data_ptr()`, 0 for an absent one."""
    return 0 if tensor is None else tensor.data_ptr()


def parse_request(text: str) -> dict[str, str]:
    """`"cpu"` or `"conv=triton,lstm=torch"` as a map from operation (`""`: every one) to backend."""
    request = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        operation, _, name = part.rpartition("=")
        request[operation.strip()] = name.strip()
    return request


operations: set[str] = set()
"""The names of all operations, which add themselves."""


def check_operations(names: Iterable[str], asked_by: str) -> None:
    """Raises ValueError for a name that no operation has."""
    for name in names:
        if name and name not in operations:
            raise ValueError(f"{asked_by}: there is no operation {name!r}; there are {', '.join(sorted(operations))}")


def check_environment() -> None:
    """To be called once all operations are there.

    Raises:
        ValueError: NNZOO_BACKEND names an operation that there is not.
    """
    check_operations(_requested, "environment variable NNZOO_BACKEND")


# A plain global: torch.compile can guard on it, and can't trace a ContextVar.
_requested: dict[str, str] = parse_request(os.environ.get("NNZOO_BACKEND", ""))


def requested(operation: str) -> str | None:
    """The backend that the user asked for, by name, for this operation."""
    if not _requested:
        return None
    return _requested.get(operation, _requested.get(""))


@contextlib.contextmanager
def backend(name: str | None = None, **per_operation: str) -> Iterator[None]:
    """Run every operation inside the block on the backend `name`; keyword arguments name single operations.

    The request is process-wide, not per thread. `backend(None)` lifts an outer request.

    Raises:
        ValueError: a keyword that is not the name of an operation.

    >>> with nnzoo_fast.backend("reference", lstm="cpu"):
    ...     model(x)
    """
    global _requested
    check_operations(per_operation, "backend")
    outer = _requested
    _requested = {**({"": name} if name else {}), **per_operation}
    try:
        yield
    finally:
        _requested = outer
