"""Checks which folder of c_core/src includes which: data flows one way, and the tree shows it.

    base -> model -> {net, book} -> {pnl, risk, oms} -> connectors -> engine -> files in src/

Connectors know neither risk nor oms (they speak through model/venue.h) nor each other; bridge
includes nothing of ours but itself. Exit status 1 and one line per violation.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "c_core" / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)

EARLIER = {
    "base": set(),
    "model": {"base"},
    "net": {"base", "model"},
    "book": {"base", "model"},
    "pnl": {"base", "model", "book"},
    "risk": {"base", "model", "book", "pnl"},
    "oms": {"base", "model", "book", "pnl", "risk"},
    "connectors": {"base", "model", "net", "book"},
    "engine": {"base", "model", "net", "book", "pnl", "risk", "oms"},
}


def violations() -> list[str]:
    """One sentence for each include that points the wrong way."""
    found = []
    for file in sorted([*SOURCE.rglob("*.[ch]"), *(ROOT / "bridge").glob("*.[ch]")]):
        for name in INCLUDE.findall(file.read_text()):
            target = (file.parent / name).resolve()
            if not target.is_relative_to(ROOT):
                continue
            if file.is_relative_to(ROOT / "bridge"):
                if not target.is_relative_to(ROOT / "bridge"):
                    found.append(f"{file.relative_to(ROOT)} includes {name}: bridge knows only itself")
                continue
            if not target.is_relative_to(SOURCE):
                continue
            here, there = file.relative_to(SOURCE).parts, target.relative_to(SOURCE).parts
            if len(here) == 1:
                continue
            if len(there) == 1:
                found.append(f"{file.relative_to(ROOT)} includes {name}: only main files may")
                continue
            if here[0] != there[0] and there[0] not in EARLIER[here[0]]:
                found.append(f"{file.relative_to(ROOT)} includes {name}: {here[0]} comes before {there[0]}")
            if here[0] == there[0] == "connectors" and here[1] != there[1]:
                found.append(f"{file.relative_to(ROOT)} includes {name}: connectors never include each other")
    return found


if __name__ == "__main__":
    problems = violations()
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
