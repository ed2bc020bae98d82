"""Every operation, on every backend, in every dtype and instruction set, against the float64 oracle."""

import matrix
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

import nnzoo_fast
from nnzoo_fast.spec import Call, Maker, outputs_of, run_with_gradients

SPECS = list(matrix.SPECS.values())
EVERY_SAMPLE = [pytest.param(spec, sample, id=f"{spec.name}-{sample.id}") for spec in SPECS for sample in spec.samples]
EVERY_ERROR = [pytest.param(spec, error, id=f"{spec.name}-{error.id}") for spec in SPECS for error in spec.errors]
SMALL = [
    pytest.param(spec, sample, id=f"{spec.name}-{sample.id}")
    for spec in SPECS
    for sample in matrix.small_samples(spec, most_values=400, count=4)
]


def matrix_rows():
    for spec in SPECS:
        for target in matrix.targets():
            if matrix.has_backend(spec, target.backend):
                for dtype in target.dtypes(spec):
                    for sample in spec.samples:
                        if sample.long and target.interprets:
                            continue
                        label = f"{spec.name}-{target}-{str(dtype).removeprefix('torch.')}-{sample.id}"
                        yield pytest.param(spec, target, dtype, sample, id=label)


@pytest.mark.parametrize("spec, target, dtype, sample", list(matrix_rows()))
def test_equals_the_oracle(spec, target, dtype, sample, isa, poisoned_memory):
    if target.isa:
        isa(target.isa)
    operation, args = matrix.reached_by(spec, sample.make(Maker(dtype, target.device)))
    row = next(row for row in operation.table if row.name == target.backend)
    able, reason = row.supports(*args)
    if not able:
        assert reason
        with pytest.raises(nnzoo_fast.BackendError), nnzoo_fast.backend(target.backend):
            sample.make(Maker(dtype, target.device)).run(spec.function)
        return
    with nnzoo_fast.backend(target.backend):
        problems = matrix.deviations(spec, sample, dtype, spec.function, target.device)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("spec, sample", EVERY_SAMPLE)
def test_the_reference_is_what_stock_torch_means(spec, sample):
    """Two independent statements of the operation agree in float64."""
    with nnzoo_fast.backend("reference"):
        problems = matrix.deviations(spec, sample, torch.float64, spec.stock)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in SPECS])
def test_a_result_wrong_by_one_percent_fails(spec):
    def twin(*args, **kwargs):
        result = spec.stock(*args, **kwargs)
        wrong = [out * 1.01 if out.is_floating_point() else out for out in outputs_of(result)]
        return wrong[0] if len(wrong) == 1 else tuple(wrong)

    def failing(sample):
        return bool(matrix.deviations(spec, sample, torch.float32, twin))

    assert sum(map(failing, spec.samples)) > len(spec.samples) // 2


@pytest.mark.parametrize(
    "spec, sample",
    [pytest.param(*case.values, id=case.id) for case in EVERY_SAMPLE if case.values[1].ill_conditioned],
)
@pytest.mark.parametrize("dtype, factor", [(torch.float32, 1.0001), (torch.float64, 1 + 1e-8)], ids=str)
def test_ill_conditioned_samples_can_fail(spec, sample, dtype, factor):
    """Every output is refused at an error that is far from what rounding does."""

    def twin(*args, **kwargs):
        return tuple(out * factor for out in outputs_of(spec.stock(*args, **kwargs)))

    problems = "\n".join(matrix.deviations(spec, sample, dtype, twin))
    count = len(outputs_of(sample.make(Maker()).run(spec.stock)))
    assert all(f"output {place}" in problems for place in range(count)), problems


@pytest.mark.parametrize("spec, error", EVERY_ERROR)
def test_wrong_calls_raise(spec, error):
    call = error.make(Maker())
    with pytest.raises(error.exception, match=error.message):
        call.run(spec.function)


@pytest.mark.parametrize("spec, sample", EVERY_SAMPLE)
def test_repeats_are_bit_equal(spec, sample):
    with matrix.on_a_kernel(spec, sample.make(Maker())):
        first, again = (run_with_gradients(spec.function, sample.make(Maker())) for _ in range(2))
    for one, other in zip(sum(first, []), sum(again, []), strict=True):
        assert torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))


def differentiable(spec, call):
    """`call` as a function of the tensors that require a gradient, for gradcheck."""
    wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]

    def function(*values):
        replace = {id(tensor): value for tensor, value in zip(wanted, values, strict=True)}
        changed = call.map(lambda tensor: replace.get(id(tensor), tensor))
        outputs = outputs_of(changed.run(spec.function))
        return tuple(out for out in outputs if out.requires_grad) or tuple(outputs)

    return function, wanted


@pytest.mark.parametrize("spec, sample", SMALL)
def test_gradcheck(spec, sample):
    call = sample.make(Maker(torch.float64))
    function, wanted = differentiable(spec, call)
    with matrix.on_a_kernel(spec, call):
        assert gradcheck(function, wanted, fast_mode=True)
        assert gradgradcheck(function, wanted, fast_mode=True)


@pytest.mark.parametrize("spec, sample", SMALL)
def test_a_gradient_with_a_graph_is_the_one_without(spec, sample):
    """The reference, on what backward keeps, against the kernel: gradgradcheck can't see an input that was dropped,
    since it compares the reference's derivatives with each other."""

    def gradients(create_graph):
        call = sample.make(Maker(torch.float64))
        outputs = [out for out in outputs_of(call.run(spec.function)) if out.requires_grad]
        seeds = [torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).reshape(out.shape) for out in outputs]
        wanted = [tensor for tensor in call.tensors() if tensor.requires_grad]
        return torch.autograd.grad(outputs, wanted, seeds, create_graph=create_graph, materialize_grads=True)

    with matrix.on_a_kernel(spec, sample.make(Maker(torch.float64))):
        for one, other in zip(gradients(False), gradients(True), strict=True):
            torch.testing.assert_close(other, one, equal_nan=True)


@pytest.mark.parametrize("spec, sample", SMALL)
def test_forward_mode(spec, sample):
    function, wanted = differentiable(spec, sample.make(Maker(torch.float64)))
    assert gradcheck(function, wanted, fast_mode=True, check_forward_ad=True, check_backward_ad=False)


@pytest.mark.parametrize("spec, sample", SMALL)
def test_opcheck(spec, sample):
    call = sample.make(Maker(torch.float64))
    operation, args = matrix.reached_by(spec, call)
    if not any(row.supports(*args)[0] for row in operation.table):
        pytest.skip("no kernel for this call on this machine, so it never reaches torch.ops")
    opcheck(operation.torch_op, (*args, True))


@pytest.mark.parametrize("spec, sample", SMALL)
def test_compiles_in_one_graph(spec, sample):
    torch._dynamo.reset()
    compiled = torch.compile(spec.function, fullgraph=True, backend="aot_eager")
    with matrix.on_a_kernel(spec, sample.make(Maker())):
        expected = run_with_gradients(spec.function, sample.make(Maker()))
        found = run_with_gradients(compiled, sample.make(Maker()))
    for one, other in zip(sum(expected, []), sum(found, []), strict=True):
        torch.testing.assert_close(other, one, equal_nan=True)


@pytest.mark.parametrize("spec, sample", SMALL)
def test_exports(spec, sample):
    call = sample.make(Maker(grad=False))

    class Program(torch.nn.Module):
        def forward(self, args, kwargs):
            return Call(args, kwargs).run(spec.function)

    with matrix.on_a_kernel(spec, call):
        exported = torch.export.export(Program(), (call.args, call.kwargs))
    expected = outputs_of(call.run(spec.function))
    for one, other in zip(expected, outputs_of(exported.module()(call.args, call.kwargs)), strict=True):
        torch.testing.assert_close(other, one, equal_nan=True)


def test_every_folder_has_a_spec_with_samples_errors_and_bench():
    assert "linear" in matrix.SPECS
    for spec in SPECS:
        assert spec.samples and spec.errors and spec.bench, spec.name
        for group in (spec.samples, spec.errors, spec.bench):
            ids = [entry.id for entry in group]
            assert len(set(ids)) == len(ids), f"{spec.name} repeats an id"
    assert len(EVERY_ERROR) >= 60
