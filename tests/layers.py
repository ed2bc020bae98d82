"""PyTorch's own samples for the layers that have drop-ins (`torch.testing._internal`, which needs expecttest)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.modules.lazy import LazyModuleMixin
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_map

from nnzoo_fast import accelerate
from nnzoo_fast.nn.drop_in import DROP_INS
from nnzoo_fast.spec import Call, Error, allowed_errors, neighbours, outputs_of

Arguments = tuple[tuple, dict[str, Any]]

OF_TORCH = {stock: ours for stock, ours in DROP_INS.items() if stock.__module__.startswith("torch.nn.")}
"""The drop-ins for torch's own classes: transformers adds one when a test imports it."""

NOT_IN_MODULE_DB = {
    torch.nn.Dropout: ((0.0,), [(3, 5)]),  # other probabilities: tests/ops/test_dropout.py
    torch.nn.EmbeddingBag: ((9, 4), [torch.tensor([[1, 8, 0], [3, 3, 5]])]),
    torch.nn.LazyBatchNorm1d: ((), [(4, 5)]),
    torch.nn.LazyBatchNorm2d: ((), [(2, 3, 4, 5)]),
    torch.nn.LazyBatchNorm3d: ((), [(2, 3, 2, 4, 3)]),
    torch.nn.LazyInstanceNorm1d: ((), [(4, 5, 7)]),
    torch.nn.LazyInstanceNorm2d: ((), [(2, 3, 4, 5)]),
    torch.nn.LazyInstanceNorm3d: ((), [(2, 3, 2, 4, 3)]),
    torch.nn.LazyLinear: ((7,), [(3, 5)]),
    torch.nn.MaxUnpool1d: ((2,), [(2, 3, 4), torch.tensor([1, 2, 5, 6]).expand(2, 3, 4)]),
    torch.nn.MaxUnpool2d: (((2, 3), None, (0, 1)), [(3, 2, 2), torch.tensor([[5, 3], [15, 8]]).expand(3, 2, 2)]),
    torch.nn.MaxUnpool3d: ((2, 2), [(1, 2, 1, 2, 1), torch.tensor([7, 11]).view(1, 2, 1).expand(1, 2, 1, 2, 1)]),
    torch.nn.Sequential: ((torch.nn.Linear(4, 9), torch.nn.GELU(), torch.nn.Linear(9, 3)), [(5, 4)]),
    torch.nn.TransformerDecoder: ((torch.nn.TransformerDecoderLayer(4, 2, 8, 0.0), 2), [(3, 2, 4), (5, 2, 4)]),
}
"""Drop-ins that PyTorch has no sample for: constructor arguments and the inputs or their shapes."""


NOT_IN_BFLOAT16 = (torch.nn.AvgPool3d, torch.nn.LPPool3d)
"""Layers that PyTorch can't run in bfloat16 on the CPU: float32's results, rounded, stand for its own."""


@dataclass(frozen=True)
class Example:
    """A layer and a call of it; tensors are float64."""

    id: str
    stock: type[torch.nn.Module]
    constructor: Arguments
    call: Arguments

    def build(self, cls: type[torch.nn.Module], dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
        """A layer of the class `cls`; only `seed` decides its weights."""
        torch.manual_seed(seed)
        args, kwargs = copy.deepcopy(self.constructor)
        layer = cls(*args, **kwargs)
        if any(isinstance(value, torch.nn.Module) for value in args):  # its parameters were drawn before
            for parameter in layer.float().parameters():
                torch.nn.init.normal_(parameter)
        if isinstance(layer, LazyModuleMixin):
            args, kwargs = self.inputs()
            layer(*args, **kwargs)
            if hasattr(layer, "reset_running_stats"):  # of float32 they would differ by rounding
                layer.reset_running_stats()
        return layer.to(dtype)

    def build_ours(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
        return accelerate(self.build(DROP_INS[self.stock], dtype, seed))  # what it was given too

    def build_stock(self, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
        return self.build(self.stock, dtype, seed)

    def inputs(self, dtype: torch.dtype = torch.float32, grad: bool = False) -> Arguments:
        """The arguments of the call, rounded to `dtype`."""

        def convert(value):
            if not isinstance(value, torch.Tensor) or not value.is_floating_point():
                return value
            return value.to(dtype, copy=True).requires_grad_(grad)

        return tree_map(convert, self.call)

    @property
    def is_empty(self) -> bool:
        """Whether there is no value to be right or wrong about."""
        return any(isinstance(value, torch.Tensor) and value.numel() == 0 for value in self.call[0])

    @property
    def in_a_crowd(self) -> bool:
        """One of the hundreds of samples of the transformers, each option with each: they share out what is checked."""
        return self.stock.__name__.startswith("Transformer")

    @property
    def ill_conditioned(self) -> bool:
        """The samples reach from -9 to 9, where a softmax is all but one-hot and gates saturate: gradients are little
        but rounding. With weights of several seeds, in float32, ours miss P2 in 33 of 6,912 results of
        MultiheadAttention, and stock torch, held to our error, in 47; of LSTM in 2 of 3,968, stock torch in 18; of the
        transformers, whose norms divide by what is left of four features, in 108 of 12,573, stock torch in 423."""
        return self.stock in (torch.nn.MultiheadAttention, torch.nn.LSTM) or self.in_a_crowd


def in_float32(value):
    """A tensor that `float` and `double` leave as it is."""
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.float().to(value.dtype) if is_float else value


def examples() -> list[Example]:
    """Every sample of module_db whose layer has a drop-in, and those of `NOT_IN_MODULE_DB`."""
    found = []
    for info in module_db:
        if info.module_cls not in DROP_INS:
            continue
        torch.manual_seed(0)
        samples = info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=False, training=True)
        for count, sample in enumerate(samples):
            constructor = tree_map(in_float32, (sample.constructor_input.args, sample.constructor_input.kwargs))
            call = sample.forward_input.args, sample.forward_input.kwargs
            if info.module_cls.__name__.startswith("LPPool"):  # the power 1.5 of a negative value is NaN
                call = tree_map(torch.abs, call)
            found.append(Example(f"{info.module_cls.__name__}-{count}", info.module_cls, constructor, call))
    for stock, (constructor, shapes) in NOT_IN_MODULE_DB.items():
        torch.manual_seed(0)
        inputs = (
            shape if isinstance(shape, torch.Tensor) else torch.randn(shape, dtype=torch.float64) for shape in shapes
        )
        call = tuple(inputs), {}
        found.append(Example(f"{stock.__name__}-0", stock, (constructor, {}), call))
    return found


EXAMPLES = examples()
ONE_OF_EACH = list({example.stock: example for example in EXAMPLES if not example.is_empty}.values())


def results(layer: torch.nn.Module, call: Call) -> list[torch.Tensor]:
    """Outputs, then gradients of every parameter and floating input, for cotangents that all dtypes share."""
    outputs = outputs_of(call.run(layer))
    wanted = [*layer.parameters(), *(tensor for tensor in call.tensors() if tensor.requires_grad)]
    differentiable = [output for output in outputs if output.requires_grad]
    generator = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(output.shape, generator=generator).bfloat16().to(output) for output in differentiable]
    grads = torch.autograd.grad(differentiable, wanted, cotangents, allow_unused=True, materialize_grads=True)
    return [*outputs, *grads]


def oracle_and_stock(stock: torch.nn.Module, call: Call) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    truth = results(copy.deepcopy(stock).double(), call.as_dtype(torch.float64))
    if isinstance(stock, NOT_IN_BFLOAT16) and call.tensors()[0].dtype == torch.bfloat16:
        return truth, [value.bfloat16() for value in results(stock.float(), call.as_dtype(torch.float32))]
    return truth, results(stock, call)


def deviations(example: Example, layer: torch.nn.Module, dtype: torch.dtype, training: bool = True) -> list[str]:
    """What is wrong with `layer`, whose weights are those of the stock layer: a line per result beyond promise P2."""
    stock = example.build_stock(dtype).train(training)
    call = Call(*example.inputs(dtype, grad=True))
    found = results(layer.train(training), call)
    truth, rival = oracle_and_stock(stock, call)
    length = max(tensor.numel() for tensor in (*stock.parameters(), *call.tensors()))
    usual = errors(rival, truth)

    def problems(drawn=()):
        allowances = allowed_errors(usual, dtype, length, drawn)
        compared = zip(found, rival, errors(found, truth), allowances, strict=True)
        return [
            f"{example.id}, result {place}: {value.dtype}, {error}, allowed {allowed}"
            for place, (value, theirs, error, allowed) in enumerate(compared)
            if value.dtype != theirs.dtype or not error.within(allowed)
        ]

    if not (example.ill_conditioned and problems()):
        return problems()
    drawn = []
    for near in neighbours(call, dtype):
        exact, theirs = oracle_and_stock(copy.deepcopy(stock).to(near.tensors()[0].dtype), near)
        drawn.append(errors(theirs, exact))
    return problems(drawn)


def errors(found: list[torch.Tensor], truth: list[torch.Tensor]) -> list[Error]:
    return [Error.of(*pair) for pair in zip(found, truth, strict=True)]
