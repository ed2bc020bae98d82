"""`linear`: activation(input @ weight^T + bias) + residual, all of it while the product is in registers or cache."""

import torch
import torch.nn.functional as F

from nnzoo_fast.activations import activate_stock, check_activation
from nnzoo_fast.backends import Backend, only_on_request
from nnzoo_fast.cuda_support import cuda_rows
from nnzoo_fast.operation import Operation
from nnzoo_fast.ops.linear import cpu
from nnzoo_fast.ops.linear.outputs import allocate, keeps
from nnzoo_fast.ops.linear.reference import reference
from nnzoo_fast.triton_support import triton_row

__all__ = ["linear", "operation", "reference"]


def linear(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "none",
    residual: torch.Tensor | None = None,
    *,
    backend: str | None = None,
) -> torch.Tensor:
    """activation(input @ weight^T + bias) + residual: what is added comes after the activation.

    Args:
        input: [*, in_features].
        weight: [out_features, in_features], any strides.
        bias: [out_features].
        activation: "none", "relu", "gelu", "gelu_tanh", "silu", "tanh" or "sigmoid".
        residual: [*, out_features], any strides; `x.expand(...)` for what is to be repeated.
        backend: run on this backend or raise; by default the first that pays.

    Returns:
        [*, out_features], in the dtype of the arguments.

    Raises:
        ValueError: an unknown activation.
        RuntimeError: shapes, dtypes or devices that don't fit together.
        BackendError: `backend` can't run this call.
    """
    check_activation("linear", activation)
    return operation(input, weight, bias, activation, residual, backend=backend)


def stock(input, weight, bias, activation, residual):
    output = activate_stock(activation, F.linear(input, weight, bias))
    return output if residual is None else output + residual


def check(input, weight, bias, activation, residual):
    if weight.dim() != 2:
        raise RuntimeError(f"linear: weight must be [out_features, in_features], got {list(weight.shape)}")
    if input.dim() == 0 or input.shape[-1] != weight.shape[1]:
        raise RuntimeError(f"linear: input {list(input.shape)} must end in {weight.shape[1]}, weight's in_features")
    check_like(input, "weight", weight)
    if bias is not None:
        if bias.dim() != 1 or bias.shape[0] != weight.shape[0]:
            raise RuntimeError(f"linear: bias must be [{weight.shape[0]}], got {list(bias.shape)}")
        check_like(input, "bias", bias)
    if residual is not None:
        shape = [*input.shape[:-1], weight.shape[0]]
        if list(residual.shape) != shape:
            raise RuntimeError(f"linear: residual must be {shape}, as the output is, got {list(residual.shape)}")
        check_like(input, "residual", residual)


def check_like(input, name, tensor):
    if tensor.dtype != input.dtype:
        raise RuntimeError(f"linear: {name} is {tensor.dtype}, expected input's {input.dtype}")
    if tensor.device != input.device:
        raise RuntimeError(f"linear: {name} is on {tensor.device}, expected input's {input.device}")


def flops(input, weight, bias, activation, residual=None):
    rows = 1
    for size in input[:-1]:
        rows *= size
    return 2 * rows * weight[0] * weight[1]


operation = Operation(
    "linear",
    "Tensor input, Tensor weight, Tensor? bias, str activation, Tensor? residual",
    ("output", "kept"),
    allocate=allocate,
    reference=reference,
    stock=stock,
    table=(
        Backend("cpu", cpu.supports, cpu.forward, cpu.backward, cpu.pays),
        *cuda_rows("nnzoo_fast.ops.linear.cuda", "tensor", "vectors", "tiled", "naive"),
        *(
            Backend(f"cpu_{rung}", cpu.supports, cpu.forward_by(rung), cpu.backward, only_on_request)
            for rung in cpu.RUNGS
        ),
        triton_row("nnzoo_fast.ops.linear.triton_kernels"),
    ),
    check=check,
    keeps=keeps,
    autocast="lower",
    flops=flops,
)
