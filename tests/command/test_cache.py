"""Programs that were built once are kept."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from strangers import ADD, LAUNCH

from nnzoo_fast.cuemu import cache, compiler
from nnzoo_fast.cuemu.errors import CompileError, UsageError


def test_cache_is_private_and_used(add, run, tmp_path, monkeypatch):
    objects = compiler.runtime_objects()
    monkeypatch.setattr(compiler, "_compile_runtime", lambda folder: [shutil.copy(made, folder) for made in objects])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache/nnzoo_fast/cuemu").mkdir(parents=True, mode=0o755)
    commands = []
    original = compiler.run
    monkeypatch.setattr(compiler, "run", lambda *command: commands.append(command) or original(*command))

    def compiled(*more):
        commands.clear()
        assert run("run", *LAUNCH.split(), *"f.npy f.npy i32:8 f32:1 f64:1".split(), *more)[0] == 0
        return sum("c++-cpp-output" in command for command in commands)

    assert compiled() == 1 and compiled() == 0
    assert compiled("-D", "NEW=1") == 0  # the text is the same without the macro
    assert compiled("-D", "i=j") == 1
    Path("add.cu").write_text(ADD + "// at the end\n")
    assert compiled() == 0
    Path("add.cu").write_text("\n" + ADD)
    assert compiled() == 1
    folder = tmp_path / "cache/nnzoo_fast/cuemu"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_cache_entries_are_whole_or_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def slow(folder):
        # While it is being made, another process makes it, too.
        if not made:
            made.append(cache.entry("x", lambda folder: (folder / "f").write_text("other")))
        (folder / "f").write_text("mine")

    def fails(folder):
        (folder / "half").write_text("")
        raise CompileError("no")

    made_late = cache.entry("x", slow)
    assert made_late == made[0] and (made_late / "f").read_text() == "other"
    with pytest.raises(CompileError):
        cache.entry("y", fails)
    assert sorted(path.name for path in cache.folder().iterdir()) == ["x"]
    os.utime(made_late, (0, 0))
    cache.entry("z", lambda folder: None)
    assert sorted(path.name for path in cache.folder().iterdir()) == ["z"]


def test_cache_of_somebody_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "nnzoo_fast").mkdir()
    (tmp_path / "nnzoo_fast/cuemu").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="not a folder of yours"):
        cache.folder()


def test_processes_that_build_at_once(add, tmp_path):
    compiler.runtime_objects()
    command = [sys.executable, "-W", "ignore", "-c", "from nnzoo_fast.cli import main; main()", "cuemu", "run"]
    words = ["add.cu", "--kernel", "fill<3>", "--grid", "1", "--block", "1", "--args", "f.npy"]
    Path("add.cu").write_text(ADD + f"// {tmp_path}\n__device__ int fresh_{os.getpid()};\n")
    environment = {**os.environ, "PYTHONPATH": str(compiler.sources().parent)}
    start = dict(env=environment, stderr=subprocess.PIPE, text=True)
    children = [subprocess.Popen([*command, *words], **start) for _ in range(3)]
    for child in children:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 2 and "takes an array of int32, and this is float32" in err
