"""Written by gen.py from protocol.h and reasons.h; do not edit.

Typed records of the bridge's flat structs: pack() gives the bytes as they lie in C, unpack() reads them.
Units are in the names, as protocol.h explains. Text is NUL-padded UTF-8: pack() cuts it at the field's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar

Buffer = bytes | bytearray | memoryview


def _encode(text: str, size: int) -> bytes:
    data = text.encode()
    return data if len(data) <= size else data[:size].decode(errors="ignore").encode()


def _decode(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


PROTOCOL_VERSION = 2
JOURNAL_VERSION = 1
PROTOCOL_LEDGER_MAGIC = 5928222843049497936
PROTOCOL_PAGE_MAGIC = 4992030525197997392
PROTOCOL_FRAME_MAX = 512
PROTOCOL_PARTICIPANTS = 4
PROTOCOL_SLOTS = 256
PROTOCOL_SYMBOL = 32
PROTOCOL_QUERY_ID = 32
PROTOCOL_TEXT = 160
LANDS_UNTIL_NONE = 9223372036854775807
PAGE_VENUES = 4
PAGE_POSITIONS = 64
PAGE_FILLS = 256
PAGE_REASONS = 64
PAGE_SIGNALS = 8
PAGE_COUNTERS = 64
HISTOGRAM_BUCKETS = 976
LAYOUT_HASH = 0x47045C74C3A40072


class ParticipantRole(IntEnum):
    """enum participant_role."""

    SUPERVISOR = 0
    ENGINE = 1
    BOT = 2
    TOOL = 3


class VenueId(IntEnum):
    """enum venue_id."""

    NONE = 0
    BINANCE = 1
    POLYMARKET = 2
    IBKR = 3
    COINBASE = 4
    KRAKEN = 5
    ALPACA = 6
    DYDX = 7


class SessionState(IntEnum):
    """enum session_state."""

    DOWN = 0
    CONNECTING = 1
    SYNCING = 2
    READY = 3
    DRAINING = 4


class OrderSide(IntEnum):
    """enum order_side."""

    BUY = 0
    SELL = 1


class OrderType(IntEnum):
    """enum order_type."""

    LIMIT = 0
    MARKET = 1


class TimeInForce(IntEnum):
    """enum time_in_force."""

    GTC = 0
    IOC = 1
    FOK = 2
    POST_ONLY = 3
    GTD = 4


class OrderState(IntEnum):
    """enum order_state."""

    PENDING_NEW = 0
    WORKING = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    PENDING_CANCEL = 4
    CANCELED = 5
    REJECTED = 6
    EXPIRED = 7
    UNKNOWN = 8


class ExecutionType(IntEnum):
    """enum execution_type."""

    NEW = 0
    TRADE = 1
    CANCELED = 2
    REJECTED = 3
    EXPIRED = 4
    UNKNOWN = 5
    CANCEL_REJECTED = 6
    TRADE_REVERSED = 7
    STATUS = 8


class StrategyId(IntEnum):
    """enum strategy_id."""

    NONE = 0
    QUOTER = 1
    HEDGER = 2
    MANUAL = 3
    MARKET_MAKER = 4


class LedgerState(IntEnum):
    """enum ledger_state."""

    INIT = 0
    ACTIVE = 1
    REDUCING = 2
    CANCEL_ONLY = 3
    HALTED = 4


class HaltReason(IntEnum):
    """enum halt_reason."""

    NONE = 0
    OPERATOR = 1
    DAILY_LOSS = 2
    OVER_BUDGET = 3
    BUG = 4
    LATCH = 5
    VENUE = 6
    RESTARTS = 7
    CASH = 8
    FOREIGN = 9
    LEDGER = 10
    CLOCK = 11
    JOURNAL = 12


class CashKind(IntEnum):
    """enum cash_kind."""

    NONE = 0
    FUNDING = 1
    INSURANCE = 2
    COMMISSION = 3
    ADJUSTMENT = 4
    REWARD = 5
    REDEMPTION = 6
    TRANSFER = 7
    OTHER = 8


class RollPhase(IntEnum):
    """enum roll_phase."""

    NONE = 0
    PAUSE = 1
    BEGIN = 2


class SlotState(IntEnum):
    """enum slot_state."""

    FREE = 0
    RESERVED = 1
    SENT = 2
    LIVE = 3
    UNKNOWN = 4


class BudgetDimension(IntEnum):
    """enum budget_dimension."""

    LOSS = 0
    NOTIONAL = 1


class MessageKind(IntEnum):
    """enum message_kind."""

    HELLO = 1
    HEARTBEAT = 2
    SIGNAL = 3
    NEW_ORDER = 4
    CANCEL_ORDER = 5
    EXECUTION_REPORT = 6
    TOP_OF_BOOK = 7
    POSITION = 8
    HALT = 9
    RISK_STATE = 10
    EVENT = 11
    HEDGE = 12


class EventLevel(IntEnum):
    """enum event_level."""

    INFO = 0
    WARNING = 1
    ERROR = 2


class JournalKind(IntEnum):
    """enum journal_kind."""

    OPEN = 1
    INTENT = 2
    REPORT = 3
    CANCEL = 4
    MARK = 5
    CONTROL = 6
    CASH = 7
    SEAL = 8


class RejectReason(IntEnum):
    """enum reject_reason, from reasons.h."""

    NONE = 0
    BUDGET = 1
    HALTED = 2
    NOT_ACTIVE = 3
    REDUCING = 4
    LEASE_EXPIRED = 5
    LEDGER_BUSY = 6
    STALE_GENERATION = 7
    NO_SLOT = 8
    NOT_RECONCILED = 9
    MAX_QUANTITY = 10
    MAX_NOTIONAL = 11
    PRICE_COLLAR = 12
    POSITION_LIMIT = 13
    OPEN_ORDERS = 14
    THROTTLE = 15
    SELF_TRADE = 16
    STALE_DATA = 17
    DEAD_MAN = 18
    SESSION = 19
    TICK_SIZE = 20
    LOT_SIZE = 21
    MIN_NOTIONAL = 22
    DUPLICATE = 23
    DAILY_LOSS = 24
    CLOCK = 25
    BLIND = 26
    RUNAWAY = 27
    VENUE_REJECT = 28
    POST_ONLY_CROSS = 29
    INSUFFICIENT_BALANCE = 30
    RATE_LIMITED = 31
    VENUE_AUTH = 32
    VENUE_MODE = 33
    JOURNAL = 34
    NO_SHOCK = 35
    UNKNOWN_INSTRUMENT = 36
    BAD_ORDER = 37
    NO_LEDGER = 38
    MODE = 39
    SIGNAL = 40
    BRIDGE = 41
    DAY_ROLL = 42
    CLOCK_JUMP = 43
    FOREIGN = 44
    CASH = 45

    @property
    def text(self) -> str:
        """The sentence for people."""
        return _REASON_TEXTS[self]


_REASON_TEXTS = {
    RejectReason.NONE: "accepted",
    RejectReason.BUDGET: "the shared risk budget has no room for it",
    RejectReason.HALTED: "trading is halted",
    RejectReason.NOT_ACTIVE: "the ledger is not in a state that allows new risk",
    RejectReason.REDUCING: "only orders that reduce risk are allowed now",
    RejectReason.LEASE_EXPIRED: "the supervisor has not renewed permission to add risk",
    RejectReason.LEDGER_BUSY: "the ledger's lock was held; try again",
    RejectReason.STALE_GENERATION: "this process was replaced by a newer one",
    RejectReason.NO_SLOT: "too many open orders for the ledger",
    RejectReason.NOT_RECONCILED: "the venue's open orders and position are not known yet",
    RejectReason.MAX_QUANTITY: "quantity above the per-order maximum",
    RejectReason.MAX_NOTIONAL: "notional above the per-order maximum",
    RejectReason.PRICE_COLLAR: "price too far from the market",
    RejectReason.POSITION_LIMIT: "worst-case position above the instrument's limit",
    RejectReason.OPEN_ORDERS: "too many open orders on the instrument",
    RejectReason.THROTTLE: "message rate limit; room is kept for cancels",
    RejectReason.SELF_TRADE: "would trade with an order of our own",
    RejectReason.STALE_DATA: "market data is stale, gapped or crossed",
    RejectReason.DEAD_MAN: "the venue's dead-man switch is not armed",
    RejectReason.SESSION: "the venue's session is not ready",
    RejectReason.TICK_SIZE: "price is not on the tick grid",
    RejectReason.LOT_SIZE: "quantity is not on the lot grid or below the minimum",
    RejectReason.MIN_NOTIONAL: "notional below the venue's minimum",
    RejectReason.DUPLICATE: "duplicate client order id",
    RejectReason.DAILY_LOSS: "today's loss limit is reached",
    RejectReason.CLOCK: "clock offset to the venue is too large",
    RejectReason.BLIND: "our own fills cannot be seen",
    RejectReason.RUNAWAY: "too many orders, rejects or repeated fills; a person must look",
    RejectReason.VENUE_REJECT: "the venue refused it",
    RejectReason.POST_ONLY_CROSS: "a post-only order would have crossed the book",
    RejectReason.INSUFFICIENT_BALANCE: "not enough balance or margin at the venue",
    RejectReason.RATE_LIMITED: "the venue's rate limit",
    RejectReason.VENUE_AUTH: "the venue refused the key or signature",
    RejectReason.VENUE_MODE: "the venue accepts no new orders now",
    RejectReason.JOURNAL: "the journal cannot be written",
    RejectReason.NO_SHOCK: "no stress move is set for the instrument, so it cannot be sold short",
    RejectReason.UNKNOWN_INSTRUMENT: "no such instrument",
    RejectReason.BAD_ORDER: "malformed order",
    RejectReason.NO_LEDGER: "the shared risk ledger is missing or damaged",
    RejectReason.MODE: "this mode sends no orders",
    RejectReason.SIGNAL: "no fresh reference price from the engine",
    RejectReason.BRIDGE: "the other process is not connected",
    RejectReason.DAY_ROLL: "the day is being closed; orders go on in a moment",
    RejectReason.CLOCK_JUMP: "the wall clock jumped and is not confirmed yet",
    RejectReason.FOREIGN: "another Purser trades on this account",
    RejectReason.CASH: "the venue's cash differs from the books",
}


_LEDGER_SLOT = Struct("<IIQHBBIqqq2qqIIqq32s32s32x")


@dataclass(frozen=True, slots=True)
class LedgerSlot:
    """struct ledger_slot, 192 bytes."""

    SIZE: ClassVar[int] = 192

    state: int = 0
    slot_generation: int = 0
    client_order_id: int = 0
    venue: int = 0
    side: int = 0
    strategy: int = 0
    participant_generation: int = 0
    price_e9: int = 0
    quantity_e9: int = 0
    filled_e9: int = 0
    delta_micros: tuple[int, int] = (0, 0)
    sent_ns: int = 0
    crc: int = 0
    sent_crc: int = 0
    lands_until_ns: int = 0
    landed_ns: int = 0
    symbol: str = ""
    query_id: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _LEDGER_SLOT.pack(
            self.state,
            self.slot_generation,
            self.client_order_id,
            self.venue,
            self.side,
            self.strategy,
            self.participant_generation,
            self.price_e9,
            self.quantity_e9,
            self.filled_e9,
            *self.delta_micros,
            self.sent_ns,
            self.crc,
            self.sent_crc,
            self.lands_until_ns,
            self.landed_ns,
            _encode(self.symbol, 32),
            _encode(self.query_id, 32),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> LedgerSlot:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _LEDGER_SLOT.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            v[9],
            (v[10], v[11]),
            v[12],
            v[13],
            v[14],
            v[15],
            v[16],
            _decode(v[17]),
            _decode(v[18]),
        )


_PAGE_VENUE = Struct("<HHIqqqqqqq64sqqqq32x")


@dataclass(frozen=True, slots=True)
class PageVenue:
    """struct page_venue, 192 bytes."""

    SIZE: ClassVar[int] = 192

    venue: int = 0
    state: int = 0
    open_orders: int = 0
    feed_ns: int = 0
    dead_man_armed_ns: int = 0
    dead_man_expires_ns: int = 0
    fills: int = 0
    resyncs: int = 0
    disconnects: int = 0
    clock_offset_ns: int = 0
    text: str = ""
    validity_window_ns: int = 0
    wallet_e8: int = 0
    books_e8: int = 0
    wallet_ns: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _PAGE_VENUE.pack(
            self.venue,
            self.state,
            self.open_orders,
            self.feed_ns,
            self.dead_man_armed_ns,
            self.dead_man_expires_ns,
            self.fills,
            self.resyncs,
            self.disconnects,
            self.clock_offset_ns,
            _encode(self.text, 64),
            self.validity_window_ns,
            self.wallet_e8,
            self.books_e8,
            self.wallet_ns,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> PageVenue:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _PAGE_VENUE.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            v[9],
            _decode(v[10]),
            v[11],
            v[12],
            v[13],
            v[14],
        )


_PAGE_POSITION = Struct("<H2x4x32sqqqqqqqq")


@dataclass(frozen=True, slots=True)
class PagePosition:
    """struct page_position, 104 bytes."""

    SIZE: ClassVar[int] = 104

    venue: int = 0
    symbol: str = ""
    quantity_e9: int = 0
    cost_micros: int = 0
    mark_e9: int = 0
    realized_micros: int = 0
    unrealized_micros: int = 0
    fees_e8: int = 0
    volume_micros: int = 0
    cash_flow_micros: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _PAGE_POSITION.pack(
            self.venue,
            _encode(self.symbol, 32),
            self.quantity_e9,
            self.cost_micros,
            self.mark_e9,
            self.realized_micros,
            self.unrealized_micros,
            self.fees_e8,
            self.volume_micros,
            self.cash_flow_micros,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> PagePosition:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _PAGE_POSITION.unpack(data)
        return cls(
            v[0],
            _decode(v[1]),
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            v[9],
        )


_PAGE_FILL = Struct("<qqQHBBBBB1x32sqqq48s")


@dataclass(frozen=True, slots=True)
class PageFill:
    """struct page_fill, 136 bytes."""

    SIZE: ClassVar[int] = 136

    sequence: int = 0
    wall_ns: int = 0
    client_order_id: int = 0
    venue: int = 0
    side: int = 0
    strategy: int = 0
    maker: int = 0
    provisional: int = 0
    reversed: int = 0
    symbol: str = ""
    price_e9: int = 0
    quantity_e9: int = 0
    fee_e8: int = 0
    execution_id: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _PAGE_FILL.pack(
            self.sequence,
            self.wall_ns,
            self.client_order_id,
            self.venue,
            self.side,
            self.strategy,
            self.maker,
            self.provisional,
            self.reversed,
            _encode(self.symbol, 32),
            self.price_e9,
            self.quantity_e9,
            self.fee_e8,
            _encode(self.execution_id, 48),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> PageFill:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _PAGE_FILL.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            _decode(v[9]),
            v[10],
            v[11],
            v[12],
            _decode(v[13]),
        )


_PAGE_SIGNAL = Struct("<32sqqqqq")


@dataclass(frozen=True, slots=True)
class PageSignal:
    """struct page_signal, 72 bytes."""

    SIZE: ClassVar[int] = 72

    symbol: str = ""
    mid_e9: int = 0
    microprice_e9: int = 0
    volatility_e9: int = 0
    updated_ns: int = 0
    count: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _PAGE_SIGNAL.pack(
            _encode(self.symbol, 32),
            self.mid_e9,
            self.microprice_e9,
            self.volatility_e9,
            self.updated_ns,
            self.count,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> PageSignal:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _PAGE_SIGNAL.unpack(data)
        return cls(
            _decode(v[0]),
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
        )


_MESSAGE_HEADER = Struct("<IHHI4xq")


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """struct message_header, 24 bytes."""

    SIZE: ClassVar[int] = 24

    length: int = 0
    kind: int = 0
    version: int = 0
    sequence: int = 0
    sent_ns: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_HEADER.pack(
            self.length,
            self.kind,
            self.version,
            self.sequence,
            self.sent_ns,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageHeader:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_HEADER.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
        )


_MESSAGE_HELLO = Struct("<QIIq32s")


@dataclass(frozen=True, slots=True)
class MessageHello:
    """struct message_hello, 56 bytes."""

    SIZE: ClassVar[int] = 56

    layout_hash: int = 0
    role: int = 0
    mode: int = 0
    pid: int = 0
    name: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_HELLO.pack(
            self.layout_hash,
            self.role,
            self.mode,
            self.pid,
            _encode(self.name, 32),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageHello:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_HELLO.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            _decode(v[4]),
        )


_MESSAGE_HEARTBEAT = Struct("<I4xq")


@dataclass(frozen=True, slots=True)
class MessageHeartbeat:
    """struct message_heartbeat, 16 bytes."""

    SIZE: ClassVar[int] = 16

    last_sequence_received: int = 0
    progress: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_HEARTBEAT.pack(
            self.last_sequence_received,
            self.progress,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageHeartbeat:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_HEARTBEAT.unpack(data)
        return cls(
            v[0],
            v[1],
        )


_MESSAGE_SIGNAL = Struct("<HH4x32sqqqqqqq")


@dataclass(frozen=True, slots=True)
class MessageSignal:
    """struct message_signal, 96 bytes."""

    SIZE: ClassVar[int] = 96

    venue: int = 0
    state: int = 0
    symbol: str = ""
    bid_e9: int = 0
    ask_e9: int = 0
    mid_e9: int = 0
    microprice_e9: int = 0
    volatility_e9: int = 0
    venue_wall_ns: int = 0
    received_ns: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_SIGNAL.pack(
            self.venue,
            self.state,
            _encode(self.symbol, 32),
            self.bid_e9,
            self.ask_e9,
            self.mid_e9,
            self.microprice_e9,
            self.volatility_e9,
            self.venue_wall_ns,
            self.received_ns,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageSignal:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_SIGNAL.unpack(data)
        return cls(
            v[0],
            v[1],
            _decode(v[2]),
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            v[9],
        )


_MESSAGE_NEW_ORDER = Struct("<QHBBBBB1x32sqq")


@dataclass(frozen=True, slots=True)
class MessageNewOrder:
    """struct message_new_order, 64 bytes."""

    SIZE: ClassVar[int] = 64

    client_order_id: int = 0
    venue: int = 0
    side: int = 0
    type: int = 0
    time_in_force: int = 0
    reduce_only: int = 0
    strategy: int = 0
    symbol: str = ""
    price_e9: int = 0
    quantity_e9: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_NEW_ORDER.pack(
            self.client_order_id,
            self.venue,
            self.side,
            self.type,
            self.time_in_force,
            self.reduce_only,
            self.strategy,
            _encode(self.symbol, 32),
            self.price_e9,
            self.quantity_e9,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageNewOrder:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_NEW_ORDER.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            _decode(v[7]),
            v[8],
            v[9],
        )


_MESSAGE_CANCEL_ORDER = Struct("<QH2x4x")


@dataclass(frozen=True, slots=True)
class MessageCancelOrder:
    """struct message_cancel_order, 16 bytes."""

    SIZE: ClassVar[int] = 16

    client_order_id: int = 0
    venue: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_CANCEL_ORDER.pack(
            self.client_order_id,
            self.venue,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageCancelOrder:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_CANCEL_ORDER.unpack(data)
        return cls(
            v[0],
            v[1],
        )


_MESSAGE_EXECUTION_REPORT = Struct("<QHBBBBBBH2x4x32sqqqqqqq48s64s")


@dataclass(frozen=True, slots=True)
class MessageExecutionReport:
    """struct message_execution_report, 224 bytes."""

    SIZE: ClassVar[int] = 224

    client_order_id: int = 0
    venue: int = 0
    execution_type: int = 0
    order_state: int = 0
    side: int = 0
    maker: int = 0
    strategy: int = 0
    provisional: int = 0
    reject_reason: int = 0
    symbol: str = ""
    price_e9: int = 0
    quantity_e9: int = 0
    cumulative_e9: int = 0
    last_price_e9: int = 0
    last_quantity_e9: int = 0
    fee_e8: int = 0
    wall_ns: int = 0
    execution_id: str = ""
    text: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_EXECUTION_REPORT.pack(
            self.client_order_id,
            self.venue,
            self.execution_type,
            self.order_state,
            self.side,
            self.maker,
            self.strategy,
            self.provisional,
            self.reject_reason,
            _encode(self.symbol, 32),
            self.price_e9,
            self.quantity_e9,
            self.cumulative_e9,
            self.last_price_e9,
            self.last_quantity_e9,
            self.fee_e8,
            self.wall_ns,
            _encode(self.execution_id, 48),
            _encode(self.text, 64),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageExecutionReport:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_EXECUTION_REPORT.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            _decode(v[9]),
            v[10],
            v[11],
            v[12],
            v[13],
            v[14],
            v[15],
            v[16],
            _decode(v[17]),
            _decode(v[18]),
        )


_MESSAGE_TOP_OF_BOOK = Struct("<HH4x32sqqqqq")


@dataclass(frozen=True, slots=True)
class MessageTopOfBook:
    """struct message_top_of_book, 80 bytes."""

    SIZE: ClassVar[int] = 80

    venue: int = 0
    state: int = 0
    symbol: str = ""
    bid_e9: int = 0
    bid_quantity_e9: int = 0
    ask_e9: int = 0
    ask_quantity_e9: int = 0
    received_ns: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_TOP_OF_BOOK.pack(
            self.venue,
            self.state,
            _encode(self.symbol, 32),
            self.bid_e9,
            self.bid_quantity_e9,
            self.ask_e9,
            self.ask_quantity_e9,
            self.received_ns,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageTopOfBook:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_TOP_OF_BOOK.unpack(data)
        return cls(
            v[0],
            v[1],
            _decode(v[2]),
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
        )


_MESSAGE_POSITION = Struct("<H2x4x32sqqqqq")


@dataclass(frozen=True, slots=True)
class MessagePosition:
    """struct message_position, 80 bytes."""

    SIZE: ClassVar[int] = 80

    venue: int = 0
    symbol: str = ""
    quantity_e9: int = 0
    cost_micros: int = 0
    mark_e9: int = 0
    realized_micros: int = 0
    fees_e8: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_POSITION.pack(
            self.venue,
            _encode(self.symbol, 32),
            self.quantity_e9,
            self.cost_micros,
            self.mark_e9,
            self.realized_micros,
            self.fees_e8,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessagePosition:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_POSITION.unpack(data)
        return cls(
            v[0],
            _decode(v[1]),
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
        )


_MESSAGE_HALT = Struct("<II64s")


@dataclass(frozen=True, slots=True)
class MessageHalt:
    """struct message_halt, 72 bytes."""

    SIZE: ClassVar[int] = 72

    epoch: int = 0
    reason: int = 0
    text: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_HALT.pack(
            self.epoch,
            self.reason,
            _encode(self.text, 64),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageHalt:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_HALT.unpack(data)
        return cls(
            v[0],
            v[1],
            _decode(v[2]),
        )


_MESSAGE_RISK_STATE = Struct("<II2q2q2q")


@dataclass(frozen=True, slots=True)
class MessageRiskState:
    """struct message_risk_state, 56 bytes."""

    SIZE: ClassVar[int] = 56

    state: int = 0
    epoch: int = 0
    used_micros: tuple[int, int] = (0, 0)
    alloc_micros: tuple[int, int] = (0, 0)
    limit_micros: tuple[int, int] = (0, 0)

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_RISK_STATE.pack(
            self.state,
            self.epoch,
            *self.used_micros,
            *self.alloc_micros,
            *self.limit_micros,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageRiskState:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_RISK_STATE.unpack(data)
        return cls(
            v[0],
            v[1],
            (v[2], v[3]),
            (v[4], v[5]),
            (v[6], v[7]),
        )


_MESSAGE_EVENT = Struct("<IHHQ32s160s")


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """struct message_event, 208 bytes."""

    SIZE: ClassVar[int] = 208

    level: int = 0
    venue: int = 0
    reason: int = 0
    client_order_id: int = 0
    name: str = ""
    text: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_EVENT.pack(
            self.level,
            self.venue,
            self.reason,
            self.client_order_id,
            _encode(self.name, 32),
            _encode(self.text, 160),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageEvent:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_EVENT.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            _decode(v[4]),
            _decode(v[5]),
        )


_MESSAGE_HEDGE = Struct("<Q32sqqq")


@dataclass(frozen=True, slots=True)
class MessageHedge:
    """struct message_hedge, 64 bytes."""

    SIZE: ClassVar[int] = 64

    request_id: int = 0
    symbol: str = ""
    target_e9: int = 0
    price_limit_ppm: int = 0
    expires_ns: int = 0

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _MESSAGE_HEDGE.pack(
            self.request_id,
            _encode(self.symbol, 32),
            self.target_e9,
            self.price_limit_ppm,
            self.expires_ns,
        )

    @classmethod
    def unpack(cls, data: Buffer) -> MessageHedge:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _MESSAGE_HEDGE.unpack(data)
        return cls(
            v[0],
            _decode(v[1]),
            v[2],
            v[3],
            v[4],
        )


_JOURNAL_RECORD = Struct("<IHHQqQHBBBBBBBBHI32sqqqqqqqqqq48sqq32s")


@dataclass(frozen=True, slots=True)
class JournalRecord:
    """struct journal_record, 256 bytes."""

    SIZE: ClassVar[int] = 256

    crc: int = 0
    kind: int = 0
    version: int = 0
    sequence: int = 0
    wall_ns: int = 0
    client_order_id: int = 0
    venue: int = 0
    side: int = 0
    type: int = 0
    time_in_force: int = 0
    strategy: int = 0
    execution_type: int = 0
    order_state: int = 0
    maker: int = 0
    reduce_only: int = 0
    reject_reason: int = 0
    generation: int = 0
    symbol: str = ""
    price_e9: int = 0
    quantity_e9: int = 0
    cumulative_e9: int = 0
    last_price_e9: int = 0
    last_quantity_e9: int = 0
    fee_e8: int = 0
    position_e9: int = 0
    cost_micros: int = 0
    realized_micros: int = 0
    fees_e8: int = 0
    execution_id: str = ""
    wallet_e8: int = 0
    venue_wall_ns: int = 0
    digest: str = ""

    def pack(self) -> bytes:
        """The bytes as they lie in C."""
        return _JOURNAL_RECORD.pack(
            self.crc,
            self.kind,
            self.version,
            self.sequence,
            self.wall_ns,
            self.client_order_id,
            self.venue,
            self.side,
            self.type,
            self.time_in_force,
            self.strategy,
            self.execution_type,
            self.order_state,
            self.maker,
            self.reduce_only,
            self.reject_reason,
            self.generation,
            _encode(self.symbol, 32),
            self.price_e9,
            self.quantity_e9,
            self.cumulative_e9,
            self.last_price_e9,
            self.last_quantity_e9,
            self.fee_e8,
            self.position_e9,
            self.cost_micros,
            self.realized_micros,
            self.fees_e8,
            _encode(self.execution_id, 48),
            self.wallet_e8,
            self.venue_wall_ns,
            _encode(self.digest, 32),
        )

    @classmethod
    def unpack(cls, data: Buffer) -> JournalRecord:
        """Reads exactly SIZE bytes; struct.error otherwise."""
        v = _JOURNAL_RECORD.unpack(data)
        return cls(
            v[0],
            v[1],
            v[2],
            v[3],
            v[4],
            v[5],
            v[6],
            v[7],
            v[8],
            v[9],
            v[10],
            v[11],
            v[12],
            v[13],
            v[14],
            v[15],
            v[16],
            _decode(v[17]),
            v[18],
            v[19],
            v[20],
            v[21],
            v[22],
            v[23],
            v[24],
            v[25],
            v[26],
            v[27],
            _decode(v[28]),
            v[29],
            v[30],
            _decode(v[31]),
        )


Message = (
    MessageHello
    | MessageHeartbeat
    | MessageSignal
    | MessageNewOrder
    | MessageCancelOrder
    | MessageExecutionReport
    | MessageTopOfBook
    | MessagePosition
    | MessageHalt
    | MessageRiskState
    | MessageEvent
    | MessageHedge
)

BODIES: dict[int, type[Message]] = {
    MessageKind.HELLO: MessageHello,
    MessageKind.HEARTBEAT: MessageHeartbeat,
    MessageKind.SIGNAL: MessageSignal,
    MessageKind.NEW_ORDER: MessageNewOrder,
    MessageKind.CANCEL_ORDER: MessageCancelOrder,
    MessageKind.EXECUTION_REPORT: MessageExecutionReport,
    MessageKind.TOP_OF_BOOK: MessageTopOfBook,
    MessageKind.POSITION: MessagePosition,
    MessageKind.HALT: MessageHalt,
    MessageKind.RISK_STATE: MessageRiskState,
    MessageKind.EVENT: MessageEvent,
    MessageKind.HEDGE: MessageHedge,
}
KINDS: dict[type[Message], MessageKind] = {
    MessageHello: MessageKind.HELLO,
    MessageHeartbeat: MessageKind.HEARTBEAT,
    MessageSignal: MessageKind.SIGNAL,
    MessageNewOrder: MessageKind.NEW_ORDER,
    MessageCancelOrder: MessageKind.CANCEL_ORDER,
    MessageExecutionReport: MessageKind.EXECUTION_REPORT,
    MessageTopOfBook: MessageKind.TOP_OF_BOOK,
    MessagePosition: MessageKind.POSITION,
    MessageHalt: MessageKind.HALT,
    MessageRiskState: MessageKind.RISK_STATE,
    MessageEvent: MessageKind.EVENT,
    MessageHedge: MessageKind.HEDGE,
}
