"""How equal the models of the zoo are to their peers, measured: same weights, same input, outputs and gradients.

Ours run on our kernels, also where an automatic choice would hand a call to stock torch because that is faster.

`nnzoo-fast zoo --measure` asks any installation. What this revision's models showed is kept in equality.json, which
`nnzoo-fast zoo --measure --out nnzoo_fast/models/equality.json` writes.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from nnzoo_fast.backends import backend
from nnzoo_fast.models.peers import NoPeer as NoPeer
from nnzoo_fast.models.peers import peer_inputs, peer_of
from nnzoo_fast.models.pretrained import from_huggingface, load
from nnzoo_fast.models.registry import PUBLISHED, create
from nnzoo_fast.spec import Call, Error, allowed_error, neighbours, outputs_of

RECORD = Path(__file__).with_name("equality.json")
SAME_IN_FLOAT64 = 1e-10
NEIGHBOURS = 16
"""Starts that the peer's error in float32 is taken over, where ours is larger than it should be: one ReLU or maximum
of a deep network that rounding makes fall to the other side changes gradients by whole values, in either program."""


@dataclass(frozen=True)
class Equality:
    """What one model showed next to its peer with the same random weights, in eval mode.

    Args:
        model, peer: names; `peer` with its version.
        parameters, entries: numbers of parameters and of `state_dict` entries, of both.
        output, gradient: our largest error of an output and of a gradient by a parameter, in float32, against the peer
            in float64: difference over largest value.
        peer_output, peer_gradient: the peer's own; where needed the worst over `NEIGHBOURS`.
        float64: the largest such difference between the two in float64.
        kernels: the backend that ours ran on.
        equal: errors in float32 are at most twice the peer's + 4 eps, in both norms; in float64 at most 1e-10.
    """

    model: str
    peer: str
    parameters: int
    entries: int
    output: float
    gradient: float
    peer_output: float
    peer_gradient: float
    float64: float
    kernels: str
    equal: bool

    def __str__(self) -> str:
        verdict = "" if self.equal else "NOT EQUAL: "
        return f"{verdict}{self.output:.0e} / {self.peer_output:.0e}, {self.gradient:.0e} / {self.peer_gradient:.0e}"


def recorded() -> dict[str, Equality]:
    """What was measured of this revision's models, by name."""
    return {row["model"]: Equality(**row) for row in json.loads(RECORD.read_text())} if RECORD.exists() else {}


def write(rows: list[Equality], path: Path) -> None:
    """Puts `rows` into the file in place of those of the same models, in the zoo's order.

    Raises:
        ValueError: the file holds something else.
    """
    before = json.loads(path.read_text()) if path.exists() else []
    if not isinstance(before, list) or not all(isinstance(row, dict) and "model" in row for row in before):
        raise ValueError(f"{path} is no list of models")
    known = {row["model"]: row for row in before}
    known |= {row.model: asdict(row) for row in rows}
    lines = [json.dumps(known[name]) for name in PUBLISHED if name in known]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def measure(name: str, kernels: str = "cpu") -> Equality:
    """Holds the model called `name`, of its published size, on the backend `kernels` against its peer.

    Needs up to 40 bytes of memory for each parameter, and some for each value of the network.

    Raises:
        ModuleNotFoundError: the peer's library is not installed.
        NoPeer: none is known here.
        ValueError: the peer's weights don't fit.
        BackendError: the backend can't run one of the model's operations.
    """
    entry = PUBLISHED[name]
    torch.manual_seed(0)
    inputs = entry.example()
    theirs = _lively(peer_of(name, entry.peer), inputs if entry.family == "convolutional" else ()).double()
    ours = _like(name, theirs)
    counts = sum(parameter.numel() for parameter in ours.parameters()), len(ours.state_dict())
    truth = _results(theirs, inputs, name)
    with backend(kernels):
        exact = _Errors.of(_results(ours, inputs), truth)
    theirs, ours = theirs.float(), ours.float()
    with backend(kernels):
        found = _Errors.of(_results(ours, inputs), truth)
    peer = _Errors.of(_results(theirs, inputs, name), truth)
    drawn = _rounded_otherwise(name, theirs, inputs)
    while not found.within(peer) and (other := next(drawn, None)):
        peer = peer.or_worse(other)
    largest = max(exact.output.largest, exact.gradient.largest)
    return Equality(
        name,
        _with_version(entry.peer),
        *counts,
        *(found.output.largest, found.gradient.largest),
        *(peer.output.largest, peer.gradient.largest),
        largest,
        kernels,
        found.within(peer) and largest <= SAME_IN_FLOAT64,
    )


def _rounded_otherwise(name: str, theirs: torch.nn.Module, inputs: tuple) -> Iterator[_Errors]:
    """The peer's errors in float32 for inputs and weights that rounding moved: tokens alone are never rounded."""
    weights = list(theirs.parameters())
    for near in neighbours(Call((*inputs, *(weight.data for weight in weights))), torch.float32, NEIGHBOURS):
        moved = near.args[: len(inputs)]
        theirs.float()
        for weight, value in zip(weights, near.args[len(inputs) :], strict=True):
            weight.data = value
        found = _results(theirs, moved, name)
        yield _Errors.of(found, _results(theirs.double(), moved, name))


def _lively(model: torch.nn.Module, images: tuple) -> torch.nn.Module:
    """In eval mode, without biases of 0 and scales of 1, which would hide a swap; norms keep what `images` show, so
    that values stay in range through any number of layers."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter)).add_(0.02 * torch.rand_like(parameter))
            elif not parameter.any():
                parameter.normal_(std=0.02)
        norms = [norm for norm in model.modules() if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        if norms and images:
            model.train()(*(torch.cat([value, -value]).float() for value in images))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model.eval()


def _like(name: str, theirs: torch.nn.Module) -> torch.nn.Module:
    """Our model in eval mode with their weights, in their dtype."""
    with _default_dtype(next(theirs.parameters()).dtype):
        if PUBLISHED[name].peer == "transformers":
            return from_huggingface(theirs).eval()
        return load(create(name), theirs).eval()


def _in(dtype: torch.dtype, value: object) -> object:
    is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if is_float else value


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


Results = tuple[list[torch.Tensor], list[torch.Tensor]]
"""Outputs, and gradients by the parameters of our model."""


def _results(model: torch.nn.Module, inputs: tuple, name: str | None = None) -> Results:
    """Of a peer of the model called `name`, gradients are carried over as its weights are."""
    dtype = next(model.parameters()).dtype
    inputs = tuple(_in(dtype, value) for value in (peer_inputs(name, inputs) if name else inputs))
    outputs = model(*inputs)
    outputs = outputs_of(outputs.to_tuple() if hasattr(outputs, "to_tuple") else outputs)
    generator = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(output.shape, generator=generator).to(dtype) for output in outputs]
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(outputs, parameters, cotangents, allow_unused=True, materialize_grads=True)
    weights = [parameter.data for parameter in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.data = gradient
    carried = [parameter.detach() for parameter in (_like(name, model) if name else model).parameters()]
    for parameter, weight in zip(parameters, weights, strict=True):
        parameter.data = weight
    return [output.detach() for output in outputs], carried


@dataclass(frozen=True)
class _Errors:
    """The worst of all outputs and of all gradients, in either norm."""

    output: Error
    gradient: Error

    @staticmethod
    def of(found: Results, truth: Results) -> _Errors:
        return _Errors(*(Error.worst_of(*pair) for pair in zip(found, truth, strict=True)))

    def or_worse(self, other: _Errors) -> _Errors:
        return _Errors(self.output.or_worse(other.output), self.gradient.or_worse(other.gradient))

    def within(self, stock: _Errors) -> bool:
        """Promise P2 in float32."""
        pairs = (self.output, stock.output), (self.gradient, stock.gradient)
        return all(ours.within(allowed_error(theirs, torch.float32, 1)) for ours, theirs in pairs)


def _with_version(peer: str) -> str:
    return f"{peer} {importlib.metadata.version({'torch.nn': 'torch'}.get(peer, peer))}"
