"""Checks that models and their helpers share of what a user asks for."""

from __future__ import annotations

import operator
from typing import SupportsIndex


def checked_count(function: str, name: str, value: SupportsIndex, least: int) -> int:
    """`value`, also one of NumPy or a tensor. Raises TypeError unless it is an integer, ValueError if below `least`."""
    try:
        count = operator.index(value)
    except TypeError:
        count = None
    if count is None or isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be an integer, got {value!r}")
    if count < least:
        raise ValueError(f"{function}: {name} must be at least {least}, got {count}")
    return count
