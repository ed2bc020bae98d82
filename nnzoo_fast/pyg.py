"""PyTorch Geometric's own layers on our kernels.

nnzoo_fast.pyg.accelerate(model)
"""

from __future__ import annotations

import functools
import importlib
from typing import ClassVar, TypeVar

import torch
from torch.nn.parameter import is_lazy

from nnzoo_fast import accelerate as accelerated
from nnzoo_fast import nn, ops
from nnzoo_fast import restore as restored
from nnzoo_fast.nn.drop_in import twin
from nnzoo_fast.nn.message_passing import REDUCTIONS

M = TypeVar("M", bound=torch.nn.Module)


class Adopted:
    """A layer of PyTorch Geometric while it has the code of ours; its attributes are theirs, and what ours needs more.

    `stock` is the class that it had, `ours` the one whose code it runs.
    """

    stock: ClassVar[type[torch.nn.Module]]
    ours: ClassVar[type[torch.nn.Module]]

    def __prepare_scriptable__(self) -> torch.nn.Module:
        """What `torch.jit.script` compiles in place of it: PyTorch Geometric's own layer."""
        made = twin(self, self.stock)
        _forget(made)
        return made


def accelerate(model: M) -> M:
    """`nnzoo_fast.accelerate`, and PyTorch Geometric's GCN-, SAGE-, Graph-, GIN-, GAT- and GATv2Conv on ours.

    Objects, parameters and `state_dict` stay. What ours doesn't know stays as it is: other classes and subclasses,
    aggregations that are modules, layers without a size yet, layers with hooks of `propagate`, more than one
    `decomposed_layers`, `GCNConv(improved=True)`, attention that doesn't add. Adopted layers take `edge_index` as a
    tensor or a `Graph`, no sparse matrix.

    Args:
        model: any module, a single layer too.

    Returns:
        `model`.

    Raises:
        TypeError: `model` is not a module.
    """
    accelerated(model)
    for module in model.modules():
        kind = _classes().get(type(module))
        if kind is not None and _can_adopt(module):
            _adopt(module, kind)
    return model


def restore(model: M) -> M:
    """The inverse of `accelerate`."""
    restored(model)
    for module in model.modules():
        if isinstance(module, Adopted):
            _forget(module)
            module.__class__ = module.stock
    return model


def _forget(module: torch.nn.Module) -> None:
    """Takes away what `_adopt` gave."""
    own = vars(module)
    for name in own.pop("_added"):
        del own[name]
    own.update(own.pop("_before"))


@functools.cache
def _classes() -> dict[type, type]:
    """For each class of PyTorch Geometric, ours, made from the stock class's attributes."""
    theirs = importlib.import_module("torch_geometric.nn")
    linear = importlib.import_module("torch_geometric.nn.dense.linear").Linear
    ours = [nn.GCNConv, nn.SAGEConv, nn.GraphConv, nn.GINConv, nn.GATConv, nn.GATv2Conv]
    found = {getattr(theirs, cls.__name__): cls for cls in ours} | {linear: _Linear}
    return {stock: _adopted(stock, cls) for stock, cls in found.items()}


def _adopted(stock: type, ours: type) -> type:
    members = {"stock": stock, "ours": ours, "__module__": __name__, "__doc__": Adopted.__doc__}
    return type(stock.__name__, (Adopted, ours), members)


class _Linear(torch.nn.Module):
    """PyTorch Geometric's `Linear`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, bias={self.bias is not None}"


def _can_adopt(module: torch.nn.Module) -> bool:
    if any(map(is_lazy, module.parameters())):
        return False
    if not hasattr(module, "propagate"):
        return True
    hooks = [name for name, value in vars(module).items() if name.endswith("_hooks") and "_forward" in name and value]
    hooks = [name for name in hooks if name not in ("_forward_hooks", "_forward_pre_hooks")]
    names = module.aggr if isinstance(module.aggr, list) else [module.aggr]
    attends = isinstance(module, _attentions())
    known = all(name in (("add", "sum") if attends else REDUCTIONS) for name in names)
    return known and not hooks and module.decomposed_layers == 1 and not getattr(module, "improved", False)


@functools.cache
def _attentions() -> tuple[type, ...]:
    theirs = importlib.import_module("torch_geometric.nn")
    return theirs.GATConv, theirs.GATv2Conv


_KEPT = ("_parameters", "_buffers", "_modules")


def _adopt(module: torch.nn.Module, kind: type) -> None:
    """Gives `module` the class, and the attributes that a layer of it has and `module` lacks, or has otherwise."""
    model = _like(module, kind.ours)
    own = vars(module)
    # What hangs on `module` by one of these is no less its own: an attribute would hide it.
    kept = set(_KEPT).union(*(own[name] for name in _KEPT))
    wanted = {} if model is None else {name: value for name, value in vars(model).items() if name not in kept}
    added = [name for name in wanted if name not in own]
    before = {name: own[name] for name in ("fuse", "aggr") if name in own and name in wanted}
    own.update({name: wanted[name] for name in (*added, *before)})
    own.update(_added=added, _before=before)
    module.__class__ = kind


def _like(module: torch.nn.Module, ours: type[torch.nn.Module]) -> torch.nn.Module | None:
    """A layer of ours on the meta device with the options of `module` that decide about attributes, if it needs any."""
    if ours is _Linear:
        return None
    common = {"aggr": module.aggr, "flow": module.flow}
    with torch.device("meta"):
        if ours is nn.GINConv:
            return ours(torch.nn.Identity(), node_dim=module.node_dim, **common)
        if issubclass(ours, nn.GATConv):
            return ours(1, 1, **common)
        return ours(1, 1, node_dim=module.node_dim, **common)


def __getattr__(name: str):
    for kind in _classes().values() if not name.startswith("_") else ():  # where pickle looks for them
        if kind.__name__ == name:
            return kind
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
