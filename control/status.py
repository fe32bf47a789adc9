"""One picture of everything, as plain data: what `control status --json` prints.

It is built from shared memory and files alone, so that it also works while the supervisor, the
engine or the bot is dead or stopped: the ledger and the pages outlive their writers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.ledger import LedgerView
from bridge.messages import LedgerState
from control import late_fills, processes, shared, words
from control.foreign import foreign_orders
from control.latch import describe, is_latched
from control.lost_records import lost_records
from control.processes import FoundProcess, ProcessId
from control.recorder import recorded_events, recorded_fills
from control.records import Record, read_json
from control.shapes import is_picture

if TYPE_CHECKING:
    from bridge.paths import Paths

SCHEMA_VERSION = 1
FILLS_SHOWN = 20
NS_PER_MS = 1_000_000
UNWATCHED_MS = 2000  # by then its lease has run out


def supervisor_process(paths: Paths) -> ProcessId | None:
    """The running supervisor of this runtime folder, or None."""
    content = shared.about_supervisor(paths)
    if not content:
        return None
    process = ProcessId(content["pid"], content["start_time"])
    return process if processes.is_alive(process) else None


def snapshot(paths: Paths) -> Record:
    """The whole picture. With nothing in shared memory, the last one that was kept, marked as such."""
    about = shared.about_supervisor(paths)
    running = supervisor_process(paths) is not None
    view = shared.ledger_view(paths)
    pages = {name: page for name in words.PARTICIPANTS[1:] if (page := shared.read_page(paths, name))}
    found = [] if running else shared.all_live_processes(paths)
    if view is None and not pages and not running:
        return _kept(paths, found)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    latched = is_latched(paths.latch)
    rows = _processes(about, view, now_ns)
    _add_found(rows, found)
    alone = _unwatched(rows[0], found, running)
    picture = {
        "schema_version": SCHEMA_VERSION,
        "mode": str(about.get("mode") or _mode(pages)),
        "state": _state(view, running, latched),
        "running": running,
        "healthy": bool(running and about.get("healthy")),
        "halt": why_halted(paths, view),
        "problems": (
            [*about.get("problems", []), *lost_records(pages).values(), *foreign_orders(pages)]
            if running
            else []
        )
        + alone
        + _damage(paths),
        "uptime_s": _uptime_s(about) if running else 0,
        "taken_wall_ns": time.time_ns(),
        "as_of_wall_ns": None if running or alone else _last_page_wall_ns(pages, now_ns),
        "budget": _budget(view) if running or alone else with_next_limit(paths, _budget(view)),
        "pnl": _pnl(pages),
        "processes": rows,
        "venues": _venues(pages, now_ns, owned=True),
        "links": _venues(pages, now_ns, owned=False),
        "positions": [{"participant": name, **row} for name, page in pages.items() for row in page.positions],
        "orders": shared.open_orders(paths),
        "fills": newest_fills(paths, FILLS_SHOWN),
        "refusals": _refusals(pages),
        "signals": _signals(pages, now_ns),
        "latency": _latency(pages),
    }
    return late_fills.with_fills(picture, late_fills.beside_pages(paths, pages, view))


def _kept(paths: Paths, found: list[FoundProcess]) -> Record:
    latched = is_latched(paths.latch)
    kept = read_json(paths.mode_home / "last.json")
    kept = kept if is_picture(kept) else None
    state = "HALTED" if latched else "STOPPED"
    rows: list[Record] = []
    _add_found(rows, found)
    changed = {
        "state": state, "running": False, "healthy": False, "uptime_s": 0,
        "problems": _left_running(found), "halt": why_halted(paths, None), "processes": rows,
        "as_of_wall_ns": kept.get("taken_wall_ns") if kept is not None else None,
    }  # fmt: skip
    if kept is not None:
        kept = late_fills.with_fills(kept, late_fills.since(paths, kept.get("taken_wall_ns")))
        return {**kept, **changed, "budget": with_next_limit(paths, kept["budget"])}
    return {
        "schema_version": SCHEMA_VERSION, "mode": "paper", **changed, "taken_wall_ns": time.time_ns(),
        "budget": with_next_limit(paths, _budget(None)), "pnl": _pnl({}), "venues": [], "links": [],
        "positions": [], "orders": [], "fills": newest_fills(paths, FILLS_SHOWN), "refusals": [],
        "signals": {}, "latency": _latency({}),
    }  # fmt: skip


def why_halted(paths: Paths, view: LedgerView | None) -> str | None:
    """Why trading is halted, or None when it is not."""
    if is_latched(paths.latch):
        return describe(paths.latch)
    if view is None or view.state != LedgerState.HALTED:
        return None
    reason = words.word(words.HALT_REASONS, view.reason)
    return f"halted in the ledger, reason {reason}: {words.HALT_TEXTS.get(reason, 'no more is known')}"


def _last_page_wall_ns(pages: dict[str, shared.Page], now_ns: int) -> int | None:
    """When the participants last wrote, by the wall clock: their pages outlive them."""
    newest = max((page.updated_ns for page in pages.values()), default=0)
    return time.time_ns() - (now_ns - newest) if 0 < newest <= now_ns else None


def _mode(pages: dict[str, shared.Page]) -> str:
    return next((words.word(words.MODES, page.mode) for page in pages.values()), "paper")


def _state(view: LedgerView | None, running: bool, latched: bool) -> str:
    if latched or (view is not None and view.state == LedgerState.HALTED):
        return "HALTED"
    if not running:
        return "STOPPED"
    return words.word(words.LEDGER_STATES, view.state) if view is not None else "NO_LEDGER"


def _uptime_s(about: Record) -> int:
    return max(0, (time.time_ns() - int(about.get("started_wall_ns", time.time_ns()))) // 1_000_000_000)


def _budget(view: LedgerView | None) -> Record:
    if view is None:
        empty: Record = dict.fromkeys(
            ("limit_micros", "used_micros", "positions_micros", "orders_micros", "free_micros"), 0
        )
        return {**empty, "headroom_micros": 0, "notional": dict(empty), "participants": []}
    lines = list(enumerate(view.participants))[: len(words.PARTICIPANTS)]
    return {
        **_dimension(view, 0),
        "headroom_micros": view.headroom_micros[0],
        "notional": _dimension(view, 1),
        "consistent": bool(view.consistent),
        "epoch": view.epoch,
        "participants": [
            {
                "name": words.PARTICIPANTS[role],
                "used_micros": line.used_micros[0],
                "alloc_micros": line.alloc_micros[0],
                "positions_micros": line.positions_micros[0],
                "orders_micros": max(0, line.used_micros[0] - line.positions_micros[0]),
                "notional_used_micros": line.used_micros[1],
                "notional_alloc_micros": line.alloc_micros[1],
                "open_orders": line.open_orders,
                "state": words.word(words.LEDGER_STATES, line.state),
            }
            for role, line in lines
            if role != words.ROLE_SUPERVISOR
        ],
    }


def with_next_limit(paths: Paths, budget: Record) -> Record:
    """Nothing runs: with the limit of the next start, as `control budget show` tells it, in place of the
    last run's."""
    from control.budget import effective_budget
    from control.config import DEFAULT_FOLDER
    from control.errors import ControlError

    try:
        chosen, _ = effective_budget(paths, DEFAULT_FOLDER)
    except ControlError:  # `control config check` tells what is wrong with it
        return budget
    loss, notional = (
        {**row, "limit_micros": limit, "free_micros": max(0, limit - row["used_micros"])}
        for row, limit in zip((budget, budget["notional"]), chosen.limits_micros, strict=True)
    )
    return {**loss, "headroom_micros": chosen.headrooms_micros[0], "notional": notional}


def _dimension(view: LedgerView, index: int) -> Record:
    used = sum(line.used_micros[index] for line in view.participants)
    positions = sum(line.positions_micros[index] for line in view.participants)
    limit = view.limit_micros[index]
    return {
        "limit_micros": limit,
        "used_micros": used,
        "positions_micros": positions,
        "orders_micros": max(0, used - positions),
        "free_micros": max(0, limit - used),
    }


def _pnl(pages: dict[str, shared.Page]) -> Record:
    return {
        "day_micros": sum(page.day_micros for page in pages.values()),
        "realized_micros": sum(page.realized_micros for page in pages.values()),
        "unrealized_micros": sum(page.unrealized_micros for page in pages.values()),
        "fees_micros": sum(page.fees_micros for page in pages.values()),
        "cash_micros": sum(page.cash_micros for page in pages.values()),
        "transfers_micros": sum(page.transfers_micros for page in pages.values()),
    }


def _processes(about: Record, view: LedgerView | None, now_ns: int) -> list[Record]:
    supervisor = ProcessId(int(about.get("pid", 0)), int(about.get("start_time", 0)))
    beat_ns = view.supervisor_heartbeat_ns if view is not None else 0
    rows = [_process("supervisor", supervisor, "running", _age_ms(beat_ns, now_ns), 0)]
    for child in about.get("children", []):
        name = str(child["name"])
        process = ProcessId(int(child["pid"]), int(child["start_time"]))
        age = None
        if view is not None and name in words.PARTICIPANTS:
            age = _age_ms(view.participants[words.PARTICIPANTS.index(name)].heartbeat_ns, now_ns)
        rows.append(_process(name, process, str(child["state"]), age, int(child["restarts"])))
    return rows


def _add_found(rows: list[Record], found: list[FoundProcess]) -> None:
    """Lists what runs without a supervisor, in place of an entry whose process is gone."""
    listed = {row["pid"] for row in rows}
    for entry in found:
        if entry.process.pid in listed:
            continue
        row = _process(entry.name, entry.process, "running", None, 0)
        gone = next((i for i, r in enumerate(rows) if r["name"] == entry.name and not r["pid"]), None)
        if gone is None:
            rows.append(row)
        else:
            rows[gone] = row


def _damage(paths: Paths) -> list[str]:
    """A sentence when the ledger is not as it was written: what is shown of it is what could be read."""
    text = shared.ledger_damage(paths)
    return [f"{text}; `control kill` works all the same"] if text is not None else []


def _left_running(found: list[FoundProcess]) -> list[str]:
    """A sentence when participants run and no supervisor watches them."""
    alive = sorted((e for e in found if e.name in words.PARTICIPANTS[1:]), key=lambda entry: entry.name)
    if not alive:
        return []
    names = " and ".join(f"{entry.name} ({entry.process.pid})" for entry in alive)
    return [
        f"no supervisor: {names} still run{'s' if len(alive) == 1 else ''}; "
        "`control start --paper` takes over, `control kill` ends them"
    ]


def _unwatched(supervisor: Record, found: list[FoundProcess], running: bool) -> list[str]:
    """A sentence when nobody watches what runs: the supervisor is dead, stopped or stuck."""
    age_ms = supervisor["heartbeat_age_ms"]
    if not running:
        return _left_running(found)
    if age_ms is not None and age_ms >= UNWATCHED_MS:
        return [
            f"the supervisor ({supervisor['state']}) has not moved for {age_ms // 1000} s: no risk is added; "
            "`control kill` works without it, `control stop` ends it"
        ]
    return []


def _process(name: str, process: ProcessId, state: str, age_ms: int | None, restarts: int) -> Record:
    alive = processes.is_alive(process)
    if not alive:
        state = state if state in ("stopped", "failed", "recovering", "starting") else "dead"
    elif processes.is_stopped(process):
        state = "paused"
    elif age_ms is not None and age_ms >= 1000 and state == "running":
        state = "late"
    return {
        "name": name,
        "pid": process.pid if alive else 0,
        "state": state,
        "heartbeat_age_ms": age_ms,
        "restarts": restarts,
        "resident_bytes": processes.resident_bytes(process) if alive else 0,
    }


def _age_ms(then_ns: int, now_ns: int) -> int | None:
    return max(0, (now_ns - then_ns) // NS_PER_MS) if then_ns > 0 else None


def _venues(pages: dict[str, shared.Page], now_ns: int, *, owned: bool) -> list[Record]:
    """The venues as the participant that trades there sees them, or (owned=False) as another one
    does, for which it is a link across the bridge."""
    rows = []
    for name, page in pages.items():
        alive = processes.identify(page.pid) is not None
        for venue in page.venues:
            if (words.OWNERS.get(venue["name"], name) == name) != owned:
                continue
            expires_ns = venue["dead_man_expires_ns"]
            armed = venue["dead_man_armed_ns"] > 0 and expires_ns > now_ns
            rows.append(
                {
                    "name": venue["name"],
                    "participant": name,
                    "state": venue["state"] if alive else "DOWN",
                    "feed_age_ms": _age_ms(venue["feed_ns"], now_ns),
                    "dead_man": {
                        "armed": armed,
                        "expires_in_s": round((expires_ns - now_ns) / 1e9, 1) if armed else 0,
                    },
                    "open_orders": venue["open_orders"],
                    "fills": venue["fills"],
                    "resyncs": venue["resyncs"],
                    "disconnects": venue["disconnects"],
                    "clock_offset_ms": venue["clock_offset_ns"] // NS_PER_MS,
                    "cash": _cash(pages[name], venue, now_ns),
                    "text": venue["text"] if alive else f"{name} does not run; this is its last page",
                }
            )
    return rows


def _cash(page: shared.Page, venue: Record, now_ns: int) -> Record:
    """What moved without a fill today, and the wallet as it was last read beside what our books expect."""
    return {
        "cash_micros": page.cash_micros,
        "transfers_micros": page.transfers_micros,
        "known": venue["wallet_ns"] > 0,
        "wallet_e8": venue["wallet_e8"],
        "books_e8": venue["books_e8"],
        "read_age_ms": _age_ms(venue["wallet_ns"], now_ns) if venue["wallet_ns"] > 0 else None,
    }


def _refusals(pages: dict[str, shared.Page]) -> list[Record]:
    counts: dict[int, Record] = {}
    for name, page in pages.items():
        for number, count in enumerate(page.refusals):
            if count and number:
                row = counts.setdefault(
                    number,
                    {
                        "reason": shared.reason_name(number),
                        "count": 0,
                        "text": shared.reason_text(number),
                        "participants": {},
                    },
                )
                row["count"] += count
                row["participants"][name] = count
    return sorted(counts.values(), key=lambda row: -int(row["count"]))


def _signals(pages: dict[str, shared.Page], now_ns: int) -> Record:
    return {
        row["symbol"]: {
            **{key: value for key, value in row.items() if key not in ("symbol", "updated_ns")},
            "age_ms": _age_ms(row["updated_ns"], now_ns),
        }
        for page in pages.values()
        for row in page.signals
    }


def _latency(pages: dict[str, shared.Page]) -> Record:
    empty = {"p50": 0, "p99": 0, "p999": 0, "count": 0}
    engine, bot = pages.get("engine"), pages.get("polymarket_bot")
    return {
        "tick_to_order_ns": engine.tick_to_order if engine else dict(empty),
        "order_to_ack_ns": engine.order_to_ack if engine else dict(empty),
        "bot_tick_to_order_ns": bot.tick_to_order if bot else dict(empty),
    }


def newest_fills(paths: Paths, count: int) -> list[Record]:
    """The newest fills, oldest first: the kept file, and what is in the pages but not yet in it."""
    kept = recorded_fills(paths.mode_home, count)
    last: dict[str, int] = {}
    for record in kept:
        last[record["participant"]] = record["sequence"]
    fresh: list[Record] = []
    for name in words.PARTICIPANTS[1:]:
        page = shared.read_page(paths, name)
        if page is not None and page.fills_total > last.get(name, 0):
            fresh += [record for record in page.fills if record["sequence"] > last.get(name, 0)]
    merged = kept + fresh
    booked = {late_fills.key_of(record) for record in merged}
    merged += [fill for fill in late_fills.recorded(paths) if late_fills.key_of(fill) not in booked]
    return sorted(merged, key=lambda record: int(record["wall_ns"]))[-count:]


def newest_events(paths: Paths, count: int) -> list[Record]:
    """The newest events, oldest first."""
    return recorded_events(paths.mode_home, count)
