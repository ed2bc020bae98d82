"""`OpSpec`: one description of an operation that the tests, `nnzoo-fast verify` and the benchmarks all read."""

from __future__ import annotations

import functools
import importlib.util
import math
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

import nnzoo_fast


@dataclass
class Call:
    """The arguments of one call of a public function."""

    args: tuple
    kwargs: dict[str, Any] = field(default_factory=dict)

    def run(self, function: Callable) -> Any:
        return function(*self.args, **self.kwargs)

    def map(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Call:
        """The same call with `change` applied to every tensor."""
        args, kwargs = tree_map(lambda x: change(x) if isinstance(x, torch.Tensor) else x, (self.args, self.kwargs))
        return Call(args, kwargs)

    def tensors(self) -> list[torch.Tensor]:
        leaves, _ = tree_flatten((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

    def as_dtype(self, dtype: torch.dtype) -> Call:
        """A copy with floating tensors in `dtype`, each a leaf that requires a gradient where the original does."""

        def convert(tensor: torch.Tensor) -> torch.Tensor:
            if not tensor.is_floating_point():
                return tensor
            return tensor.detach().to(dtype, copy=True).requires_grad_(tensor.requires_grad)

        return self.map(convert)


class Maker:
    """Makes the tensors of a sample: values are drawn in float64 and rounded, the same for every dtype and device."""

    def __init__(self, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0, grad: bool = True):
        self.dtype, self.device, self.grad = dtype, device, grad
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0, shift: float = 0.0, grad: bool = True) -> torch.Tensor:
        """Normally distributed [*shape] of the sample's dtype."""
        values = torch.randn(shape, generator=self.generator, dtype=torch.float64) * scale + shift
        return self.wrap(values, grad)

    def wrap(self, values: torch.Tensor, grad: bool = True) -> torch.Tensor:
        """`values` in the sample's dtype, on its device, as a leaf. Strides are kept."""
        return values.to(self.device, self.dtype).detach().requires_grad_(self.grad and grad)

    def integers(self, low: int, high: int, *shape: int) -> torch.Tensor:
        """int64 [*shape] in [low, high)."""
        return torch.randint(low, high, shape, generator=self.generator).to(self.device)

    def booleans(self, *shape: int, probability: float = 0.5) -> torch.Tensor:
        """bool [*shape], True with this probability."""
        return (torch.rand(shape, generator=self.generator) < probability).to(self.device)


@dataclass(frozen=True)
class Sample:
    """A call worth checking; `make(maker)` builds it. `id` says what is special about it: `"M1-K17-nobias"`.

    `long` calls take so many steps that only compiled kernels are asked, no interpreter and no emulator.
    `ill_conditioned` calls magnify rounding until one run of stock torch is no measure of its error: see `neighbours`.
    """

    id: str
    make: Callable[[Maker], Call]
    long: bool = False
    ill_conditioned: bool = False


@dataclass(frozen=True)
class ErrorSample:
    """A wrong call: it must raise `exception` with a message that matches the regular expression `message`."""

    id: str
    make: Callable[[Maker], Call]
    exception: type[Exception]
    message: str


@dataclass(frozen=True)
class BenchCase:
    """A call worth timing.

    Args:
        flops: floating-point operations of the forward call.
        bytes: compulsory traffic of the forward call in float32: every input read once, every output written once.
        quick: part of `nnzoo-fast bench --quick`.
        backward: time forward and backward too.
    """

    id: str
    make: Callable[[Maker], Call]
    flops: float
    bytes: float
    quick: bool = False
    backward: bool = True


@dataclass(frozen=True)
class OpSpec:
    """What the tests, `verify` and the benchmarks know of an operation.

    Args:
        name: the op's folder.
        function: the public function, which takes the arguments that samples make.
        stock: the same call with PyTorch's own operators: the peer in speed, and the yardstick of error.
        samples: odd shapes first.
        errors: wrong calls.
        bench: calls worth timing.
        counted: small calls like those worth timing, on which the memory traffic of the CUDA kernels is counted.
        dtypes: what the kernels compute in; the first is the default.
        length: the longest sum behind one element of a result, for the float64 rule; `length(call) -> int`.
        variants: the ladder: named implementations, simplest first, each with the public function's signature.
        peers: the same call by other libraries, each imported when called, for the benchmarks to measure against.
        traceable: whether torch.compile can look into `stock`. Else it runs torch's operator as it is, behind a graph
            break, and has no time of its own.
    """

    name: str
    function: Callable
    stock: Callable
    samples: Sequence[Sample]
    errors: Sequence[ErrorSample] = ()
    bench: Sequence[BenchCase] = ()
    counted: Sequence[Sample] = ()
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16, torch.float64)
    length: Callable[[Call], int] = lambda call: max((tensor.numel() for tensor in call.tensors()), default=1)
    variants: dict[str, Callable] = field(default_factory=dict)
    peers: dict[str, Callable] = field(default_factory=dict)
    traceable: bool = True


def outputs_of(result: Any) -> list[torch.Tensor]:
    """The tensors of a result, in order."""
    leaves, _ = tree_flatten(result)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def run_with_gradients(function: Callable, call: Call, seed: int = 1) -> tuple[list, list]:
    """Outputs of `function` and the gradients of every input that requires one, for fixed random cotangents."""
    outputs = [out for out in outputs_of(call.run(function))]
    wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]
    differentiable = [out for out in outputs if out.requires_grad]
    if not wanted or not differentiable:
        return outputs, []
    generator = torch.Generator().manual_seed(seed)
    cotangents = [
        torch.randn(out.shape, generator=generator, dtype=torch.float64).to(torch.bfloat16).to(out.device, out.dtype)
        for out in differentiable
    ]
    grads = torch.autograd.grad(differentiable, wanted, cotangents, allow_unused=True, materialize_grads=True)
    return outputs, list(grads)


@dataclass(frozen=True)
class Error:
    """Distance from the oracle: relative Frobenius norm, and largest deviation over the largest value."""

    frobenius: float
    largest: float

    @staticmethod
    def of(value: torch.Tensor, oracle: torch.Tensor) -> Error:
        """Non-finite values must stand in the same places, else the error is infinite."""
        value, oracle = value.detach().double().cpu(), oracle.detach().double().cpu()
        if value.shape != oracle.shape:
            return Error(math.inf, math.inf)
        finite = torch.isfinite(oracle)
        if not torch.equal(finite, torch.isfinite(value)) or not _same_bits(value[~finite], oracle[~finite]):
            return Error(math.inf, math.inf)
        value, oracle = value[finite], oracle[finite]
        if oracle.numel() == 0:
            return Error(0.0, 0.0)
        difference = value - oracle
        return Error(
            _ratio(difference.norm().item(), oracle.norm().item()),
            _ratio(difference.abs().max().item(), oracle.abs().max().item()),
        )

    @staticmethod
    def worst_of(found: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> Error:
        """The greatest errors of all results. Those that are nothing but rounding, such as the gradient of a bias
        before a batch norm or of one that shifts all scores alike, are held against the greatest of the others."""
        greatest = max(each[each.isfinite()].norm().item() for each in exact)

        def error(value: torch.Tensor, truth: torch.Tensor) -> Error:
            rounding = truth.shape == value.shape and truth.norm().item() <= 1e-12 * greatest
            return Error._of_none(value, truth, greatest) if rounding else Error.of(value, truth)

        return functools.reduce(Error.or_worse, [error(*pair) for pair in zip(found, exact, strict=True)])

    @staticmethod
    def _of_none(value: torch.Tensor, truth: torch.Tensor, size: float) -> Error:
        difference = (value.double() - truth).norm().item() / (size or 1.0)
        difference = difference if math.isfinite(difference) else math.inf
        return Error(difference, difference)

    def or_worse(self, other: Error) -> Error:
        return Error(max(self.frobenius, other.frobenius), max(self.largest, other.largest))

    def within(self, allowed: Error) -> bool:
        return self.frobenius <= allowed.frobenius and self.largest <= allowed.largest


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(torch.isnan(a), torch.isnan(b)) and torch.equal(a[~torch.isnan(a)], b[~torch.isnan(b)])


def _ratio(difference: float, size: float) -> float:
    if size == 0.0:
        return 0.0 if difference == 0.0 else difference
    return difference / size


def allowed_error(stock: Error, dtype: torch.dtype, length: int) -> Error:
    """The promise P2: twice stock torch's error plus 4 eps; in float64, 8 sqrt(length) eps."""
    eps = torch.finfo(dtype).eps
    if dtype == torch.float64:
        bound = 8 * math.sqrt(max(length, 1)) * eps
        return Error(bound, bound)
    return Error(2 * stock.frobenius + 4 * eps, 2 * stock.largest + 4 * eps)


def neighbours(call: Call, dtype: torch.dtype, count: int = 32) -> Iterator[Call]:
    """`call` in `dtype` (float32 for float64) with each floating value moved by up to two units in the last place.

    Where a call is ill conditioned, its error is a few roundings magnified a thousand times, and two equally good
    programs differ by more than 2, in either direction. Stock torch's error is then the largest of several runs.
    """
    generator = torch.Generator().manual_seed(0)

    def move(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        steps = torch.randint(-2, 3, tensor.shape, generator=generator).to(tensor.device)
        moved = tensor.detach().double() * (1 + steps * torch.finfo(tensor.dtype).eps)
        return moved.to(tensor.dtype).requires_grad_(tensor.requires_grad)

    for _ in range(count):
        yield call.as_dtype(torch.float32 if dtype == torch.float64 else dtype).map(move)


def allowed_errors(
    errors: Sequence[Error], dtype: torch.dtype, length: int, drawn: Sequence[Sequence[Error]] = ()
) -> list[Error]:
    """The promise P2 for each result of a call, given stock torch's errors.

    Args:
        drawn: of an ill-conditioned call, the errors on its `neighbours`. In float64, where stock torch may be the very
            program that the oracle is, these are float32's, and count scaled from one eps to the other.
    """
    allowed = [allowed_error(error, dtype, length) for error in errors]
    if not drawn:
        return allowed
    eps = torch.finfo(dtype).eps
    measured = torch.finfo(torch.float32).eps if dtype == torch.float64 else eps
    drawn = [[_times(eps / measured, error) for error in others] for others in drawn]
    return [
        Error(
            max(least.frobenius, *(2 * error.frobenius + 4 * eps for error in same)),
            max(least.largest, *(2 * error.largest + 4 * eps for error in same)),
        )
        for least, *same in zip(allowed, errors, *drawn, strict=True)
    ]


def _times(factor: float, error: Error) -> Error:
    return Error(factor * error.frobenius, factor * error.largest)


def oracle_and_stock(spec: OpSpec, call: Call) -> tuple[tuple[list, list], tuple[list, list]]:
    """Outputs and gradients of the reference in float64, and of stock torch."""
    with nnzoo_fast.backend("reference"):
        oracle = run_with_gradients(spec.function, call.as_dtype(torch.float64))
    return oracle, run_with_gradients(spec.stock, call)


def errors_of(found: tuple[list, list], oracle: tuple[list, list]) -> list[Error]:
    """Of each output, then of each gradient."""
    return [Error.of(*pair) for pair in zip(sum(found, []), sum(oracle, []), strict=True)]


def allowed_for(spec: OpSpec, sample: Sample, call: Call, dtype: torch.dtype, errors: Sequence[Error]) -> list[Error]:
    """What P2 allows each output, then each gradient, of a sample's `call` on which stock torch makes these errors."""
    drawn = []
    if sample.ill_conditioned:
        results = (oracle_and_stock(spec, near) for near in neighbours(call, dtype))
        drawn = [errors_of(stock, oracle) for oracle, stock in results]
    return allowed_errors(errors, dtype, spec.length(call), drawn)


def all_specs() -> dict[str, OpSpec]:
    """The spec of every op folder that has one."""
    from nnzoo_fast import ops

    specs = {}
    for info in pkgutil.iter_modules(ops.__path__):
        name = f"{ops.__name__}.{info.name}.spec"
        if info.ispkg and importlib.util.find_spec(name) is not None:
            specs[info.name] = importlib.import_module(name).SPEC
    return specs
