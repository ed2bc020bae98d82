"""`verify` must pass what is right and refuse each kind of wrong kernel."""

import dataclasses

import torch
from built import needs_kernels

from nnzoo_fast import _extension, verify
from nnzoo_fast.spec import all_specs, outputs_of

LINEAR = all_specs()["linear"]
SMALL = dataclasses.replace(LINEAR, samples=LINEAR.samples[:4])
TORCH = verify.Target("torch")


def failures_of(function, dtype=torch.float32):
    return verify.check(SMALL, TORCH, dtype, function).failures


def test_stock_torch_passes():
    assert failures_of(LINEAR.stock) == []


def test_one_percent_off_is_refused():
    found = failures_of(lambda *args: LINEAR.stock(*args) * 1.01)
    assert len({failure.partition(":")[0] for failure in found}) == len(SMALL.samples)
    assert any("output 0" in failure for failure in found) and any("gradient" in failure for failure in found)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * 1.01


def test_a_wrong_gradient_is_refused():
    found = failures_of(lambda *args: _WrongGradient.apply(LINEAR.stock(*args)))
    assert found and all("gradient" in failure for failure in found)


def test_memory_that_was_never_written_is_refused():
    def forgets_a_row(*args):
        result = LINEAR.stock(*args)
        output = torch.empty_like(result)
        mask = torch.zeros_like(result, dtype=torch.bool)
        mask[..., 0] = True
        return torch.where(mask, output, result)

    assert any("output 0 is inf times" in failure for failure in failures_of(forgets_a_row))


def test_results_that_do_not_repeat_are_refused():
    calls = []

    def alternates(*args):
        calls.append(None)
        result = LINEAR.stock(*args)
        return torch.nextafter(result, result * 2) if len(calls) % 2 else result

    row = verify.check(SMALL, TORCH, torch.float32, alternates)
    assert not row.repeats and all("two runs differ" in failure for failure in row.failures)


def test_another_dtype_is_refused():
    found = failures_of(lambda *args: LINEAR.stock(*args).double())
    assert any("output 0 is torch.float64, stock torch's torch.float32" in failure for failure in found)


def test_a_kernel_that_raises_is_named():
    def broken(*args):
        raise RuntimeError("no such luck")

    assert failures_of(broken)[0] == f"{SMALL.samples[0].id}: RuntimeError: no such luck"


def test_the_control_notices_a_blind_check():
    assert verify.control(SMALL).passed
    blind = dataclasses.replace(SMALL, stock=lambda *args: LINEAR.stock(*args) * 0)
    # Stock torch as far off as can be: twice its error allows anything.
    assert "blind" in verify.control(blind).failures[0]


def test_a_wrong_reference_is_noticed():
    wrong = dataclasses.replace(SMALL, stock=lambda *args: outputs_of(LINEAR.stock(*args))[0] * (1 + 1e-9))
    assert verify.check(wrong, TORCH, torch.float64, wrong.stock).failures


@needs_kernels
def test_this_machine_passes():
    before = _extension._C.isa()
    rows = verify.verify(["linear"], "cpu")
    assert _extension._C.isa() == before
    assert [row.failures for row in rows if not row.passed] == []
    kernels = [row for row in rows if row.target.startswith("cpu")]
    assert len(kernels) == len(_extension._C.isas()) * len(LINEAR.dtypes)
    assert all(row.samples + row.declined == len(LINEAR.samples) for row in kernels)
    assert all(0 < row.output.part <= 1 and 0 < row.gradient.part <= 1 for row in kernels if row.samples)


def test_targets_of_one_backend():
    assert verify.targets(LINEAR, "torch") == [TORCH]
    assert all(target.backend == "cuemu" for target in verify.targets(LINEAR, "cuemu"))
    assert verify.targets(LINEAR)[-1] == TORCH
    assert "cuemu" not in {target.backend for target in verify.targets(LINEAR)}
