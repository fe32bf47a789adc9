"""Whose an order of the account is.

Ours is in storage (written before its bytes leave), or in a slot of the shared ledger (which outlives a lost
database). An order in neither was placed by another system, or by a person in the browser: Polymarket's
orders carry no name of their maker, so the two cannot be told apart, and both halt. Two systems mean two
budgets for one account, and a dead-man switch that each takes from the other.

What was over before we started is history: a fill of then is booked and does not halt, else a home whose
database was lost could never start again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bridge.messages import HaltReason
from polymarket_bot.execution.ports import Budget, Clock, Reporter, Store
from polymarket_bot.model import TradeUpdate

SLACK_NS = 2_000_000_000  # the venue's times are whole seconds, and its clock is not ours
REMEMBERED = 4_000
ADVICE = "stop the other one or cancel by hand (control kill does), then control resume"


class ForeignOrders:
    """Judges order ids that the desk does not know, and halts for what is not ours."""

    def __init__(self, budget: Budget, store: Store, reporter: Reporter, clock: Clock) -> None:
        self._budget = budget
        self._store = store
        self._report = reporter
        self._since_ns = clock.wall_ns() + SLACK_NS
        self._ours: set[str] = set()
        self._told: set[str] = set()
        self.seen: Callable[[], None] = lambda: None  # another system was found: make ourselves seen too

    async def split(self, order_ids: Iterable[str]) -> tuple[list[str], list[str]]:
        """(ours, not ours). BotError when storage cannot be read: then nobody knows."""
        asked = list(order_ids)
        unknown = [order_id for order_id in asked if order_id not in self._ours]
        if unknown:
            if len(self._ours) > REMEMBERED:
                self._ours.clear()
            self._ours |= await self._store.known_orders(unknown)
            self._ours |= set(unknown) & self._budget.slot_ids()
        return [o for o in asked if o in self._ours], [o for o in asked if o not in self._ours]

    async def judge_open(self, order_ids: Iterable[str]) -> list[str]:
        """Those of these open orders that are ours; halts for the others."""
        ours, others = await self.split(order_ids)
        if others:
            self._halt(others, "is open on this account")
        return ours

    async def judge_trades(self, trades: Iterable[TradeUpdate]) -> None:
        """Halts for fills, of after our start, of orders that were never ours."""
        fills = [fill for trade in trades for fill in trade.fills if fill.matched_wall_ns >= self._since_ns]
        if fills:
            _, others = await self.split({fill.order_id for fill in fills})
            if others:
                self._halt(others, "was filled on this account")

    def _halt(self, order_ids: list[str], what: str) -> None:
        """A new order halts (again, after a resume); one that was told of only while it is the reason."""
        news = [order_id for order_id in order_ids if order_id not in self._told]
        self._told |= set(news)
        if "filled" in what and not news:
            return  # looked at by the person who resumed
        text = f"an order that is not ours ({order_ids[0][:18]}…"
        more = f", {len(order_ids) - 1} more" if len(order_ids) > 1 else ""
        self._budget.halt(HaltReason.FOREIGN)
        if news:
            self._report.event(2, "halted", f"{text}{more}) {what}: {ADVICE}")
            self.seen()
