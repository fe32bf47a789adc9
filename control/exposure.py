"""Where orders of ours may rest: what a kill has to ask, and what it may leave out.

At a venue there is nothing to cancel in two cases only:

    no process of ours ever worked there: its owner left nothing, in the state folder or in memory
    it was seen with nothing open after its owner's end, and the owner has not run since

Everything else may have orders, and so has whatever cannot be read. That the owner has not run since
is told by what every run of it leaves: a new journal segment of the engine; for the bot its database
and its log; and the status page, which carries the pid and the start of its writer.
"""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control import processes, shared, words
from control.processes import ProcessId
from control.records import Record, read_json, write_atomically

if TYPE_CHECKING:
    from bridge.paths import Paths

NEVER = "nothing to cancel: no process of this PURSER_HOME ever worked there"
Traces = dict[str, list[int]]


def nothing_there(paths: Paths, venue: str) -> str | None:
    """None when orders of ours may rest at the venue; else why there can be none. The caller has made
    sure that the owner does not run."""
    try:
        kept, seen = _kept(paths, venue), read_json(_file(paths)) or {}
    except OSError:
        return None
    page, note = _page(paths, venue), seen.get(venue)
    if isinstance(note, dict) and isinstance(note.get("wall_ns"), int):
        # Without a page its folder is gone, as after a reboot: then the durable traces alone tell.
        same = note.get("kept") == kept and page in (None, note.get("page"))
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(note["wall_ns"] / 1e9))
        owner = words.OWNERS[venue]
        return f"nothing to cancel: seen empty at {when} UTC, {owner} has not run since" if same else None
    charged = any(row["venue"] == venue for row in shared.open_orders(paths))
    return None if kept or page is not None or charged else NEVER


def address_by_settings(paths: Paths, owner: ProcessId) -> Record | None:
    """Where a running engine works, when its own settings name a venue instead of a simulator: as the
    venue's ready line would tell it, with the key that the engine uses. None: a simulator."""
    arguments = processes.arguments_of(owner)
    named = [value for option, value in pairwise(arguments) if option == "--config"]
    settings = read_json(Path(f"/proc/{owner.pid}/cwd") / named[-1]) if named else None
    endpoints = (settings or {}).get("endpoints")
    if not isinstance(endpoints, dict) or "simulator" in endpoints or "rest" not in endpoints:
        return None
    credentials = (settings or {}).get("credentials")
    file = credentials.get("file") if isinstance(credentials, dict) else None
    return {
        "rest": str(endpoints["rest"]),
        "credentials": read_private(paths.home / file) if isinstance(file, str) else {},
    }


def read_private(path: Path) -> Record:
    """A file of keys, as strictly as the engine reads it: ours, 0600, no link. Empty otherwise."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return {}
    with os.fdopen(descriptor) as file:
        info = os.fstat(descriptor)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            return {}
        try:
            content = json.load(file)
        except ValueError:
            return {}
    return content if isinstance(content, dict) else {}


def was_used(paths: Paths, venue: str) -> bool:
    """Whether its owner ever ran, as far as can be told; True when it cannot."""
    try:
        return bool(_kept(paths, venue)) or _page(paths, venue) is not None
    except OSError:
        return True


def note_empty(paths: Paths, venue: str) -> None:
    """Keep for good that the venue was seen with nothing open, its owner being gone. OSError passes."""
    seen = read_json(_file(paths)) or {}
    seen[venue] = {"wall_ns": time.time_ns(), "kept": _kept(paths, venue), "page": _page(paths, venue)}
    write_atomically(_file(paths), seen, durable=True)


def _file(paths: Paths) -> Path:
    return paths.mode_home / "seen_empty.json"


def _kept(paths: Paths, venue: str) -> Traces:
    """What the owner left on disk: each file with its size and the time of its last change. Segments
    are mapped memory, whose times tell nothing: there the name has to do. OSError when unreadable."""
    if venue == "binance":
        try:
            names = os.listdir(paths.engine_journal)
        except FileNotFoundError:
            return {}
        return {name: [] for name in sorted(names) if name.startswith("journal-")}
    wal = paths.bot_db.with_name(paths.bot_db.name + "-wal")
    files = (paths.bot_db, wal, paths.log("bot"), paths.markets)
    found: Traces = {}
    for file in files:
        try:
            info = file.stat()
        except FileNotFoundError:
            continue
        found[file.name] = [info.st_size, info.st_mtime_ns]
    return found


def _page(paths: Paths, venue: str) -> list[Any] | None:
    owner = words.OWNERS[venue]
    page = shared.read_page(paths, owner)
    if page is not None:
        return [page.pid, page.started_wall_ns]
    return ["unreadable"] if shared.page_path(paths, owner).exists() else None
