"""torch.nn.functional with our operations in place of the functions that are here, signature for signature."""

import torch
import torch.nn.functional as stock

from nnzoo_fast import ops
from nnzoo_fast.front_door import is_traceable
from nnzoo_fast.ops.attention import scaled_dot_product_attention

__all__ = ["linear", "scaled_dot_product_attention"]


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`torch.nn.functional.linear`: input [*, in_features], weight [out_features, in_features] or [in_features]."""
    if is_traceable(weight) and weight.dim() == 1:
        return stock.linear(input, weight, bias)
    return ops.linear(input, weight, bias)


def __getattr__(name: str):
    try:
        return getattr(stock, name)
    except AttributeError:
        raise AttributeError(f"neither {__name__} nor torch.nn.functional has an attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(stock)})
