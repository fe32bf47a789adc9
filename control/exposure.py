"""Where orders of ours may rest: what a kill has to ask, and what it may leave out.

At a venue there is nothing to cancel in two cases only:

    no process of ours ever worked there: its owner left nothing, in the state folder or in memory
    it was seen with nothing open after its owner's end, and the owner has not run since

Everything else may have orders, and so has whatever cannot be read. That the owner has not run since is told
by the record of where it trades, which each run writes anew (bridge/access.py). Only where there is none, as
of a participant that was never started by a program of ours, other traces have to do: journal segments, the
bot's database and log, and the status page, which carries the pid and the start of its writer. A file that
a view could have made, or touched, is no trace.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.ledger import now_ns
from control import access, shared, words
from control.access import Place
from control.records import read_json, write_atomically

if TYPE_CHECKING:
    from bridge.paths import Paths

NEVER = "nothing to cancel: no process of this PURSER_HOME ever worked there"
FOUND_KEPT = 1000
Traces = dict[str, list[int]]


def nothing_there(paths: Paths, venue: str, place: Place | None = None) -> str | None:
    """None when orders of ours may rest at the place (the present one of the venue, when none is named);
    else why there can be none. The caller has made sure that the owner does not run."""
    place = place or access.at(paths, venue)
    try:
        kept, seen = _kept(paths, venue), read_json(_file(paths)) or {}
    except OSError:
        return None
    page, note, run = _page(paths, venue), seen.get(_name(place)), _run(place)
    if isinstance(note, dict) and isinstance(note.get("wall_ns"), int):
        # Without a page its folder is gone, as after a reboot: then the durable traces alone tell.
        same = note.get("kept") == kept and page in (None, note.get("page"))
        if run or note.get("run"):
            same = note.get("run") == run
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(note["wall_ns"] / 1e9))
        return (
            f"nothing to cancel: seen empty at {when} UTC, {place.participant} has not run since"
            if same
            else None
        )
    charged = any(row["venue"] == venue for row in shared.open_orders(paths))
    return None if run or kept or page is not None or charged else NEVER


def ran_since_boot(paths: Paths, place: Place) -> bool:
    """Whether a run of the place's owner can have written to the ledger of this boot, so that one that is
    gone was lost with what it told. By its record's time, or its page, which goes with the memory."""
    boot_ns = time.time_ns() - now_ns()
    try:
        page = shared.read_page(paths, place.participant)
        if page is None and shared.page_path(paths, place.participant).exists():
            return True
    except OSError:
        return True
    return max(place.started_wall_ns, page.started_wall_ns if page is not None else 0) > boot_ns


def note_empty(paths: Paths, venue: str, place: Place | None = None) -> None:
    """Keep for good that the place was seen with nothing open, its owner being gone. OSError passes."""
    place = place or access.at(paths, venue)
    seen = read_json(_file(paths)) or {}
    seen[_name(place)] = {
        "wall_ns": time.time_ns(),
        "run": _run(place),
        "kept": _kept(paths, venue),
        "page": _page(paths, venue),
    }
    write_atomically(_file(paths), seen, durable=True)


def found_before(paths: Paths) -> frozenset[str]:
    """The ids of orders that a kill or a reclaim found at a venue: they have landed, whatever a ledger that
    nobody has reconciled since still says of them."""
    ids = (read_json(_found_file(paths)) or {}).get("ids")
    return frozenset(name for name in ids if isinstance(name, str)) if isinstance(ids, list) else frozenset()


def note_found(paths: Paths, ids: Iterable[str]) -> None:
    """Keep them for later commands, the newest FOUND_KEPT. OSError passes."""
    fresh = [name for name in ids if name]
    if not fresh:
        return
    kept = (read_json(_found_file(paths)) or {}).get("ids")
    known = [name for name in kept if isinstance(name, str)] if isinstance(kept, list) else []
    write_atomically(_found_file(paths), {"ids": [*known, *fresh][-FOUND_KEPT:]}, durable=True)


def _found_file(paths: Paths) -> Path:
    return paths.mode_home / "orders_found.json"


def _run(place: Place) -> str:
    """Which run of its owner the place is known from, as text: it has 64 bits without a sign."""
    return f"{place.fingerprint:016x}" if place.fingerprint else ""


def _name(place: Place) -> str:
    return f"{place.venue} {place.fingerprint:016x}" if place.earlier else place.venue


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
        if info.st_size:  # an empty one can be left by whoever opened the database to read
            found[file.name] = [info.st_size, info.st_mtime_ns]
    return found


def _page(paths: Paths, venue: str) -> list[Any] | None:
    owner = words.OWNERS[venue]
    page = shared.read_page(paths, owner)
    if page is not None:
        return [page.pid, page.started_wall_ns]
    return ["unreadable"] if shared.page_path(paths, owner).exists() else None
