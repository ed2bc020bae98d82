"""The command line: what it prints, and what it says of wrong input."""

import dataclasses
import json
import subprocess
import sys

import pytest
from built import needs_kernels

from nnzoo_fast import _extension, backends, cli, verify
from nnzoo_fast.spec import all_specs


@pytest.fixture
def run(capsys):
    """Runs the command line; returns exit code, standard output and standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as leaving:
            cli.main(list(arguments))
        captured = capsys.readouterr()
        return leaving.value.code or 0, captured.out, captured.err

    return run


def test_info(run):
    code, out, _ = run("info")
    assert code == 0
    for word in ("CPU", "instruction sets", "torch", "nnzoo_fast._C", "linear", "float32"):
        assert word in out


def test_info_as_json(run):
    code, out, _ = run("info", "--json")
    facts = json.loads(out)
    assert code == 0 and set(facts["operations"]) == set(all_specs())
    assert facts["operations"]["linear"]["float32"]["backend"] in ("cpu", "cuda", "triton", "torch")


def test_info_without_kernels(run, monkeypatch):
    monkeypatch.setattr(_extension, "_C", None)
    code, out, _ = run("info", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["build"] is None
    assert {row["backend"] for dtypes in facts["operations"].values() for row in dtypes.values()} == {"torch"}


def test_importing_the_library_loads_no_tool():
    check = (
        "import sys, torch; before = set(sys.modules); import nnzoo_fast; new = set(sys.modules) - before;"
        "print(sorted({'typer', 'rich', 'matplotlib', 'sklearn', 'networkx'} & new))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_info_needs_no_matplotlib():
    check = "import sys; sys.modules['matplotlib'] = None; from nnzoo_fast.cli import main; main(['info'])"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", check], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["verify", "--op", "lnear"], "no operation 'lnear'; did you mean linear?"),
        (["verify", "--op", "xyzzy"], "no operation 'xyzzy'; there are "),
        (["verify", "--backend", "cpuu"], "no backend 'cpuu'; did you mean cpu"),
        (["bench", "lineer"], "no operation 'lineer'; did you mean linear?"),
        (["bench", "linear", "--backend", "tritn"], "no backend 'tritn'; did you mean triton?"),
        (["bench", "linear", "--device", "gpu"], "device 'gpu': this machine has cpu"),
        (["bench", "linear", "--out", "/dev/null/report"], "--out: can't write to /dev/null/report: Not a directory"),
    ],
)
@needs_kernels
def test_wrong_input_is_one_line(run, arguments, message):
    code, out, err = run(*arguments)
    assert code == 2 and out == ""
    assert err.startswith(f"nnzoo-fast: {message}") and err.count("\n") == 1


def test_an_unknown_option(run):
    code, _, err = run("bench", "--frobnicate")
    assert code == 2 and "frobnicate" in err


def small_specs():
    linear = all_specs()["linear"]
    return {"linear": dataclasses.replace(linear, samples=linear.samples[:2])}


@needs_kernels
def test_verify(run, monkeypatch):
    monkeypatch.setattr(verify, "all_specs", small_specs)
    code, out, err = run("verify", "--op", "linear", "--backend", "cpu", "--json")
    rows = json.loads(out)
    assert code == 0 and "checks passed" in err
    assert {row["target"] for row in rows} >= {f"cpu ({isa})" for isa in _extension._C.isas()}
    code, out, _ = run("verify", "--op", "linear", "--backend", "torch")
    assert code == 0 and "refused" in out and "2 of 2 checks passed" in out


def one_percent_off(*args):
    """`linear` with kernels that are wrong, and a right reference."""
    factor = 1.0 if backends.requested("linear") == "reference" else 1.01
    return all_specs()["linear"].function(*args) * factor


@needs_kernels
def test_verify_fails_with_a_wrong_kernel(run, monkeypatch):
    spec = dataclasses.replace(small_specs()["linear"], function=one_percent_off)
    monkeypatch.setattr(verify, "all_specs", lambda: {"linear": spec})
    code, out, _ = run("verify", "--op", "linear", "--backend", "cpu")
    assert code == 1 and "FAILED" in out and "times the allowed error" in out


def test_zoo(run):
    code, out, _ = run("zoo", "--json")
    found = {row["model"]: row for row in json.loads(out)}
    assert code == 0 and found["resnet50"]["parameters"] == 25_557_032
    measured = [row for row in found.values() if row["equality"]]
    assert len(measured) > 10 and all(row["equality"]["parameters"] == row["parameters"] for row in measured)
    out = run("zoo")[1]
    assert "resnet50" in out and "measured equality" in out
    assert out.count("not measured") == len(found) - len(measured)


@needs_kernels
def test_zoo_measures(run, tmp_path):
    code, out, _ = run("zoo", "lenet", "--measure", "--json", "--out", str(tmp_path / "rows.json"))
    (row,) = json.loads(out)
    assert code == 0 and row["equal"] and row["model"] == "lenet"
    assert json.loads((tmp_path / "rows.json").read_text()) == [row]
    code, _, err = run("zoo", "--out", "rows.json")
    assert code == 2 and "--out is where --measure writes to" in err


@pytest.mark.parametrize("text", ["# Notes", "{}", "[1]", '[{"name": 1}]'])
def test_zoo_spares_the_files_of_others(run, tmp_path, monkeypatch, text):
    monkeypatch.setattr("nnzoo_fast.models.equality.measure", lambda name: pytest.fail("too late"))
    (tmp_path / "notes").write_text(text)
    code, _, err = run("zoo", "lenet", "--measure", "--out", str(tmp_path / "notes"))
    assert code == 2 and "notes holds other things than figures" in err and (tmp_path / "notes").read_text() == text
    code, _, err = run("zoo", "lenet", "--measure", "--out", str(tmp_path / "no" / "rows.json"))
    assert code == 2 and "rows.json: No such file or directory" in err


@needs_kernels
def test_zoo_without_a_peer(run, monkeypatch):
    monkeypatch.setattr("nnzoo_fast.models.peers.PEERS", {})
    code, out, err = run("zoo", "lenet", "--measure", "--json")
    assert code == 1 and json.loads(out) == [] and "lenet: not measured: no peer of lenet is known here" in err


def test_zoo_of_one_model(run):
    code, out, _ = run("zoo", "lenet", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0 and sum(row["parameters"] for row in rows.values()) == 61_706
    first = rows["features.0"]
    assert first["output"] == [1, 6, 28, 28] and first["flops"] == 2 * 28 * 28 * 6 * 25
    assert {row["runs_on"] for row in rows.values()} <= {"cpu", "torch"}
    assert "1x6x28x28" in run("zoo", "lenet")[1]
    for wrong, hint in {"lenex": "did you mean lenet", "": "there are alexnet"}.items():
        code, _, err = run("zoo", wrong)
        assert code == 2 and f"no model {wrong!r}; {hint}" in err
