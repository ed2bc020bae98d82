"""`AddNorm`: what stands between the blocks of a transformer, on `ops.add_norm`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnzoo_fast import ops
from nnzoo_fast.ops.add_norm.reference import NORMS


class AddNorm(torch.nn.Module):
    """The sum of a residual and of what a block made of it, after dropout, and that sum normalised.

    Weight and bias are those of a `torch.nn.LayerNorm`, or the weight of a `torch.nn.RMSNorm`, by the same names.

    Args:
        normalized_shape: the last dimensions, or the size of the last one.
        p: the probability of an element of the input to be dropped in training.
        norm: "layer" or "rms".
        eps: added to the variance or to the mean of squares; by default 1e-5, for "rms" that of float32 or float64.
        elementwise_affine: have a weight.
        bias: have a bias too; "rms" has none.
        device, dtype: those of the parameters.

    Raises:
        ValueError: `p` is not from 0 to 1, `norm` is another.
    """

    __constants__ = ["normalized_shape", "p", "norm", "eps"]

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        p: float = 0.0,
        norm: str = "layer",
        eps: float | None = None,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"AddNorm: norm is {norm!r}, expected one of {', '.join(NORMS)}")
        if not 0 <= p <= 1:
            raise ValueError(f"AddNorm: p is {p}, expected a probability")
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.p, self.norm, self.eps = shape, p, norm, eps

        def parameter(wanted: bool):
            return torch.nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None

        self.weight = parameter(elementwise_affine)
        self.bias = parameter(elementwise_affine and bias and norm == "layer")
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            torch.nn.init.ones_(self.weight)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(self, input: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """norm(sum) and sum = residual + dropout(input), all of one shape [*, *normalized_shape]."""
        p = self.p if self.training else 0.0
        return ops.add_norm(input, residual, self.normalized_shape, self.weight, self.bias, self.eps, p, self.norm)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, p={self.p}, norm={self.norm!r}, eps={self.eps}"
