"""Benchmarks of models, layers and graphs: each against its stock twin, and a wrong one gets no number."""

import dataclasses
import math

import pytest
import torch
from built import needs_kernels
from test_bench import FAST, ROOF

from nnzoo_fast.benchmark import graphs, layers, model_cases, models
from nnzoo_fast.spec import Error, allowed_error


def tiny_network(library=""):
    def make():
        conv = torch.nn.Conv2d(3, 4, 3)
        return torch.nn.Sequential(conv, torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(144, 5))

    return model_cases.Model("tiny", make, lambda: (torch.randn(2, 3, 8, 8),), library=library)


@needs_kernels
@pytest.mark.parametrize("library", ["", "torchvision"])
@pytest.mark.parametrize("work, candidates", [("forward", ["nnzoo_fast", "packed"]), ("training", ["nnzoo_fast"])])
def test_a_model_is_timed_against_its_stock_twin(work, candidates, library):
    rows = list(models.run(tiny_network(library), work, FAST, ROOF))
    assert [row.candidate for row in rows] == candidates
    forward = 2 * 2 * (36 * 4 * 27 + 144 * 5)
    for row in rows:
        assert row.name == f"{library or 'ours'}: tiny" and not row.checks and row.peer == "eager" and row.ratio
        # The convolution needs no gradient of the images.
        assert row.flops == (forward if work == "forward" else 3 * forward - 2 * 2 * 36 * 4 * 27)


def test_a_model_that_computes_something_else_gets_no_number():
    wrong = dataclasses.replace(tiny_network(), fast=lambda model: torch.nn.Sequential(model, torch.nn.Hardtanh(-1, 0)))
    for work in ("forward", "training"):
        assert all(row.checks and row.ratio is None for row in models.run(wrong, work, FAST, ROOF))


@pytest.mark.parametrize("wrong", [0.1, math.nan])
def test_a_result_that_should_be_zero_is_compared_too(wrong):
    exact = [torch.ones(4, dtype=torch.float64), torch.full((3,), 1e-17, dtype=torch.float64)]
    right, off = [torch.ones(4), torch.full((3,), 1e-9)], [torch.ones(4), torch.full((3,), wrong)]
    assert Error.worst_of(right, exact).largest < 1e-8 < 0.05 < Error.worst_of(off, exact).largest


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_hides_no_other_result(bad):
    exact = [torch.tensor([bad, 1.0]).double(), torch.full((3,), 2.0).double()]
    assert Error.worst_of(exact, exact) == Error(0, 0)
    for place, off in ((0, [bad, 1.1]), (0, [1.0, 1.0]), (1, [2.0, 2.2, 2.0])):
        found = [*exact]
        found[place] = torch.tensor(off)
        assert Error.worst_of(found, exact).largest > 0.09
    allowed = allowed_error(Error.worst_of(exact, exact), torch.float32, 1)
    assert not Error.worst_of([exact[0], 1.1 * exact[1]], exact).within(allowed)


def test_a_result_of_another_shape_is_wrong_where_zeros_are_expected_too():
    exact = [torch.ones(4).double(), torch.zeros(3).double()]
    assert Error.worst_of([torch.ones(4), torch.zeros(1)], exact).largest == math.inf
    with pytest.raises(ValueError):
        Error.worst_of(exact[:1], exact)


def test_a_new_head_hides_nothing():
    head = torch.nn.Linear(4, 3)
    torch.nn.init.zeros_(head.weight)
    assert models.lively(head).weight.all()


def test_every_model_has_a_name_of_its_own():
    found = [*model_cases.PUBLISHED, *model_cases.FOREIGN]
    assert len({(model.library, model.id) for model in found}) == len(found)
    assert {model.library for model in found} == {"", "torchvision", "transformers", "torch_geometric"}
    assert set(model_cases.cases(quick=True)) < set(model_cases.cases(quick=False))


TINY_LAYER = layers.Layer("tiny", lambda: torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.GELU()), (5, 8))


@needs_kernels
@pytest.mark.parametrize("work, candidates", [("forward", ["nnzoo_fast", "packed"]), ("training", ["nnzoo_fast"])])
def test_a_layer_is_timed_against_its_stock_twin(work, candidates):
    rows = list(layers.run(TINY_LAYER, work, FAST, ROOF))
    assert [row.candidate for row in rows] == candidates
    for row in rows:
        assert row.checks == [] and row.peer == "eager" and row.ratio.median > 0
        assert row.flops == 2 * 5 * 8 * 6 * (1 if work == "forward" else 3)


def test_a_layer_that_computes_something_else_gets_no_number(monkeypatch):
    monkeypatch.setattr(layers, "accelerate", lambda module: torch.nn.Sequential(module, torch.nn.Hardtanh(-0.1, 0.1)))
    (row,) = layers.run(TINY_LAYER, "training", FAST, ROOF)
    assert row.checks and row.ratio is None


@pytest.mark.parametrize("place", range(len(graphs.CASES)), ids=[case.id for case in graphs.CASES])
def test_graphs_are_timed_and_checked_against_their_peers(place):
    pytest.importorskip("torch_geometric")
    case = dataclasses.replace(graphs.CASES[place], nodes=300, count=2000)
    (row,) = graphs.run(case, "training" if case.trains else "forward", FAST, ROOF)
    assert not row.checks and not row.failures and row.ratios and row.roof_part


def test_a_wrong_graph_layer_has_no_ratio(monkeypatch):
    """Negative control of the check: one percent off, and the number doesn't count."""
    pytest.importorskip("torch_geometric")
    forward = graphs.ours.SAGEConv.forward
    monkeypatch.setattr(graphs.ours.SAGEConv, "forward", lambda *args: 1.01 * forward(*args))
    case = dataclasses.replace(graphs.CASES[1], nodes=300, count=2000)
    (row,) = graphs.run(case, "forward", FAST, ROOF)
    assert row.checks and row.ratio is None
