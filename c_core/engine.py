"""The engine and its order book from Python, through libengine.

Integers everywhere: prices, quantities and ratios times 1e9 (`*_e9`), money in micro-USD, commissions in USD
times 1e8, as in bridge/protocol.h; the bare OrderBook counts ticks and lots. An Engine runs on a C thread of
its own and holds no Python lock while it trades; every call here may come from any Python thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from c_core._engine import ffi, lib

COUNTER_NAMES = (
    "duty_cycles",
    "book_updates",
    "trades",
    "orders_sent",
    "cancels_sent",
    "reports",
    "fills",
    "duplicate_executions",
    "unknown_orders",
    "queries",
    "reconciles",
    "position_mismatches",
    "impossible_reports",
    "foreign_reports",
    "telemetry_lost",
    "journal_records",
    "journal_full",
    "hedge_requests",
    "hedge_orders",
    "venue_rejects",
    "reprice_short",
    "signals",
    "orphans_canceled",
    "journal_damaged",
    "backlog_dropped",
    "journal_missing",
    "foreign_open",
)
OUTER_COUNTERS = {
    "heap_calls": 40,
    "heap_sections": 41,
    "frames": 42,
    "malformed_frames": 43,
    "top_checks": 44,
    "top_mismatches": 45,
    "stream_stalls": 46,
    "request_timeouts": 47,
    "dead_man_acks": 48,
    "bridge_dropped": 49,
}


class Mode(IntEnum):
    """dry-run reads the market and sends nothing; paper is a simulator or test network; live real money."""

    DRY_RUN = 0
    PAPER = 1
    LIVE = 2


class Side(IntEnum):
    """Side of an order, and of a book (BUY: bids, SELL: asks)."""

    BUY = 0
    SELL = 1


class TimeInForce(IntEnum):
    """How long an order stays."""

    GTC = 0
    IOC = 1
    FOK = 2
    POST_ONLY = 3


class EngineError(Exception):
    """The engine could not be made; exit_code as bin/trader's: 1 error, 4 configuration, 8 halted."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class OrderRefusedError(Exception):
    """The engine's own checks or the shared budget refused an order; reason is the number in reasons.h."""

    def __init__(self, reason: int) -> None:
        self.reason = reason
        self.name = _text(lib.reject_reason_name(reason))
        super().__init__(f"{self.name}: {_text(lib.reject_reason_text(reason))}")


class Level(NamedTuple):
    """One price level."""

    price_e9: int
    quantity_e9: int


class BookLevel(NamedTuple):
    """One price level of a bare book."""

    ticks: int
    lots: int


@dataclass(frozen=True, slots=True)
class Order:
    """One open order."""

    client_order_id: int
    venue_order_id: int
    venue: int
    symbol: str
    side: Side
    state: int
    strategy: int
    price_e9: int
    quantity_e9: int
    filled_e9: int


@dataclass(frozen=True, slots=True)
class Position:
    """One instrument's holding and its profit and loss today."""

    venue: int
    symbol: str
    quantity_e9: int
    cost_micros: int
    mark_e9: int
    realized_micros: int
    unrealized_micros: int
    fees_e8: int
    volume_micros: int
    cash_flow_micros: int


@dataclass(frozen=True, slots=True)
class VenueState:
    """One venue's session; state 3 is READY, else text says why not."""

    venue: int
    state: int
    open_orders: int
    fills: int
    resyncs: int
    disconnects: int
    clock_offset_ns: int
    text: str


def _text(value: Any) -> str:
    return str(ffi.string(value).decode("utf-8", "replace"))


class Engine:
    """One engine: made from a configuration file, started and stopped, asked and told from any thread."""

    def __init__(
        self,
        config_path: Path | str,
        home: Path | str | None = None,
        runtime: Path | str | None = None,
        mode: Mode = Mode.PAPER,
    ) -> None:
        handle = ffi.new("struct purser_engine **")
        error = ffi.new("char[]", lib.PURSER_ERROR_TEXT)
        code = lib.purser_engine_new(
            handle,
            str(config_path).encode(),
            ffi.NULL if home is None else ffi.new("char[]", str(home).encode()),
            ffi.NULL if runtime is None else ffi.new("char[]", str(runtime).encode()),
            int(mode),
            error,
        )
        if code != 0:
            raise EngineError(_text(error), code)
        self._engine: Any = handle[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handle(self) -> Any:
        if self._engine is None:
            raise ValueError("the engine is closed; make a new one")
        return self._engine

    def start(self) -> None:
        """Begins to connect, reconcile and trade, on a thread of the engine's own."""
        if lib.purser_engine_start(self._handle()) != 0:
            raise EngineError("the engine runs already, or no thread could be made", 1)

    def stop(self) -> int:
        """Cancels all orders, waits at most 3 s for the venue's word, and returns the exit code."""
        return int(lib.purser_engine_stop(self._handle()))

    def close(self) -> None:
        """Stops, leaves the ledger, and frees everything; a second call does nothing."""
        if self._engine is not None:
            lib.purser_engine_free(self._engine)
            self._engine = None

    @property
    def running(self) -> bool:
        """True while the engine's thread lives."""
        return bool(lib.purser_engine_running(self._handle()))

    def _page(self) -> Any:
        page = ffi.new("struct participant_page *")
        lib.purser_engine_page(self._handle(), page)
        return page

    def counters(self) -> dict[str, int]:
        """What the engine has counted since it was made."""
        page = self._page()
        places = {name: i for i, name in enumerate(COUNTER_NAMES)} | OUTER_COUNTERS
        return {name: int(page.counters[place]) for name, place in places.items()}

    def refusals(self) -> dict[str, int]:
        """Orders refused by our own checks, by reason."""
        page = self._page()
        counts = {_text(lib.reject_reason_name(i)): int(page.refusals[i]) for i in range(lib.PAGE_REASONS)}
        return {name: count for name, count in counts.items() if count}

    def positions(self) -> list[Position]:
        """Holdings with their profit and loss of today."""
        page = self._page()
        rows = [page.positions[i] for i in range(page.positions_count)]
        return [
            Position(
                row.venue,
                _text(row.symbol),
                row.quantity_e9,
                row.cost_micros,
                row.mark_e9,
                row.realized_micros,
                row.unrealized_micros,
                row.fees_e8,
                row.volume_micros,
                row.cash_flow_micros,
            )
            for row in rows
        ]

    def venues(self) -> list[VenueState]:
        """The sessions, and why one is not READY."""
        page = self._page()
        rows = [page.venues[i] for i in range(page.venues_count)]
        return [
            VenueState(
                row.venue,
                row.state,
                row.open_orders,
                row.fills,
                row.resyncs,
                row.disconnects,
                row.clock_offset_ns,
                _text(row.text),
            )
            for row in rows
        ]

    def books(self, symbol: str, depth: int = 10) -> tuple[list[Level], list[Level]]:
        """Bids and asks of a symbol, best first; empty while the book is not synchronised."""
        sides: list[list[Level]] = []
        for side in Side:
            out = ffi.new("struct purser_level[]", depth)
            count = lib.purser_engine_depth(self._handle(), symbol.encode(), int(side), out, depth)
            if count < 0:
                raise KeyError(f"no such symbol: {symbol}; it must be in the engine's configuration")
            sides.append([Level(out[i].price_e9, out[i].quantity_e9) for i in range(count)])
        return sides[0], sides[1]

    def orders(self) -> list[Order]:
        """Open orders."""
        out = ffi.new("struct purser_order[]", 512)
        count = lib.purser_engine_orders(self._handle(), out, 512)
        return [
            Order(
                row.client_order_id,
                row.venue_order_id,
                row.venue,
                _text(row.symbol),
                Side(row.side),
                row.state,
                row.strategy,
                row.price_e9,
                row.quantity_e9,
                row.filled_e9,
            )
            for row in (out[i] for i in range(count))
        ]

    def submit(
        self,
        symbol: str,
        side: Side,
        price_e9: int,
        quantity_e9: int,
        time_in_force: TimeInForce = TimeInForce.GTC,
        reduce_only: bool = False,
    ) -> int:
        """Sends a limit order and returns its client order id; OrderRefusedError says why it was not sent."""
        order = ffi.new("struct message_new_order *")
        order.venue = lib.VENUE_BINANCE
        order.side = int(side)
        order.type = lib.ORDER_LIMIT
        order.time_in_force = int(time_in_force)
        order.reduce_only = int(reduce_only)
        order.strategy = lib.STRATEGY_MANUAL
        order.symbol = symbol.encode()
        order.price_e9 = price_e9
        order.quantity_e9 = quantity_e9
        identifier = ffi.new("uint64_t *")
        reason = int(lib.purser_engine_submit(self._handle(), order, identifier))
        if reason != 0:
            raise OrderRefusedError(reason)
        return int(identifier[0])

    def cancel(self, client_order_id: int = 0) -> int:
        """Asks to cancel one order, or all (0); returns how many cancels were handed over."""
        return int(lib.purser_engine_cancel(self._handle(), client_order_id))


class OrderBook:
    """The engine's price ladder by itself: ticks and lots."""

    def __init__(self) -> None:
        book = lib.purser_book_new()
        if book == ffi.NULL:
            raise MemoryError("no memory for an order book")
        self._book = ffi.gc(book, lib.purser_book_free)

    def set(self, side: Side, ticks: int, lots: int) -> None:
        """The level at this price now has this quantity; 0 removes it."""
        if lib.purser_book_set(self._book, int(side), ticks, lots) != 0:
            raise ValueError("price and quantity must not be negative")

    def clear(self) -> None:
        """Removes all levels."""
        lib.purser_book_clear(self._book)

    def quantity(self, side: Side, ticks: int) -> int:
        """The quantity at a price; 0 when there is none."""
        return int(lib.purser_book_quantity(self._book, int(side), ticks))

    def levels(self, side: Side) -> int:
        """How many levels a side has."""
        return int(lib.purser_book_levels(self._book, int(side)))

    def best(self, side: Side) -> BookLevel | None:
        """The best level of a side, or None when it is empty."""
        found = self.depth(side, 1)
        return found[0] if found else None

    def depth(self, side: Side, capacity: int = 10) -> list[BookLevel]:
        """Up to capacity levels (256 at most), best first."""
        ticks = ffi.new("int64_t[]", max(capacity, 1))
        lots = ffi.new("int64_t[]", max(capacity, 1))
        count = int(lib.purser_book_depth(self._book, int(side), ticks, lots, capacity))
        return [BookLevel(ticks[i], lots[i]) for i in range(count)]

    @property
    def crossed(self) -> bool:
        """True when both sides have levels and the best bid is not below the best ask."""
        return bool(lib.purser_book_is_crossed(self._book))


def replay_check(path: Path | str) -> tuple[int, int]:
    """Replays a recorded capture through the book; returns (checked, equal)."""
    checked, equal = ffi.new("int64_t *"), ffi.new("int64_t *")
    if lib.purser_replay_check(str(path).encode(), checked, equal) < 0:
        raise OSError(f"{path} cannot be read or decoded; give a capture such as btcusdt_20240808.gz")
    return int(checked[0]), int(equal[0])
