"""What `conv` and `conv_transpose` ask of their arguments: the forms in which callers give stride, padding and
dilation, the one that backends get, and what is wrong in a call of either."""

from collections.abc import Sequence

import torch


def dimensions_of(op: str, input: torch.Tensor, weight: torch.Tensor) -> int:
    """The number of spatial dimensions.

    Raises:
        RuntimeError: weight has none of the known numbers, or input another one.
    """
    n = weight.dim() - 2
    if n not in (1, 2, 3):
        raise RuntimeError(f"{op}: weight must have 3 to 5 dimensions, got {list(weight.shape)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{op}: input {list(input.shape)} must have {n + 1} or {n + 2} dimensions, as weight has {n + 2}"
        )
    return n


def check_least(op: str, *values: tuple[str, Sequence[int], int]) -> None:
    """Raises RuntimeError for (name, numbers, least) where one of the numbers is less."""
    for name, numbers, least in values:
        if min(numbers) < least:
            raise RuntimeError(f"{op}: {name} must be at least {least}, got {list(numbers)}")


def check_weight_and_bias(op: str, input, weight, bias, out_channels: int) -> None:
    """Raises RuntimeError for an empty kernel, a bias of another size, other dtypes or other devices."""
    if bias is not None and (bias.dim() != 1 or bias.shape[0] != out_channels):
        raise RuntimeError(f"{op}: bias must be [{out_channels}], got {list(bias.shape)}")
    if min(weight.shape[2:]) < 1:
        raise RuntimeError(f"{op}: weight {list(weight.shape)} has an empty kernel")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and tensor.dtype != input.dtype:
            raise RuntimeError(f"{op}: {name} is {tensor.dtype}, expected input's {input.dtype}")
        if tensor is not None and tensor.device != input.device:
            raise RuntimeError(f"{op}: {name} is on {tensor.device}, expected input's {input.device}")


def as_lists(*values: int | Sequence[int]) -> list[list[int]]:
    """For a call whose number of dimensions is unknown: PyTorch's operators repeat what is alone."""
    return [[value] if isinstance(value, int) else list(value) for value in values]


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
