"""The forms in which callers give stride, padding and dilation, and the one that backends get."""

from collections.abc import Sequence


def per_dimension(name: str, value: int | Sequence[int], n: int, op: str = "conv") -> list[int]:
    """`value` as a list of n integers; an integer, or a list of one, stands for every dimension.

    Raises:
        TypeError: something that is not an integer.
        RuntimeError: another number of them.
    """
    values = [value] if isinstance(value, int) else value
    if not isinstance(values, (tuple, list)) or not all(isinstance(x, int) and x is not True for x in values):
        raise TypeError(f"{op}: {name} must be an int or a tuple of ints, got {value!r}")
    if len(values) not in (1, n):
        raise RuntimeError(f"{op}: {name} must be an int or {n} of them, got {value!r}")
    return list(values) * (n if len(values) == 1 else 1)


def resolve_padding(
    padding: int | Sequence[int] | str, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Zeros before and after each dimension, in turn: [begin, end, begin, end, ...].

    "same" puts the odd zero at the end, as torch does.
    """
    n = len(kernel)
    if not isinstance(padding, str):
        return [pad for pad in per_dimension("padding", padding, n) for _ in range(2)]
    if padding == "valid":
        return [0] * (2 * n)
    if padding != "same":
        raise RuntimeError(f'conv: padding must be "same", "valid" or integers, got {padding!r}')
    if any(step != 1 for step in stride):
        raise RuntimeError(f'conv: padding="same" needs stride 1, got {list(stride)}')
    pads = []
    for size, gap in zip(kernel, dilation, strict=True):
        total = gap * (size - 1)
        pads += [total // 2, total - total // 2]
    return pads
