"""Builds the compiled parts with ninja; everything else stands in pyproject.toml."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent))  # a PEP 517 front end does not put it there

from build_support.command import BuildPython, NinjaBuild, extensions

setup(ext_modules=extensions(), cmdclass={"build_ext": NinjaBuild, "build_py": BuildPython})
