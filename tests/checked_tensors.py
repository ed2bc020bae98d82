"""The project's own CUDA kernels in check mode, built for the tests."""

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import emulator

from build_support.ninja_file import NinjaFile
from build_support.settings import Settings
from build_support.toolchain import find_cxx
from nnzoo_fast.cuemu.operations import MODULE

ROOT = Path(__file__).resolve().parent.parent


def build():
    """The module of the emulated kernels in check mode; what is up to date is not built again."""
    settings = dataclasses.replace(Settings.from_environment(), werror=True)
    folder = Path("build", "checked")
    ninja = NinjaFile(ROOT, folder, settings, find_cxx(settings.cxx))
    with emulator.alone(ROOT / folder):
        command = [sys.executable, "-m", "ninja", "-f", str(ninja.write([MODULE])), "-j", str(settings.jobs or 2)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    spec = importlib.util.spec_from_file_location(MODULE, ROOT / ninja.module_path(MODULE))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
