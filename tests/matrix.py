"""The rows and columns of the test matrix: samples, and the places where an operation can run."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass

import torch

import nnzoo_fast
from nnzoo_fast import _extension
from nnzoo_fast.explain import reached_by as find_reached
from nnzoo_fast.operation import Operation
from nnzoo_fast.spec import Call, Maker, OpSpec, Sample, all_specs, allowed_for, errors_of, oracle_and_stock
from nnzoo_fast.spec import Error as Error
from nnzoo_fast.spec import run_with_gradients as run_with_gradients

SPECS = all_specs()


@dataclass(frozen=True)
class Target:
    """A backend, on a device, with an instruction set if it is the CPU's."""

    backend: str
    device: str = "cpu"
    isa: str | None = None

    @property
    def interprets(self) -> bool:
        """Whether kernels run here a thousand times slower than on what they were written for."""
        return self.device == "cpu" and self.backend in ("cuemu", "triton")

    def dtypes(self, spec: OpSpec) -> list[torch.dtype]:
        """What is checked here. avx512_bf16 is avx512 with products of bfloat16: the rest is the same code."""
        return [dtype for dtype in spec.dtypes if self.isa != "avx512_bf16" or dtype == torch.bfloat16]

    def __str__(self) -> str:
        return f"{self.backend}-{self.isa}" if self.isa else self.backend


def targets() -> list[Target]:
    """Every place where kernels can run on this machine."""
    found = []
    if _extension._C is not None:
        found += [Target("cpu", isa=isa) for isa in _extension._C.isas()]
    if _extension.load("_cuemu") is not None:
        found.append(Target("cuemu"))
    if torch.cuda.is_available():
        found += [Target("cuda", "cuda"), Target("triton", "cuda")]
    elif os.environ.get("TRITON_INTERPRET") == "1":
        found.append(Target("triton"))
    return found


@functools.cache
def operation_of(name: str) -> Operation:
    """The operation behind a spec's function."""
    return reached_by(SPECS[name], SPECS[name].samples[0].make(Maker()))[0]


def has_backend(spec: OpSpec, name: str) -> bool:
    return any(row.name == name for row in operation_of(spec.name).table)


def reached_by(spec: OpSpec, call: Call) -> tuple[Operation, tuple]:
    """The operation that `call` reaches and the arguments of its schema."""
    return call.run(functools.partial(find_reached, spec.function))[:2]


@functools.cache
def _prepared(name: str, sample_id: str, dtype: torch.dtype) -> tuple:
    """Oracle in float64 and stock torch's result in `dtype`, each with gradients, and what P2 allows each; the inputs
    have values of `dtype`."""
    spec = SPECS[name]
    sample = sample_of(spec, sample_id)
    call = sample.make(Maker(dtype)).as_dtype(dtype)
    oracle, stock = oracle_and_stock(spec, call)
    return oracle, stock, allowed_for(spec, sample, call, dtype, errors_of(stock, oracle))


def on_a_kernel(spec: OpSpec, call: Call) -> contextlib.AbstractContextManager:
    """Runs the operation on its first kernel that can, also where an automatic choice would take stock torch."""
    operation, args = reached_by(spec, call)
    row = operation.supporting_row(args)
    return nnzoo_fast.backend(**{operation.name: row.name}) if row else contextlib.nullcontext()


def sample_of(spec: OpSpec, sample_id: str) -> Sample:
    return next(sample for sample in spec.samples if sample.id == sample_id)


def deviations(spec: OpSpec, sample: Sample, dtype: torch.dtype, function, device: str = "cpu") -> list[str]:
    """What is wrong with `function` on `sample`: a line per output or gradient beyond the promise P2."""
    oracle, stock, allowances = _prepared(spec.name, sample.id, dtype)
    found = run_with_gradients(function, sample.make(Maker(dtype, device)))
    allowances = iter(allowances)
    problems = []
    for kind, ours, expected, usual in zip(("output", "gradient"), found, oracle, stock, strict=True):
        if not len(ours) == len(expected) == len(usual):
            problems.append(f"{len(ours)} {kind}s, the oracle has {len(expected)}, stock {len(usual)}")
        for position, (value, truth, peer) in enumerate(zip(ours, expected, usual, strict=True)):
            error, allowed = Error.of(value, truth), next(allowances)
            if value.dtype != peer.dtype:
                problems.append(f"{kind} {position}: {value.dtype}, stock gives {peer.dtype}")
            if not error.within(allowed):
                problems.append(f"{kind} {position} {list(value.shape)}: {error}, allowed {allowed}")
    return problems


def small_samples(spec: OpSpec, most_values: int, count: int) -> list[Sample]:
    """Up to `count` samples with at least one and at most `most_values` values to differentiate by."""

    def values(sample: Sample) -> int:
        return sum(t.numel() for t in sample.make(Maker()).tensors() if t.requires_grad)

    return [sample for sample in spec.samples if 0 < values(sample) <= most_values][:count]
