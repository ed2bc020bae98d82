"""A weight of `linear` kept in the layout of the C++ kernels, which otherwise bring it there in every call."""

import torch

from nnzoo_fast import _extension
from nnzoo_fast.activations import ACTIVATION_CODES
from nnzoo_fast.backends import Verdict, address, cpu_supports, requested
from nnzoo_fast.front_door import EAGER, route
from nnzoo_fast.ops.linear.cpu import rows_of
from nnzoo_fast.stamp import stamp

SMALLEST = 1 << 16


def supports(weight: torch.Tensor) -> Verdict:
    """Whether the C++ kernels can keep a packed copy of this weight."""
    if type(weight) is not torch.nn.Parameter or route((weight,)) is not EAGER:
        return False, "the weight is not a plain parameter"
    if weight.numel() < SMALLEST:
        return False, f"packing fewer than {SMALLEST} values takes less time than the checks that using a copy needs"
    return cpu_supports(weight, "linear_forward_packed")


class PackedWeight:
    """A copy of `weight` [out_features, in_features], a plain CPU parameter, of no use after a write that torch counts;
    of one [in_features, out_features] if it is `transposed`.

    Its layout is that of this process's instruction set, so it is worthless anywhere else.
    """

    def __init__(self, weight: torch.nn.Parameter, transposed: bool = False):
        kernels = _extension._C
        self.source, self.stamp = weight, stamp(weight)
        self.isa = kernels.isa()
        strides, shape = weight.stride(), weight.shape
        if transposed:
            strides, shape = strides[::-1], shape[::-1]
        self.out_features, self.in_features = shape
        self.code = _extension.DTYPE_CODES[weight.dtype]
        self.memory = torch.empty(kernels.linear_packed_size(*shape, self.code), dtype=torch.uint8)
        kernels.linear_pack(
            weight.data_ptr(),
            self.memory.data_ptr(),
            *shape,
            *strides,
            self.code,
            torch.get_num_threads(),
        )

    def suits(
        self,
        input: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        residual: torch.Tensor | None = None,
    ) -> bool:
        """Whether this call may run on the copy: an eager call without gradients, of the weight that was packed."""
        tensors = [tensor for tensor in (input, weight, bias, residual) if tensor is not None]
        return (
            weight is self.source
            and route(tensors) is EAGER
            and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors))
            and not torch.is_autocast_enabled("cpu")
            and input.dtype is weight.dtype
            and input.is_cpu
            and input.dim() > 0
            and input.shape[-1] == self.in_features
            and (bias is None or (bias.dtype is weight.dtype and bias.is_cpu and bias.shape == (self.out_features,)))
            and (
                residual is None
                or (
                    residual.dtype is weight.dtype
                    and residual.is_cpu
                    and residual.shape == (*input.shape[:-1], self.out_features)
                )
            )
            and requested("linear") in (None, "cpu")
            and self.isa == _extension._C.isa()
            and stamp(weight) == self.stamp
        )

    def linear(
        self,
        input: torch.Tensor,
        bias: torch.Tensor | None,
        activation: str = "none",
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """activation(input [*, in_features] @ weight^T + bias) + residual, for a call that this `suits`."""
        output = input.new_empty((*input.shape[:-1], self.out_features))
        rows = rows_of(input)
        added = None if residual is None else rows_of(residual)
        bias = bias if bias is None or bias.is_contiguous() else bias.contiguous()
        _extension._C.linear_forward_packed(
            rows.data_ptr(),
            self.memory.data_ptr(),
            address(bias),
            address(added),
            output.data_ptr(),
            rows.shape[0],
            self.out_features,
            self.in_features,
            rows.stride(0),
            0 if added is None else added.stride(0),
            ACTIVATION_CODES[activation],
            self.code,
            torch.get_num_threads(),
        )
        return output
