"""Words and units of the bot.

Units, all plain integers:
    Price   micro-USD per share (0.45 USD is 450_000); every Polymarket tick is a whole number of them
    Size    micro-shares (10 shares are 10_000_000), the base unit of outcome tokens
    Micros  micro-USD

Price times size is exact in micros for sizes on the 0.01-share lot at ticks of 0.0001 and coarser.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import NewType

Price = NewType("Price", int)
Size = NewType("Size", int)
Micros = NewType("Micros", int)

ONE = 1_000_000  # one USD as a Price, one share as a Size
LOT = 10_000  # 0.01 share: the venue's size grid at every tick
DUST = 10_000  # fills may drift from their order by so much; a remainder of that size may also still rest


class Side(IntEnum):
    """Numbers of bridge/protocol.h enum order_side."""

    BUY = 0
    SELL = 1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class Outcome(IntEnum):
    """The two tokens of a binary market."""

    YES = 0
    NO = 1

    @property
    def other(self) -> Outcome:
        return Outcome.NO if self is Outcome.YES else Outcome.YES


class OrderState(IntEnum):
    """Numbers of bridge/protocol.h enum order_state."""

    PENDING_NEW = 0
    WORKING = 1
    PARTIALLY_FILLED = 2
    FILLED = 3
    PENDING_CANCEL = 4
    CANCELED = 5
    REJECTED = 6
    EXPIRED = 7
    UNKNOWN = 8

    @property
    def terminal(self) -> bool:
        return self in (OrderState.FILLED, OrderState.CANCELED, OrderState.REJECTED, OrderState.EXPIRED)


@dataclass(frozen=True, slots=True)
class UnseenOrder:
    """What the ledger tells of an order whose fate is not known. Side as the enum's number."""

    client_order_id: int
    order_id: str  # the hash by which the venue knows it
    symbol: str
    side: int
    price: int
    size: int
    strategy: int
    sent_ns: int
    charged_micros: tuple[int, int]


class FillStatus(Enum):
    """A fill is booked when MATCHED, final when CONFIRMED, and taken back once when FAILED."""

    PROVISIONAL = "provisional"
    FINAL = "final"
    REVERSED = "reversed"


class Direction(Enum):
    """Which side of the strike pays YES."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class Fee:
    """Taker fee = shares * rate * (p * (1 - p)) ** exponent (Polymarket docs, feeSchedule)."""

    rate_e6: int = 0
    exponent: int = 1


@dataclass(frozen=True, slots=True)
class Market:
    """One binary market: YES pays one USD when the reference is above (or below) strike at expiry."""

    condition_id: str
    slug: str
    question: str
    tokens: tuple[str, str]  # YES, NO
    symbols: tuple[str, str]  # names shown everywhere, at most 31 characters
    tick: Price
    minimum_size: Size
    negative_risk: bool
    fee: Fee
    strike_micros: int
    direction: Direction
    expiry_ns: int  # wall clock
    reference: str = "BTCUSDT"

    def outcome_of(self, token: str) -> Outcome:
        return Outcome(self.tokens.index(token))


@dataclass(frozen=True, slots=True)
class Top:
    """Best prices of one token's book; None where that side is empty."""

    bid: Price | None
    bid_size: Size
    ask: Price | None
    ask_size: Size

    @property
    def mid(self) -> Price | None:
        if self.bid is None or self.ask is None:
            return None
        return Price((self.bid + self.ask) // 2)


@dataclass(frozen=True, slots=True)
class Signal:
    """The engine's view of the reference: prices in 1e-9 USD, volatility annualised times 1e9."""

    symbol: str
    mid_e9: int
    microprice_e9: int
    volatility_e9: int
    received_ns: int  # CLOCK_BOOTTIME
    ready: bool


@dataclass(frozen=True, slots=True)
class Quote:
    """An order the strategy wants to have resting."""

    outcome: Outcome
    side: Side
    price: Price
    size: Size


@dataclass(frozen=True, slots=True)
class Intent:
    """An order about to be placed, before it has a venue id."""

    client_order_id: int
    condition_id: str
    token: str
    outcome: Outcome
    side: Side
    price: Price
    size: Size
    post_only: bool
    strategy: int


@dataclass(slots=True)
class Order:
    """A placed order. Owned by the execution engine; `filled` counts fills that were not reversed."""

    intent: Intent
    venue_order_id: str
    state: OrderState
    created_ns: int  # CLOCK_BOOTTIME when it was signed
    created_wall_ns: int
    slot: int = -1  # ledger slot; -1 when none is held
    filled: int = 0
    sent_ns: int = 0
    ended: bool = False  # the venue said it is no longer open
    final_matched: int | None = None  # what the venue says was matched, once it ended
    ended_ns: int = 0
    cancel_requested_ns: int = 0
    checked_ns: int = 0
    reversed_size: int = 0  # of fills that were taken back

    @property
    def remaining(self) -> int:
        return max(0, self.intent.size - self.filled)

    @property
    def matched(self) -> int:
        """Everything that the venue has matched, fills that failed later included."""
        return self.filled + self.reversed_size

    @property
    def unbooked(self) -> int:
        """What fills of the order can still add: while it is open its remainder, afterwards what the venue
        has matched and we have not seen."""
        if not self.ended:
            return self.remaining
        end = self.intent.size if self.final_matched is None else self.final_matched
        return max(0, end - self.matched)


@dataclass(frozen=True, slots=True)
class Fill:
    """One leg of a trade that is ours; its key is (trade_id, order_id)."""

    trade_id: str
    order_id: str
    condition_id: str
    token: str
    side: Side
    price: Price
    size: Size
    maker: bool
    fee_e8: int
    matched_wall_ns: int

    @property
    def key(self) -> tuple[str, str]:
        return (self.trade_id, self.order_id)

    @property
    def value(self) -> int:
        """Micros; exact for lots, otherwise rounded toward zero."""
        return self.price * self.size // ONE


@dataclass(frozen=True, slots=True)
class TradeUpdate:
    """One trade as the venue reports it, reduced to our legs."""

    status: str  # MATCHED, MATCHED_NOT_BROADCASTED, MINED, RETRYING, CONFIRMED, FAILED
    fills: tuple[Fill, ...]


@dataclass(frozen=True, slots=True)
class OrderUpdate:
    """One order as the venue reports it."""

    order_id: str
    condition_id: str
    token: str
    side: Side
    price: Price
    size: Size
    matched: Size
    live: bool
    status: str


@dataclass(frozen=True, slots=True)
class BookView:
    """What the strategy may know of a market's books at one instant."""

    tops: tuple[Top, Top]
    tick: Price
    fresh: bool


@dataclass(frozen=True, slots=True)
class Holdings:
    """Sizes held of both tokens."""

    yes: Size
    no: Size

    @property
    def net(self) -> int:
        return self.yes - self.no


def complement(price: int) -> Price:
    """The price of the other token: YES at p is NO at 1 - p."""
    return Price(ONE - price)


def floor_to(value: int, step: int) -> int:
    return value // step * step


def ceil_to(value: int, step: int) -> int:
    return -(-value // step) * step


def value_ceil(price: int, size: int) -> int:
    """Micros, rounded up: for anything that counts as risk."""
    return -(-(price * size) // ONE)


def fee_e8(fee: Fee, price: int, size: int) -> int:
    """Taker fee in 1e-8 USD, rounded half up at the venue's fifth decimal."""
    if fee.rate_e6 == 0:
        return 0
    numerator: int = size * fee.rate_e6 * (price * (ONE - price)) ** fee.exponent
    denominator: int = 10**7 * ONE ** (2 * fee.exponent)  # to 1e-5 USD: 1e6 * 1e6 / 1e5 = 1e7
    return (2 * numerator + denominator) // (2 * denominator) * 1000


def fee_ceiling_micros(fee: Fee, size: int) -> int:
    """Most that a fill of this size can cost in fees: p (1 - p) is largest at one half."""
    if fee.rate_e6 == 0:
        return 0
    denominator: int = ONE * 4**fee.exponent
    return -(-(size * fee.rate_e6) // denominator) + 10  # plus one unit of the fifth decimal
