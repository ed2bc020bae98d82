"""Times whole layers as users write them: stock modules against the same ones accelerated and, to infer, packed."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnzoo_fast.accelerate import accelerate
from nnzoo_fast.benchmark.ops import (
    AUTOMATIC,
    COMPILED,
    EAGER,
    FORWARD,
    HOT,
    TRAINING,
    ZENTORCH,
    Row,
    Settings,
    peaks,
    zentorch_is_peer,
)
from nnzoo_fast.benchmark.timing import interleave
from nnzoo_fast.machine import Roof
from nnzoo_fast.pack import pack
from nnzoo_fast.spec import Error, allowed_error

PACKED = "packed"


@dataclass(frozen=True)
class Layer:
    """A stock module worth timing, and the shape of what it is given."""

    id: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


LAYERS = [
    Layer(
        "Linear-GELU-Linear 256x1024-4096-1024",
        lambda: nn.Sequential(nn.Linear(1024, 4096), nn.GELU(), nn.Linear(4096, 1024)),
        (256, 1024),
    ),
    Layer(
        "TransformerEncoderLayer d512 h8 ff2048 B8 S256",
        lambda: nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True),
        (8, 256, 512),
    ),
]


def run(layer: Layer, work: str, settings: Settings, roof: Roof) -> Iterator[Row]:
    """A row for the accelerated layer and, forward, one for the packed."""
    torch.manual_seed(0)
    stock = layer.make().train(work == TRAINING)
    input = torch.randn(layer.shape)
    ours = {AUTOMATIC: accelerate(copy.deepcopy(stock))}
    if work == FORWARD:
        ours[PACKED] = pack(accelerate(copy.deepcopy(stock)))
    candidates = {**ours, EAGER: stock}
    if settings.compile:
        torch.compiler.reset()
        candidates[COMPILED] = torch.compile(copy.deepcopy(stock), dynamic=False)
    if zentorch_is_peer(settings, work):
        candidates[ZENTORCH] = torch.compile(copy.deepcopy(stock), dynamic=False, backend="zentorch")
    runners = {name: runner(module, input, work) for name, module in candidates.items()}
    timings, failures = interleave(runners, settings.seconds)
    flops = _flops(stock, input, work)
    memory = peaks({name: runners[name] for name in (*ours, EAGER) if name in timings}, settings.device)
    for name, module in ours.items():
        checks = _checks(module, stock, input, work)
        row = Row(layer.id, name, "float32", work, HOT, name, "by layer", flops, 0.0, False, checks, timings, failures)
        row.compare((EAGER, COMPILED, ZENTORCH))
        row.memory = memory
        if row.ours and not checks:
            row.roof_part = roof.floor(flops, 0.0) / row.ours.median
        yield row


def runner(module: nn.Module, input: torch.Tensor, work: str) -> Callable[[int], object]:
    """A call that computes the output or, training, the gradients of all parameters and the input."""
    if work == FORWARD:

        def forward(number: int):
            with torch.no_grad():
                return module(input)

        return forward

    leaf = input.clone().requires_grad_()
    wanted = [leaf, *module.parameters()]

    def training(number: int):
        output = module(leaf)
        return torch.autograd.grad(output, wanted, output.detach())

    return training


def _flops(module: nn.Module, input: torch.Tensor, work: str) -> float:
    with FlopCounterMode(display=False) as counter:  # of the graph: stock torch's fused inference calls aren't counted
        output = copy.deepcopy(module)(input.clone().requires_grad_())
        if work == TRAINING:
            output.sum().backward()
    return float(counter.get_total_flops())


def _checks(module: nn.Module, stock: nn.Module, input: torch.Tensor, work: str) -> list[str]:
    """What P2 has against the module's results; a number counts only if that is nothing."""
    exact = runner(copy.deepcopy(stock).double(), input.double(), work)
    return check(runner(module, input, work), runner(stock, input, work), exact)


def check(*runners: Callable[[int], object]) -> list[str]:
    """What P2 has against the results of the first runner, given stock torch's and the exact ones."""
    found, expected, oracle = (_results(runner(0)) for runner in runners)
    wrong = []
    for number, (ours, theirs, exact) in enumerate(zip(found, expected, oracle, strict=True)):
        error, allowed = Error.of(ours, exact), allowed_error(Error.of(theirs, exact), ours.dtype, 1)
        if not error.within(allowed):
            wrong.append(f"result {number}: {error}, allowed {allowed}")
    return wrong


def _results(result) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def all_rows(settings: Settings, roof: Roof, progress, kept) -> list[Row]:
    """The rows of every layer, forward and training; `progress` and `kept` as for operations."""
    planned = [(layer, work) for layer in LAYERS for work in (FORWARD, TRAINING)]
    rows = []
    for number, (layer, work) in enumerate(planned):
        label = f"{layer.id}, {work}"
        progress(number, len(planned), label)
        rows += kept(label, functools.partial(lambda *job: list(run(*job)), layer, work, settings, roof))
    return rows
