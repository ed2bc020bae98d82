"""The main job: does every family train the same on nnzoo_fast as on stock torch, and how much faster?

    python -m nnzoo_fast.main_job --out report [--data DIR] [--families MLP GPT]

Each family's model trains twice from the same seed, for three seeds, both sides taking turns step by step. The result
is printed and written to report/index.html and report/report.json. Exit code 0: all equal; 1: some family differs;
2: wrong usage or data; 130: interrupted, and nothing written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import nnzoo_fast
from nnzoo_fast import recipes
from nnzoo_fast.benchmark.timing import quartiles
from nnzoo_fast.interrupt import interrupts_between_steps
from nnzoo_fast.machine import Machine
from nnzoo_fast.page import Cell, Page, replacing, writable_folder
from nnzoo_fast.recipes.twins import FAST, SAME_RTOL, SAME_STEPS, STOCK, Comparison, train_twins

SEEDS = 3
REDRAW_S = 0.1
HEADERS = (
    "family",
    "metric",
    "without learning",
    "stock torch",
    "nnzoo_fast",
    "spread of seeds",
    f"largest deviation, {SAME_STEPS} steps / all",
    "stock ms/step",
    "fast ms/step",
    "speed-up",
    "curves",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the job and returns its exit code."""
    options = _options(arguments)
    try:
        folder = writable_folder(options.out)
        chosen = recipes.all_recipes(options.data, options.families)
    except (OSError, ValueError) as error:
        print(f"main_job: {error}", file=sys.stderr)
        return 2
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    start = time.perf_counter()
    try:
        tuned = nnzoo_fast.tune_allocator()
        comparisons = compare(chosen, options.seeds, options.steps, console)
        console.print(_table(comparisons))
        write(comparisons, folder, tuned, time.perf_counter() - start)
    except KeyboardInterrupt:
        print("main_job: interrupted, nothing written", file=sys.stderr)
        return 130
    for comparison in comparisons:
        for problem in comparison.problems():
            console.print(f"{comparison.recipe.name}: {problem}", style="red", highlight=False)
    console.print(f"{verdict(comparisons)} Wrote {folder / 'index.html'} after {time.perf_counter() - start:.0f} s.")
    return 1 if any(comparison.problems() for comparison in comparisons) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m nnzoo_fast.main_job", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("report"), help="folder for the report (default: report)")
    parser.add_argument("--data", help="folder of real data; default NNZOO_DATA, else what ships in dependencies")
    parser.add_argument(
        "--families", nargs="+", choices=tuple(recipes.FAMILIES), default=tuple(recipes.FAMILIES), metavar="FAMILY",
        help=f"of {', '.join(recipes.FAMILIES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--seeds", type=_positive, default=SEEDS, help=f"pairs per family (default: {SEEDS})")
    parser.add_argument("--steps", type=_positive, help="training steps (default: the recipe's)")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {text}")
    return int(text)


def compare(chosen: dict[str, recipes.Recipe], seeds: int, steps: int | None, console: Console) -> list[Comparison]:
    """Trains every pair under a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    comparisons = []
    # Drawn between steps: a thread of its own would draw in the middle of timed ones.
    progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, auto_refresh=False)
    with progress, interrupts_between_steps() as take_interrupt:
        total = sum(seeds * ((steps or recipe.steps) + precise_steps(recipe, steps)) for recipe in chosen.values())
        task = progress.add_task("", total=total)
        drawn = time.perf_counter()

        def advance() -> None:
            nonlocal drawn
            take_interrupt()
            now = time.perf_counter()
            due = now - drawn >= REDRAW_S
            drawn = now if due else drawn
            progress.update(task, advance=1, refresh=due)

        for name, recipe in chosen.items():
            comparison = Comparison(recipe)
            for seed in range(seeds):
                progress.update(task, description=f"{name}, seed {seed + 1} of {seeds}", refresh=True)
                comparison.runs.append(train_twins(recipe, seed, advance, steps))
                if count := precise_steps(recipe, steps):
                    progress.update(task, description=f"{name} in float64, seed {seed + 1} of {seeds}", refresh=True)
                    pair = train_twins(recipe, seed, advance, count, dtype=torch.float64)
                    comparison.precise.append(pair)
            comparisons.append(comparison)
            outcome = "; ".join(comparison.problems()) or "trains equally"
            console.print(f"{name}: {outcome}, {comparison.speed_up:.2f} times as fast", style="dim", highlight=False)
        take_interrupt()
    return comparisons


def precise_steps(recipe: recipes.Recipe, steps: int | None) -> int:
    """How many steps of a pair run in float64 too, to compare its curves there."""
    return min(SAME_STEPS, steps or recipe.steps) if recipe.precise else 0


def verdict(comparisons: Sequence[Comparison]) -> str:
    """The outcome in one sentence."""
    unequal = [comparison.recipe.name for comparison in comparisons if comparison.problems()]
    speed_ups = ", ".join(f"{comparison.recipe.name} {comparison.speed_up:.2f}" for comparison in comparisons)
    equal = f"NOT equal to stock torch: {', '.join(unequal)}." if unequal else "Every family trains as on stock torch."
    return f"{equal} Speed-up of a training step: {speed_ups}."


def cells(comparison: Comparison) -> list[str]:
    """A row of the table, in the order of `HEADERS`."""
    recipe = comparison.recipe
    speed_up = comparison.speed_up
    return [
        recipe.name,
        recipe.metric,
        f"{recipe.baseline:.3g}",
        f"{comparison.metric(STOCK):.4g}",
        f"{comparison.metric(FAST):.4g}",
        f"{comparison.spread:.2g}",
        f"{comparison.deviation(SAME_STEPS):.0e} / {comparison.deviation():.0e}" + " (float64)" * recipe.precise,
        f"{1e3 * comparison.step_seconds(STOCK):.3g}",
        f"{1e3 * comparison.step_seconds(FAST):.3g}",
        Cell(f"{speed_up:.2f}", "good" if speed_up > 1.02 else "bad" if speed_up < 0.98 else ""),
        Cell("differ", "bad") if comparison.problems() else Cell("agree", "good"),
    ]


def _table(comparisons: Sequence[Comparison]) -> Table:
    table = Table(*HEADERS, box=SIMPLE_HEAD, pad_edge=False)
    colours = {"good": "green", "bad": "red"}
    for comparison in comparisons:
        row = ((cell, colours.get(getattr(cell, "mark", ""))) for cell in cells(comparison))
        table.add_row(*(f"[{colour}]{cell}[/]" if colour else cell for cell, colour in row))
    return table


def write(comparisons: Sequence[Comparison], folder: Path, tuned: bool, seconds: float) -> None:
    """Writes report.json and index.html, each as a whole or not at all."""
    from nnzoo_fast import charts

    machine = Machine.here()
    page = Page("nnzoo_fast against stock torch", verdict(comparisons))
    page.paragraph(f"{machine}; {seconds:.0f} s", note=True)
    page.table(HEADERS, [cells(comparison) for comparison in comparisons])
    page.heading("Loss")
    curves = {
        comparison.recipe.name: {side: comparison.runs[0][side].losses for side in (STOCK, FAST)}
        for comparison in comparisons
    }
    page.figure(charts.svg(charts.loss_curves(curves)), "First seed. The two lines should be one.")
    page.heading("Time of a training step")
    times = {
        comparison.recipe.name: (1e3 * comparison.step_seconds(STOCK), 1e3 * comparison.step_seconds(FAST))
        for comparison in comparisons
    }
    page.figure(charts.svg(charts.step_times(times)), "Median over all steps of all seeds, optimizer included.")
    page.heading("Speed-up")
    page.figure(
        charts.svg(charts.ratios(_speed_ups(comparisons), "speed of a training step relative to stock torch")),
        "Median and quartiles over steps, each against stock torch's step on the same batch.",
    )
    page.heading("How this was measured")
    page.paragraph(
        f"Both sides start from the same weights, see the same batches and take turns step by step. Losses must agree "
        f"to a relative {SAME_RTOL:.0e} over the first {SAME_STEPS} steps, for every seed, which networks "
        f"whose rounding errors grow by themselves show in float64; the final metric's mean "
        f"over {len(comparisons[0].runs)} seeds must differ by no more than the seed alone makes it vary. The C "
        f"library's allocator {'keeps' if tuned else 'does not keep'} freed memory, for both sides."
    )
    described = [comparison.recipe for comparison in comparisons]
    page.table(
        ["family", "data", "without learning"],
        [[recipe.name, recipe.source, f"{recipe.baseline:.3g}: {recipe.baseline_name}"] for recipe in described],
    )
    with replacing(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(_as_data(comparisons, machine, tuned), indent=1) + "\n")
    page.write(folder / "index.html")


def _speed_ups(comparisons: Sequence[Comparison]) -> dict[str, tuple[float, float, float]]:
    """Quartiles, per family, of the ratios of each step's two times."""
    found = {}
    for comparison in comparisons:
        pairs = [zip(pair[STOCK].seconds, pair[FAST].seconds, strict=True) for pair in comparison.runs]
        found[comparison.recipe.name] = quartiles([stock / fast for pair in pairs for stock, fast in pair])
    return found


def _as_data(comparisons: Sequence[Comparison], machine: Machine, tuned: bool) -> dict:
    families = {
        comparison.recipe.name: {
            "data": comparison.recipe.source,
            "metric": comparison.recipe.metric,
            "baseline": comparison.recipe.baseline,
            "metrics": {side: comparison.metrics(side) for side in (STOCK, FAST)},
            "step_seconds": {side: comparison.step_seconds(side) for side in (STOCK, FAST)},
            "speed_up": comparison.speed_up,
            "deviation": comparison.deviation(SAME_STEPS),
            "compared_in": "float64" if comparison.recipe.precise else "float32",
            "deviation_all_steps": comparison.deviation(),
            "problems": comparison.problems(),
            "losses": [{side: pair[side].losses for side in (STOCK, FAST)} for pair in comparison.runs],
        }
        for comparison in comparisons
    }
    return {"machine": machine.as_dict(), "allocator_tuned": tuned, "families": families}


if __name__ == "__main__":
    sys.exit(main())
