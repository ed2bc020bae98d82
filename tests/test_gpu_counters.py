"""The comparison with Nsight Compute, by a stand-in for `ncu` that prints its CSV."""

import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ["ID", "Kernel Name"]

STAND_IN = """#!{python}
import sys
sys.path.insert(0, {tests!r})
from test_gpu_counters import listing, load
assert "--csv" in sys.argv and "cuda_tiled" in sys.argv[-1]
print("==PROF== Connected to process 7")
print(listing(load(), {scale}))
"""


def load():
    spec = importlib.util.spec_from_file_location("gpu_counters", ROOT / "bench/gpu_counters.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def listing(tool, scale=1.0):
    """What ncu would print of kernels that load `scale` times the sectors of the table."""
    table = json.loads(tool.TABLE.read_text())
    loads, load_requests, stores, store_requests, conflicts = tool.METRICS
    rows = [["ID", "Kernel Name", *tool.METRICS], ["", "", *["sector"] * 5]]
    for operation, sample, dtype, rung in tool.calls(table):
        rows.append(["1", "spin_kernel(long)", "", "", "", "", ""])
        for kernel, counts in table["operations"][operation][f"{sample}, {dtype}"].items():
            if rung not in counts["rungs"].split(", "):
                continue
            name = "void nnzoo::cuda::<unnamed>::" + kernel.split(" (")[0].replace("true", "(bool)1") + "(int, T *)"
            for _ in range(counts["launches"]):
                numbers = {
                    loads: (counts["load_sectors"] or 0) * 1000 * scale,
                    load_requests: 1000 * (counts["load_sectors"] is not None),
                    stores: (counts["store_sectors"] or 0) * 1000,
                    store_requests: 1000 * (counts["store_sectors"] is not None),
                    conflicts: 0,
                }
                rows.append(["2", name, *(f"{numbers[metric]:,.0f}" for metric in tool.METRICS)])
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows)


def stand_in(folder, monkeypatch, scale):
    path = folder / "ncu"
    path.write_text(STAND_IN.format(python=sys.executable, tests=str(Path(__file__).parent), scale=scale))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


CHECK = types.SimpleNamespace(left=lambda: 60.0)


@pytest.mark.parametrize("scale, differs", [(1.0, False), (1.05, False), (1.5, True)])
def test_sectors_are_compared(tmp_path, monkeypatch, scale, differs):
    stand_in(tmp_path, monkeypatch, scale)
    found = load().nsight(CHECK)
    assert found["failures"] == [] and len(found["rows"]) > 20
    assert bool(found["differ"]) is differs
    assert all("load_sectors" in line for line in found["differ"])


def test_a_kernel_that_did_not_run_is_a_failure():
    tool = load()
    table = json.loads(tool.TABLE.read_text())
    measured = tool.parse(listing(tool))
    measured[0].popitem()
    assert "ran on one side only" in tool.compare(table, measured)["failures"][0]
    assert "calls" in tool.compare(table, measured[1:])["failures"][0]


def test_without_ncu_the_step_says_so(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "not installed" in load().nsight(CHECK)["skipped"]
