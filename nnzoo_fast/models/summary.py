"""What a model consists of: layer by layer its output, parameters, work, and the kernel that it runs on here.

`kernel_share` says how much of the work our kernels can do.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from dataclasses import dataclass, field

import torch
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import FlopCounterMode

from nnzoo_fast.accelerate import restore
from nnzoo_fast.backends import STOCK_BACKEND, backend
from nnzoo_fast.explain import recording
from nnzoo_fast.front_door import STOCK
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

    A layer that the call doesn't reach has no output. The model is run once, and a copy of it once more on stock torch,
    in inference mode and in its present `training` mode.
    """
    with torch.inference_mode():
        layers = report(model, *inputs).layers
        stock = restore(copy.deepcopy(model))
        outputs: dict[str, tuple[int, ...]] = {}
        with contextlib.ExitStack() as stack:
            for name, module in stock.named_modules():
                stack.callback(module.register_forward_hook(_recorder(outputs, name)).remove)
            counter = stack.enter_context(FlopCounterMode(display=False))
            stack.enter_context(backend(STOCK_BACKEND))
            stock(*inputs)
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


@dataclass(frozen=True)
class KernelShare:
    """How much of a call's work kernels of ours can do.

    Args:
        kernels: FLOPs of calls that a kernel of ours can run.
        others: FLOPs of everything else, by what computes them: stock operators with the module that calls them, and
            operations of ours whose kernel declines the call, with its reason.
    """

    kernels: int
    others: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.kernels / max(self.kernels + sum(self.others.values()), 1)


def kernel_share(model: torch.nn.Module, *inputs, on: str = "cpu") -> KernelShare:
    """The part of the FLOPs of `model(*inputs)` for which the backend `on` has a kernel.

    What counts is that a kernel is there and takes the call, also where an automatic choice would hand it to stock
    torch because that is faster. FLOPs are those of torch's `FlopCounterMode`: products of matrices, and what our
    operations register with it. Model and inputs may be on the meta device: then nothing is computed.

    Raises:
        BackendError: the tensors are real, and `on` can't run an operation.
    """
    declined: Counter[str] = Counter()

    def record(operation, values, way):
        if way is STOCK or operation.flops is None:
            return
        real = tree_map(lambda x: torch.empty(x.shape, dtype=x.dtype, device=on) if _is_meta(x) else x, values)
        row = next((row for row in operation.table if row.name == on), None)
        able, reason = row.supports(*real) if row else (False, f"there is no backend {on!r}")
        if not able:
            shapes = tree_map(lambda x: x.shape if isinstance(x, torch.Tensor) else x, values)
            declined[f"{operation.name}: {reason}"] += operation.flops(*shapes)

    with torch.no_grad(), backend(on), recording(record), FlopCounterMode(display=False) as counter:
        model(*inputs)
    counts = counter.get_flop_counts()
    ours = sum(flops for packet, flops in counts["Global"].items() if _is_ours(packet))
    return KernelShare(ours - sum(declined.values()), _stock_work(counts) | declined)


def _is_meta(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.is_meta


def _is_ours(packet) -> bool:
    return str(packet).startswith("nnzoo_fast.")


def _stock_work(counts: dict[str, dict]) -> dict[str, int]:
    """FLOPs of stock operators by the innermost module that calls them, from counts that hold those of its children."""
    own = {
        path: Counter({str(packet): flops for packet, flops in of.items() if not _is_ours(packet)})
        for path, of in counts.items()
        if path != "Global"
    }
    whole = {path: Counter(of) for path, of in own.items()}
    for path in whole:
        around = path
        while around := around.rpartition(".")[0]:
            if around in own:
                own[around] -= whole[path]
                break
    return {f"{path}: {packet}": flops for path, of in own.items() for packet, flops in of.items()}
