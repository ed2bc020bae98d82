"""Times whole models, to infer and to train: ours against stock torch, and those of others before and after."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nnzoo_fast.backends import backend
from nnzoo_fast.benchmark.layers import PACKED
from nnzoo_fast.benchmark.model_cases import Inputs, Model, cases
from nnzoo_fast.benchmark.ops import AUTOMATIC, COMPILED, EAGER, FORWARD, HOT, TRAINING, Row, Settings
from nnzoo_fast.benchmark.timing import interleave
from nnzoo_fast.machine import Roof
from nnzoo_fast.pack import pack
from nnzoo_fast.spec import Error, allowed_error

ROUNDS = 5, 300


def run(model: Model, work: str, settings: Settings, roof: Roof) -> Iterator[Row]:
    """A row for our model and, to infer, one for the packed; times count only if results are right."""
    torch.manual_seed(0)
    made, inputs = lively(model.make()).train(work == TRAINING), model.inputs()
    stock = model.stock(copy.deepcopy(made))
    ours = {AUTOMATIC: model.fast(copy.deepcopy(made))}
    if work == FORWARD and model.packs:
        ours[PACKED] = pack(model.fast(copy.deepcopy(made)))
    checks = problems(model, made, stock, ours, work)
    runners = {name: runner(each, inputs, work) for name, each in ours.items()}
    runners[EAGER] = runner(stock, inputs, work, model.stock_backend)
    if settings.compile and work in model.compiles:
        torch.compiler.reset()
        compiled = torch.compile(copy.deepcopy(stock), dynamic=False)
        runners[COMPILED] = runner(compiled, inputs, work, model.stock_backend)
    flops = _flops(stock, inputs, work, model.stock_backend)
    timings, failures = interleave(runners, settings.seconds, ROUNDS)
    for name, wrong in checks.items():
        title = f"{model.library or 'ours'}: {model.id}"
        row = Row(title, name, "float32", work, HOT, name, "by layer", flops, 0.0, False, wrong, timings, failures)
        row.compare((EAGER, COMPILED))
        if row.ours and not wrong:
            row.roof_part = roof.floor(flops, 0.0) / row.ours.median
        yield row


def lively(model: nn.Module) -> nn.Module:
    """`model` without weights that are 0, as a new head's may be: they would hide whatever comes before them."""
    for parameter in model.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return model


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    """The first of the model's outputs."""
    output = model(**inputs) if isinstance(inputs, dict) else model(*inputs)
    return output if isinstance(output, Tensor) else output[0]


def runner(model: nn.Module, inputs: Inputs, work: str, on: str | None = None) -> Callable[[int], list[Tensor]]:
    """A call that computes the output and, training, the gradients of all parameters, on a backend."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    asked = functools.partial(backend, on) if on else contextlib.nullcontext

    def forward(number: int) -> list[Tensor]:
        with torch.no_grad(), asked():
            return [call(model, inputs)]

    def training(number: int) -> list[Tensor]:
        with asked():
            output = call(model, inputs)
            found = torch.autograd.grad(output, wanted, output.detach(), allow_unused=True)
        return [output.detach(), *(grad for grad in found if grad is not None)]

    return forward if work == FORWARD else training


def _flops(model: nn.Module, inputs: Inputs, work: str, on: str | None) -> float:
    """Of the graph: stock torch's fused inference calls aren't counted."""
    with FlopCounterMode(display=False) as counter, backend(on):
        output = call(copy.deepcopy(model), inputs)
        if work == TRAINING:
            output.sum().backward()
    return float(counter.get_total_flops())


def problems(
    model: Model, made: nn.Module, stock: nn.Module, ours: dict[str, nn.Module], work: str
) -> dict[str, list[str]]:
    """For each of ours, what P2 has against the results of a call: the worst is held against stock torch's worst."""
    torch.manual_seed(1)
    inputs = (model.check or model.inputs)()
    exact = runner(model.stock(copy.deepcopy(made).double()), doubled(inputs), work, model.stock_backend)(0)
    by_stock = runner(stock, inputs, work, model.stock_backend)(0)
    allowed = allowed_error(Error.worst_of(by_stock, exact), torch.float32, 1)
    found = {name: Error.worst_of(runner(each, inputs, work)(0), exact) for name, each in ours.items()}
    return {
        name: [] if error.within(allowed) else [f"results: {error}, allowed {allowed}"] for name, error in found.items()
    }


def doubled(inputs: Inputs) -> Inputs:
    def of(tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.is_floating_point() else tensor

    if isinstance(inputs, dict):
        return {name: of(tensor) for name, tensor in inputs.items()}
    return tuple(map(of, inputs))


def all_rows(settings: Settings, roof: Roof, progress, kept) -> list[Row]:
    """The rows of every model, to infer and to train; `progress` and `kept` as for operations."""
    planned = [(model, work) for model in cases(settings.quick) for work in (FORWARD, TRAINING)]
    rows = []
    for number, (model, work) in enumerate(planned):
        label = f"{model.library or 'models'} {model.id}, {work}"
        progress(number, len(planned), label)
        rows += kept(label, functools.partial(lambda *job: list(run(*job)), model, work, settings, roof))
    return rows
