"""Where the command `nnzoo-fast` begins.

The package imports torch, which takes longer than most kernels that are run on the emulator. That is all plain Python
and numpy, so for `nnzoo-fast cuemu` the package is found without being run.
"""

import importlib.util
import sys


def main() -> None:
    """Runs the command line and exits: 0 all well, 1 a check failed or a finding, 2 wrong usage."""
    if sys.argv[1:2] == ["cuemu"]:
        sys.modules["nnzoo_fast"] = importlib.util.module_from_spec(importlib.util.find_spec("nnzoo_fast"))
        from nnzoo_fast.cuemu.command import app

        app(sys.argv[2:], prog_name="nnzoo-fast cuemu")
    else:
        from nnzoo_fast.cli import main as run

        run()


if __name__ == "__main__":
    main()
