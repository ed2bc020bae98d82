"""`nnzoo-fast tune`: what follows from measurements, and a sweep that can stop anywhere."""

import json

import pytest
import torch

from nnzoo_fast import cli, tables, tune
from nnzoo_fast.explain import reached_by
from nnzoo_fast.ops.linear.cpu import kind_of
from nnzoo_fast.spec import Call, Maker, OpSpec, Sample, all_specs
from nnzoo_fast.tune import CONFIRMED, Point, Sweep, doubtful, wins_from


def points(*pairs):
    return [Point(str(number), "a", work, ratio) for number, (work, ratio) in enumerate(pairs)]


def confirmed(*pairs):
    return CONFIRMED * points(*pairs)


@pytest.mark.parametrize(
    "measured, least",
    [
        ([], None),
        ([(10, 0.5), (100, 1.2), (1000, 1.5)], 100),
        ([(10, 1.1), (100, 1.2)], 10),
        ([(10, 1.5), (100, 0.9), (1000, 1.5)], 1000),
        ([(10, 2.0), (100, 2.0), (1000, 0.9)], None),
        ([(100, 0.96), (1000, 1.1)], 100),
        ([(100, 0.96), (1000, 1.01)], 1000),
        ([(100, 0.96), (1000, 0.99)], None),
        ([(100, 1.5), (100, 0.9), (1000, 1.1)], 1000),
        ([(1000, 1.1), (100, 1.1), (10, 0.2)], 100),
    ],
)
def test_a_kernel_wins_from_where_no_larger_call_loses(measured, least):
    assert wins_from(confirmed(*measured)) == least


CLEAN = [(10, 0.5), (20, 0.6), (40, 1.2), (80, 1.3), (160, 1.3), (320, 1.4), (640, 1.5)]


@pytest.mark.parametrize("place", range(len(CLEAN)))
def test_one_noisy_point_spoils_nothing(place):
    """Once what is doubtful was measured again; but where noise agrees with what lies on its other side, nobody can
    tell, and the crossing moves by that one call."""
    clean = points(*CLEAN)
    assert wins_from(clean) == 40 and doubtful(clean) == set()
    work, ratio = CLEAN[place]
    noisy = points(*CLEAN[:place], (work, 0.3 if ratio > 1 else 3.0), *CLEAN[place + 1 :])
    assert (str(place) in doubtful(noisy)) is (work not in (10, 20, 40))
    assert wins_from(measured_again(noisy, clean)) == {20: 20, 40: 80}.get(work, 40)


def measured_again(noisy, clean):
    while again := doubtful(noisy):
        noisy = noisy + [point for point in clean if point.task in again]
    return noisy


@pytest.mark.parametrize("length", [1, 2])
def test_a_burst_of_noise_is_doubtful_too(length):
    clean = points(*CLEAN, (1280, 1.5), (2560, 1.6))
    noisy = points(*CLEAN[:4], *((work, 0.4) for work, _ in CLEAN[4 : 4 + length]), *CLEAN[4 + length :],
                   (1280, 1.5), (2560, 1.6))  # fmt: skip
    assert {"4", "5"} & doubtful(noisy) and wins_from(measured_again(noisy, clean)) == 40


def test_one_thread_is_told_apart_where_every_call_was_timed_on_it():
    sizes = (10, 20, 40, 80)
    several = [Point(f"{work} 4", "a", work, 1.5) for work in sizes]
    one = [Point(f"{work} 1", "a", work, 0.5 if work < 40 else 1.5) for work in sizes]
    assert tune.entries(several + one) == {"wins_from": {"a": 10}, "alone": {"a": 40}}
    assert tune.entries(several + several) == {"wins_from": {"a": 10}, "alone": {}}
    assert tune.entries(one + one) == {"wins_from": {"a": 40}, "alone": {}}, "a machine of one core"
    in_turn = one[:1] + several[1:2] + one[2:3] + several[3:]
    assert tune.entries(in_turn) == {"wins_from": {"a": 20}, "alone": {}}, "together, where each ran on either"
    assert tune.entries(several + CONFIRMED * one[:1]) == {"wins_from": {"a": 20}, "alone": {}}, "an interrupted sweep"


def test_what_was_measured_often_is_believed():
    lone_loss = CONFIRMED * [Point("4", "a", 160, 0.8)]
    clean = points(*CLEAN)
    assert "4" in doubtful(clean[:4] + lone_loss[1:] + clean[5:])
    assert wins_from(clean[:4] + lone_loss + clean[5:]) == 320
    assert "4" not in doubtful(clean[:4] + lone_loss + clean[5:])
    twice_right = [Point("4", "a", 160, 0.3), *2 * [Point("4", "a", 160, 1.3)]]
    assert wins_from(clean[:4] + twice_right + clean[5:]) == 40, "the median of the three"


def test_what_is_doubtful_is_measured_again(small_sweep, monkeypatch, tmp_path):
    """A call of which one measurement is noise ends with the median of three."""
    sizes = (20, 30, 40, 50)
    small_sweep.SWEEP = [small_sweep.sample(rows) for rows in sizes]
    monkeypatch.setattr(
        tune, "tasks", lambda *args, every=tune.tasks: {t.job.case.id: t for t in every(*args)}.values()
    )
    noise = iter([1.5, 0.3, 1.5, 1.5, 1.4, 1.4])
    taken = []

    def measured(task, kind_of, seconds):
        taken.append(str(task))
        return Point(str(task), "a", sizes.index(int(str(task).split()[0])), next(noise))

    monkeypatch.setattr(tune, "measure", measured)
    found = tune.tune([], tmp_path / "table.json", 0.0, lambda *_: None)
    assert len(taken) == len(sizes) + CONFIRMED - 1 and taken[4] == taken[5] == taken[1]
    assert wins_from(found.points["linear"]) == 0


@pytest.fixture
def small_sweep(monkeypatch):
    """Two calls of `linear` in place of the hundreds, without training."""

    def sample(rows):
        return Sample(f"{rows} rows", lambda m: Call((m.normal(rows, 8), m.normal(6, 8))))

    class Linear:
        SWEEP = [sample(20), sample(40)]
        kind_of = staticmethod(kind_of)

    Linear.sample = staticmethod(sample)
    monkeypatch.setattr(tune, "swept", lambda: {"linear": Linear})
    monkeypatch.setattr(tune, "tasks", lambda *args, every=tune.tasks: list(every(*args))[::3])
    return Linear


def test_a_sweep_goes_on_where_it_stopped(small_sweep, monkeypatch, tmp_path):
    path, seen = tmp_path / "deep" / "table.json", []

    def stop_after_two(done, total, label):
        seen.append(label)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune.tune([], path, 0.0, stop_after_two)
    assert len(Sweep.resume(path).points["linear"]) == 2
    rest = []
    found = tune.tune([], path, 0.0, lambda done, total, label: rest.append(label))
    tasks = [point.task for point in found.points["linear"]]
    assert len(tasks) == 2 + len(rest) and all(tasks.count(task) in (1, CONFIRMED) for task in tasks)
    assert rest[0] == seen[2]
    assert tune.tune([], path, 0.0, pytest.fail).points == found.points, "all is there already"
    assert tables.Table.read(path).cpu == tables.Cpu.here()
    threads = torch.get_num_threads()
    monkeypatch.setattr(tune, "_identity", lambda: {"versions": "of another day"})
    assert Sweep.resume(path).points == {}, "points of other versions don't mix"
    assert torch.get_num_threads() == threads


def test_points_take_a_line_each(small_sweep, tmp_path):
    tune.tune([], tmp_path / "table.json", 0.0, lambda *_: None)
    text = (tmp_path / "table.json").read_text()
    data = json.loads(text)["operations"]["linear"]
    assert sum("rows float" in line or "rows bfloat" in line for line in text.splitlines()) == len(data["points"])
    assert set(data["wins_from"]) == {point[1] for point in data["points"]}
    assert list(tmp_path.iterdir()) == [tmp_path / "table.json"]


def test_a_call_that_a_kernel_cannot_run_is_left_out(small_sweep):
    spec = all_specs()["linear"]
    half = OpSpec("linear", spec.function, spec.stock, [], dtypes=(torch.float16,))
    (task, *_) = tune.tasks(half, small_sweep.SWEEP)
    assert tune.measure(task, kind_of, 0.0) is None


RUNS_ON = {"instance_norm": "group_norm"}
"""Functions whose operation has another name."""


@pytest.mark.parametrize("name", sorted(tune.swept()))
def test_calls_of_a_sweep_are_told_apart_and_reach_their_operation(name):
    module = tune.swept()[name]
    assert len({sample.id for sample in module.SWEEP}) == len(module.SWEEP)
    call = module.SWEEP[0].make(Maker())
    operation, values, _ = reached_by(all_specs()[name].function, *call.args, **call.kwargs)
    kind, work = module.kind_of(*values)
    assert (
        operation.name == RUNS_ON.get(name, name)
        and kind.startswith("float32 ")
        and kind.endswith(" training")
        and work > 0
    )


def test_the_command(small_sweep, tmp_path, capsys):
    out = tmp_path / "table.json"
    with pytest.raises(SystemExit) as left:
        cli.main(["tune", "--op", "linear", "--seconds", "0", "--out", str(out)])
    assert left.value.code == 0 and out.exists()
    assert "float32 narrow forward" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message", [(["--op", "liner"], "linear"), (["--out", "/proc/x/t.json"], "can't write")]
)
def test_wrong_use_of_the_command(small_sweep, words, message, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["tune", "--seconds", "0", *words])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
