"""Arguments of a kernel: what the user writes or a Python caller passes, and what the built program reads."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnzoo_fast.cuemu.errors import UsageError

_INTEGERS = {"u8": np.uint8, "i32": np.int32, "u32": np.uint32, "i64": np.int64}
_FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
_KINDS = ", ".join([*_INTEGERS, *_FLOATS])


@dataclass(frozen=True)
class Number:
    """`kind` is what a user writes before the colon, or "int" and "float", which fit what can hold them."""

    kind: str
    value: str
    text: str


@dataclass(frozen=True)
class Array:
    """The kernel gets a pointer to a copy of `data`, whose bytes are contiguous and in the order of its indices."""

    data: np.ndarray
    text: str

    @property
    def dtype(self) -> str:
        dtype = self.data.dtype
        return f"void{8 * dtype.itemsize}" if dtype.fields else dtype.name


def parse(word: str) -> Number | Array:
    """An argument as the command line has it: `path.npy`, or a number such as `i32:5`.

    Raises:
        UsageError: it is neither, or the number is out of its range, or the file is not an array.
    """
    kind, colon, value = word.partition(":")
    if colon and kind in _INTEGERS:
        return Number(kind, str(_integer(word, value, np.iinfo(_INTEGERS[kind]))), word)
    if colon and kind in _FLOATS:
        return Number(kind, _float(word, value, _FLOATS[kind]), word)
    if word.endswith(".npy"):
        return load(Path(word))
    hint = " (only .npy files are read)" if Path(word).is_file() else ""
    raise UsageError(f"argument {word!r} is neither path.npy nor KIND:VALUE with KIND one of {_KINDS}{hint}")


def _integer(word: str, value: str, limits: np.iinfo) -> int:
    try:
        number = int(value, 16 if value.lstrip("+-").lower().startswith("0x") else 10)
    except ValueError:
        raise UsageError(f"argument {word!r}: {value!r} is not an integer") from None
    if not limits.min <= number <= limits.max:
        raise UsageError(f"argument {word!r} is out of range: from {limits.min} to {limits.max}")
    return number


def _float(word: str, value: str, kind: type) -> str:
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"argument {word!r}: {value!r} is not a number") from None
    with np.errstate(over="ignore"):
        rounded = float(kind(number))
    if math.isinf(rounded) and not math.isinf(number):
        raise UsageError(f"argument {word!r} is out of range: the largest number is {np.finfo(kind).max}")
    return repr(rounded)


def load(path: Path) -> Array:
    try:
        data = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} is not an array that numpy can load: {error}".replace("\n", " ")) from None
    if not isinstance(data, np.ndarray):
        raise UsageError(f"{path} holds several arrays, and an argument is one")
    return of_array(data, str(path))


def of_array(data: np.ndarray, text: str) -> Array:
    if data.dtype.hasobject or data.dtype.kind in "OUSMm":
        raise UsageError(f"{text} is an array of {data.dtype}, which no kernel can take")
    return Array(np.require(data.astype(data.dtype.newbyteorder("="), copy=False), requirements="C"), text)


def of_value(value, place: int) -> Number | Array:
    """An argument as Python has it: a numpy array or a CPU tensor, or a number; `place` counts from 1.

    Raises:
        TypeError: it is something else.
    """
    if hasattr(value, "detach") and hasattr(value, "numpy"):  # a torch.Tensor, without importing torch for it
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return of_array(value, f"array {place}")
    if isinstance(value, np.generic):
        known = {kind: name for name, kind in {**_INTEGERS, **_FLOATS}.items()}
        if name := known.get(type(value)):
            return Number(name, repr(value.item()), f"{name}:{value}")
    if isinstance(value, numbers.Integral):
        return Number("int", str(int(value)), str(value))
    if isinstance(value, numbers.Real):
        return Number("float", repr(float(value)), str(value))
    raise TypeError(f"argument {place} of a kernel is an array or a number, got {type(value).__name__}")
