"""The checker: planted bugs and their right twins, and counters against closed forms."""

import re
import sys

import checked
import emulator
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
BUGS = [name for name, expected in CASES.items() if expected]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    directory = emulator.shared_folder(tmp_path_factory) / "checked"
    runtime = emulator.runtime_objects(tmp_path_factory)
    with emulator.alone(directory):
        path = directory / "libchecked.so"
        if not path.exists():
            checked.build(directory, runtime, sorted(FOLDER.glob("*.cu")), [FOLDER, FOLDER.parent])
    return checked.Library(path)


@pytest.fixture(params=ORDERS)
def order(request, monkeypatch):
    monkeypatch.setenv("CUEMU_ORDER", request.param)
    monkeypatch.setenv("CUEMU_SPIN_SECONDS", "1")
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
    assert len(BUGS) >= 20
    assert {kind for expected in CASES.values() for kind, _, _ in expected} == set(KINDS)


@pytest.mark.parametrize("name", BUGS)
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


def count(library, function, *args, reads=True):
    """The report of a clean run of an exported function of counters.cu, on an input and an output."""
    library.begin()
    arrays = [library.array("in", np.arange(1024, dtype=np.float32))] if reads else []
    error = library.call(f"count_{function}", *arrays, library.array("out", shape=1024), *args)
    report = library.end()
    assert error is None and report["findings"] == []
    return report


def line(report, access, space, last=False):
    records = [record for record in report["lines"] if (record["access"], record["space"]) == (access, space)]
    assert len(records) == 1 or last
    return records[-1]


@pytest.mark.parametrize("stride", [0, 1, 2, 3, 4, 5, 8, 16, 32])
def test_sectors_of_strided_loads(library, order, stride):
    record = line(count(library, "load_global", stride, 0), "load", "global")
    assert record["requests"] == 1 and record["active_lanes"] == 32 and record["bytes"] == 128
    assert record["sectors_per_request"] == len({lane * stride * 4 // 32 for lane in range(32)})
    assert record["sectors_needed"] == (4 if stride else 1) and record["bank_ways"] is None


@pytest.mark.parametrize("offset", range(9))
def test_sectors_of_shifted_loads(library, offset):
    record = line(count(library, "load_global", 1, offset), "load", "global")
    assert record["sectors_per_request"] == (4 if offset % 8 == 0 else 5) and record["sectors_needed"] == 4


@pytest.mark.parametrize("size, sectors", [(1, 1), (2, 2), (8, 8), (16, 16)])
def test_sectors_of_other_types(library, order, size, sectors):
    report = count(library, "load_global_as", size)
    for access in ("load", "store"):
        record = line(report, access, "global")
        assert (record["requests"], record["bytes"], record["sectors_per_request"]) == (1, 32 * size, sectors)


def test_three_floats_are_three_requests(library):
    record = line(count(library, "load_global_as", 12), "load", "global")
    assert (record["requests"], record["sectors_per_request"], record["sectors_needed"]) == (3, 12, 4)


@pytest.mark.parametrize("stride", [0, 1, 2, 3, 4, 6, 8, 16, 31, 32])
def test_bank_conflicts_of_strided_loads(library, order, stride):
    record = line(count(library, "load_shared", stride, reads=False), "load", "shared")
    assert record["bank_ways"] == (np.gcd(stride, 32) if stride else 1) and record["sectors_per_request"] is None


@pytest.mark.parametrize(
    "size, stride, ways",
    [(2, 1, 1), (2, 2, 1), (2, 4, 2), (8, 1, 1), (8, 2, 2), (8, 4, 4), (8, 3, 1), (16, 1, 1), (16, 2, 2), (16, 3, 1)],
)
def test_bank_conflicts_of_other_types(library, size, stride, ways):
    record = line(count(library, "load_shared_as", size, stride, reads=False), "load", "shared")
    assert record["bank_ways"] == ways and record["bytes"] == 32 * size


@pytest.mark.parametrize("pitch, ways", [(32, 32), (33, 1), (34, 2), (0, 1)])
def test_transpose_through_shared_memory(library, order, pitch, ways):
    report = count(library, "transpose", pitch)
    assert line(report, "store", "shared")["bank_ways"] == 1
    assert line(report, "load", "shared")["bank_ways"] == ways
    for access in ("load", "store"):
        assert line(report, access, "global")["sectors_per_request"] == 4


def test_transpose_in_global_memory(library):
    report = count(library, "transpose", -1)
    assert line(report, "load", "global")["sectors_per_request"] == 4
    assert line(report, "store", "global")["sectors_per_request"] == 32
    (kernel,) = report["kernels"]
    assert kernel["sector_bytes_written"] == 8 * kernel["bytes_written"] == 8 * 4096


def test_bytes_of_a_naive_matmul(library, order):
    n = 32
    library.begin()
    a, b = (library.array(name, np.ones((n, n), np.float32)) for name in "ab")
    c = library.array("c", shape=(n, n))
    assert library.call("count_matmul", a, b, c, n) is None
    report = library.end()
    assert (c == n).all() and report["findings"] == []
    (kernel,) = report["kernels"]
    assert (kernel["bytes_read"], kernel["compulsory_read"]) == (2 * 4 * n**3, 2 * 4 * n**2)
    assert kernel["bytes_written"] == kernel["compulsory_written"] == 4 * n**2
    # Of a, a warp needs one number at a time, which costs a sector; of b, four sectors.
    assert kernel["sector_bytes_read"] == n**3 // 32 * (1 + 4) * 32
    assert kernel["launches"] == 1 and kernel["name"].endswith("matmul")


@pytest.mark.parametrize("threads", [32, 64, 48])
def test_divergence(library, threads):
    report = count(library, "every_second_lane", threads)
    (kernel,) = report["kernels"]
    assert kernel["active_lane_fraction"] == 0.5
    assert kernel["requests"] == kernel["divergent_requests"] == 2 * -(-threads // 32)
    assert count(library, "load_global", 1, 0)["kernels"][0]["divergent_requests"] == 0


@pytest.mark.parametrize("pitch, ways", [(64, 8), (72, 1)])
def test_fragments(library, order, pitch, ways):
    """Half a KB in one request of 16 bytes a lane; rows 128 bytes apart meet in the same banks."""
    report = count(library, "move_fragment", pitch)
    for access in ("load", "store"):
        record = line(report, access, "global")
        assert (record["requests"], record["active_lanes"], record["bytes"]) == (1, 32, 512)
        assert (record["sectors_per_request"], record["sectors_needed"]) == (16, 16)
        record = line(report, access, "shared")
        assert (record["requests"], record["bytes"], record["bank_ways"]) == (1, 512, ways)


def test_atomics_are_stores(library):
    report = count(library, "atomics", reads=False)
    record = line(report, "store", "global", last=True)
    assert (record["requests"], record["atomic_requests"], record["sectors_per_request"]) == (2, 2, 1)
