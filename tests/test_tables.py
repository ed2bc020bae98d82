"""The tables behind `pays`: which CPU this is, which table it gets, and what follows."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from nnzoo_fast import _compat, _extension, ops, tables, tune
from nnzoo_fast.explain import reached_by
from nnzoo_fast.ops.linear.cpu import kind_of, pays
from nnzoo_fast.spec import Maker, all_specs
from nnzoo_fast.tune import Point

ZEN5 = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n"
GENOA = tables.Cpu("AuthenticAMD", 25, 17, "avx512_bf16")


def table(cpu=GENOA, **wins_from):
    return tables.Table(cpu, wins_from, "made up")


def test_the_cpu_is_read_from_cpuinfo():
    assert tables.Cpu.of(ZEN5, "avx512") == tables.Cpu("AuthenticAMD", 26, 2, "avx512")
    assert tables.Cpu.of("CPU implementer : 0x41\n", None) == tables.Cpu("", 0, 0, None)


def test_the_nearest_model_of_the_family_stands_in():
    raphael, milan = tables.Cpu("AuthenticAMD", 25, 97, "avx512_bf16"), tables.Cpu("AuthenticAMD", 25, 1, "avx2")
    genoa, other = table(), table(tables.Cpu("AuthenticAMD", 25, 116, "avx512_bf16"))
    assert tables.nearest([genoa, other], GENOA) is genoa
    assert tables.nearest([genoa, other], raphael) is other
    assert tables.nearest([genoa], milan) is None, "another instruction set is another machine"
    assert tables.nearest([genoa], tables.Cpu("GenuineIntel", 6, 17, "avx512_bf16")) is None


def test_a_users_table_comes_before_the_shipped_and_a_forced_one_before_both(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert tables.find(GENOA).source.startswith(str(tables.SHIPPED))
    data = {"cpu": GENOA.as_dict(), "operations": {"linear": {"wins_from": {"a": 1}, "points": []}}}
    own = tables.own_folder() / GENOA.file_name
    own.parent.mkdir()
    own.write_text(json.dumps(data))
    assert tables.find(GENOA).wins_from == {"linear": {"a": 1}}
    data["operations"]["linear"]["wins_from"] = {"b": None}
    (tmp_path / "forced.json").write_text(json.dumps(data))
    assert tables.find(GENOA, str(tmp_path / "forced.json")).wins_from == {"linear": {"b": None}}
    assert tables.find(GENOA, "none") is None


BROKEN = [
    b"",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b'{"cpu": {}, "operations": {}}',
    b'{"operations": {"linear": 1}}',
    json.dumps({"cpu": GENOA.as_dict(), "operations": {"linear": {"wins_from": {"a": "1"}}}}).encode(),
]


@pytest.mark.parametrize("content", BROKEN)
def test_a_file_that_is_no_table(content, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tables.own_folder() / GENOA.file_name
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no table of `nnzoo-fast tune`"):
        tables.Table.read(path)
    with pytest.warns(RuntimeWarning, match=f"{path} is no table"):
        assert tables.find(GENOA).source.startswith(str(tables.SHIPPED))


def test_the_environment_variable_is_obeyed_on_import(tmp_path):
    def imported(value):
        program = "from nnzoo_fast import tables; print(tables.TABLE)"
        environment = {**os.environ, "NNZOO_TABLE": value}
        return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)

    assert imported("none").stdout.strip() == "None"
    absent = imported(str(tmp_path / "absent.json"))
    assert absent.returncode != 0 and "absent.json" in absent.stderr


@pytest.mark.parametrize("path", sorted(tables.SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_a_shipped_table_says_what_its_points_say(path):
    found, data = tables.Table.read(path), json.loads(path.read_text())
    assert path.name == found.cpu.file_name
    for name, entry in data["operations"].items():
        assert hasattr(ops, name)
        said = tune.entries(Point(*values) for values in entry["points"])
        assert {**said, **entry} == {**entry, **said}, name


@pytest.mark.parametrize(
    "least, work, rule, expected",
    [
        ({"a": 100}, 99, True, False),
        ({"a": 100}, 100, False, True),
        ({"a": None}, 10**12, True, False),
        ({"b": 0}, 100, True, True),
        ({"b": 0}, 100, False, False),
    ],
)
def test_a_measured_kind_goes_by_the_table_and_any_other_by_the_rule(monkeypatch, least, work, rule, expected):
    monkeypatch.setattr(tables, "TABLE", table(linear=least))
    assert tables.pays("linear", "a", work, (rule, "rule"))[0] is expected
    monkeypatch.setattr(tables, "TABLE", None)
    assert tables.pays("linear", "a", work, (rule, "rule"))[0] is rule


def test_one_thread_may_have_an_entry_of_its_own(monkeypatch, tmp_path, threads):
    entry = {"wins_from": {"a": 100, "b": 100}, "alone": {"a": None}, "points": []}
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"cpu": GENOA.as_dict(), "operations": {"linear": entry}}))
    monkeypatch.setattr(tables, "TABLE", tables.Table.read(path))

    def answers():
        return [tables.pays("linear", kind, 100, (False, "rule"))[0] for kind in ("a", "b", "c")]

    threads(2)
    assert answers() == [True, True, False]
    threads(1)
    assert answers() == [False, True, False]
    path.write_text(path.read_text().replace("null", '"100"'))
    with pytest.raises(ValueError, match="is no table"):
        tables.Table.read(path)


def test_a_call_declined_on_one_thread_is_asked_about_again_on_two(monkeypatch, threads):
    input, weight = torch.randn(3, 64), torch.randn(64, 64)
    kind, _ = kind_of(input, weight, None, "none", None)
    one_loses = tables.Table(GENOA, {"linear": {kind: 0}}, "made up", {"linear": {kind: None}})
    monkeypatch.setattr(tables, "TABLE", one_loses)
    operation = sys.modules["nnzoo_fast.ops.linear"].operation
    operation.declined.keys.clear()
    call = input, weight, None, "none", None
    threads(1)
    ops.linear(input, weight)
    assert operation.goes_to_stock(call)
    threads(2)
    assert not operation.goes_to_stock(call)
    ops.linear(input, weight)
    assert not operation.goes_to_stock(call), "it ran on the kernel"


def test_compiled_code_follows_the_number_of_threads_as_torch_does(monkeypatch, threads):
    """Of a function that asks the table, as often compiled as one that doesn't."""
    kinds = dict.fromkeys(("float32 narrow forward", "float32 wide forward"), 0)
    monkeypatch.setattr(
        tables, "TABLE", tables.Table(GENOA, {"linear": kinds}, "made up", {"linear": dict.fromkeys(kinds)})
    )
    input, weight = torch.randn(20, 24), torch.randn(32, 24)
    graphs = {}
    for function in (ops.linear, torch.nn.functional.linear):
        seen = graphs[function] = []

        def keep(graph, example, seen=seen):
            seen.append("nnzoo_fast" in graph.code)
            return graph.forward

        torch.compiler.reset()
        compiled = torch.compile(function, backend=keep, fullgraph=True)
        for count in (2, 1, 2, 1):
            threads(count)
            torch.testing.assert_close(compiled(input, weight), torch.nn.functional.linear(input, weight))
    assert graphs == {ops.linear: [True, False], torch.nn.functional.linear: [False, False]}


@pytest.mark.parametrize("name", sorted(tune.swept()))
def test_every_swept_operation_obeys_its_table(name, monkeypatch):
    module = tune.swept()[name]
    call = module.SWEEP[0].make(Maker(grad=False))
    operation, values, _ = reached_by(all_specs()[name].function, *call.args, **call.kwargs)
    kind, work = module.kind_of(*values)
    for least, expected in (None, False), (work + 1, False), (work, True):
        monkeypatch.setattr(tables, "TABLE", table(**{name: {kind: least}}))
        assert operation.table[0].pays(*values)[0] is expected
    monkeypatch.setattr(tables, "TABLE", None)
    rule = operation.table[0].pays(*values)
    monkeypatch.setattr(tables, "TABLE", table(**{name: {"another kind": None}}))
    assert operation.table[0].pays(*values) == rule


@pytest.mark.parametrize(
    "rows, features, training, expected",
    [(512, 1024, False, False), (4, 1024, False, True), (4, 64, False, False), (1, 1024, True, False)],
)
def test_linear_without_a_table(monkeypatch, rows, features, training, expected):
    monkeypatch.setattr(tables, "TABLE", None)
    input, weight = torch.zeros(rows, features), torch.zeros(features, features, requires_grad=training)
    assert pays(input, weight, None, "none", None)[0] is expected


@pytest.mark.parametrize(
    "torch_multiplies, ours_multiply, least, expected",
    [(False, False, None, False), (True, False, 0, True), (True, True, 0, False), (True, True, None, True)],
)
def test_where_onednn_keeps_bfloat16(monkeypatch, torch_multiplies, ours_multiply, least, expected):
    monkeypatch.setattr(_compat, "CPU_MULTIPLIES_BF16", torch_multiplies)
    monkeypatch.setattr(_extension, "MULTIPLIES_BF16", ours_multiply)
    monkeypatch.setattr(tables, "TABLE", table(linear={"bfloat16 wide forward": least}))
    assert tables.onednn_keeps_bf16() is expected


def test_the_choice_adds_no_recompilation(monkeypatch):
    """Twenty shapes on both sides of a threshold: stock torch's own two graphs, of fixed and then of free sizes."""
    monkeypatch.setattr(
        tables, "TABLE", table(linear=dict.fromkeys(("float32 narrow forward", "float32 wide forward"), 2**14))
    )
    counter = CompileCounter()
    compiled = torch.compile(ops.linear, backend=counter, fullgraph=True)
    weight = torch.randn(32, 24)
    for rows in range(17, 37):
        input = torch.randn(rows, 24)
        torch.testing.assert_close(compiled(input, weight), torch.nn.functional.linear(input, weight))
    assert counter.frame_count == 2
