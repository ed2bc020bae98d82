"""Where the tensors stand in an operation's arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch


class Signature:
    """The arguments of an operation, written as in a torch schema.

    A *flat* list has an entry per `Tensor` or `Tensor?` argument (None when absent) and one per element of a
    `Tensor[]`, in the order of the arguments. autograd gives no gradient to a tensor inside a list, so what reaches
    `Function.apply` is always flat.
    """

    def __init__(self, arguments: str):
        self.arguments = arguments
        self.names = tuple(part.split()[1].split("=")[0] for part in arguments.split(", "))
        types = [part.split()[0] for part in arguments.split(", ")]
        self.tensor_slots = tuple(i for i, kind in enumerate(types) if kind in ("Tensor", "Tensor?", "Tensor[]"))
        self.required_slots = tuple(i for i, kind in enumerate(types) if kind == "Tensor")
        self.list_slots = frozenset(i for i, kind in enumerate(types) if kind == "Tensor[]")

    def check_present(self, operation: str, args: Sequence) -> None:
        """Raises TypeError for a missing tensor; what else is no tensor, stock torch refuses by name."""
        for slot in self.required_slots:
            if args[slot] is None:
                raise TypeError(f"{operation}: {self.names[slot]} is None, expected a Tensor")

    def flatten(self, args: Sequence) -> list[torch.Tensor | None]:
        """The flat list of the tensors in `args`."""
        if not self.list_slots:
            return [args[slot] for slot in self.tensor_slots]
        flat = []
        for slot in self.tensor_slots:
            if slot in self.list_slots:
                flat.extend(args[slot])
            else:
                flat.append(args[slot])
        return flat

    def tensors(self, args: Sequence) -> list[torch.Tensor]:
        """The tensors that are there."""
        return [tensor for tensor in self.flatten(args) if tensor is not None]

    def replace(self, args: Sequence, flat: Sequence[torch.Tensor | None]) -> tuple:
        """`args` with its tensors replaced by those of `flat`."""
        changed, position = list(args), 0
        if not self.list_slots:
            for slot, tensor in zip(self.tensor_slots, flat, strict=True):
                changed[slot] = tensor
            return tuple(changed)
        for slot in self.tensor_slots:
            if slot in self.list_slots:
                count = len(args[slot])
                changed[slot] = list(flat[position : position + count])
                position += count
            else:
                changed[slot] = flat[position]
                position += 1
        return tuple(changed)

    def skeleton(self, args: Sequence) -> tuple:
        """`args` without its tensors: what a backward may hold on to without keeping them alive."""
        changed = list(args)
        for slot in self.tensor_slots:
            changed[slot] = [None] * len(args[slot]) if slot in self.list_slots else None
        return tuple(changed)

    def group(self, args: Sequence, flat: Sequence) -> list:
        """One entry per argument: what `flat` holds for a tensor (a list for a `Tensor[]`), None for the others."""
        empty = [None if slot not in self.list_slots else args[slot] for slot in range(len(args))]
        return list(self.replace(empty, flat))
