"""Worst further loss of outcome tokens, the day's loss, and the checks before the shared ledger.

For one binary market with marks m (YES) and 1 - m (NO), holdings y and n, and open orders of which any
subset may fill:

    loss if YES wins = n (1 - m) - y (1 - m) + sum over BUY NO of p s + sum over SELL YES of (1 - p) s
    loss if NO wins  = y m       - n m       + sum over BUY YES of p s + sum over SELL NO of (1 - p) s
    W = max(0, both) + fees that open orders can still cost

    used[LOSS]     = L + sum of W          L = max(0, -(realized + unrealized - fees) of the day)
    used[NOTIONAL] = sum of y m + n (1 - m) + sum over open buys of p s

What a YES share is worth lies in low <= m <= high: with a two-sided book both are the mid, with a one-sided
book a missing bid is 0 and a missing ask is 1, and without a book anything is possible. For holdings of net
x = y - n, L falls and W rises by x for each unit of m, and L is cut at zero. So L at any possible m, and W at
the end of the range where x is worth most, make a sum that is never below L + W at the true m. A market of
which no price was ever seen counts at its cost in L.

Sums are kept incrementally and are integers, rounded up order by order, so that adding and removing an
order restores them exactly. Everything here is synchronous and takes the time as an argument.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from bridge.messages import RejectReason
from polymarket_bot.model import (
    LOT,
    ONE,
    Intent,
    Market,
    Outcome,
    Price,
    Side,
    Size,
    fee_ceiling_micros,
    value_ceil,
)

LOSS, NOTIONAL = 0, 1
Used = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """The bot's own limits; the shared budget comes after them. Money in micros, sizes in micro-shares."""

    max_order_size: Size
    max_order_notional_micros: int
    max_position: Size
    max_open_orders: int
    price_collar: Price
    orders_per_10s: int
    daily_loss_micros: int
    rejects_per_minute: int = 30
    minimum_marketable_micros: int = ONE  # a marketable order needs one USD (Polymarket docs)


@dataclass(slots=True)
class OpenRisk:
    """What one open order can still do."""

    outcome: Outcome
    side: Side
    price: int
    remaining: int
    post_only: bool


def adverse_micros(side: Side, price: int, size: int) -> int:
    """What a fill can lose in the outcome against it: a buy its cost, a sell the rest of the dollar."""
    return value_ceil(price if side is Side.BUY else ONE - price, size)


def hurts(outcome: Outcome, side: Side) -> Outcome:
    """The winner under which a fill of this order loses: buying YES loses when NO wins, and so on."""
    return outcome.other if side is Side.BUY else outcome


@dataclass(slots=True)
class MarketRisk:
    """One market's holdings, mark and open orders, with their sums."""

    market: Market
    mark: int | None = None  # what a YES share counts for in the day's result; None: no price was ever seen
    low: int = 0  # what it can be worth, at least and at most
    high: int = ONE
    one_sided: bool = False
    held: list[int] = field(default_factory=lambda: [0, 0])
    orders: dict[int, OpenRisk] = field(default_factory=dict)
    adverse: list[int] = field(default_factory=lambda: [0, 0])  # by winning outcome
    buys_micros: int = 0
    fees_micros: int = 0
    buying: list[int] = field(default_factory=lambda: [0, 0])  # open sizes, by outcome
    selling: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, order_id: int, order: OpenRisk) -> None:
        self.orders[order_id] = order
        self._account(order, 1)

    def remove(self, order_id: int) -> None:
        order = self.orders.pop(order_id, None)
        if order is not None:
            self._account(order, -1)

    def resize(self, order_id: int, remaining: int) -> None:
        order = self.orders.get(order_id)
        if order is not None:
            self._account(order, -1)
            order.remaining = remaining
            self._account(order, 1)

    def set_prices(self, bid: int | None, ask: int | None) -> bool:
        """Best prices of the YES book, None where that side is empty. True when anything has changed."""
        before = (self.mark, self.low, self.high)
        if bid is not None and ask is not None:
            self.low = self.high = self.mark = (bid + ask) // 2
        else:
            self.low, self.high = bid or 0, ONE if ask is None else ask
        self.one_sided = (bid is None) is not (ask is None)
        self._count()
        return before != (self.mark, self.low, self.high)

    def hold(self, yes: int, no: int) -> None:
        self.held = [yes, no]
        self._count()

    def _count(self) -> None:
        """What is held counts for what is bid for it, nothing when nobody bids; an empty book is silent."""
        if self.one_sided:
            self.mark = self.low if self._net() >= 0 else self.high

    def _net(self) -> int:
        return self.held[Outcome.YES] - self.held[Outcome.NO]

    def _most(self) -> int:
        """The possible worth of a YES share at which what is held has most to lose."""
        return self.high if self._net() >= 0 else self.low

    def _account(self, order: OpenRisk, sign: int) -> None:
        loser = hurts(order.outcome, order.side)
        self.adverse[loser] += sign * adverse_micros(order.side, order.price, order.remaining)
        sizes = self.buying if order.side is Side.BUY else self.selling
        sizes[order.outcome] += sign * order.remaining
        if order.side is Side.BUY:
            self.buys_micros += sign * value_ceil(order.price, order.remaining)
        if not order.post_only:
            self.fees_micros += sign * fee_ceiling_micros(self.market.fee, order.remaining)

    def worst_micros(self) -> int:
        """W: rounded up, never negative before fees."""
        net, most = self._net(), self._most()
        if_yes = value_ceil(ONE - most, -net) + self.adverse[Outcome.YES]
        if_no = value_ceil(most, net) + self.adverse[Outcome.NO]
        return max(0, if_yes, if_no) + self.fees_micros

    def notional_micros(self, with_orders: bool = True) -> int:
        (yes, no), most = self.held, self._most()
        held = value_ceil(most, yes) + value_ceil(ONE - most, no)
        return held + (self.buys_micros if with_orders else 0)

    def positions_only(self) -> int:
        net, most = self._net(), self._most()
        return max(0, value_ceil(ONE - most, -net), value_ceil(most, net))

    def worst_net(self) -> tuple[int, int]:
        """Lowest and highest YES minus NO that open orders can lead to."""
        net = self._net()
        up = self.buying[Outcome.YES] + self.selling[Outcome.NO]
        down = self.buying[Outcome.NO] + self.selling[Outcome.YES]
        return net - down, net + up


@dataclass(frozen=True, slots=True)
class Gate:
    """What must hold for an order that adds risk; each false one is a reason to refuse."""

    session_ready: bool
    sees_own_fills: bool
    dead_man_armed: bool
    book_fresh: bool
    clock_agrees: bool = True


class RiskManager:
    """All markets of the bot. Owned by the event loop thread."""

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.markets: dict[str, MarketRisk] = {}
        self.day_micros = 0  # realized + unrealized - fees of the UTC day
        self.runaway = False
        self.unplaced: Used = (0, 0)  # orders of an earlier process in markets that we do not know
        self.cash_differs = False  # from the books, unexplained: only orders that add no risk
        self._sent: deque[int] = deque()
        self._rejected: deque[int] = deque()

    def add_market(self, market: Market) -> None:
        self.markets.setdefault(market.condition_id, MarketRisk(market))

    def set_prices(self, condition_id: str, bid: Price | None, ask: Price | None) -> bool:
        return self.markets[condition_id].set_prices(bid, ask)

    def set_held(self, condition_id: str, yes: int, no: int) -> None:
        self.markets[condition_id].hold(yes, no)

    # --- totals ---

    def loss_micros(self) -> int:
        return max(0, -self.day_micros)

    def used(self) -> Used:
        worst = sum(market.worst_micros() for market in self.markets.values())
        notional = sum(market.notional_micros() for market in self.markets.values())
        return self.loss_micros() + worst + self.unplaced[LOSS], notional + self.unplaced[NOTIONAL]

    def positions(self) -> Used:
        """The part of `used` that is loss so far and positions."""
        worst = sum(market.positions_only() for market in self.markets.values())
        held = sum(market.notional_micros(with_orders=False) for market in self.markets.values())
        return self.loss_micros() + worst, held

    # --- orders ---

    def add_order(self, intent: Intent) -> bool:
        """Charge the order; True when it adds no risk in either dimension."""
        before = self.used()
        risk = OpenRisk(intent.outcome, intent.side, intent.price, intent.size, intent.post_only)
        self.markets[intent.condition_id].add(intent.client_order_id, risk)
        after = self.used()
        return after[LOSS] <= before[LOSS] and after[NOTIONAL] <= before[NOTIONAL]

    def resize_order(self, intent: Intent, remaining: int) -> None:
        self.markets[intent.condition_id].resize(intent.client_order_id, remaining)

    def remove_order(self, intent: Intent) -> None:
        self.markets[intent.condition_id].remove(intent.client_order_id)

    def note_sent(self, now_ns: int) -> None:
        self._sent.append(now_ns)

    def note_rejected(self, now_ns: int) -> None:
        """Too many refusals by the venue in a minute stop new orders until a person looks."""
        self._rejected.append(now_ns)
        _forget(self._rejected, now_ns - 60_000_000_000)
        if len(self._rejected) > self.limits.rejects_per_minute:
            self.runaway = True

    def check(self, intent: Intent, gate: Gate, fair: Price | None, now_ns: int) -> RejectReason:
        """Local limits, first failure wins. `fair` is the reference price of the order's own token."""
        market = self.markets.get(intent.condition_id)
        if market is None:
            return RejectReason.UNKNOWN_INSTRUMENT
        reason = self._check_form(intent, market)
        if reason is RejectReason.NONE:
            reason = self._check_state(intent, gate, now_ns)
        if reason is RejectReason.NONE:
            reason = self._check_exposure(intent, market, fair)
        return reason

    def _check_form(self, intent: Intent, market: MarketRisk) -> RejectReason:
        tick = market.market.tick
        if intent.client_order_id in market.orders:
            return RejectReason.DUPLICATE
        if intent.price % tick or not tick <= intent.price <= ONE - tick:
            return RejectReason.TICK_SIZE
        if intent.size % LOT or intent.size < market.market.minimum_size:
            return RejectReason.LOT_SIZE
        if intent.size > self.limits.max_order_size:
            return RejectReason.MAX_QUANTITY
        value = value_ceil(intent.price, intent.size)
        if value > self.limits.max_order_notional_micros:
            return RejectReason.MAX_NOTIONAL
        if not intent.post_only and value < self.limits.minimum_marketable_micros:
            return RejectReason.MIN_NOTIONAL
        return RejectReason.NONE

    def _check_state(self, intent: Intent, gate: Gate, now_ns: int) -> RejectReason:
        if self.runaway:
            return RejectReason.RUNAWAY
        if not gate.session_ready:
            return RejectReason.SESSION
        if not gate.sees_own_fills:
            return RejectReason.BLIND
        if not gate.dead_man_armed:
            return RejectReason.DEAD_MAN
        if not gate.book_fresh:
            return RejectReason.STALE_DATA
        if not gate.clock_agrees:
            return RejectReason.CLOCK
        if self.loss_micros() >= self.limits.daily_loss_micros:
            return RejectReason.DAILY_LOSS
        _forget(self._sent, now_ns - 10_000_000_000)
        if len(self._sent) >= self.limits.orders_per_10s:
            return RejectReason.THROTTLE
        return RejectReason.NONE

    def _check_exposure(self, intent: Intent, market: MarketRisk, fair: Price | None) -> RejectReason:
        if len(market.orders) >= self.limits.max_open_orders:
            return RejectReason.OPEN_ORDERS
        if fair is None:
            return RejectReason.SIGNAL
        beyond = intent.price - fair if intent.side is Side.BUY else fair - intent.price
        if beyond > self.limits.price_collar:
            return RejectReason.PRICE_COLLAR
        if intent.side is Side.SELL:
            free = market.held[intent.outcome] - market.selling[intent.outcome]
            if intent.size > free:
                return RejectReason.INSUFFICIENT_BALANCE
        if trades_with_own(intent, market.orders.values()):
            return RejectReason.SELF_TRADE
        low, high = market.worst_net()
        longer = (intent.outcome is Outcome.YES) == (intent.side is Side.BUY)
        if longer and high + intent.size > self.limits.max_position:
            return RejectReason.POSITION_LIMIT
        if not longer and low - intent.size < -self.limits.max_position:
            return RejectReason.POSITION_LIMIT
        return RejectReason.NONE


def trades_with_own(intent: Intent, orders: Iterable[OpenRisk]) -> bool:
    """Whether the order would match an open one of ours: directly on its token, or across the pair
    (two buys at p + q >= 1 mint, two sells at p + q <= 1 merge)."""
    for other in orders:
        same_side = other.side is intent.side
        if other.outcome is intent.outcome:
            if same_side:
                continue
            buy, sell = (
                (intent.price, other.price) if intent.side is Side.BUY else (other.price, intent.price)
            )
            if buy >= sell:
                return True
        elif same_side:
            total = intent.price + other.price
            if total >= ONE if intent.side is Side.BUY else total <= ONE:
                return True
    return False


def _forget(times: deque[int], before_ns: int) -> None:
    while times and times[0] < before_ns:
        times.popleft()
