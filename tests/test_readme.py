"""The generated tables of README.md say what the code says."""

import importlib.util
import json
import re
from pathlib import Path

import peers
import pytest

from nnzoo_fast import _extension
from nnzoo_fast.benchmark.model_cases import LIBRARIES

ROOT = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("readme", ROOT / "tools" / "readme.py")
readme = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(readme)

needs_every_part = pytest.mark.skipif(
    _extension._C is None or _extension.load("_cuemu") is None or importlib.util.find_spec("triton") is None,
    reason="the table asks the C++ kernels, the emulated CUDA kernels and Triton; this installation lacks one",
)


@needs_every_part
def test_the_tables_are_current():
    assert readme.main(["--check"]) == 0, "run `python tools/readme.py`"


@needs_every_part
def test_a_stale_table_is_noticed(tmp_path, monkeypatch, capsys):
    (tmp_path / "README.md").write_text(
        (ROOT / "README.md").read_text().replace("| `linear` | cpu | yes", "| `linear` | cpu | ")
    )
    for folder in ("bench", "nnzoo_fast"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    assert readme.main(["--check"]) == 1 and "out of date" in capsys.readouterr().err
    assert readme.main([]) == 0
    assert (tmp_path / "README.md").read_text() == (ROOT / "README.md").read_text()
    assert readme.main(["--check"]) == 0


@needs_every_part
def test_a_missing_marker_is_an_error():
    with pytest.raises(ValueError, match="markers"):
        readme.rewritten("no tables here", {"speed": "a table"})


BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_example_of_a_library_runs(library):
    (block,) = (each for each in BLOCKS if re.search(rf"^(import|from) {library}\b", each, re.MULTILINE))
    getattr(peers, library)()
    exec(compile(block, "README.md", "exec"), {})


ROW = {
    "name": "torchvision: net, 2 images", "case": "packed", "work": "forward", "ratio": {"median": 1.5},
    "ratios": {"eager": {"median": 1.5}}, "timings": {"eager": {"median": 0.25}},
}  # fmt: skip


def test_the_table_of_models_shows_the_newest_result(tmp_path, monkeypatch):
    machine = {"cpu": "C", "threads": 2, "versions": {"torch": "2"}, "commit": "c", "date": "2030-01-01T00"}
    content = {"machine": machine, "roofs": {"float32": {"flops": 1e9, "bytes": 1e9}}}
    (tmp_path / "bench/results").mkdir(parents=True)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    assert readme.models_table("torchvision") == readme._NOTHING
    for day, ratio in (("01", 3.0), ("02", 1.5)):
        rows = [ROW | {"ratios": {"eager": {"median": ratio}}}, ROW | {"case": "nnzoo_fast", "ratio": None}]
        path = tmp_path / f"bench/results/2030-01-{day}-models.json"
        path.write_text(json.dumps(content | {"rows": rows}))
    table = readme.models_table("torchvision")
    assert "| net, 2 images | 250 ms |  | 1.50 |  |  |" in table, "a time whose checks failed isn't shown"
    assert readme.models_table("transformers") == readme._NOTHING and readme.newest_rows() == []
