"""The generated tables of README.md say what the code says."""

import importlib.util
from pathlib import Path

import pytest

from nnzoo_fast import _extension

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
