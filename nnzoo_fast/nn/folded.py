"""Convolution, batch norm, an activation and the sum with a shortcut as one convolution, unless somebody could tell.

In eval mode batch norm scales and shifts each channel by constants, so the convolution before it can do that itself:

    scale = gamma / sqrt(var + eps),  weight' = scale * weight,  bias' = beta + scale * (bias - mean)

A `Group` is such a chain in one module, its owner. Owner and members get classes that know of it for as long as it
holds; whatever changes one of them for good (see `Packed`) takes that class away, and the owner's next call, which
looks at all of them, runs layer by layer again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch.compiler import is_compiling

from nnzoo_fast import ops
from nnzoo_fast.activations import activate_stock
from nnzoo_fast.backends import requested
from nnzoo_fast.front_door import EAGER, route
from nnzoo_fast.nn.activated import activation_name, unobserved
from nnzoo_fast.nn.conv import Conv1d, Conv2d, Conv3d
from nnzoo_fast.nn.norm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from nnzoo_fast.nn.packed import FOLDED, Packed, folds
from nnzoo_fast.nn.sequential import Sequential, layers_of, step
from nnzoo_fast.stamp import stamp
from nnzoo_fast.when_imported import when_imported

NORMS = {
    Conv1d: (BatchNorm1d, torch.nn.BatchNorm1d),
    Conv2d: (BatchNorm2d, torch.nn.BatchNorm2d),
    Conv3d: (BatchNorm3d, torch.nn.BatchNorm3d),
}
"""The batch norms that fit each convolution."""


@dataclass(eq=False)
class Group:
    """conv, norm and perhaps an activation, run by `owner` one after another, perhaps with a shortcut added before the
    activation."""

    owner: torch.nn.Module
    key: int
    conv: torch.nn.Module
    norm: torch.nn.Module
    activation: torch.nn.Module | None
    sources: tuple = field(init=False)
    stamps: list = field(init=False)
    settings: tuple = field(init=False)
    weight: torch.Tensor = field(init=False)
    bias: torch.Tensor = field(init=False)

    @property
    def members(self) -> tuple[torch.nn.Module, ...]:
        return (self.owner, self.conv, self.norm) + ((self.activation,) if self.activation is not None else ())

    def can_fold(self) -> bool:
        """Whether the layers are plain ones and the sums of their parameters are known: eval statistics, one dtype."""
        conv, norm = self.conv, self.norm
        if type(norm) not in NORMS.get(type(conv), ()) or not (
            self.activation is None or can_fold_activation(self.activation)
        ):
            return False
        tensors = [tensor for tensor in parameters_of(conv, norm) if tensor is not None]
        return (
            type(self.owner) in FOLDED
            and conv.padding_mode == "zeros"
            and norm.running_mean is not None
            and norm.running_var is not None
            and norm.num_features == conv.out_channels
            and all(map(unobserved, self.members))
            and all(type(tensor) in (torch.Tensor, torch.nn.Parameter) for tensor in tensors)
            and route(tensors) is EAGER
            and all(tensor.is_cpu and tensor.dtype is conv.weight.dtype for tensor in tensors)
        )

    @torch.no_grad()
    def fold(self) -> None:
        """Compute the weights of the one convolution, in float64."""
        self.sources, self.settings = parameters_of(self.conv, self.norm), settings_of(self.conv, self.norm)
        self.stamps = list(map(stamp, self.sources))
        weight, bias, gamma, beta, mean, var = (
            None if tensor is None else tensor.detach().double() for tensor in self.sources
        )
        scale = (var + self.norm.eps).rsqrt()
        scale = scale if gamma is None else scale * gamma
        shift = -mean * scale if bias is None else (bias - mean) * scale
        shift = shift if beta is None else shift + beta
        dtype = self.conv.weight.dtype
        self.weight = (weight * scale.view(-1, *[1] * (weight.dim() - 1))).to(dtype)
        self.bias = shift.to(dtype)

    def holds(self) -> bool:
        """Whether the layers are those that were folded, with the same values as far as torch knows, and calling them
        would run nothing but their own forward."""
        return (
            all(vars(layer).get("_packed") is self for layer in (self.conv, self.norm))
            and not any(layer.training for layer in self.members)
            and all(map(unobserved, self.members))
            and all(a is b for a, b in zip(parameters_of(self.conv, self.norm), self.sources, strict=True))
            and settings_of(self.conv, self.norm) == self.settings
            and list(map(stamp, self.sources)) == self.stamps
        )

    def run(self, input: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        conv, activation = self.conv, "none" if self.activation is None else activation_name(self.activation)
        settings = conv.stride, conv.padding, conv.dilation, conv.groups
        if shortcut is None:
            return ops.conv(input, self.weight, self.bias, *settings, activation)
        output = ops.conv(input, self.weight, self.bias, *settings)
        fits = shortcut.shape == output.shape and shortcut.dtype == output.dtype
        output = output.add_(shortcut) if fits else output + shortcut
        return activate_stock(activation, output)


def can_fold_activation(layer: torch.nn.Module | None) -> bool:
    """Whether a convolution of ours can apply it."""
    return isinstance(layer, torch.nn.Module) and activation_name(layer) is not None


def parameters_of(conv: torch.nn.Module, norm: torch.nn.Module) -> tuple[torch.Tensor | None, ...]:
    return (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)


def settings_of(conv: torch.nn.Module, norm: torch.nn.Module) -> tuple:
    return (norm.eps, conv.padding_mode)


def usable(groups: Iterable[Group], input: torch.Tensor) -> bool:
    """Whether an owner may run `groups` on `input`: an eager call without gradients of what was folded."""
    if is_compiling() or requested("conv") not in (None, "cpu", "torch") or torch.is_autocast_enabled("cpu"):
        return False
    tensors = [input]
    for group in groups:
        if not group.holds() or input.dtype is not group.weight.dtype or not input.is_cpu:
            return False
        tensors += [tensor for tensor in group.sources if tensor is not None]
    needs_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    return not needs_grad and route(tensors) is EAGER


class Owner(Packed):
    """Mixin: `_packed` maps the key of each group, the place of its convolution, to the group."""

    @staticmethod
    def chains(module: torch.nn.Module) -> Iterator[tuple]:
        """(key, conv, norm, activation or None) for each chain that the module's forward runs."""
        raise NotImplementedError

    @classmethod
    def plan(cls, module: torch.nn.Module, input: torch.Tensor) -> dict[int, Group] | None:
        """The groups of `module`, if this call may run on them. Another thread may take this class away meanwhile."""
        groups = vars(module).get("_packed")
        if not groups or not isinstance(input, torch.Tensor) or not usable(groups.values(), input):
            return None
        chains = {key: layers for key, *layers in cls.chains(module)}
        for key, group in groups.items():
            layers = chains.get(key, (None, None, None))
            if any(
                now is not then for now, then in zip(layers, (group.conv, group.norm, group.activation), strict=True)
            ):
                return None
        return groups


class FoldedChain(Owner):
    """Of a module that runs `layers_of(module)` one after another: neighbours become one convolution."""

    @staticmethod
    def chains(module):
        layers = layers_of(module)
        for i, (conv, norm) in enumerate(zip(layers, layers[1:], strict=False)):
            if isinstance(conv, tuple(NORMS)):
                activation = layers[i + 2] if i + 2 < len(layers) else None
                yield i, conv, norm, activation if can_fold_activation(activation) else None


def folds_chain(kind: type[torch.nn.Module]) -> None:
    """For a class of modules whose forward runs `layers_of(module)` one after another."""

    class Folded(FoldedChain, kind):
        def forward(self, *args, **kwargs):
            plan = None if kwargs or len(args) != 1 else Folded.plan(self, *args)
            if plan is None:
                return kind.forward(self, *args, **kwargs)
            (input,), layers, position = args, layers_of(self), 0
            while position < len(layers):
                if position in plan:
                    input = plan[position].run(input)
                    position += len(plan[position].members) - 1  # all but the owner
                else:
                    input, position = step(layers, position, input)
            return input

    Folded.__name__ = Folded.__qualname__ = f"Folded{kind.__name__}"
    folds(kind)(Folded)


folds_chain(Sequential)
folds_chain(torch.nn.Sequential)  # that nobody accelerated, around layers of ours


def folds_block(block: type[torch.nn.Module], count: int) -> None:
    """For residual blocks with `count` chains conv1, bn1, relu to conv<count>, bn<count>, of which the last adds
    `downsample(x)`, or x, before its relu."""

    class FoldedBlock(Owner, block):
        @staticmethod
        def chains(module):
            for k in range(1, count + 1):
                yield k, getattr(module, f"conv{k}"), getattr(module, f"bn{k}"), module.relu

        def forward(self, x):
            plan = FoldedBlock.plan(self, x)
            if plan is None or len(plan) < count:
                return block.forward(self, x)
            shortcut = x if self.downsample is None else self.downsample(x)
            for k in range(1, count):
                x = plan[k].run(x)
            return plan[count].run(x, shortcut)

    FoldedBlock.__name__ = FoldedBlock.__qualname__ = f"Folded{block.__name__}"
    folds(block)(FoldedBlock)


def _folds_blocks(module: str) -> None:
    for name, count in (("BasicBlock", 2), ("Bottleneck", 3)):
        if block := vars(sys.modules[module]).get(name):
            folds_block(block, count)


def _folded_member(kind: type[torch.nn.Module]) -> None:
    folds(kind)(type(f"Folded{kind.__name__}", (Packed, kind), {"__doc__": f"A `{kind.__name__}` while it is folded."}))


for _conv, _norms in NORMS.items():
    for _kind in (_conv, *_norms):
        _folded_member(_kind)


when_imported("nnzoo_fast.models.residual", lambda: _folds_blocks("nnzoo_fast.models.residual"))
when_imported("torchvision.models.resnet", lambda: _folds_blocks("torchvision.models.resnet"))


def groups_of(module: torch.nn.Module) -> list[Group]:
    """What can be folded in `module` itself: of a Sequential any group, of a block all or nothing."""
    owner = FOLDED.get(type(module))
    if owner is None or not issubclass(owner, Owner):
        return []
    groups = [Group(module, *chain) for chain in owner.chains(module)]
    found = [group for group in groups if group.can_fold()]
    return found if issubclass(owner, FoldedChain) or len(found) == len(groups) else []


def fold(groups: Iterable[Group]) -> None:
    """Fold those whose layers belong to no other group."""
    for group in groups:
        if any("_packed" in vars(layer) for layer in (group.conv, group.norm)):
            continue
        group.fold()
        for layer in (group.conv, group.norm):
            layer.__class__ = FOLDED[type(layer)]
            layer._packed = group
        if "_packed" not in vars(group.owner):
            group.owner.__class__ = FOLDED[type(group.owner)]
            group.owner._packed = {}
        group.owner._packed[group.key] = group
