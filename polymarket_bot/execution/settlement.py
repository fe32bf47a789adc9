"""Fills and what they make of positions.

A fill is booked when the venue says MATCHED, is final when CONFIRMED, and is taken back exactly once when
FAILED. Its key is (trade id, our order id); a key that was taken back stays taken back, whatever is
replayed later. A fill of a day that has not begun waits for its day: it is no result of the closing one,
and its order stays charged. A fill of a day that is closed counts in the new day as if it were made at the
mark of the day's end; what it came to until then is the closed day's. Positions follow the rule that all
of Purser
shares: a fill that grows the quantity adds price * size to the cost; one that shrinks it releases
cost * closed / quantity, truncated toward zero, and realizes the difference. Taking a fill back computes
the day again without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from polymarket_bot.model import Fill, FillStatus, Market, Outcome, Price, Side, Size, TradeUpdate

DAY_NS = 24 * 3600 * 1_000_000_000
HALF = Price(500_000)
RESOLUTION, ADOPTED, EXCHANGE = "resolution", "adopted", "exchange"


def is_trade(fill: Fill) -> bool:
    """A trade of the venue, which moves the wallet; what we book ourselves has a word and a colon before its
    id, and moves positions only."""
    return ":" not in fill.trade_id


def trade_cash(fill: Fill) -> int:
    """What a trade brings to the wallet, fee included."""
    return (-fill.value if fill.side is Side.BUY else fill.value) - fill.fee_e8 // 100


def day_of(wall_ns: int) -> int:
    """UTC day number since the Unix epoch."""
    return wall_ns // DAY_NS


@dataclass(slots=True)
class Position:
    """One token: size held in micro-shares, its exact cost, and the day's account in micros."""

    quantity: int = 0
    cost_micros: int = 0
    realized_micros: int = 0
    fees_e8: int = 0
    cash_flow_micros: int = 0
    volume_micros: int = 0

    def apply(self, side: Side, size: int, value: int, fee_e8: int) -> None:
        """Book a fill of `size` that moved `value` micros."""
        self.fees_e8 += fee_e8
        self.volume_micros += value
        if side is Side.BUY:
            self.cash_flow_micros -= value
            self._add(size, value, 1)
        else:
            self.cash_flow_micros += value
            self._add(size, value, -1)

    def _add(self, size: int, value: int, sign: int) -> None:
        closes = min(size, abs(self.quantity)) if self.quantity * sign < 0 else 0
        closing_value = value * closes // size if closes and closes < size else (value if closes else 0)
        if closes:
            released = _truncated(self.cost_micros * closes, abs(self.quantity))
            self.realized_micros += -sign * closing_value - released
            self.cost_micros -= released
            self.quantity += sign * closes
        if size > closes:
            self.cost_micros += sign * (value - closing_value)
            self.quantity += sign * (size - closes)

    def unrealized_micros(self, mark: int) -> int:
        return self.quantity * mark // 1_000_000 - self.cost_micros

    def opening(self) -> Position:
        """What is carried into a new day."""
        return Position(self.quantity, self.cost_micros)


def _truncated(numerator: int, denominator: int) -> int:
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


class ChangeKind(Enum):
    BOOKED = "booked"
    FINAL = "final"
    REVERSED = "reversed"
    IGNORED = "ignored"  # recorded as failed before it was ever booked


@dataclass(frozen=True, slots=True)
class Change:
    """Something that storage must record and others must be told."""

    kind: ChangeKind
    fill: Fill
    sequence: int
    day: int


@dataclass(slots=True)
class Booked:
    fill: Fill
    status: FillStatus
    sequence: int
    day: int


@dataclass(slots=True)
class Token:
    opening: Position = field(default_factory=Position)
    position: Position = field(default_factory=Position)
    today: list[Booked] = field(default_factory=list)
    opening_mark: int | None = None  # at which this process has carried it into the day


class Settlement:
    """All fills and positions of the account. Synchronous; the caller persists the changes it returns."""

    def __init__(self, day: int, sequence: int = 0) -> None:
        self.day = day
        self.sequence = sequence
        self.late_micros = 0  # learnt today of fills of closed days
        self.closed_day = self.closed_micros = 0
        self._first_day = day  # before it nothing was counted, so that nothing can be late
        self.tokens: dict[str, Token] = {}
        self.trade_cash_micros = 0  # of every trade in the books, of any day
        self.changes = 0  # grows with each: whether two readings have the same books behind them
        self._fills: dict[tuple[str, str], Booked] = {}
        self._waiting: dict[tuple[str, str], tuple[Fill, str]] = {}  # of a day that has not begun

    # --- start ---

    def load(self, openings: dict[str, Position], fills: Iterable[Booked]) -> None:
        """Rebuild from storage: `openings` of self.day, `fills` of any day in order of sequence."""
        for token, opening in openings.items():
            self.tokens[token] = Token(opening, opening.opening())
        for booked in fills:
            self._fills[booked.fill.key] = booked
            self.sequence = max(self.sequence, booked.sequence)
            if booked.sequence and booked.status is not FillStatus.REVERSED and is_trade(booked.fill):
                self.trade_cash_micros += trade_cash(booked.fill)
            if booked.day == self.day and booked.sequence:
                self._token(booked.fill.token).today.append(booked)
        for token in self.tokens:
            self._replay(token)

    # --- reads ---

    def position(self, token: str) -> Position:
        return self._token(token).position

    def known(self, key: tuple[str, str]) -> bool:
        return key in self._fills

    def has_order(self, order_id: str) -> bool:
        """Whether any fill of this order is known."""
        return any(known == order_id for _, known in (*self._fills, *self._waiting))

    def fills_today(self) -> int:
        return sum(len(token.today) for token in self.tokens.values())

    def latest_match_s(self) -> int:
        """When the newest trade that we know was matched, in seconds; 0 when there is none. While fills
        are provisional, from the oldest of them, so that their fate is read again."""
        times = [b.fill.matched_wall_ns for b in self._fills.values() if is_trade(b.fill)]
        waiting = [fill.matched_wall_ns for fill in self.provisional()]
        return min(waiting, default=max(times, default=0)) // 1_000_000_000

    def provisional(self) -> list[Fill]:
        """Whose tokens and dollars may or may not be there: not final yet, or waiting for its day."""
        return self._unfinished() + [fill for fill, _ in self._waiting.values()]

    def _unfinished(self) -> list[Fill]:
        return [b.fill for b in self._fills.values() if b.status is FillStatus.PROVISIONAL]

    def pending_cash(self) -> tuple[int, int]:
        """How far the wallet may lie below and above what the books say while trades are not final: it may
        not have received yet what a sale brings, nor paid what a purchase costs. What waits for its day is
        not in the books, and the wallet may have moved with it."""
        flows = [trade_cash(fill) for fill in self._unfinished()]
        flows += [-trade_cash(fill) for fill, _ in self._waiting.values()]
        return sum(flow for flow in flows if flow > 0), -sum(flow for flow in flows if flow < 0)

    def resolved_micros(self) -> dict[str, int]:
        """By market, what resolutions were booked at."""
        found: dict[str, int] = {}
        for booked in self._fills.values():
            if booked.fill.trade_id.startswith(RESOLUTION) and booked.status is not FillStatus.REVERSED:
                condition = booked.fill.condition_id
                found[condition] = found.get(condition, 0) + booked.fill.value
        return found

    def status(self, key: tuple[str, str]) -> FillStatus | None:
        booked = self._fills.get(key)
        return None if booked is None else booked.status

    # --- changes ---

    def apply(self, update: TradeUpdate) -> list[Change]:
        changes = []
        for fill in update.fills:
            change = self._apply_one(fill, update.status)
            if change is not None:
                changes.append(change)
        return changes

    def _apply_one(self, fill: Fill, status: str) -> Change | None:
        booked = self._fills.get(fill.key)
        if booked is None:
            before = self._waiting.pop(fill.key, None)
            if status == "FAILED":
                self.changes += before is not None
                self._fills[fill.key] = Booked(fill, FillStatus.REVERSED, 0, self.day)
                return Change(ChangeKind.IGNORED, fill, 0, self.day)
            if is_trade(fill) and day_of(fill.matched_wall_ns) > self.day:
                known = before is not None and before[1] == "CONFIRMED"
                self._waiting[fill.key] = fill, "CONFIRMED" if known else status
                self.changes += before is None
                return None
            final = FillStatus.FINAL if status == "CONFIRMED" else FillStatus.PROVISIONAL
            return self._book(fill, final)
        if booked.status is not FillStatus.PROVISIONAL:
            return None
        if status == "CONFIRMED":
            booked.status = FillStatus.FINAL
            return Change(ChangeKind.FINAL, booked.fill, booked.sequence, booked.day)
        if status == "FAILED":
            return self._reverse(booked)
        return None

    def due(self) -> list[TradeUpdate]:
        """What waited for the day that has begun, in the order in which it came: to be applied now."""
        if not self._waiting:
            return []
        return [
            TradeUpdate(word, (fill,))
            for fill, word in self._waiting.values()
            if day_of(fill.matched_wall_ns) <= self.day
        ]

    def _book(self, fill: Fill, status: FillStatus) -> Change:
        self.sequence += 1
        matched = day_of(fill.matched_wall_ns)
        # What is booked here (a resolution, a balance) has our own stamp, which a wall set back makes old.
        if is_trade(fill) and self._first_day <= matched < self.day:
            self._fills[fill.key] = Booked(fill, status, self.sequence, matched)
            self._count_cash(fill, 1)
            self._book_late(fill)
            return Change(ChangeKind.BOOKED, fill, self.sequence, matched)
        booked = Booked(fill, status, self.sequence, self.day)
        self._fills[fill.key] = booked
        self._count_cash(fill, 1)
        token = self._token(fill.token)
        token.today.append(booked)
        token.position.apply(fill.side, fill.size, fill.value, fill.fee_e8)
        return Change(ChangeKind.BOOKED, fill, self.sequence, self.day)

    def _book_late(self, fill: Fill) -> None:
        """A fill of a closed day, learnt today: part of the opening at the opening's mark."""
        token = self._token(fill.token)
        mark = fill.price if token.opening_mark is None else token.opening_mark
        worth = fill.size * mark // 1_000_000
        opening = token.opening
        opening.apply(fill.side, fill.size, worth, 0)
        token.opening = Position(opening.quantity, opening.cost_micros - opening.realized_micros)
        gain = worth - fill.value if fill.side is Side.BUY else fill.value - worth
        result = gain - -(-fill.fee_e8 // 100)
        self.late_micros += result
        self.closed_micros += result
        self._replay(fill.token)

    def _count_cash(self, fill: Fill, sign: int) -> None:
        self.changes += 1
        if is_trade(fill):
            self.trade_cash_micros += sign * trade_cash(fill)

    def _reverse(self, booked: Booked) -> Change:
        booked.status = FillStatus.REVERSED
        fill = booked.fill
        self._count_cash(fill, -1)
        if booked.day == self.day:
            self._replay(fill.token)
        else:
            self._reverse_earlier(fill)
        return Change(ChangeKind.REVERSED, fill, booked.sequence, booked.day)

    def _reverse_earlier(self, fill: Fill) -> None:
        """A fill of an earlier day: its opposite at the same price is part of the new day's opening."""
        token = self._token(fill.token)
        opening = token.opening
        opening.apply(fill.side.opposite, fill.size, fill.value, -fill.fee_e8)
        token.opening = Position(opening.quantity, opening.cost_micros - opening.realized_micros)
        self._replay(fill.token)

    def settle(self, market: Market, winner: Outcome, wall_ns: int) -> list[Change]:
        """The market is resolved: winning shares are worth one USD, losing shares nothing."""
        changes = []
        for outcome in Outcome:
            token = market.tokens[outcome]
            quantity = self.position(token).quantity
            if quantity > 0:
                worth = Price(1_000_000 if outcome is winner else 0)
                # A fill that came to light after the first booking is settled by another one.
                trade_id = f"{RESOLUTION}:{market.condition_id}"
                if self.known((trade_id, token)):
                    trade_id = f"{RESOLUTION}:{self.sequence + 1}:{market.condition_id}"
                fill = Fill(
                    trade_id,
                    token,
                    market.condition_id,
                    token,
                    Side.SELL,
                    worth,
                    Size(quantity),
                    True,
                    0,
                    wall_ns,
                )
                changes.append(self._book(fill, FillStatus.FINAL))
        return changes

    def adopt(self, market: Market, token: str, quantity: int, price: Price, wall_ns: int) -> Change | None:
        """The venue holds another quantity than our books: follow the venue, at the given price."""
        difference = quantity - self.position(token).quantity
        if difference == 0:
            return None
        side = Side.BUY if difference > 0 else Side.SELL
        fill = Fill(
            f"{ADOPTED}:{wall_ns}",
            token,
            market.condition_id,
            token,
            side,
            price,
            Size(abs(difference)),
            True,
            0,
            wall_ns,
        )
        return self._book(fill, FillStatus.FINAL)

    def unadopt(self, token: str) -> list[Change]:
        """Take back what was adopted today of a token: what explains it has come to light, or the whole
        difference is adopted anew."""
        return [
            self._reverse(booked)
            for booked in list(self._token(token).today)
            if booked.fill.trade_id.startswith(ADOPTED) and booked.status is not FillStatus.REVERSED
        ]

    def exchange(self, market: Market, transaction: str, size: int, side: Side, wall_ns: int) -> list[Change]:
        """Dollars became pairs of tokens (BUY) or the reverse: each half of a dollar's pair at one half."""
        fills = [
            Fill(
                f"{EXCHANGE}:{transaction}",
                token,
                market.condition_id,
                token,
                side,
                HALF,
                Size(size),
                True,
                0,
                wall_ns,
            )
            for token in market.tokens
        ]
        return [self._book(fill, FillStatus.FINAL) for fill in fills if not self.known(fill.key)]

    def roll(self, day: int, marks: Mapping[str, int] | None = None) -> dict[str, Position] | None:
        """A new UTC day: returns the openings to record; None when the day did not advance. What is held is
        carried over at its mark, so that yesterday's result stays in yesterday; without one, at its cost."""
        if day <= self.day:
            return None
        self.day = day
        self.late_micros = 0
        for name, token in self.tokens.items():
            token.opening = token.position.opening()
            token.opening_mark = (marks or {}).get(name)
            if token.opening_mark is not None:
                token.opening.cost_micros = token.opening.quantity * token.opening_mark // 1_000_000
            token.position = token.opening.opening()
            token.today.clear()
        return {name: token.opening for name, token in self.tokens.items()}

    def openings(self) -> dict[str, Position]:
        return {name: token.opening for name, token in self.tokens.items()}

    def _token(self, token: str) -> Token:
        return self.tokens.setdefault(token, Token())

    def _replay(self, name: str) -> None:
        token = self._token(name)
        position = token.opening.opening()
        for booked in token.today:
            if booked.status is not FillStatus.REVERSED:
                fill = booked.fill
                position.apply(fill.side, fill.size, fill.value, fill.fee_e8)
        token.position = position
