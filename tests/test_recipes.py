"""Recipes train, twins are compared honestly, and the main job says so and leaves whole files."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import nnzoo_fast
from nnzoo_fast import main_job, recipes
from nnzoo_fast.page import Page
from nnzoo_fast.recipes import registry, text, twins
from nnzoo_fast.recipes.twins import FAST, STOCK, Comparison, Run


@pytest.fixture(autouse=True)
def _data_that_ships(monkeypatch):
    monkeypatch.delenv("NNZOO_DATA", raising=False)


@pytest.fixture(scope="module")
def small():
    """Every recipe, its data loaded once."""
    before = os.environ.pop("NNZOO_DATA", None)
    yield recipes.all_recipes()
    if before is not None:
        os.environ["NNZOO_DATA"] = before


@pytest.mark.parametrize("family", recipes.FAMILIES)
def test_the_loss_falls(family, small):
    recipe = small[family]
    torch.manual_seed(0)
    losses = recipes.train(recipe, recipe.model(), steps=12)
    assert min(losses[6:]) < losses[0]
    assert recipe.baseline_name and recipe.source


def test_a_seed_gives_one_training(small):
    def losses():
        torch.manual_seed(3)
        return recipes.train(small["LeNet"], small["LeNet"].model(), seed=3, steps=4)

    assert losses() == losses()


def test_the_unigram_baseline():
    """Two symbols, equally frequent: one bit each."""
    data = nnzoo_fast.recipes.text.Text(torch.tensor([0, 1] * 50), torch.tensor([0, 1, 1, 0]), "ab", "made up")
    assert text.unigram_bits(data) == pytest.approx(1.0)


def test_twins_agree(small):
    comparison = Comparison(small["LeNet"])
    for seed in range(2):
        comparison.runs.append(twins.train_twins(small["LeNet"], seed, lambda: None, steps=6))
    assert comparison.problems() == []
    assert comparison.deviation() < twins.SAME_RTOL
    assert comparison.speed_up > 0 and len(comparison.runs[0][STOCK].losses) == 6


@pytest.mark.parametrize("family", recipes.FAMILIES)
def test_the_stock_twin_is_stock(family, small):
    """The yardstick must not run on our kernels: no drop-in is left, and what remains asks for stock operators."""
    pair = twins.twins_of(small[family], seed=0)
    drop_ins = set(nnzoo_fast.nn.drop_in.DROP_INS.values())
    kinds = {side: {type(module) for module in trainer.model.modules()} for side, trainer in pair.items()}
    assert not kinds[STOCK] & drop_ins and pair[STOCK].backend == "torch" and pair[FAST].backend is None
    values = [list(trainer.model.state_dict().values()) for trainer in pair.values()]
    assert all(torch.equal(one, other) for one, other in zip(*values, strict=True))


def wrong_by_one_percent(model):
    """What a wrong kernel looks like from outside: every layer's output is one percent off."""
    for layer in model.modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)):
            layer.register_forward_hook(lambda layer, inputs, output: 1.01 * output)
    return model


def test_a_model_one_percent_off_is_noticed(small):
    comparison = Comparison(small["MLP"])
    comparison.runs.append(twins.train_twins(small["MLP"], 0, lambda: None, steps=6, change=wrong_by_one_percent))
    assert "losses differ by" in comparison.problems()[0]


def test_a_precise_recipe_is_compared_in_float64(small):
    """In float64 two right trainings of a ResNet stay together, where rounding would part them in float32."""
    recipe = dataclasses.replace(small["ResNet"], steps=4)
    assert recipe.precise
    right, wrong = Comparison(recipe), Comparison(recipe)
    for comparison, change in ((right, None), (wrong, wrong_by_one_percent)):
        comparison.runs.append({side: Run([2.0], [1.0], 0.5) for side in (STOCK, FAST)})
        comparison.precise.append(twins.train_twins(recipe, 0, lambda: None, 4, change, torch.float64))
    assert right.deviation() < 1e-9 and right.problems() == []
    assert "losses differ by" in wrong.problems()[0]
    assert Comparison(recipe, right.runs).problems(), "nothing was compared in float64"


def made_up(recipe, metrics, losses=(1.0,)):
    """Pairs with these (stock, fast) metrics."""
    pairs = [
        {STOCK: Run([1.0] * len(losses), [1.0], stock), FAST: Run(list(losses), [0.5], fast)} for stock, fast in metrics
    ]
    return Comparison(recipe, pairs)


def test_final_metrics_must_lie_within_the_spread_of_seeds(small):
    recipe = dataclasses.replace(small["MLP"], resolution=1e-3)
    assert made_up(recipe, [(0.90, 0.91), (0.92, 0.92), (0.94, 0.92)]).problems() == []
    apart = made_up(recipe, [(0.90, 0.85), (0.92, 0.87), (0.94, 0.89)])
    assert apart.spread == pytest.approx(0.04) and "final accuracy differs by 0.05" in apart.problems()[0]
    assert made_up(recipe, [(0.9, float("nan"))]).problems()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.002])
def test_losses_that_part_are_noticed(bad, small):
    assert made_up(small["MLP"], [(0.9, 0.9)], [1.0, bad]).problems()
    late = made_up(small["MLP"], [(0.9, 0.9)], [1.0] * twins.SAME_STEPS + [1.002])
    assert late.problems() == [] and late.deviation() == pytest.approx(2e-3)


def run_job(tmp_path, *more):
    return main_job.main(
        ["--out", str(tmp_path / "report"), "--families", "LeNet", "--seeds", "2", "--steps", "4", *more]
    )


def test_the_main_job(tmp_path, capsys):
    assert run_job(tmp_path) == 0
    assert sorted(os.listdir(tmp_path / "report")) == ["index.html", "report.json"]
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["families"]["LeNet"]["problems"] == [] and len(content["families"]["LeNet"]["losses"]) == 2
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("<svg") == 3 and "agree" in page
    assert "<script" not in page and "<link" not in page and " src=" not in page, "the page loads something"
    assert "Every family trains as on stock torch" in capsys.readouterr().out


def test_the_main_job_fails_when_curves_part(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        main_job,
        "train_twins",
        lambda recipe, seed, advance, steps: twins.train_twins(recipe, seed, advance, steps, wrong_by_one_percent),
    )
    assert run_job(tmp_path, "--families", "MLP", "--steps", "8") == 1
    assert "NOT equal to stock torch: MLP" in (tmp_path / "report" / "index.html").read_text()
    assert "MLP: losses differ by" in capsys.readouterr().out


def test_wrong_data_and_folders_are_one_line(tmp_path, capsys):
    assert run_job(tmp_path, "--data", str(tmp_path / "nowhere")) == 2
    (tmp_path / "file").write_text("")
    assert main_job.main(["--out", str(tmp_path / "file")]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and "nowhere" in lines[0] and "file" in lines[1]
    with pytest.raises(SystemExit) as leaving:
        run_job(tmp_path, "--families", "LeNot")
    assert leaving.value.code == 2 and "LeNet" in capsys.readouterr().err


def test_ctrl_c_while_training_writes_nothing(tmp_path):
    command = [sys.executable, "-m", "nnzoo_fast.main_job", "--out", str(tmp_path / "report"), "--families", "LeNet"]
    # A terminal's width, so that the progress bar shows when training has begun.
    environment = {**os.environ, "FORCE_COLOR": "1", "TTY_INTERACTIVE": "1", "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(
        [*command, "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # A suite that was itself started in the background passes on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        shown = b""
        while b"LeNet, seed 1" not in shown:
            shown += os.read(job.stdout.fileno(), 4096) or pytest.fail(f"no progress bar in {shown!r}")
        time.sleep(0.5)
        job.send_signal(signal.SIGINT)
        _, errors = job.communicate(timeout=60)
    finally:
        job.kill()
    assert b"nothing written" in errors and job.returncode == 130, errors
    assert os.listdir(tmp_path / "report") == []


def test_ctrl_c_while_writing_leaves_no_half_written_file(tmp_path, monkeypatch):
    def interrupted(page, path):
        with main_job.replacing(path) as temporary:
            temporary.write_text("<!doctype html><html>")
            raise KeyboardInterrupt

    monkeypatch.setattr(Page, "write", interrupted)
    assert run_job(tmp_path) == 130
    assert os.listdir(tmp_path / "report") == ["report.json"]
    json.loads((tmp_path / "report" / "report.json").read_text())


def test_the_verdict_counts_a_slow_down(small):
    text = main_job.verdict([made_up(small["MLP"], [(0.9, 0.9)])])
    assert "MLP 2.00" in text and "Every family" in text


def test_every_family_is_registered_under_its_name(small):
    assert list(small) == list(registry.FAMILIES)
    assert all(recipe.name == name for name, recipe in small.items())
