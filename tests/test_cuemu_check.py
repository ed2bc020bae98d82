"""The checker: planted bugs and their right twins, and counters against closed forms."""

import re
import sys

import checked
import numpy as np
import pytest

FOLDER = checked.ROOT / "tests/cuemu/check"
MARK = r"// ((?:{})(?:, \w+)*)$"
KINDS = "race out_of_bounds uninitialized misaligned deadlock missing_wait exited_lane".split()
ORDERS = ("forward", "reverse", "random:3")
pytestmark = pytest.mark.skipif(
    checked.CXX is None or not sys.platform.startswith("linux"), reason="needs a C++ compiler on Linux"
)


def read_cases():
    """Every case's expected findings: {name: {(kind, file, line)}}, from the marks in the sources."""
    cases = {}
    for path in sorted(FOLDER.glob("*.cu")):
        expected = set()
        for number, text in enumerate(path.read_text().splitlines(), 1):
            mark = re.search(MARK.format("|".join(KINDS)), text)
            if mark:
                expected |= {(kind, path.name, number) for kind in mark[1].split(", ")}
            case = re.match(r"CASE\((\w+)", text) or re.match(r'.*Case \w+\("(\w+)"', text)
            if case:
                cases[case[1]], expected = expected, set()
    return cases


CASES = read_cases()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    directory = tmp_path_factory.mktemp("checked")
    return checked.Library(checked.build(directory, sorted(FOLDER.glob("*.cu")), [FOLDER, FOLDER.parent]))


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", request.param)
    return request.param


def run_case(library, name, right):
    library.begin()
    values = library.array("in", np.arange(1, 1025, dtype=np.float32))
    out = library.array("out", shape=1024)
    error = library.call("run_case", name.encode(), int(right), values, out)
    report = library.end()
    assert error is None, error
    return report


def places(report):
    """The lines of all findings, and for races of both accesses: which one comes later is up to the schedule."""
    found = set()
    for finding in report["findings"]:
        lines = [finding, finding["other"]] if finding["kind"] == "race" else [finding]
        found |= {(finding["kind"], line["file"].rpartition("/")[2], line["line"]) for line in lines}
    return found


def test_every_kind_is_planted():
    assert len(CASES) >= 20
    assert {kind for expected in CASES.values() for kind, _, _ in expected} == set(KINDS)
    assert all(CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_bug_is_found(library, order, name):
    report = run_case(library, name, right=False)
    found = places(report)
    assert found and found <= CASES[name], report["findings"]
    for finding in report["findings"]:
        assert name in finding["kernel"] and finding["count"] > 0 and finding["message"]


@pytest.mark.parametrize("name", CASES)
def test_right_twin_has_no_finding(library, order, name):
    report = run_case(library, name, right=True)
    assert report["findings"] == [] and report["lines"] and report["kernels"]
