"""What control reads and writes in shared memory: the ledger and the participants' status pages.

The rest of control works with the plain records made here. Everything fails in one of two ways: a
missing or unusable file is an OSError (FileNotFoundError when it is not there), or, in the reading
functions that views use, simply None.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from struct import error as StructError
from typing import TYPE_CHECKING, Any

from bridge import messages
from bridge._bridge import ffi, lib
from bridge.ledger import Amounts, Ledger, LedgerError, LedgerView, now_ns
from control import words
from control.processes import FoundProcess, ProcessId, find_ours, is_alive
from control.records import Record, read_json
from control.shapes import SUPERVISOR

if TYPE_CHECKING:
    from bridge.paths import Paths

_PERMILLES = {"p50": 500, "p99": 990, "p999": 999}


# ---- the ledger ----------------------------------------------------------------------------------


def _translated(error: LedgerError) -> OSError:
    """As the OSError of its number, so that a missing file is a FileNotFoundError."""
    return OSError(error.errno, str(error))


def create_ledger(paths: Paths, limits: tuple[int, int], headrooms: tuple[int, int]) -> Ledger:
    """Make the ledger, or take over the one of an earlier supervisor (`adopted` is then True)."""
    try:
        return Ledger.create(paths.ledger, Amounts(*limits), Amounts(*headrooms))
    except LedgerError as error:
        raise _translated(error) from None


def open_ledger(paths: Paths) -> Ledger:
    """Open the existing ledger. OSError; FileNotFoundError when there is none."""
    try:
        return Ledger.open(paths.ledger)
    except LedgerError as error:
        raise _translated(error) from None


def read_ledger(paths: Paths) -> Ledger:
    """Open the ledger to look at it or to halt it, whatever stands in it. OSError when there is nothing to
    open: no file, not ours, or too short."""
    try:
        return Ledger.open_damaged(paths.ledger)
    except LedgerError as error:
        raise _translated(error) from None


def ledger_view(paths: Paths) -> LedgerView | None:
    """A snapshot, or None when there is no ledger that can be read."""
    try:
        ledger = read_ledger(paths)
    except OSError:
        return None
    view = ledger.snapshot()
    ledger.close()
    return view


def ledger_damage(paths: Paths) -> str | None:
    """What is wrong with the ledger, or None; also None when there is none."""
    try:
        ledger = read_ledger(paths)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"the ledger cannot be read: {error}"
    text = ledger.damage()
    ledger.close()
    return text


def ledger_state(paths: Paths) -> int | None:
    """The ledger's state, or None when there is no usable ledger."""
    view = ledger_view(paths)
    return view.state if view is not None else None


def is_reconciled(view: LedgerView, role: int | None) -> bool:
    """True when the role's process holds its line, beats, and has told the truth at its venue."""
    if role is None:
        return False
    line = view.participants[role]
    return line.pid != 0 and line.reconciled_ns != 0 and (heartbeat_age_ms(view, role) or 0) < 1000


def heartbeat_age_ms(view: LedgerView, role: int) -> int | None:
    """Age of the role's heartbeat, None before the first."""
    beat = view.participants[role].heartbeat_ns
    return max(0, (view.taken_ns - beat) // 1_000_000) if beat > 0 else None


def pid_of(view: LedgerView, role: int) -> int:
    """The process that holds the role's line, 0 when nobody does."""
    return view.participants[role].pid


def open_orders(paths: Paths) -> list[Record]:
    """Every order that the ledger holds a reservation for, as far as it can be read."""
    try:
        ledger = read_ledger(paths)
    except OSError:
        return []
    now = now_ns()
    rows = [
        {
            "participant": words.PARTICIPANTS[role],
            "venue": words.word(words.VENUES, slot.venue),
            "symbol": slot.symbol,
            "client_order_id": f"{slot.client_order_id:016x}",
            "side": words.word(words.SIDES, slot.side),
            "price_e9": slot.price_e9,
            "quantity_e9": slot.quantity_e9,
            "filled_e9": slot.filled_e9,
            "state": words.word(words.SLOT_STATES, slot.state),
            "strategy": words.word(words.STRATEGIES, slot.strategy),
            "reserved_micros": slot.delta_micros[0],
            "age_ms": max(0, (now - slot.sent_ns) // 1_000_000) if slot.sent_ns else None,
        }
        for role in (words.ROLE_ENGINE, words.ROLE_BOT)
        for slot in ledger.slots(role)
    ]
    ledger.close()
    return rows


# ---- the status pages ----------------------------------------------------------------------------


class Page:
    """A copy of one participant's page. The long parts are decoded when they are asked for."""

    def __init__(self, name: str, content: Any, torn: bool) -> None:
        self._name = name
        self._page = content
        self.torn = torn  # its writer died while writing: good for showing, not for adding up
        self.mode = int(content.mode)
        self.pid = int(content.pid)
        self.started_wall_ns = int(content.started_wall_ns)
        self.updated_ns = int(content.updated_ns)
        self.day_micros = int(content.day_micros)
        self.realized_micros = int(content.realized_micros)
        self.unrealized_micros = int(content.unrealized_micros)
        self.fees_micros = int(content.fees_micros)
        self.cash_micros = int(content.cash_micros)
        self.transfers_micros = int(content.transfers_micros)
        self.fills_total = int(content.fills_total)
        self.day = int(content.day)
        # Learnt today of fills of closed days; the day closed last, and its result.
        self.late_micros = int(content.late_micros)
        self.closed_day = int(content.closed_day)
        self.closed_micros = int(content.closed_micros)
        self.counters = tuple(int(count) for count in content.counters)

    @cached_property
    def refusals(self) -> list[int]:
        """Counts by reason number."""
        return [int(count) for count in self._page.refusals]

    @cached_property
    def venues(self) -> list[Record]:
        """One record a venue, as in struct page_venue."""
        rows = []
        for index in range(min(self._page.venues_count, messages.PAGE_VENUES)):
            venue = self._page.venues[index]
            rows.append(
                {
                    "name": words.word(words.VENUES, venue.venue),
                    "state": words.word(words.SESSION_STATES, venue.state),
                    "text": _text(venue.text),
                    **{key: int(getattr(venue, key)) for key in _VENUE_NUMBERS},
                }
            )
        return rows

    @cached_property
    def positions(self) -> list[Record]:
        """One record a symbol, as in struct page_position."""
        rows = []
        for index in range(min(self._page.positions_count, messages.PAGE_POSITIONS)):
            row = self._page.positions[index]
            rows.append(
                {
                    "venue": words.word(words.VENUES, row.venue),
                    "symbol": _text(row.symbol),
                    **{key: int(getattr(row, key)) for key in _POSITION_NUMBERS},
                }
            )
        return rows

    @cached_property
    def signals(self) -> list[Record]:
        """One record a symbol, as in struct page_signal."""
        return [
            {"symbol": _text(row.symbol), **{key: int(getattr(row, key)) for key in _SIGNAL_NUMBERS}}
            for row in list(self._page.signals)[: min(self._page.signals_count, messages.PAGE_SIGNALS)]
        ]

    @cached_property
    def fills(self) -> list[Record]:
        """The ring of the newest fills, oldest first."""
        return self.fills_after(0)

    def fills_after(self, sequence: int) -> list[Record]:
        """The fills of the ring above this sequence, oldest first."""
        size = messages.PageFill.SIZE
        raw = ffi.buffer(self._page.fills)
        first = max(sequence, self.fills_total - messages.PAGE_FILLS) + 1
        rows = []
        for number in range(max(1, first), self.fills_total + 1):
            at = (number - 1) % messages.PAGE_FILLS * size
            fill = messages.PageFill.unpack(raw[at : at + size])
            if fill.sequence == number:
                rows.append(_fill(self._name, fill))
        return rows

    @cached_property
    def tick_to_order(self) -> Record:
        """Percentiles in nanoseconds."""
        return _percentiles(self._page, "tick_to_order")

    @cached_property
    def order_to_ack(self) -> Record:
        """Percentiles in nanoseconds."""
        return _percentiles(self._page, "order_to_ack")


_VENUE_NUMBERS = (
    "open_orders", "feed_ns", "dead_man_armed_ns", "dead_man_expires_ns", "fills", "resyncs", "disconnects",
    "clock_offset_ns", "wallet_e8", "books_e8", "wallet_ns",
)  # fmt: skip
_POSITION_NUMBERS = (
    "quantity_e9", "cost_micros", "mark_e9", "realized_micros", "unrealized_micros", "fees_e8",
    "volume_micros", "cash_flow_micros",
)  # fmt: skip
_SIGNAL_NUMBERS = ("mid_e9", "microprice_e9", "volatility_e9", "updated_ns", "count")


def _text(field: Any) -> str:
    return bytes(ffi.buffer(field)).split(b"\0", 1)[0].decode(errors="replace")


def _percentiles(page: Any, name: str) -> Record:
    pointer = ffi.addressof(page, name)
    values = {key: int(lib.histogram_percentile(pointer, permille)) for key, permille in _PERMILLES.items()}
    return {**values, "max": int(pointer.max_ns), "count": int(pointer.count)}


def _fill(participant: str, fill: messages.PageFill) -> Record:
    return {
        "participant": participant,
        "sequence": fill.sequence,
        "wall_ns": fill.wall_ns,
        "venue": words.word(words.VENUES, fill.venue),
        "symbol": fill.symbol,
        "side": words.word(words.SIDES, fill.side),
        "price_e9": fill.price_e9,
        "quantity_e9": fill.quantity_e9,
        "fee_e8": fill.fee_e8,
        "maker": bool(fill.maker),
        "provisional": bool(fill.provisional),
        "reversed": bool(fill.reversed),
        "strategy": words.word(words.STRATEGIES, fill.strategy),
        "client_order_id": f"{fill.client_order_id:016x}",
        "execution_id": fill.execution_id,
    }


def page_path(paths: Paths, name: str) -> Path:
    """The page file of a participant by its name in views."""
    return paths.engine_page if name == "engine" else paths.bot_page


def read_page(paths: Paths, name: str) -> Page | None:
    """A whole copy of a participant's page, or None when there is none that can be read."""
    pointer = ffi.new("struct page **")
    if lib.page_open(pointer, str(page_path(paths, name)).encode()) != 0:
        return None
    try:
        content = ffi.new("struct participant_page *")
        torn = lib.page_read(pointer[0], content) != 0
        return Page(name, content, torn) if content.pid != 0 else None
    finally:
        lib.page_close(pointer[0])


# ---- telemetry -----------------------------------------------------------------------------------


def decode_event(payload: bytes) -> Record | None:
    """A bus message as an event record, None when it is of another kind. ValueError when malformed."""
    size = messages.MessageHeader.SIZE
    try:
        if messages.MessageHeader.unpack(payload[:size]).kind != messages.MessageKind.EVENT:
            return None
        event = messages.MessageEvent.unpack(payload[size:])
    except StructError as error:
        raise ValueError(str(error)) from None
    return {
        "name": event.name or "event",
        "level": words.word(words.EVENT_LEVELS, event.level),
        "venue": words.word(words.VENUES, event.venue),
        "reason": reason_name(event.reason) if event.reason else None,
        "client_order_id": f"{event.client_order_id:016x}" if event.client_order_id else None,
        "text": event.text,
    }


def reason_name(number: int) -> str:
    """BUDGET, HALTED, …"""
    return str(ffi.string(lib.reject_reason_name(number)).decode())


def reason_text(number: int) -> str:
    """The reason's sentence."""
    return str(ffi.string(lib.reject_reason_text(number)).decode())


# ---- what was last known -------------------------------------------------------------------------


def about_supervisor(paths: Paths) -> Record:
    """supervisor.json, or an empty object when it is missing or not as the supervisor writes it: no
    command may fail over it, least of all a kill."""
    about = read_json(paths.supervisor_json, SUPERVISOR)
    if about is None:
        return {}
    for child in about["children"]:
        child.setdefault("state", "running")
        child.setdefault("restarts", 0)
    return about


def known_processes(paths: Paths, ledger: Ledger | None) -> list[FoundProcess]:
    """Every process that the ledger or supervisor.json names; some may be long gone."""
    found = []
    if ledger is not None:
        view = ledger.snapshot()
        # The supervisor last: a participant that was started by hand holds its line too.
        for role, name in reversed(list(enumerate(words.PARTICIPANTS))):
            line = view.participants[role]
            if line.pid > 0:
                found.append(FoundProcess(name, ProcessId(line.pid, line.start_time)))
    about = about_supervisor(paths)
    if about.get("pid"):
        found.append(FoundProcess("supervisor", ProcessId(int(about["pid"]), int(about["start_time"]))))
    for child in about.get("children", []):
        if child.get("pid"):
            found.append(FoundProcess(child["name"], ProcessId(int(child["pid"]), int(child["start_time"]))))
    return found


def live_processes(paths: Paths, ledger: Ledger | None) -> list[FoundProcess]:
    """Every process of ours that is alive, by /proc and by what the ledger and supervisor.json name."""
    found = {entry.process: entry for entry in find_ours(paths.runtime)}
    for entry in known_processes(paths, ledger):
        if is_alive(entry.process):
            found.setdefault(entry.process, entry)
    return list(found.values())


def all_live_processes(paths: Paths) -> list[FoundProcess]:
    """The same for callers without an open ledger."""
    try:
        ledger = read_ledger(paths)
    except OSError:
        return live_processes(paths, None)
    found = live_processes(paths, ledger)
    ledger.close()
    return found


def known_symbols(paths: Paths, ledger: Ledger | None, venue: str) -> set[str]:
    """The symbols in which we may have orders at a venue: reservations and positions. A venue whose
    cancel-all needs symbols is asked for these first, and for all others after a query."""
    symbols = {row["symbol"] for row in open_orders(paths) if row["venue"] == venue}
    symbols |= held_symbols(paths, venue, flat_too=True)
    return symbols


def held_symbols(paths: Paths, venue: str, *, flat_too: bool = False) -> set[str]:
    """The symbols of a venue that we hold, by our own pages."""
    pages = [read_page(paths, name) for name in words.PARTICIPANTS[1:]]
    return {
        row["symbol"]
        for page in pages
        if page is not None
        for row in page.positions
        if row["venue"] == venue and (flat_too or row["quantity_e9"])
    }
