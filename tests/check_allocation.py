"""Checks that every object on the heap is taken through bridge/allocate.h, which aligns it for its type.

A plain calloc gives 16 bytes; a struct with an _Alignas(64) member in it is then misplaced, and dies of a
signal on the compiler that uses aligned stores. Refused as well: a type that wants more than ALIGNMENT_MOST,
which is all that arenas and allocate.h promise. Exit status 1 and one line per violation.

    python tests/check_allocation.py [FOLDER]     FOLDER defaults to the repository
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bridge", "c_core", "benchmarks", "tests/c")
ALIGNMENT_MOST = 64
CALLS = "malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|valloc|alloca"
HEAP = re.compile(rf"\b({CALLS})\s*\(")
# Declaring or defining one of them (a test that counts heap calls, the heap trap) takes nothing.
DECLARED = re.compile(r"^\s*(?:void|int)\s*\*?\s*\w+\(")
ALIGNED = re.compile(r"(?:_Alignas|__attribute__\s*\(\(\s*(?:__)?aligned(?:__)?)\s*(?:\(\s*([^)]*))?\)")
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", re.S)

MAY_CALL = {
    "bridge/allocate.h": "is the one place",
    "c_core/src/net/pool.c": "is an allocator of bytes for OpenSSL and libcurl",
    "tests/c/test_heap_trap.c": "tests that a heap call is counted",
}


def _code(text: str) -> list[str]:
    """The lines without comments and strings, each still on its own line."""
    return COMMENT.sub(lambda found: "\n" * found.group().count("\n"), text).split("\n")


def violations_in(name: str, text: str) -> list[str]:
    """One sentence for each line of a file that may place an object where it is not aligned."""
    found = []
    for number, line in enumerate(_code(text), 1):
        heap = HEAP.search(line)
        if heap and name not in MAY_CALL and not DECLARED.match(line):
            found.append(f"{name}:{number} calls {heap.group(1)}: use ALLOCATE(type) of bridge/allocate.h")
        for aligned in ALIGNED.finditer(line):
            wanted = aligned.group(1)
            if wanted is None or not wanted.strip().isdigit() or int(wanted) > ALIGNMENT_MOST:
                found.append(f"{name}:{number} aligns by other than a number up to {ALIGNMENT_MOST}")
    return found


def violations(root: Path) -> list[str]:
    """Of all C files below a folder laid out as the repository is."""
    files = sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.[ch]"))
    return [line for file in files for line in violations_in(str(file.relative_to(root)), file.read_text())]


if __name__ == "__main__":
    problems = violations(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
