"""Checks that models and their helpers share of what a user asks for."""

from __future__ import annotations


def check_count(function: str, name: str, value: object, least: int) -> None:
    """Raises TypeError unless `value` is an integer, and ValueError if it is below `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{function}: {name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{function}: {name} must be at least {least}, got {value}")
