"""Runs every C test program of tests/c: each states the behaviour of one module."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "c").glob("test_*.c"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_c_program(program: str) -> None:
    """The module's own C test program ends with 0."""
    binary = BUILD / "tests" / program
    assert binary.exists(), f"{binary} is not built: run `make c-tests`"
    done = subprocess.run([binary], cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{program} ended with {done.returncode}\n{done.stdout}{done.stderr}"
