"""What the account holds and what it is charged: markets, holdings, marks, the day, and the ledger's totals.

Everything here is synchronous. Orders and fills change it, and the duty cycle charges the ledger from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from polymarket_bot.execution.cash import CashBook
from polymarket_bot.execution.ports import Budget, Clock, Reporter
from polymarket_bot.execution.settlement import Position, Settlement
from polymarket_bot.model import ONE, Holdings, Market, Price, Size
from polymarket_bot.risk.manager import RiskManager

CHARGE_EVERY_NS = 100_000_000


class Account:
    """Owner of the markets that are charged, and of the terms of every market ever met."""

    def __init__(
        self, risk: RiskManager, settlement: Settlement, budget: Budget, reporter: Reporter, clock: Clock
    ) -> None:
        self.risk = risk
        self.settlement = settlement
        self.cash = CashBook()
        self._budget = budget
        self._report = reporter
        self._clock = clock
        self.markets: dict[str, Market] = {}
        self.known: dict[str, Market] = {}  # every market that a fill may name
        self.market_named: Callable[[Market], None] = lambda market: None
        self.market_held: Callable[[], None] = lambda: None  # a market that was not watched is held
        self.dirty = True  # totals have changed since the ledger was charged
        self._repriced_ns = 0

    # --- markets ---

    def remember(self, market: Market) -> Market:
        """Keep the terms of a market, so that a late fill in it is charged and settled; under a name of its
        own, because a venue may list the same question again."""
        known = self.known.get(market.condition_id)
        names, number = market.symbols, 1
        taken = {name for other in self.known.values() for name in other.symbols}
        while known is None and taken.intersection(names):
            number += 1
            yes, no = market.symbols
            names = (f"{yes[:28]}#{number}", f"{no[:28]}#{number}")
        market = replace(market, symbols=known.symbols if known is not None else names)
        self.known[market.condition_id] = market
        self.market_named(market)
        return market

    def set_market(self, market: Market) -> None:
        market = self.remember(market)
        self.markets[market.condition_id] = market
        self.risk.add_market(market)
        self.risk.markets[market.condition_id].market = market
        self.sync_held(market.condition_id)

    def set_tick(self, condition_id: str, tick: Price) -> None:
        market = self.markets[condition_id]
        if market.tick != tick and tick > 0:
            self.set_market(replace(market, tick=tick))

    def unsettled(self, condition_id: str) -> bool:
        return any(fill.condition_id == condition_id for fill in self.settlement.provisional())

    # --- totals ---

    def holdings(self, market: Market) -> Holdings:
        yes, no = (self.settlement.position(token).quantity for token in market.tokens)
        return Holdings(Size(max(0, yes)), Size(max(0, no)))

    def sync_held(self, condition_id: str) -> None:
        market = self.markets.get(condition_id)
        if market is None:
            market = self.known.get(condition_id)
            if market is not None:
                self.set_market(market)
                self.market_held()
            return
        holdings = self.holdings(market)
        self.risk.set_held(condition_id, holdings.yes, holdings.no)

    def day_account(self) -> tuple[int, int, int]:
        """Realized and unrealized micros and fees (1e-8) of the day, over all tokens."""
        realized = unrealized = fees = 0
        marks = self.marks()
        for token, entry in self.settlement.tokens.items():
            position = entry.position
            realized += position.realized_micros
            fees += position.fees_e8
            if position.quantity:
                unrealized += position.unrealized_micros(marks.get(token, _average(position)))
        return realized, unrealized, fees

    def day_cash(self) -> int:
        """Micros of the day's result that came or went without a fill."""
        return self.cash.day_micros(self.settlement.day)

    def recount_cash(self) -> None:
        """Redemptions are set against the resolutions in the books anew: one of both has changed."""
        tokens = {token for token, entry in self.settlement.tokens.items() if entry.position.quantity}
        held = {c for c, market in self.known.items() if tokens.intersection(market.tokens)}
        self.cash.recount(self.settlement.resolved_micros(), frozenset(held), frozenset(self.known))
        self.dirty = True

    def marks(self) -> dict[str, int]:
        """What a share of each token counts for in the day's result."""
        marks: dict[str, int] = {}
        for risk in self.risk.markets.values():
            mark = self._cost_mark(risk.market) if risk.mark is None else risk.mark
            marks[risk.market.tokens[0]] = mark
            marks[risk.market.tokens[1]] = ONE - mark
        return marks

    def _cost_mark(self, market: Market) -> int:
        """No price was ever seen: the mark at which what is held is worth what it cost, as far as one in
        0..1 can be, because a pair of both tokens is worth one dollar whatever it cost."""
        yes, no = (self.settlement.position(token) for token in market.tokens)
        net = yes.quantity - no.quantity
        excess = (yes.cost_micros + no.cost_micros - no.quantity) * ONE
        if net == 0:
            return ONE // 2
        return max(0, min(ONE, excess // net if net > 0 else -(excess // -net)))

    def mark_of(self, token: str) -> int:
        mark = self.marks().get(token)
        return _average(self.settlement.position(token)) if mark is None else mark

    def day_micros(self) -> int:
        """The day's result: realized and unrealized less fees, which are rounded up."""
        realized, unrealized, fees = self.day_account()
        return realized + unrealized - -(-fees // 100) + self.day_cash()

    def refresh_day(self) -> None:
        """What the limit sees: also a loss that belongs to a closed day and was learnt today."""
        self.risk.day_micros = self.day_micros() + min(0, self.settlement.late_micros)

    def charge(self, now: int) -> None:
        if not self.dirty and now - self._repriced_ns < CHARGE_EVERY_NS:
            return
        self.refresh_day()
        self._budget.reprice(self.risk.used(), self.risk.positions(), now)
        self._repriced_ns = now
        self.dirty = False


def _average(position: Position) -> int:
    """Cost per share, the mark of a token whose market is not known."""
    return position.cost_micros * ONE // position.quantity if position.quantity else 0
