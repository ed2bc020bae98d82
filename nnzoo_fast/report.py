"""`report`: which layers of a model run on what, which stayed stock, and why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.utils import parametrize

from nnzoo_fast import operation
from nnzoo_fast.backends import STOCK_BACKEND, only_on_request, requested
from nnzoo_fast.explain import chosen_backend, recording
from nnzoo_fast.front_door import STOCK
from nnzoo_fast.nn.drop_in import DROP_INS
from nnzoo_fast.nn.packed import FOLDED, Packed

CONTAINERS = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict, torch.nn.Identity)


@dataclass(frozen=True)
class Layer:
    """One layer. `runs_on` names a backend where the model was run, else "drop-in"; "torch" is a stock layer."""

    name: str
    kind: str
    runs_on: str
    reason: str


class Choice(NamedTuple):
    """The backend that an operation ran on, and why."""

    operation: str
    backend: str
    reason: str


@dataclass(frozen=True)
class Report:
    """Printable answer of `report`."""

    layers: list[Layer]

    def __str__(self) -> str:
        rows = [("layer", "class", "runs on", "why")]
        rows += [(layer.name or "(root)", layer.kind, layer.runs_on, layer.reason) for layer in self.layers]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {runs_on:<{widths[2]}}  {reason}"
            for name, kind, runs_on, reason in rows
        )


def report(model: torch.nn.Module, *args, **kwargs) -> Report:
    """What each layer of `model` runs on, and why.

    With the arguments of a call, the model is run once on them, in its present mode and without torch.compile, and the
    report shows the backends that this call takes. Buffers and random generators are as before afterwards. Without
    arguments it shows which layers are drop-ins.

    Args:
        model: any module.
        args, kwargs: an example call of `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"report: model must be a torch.nn.Module, got {type(model).__name__}")
    seen = _observe(model, args, kwargs) if args or kwargs else None
    layers = [each for each in model.named_modules() if _is_layer(*each) or _has_chosen(each[1], seen)]
    return Report([_describe(name, module, seen) for name, module in layers])


def _observe(model: torch.nn.Module, args: tuple, kwargs: dict) -> dict[torch.nn.Module, list[Choice]]:
    """Runs the model; for every module that was called, the choices that it made itself."""
    members = set(model.modules())
    seen: dict[torch.nn.Module, list[Choice]] = {}
    active: list[torch.nn.Module] = []

    def enter(module, _):
        if module in members:
            active.append(module)
            seen.setdefault(module, [])

    def leave(module, *_):
        if module in members:
            active.pop()

    def record(found, values, way):
        if active:
            seen[active[-1]].append(_choice(found, values, way))

    with contextlib.ExitStack() as stack:
        stack.enter_context(_undisturbed(model))
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        # Global hooks: TransformerEncoderLayer leaves its fast path when a layer of it has hooks of its own.
        stack.callback(register_module_forward_pre_hook(enter).remove)
        stack.callback(register_module_forward_hook(leave, always_call=True).remove)
        stack.enter_context(recording(record))
        model(*args, **kwargs)
    return seen


def _choice(found: operation.Operation, values: tuple, way: str) -> Choice:
    chosen = chosen_backend(found, values, way)
    if way is STOCK:
        return Choice(found.name, chosen, "a transform, tracer or tensor subclass is at work")
    if requested(found.name):
        return Choice(found.name, chosen, "asked for by name")
    rows = {name: reason for name, _, _, reason in found.verdicts(values)}
    if chosen in (row.name for row in found.table):
        return Choice(found.name, chosen, rows[chosen])
    return Choice(found.name, chosen, _why_declined(found, values))


def _why_declined(found: operation.Operation, values: tuple) -> str:
    """The reasons of the rows that could run the call, else of the first row; `explain` has them all."""
    automatic = {row.name for row in found.table if row.pays is not only_on_request}
    verdicts = [verdict for verdict in found.verdicts(values) if verdict[0] in automatic]
    able = [verdict for verdict in verdicts if verdict[1]] or verdicts[:1]
    return "; ".join(f"not {name}: {reason}" for name, _, _, reason in able)


@contextlib.contextmanager
def _undisturbed(model: torch.nn.Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count())):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in before:
                buffer.copy_(value)


def _is_layer(name: str, module: torch.nn.Module) -> bool:
    """Something that computes: containers and the insides of parametrizations don't."""
    if isinstance(module, CONTAINERS) or hasattr(module, "_steps") or "parametrizations" in name.split("."):
        return False
    if isinstance(module, torch.nn.TransformerEncoderLayer) or _drop_in_of(module) or _is_drop_in(module):
        return True
    is_leaf = next(module.children(), None) is None
    owns_state = any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
    return owns_state or (is_leaf and type(module).__module__.startswith("torch.nn."))


def _has_chosen(module: torch.nn.Module, seen: dict | None) -> bool:
    """Whether `module` itself called operations of ours, as graph convolutions do."""
    return bool(seen and seen.get(module)) and not isinstance(module, CONTAINERS)


def _is_drop_in(module: torch.nn.Module) -> bool:
    return isinstance(module, tuple(DROP_INS.values()))


def _drop_in_of(module: torch.nn.Module) -> type | None:
    """The stock class with a drop-in that `module` is derived from."""
    return next((base for base in type(module).__mro__ if base in DROP_INS), None)


def _describe(name: str, module: torch.nn.Module, seen: dict | None) -> Layer:
    kind = (module.plain if isinstance(module, Packed) else parametrize.type_before_parametrizations(module)).__name__
    if isinstance(module, tuple(FOLDED.values())) and not torch.is_grad_enabled():
        return Layer(name, kind, "cpu", "folded: pack(model) made one convolution of it and its neighbours")
    if not _is_drop_in(module) and not _has_chosen(module, seen):
        return Layer(name, kind, STOCK_BACKEND, _why_stock(module))
    if "forward" in vars(module):
        return Layer(name, kind, STOCK_BACKEND, "its forward was replaced on the instance, and this is not our code")
    if isinstance(module, Packed) and not torch.is_grad_enabled():
        return Layer(name, module.plain.__name__, "cpu", "packed: the copy of its weights that pack(model) made")
    if seen is None:
        return Layer(name, kind, "drop-in", "the backend is chosen in each call; report(model, input) shows it")
    if module not in seen:
        return Layer(name, kind, "-", "not called: the module around it uses its weights directly, or did not need it")
    if isinstance(module, torch.nn.TransformerEncoderLayer) and module.self_attn not in seen:
        return Layer(
            name, kind, STOCK_BACKEND, "torch's fused kernel: these products are too small for ours, or nested"
        )
    choices = list(dict.fromkeys(seen[module]))
    backends = ", ".join(dict.fromkeys(choice.backend for choice in choices))
    return Layer(name, kind, backends or "-", "; ".join(f"{choice.operation}: {choice.reason}" for choice in choices))


def _why_stock(module: torch.nn.Module) -> str:
    kind, base = parametrize.type_before_parametrizations(module), _drop_in_of(module)
    if isinstance(module, torch.nn.TransformerEncoderLayer):
        return "in eval mode without gradients its fast path calls none of its layers, so none runs as a drop-in"
    if isinstance(module, NonDynamicallyQuantizableLinear):
        return "MultiheadAttention reads its weights and never calls it"
    if kind in DROP_INS:
        return "it has a drop-in: accelerate(model) exchanges it"
    if isinstance(module, torch.jit.ScriptModule):
        return "compiled by TorchScript"
    if base is not None:
        return f"a subclass of torch.nn.{base.__name__}, which may compute something else"
    if kind.__module__.startswith("torch.nn."):
        return f"there is no drop-in for torch.nn.{kind.__name__}"
    return "not a layer of torch.nn"
