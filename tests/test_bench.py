"""The benchmarks: fair timings, honest rows, whole files."""

import collections
import dataclasses
import types

import pytest
import torch
from built import needs_kernels

from nnzoo_fast import backends, machine
from nnzoo_fast.benchmark import memory, ops, report, timing
from nnzoo_fast.machine import Machine, Roof
from nnzoo_fast.spec import BenchCase, Call, Maker, all_specs

LINEAR = all_specs()["linear"]


ROOF = Roof(flops=100e9, bytes=10e9)


FAST = ops.Settings(seconds=0.02, compile=False)


def case(flops, moved, **changes):
    def make(maker):
        return Call((maker.normal(64, 32), maker.normal(16, 32), maker.normal(16)))

    return BenchCase("tiny", make, flops, moved, **changes)


TINY = dataclasses.replace(LINEAR, bench=[case(2 * 64 * 32 * 16, 4 * 64 * 48)], samples=LINEAR.samples[:3])


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `clock.wait` moves, so that timings can be told to the digit on a busy machine."""

    class Clock:
        now = 0.0

        def wait(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr(timing, "time", types.SimpleNamespace(perf_counter=lambda: made.now))
    return made


def test_quartiles():
    assert timing.quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert timing.quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_candidates_take_turns_and_drift_cancels(clock):
    order = []

    def candidate(name, seconds):
        def call(number):
            order.append(name)
            clock.wait(seconds * (1 + max(len(order) - 5, 0) // 2))  # from round to round the machine gets slower

        return call

    found, failures = timing.interleave({"a": candidate("a", 1e-3), "b": candidate("b", 3e-3)}, 0.1)
    assert not failures and len(found["a"].samples) == len(found["b"].samples) >= 7
    rounds = {"".join(order[place : place + 2]) for place in range(4, len(order), 2)}
    assert rounds == {"ab", "ba"}
    assert found["a"].high > 2 * found["a"].low
    ratio = timing.Ratio.of(found["a"], found["b"])
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((3, 3, 3))
    assert timing.Ratio.of(found["b"], found["a"]).median == pytest.approx(1 / 3)


def test_each_candidate_runs_behind_each(clock):
    """What ran before has left results in the caches, where those of the next one will lie: none may profit."""
    order = []

    def candidate(name):
        def call(number):
            order.append(name)
            clock.wait(1e-3)

        return call

    timing.interleave({name: candidate(name) for name in "abc"}, 0.3)
    behind = collections.Counter(zip(order[6:], order[7:], strict=False))
    assert all(behind[one, other] > len(order) / 20 for one in "abc" for other in "abc" if one != other)


def test_no_candidate_finds_what_another_fetched(clock):
    """Given one after the other the same inputs, the second would find them in the caches."""
    numbers = []

    def candidate(seconds):
        def call(number):
            numbers.append(number)
            clock.wait(seconds)

        return call

    timing.interleave({"short": candidate(2e-4), "long": candidate(1e-2)}, 0.1)
    in_rounds = numbers[4:]  # behind two first calls of each
    assert len(in_rounds) > 15 and in_rounds == list(range(len(in_rounds)))


def test_the_first_call_stands_apart(clock):
    calls = []

    def warms_up(number):
        calls.append(number)
        clock.wait(1.0 if len(calls) == 1 else 1e-5)

    found, _ = timing.interleave({"a": warms_up}, 0.02)
    assert found["a"].first == 1.0 and found["a"].high == pytest.approx(1e-5)
    assert len(calls) == 2 + 10 * len(found["a"].samples), "short calls are repeated within a sample"


def test_a_candidate_that_raises_is_reported():
    def broken(number):
        raise RuntimeError("not today\nat all")

    found, failures = timing.interleave({"good": lambda number: None, "bad": broken}, 0.01)
    assert list(found) == ["good"] and failures == {"bad": "RuntimeError: not today"}


def test_a_ladder_is_timed_rung_by_rung():
    slow = dataclasses.replace(TINY.bench[0], id="slow")
    spec = dataclasses.replace(TINY, bench=[dataclasses.replace(TINY.bench[0], quick=True), slow])
    settings = dataclasses.replace(FAST, ladder=True)
    planned = list(ops.jobs(spec, settings, ROOF))
    assert [(job.case.id, job.work, job.cache) for job in planned] == [("tiny", "forward", "cold")]
    assert not list(ops.jobs(dataclasses.replace(spec, variants={}), settings, ROOF))
    assert list(ops._ours(planned[0], settings)) == ["loops", "vectors", "tiles", "blocks", "threads", "packed"]


def test_what_is_timed():
    spec = dataclasses.replace(TINY, bench=[case(1e9, 1e3, quick=True), case(1e3, 1e9, backward=False)])
    planned = [(job.dtype, job.work, job.cache) for job in ops.jobs(spec, FAST, ROOF)]
    both = [(torch.float32, "forward", "cold"), (torch.float32, "training", "cold")]
    assert planned == [*both, (torch.float32, "forward", "cold"), (torch.float32, "forward", "hot")]
    quick = dataclasses.replace(FAST, quick=True)
    assert [(job.dtype, job.work, job.cache) for job in ops.jobs(spec, quick, ROOF)] == both
    every = list(ops.jobs(spec, dataclasses.replace(FAST, every=True), ROOF))
    assert {job.dtype for job in every} == set(spec.dtypes)
    only = dataclasses.replace(FAST, every=True, dtypes=("bfloat16",))
    assert {job.dtype for job in ops.jobs(spec, only, ROOF)} == {torch.bfloat16}


def test_cold_inputs_overflow_the_caches(monkeypatch):
    monkeypatch.setattr(machine, "last_level_cache", lambda: 50_000)
    job = ops.Job(TINY, TINY.bench[0], torch.float32, "training", "cold")
    calls = ops.inputs(job, "cpu")
    size = sum(tensor.numel() * 4 for tensor in calls[0].tensors())
    assert size * len(calls) > 100_000
    assert len({call.args[0].data_ptr() for call in calls}) == len(calls)
    assert all(call.args[0].requires_grad for call in calls)
    assert len(ops.inputs(dataclasses.replace(job, cache="hot"), "cpu")) == 1


def run_tiny(spec=TINY, settings=FAST, work="training"):
    return ops.run(ops.Job(spec, spec.bench[0], torch.float32, work, "cold"), settings, ROOF)


def test_a_row_counts_work_and_names_the_best_peer():
    (row,) = run_tiny(settings=dataclasses.replace(FAST, backends=("torch",)))
    assert row.candidate == row.ran_on == "torch" and row.peer == "eager"
    assert row.flops == 3 * TINY.bench[0].flops
    assert row.roof_part == pytest.approx(ROOF.floor(row.flops, row.bytes) / row.ours.median)


def test_installed_peers_are_measured_against_and_missing_ones_named():
    def missing(*args):
        raise ModuleNotFoundError("No module named 'peerless'")

    fast = dataclasses.replace(TINY, peers={"instant": lambda *args: args[0], "peerless": missing})
    (row,) = run_tiny(fast, dataclasses.replace(FAST, backends=("torch",)), "forward")
    assert row.peer == "instant" and row.ratio.median < 1
    assert "peerless" in row.failures["peerless"]


def test_a_row_has_a_ratio_for_every_peer():
    fast = dataclasses.replace(TINY, peers={"instant": lambda *args: args[0]})
    settings = dataclasses.replace(FAST, backends=("torch",))
    (row,) = run_tiny(fast, settings, "forward")
    assert list(row.ratios) == ["eager", "instant"] and row.ratio == row.ratios["instant"]
    shown = dict(zip(report.HEADERS, report.cells(row), strict=True))
    assert shown["/ eager"] == f"{row.ratios['eager'].median:.2f}" and shown["/ torch.compile"] == ""
    assert shown["memory"].endswith(" MB")


def test_what_torch_compile_can_not_look_into_is_not_timed_with_it():
    for traceable in (True, False):
        spec = dataclasses.replace(TINY, traceable=traceable)
        (row,) = run_tiny(spec, dataclasses.replace(FAST, backends=("torch",), compile=True), "forward")
        assert ("torch.compile" in {**row.timings, **row.failures}) is traceable


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="this system doesn't tell the peak of resident memory")
def test_peak_memory_counts_what_is_held_at_once():
    ones, size = torch.ones(4 << 20), 16 << 20
    for call, tensors in (
        (lambda number: ones + 1, 1),
        (lambda number: (ones + 1) + 1, 2),
        (lambda number: ones.sum(), 0),
    ):
        assert abs(memory.peak_memory(call) - tensors * size) < size // 4


def agreeing(spec, peer):
    """On how many samples a peer gives what stock torch gives; it may refuse what it can't do."""
    count = 0
    for sample in spec.samples:
        try:
            found = sample.make(Maker(torch.float64)).run(peer)
        except (ImportError, NotImplementedError, RuntimeError, TypeError, ValueError):
            continue
        torch.testing.assert_close(found, sample.make(Maker(torch.float64)).run(spec.stock))
        count += 1
    return count


@pytest.mark.parametrize("name", ["torch_geometric", "sparse matmul"])
def test_peers_compute_the_same(name):
    spec = all_specs()["gather_scatter"]
    plain = dataclasses.replace(spec, samples=[s for s in spec.samples if s.id.endswith("-sum") and "to" in s.id])
    assert agreeing(plain, spec.peers[name]) >= 1
    with pytest.raises(AssertionError):
        agreeing(plain, lambda *args: spec.peers[name](*args) * 1.01)


@needs_kernels
def test_a_wrong_kernel_gets_no_ratio(monkeypatch):
    """Negative control of the gate: one percent off, and the number doesn't count."""
    assert run_tiny(settings=dataclasses.replace(FAST, backends=("cpu",)))[0].ratio is not None
    ops._cached_checks.cache_clear()

    def wrong(*args, backend=None):
        factor = 1.0 if backends.requested("linear") == "reference" else 1.01
        return LINEAR.function(*args, backend=backend) * factor

    spec = dataclasses.replace(TINY, function=wrong)
    monkeypatch.setattr(ops.verify, "all_specs", lambda: {"linear": spec})
    (row,) = run_tiny(spec, dataclasses.replace(FAST, backends=("cpu",)))
    ops._cached_checks.cache_clear()
    assert row.checks and row.ratio is None and row.roof_part is None
    assert report.cells(row)[-1] == "checks fail"
    assert report.Report(Machine.here(), {}, {}, [row]).failed == [row]


def test_a_case_that_can_not_run_is_a_failure():
    def broken(*args, backend=None):
        raise RuntimeError("out of luck")

    spec = dataclasses.replace(TINY, function=broken)
    (row,) = run_tiny(spec, dataclasses.replace(FAST, backends=("torch",)))
    assert row.ours is None and "out of luck" in report.cells(row)[5]
    assert report.Report(Machine.here(), {}, {}, [row]).failed == [row]
