"""What is built for any machine of the architecture reads the same market as what is built for this one."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
PORTABLE = ROOT / "build" / "portable"
TRADER = ROOT / os.environ.get("BIN", "bin") / "trader"
DATA = Path(os.environ.get("PURSER_DATA", ROOT.parent / "shared" / "data"))
CAPTURE = DATA / "binance" / "btcusdt_20240808.gz"
PROGRAMS = (
    "test_binance_levels",
    "test_binance_wire",
    "test_order_book",
    "test_ledger_order",
    "test_same_everywhere",
)
V3 = "fpu sse4_2 popcnt movbe xsave avx f16c abm bmi1 avx2 bmi2 fma"
recorded = pytest.mark.skipif(not CAPTURE.exists(), reason="needs recorded market data (PURSER_DATA)")


def run(*command: str | Path, **environment: str) -> str:
    """The program's standard output; it must end with 0."""
    known = {name: value for name, value in os.environ.items() if name not in ("OPT", "PORTABLE")}
    done = subprocess.run(
        command, cwd=ROOT, env=known | environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}; `make portable`?\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_portable_program(program: str) -> None:
    """Decoder, book, ledger and checksum keep their promises without AVX2, SSE4.2 and a signed char."""
    run(PORTABLE / "tests" / program)


@recorded
def test_a_recorded_day_is_read_alike() -> None:
    """Every frame of the capture decodes to the same levels and leaves the same book, bit for bit."""
    fast, portable = (run(build / "tests" / "test_same_everywhere", CAPTURE) for build in (BUILD, PORTABLE))
    assert fast == portable
    assert " 0 refused" in fast


@recorded
def test_a_recorded_day_is_replayed_alike() -> None:
    """Both traders find the same tops of the book in the capture."""
    fast, portable = (
        run(trader, "--replay-check", CAPTURE) for trader in (TRADER, PORTABLE / "bin" / "trader")
    )
    assert fast == portable


@pytest.mark.parametrize(
    ("machine", "processor", "environment", "flags"),
    [
        ("x86_64", V3, {}, "-O2 -march=x86-64-v3"),
        ("x86_64", V3.replace(" avx2", ""), {}, "-O2"),
        ("x86_64", V3.replace(" movbe", ""), {}, "-O2"),
        ("x86_64", V3.replace(" avx ", " "), {}, "-O2"),
        ("x86_64", V3, {"PORTABLE": "1"}, "-O2"),
        ("x86_64", V3, {"OPT": "-O1 -g"}, "-O1 -g"),
        ("aarch64", "fp asimd crc32", {}, "-O2"),
    ],
)
def test_flags_suit_the_machine(
    tmp_path: Path, machine: str, processor: str, environment: dict[str, str], flags: str
) -> None:
    """x86-64-v3 is chosen only where the processor has all of it, and never against a person's word."""
    uname = tmp_path / "uname"
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {processor}\n")
    path = f"{tmp_path}:{os.environ['PATH']}"
    chosen = run(ROOT / "setup" / "compile-flags.sh", PATH=path, CPUINFO=str(cpuinfo), **environment)
    assert chosen.strip() == flags


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is of x86-64")
def test_python_modules_obey_the_same_choice(tmp_path: Path) -> None:
    """Built portable, neither cffi module holds an AVX instruction, so neither dies on an older processor."""
    run(sys.executable, "bridge/build.py", tmp_path, PORTABLE="1")
    run(sys.executable, "c_core/build.py", "--build-dir", PORTABLE, "--output", tmp_path, PORTABLE="1")
    modules = sorted(tmp_path.glob("*.so"))
    assert [module.name.split(".")[0] for module in modules] == ["_bridge", "_engine"]
    for module in modules:
        assert "%ymm" not in run("objdump", "-d", "--no-show-raw-insn", module)
