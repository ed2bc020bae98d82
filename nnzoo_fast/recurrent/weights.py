"""How the flat list of a recurrent operation's weights is laid out, and the sizes that it implies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch


class Weights(NamedTuple):
    """What one direction of one layer owns; `None` stands for an absent bias or projection.

    w_ih: [G * hidden, in_features], w_hh: [G * hidden, out_features], b_ih and b_hh: [G * hidden],
    w_hr: [out_features, hidden]; the op's G gates are stacked in torch's order.
    """

    w_ih: torch.Tensor
    w_hh: torch.Tensor
    b_ih: torch.Tensor | None
    b_hh: torch.Tensor | None
    w_hr: torch.Tensor | None

    @property
    def hidden_size(self) -> int:
        return (self.w_hh if self.w_hr is None else self.w_hr).shape[1]

    @property
    def out_features(self) -> int:
        """The width of h: proj_size if there is a projection, else hidden_size."""
        return self.w_hh.shape[1]


def per_direction(count: int, bias: bool, directions: int) -> int:
    """How many of `count` weights each of `directions` (all layers counted) owns; 0 if that can't be."""
    plain = 4 if bias else 2
    return next((each for each in (plain, plain + 1) if count == each * directions), 0)


def group(weights: Sequence[torch.Tensor], bias: bool, directions: int) -> list[Weights]:
    """The flat list as one entry per direction, layer by layer. It works on gradients as well."""
    each = per_direction(len(weights), bias, directions)
    projected = each - (4 if bias else 2)
    grouped = []
    for start in range(0, len(weights), each):
        own = list(weights[start : start + each])
        w_hr = own.pop() if projected else None
        grouped.append(Weights(*own, *(() if bias else (None, None)), w_hr))
    return grouped


def flatten(grouped: Sequence[Weights], bias: bool, projected: bool) -> list:
    """The inverse of `group`."""
    flat = []
    for own in grouped:
        flat += own[:4] if bias else own[:2]
        flat += [own.w_hr] if projected else []
    return flat
