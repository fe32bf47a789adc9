"""`control doctor`: what must be right before a start, one ✓ or ✗ line each with what to do."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control import access, children, processes, shared, venues
from control.budget import over_limit, show
from control.config import FILES, ROOT, load, usd
from control.errors import ControlError
from control.latch import describe, is_latched
from control.status import supervisor_process
from control.words import PARTICIPANTS

if TYPE_CHECKING:
    from bridge.paths import Paths

DISK_MIN_BYTES = 512 << 20
RUNTIME_MIN_BYTES = 16 << 20
CLOCK_MAX_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result."""

    name: str
    ok: bool
    text: str


def examine(paths: Paths, folder: Path) -> list[Finding]:
    """Every check; none of them changes anything."""
    checks: list[Callable[[], list[Finding]]] = [
        lambda: [_build()],
        lambda: _settings(folder),
        lambda: _folders(paths),
        lambda: [_latch(paths), _ledger(paths), *_budget(paths, folder)],
        lambda: _processes(paths),
        lambda: _venues(paths),
    ]
    return [finding for check in checks for finding in check()]


def _build() -> Finding:
    trader = children.trader_path()
    if not os.access(trader, os.X_OK):
        return Finding("engine", False, f"{trader} is not built; run `make trader`")
    newest = max((p.stat().st_mtime for p in (ROOT / "bridge").glob("*.h")), default=0.0)
    if trader.stat().st_mtime < newest:
        return Finding("engine", False, f"{trader} is older than the bridge's headers; run `make trader`")
    return Finding("engine", True, f"{trader} is built")


def _settings(folder: Path) -> list[Finding]:
    findings = []
    for name, model in FILES.items():
        try:
            load(model, folder / name)
            findings.append(Finding(name, True, f"{folder / name} is valid"))
        except ControlError as error:
            findings.append(Finding(name, False, str(error)))
    return findings


def _folders(paths: Paths) -> list[Finding]:
    findings = []
    for path, least in ((paths.home, DISK_MIN_BYTES), (paths.runtime, RUNTIME_MIN_BYTES)):
        place = path if path.exists() else path.parent
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o700
        if path.exists() and (mode & 0o022 or path.stat().st_uid != os.getuid()):
            findings.append(Finding("folder", False, f"{path} must be ours and 0700; run `chmod 700 {path}`"))
        elif mode & 0o055:
            text = f"{path} is {mode:04o}; the next start makes it 0700, or run `chmod 700 {path}` now"
            findings.append(Finding("folder", True, text))
        elif path.exists() and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            text = f"{path} cannot be written by us; `chmod 700 {path}`, or name another (PURSER_HOME)"
            findings.append(Finding("folder", False, text))
        elif free < least:
            findings.append(Finding("folder", False, f"{place} has only {free >> 20} MiB free; make room"))
        else:
            findings.append(Finding("folder", True, f"{path} ({free >> 20} MiB free)"))
    return findings


def _latch(paths: Paths) -> Finding:
    if is_latched(paths.latch):
        return Finding("halt", False, f"trading is {describe(paths.latch)}; `control resume` lifts it")
    return Finding("halt", True, "not halted")


def _ledger(paths: Paths) -> Finding:
    try:
        ledger = shared.read_ledger(paths)
    except FileNotFoundError:
        return Finding("ledger", True, "none yet; a start makes it")
    except OSError as error:
        return Finding("ledger", False, f"{error}; move {paths.ledger} away when nothing of it is needed")
    text = ledger.audit()
    ledger.close()
    return Finding("ledger", text is None, text or "its invariants hold")


def _budget(paths: Paths, folder: Path) -> list[Finding]:
    try:
        content = show(paths, folder)
    except ControlError:
        return []  # the files were looked at above
    over = over_limit(content["used_micros"], content["limit_micros"]) if content["running"] else ""
    text = f"limit ${usd(content['limit_micros'])} from {content['source']}"
    return [Finding("budget", not over, f"{over}; or raise it by `control budget set`" if over else text)]


def _processes(paths: Paths) -> list[Finding]:
    supervisor = supervisor_process(paths)
    found = processes.find_ours(paths.runtime)
    orphans = [entry for entry in found if entry.name in PARTICIPANTS[1:]]
    if supervisor is None and orphans:
        names = ", ".join(f"{entry.name} ({entry.process.pid})" for entry in orphans)
        return [
            Finding("processes", False, f"no supervisor watches {names}; `control start --paper` or `stop`")
        ]
    if supervisor is None:
        return [Finding("processes", True, "nothing runs")]
    paused = [entry for entry in found if processes.is_stopped(entry.process)]
    if paused:
        return [
            Finding("processes", False, f"{paused[0].name} is paused; `kill -CONT {paused[0].process.pid}`")
        ]
    return [Finding("processes", True, f"supervisor {supervisor.pid} and {len(found) - 1} more run")]


def _venues(paths: Paths) -> list[Finding]:
    places = [place for name in venues.VENUES if (place := access.at(paths, name)).ready is not None]
    return asyncio.run(_ask_all(places)) if places else []


async def _ask_all(places: list[access.Place]) -> list[Finding]:
    return list(await asyncio.gather(*(_ask(place, place.ready or {}) for place in places)))


async def _ask(place: access.Place, ready: dict[str, Any]) -> Finding:
    name = place.venue
    began = time.monotonic()
    if place.problem:
        return Finding(name, False, f"cannot be asked{place.where}: {place.problem}")
    try:
        async with venues.open_venue(name, ready, timeout_s=2.0) as venue:
            offset = await venue.ping()
            orders = await venue.open_orders()
    except venues.VenueError as error:
        return Finding(name, False, f"cannot be asked: {error}")
    millis = (time.monotonic() - began) * 1000
    slack = CLOCK_MAX_S + (1.0 if name == "polymarket" else 0.0)  # that venue tells whole seconds
    if abs(offset) > slack:
        return Finding(name, False, f"its clock differs by {offset:+.1f} s; set this machine's clock")
    return Finding(name, True, f"answers in {millis:.0f} ms, key accepted, {len(orders)} orders open")
