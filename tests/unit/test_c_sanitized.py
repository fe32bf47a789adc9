"""Runs the C test programs built to stop at undefined behaviour and at any misaligned access."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted(path.stem for path in (ROOT / "tests" / "c").glob("test_*.c"))
ENVIRONMENT = os.environ | {
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "PURSER_TEST_WITHOUT": "ptrace",  # 30 s of single steps that the plain build takes already
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_sanitized(program: str) -> None:
    """The module does nothing that C leaves undefined, and places every object where its type may lie."""
    binary = ROOT / "build" / "sanitized" / "tests" / program
    assert binary.exists(), f"{binary} is not built: run `make sanitized`"
    done = subprocess.run([binary], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, f"{program} ended with {done.returncode}\n{done.stdout}{done.stderr}"


def check(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """The check of a source tree that holds one file with this line."""
    file = folder / "c_core" / "src" / "planted.c"
    file.parent.mkdir(parents=True)
    file.write_text(f"/* why */\n{line}\n")
    command = [sys.executable, ROOT / "tests" / "check_allocation.py", folder]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "line",
    [
        "    struct engine *engine = calloc(1, sizeof *engine);",
        "    struct ring *ring = malloc(sizeof(struct ring));",
        "    if ((*out = realloc (*out, n)) == NULL)",
        "    _Alignas(128) uint64_t head;",
        "    uint64_t head __attribute__((aligned(128)));",
        "    uint64_t head __attribute__((aligned));",
    ],
)
def test_a_misplaced_object_is_refused(tmp_path: Path, line: str) -> None:
    """A heap call beside allocate.h, or a type that wants more than a cache line, does not pass the check."""
    done = check(tmp_path, line)
    assert done.returncode == 1 and done.stdout.startswith("c_core/src/planted.c:2 ")


@pytest.mark.parametrize(
    "line",
    [
        "    struct engine *engine = ALLOCATE(struct engine);",
        "    _Alignas(64) _Atomic uint64_t head;",
        "static unsigned char stack[64] __attribute__((aligned(16)));",
        "void *malloc(size_t size)",
        "    return __libc_malloc(size);",
        "    /* calloc (1, 2) gives 16 bytes */",
        '    puts("calloc(1, 2)");',
    ],
)
def test_a_well_placed_object_passes(tmp_path: Path, line: str) -> None:
    """The one way to allocate, a cache line, and words about calloc are no violations."""
    done = check(tmp_path, line)
    assert (done.returncode, done.stdout) == (0, "")
