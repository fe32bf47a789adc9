"""The duty cycle of execution: what rests against what should rest.

Decisions are synchronous and happen in `step`; everything that waits on the venue is a task beside it, so a
slow venue never stops the heartbeat to the ledger.

    views -> step -> order_desk (orders out and back) -> account (totals) -> ledger
                     reconcile  (venue's word)        -> account
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.messages import LedgerState, StrategyId
from polymarket_bot.api.polymarket import MAX_BATCH, Exchange
from polymarket_bot.errors import VenueError
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.day import Day
from polymarket_bot.execution.order_desk import OrderDesk
from polymarket_bot.execution.ports import Budget, Clock, MarketView, Reporter, Store
from polymarket_bot.execution.reconcile import Reconciler
from polymarket_bot.execution.settlement import Settlement
from polymarket_bot.model import Intent, Market, Order, OrderState, Outcome, Price, Quote, Side, Size
from polymarket_bot.risk.manager import RiskManager
from polymarket_bot.strategy.market_maker import keep

Key = tuple[str, Outcome, Side]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    tolerance_ticks: int
    min_edge: Price
    requote_interval_ns: int


class ExecutionEngine:
    """Puts the account, its orders and the venue's word together. Lives in the event loop's thread."""

    def __init__(
        self,
        exchange: Exchange,
        budget: Budget,
        risk: RiskManager,
        settlement: Settlement,
        store: Store,
        reporter: Reporter,
        clock: Clock,
        settings: EngineSettings,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.account = Account(risk, settlement, budget, reporter, clock)
        self.desk = OrderDesk(self.account, exchange, budget, store, reporter, clock, spawn)
        self.day = Day(self.account, self.desk, budget, store, reporter)
        self.reconciler = Reconciler(self.account, self.desk, exchange, budget, store, reporter, clock)
        self._exchange = exchange
        self._budget = budget
        self._clock = clock
        self._settings = settings
        self._last_placed: dict[Key, int] = {}
        self.pulled = False  # quotes are pulled: halted, lease expired, or stopping

    def step(self, views: Mapping[str, MarketView], stopping: bool = False) -> None:
        """Judge the state, cancel what should not rest, place what should, charge the ledger."""
        now = self._clock.now_ns()
        state = self._budget.state()
        for condition_id, view in views.items():
            risk = self.account.risk.markets.get(condition_id)
            if risk is not None and view.top is not None and risk.set_prices(view.top.bid, view.top.ask):
                self.account.dirty = True
        lease = self._budget.lease_fresh(now)
        stopped = stopping or state in (LedgerState.HALTED, LedgerState.CANCEL_ONLY) or not lease
        stopped = stopped or self.day.forbids()
        if state in (LedgerState.HALTED, LedgerState.CANCEL_ONLY) or not lease:
            # The gate was passed before; a request that still waits for its connection must not go out.
            for task in list(self.desk.sending):
                task.cancel()
        if stopped:
            self._pull_all(now)
        elif state is not LedgerState.INIT:
            reducing_only = state is LedgerState.REDUCING or self.account.risk.cash_differs
            self._quote_all(views, now, reducing_only)
        self.pulled = stopped
        self.desk.retry(now)
        self.account.charge(now)
        self.day.follow(now)
        self.reconciler.book_due()
        self._budget.beat(state is LedgerState.HALTED and not self.desk.sending, now)

    def _pull_all(self, now: int) -> None:
        self.desk.cancel_due(
            [o for o in self.desk.open_orders() if o.state is not OrderState.PENDING_NEW], now
        )

    def _quote_all(self, views: Mapping[str, MarketView], now: int, reducing_only: bool) -> None:
        cancels: list[Order] = []
        places: list[Intent] = []
        for condition_id, market in self.account.markets.items():
            view = views.get(condition_id)
            wanted = list(view.quotes) if view is not None else []
            resting = [
                order
                for order in self.desk.open_orders(condition_id)
                if order.intent.strategy == StrategyId.MARKET_MAKER
            ]
            blocked: set[Outcome | tuple[Outcome, Side]] = set()
            for order in resting:
                match = self._match(order, wanted, view)
                if match is not None and reducing_only and not self._rests_harmlessly(order):
                    cancels.append(order)
                elif match is not None:
                    wanted.remove(match)
                elif order.state is not OrderState.PENDING_NEW:
                    cancels.append(order)
                blocked.add((order.intent.outcome, order.intent.side))
            if view is not None and view.may_place and now >= self.desk.paused_until:
                places += self._wanted_intents(market, wanted, blocked, now)
        if reducing_only:
            places = [intent for intent in places if self._reduces(intent)]
        self.desk.cancel_due(cancels, now)
        for start in range(0, len(places), MAX_BATCH):
            self.desk.start_placing(places[start : start + MAX_BATCH], views)

    def _match(self, order: Order, wanted: Iterable[Quote], view: MarketView | None) -> Quote | None:
        """The wanted quote that this resting order already is, near enough to keep its place."""
        if (
            view is None
            or view.fair is None
            or order.cancel_requested_ns
            or order.state is OrderState.UNKNOWN
        ):
            return None
        intent = order.intent
        resting = Quote(intent.outcome, intent.side, intent.price, Size(order.remaining))
        fair = Price(view.fair if intent.outcome is Outcome.YES else 1_000_000 - view.fair)
        for quote in wanted:
            edge = self._settings.min_edge
            if keep(resting, quote, view.tick, self._settings.tolerance_ticks, edge, fair):
                return quote
        return None

    def _wanted_intents(
        self, market: Market, wanted: Iterable[Quote], blocked: set[Any], now: int
    ) -> list[Intent]:
        """Quotes that have no order yet. A token and side whose old order is not yet gone waits for it,
        and so does the order that would have to wait for a sale of the same tokens."""
        intents = []
        busy = {(i.condition_id, i.outcome, i.side) for i in self.desk.placing.values()}
        for quote in wanted:
            key = (market.condition_id, quote.outcome, quote.side)
            if (quote.outcome, quote.side) in blocked or key in busy:
                continue
            if (
                now - self._last_placed.get(key, -self._settings.requote_interval_ns)
                < self._settings.requote_interval_ns
            ):
                continue
            self._last_placed[key] = now
            intents.append(
                Intent(
                    self._budget.next_client_order_id(),
                    market.condition_id,
                    market.tokens[quote.outcome],
                    quote.outcome,
                    quote.side,
                    quote.price,
                    quote.size,
                    True,
                    int(StrategyId.MARKET_MAKER),
                )
            )
        return intents

    def _rests_harmlessly(self, order: Order) -> bool:
        """Whether the resting order adds nothing to what is used: take it off, look, put it back."""
        used = self.account.risk.used()
        self.account.risk.remove_order(order.intent)
        without = self.account.risk.used()
        self.account.risk.add_order(order.intent)
        self.account.risk.resize_order(order.intent, order.remaining)
        return used[0] <= without[0] and used[1] <= without[1]

    def _reduces(self, intent: Intent) -> bool:
        """Whether the order adds no risk: charge it, look, and take it off again."""
        reducing = self.account.risk.add_order(intent)
        self.account.risk.remove_order(intent)
        return reducing

    # --- ends ---

    def drop_market(self, condition_id: str) -> bool:
        """Charge a market no longer. False while anything in it can still change what is held: tokens, an
        order whose end or fills are not all known, one about to be sent, a fill that may be taken back."""
        market = self.account.markets[condition_id]
        held = any(self.account.settlement.position(token).quantity for token in market.tokens)
        orders = (order.intent for order in self.desk.orders.values())
        busy = any(i.condition_id == condition_id for i in (*orders, *self.desk.placing.values()))
        if held or busy or self.account.unsettled(condition_id):
            return False
        del self.account.markets[condition_id]
        self.account.risk.markets.pop(condition_id, None)
        return True

    async def stop(self, limit_s: float) -> int:
        """Cancel everything and wait for the confirmations; the number of orders still open after it."""
        self.desk.stopping = True
        deadline = self._clock.now_ns() + int(limit_s * 1e9)
        while (self.desk.open_orders() or self.desk.sending) and self._clock.now_ns() < deadline:
            for task in list(self.desk.sending):
                if self._clock.now_ns() > deadline - int(limit_s * 0.7e9):
                    task.cancel()
            self.step({}, stopping=True)
            await asyncio.sleep(0.05)
            await self.reconciler.reconcile()
        try:
            left = await self._exchange.open_orders()
            if left:
                await self._exchange.cancel_all()
                left = await self._exchange.open_orders()
        except VenueError:
            return len(self.desk.open_orders())
        return len(left)
