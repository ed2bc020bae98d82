"""What a model consists of: layer by layer its output, parameters, work, and the kernel that it runs on here."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from nnzoo_fast.accelerate import restore
from nnzoo_fast.report import report


@dataclass(frozen=True)
class LayerSummary:
    """A layer of a model. `flops` counts a multiplication and an addition as two, of matrix products alone."""

    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    flops: int
    runs_on: str


def summarise(model: torch.nn.Module, *inputs: torch.Tensor) -> list[LayerSummary]:
    """The layers of `model` as a call with `inputs` takes them, in the order of registration.

    A layer that the call doesn't reach has no output. The model is run once, and once more on the meta device, in
    inference mode and in its present `training` mode.
    """
    with torch.inference_mode():
        layers = report(model, *inputs).layers
        stock = restore(copy.deepcopy(model)).to("meta")
        outputs: dict[str, tuple[int, ...]] = {}
        with contextlib.ExitStack() as stack:
            for name, module in stock.named_modules():
                stack.callback(module.register_forward_hook(_recorder(outputs, name)).remove)
            counter = stack.enter_context(FlopCounterMode(display=False))
            stock(*(input.to("meta") for input in inputs))
    flops = {path.partition(".")[2]: sum(counts.values()) for path, counts in counter.get_flop_counts().items()}
    modules = dict(model.named_modules())
    return [
        LayerSummary(
            layer.name,
            layer.kind,
            outputs.get(layer.name),
            sum(parameter.numel() for parameter in modules[layer.name].parameters()),
            flops.get(layer.name, 0),
            layer.runs_on,
        )
        for layer in layers
    ]


def _recorder(outputs: dict[str, tuple[int, ...]], name: str):
    def record(module, inputs, output):
        first = output[0] if isinstance(output, tuple) else output
        outputs[name] = tuple(first.shape)

    return record
