"""Comparing with the venue: fills from the stream and from REST, open orders, resolutions, and the start.

Fills are booked, made final or taken back here and nowhere else, whichever way they arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bridge.messages import ExecutionType, HaltReason
from polymarket_bot.api.decimals import format_scaled
from polymarket_bot.api.polymarket import Exchange
from polymarket_bot.errors import BotError, VenueAccountError, VenueError
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.foreign import ForeignOrders
from polymarket_bot.execution.order_desk import FILL_GRACE_NS, OrderDesk
from polymarket_bot.execution.ports import Budget, Clock, Reporter, Store
from polymarket_bot.execution.settlement import HALF, Change, ChangeKind
from polymarket_bot.execution.unseen import UNKNOWN_WINDOW_NS, UnseenOrders
from polymarket_bot.model import (
    DUST,
    ONE,
    FillStatus,
    Intent,
    Market,
    Order,
    OrderState,
    OrderUpdate,
    Outcome,
    Price,
    Side,
    TradeUpdate,
)

RECONCILE_EVERY_NS = 15_000_000_000
TRADE_OVERLAP_S = 30


class Reconciler:
    """Keeps the account and the order desk equal to what the venue says."""

    def __init__(
        self,
        account: Account,
        desk: OrderDesk,
        exchange: Exchange,
        budget: Budget,
        store: Store,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._account = account
        self._desk = desk
        self._exchange = exchange
        self._budget = budget
        self._store = store
        self._report = reporter
        self._clock = clock
        self.foreign = ForeignOrders(budget, store, reporter, clock)
        self._unseen = UnseenOrders(account, budget)
        self.reconciled_ns = 0
        self.stale = False  # the process stood still: the ledger is rebuilt after the next comparison
        self.trades_read_s = 0  # wall second up to which all trades of the account were read

    # --- fills ---

    def on_trade(self, update: TradeUpdate) -> None:
        """A trade of ours on the user stream. One in a market that we do not know yet waits for reconcile,
        which asks for the market first: a position without terms could not be charged."""
        if any(fill.condition_id not in self._account.known for fill in update.fills):
            self._desk.check_wanted.set()
            return
        self._apply(update)

    def _apply(self, update: TradeUpdate) -> None:
        """Book, make final, or take back."""
        for change in self._account.settlement.apply(update):
            self._on_change(change)

    def book_due(self) -> None:
        """Fills that were learnt before their day had begun."""
        for update in self._account.settlement.due():
            self._apply(update)

    def _on_change(self, change: Change) -> None:
        fill = change.fill
        self._store.save_change(change, self._account.settlement.status(fill.key) or FillStatus.PROVISIONAL)
        order = self._desk.orders.get(fill.order_id)
        if change.kind is ChangeKind.IGNORED and order is not None:
            order.reversed_size += fill.size  # the venue counts it as matched all the same
            self._desk.maybe_finish(order)
        if change.kind in (ChangeKind.FINAL, ChangeKind.IGNORED):
            return
        if change.day != self._account.settlement.day:
            self._changed_closed_day(change)
        self._account.sync_held(fill.condition_id)
        if order is not None:
            self._desk.fill_order(order, change)
        self._account.dirty = True
        self._report.fill(change, order)
        if order is not None:
            self._desk.maybe_finish(order)

    def _changed_closed_day(self, change: Change) -> None:
        """The opening of today is another one; what the day before lost by it is charged today too."""
        settlement = self._account.settlement
        self._store.save_openings(settlement.day, settlement.openings())
        if change.kind is ChangeKind.BOOKED:
            self._store.save_late(settlement.day, settlement.late_micros)
            self._report.event(
                1,
                "fill_of_closed_day",
                f"a fill of day {change.day}: it is that day's; learnt of closed days today: "
                f"{settlement.late_micros} micro-dollars, and today's limit is charged with a loss",
            )

    # --- what the venue is asked ---

    async def reconcile(self) -> bool:
        """Compare with the venue: open orders first, then trades, so that a fill between the two reads
        is seen. True when both could be read."""
        started = self._clock.now_ns()
        try:
            open_now = {update.order_id: update for update in await self._exchange.open_orders()}
            read_s = self._clock.wall_ns() // 1_000_000_000
            trades = await self._exchange.trades(self._trades_from_s() - TRADE_OVERLAP_S)
            if await self.learn_markets(trades):  # once more: their fees are known only now
                trades = await self._exchange.trades(self._trades_from_s() - TRADE_OVERLAP_S)
        except VenueAccountError as error:
            self._report.event(2, "account_refused", str(error))
            self._budget.halt(HaltReason.VENUE)
            return False
        except VenueError as error:
            self._report.event(1, "reconcile_failed", str(error))
            return False
        for trade in trades:
            self._apply(trade)
        self.trades_read_s = read_s
        self._store.save_trades_read(read_s)
        for order in list(self._desk.orders.values()):
            self._compare(order, open_now.get(order.venue_order_id), started)
        late = started - FILL_GRACE_NS
        orphans = [o for o in open_now if o not in self._desk.orders and self._desk.gone.get(o, 0) < late]
        try:
            await self.foreign.judge_trades(trades)
            orphans = await self.foreign.judge_open(orphans) if orphans else []
        except BotError as error:
            self._report.event(1, "reconcile_failed", str(error))
            return False
        self._unseen.expire(started, self._clock.now_ns())
        if orphans:
            self._report.event(1, "orphans_found", f"{len(orphans)} open orders of an earlier process")
            await self._desk.cancel_ids(orphans)
        self.reconciled_ns = self._clock.now_ns()
        if self.stale:
            self.stale = False
            self.rebuild()
        return True

    def _compare(self, order: Order, at_venue: OrderUpdate | None, asked_ns: int) -> None:
        if at_venue is not None:
            if order.ended and asked_ns - order.ended_ns > FILL_GRACE_NS:
                # A list that was not complete, or a cancel that did not hold: it rests after all.
                order.ended, order.final_matched = False, None
                self._account.risk.resize_order(order.intent, order.remaining)
                self._account.dirty = True
            if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
                self._budget.live(order.slot)
                self._desk.set_state(order, OrderState.WORKING, ExecutionType.STATUS)
            return
        if order.state is OrderState.PENDING_NEW or not order.sent_ns or order.sent_ns > asked_ns:
            return
        unseen = order.state is OrderState.UNKNOWN and not order.matched and not order.ended
        if unseen and asked_ns - order.sent_ns < UNKNOWN_WINDOW_NS:
            return
        self._desk.ended(order, None)
        owed = (order.final_matched or 0) - order.matched
        if owed > DUST:
            return  # the venue has matched more than its trades show yet
        if asked_ns - order.ended_ns >= FILL_GRACE_NS:
            self._desk.ended(order, order.matched)

    def _trades_from_s(self) -> int:
        """From when trades are read: nothing between the last complete read and now may be missed, and
        the fate of provisional fills is read again."""
        known = self._account.settlement.latest_match_s()
        return min(known, self.trades_read_s) if self.trades_read_s else known

    async def learn_markets(self, trades: Iterable[TradeUpdate]) -> bool:
        """The terms of markets in which we have traded and which no list has named. True when there were."""
        learned = False
        fills = (fill for trade in trades for fill in trade.fills)
        for condition_id in {fill.condition_id for fill in fills} - set(self._account.known):
            market = await self._exchange.market(condition_id)
            if market is not None:
                self._store.save_market(self._account.remember(market))
                learned = True
                continue
            self._account.risk.runaway = True
            self._report.event(
                2, "market_unknown", f"fills in {condition_id[:12]}, which has no terms: no new orders"
            )
        return learned

    async def settle(self, market: Market) -> bool:
        """Ask whether the market is resolved, and book what its tokens are worth. True when it is."""
        try:
            winner = await self._exchange.winner(market)
        except VenueError as error:
            self._report.event(0, "resolution_unknown", str(error))
            return False
        if winner is None:
            return False
        if self._account.unsettled(market.condition_id):
            self._desk.check_wanted.set()
            return False  # a fill that may still be taken back decides what is paid
        for change in self._account.settlement.settle(market, Outcome(winner), self._clock.wall_ns()):
            self._on_change(change)
        self._account.recount_cash()
        self._account.charge(self._clock.now_ns())
        self._report.event(0, "market_resolved", f"{market.symbols[winner]} pays one dollar a share")
        return True

    def adopt(self, market: Market, token: str, quantity: int) -> None:
        """The venue's balance is another than our books and nothing explains it: follow it. What came is
        booked at the mark, so that it is no gain; what is gone brought nothing, so that all of its worth is
        a loss from this moment on."""
        for change in self._account.settlement.unadopt(token):
            self._on_change(change)
        gone = quantity < self._account.settlement.position(token).quantity
        price = Price(0 if gone else self._account.mark_of(token))
        adopted = self._account.settlement.adopt(market, token, quantity, price, self._clock.wall_ns())
        if adopted is not None:
            self._on_change(adopted)
            self._account.charge(self._clock.now_ns())
            moved = f"{format_scaled(adopted.fill.size)} {market.symbols[market.outcome_of(token)]}"
            self._report.event(
                2,
                "position_differed",
                f"{moved} {'gone' if gone else 'came'} without a trade: "
                + ("all of its worth is charged as lost" if gone else "charged like a purchase at the mark"),
            )

    def exchange(self, market: Market, transaction: str, amount_micros: int, wall_ns: int) -> int:
        """Dollars became pairs of tokens (amount below zero) or the reverse. Gives what the tokens were
        booked at: above zero when they came. An adoption of today that this explains is taken back."""
        for token in market.tokens:
            for change in self._account.settlement.unadopt(token):
                self._on_change(change)
        side = Side.BUY if amount_micros < 0 else Side.SELL
        size = abs(amount_micros)
        for change in self._account.settlement.exchange(market, transaction, size, side, wall_ns):
            self._on_change(change)
        value = 2 * (HALF * size // ONE)
        return value if side is Side.BUY else -value

    # --- start ---

    async def fence(self) -> int:
        """Cancel whatever of ours is open for this key and make sure that nothing is left. Orders found.
        What is not ours is left alone, and halts."""
        found = 0
        for _ in range(20):
            open_now = [update.order_id for update in await self._exchange.open_orders()]
            ours = await self.foreign.judge_open(open_now) if open_now else []
            if not ours:
                return found
            found = max(found, len(ours))
            if len(ours) == len(open_now):
                await self._exchange.cancel_all()
            else:
                await self._exchange.cancel(ours)
            await asyncio.sleep(0.1)
        raise VenueError("open orders are still there after cancel-all: cancel them at the venue by hand.")

    def adopt_unclear(self, intent: Intent, order_id: str, age_ns: int) -> None:
        """An order that an earlier process may have sent: charged, cancelled and looked for until its
        window has passed, because its bytes may still be on their way."""
        if intent.condition_id not in self._account.markets:
            self._account.set_market(self._account.known[intent.condition_id])
        if order_id in self._desk.orders:
            return
        now = self._clock.now_ns()
        order = Order(intent, order_id, OrderState.UNKNOWN, now - age_ns, self._clock.wall_ns() - age_ns)
        order.sent_ns = now - age_ns
        order.slot = self._budget.find(intent.client_order_id)
        self._desk.orders[order_id] = order
        self._desk.by_client[intent.client_order_id] = order
        self._account.risk.add_order(intent)

    def adopt_unseen(self) -> set[str]:
        """The same for each that the ledger still charges, whatever the database says; their hashes."""
        now = self._clock.now_ns()
        adopted = self._unseen.intents(now)
        for intent, order in adopted:
            self.adopt_unclear(intent, order.order_id, max(0, now - order.sent_ns))
        if number := len(list(self._unseen.kept)):
            self._report.event(
                1,
                "orders_unplaced",
                f"{number} orders of an earlier process, sent in markets that nobody names: charged until "
                "they have been looked for over 60 s",
            )
        return {order.order_id for _, order in adopted}

    def rebuild(self) -> None:
        """Tell the ledger the truth after reconcile."""
        self._account.refresh_day()
        keep = [order.intent.client_order_id for order in self._desk.orders.values()]
        keep += self._unseen.kept
        now = self._clock.now_ns()
        if not self._budget.rebuild(self._account.risk.used(), self._account.risk.positions(), keep, now):
            self._report.event(1, "budget_short", "positions need more than can be drawn: reducing only")
