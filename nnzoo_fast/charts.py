"""The pictures of the reports, drawn with matplotlib (the extra `bench`)."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from nnzoo_fast.machine import Roof
from nnzoo_fast.page import replacing

STOCK, OURS, SLOWER, OTHERS = "#8a97a6", "#0b7285", "#b23a48", ("#c9741a", "#7b4fa3", "#2e7d32")
INK, FAINT = "#1d2733", "#c9d1da"
WIDTH = 10.0  # inches


def svg(figure: Figure) -> str:
    """The figure as an <svg> element. Text becomes outlines, so that it looks alike everywhere."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", stream.getvalue(), count=1, flags=re.DOTALL)


def save_png(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=144, bbox_inches="tight")


def loss_curves(families: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """One panel per family: its loss by step, stock torch as a thick line, nnzoo_fast as a thin one upon it."""
    columns = min(3, len(families))
    rows = math.ceil(len(families) / columns)
    figure = Figure(figsize=(WIDTH, 2.6 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (family, curves) in zip(panels, families.items(), strict=False):
        steps = range(1, len(curves["stock"]) + 1)
        panel.plot(steps, curves["stock"], color=FAINT, linewidth=5, label="stock torch", solid_capstyle="round")
        panel.plot(steps, curves["fast"], color=OURS, linewidth=1.1, label="nnzoo_fast")
        panel.set_title(family, loc="left", fontsize=11, color=INK)
        panel.set_ylim(bottom=0)
        _tidy(panel)
    for panel in panels[len(families) :]:
        panel.set_visible(False)
    panels[0].legend(frameon=False, fontsize=9)
    figure.supxlabel("training step", fontsize=9, color=INK)
    figure.supylabel("loss", fontsize=9, color=INK)
    return figure


def ratios(values: Mapping[str, tuple[float, float, float]], axis: str) -> Figure:
    """A bar from 1 to each ratio (low, median, high), on a logarithmic axis; grey where the quartiles lie about 1."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(values)), layout="constrained")
    panel = figure.subplots()
    for place, (low, middle, high) in enumerate(values.values()):
        panel.barh(place, middle - 1, left=1, height=0.62, color=OURS if low > 1 else SLOWER if high < 1 else STOCK)
        panel.plot([low, high], [place, place], color=INK, linewidth=1)
        if middle >= 1:
            _note(panel, f"{middle:.2f}", max(high, 1), place)
        else:
            _note(panel, f"{middle:.2f}", min(low, 1), place, side="right")
    panel.set_yticks(range(len(values)), list(values), fontsize=9)
    panel.invert_yaxis()
    panel.set_xscale("log")
    ends = [end for triple in values.values() for end in triple]
    panel.set_xlim(min(0.8, min(ends, default=1) / 1.3), max(1.25, max(ends, default=1) * 1.3))
    _ratio_ticks(panel)
    panel.axvline(1, color=INK, linewidth=0.8)
    panel.set_xlabel(axis, fontsize=9, color=INK)
    _tidy(panel)
    panel.tick_params(axis="y", length=0)
    return figure


def step_times(families: Mapping[str, tuple[float, float]]) -> Figure:
    """Two bars per family: milliseconds per training step of stock torch and of nnzoo_fast."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.55 * len(families)), layout="constrained")
    panel = figure.subplots()
    for place, (stock, fast) in enumerate(families.values()):
        for offset, value, colour, label in ((-0.2, stock, STOCK, "stock torch"), (0.2, fast, OURS, "nnzoo_fast")):
            panel.barh(place + offset, value, height=0.36, color=colour, label=label if place == 0 else None)
            _note(panel, f"{value:.3g}", value, place + offset)
    panel.set_yticks(range(len(families)), list(families), fontsize=9)
    panel.invert_yaxis()
    panel.set_xlim(0, 1.1 * max(max(pair) for pair in families.values()))
    panel.set_xlabel("milliseconds per training step (median)", fontsize=9, color=INK)
    panel.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    _tidy(panel)
    panel.tick_params(axis="y", length=0)
    return figure


def roofline(roof: Roof, points: Mapping[str, Sequence[tuple[str, float, float]]]) -> Figure:
    """Work per byte against speed under the machine's roofs; each series is a list of (label, FLOP/byte, FLOP/s)."""
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    panel = figure.subplots()
    intensities = [point[1] for series in points.values() for point in series]
    ridge = roof.flops / roof.bytes
    low, high = min([ridge / 4, *intensities]) / 2, max([ridge * 4, *intensities]) * 2
    heights = [low * roof.bytes / 1e9, roof.flops / 1e9, roof.flops / 1e9]
    panel.plot([low, ridge, high], heights, color=INK, linewidth=1.2)
    _note(panel, f"{roof.flops / 1e9:.0f} GFLOP/s", high, roof.flops / 1e9, rise=8, side="right")
    middle = (low * ridge) ** 0.5
    _note(panel, f"{roof.bytes / 1e9:.0f} GB/s", middle, middle * roof.bytes / 1e9, rise=12, side="right")
    for (name, series), colour, marker in zip(points.items(), (STOCK, OURS, *OTHERS), "so^Dv", strict=False):
        work, speed = [point[1] for point in series], [point[2] / 1e9 for point in series]
        panel.scatter(work, speed, s=34, color=colour, marker=marker, label=name, zorder=3, alpha=0.85, linewidths=0)
    panel.set(xscale="log", yscale="log", xlim=(low, high))
    for side in (panel.xaxis, panel.yaxis):
        side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_xlabel("FLOP per byte of compulsory traffic", fontsize=9, color=INK)
    panel.set_ylabel("GFLOP/s", fontsize=9, color=INK)
    panel.legend(frameon=False, fontsize=9, loc="lower right")
    _tidy(panel)
    return figure


def _note(panel, text: str, x: float, y: float, rise: float = 0, side: str = "left") -> None:
    """`text` beside a point, its `side` towards the point."""
    shift = (4 if side == "left" else -4, rise)
    panel.annotate(text, (x, y), shift, textcoords="offset points", va="center", ha=side, fontsize=9, color=INK)


def _ratio_ticks(panel) -> None:
    low, high = panel.get_xlim()
    fine, coarse = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.4, 1.6, 2), (0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20, 30, 50, 100)
    ticks = [tick for tick in (fine if high < 3 * low else coarse) if low <= tick <= high]
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))


def _tidy(panel) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
    panel.tick_params(colors=INK, labelsize=9)
    panel.set_axisbelow(True)
