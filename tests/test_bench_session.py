"""A session of benchmarks from end to end: the machine's roofs, files, pages and charts."""

import dataclasses
import json
import math
import os

import pytest
import torch
from built import needs_kernels
from test_bench import FAST, ROOF, TINY, case

from nnzoo_fast import _extension, charts
from nnzoo_fast.benchmark import ops, report, session, timing
from nnzoo_fast.machine import Machine
from nnzoo_fast.page import Cell, Page, replacing, writable_folder


@needs_kernels
def test_a_session_from_end_to_end(tmp_path, monkeypatch):
    bound_by_arithmetic = dataclasses.replace(TINY, bench=[case(1e12, 1)])
    monkeypatch.setattr(session, "all_specs", lambda: {"linear": bound_by_arithmetic})
    seen = []
    found = session.run([], FAST, lambda *step: seen.append(step))
    assert seen[-1][2] == "done" and len(found.rows) == 2
    paths = report.write(found, tmp_path)
    assert sorted(path.name for path in paths) == sorted(path.name for path in tmp_path.iterdir())
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content["rows"][0]["timings"]["eager"]["rounds"] >= 7
    assert content["machine"]["threads"] == torch.get_num_threads() and content["roofs"]["float32"]["flops"] > 1e9
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 2 and page.endswith("</html>\n")
    assert "<script" not in page and "<link" not in page and " src=" not in page, "the page loads something"
    assert (tmp_path / "ratios.png").read_bytes().startswith(b"\x89PNG")


@needs_kernels
def test_an_interrupted_session_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "all_specs", lambda: {"linear": dataclasses.replace(TINY, bench=[case(1e12, 1)])})
    settings = dataclasses.replace(FAST, backends=("torch",))
    partial, measured = tmp_path / "partial.jsonl", []

    def run(job, *rest, original=ops.run):
        measured.append(job.work)
        if measured == ["forward", "training"]:
            raise KeyboardInterrupt
        return original(job, *rest)

    monkeypatch.setattr(ops, "run", run)
    with pytest.raises(KeyboardInterrupt):
        session.run([], settings, lambda *_: None, partial)
    with partial.open("a") as file:
        file.write('{"label": "cut o')
    first, second = session.run([], settings, lambda *_: None, partial).rows
    assert measured == ["forward", "training", "training"]
    assert first.work == "forward" and first.ratio.median > 0 and first.ours.samples and second.work == "training"
    session.run([], dataclasses.replace(settings, seconds=0.01), lambda *_: None, partial)
    assert measured[3:] == ["forward", "training"], "other settings measure anew"


@needs_kernels
def test_the_triad_and_the_peak():
    module = _extension._C
    room = [torch.full((1024 + 16,), value) for value in (0.0, 1.0, 2.0)]
    a, b, c = (tensor.data_ptr() + -tensor.data_ptr() % 64 for tensor in room)
    module.stream_triad(a, b, c, 3.0, 1024, 2)
    assert int((room[0] == 7.0).sum()) == 1024
    with pytest.raises(ValueError, match="aligned"):
        module.stream_triad(a + 4, b, c, 3.0, 16, 1)
    assert module.peak_flops(1000, 0, 2) == 2 * module.peak_flops(1000, 0, 1) > 0


@needs_kernels
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_pinning_is_undone():
    before = os.sched_getaffinity(0)
    with timing.pinned() as worked:
        if worked:
            assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_roof():
    assert ROOF.floor(flops=100e9, bytes=1) == 1 and ROOF.floor(flops=1, bytes=20e9) == 2
    assert ROOF.is_memory_bound(1e9, 1e9) and not ROOF.is_memory_bound(1e12, 1e9)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_file_is_whole_or_not_there(tmp_path, stop):
    target = tmp_path / "index.html"
    target.write_text("old")
    with pytest.raises(stop), replacing(target) as temporary:
        temporary.write_text("half")
        raise stop
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["index.html"]
    with replacing(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new" and os.listdir(tmp_path) == ["index.html"]


def test_a_page_escapes_and_marks(tmp_path):
    page = Page("a < b", "lead & more")
    page.table(["name", "value"], [["<script>", Cell("-1.5", "bad")]])
    page.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "a &lt; b" in text and "&lt;script&gt;" in text and "<script>" not in text
    assert '<td class="number bad">-1.5</td>' in text and "<td>&lt;script" in text
    with pytest.raises(OSError):
        writable_folder(tmp_path / "page.html")


def test_charts_draw_what_they_are_given():
    figure = charts.ratios({"fast": (1.5, 2.0, 2.5), "same": (0.9, 1.0, 1.1), "slow": (0.4, 0.5, 0.6)}, "ratio")
    bars = figure.axes[0].patches
    assert [round(bar.get_x() + bar.get_width(), 6) for bar in bars] == [2.0, 1.0, 0.5]
    colours = [bar.get_facecolor() for bar in bars]
    assert len(set(colours)) == 3, "faster, equal and slower must look different"
    curves = charts.loss_curves({"A": {"stock": [2.0, 1.0], "fast": [2.0, 1.5]}})
    assert [list(line.get_ydata()) for line in curves.axes[0].lines] == [[2.0, 1.0], [2.0, 1.5]]
    assert charts.svg(figure).startswith("<svg")


def test_the_summary_does_not_hide_losses():
    def row(ratio):
        times = timing.Timing(1.0, 1.0, 1.0, 1.0, [1.0])
        found = timing.Ratio(ratio * 0.99, ratio, ratio * 1.001)
        return ops.Row("op", "case", "float32", "forward", "cold", "ours", "cpu", 1, 1, False, [], {"ours": times}, {},
                       "eager", found, 1.0)  # fmt: skip

    text = report.summary(report.Report(Machine.here(), {}, {}, [row(2.0), row(0.5)]))
    assert "1.00 times" in text and "slower in 1" in text
    assert math.isclose(row(2.0).ratio.median, 2.0)
