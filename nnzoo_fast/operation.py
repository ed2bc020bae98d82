"""An operation: what it means, its table of backends and the three routes of a call.

Each op folder makes one `Operation`; this class is the whole of what they share. See ARCHITECTURE.md, "The way of a
call", for the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.compiler import is_compiling

from nnzoo_fast import backends, registration
from nnzoo_fast._compat import any_autocast_enabled, has_free_sizes, is_exporting
from nnzoo_fast.autograd import make_function
from nnzoo_fast.backends import REFERENCE_BACKEND, STOCK_BACKEND, Backend, BackendError, wants_gradients
from nnzoo_fast.declined import DeclinedCalls
from nnzoo_fast.front_door import OPS, STOCK, route
from nnzoo_fast.schema import Signature


def no_check(*args) -> None:
    """For operations that any arguments of the right types suit."""


class Operation:
    """One operation of the library.

    Calling it with the arguments of its schema, in order, picks the route and the backend and returns the visible
    outputs: a tensor, or a tuple if there are several.

    Args:
        name: the op's folder name; `torch.ops.nnzoo_fast.<name>` and `<name>_bwd` are registered under it.
        arguments: the schema's arguments, such as `"Tensor input, Tensor weight, Tensor? bias, str activation"`.
            Tensors may be `Tensor`, `Tensor?` or `Tensor[]`.
        outputs: a name per output. The first `visible` are results, the others are kept for backward only.
        allocate: `allocate(*args, training)` returns an uninitialised tensor per output with the right shape, dtype
            and strides. Kernels fill what it returns, and it is the fake kernel of the torch.ops route. What only
            backward wants is None unless `training` (`torch.ops` returns an empty tensor in its place).
        reference: same arguments, plain differentiable PyTorch, returns the visible outputs. Higher-order gradients
            and the float64 oracle come from it.
        stock: same arguments, PyTorch's own operators, or the reference where PyTorch has none.
        table: the backends, in order of preference. `torch` and `reference` are added by themselves.
        check: raises for a wrong call with the exception class that torch raises for the same mistake.
        keeps: `keeps(args, needs)` returns two tuples of bools, which flattened tensor arguments and which outputs
            backward must save. An argument that isn't saved must not influence the gradients that `needs` asks for.
            By default everything is saved.
        materialize: a result that nobody used comes to the backends' `backward` and to `formula` with a gradient of
            zeros; if False, with None.
        formula: `formula(grads, args, outputs, needs)`, the gradients in differentiable PyTorch from what `keeps`
            names, for gradients that are differentiated again. With it inputs need not be saved that the reference
            would need; outputs come attached to their history. By default these come from the reference.
        autocast: "lower" if torch runs this op in autocast's lower precision, else None.
        flops: `flops(*args)`, with shapes in place of tensors: floating-point operations of one forward call.
        compiles: False keeps stock operators under torch.compile, where an opaque op would stop Inductor's fusion.
    """

    def __init__(
        self,
        name: str,
        arguments: str,
        outputs: Sequence[str],
        *,
        visible: int = 1,
        allocate: Callable[..., tuple],
        reference: Callable,
        stock: Callable,
        table: Sequence[Backend],
        check: Callable[..., None] = no_check,
        keeps: Callable | None = None,
        formula: Callable | None = None,
        materialize: bool = True,
        autocast: str | None = None,
        flops: Callable[..., int] | None = None,
        compiles: bool = True,
    ):
        self.name = name
        self.signature = Signature(arguments)
        self.outputs = tuple(outputs)
        self.visible = visible
        self.allocate = allocate
        self.reference = reference
        self.stock = stock
        self.table = tuple(table)
        self.check = check
        self.keeps = keeps or self._keep_everything
        self.formula = formula
        self.materialize = materialize
        self.autocast = autocast
        self.flops = flops
        self.compiles = compiles
        self.declined = DeclinedCalls()
        backends.operations.add(name)
        self.function = make_function(self)
        self.torch_op = registration.register(self)

    def __call__(self, *args, backend: str | None = None, call: tuple | None = None, stock: Callable | None = None):
        """`call`: the arguments that a caller worked `args` out from, if it asks `goes_to_stock` about those.

        `stock`: what stands for `self.stock` in this call, where a caller means an operator of torch's that is another.
        """
        stock = stock or self.stock
        if call is None and self.goes_to_stock(args, backend):
            return stock(*args)
        name = backend or backends.requested(self.name)
        self.signature.check_present(self.name, args)
        tensors = self.signature.tensors(args)
        way = route(tensors)
        recorder = _recorder  # another thread may end its recording meanwhile
        if recorder is not None:
            recorder(self, args, way)
        if way is STOCK:
            return self.reference(*args) if name == REFERENCE_BACKEND else stock(*args)
        if self.autocast is not None and any_autocast_enabled():
            args, tensors = self._autocast(args, tensors)
        self.check(*args)
        if name == STOCK_BACKEND:
            return stock(*args)
        if name == REFERENCE_BACKEND:
            return self.reference(*args)
        if way is OPS:
            return self._call_torch_op(args, tensors, name, stock)
        row = self.choose(args, name)
        if row is None:
            self.declined.add(args if call is None else call)
            return stock(*args)
        if wants_gradients(*tensors):
            return self.result(self.function.apply(row, args, *self.signature.flatten(args)))
        return self.result(row.forward(*args, False))

    def goes_to_stock(self, call: tuple, backend: str | None = None) -> bool:
        """Whether such a call was declined before: the caller may hand it to stock torch without another look."""
        if is_compiling() or backend or not self.declined.keys or _recorder is not None:
            return False
        return backends.requested(self.name) is None and call in self.declined

    def choose(self, args: tuple, name: str | None = None) -> Backend | None:
        """The row that runs this call; None stands for stock torch.

        Raises:
            BackendError: `name` was asked for and can't run the call, with its reason.
        """
        for row in self.table:
            if name is None:
                if row.pays(*args)[0] and row.supports(*args)[0]:
                    return row
            elif row.name == name:
                able, reason = row.supports(*args)
                if not able:
                    raise BackendError(f"{self.name}: backend {name!r} can't run this call: {reason}")
                return row
        if name not in (None, STOCK_BACKEND):
            known = [row.name for row in self.table] + [STOCK_BACKEND, REFERENCE_BACKEND]
            raise BackendError(f"{self.name}: no backend {name!r}; there are {', '.join(known)}")
        return None

    def verdicts(self, args: tuple) -> list[tuple[str, bool, bool, str]]:
        """For every row: name, whether it can run the call, whether it is worth it, and why."""
        rows = []
        for row in self.table:
            able, reason = row.supports(*args)
            pays, advice = row.pays(*args) if able else (False, reason)
            rows.append((row.name, able, pays, advice))
        rows.append((STOCK_BACKEND, True, True, "PyTorch's own operators"))
        rows.append((REFERENCE_BACKEND, True, False, "the definition, never chosen by itself"))
        return rows

    def result(self, outputs: tuple):
        """The visible outputs in the form that the caller sees."""
        return outputs[0] if self.visible == 1 else tuple(outputs[: self.visible])

    def reference_gradients(self, grads: Sequence, args: tuple, needs: Sequence[bool], create_graph: bool) -> tuple:
        """Gradients through the attached reference, which autograd can differentiate again."""
        signature = self.signature
        with torch.enable_grad():
            flat = [attach(tensor, needed) for tensor, needed in zip(signature.flatten(args), needs, strict=True)]
            outputs = self.reference(*signature.replace(args, flat))
        outputs = (outputs,) if self.visible == 1 else outputs
        pairs = [
            (output, grad)
            for output, grad in zip(outputs, grads, strict=True)
            if output.requires_grad and grad is not None
        ]
        wanted = [tensor for tensor, needed in zip(flat, needs, strict=True) if needed]
        found = iter(
            torch.autograd.grad(
                [output for output, _ in pairs],
                wanted,
                [grad for _, grad in pairs],
                create_graph=create_graph,
                allow_unused=True,
                materialize_grads=True,
            )
        )
        return tuple(next(found) if needed else None for needed in needs)

    def supporting_row(self, args: tuple, name: str | None = None) -> Backend | None:
        """The first row that can run this call, even if it isn't expected to win: what `torch.ops` runs on.

        Whether it pays was asked when the program was traced or, in an exported one, is asked when it runs. A traced
        backward must meet what its forward kept, so the choice may depend on nothing but the call itself.
        """
        if name is not None:
            return self.choose(args, name)
        automatic = (row for row in self.table if row.pays is not backends.only_on_request)
        return next((row for row in automatic if row.supports(*args)[0]), None)

    def _call_torch_op(self, args: tuple, tensors: Sequence[torch.Tensor], name: str | None, stock: Callable):
        if name is None and not self.compiles:
            return stock(*args)
        training = wants_gradients(*tensors)
        # A program with open sizes asks at run time whether a kernel pays, but for training, whose backward has to meet
        # what its forward kept: there a threshold becomes a guard.
        at_run_time = is_exporting() or (not training and is_compiling() and has_free_sizes(tensors))
        pick = self.supporting_row if at_run_time else self.choose
        if tensors[0].device.type != "meta" and pick(args, name) is None:
            return stock(*args)
        outputs = self.torch_op(*args, training)
        return self.result(outputs if isinstance(outputs, (tuple, list)) else (outputs,))

    def _autocast(self, args: tuple, tensors: Sequence[torch.Tensor]):
        device = tensors[0].device.type
        if device == "meta" or not torch.is_autocast_enabled(device):
            return args, tensors
        dtype = torch.get_autocast_dtype(device)
        flat = [lowered(tensor, dtype) for tensor in self.signature.flatten(args)]
        args = self.signature.replace(args, flat)
        return args, self.signature.tensors(args)

    def _keep_everything(self, args: tuple, needs: Sequence[bool]) -> tuple[Sequence[bool], Sequence[bool]]:
        return (True,) * len(needs), (True,) * len(self.outputs)


# Set by `explain` for the length of one call: sees the operations that are reached.
_recorder: Callable | None = None


def lowered(tensor: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """`tensor` in autocast's `dtype`; float64 and integers stay as they are, as in torch."""
    if tensor is None or not tensor.is_floating_point() or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(dtype)


def attach(tensor: torch.Tensor | None, needed: bool) -> torch.Tensor | None:
    """A stand-in for `tensor` whose gradient can be asked for on its own, still attached to its history.

    A detached copy would give silently wrong third-order gradients.
    """
    if tensor is None or not tensor.is_floating_point():
        return tensor
    return tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_(needed)
