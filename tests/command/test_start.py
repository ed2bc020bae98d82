"""The command starts without torch, which it has no use for."""

import subprocess
import sys

import pytest
from strangers import LAUNCH

START = "import sys; sys.modules['torch'] = None; from nnzoo_fast_command import main; main()"


def start(*words):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", START, *words], capture_output=True, text=True)


@pytest.mark.parametrize("mode", ["run", "check"])
def test_no_torch_is_needed(add, mode):
    done = start("cuemu", mode, *LAUNCH.split(), "f.npy", "f.npy", "i32:8", "f32:2", "f64:3", "--save", "after")
    assert (done.returncode, done.stderr) == (0, "") and "wrote" in done.stdout
    missing = start("cuemu", mode, "missing.cu")
    assert missing.returncode == 2 and "missing.cu" in missing.stderr


def test_the_other_commands_need_it():
    done = start("info")
    assert done.returncode == 1 and "torch" in done.stderr


def test_help_names_the_command():
    assert "nnzoo-fast cuemu run" in start("cuemu", "run", "--help").stdout
