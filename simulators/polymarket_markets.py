"""The markets on offer: "Bitcoin above K at T" and "Bitcoin up or down this hour".

A market is derived from its kind, strike and times alone, so that the same market has the same ids
after a restart. Strikes and reference prices are integers of 0.1 dollar.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eth_utils.crypto import keccak

from simulators.polymarket_matching import LOTS_PER_SHARE, NO, PRICE_ONE, YES, TwoOutcomeBook

HOUR_MS = 3_600_000
ABOVE, UP_DOWN = "above", "up_down"
STRIKE_STEP = 2_500  # 250.0 dollars between the strikes of one expiry
STRIKES_PER_EXPIRY = 3
# A market on its way to 0 or 1 gets the finer grid (docs.polymarket.com, "tick_size_change").
TICK_COARSE, TICK_FINE = 100, 10
FINE_BELOW, FINE_ABOVE = 400, 9_600
ORDER_MIN_LOTS = 5 * LOTS_PER_SHARE
# Crypto markets, 2026-08: taker fee rate 0.07, exponent 1, a fifth of it rebated to makers.
FEE_RATE_E4 = 700
REBATE_RATE = 0.2
TAGS = (
    {"id": "21", "slug": "crypto", "label": "Crypto"},
    {"id": "235", "slug": "bitcoin", "label": "Bitcoin"},
)


@dataclass(slots=True, eq=False)
class Market:
    """One market, its book and what became of it. `tokens` are the ERC-1155 ids, YES first."""

    number: int
    kind: str
    strike: int
    start_ms: int
    end_ms: int
    neg_risk: bool
    condition_id: str
    tokens: tuple[str, str]
    tick: int = TICK_COARSE
    closed: bool = False
    closed_ms: int = 0
    final: int = 0  # the reference price at the end, 0 while it is not known
    winner: int | None = None
    last_price: int | None = None
    last_side: str = ""
    volume_micros: int = 0
    book: TwoOutcomeBook = field(default_factory=TwoOutcomeBook)

    @property
    def outcomes(self) -> tuple[str, str]:
        """The names of the outcomes."""
        return ("Yes", "No") if self.kind == ABOVE else ("Up", "Down")

    @property
    def question(self) -> str:
        """The market's title."""
        if self.kind == ABOVE:
            return f"Bitcoin above {strike_text(self.strike)} on {moment_text(self.end_ms)} UTC?"
        return f"Bitcoin Up or Down - {moment_text(self.start_ms)} UTC"

    @property
    def slug(self) -> str:
        """The market's name in addresses."""
        if self.kind == ABOVE:
            text = strike_text(self.strike).replace(",", "").replace(".", "pt")
            return f"bitcoin-above-{text}-on-{slug_moment(self.end_ms)}-utc"
        return f"bitcoin-up-or-down-{slug_moment(self.start_ms)}-utc"

    def record(self) -> dict[str, Any]:
        """What the journal keeps."""
        return {"number": self.number, "kind": self.kind, "strike": self.strike, "start_ms": self.start_ms,
                "end_ms": self.end_ms, "neg_risk": self.neg_risk}  # fmt: skip

    def outcome_wins(self, reference: int) -> int:
        """The outcome that wins when the reference price at the end is this."""
        if self.kind == ABOVE:
            return YES if reference > self.strike else NO
        return YES if reference >= self.strike else NO

    def mid(self) -> int:
        """The middle of the YES book, or the last price, or one half."""
        bid, ask = self.book.best_bid(), self.book.best_ask()
        if bid is not None and ask is not None:
            return (bid + ask) // 2
        return self.last_price if self.last_price is not None else PRICE_ONE // 2


def make_market(number: int, kind: str, strike: int, start_ms: int, end_ms: int, neg_risk: bool) -> Market:
    """The market with its ids, which depend on nothing but the arguments."""
    seed = f"{number}|{kind}|{strike}|{start_ms}|{end_ms}".encode()
    condition = bytes(keccak(seed))
    tokens = (_token(condition, b"yes"), _token(condition, b"no"))
    return Market(number, kind, strike, start_ms, end_ms, neg_risk, "0x" + condition.hex(), tokens)


def _token(condition: bytes, outcome: bytes) -> str:
    """A position id of the conditional-token framework. One with 64 zero bits in the middle would be
    read as a protocol-V2 id, which a hash is not in practice."""
    return str(int.from_bytes(keccak(condition + outcome), "big"))


def next_listing(now_ms: int, reference: int) -> tuple[int, list[int]]:
    """The expiry and strikes of the next set of "above" markets: a full hour 75 to 135 minutes ahead,
    strikes around the reference price."""
    end_ms = -(-(now_ms + HOUR_MS * 5 // 4) // HOUR_MS) * HOUR_MS
    middle = (reference + STRIKE_STEP // 2) // STRIKE_STEP * STRIKE_STEP
    half = STRIKES_PER_EXPIRY // 2
    return end_ms, [middle + STRIKE_STEP * step for step in range(-half, half + 1)]


def strike_text(strike: int) -> str:
    """60000.0 dollars as 60,000 and 60012.3 as 60,012.3."""
    whole, tenth = divmod(strike, 10)
    return f"{whole:,}" if tenth == 0 else f"{whole:,}.{tenth}"


def moment_text(ms: int) -> str:
    """A time as a title says it: November 25, 3PM."""
    when = datetime.fromtimestamp(ms / 1000, tz=UTC)
    minutes = f":{when.minute:02d}" if when.minute else ""
    return f"{when:%B} {when.day}, {when.hour % 12 or 12}{minutes}{'AM' if when.hour < 12 else 'PM'}"


def slug_moment(ms: int) -> str:
    """A time as a slug says it: november-25-2026-3pm."""
    year = datetime.fromtimestamp(ms / 1000, tz=UTC).year
    day, _, hour = moment_text(ms).lower().replace(":", "").partition(", ")
    return f"{day.replace(' ', '-')}-{year}-{hour}"
