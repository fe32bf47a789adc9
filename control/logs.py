"""`control logs`: the newest lines of the processes' logs, and what is added to them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from control.children import last_lines
from control.errors import ControlError, Exit
from control.printable import printable

if TYPE_CHECKING:
    from bridge.paths import Paths

NAMES = ("supervisor", "engine", "bot", "sim-binance", "sim-polymarket")


def show_logs(paths: Paths, name: str, count: int, follow: bool, as_json: bool) -> None:
    """Print the newest lines, each with its process's name when several are shown."""
    chosen = NAMES if name == "all" else ("bot" if name == "polymarket_bot" else name,)
    unknown = [entry for entry in chosen if entry not in NAMES]
    if unknown:
        raise ControlError(f"No log named {unknown[0]!r}; one of: {', '.join(NAMES)}, all.", Exit.USAGE)
    files = {entry: paths.logs / f"{entry}.log" for entry in chosen}
    for entry, file in files.items():
        for line in last_lines(file, count):
            _show(entry, line, len(files) > 1, as_json)
    if not any(file.exists() for file in files.values()):
        sys.stderr.write("No logs yet. `control start --paper` begins them.\n")
    if follow:
        _follow(files, as_json)


def _show(name: str, line: str, named: bool, as_json: bool) -> None:
    text = printable(line)
    if as_json:
        text = json.dumps({"log": name, "line": line})
    elif named:
        text = f"{name:<14} {text}"
    sys.stdout.write(text + "\n")


def _follow(files: dict[str, Path], as_json: bool) -> None:
    at = {name: _size(file) for name, file in files.items()}
    try:
        while True:
            sys.stdout.flush()
            time.sleep(0.3)
            for name, file in files.items():
                at[name] = _show_added(name, file, at[name], len(files) > 1, as_json)
    except KeyboardInterrupt:
        return


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _show_added(name: str, file: Path, at: int, named: bool, as_json: bool) -> int:
    size = _size(file)
    if size <= at:
        return size
    with file.open("rb") as stream:
        stream.seek(at)
        block = stream.read(size - at)
    whole = block.rfind(b"\n") + 1
    for line in block[:whole].decode(errors="replace").split("\n")[:-1]:
        _show(name, line, named, as_json)
    return at + whole
