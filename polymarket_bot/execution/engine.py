"""The life of orders at the venue.

Decisions are synchronous and happen in `step`, once per duty cycle; everything that waits on the venue is
a task beside it, so a slow venue never stops the heartbeat to the ledger.

An order's way out, each step before the next:
    sign, which gives its id at the venue -> local limits -> reserve in the shared ledger
    -> written to storage, on disk -> last look at the ledger (gate) -> bytes to the venue

and its way back: the reservation is released only when the venue has said that the order is gone AND every
fill that it had is booked. An answer that is missing or unclear makes the order UNKNOWN: it keeps its
reservation, is cancelled by its hash, and looked for among open orders and trades, until the venue has
named its fate or, seen nowhere, its validity window has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bridge.messages import ExecutionType, HaltReason, LedgerState, RejectReason, StrategyId
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.api.polymarket import MAX_BATCH, Exchange, Prepared
from polymarket_bot.errors import BotError, VenueAccountError, VenueError
from polymarket_bot.execution.ports import Budget, Clock, Reporter, Store
from polymarket_bot.execution.settlement import Change, ChangeKind, Settlement, day_of
from polymarket_bot.model import (
    DUST,
    FillStatus,
    Holdings,
    Intent,
    Market,
    Order,
    OrderState,
    OrderUpdate,
    Outcome,
    Price,
    Quote,
    Side,
    Size,
    TradeUpdate,
)
from polymarket_bot.risk.manager import Gate, RiskManager
from polymarket_bot.strategy.market_maker import keep

log = structlog.get_logger("execution")

UNKNOWN_WINDOW_NS = 60_000_000_000  # Polymarket orders carry no validity: look for this long
CANCEL_RETRY_NS = 1_500_000_000
FILL_GRACE_NS = 2_000_000_000  # how long the stream may take to deliver the fills of an ended order
CHECK_EVERY_NS = 1_000_000_000
RECONCILE_EVERY_NS = 15_000_000_000
TRADE_OVERLAP_S = 30
DEFAULT_PAUSE_NS = 2_000_000_000

Key = tuple[str, Outcome, Side]


@dataclass(frozen=True, slots=True)
class MarketView:
    """What `step` is told about one market: the quotes that should rest, and what judges them."""

    quotes: tuple[Quote, ...]
    gate: Gate
    fair: Price | None  # of YES
    mark: Price | None  # of YES
    tick: Price
    may_place: bool  # False: what rests may stay, nothing new is placed


@dataclass(frozen=True, slots=True)
class EngineSettings:
    tolerance_ticks: int
    min_edge: Price
    requote_interval_ns: int


class ExecutionEngine:
    """Owner of all orders of the account. Lives in the event loop's thread."""

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
        self._exchange = exchange
        self._budget = budget
        self._risk = risk
        self.settlement = settlement
        self._store = store
        self._report = reporter
        self._clock = clock
        self._settings = settings
        self._spawn = spawn
        self.markets: dict[str, Market] = {}
        self.orders: dict[str, Order] = {}  # by venue id, until their reservation is released
        self.by_client: dict[int, Order] = {}
        self._placing: dict[int, Intent] = {}
        self._sending: dict[asyncio.Task[None], list[Order]] = {}
        self._cancelling: set[str] = set()
        self._last_placed: dict[Key, int] = {}
        self._paused_until = 0
        self._repriced_ns = 0
        self._dirty = True
        self.pulled = False  # quotes are pulled: halted, lease expired, or stopping
        self.check_wanted = asyncio.Event()
        self.market_named: Callable[[Market], None] = lambda market: None
        self.market_doubted: Callable[[str], None] = lambda condition_id: None  # the venue refuses it
        self.reconciled_ns = 0
        self._gone: dict[str, int] = {}  # ended lately, and when: a list read before may still hold them
        self._known: dict[str, Market] = {}  # every market that a fill may name
        self._withdrawn: set[int] = set()  # cancelled before they were sent
        self._stopping = False
        self.trades_read_s = 0  # wall second up to which all trades of the account were read

    # --- markets and totals ---

    def remember(self, market: Market) -> Market:
        """Keep the terms of a market, so that a late fill in it is charged and settled; under a name of its
        own, because a venue may list the same question again."""
        known = self._known.get(market.condition_id)
        names, number = market.symbols, 1
        taken = {name for other in self._known.values() for name in other.symbols}
        while known is None and taken.intersection(names):
            number += 1
            yes, no = market.symbols
            names = (f"{yes[:28]}#{number}", f"{no[:28]}#{number}")
        market = replace(market, symbols=known.symbols if known is not None else names)
        self._known[market.condition_id] = market
        self.market_named(market)
        return market

    def set_market(self, market: Market) -> None:
        market = self.remember(market)
        self.markets[market.condition_id] = market
        self._risk.add_market(market)
        self._risk.markets[market.condition_id].market = market
        self._sync_held(market.condition_id)

    def drop_market(self, condition_id: str) -> bool:
        """Charge a market no longer. False while anything in it can still change what is held: tokens, an
        order whose end or fills are not all known, one about to be sent, a fill that may be taken back."""
        market = self.markets[condition_id]
        held = any(self.settlement.position(token).quantity for token in market.tokens)
        orders = (order.intent for order in self.orders.values())
        busy = any(i.condition_id == condition_id for i in (*orders, *self._placing.values()))
        if held or busy or self._unsettled(condition_id):
            return False
        del self.markets[condition_id]
        self._risk.markets.pop(condition_id, None)
        return True

    def _unsettled(self, condition_id: str) -> bool:
        return any(fill.condition_id == condition_id for fill in self.settlement.provisional())

    def set_tick(self, condition_id: str, tick: Price) -> None:
        market = self.markets[condition_id]
        if market.tick != tick and tick > 0:
            self.set_market(replace(market, tick=tick))

    def holdings(self, market: Market) -> Holdings:
        yes, no = (self.settlement.position(token).quantity for token in market.tokens)
        return Holdings(Size(max(0, yes)), Size(max(0, no)))

    def _sync_held(self, condition_id: str) -> None:
        market = self.markets.get(condition_id)
        if market is None:
            market = self._known.get(condition_id)
            if market is not None:
                self.set_market(market)
            return
        holdings = self.holdings(market)
        self._risk.set_held(condition_id, holdings.yes, holdings.no)

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

    def marks(self) -> dict[str, int]:
        marks: dict[str, int] = {}
        for risk in self._risk.markets.values():
            marks[risk.market.tokens[0]] = risk.mark
            marks[risk.market.tokens[1]] = 1_000_000 - risk.mark
        return marks

    def mark_of(self, token: str) -> int:
        return self.marks().get(token, 0)

    def _refresh_day(self) -> None:
        realized, unrealized, fees = self.day_account()
        self._risk.day_micros = realized + unrealized - -(-fees // 100)

    def open_orders(self, condition_id: str | None = None) -> list[Order]:
        """Orders that may still be at the venue."""
        return [
            order
            for order in self.orders.values()
            if not order.ended and (condition_id is None or order.intent.condition_id == condition_id)
        ]

    # --- the duty cycle ---

    def step(self, views: Mapping[str, MarketView], stopping: bool = False) -> None:
        """Judge the state, cancel what should not rest, place what should, charge the ledger."""
        now = self._clock.now_ns()
        state = self._budget.state()
        for condition_id, view in views.items():
            risk = self._risk.markets.get(condition_id)
            if risk is not None and view.mark is not None and risk.mark != view.mark:
                risk.mark = view.mark
                self._dirty = True
        lease = self._budget.lease_fresh(now)
        stopped = stopping or state in (LedgerState.HALTED, LedgerState.CANCEL_ONLY) or not lease
        if state in (LedgerState.HALTED, LedgerState.CANCEL_ONLY) or not lease:
            # The gate was passed before; a request that still waits for its connection must not go out.
            for task in list(self._sending):
                task.cancel()
        if stopped:
            self._pull_all(now)
        elif state is not LedgerState.INIT:
            self._quote_all(views, now, reducing_only=state is LedgerState.REDUCING)
        self.pulled = stopped
        self._retry(now)
        self._charge(now)
        self._budget.beat(state is LedgerState.HALTED and not self._sending, now)

    def _charge(self, now: int) -> None:
        if not self._dirty and now - self._repriced_ns < 100_000_000:
            return
        self._refresh_day()
        self._budget.reprice(self._risk.used(), self._risk.positions(), now)
        self._repriced_ns = now
        self._dirty = False

    def _pull_all(self, now: int) -> None:
        self._cancel_orders([o for o in self.open_orders() if o.state is not OrderState.PENDING_NEW], now)

    def _quote_all(self, views: Mapping[str, MarketView], now: int, reducing_only: bool) -> None:
        cancels: list[Order] = []
        places: list[Intent] = []
        for condition_id, market in self.markets.items():
            view = views.get(condition_id)
            wanted = list(view.quotes) if view is not None else []
            resting = [
                order
                for order in self.open_orders(condition_id)
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
            if view is not None and view.may_place and now >= self._paused_until:
                places += self._wanted_intents(market, wanted, blocked, now)
        if reducing_only:
            places = [intent for intent in places if self._reduces(intent)]
        self._cancel_orders(cancels, now)
        for start in range(0, len(places), MAX_BATCH):
            self._start_placing(places[start : start + MAX_BATCH], views)

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
        busy = {(i.condition_id, i.outcome, i.side) for i in self._placing.values()}
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
        used = self._risk.used()
        self._risk.remove_order(order.intent)
        without = self._risk.used()
        self._risk.add_order(order.intent)
        self._risk.resize_order(order.intent, order.remaining)
        return used[0] <= without[0] and used[1] <= without[1]

    def _reduces(self, intent: Intent) -> bool:
        """Whether the order adds no risk: charge it, look, and take it off again."""
        reducing = self._risk.add_order(intent)
        self._risk.remove_order(intent)
        return reducing

    # --- placing ---

    def submit_external(self, intent: Intent, view: MarketView) -> None:
        """An order from another strategy, through the same limits and the same ledger."""
        self._start_placing([intent], {intent.condition_id: view})

    def _start_placing(self, intents: Sequence[Intent], views: Mapping[str, MarketView]) -> None:
        if not intents or self._stopping:
            return
        for intent in intents:
            self._placing[intent.client_order_id] = intent
        self._spawn(self._place(list(intents), dict(views)))

    async def _place(self, intents: list[Intent], views: Mapping[str, MarketView]) -> None:
        try:
            prepared = []
            for intent in intents:
                item = await self._prepare(intent)
                if item is not None:
                    prepared.append(item)
            reserved = [item for item in prepared if self._reserve(item, views[item.intent.condition_id])]
            if not reserved:
                return
            try:
                await self._store.flush()
            except (BotError, TimeoutError) as error:
                for item in reserved:
                    self._drop(self.orders[item.order_id], RejectReason.JOURNAL, str(error))
                return
            sending = [item for item in reserved if self._gate(item)]
            if sending:
                await self._send(sending)
        finally:
            for intent in intents:
                self._placing.pop(intent.client_order_id, None)
                self._withdrawn.discard(intent.client_order_id)

    async def _prepare(self, intent: Intent) -> Prepared | None:
        market = self.markets.get(intent.condition_id)
        if market is None:
            self._report.refused(intent, RejectReason.UNKNOWN_INSTRUMENT, "the market is over")
            return None
        try:
            return await self._exchange.prepare(intent, market)
        except (BotError, ValueError) as error:
            self._report.refused(intent, RejectReason.SESSION, str(error))
            return None

    def _reserve(self, item: Prepared, view: MarketView) -> bool:
        """Local limits, then the ledger, then storage is asked to remember it."""
        intent, now = item.intent, self._clock.now_ns()
        fair = view.fair
        if fair is not None and intent.outcome is Outcome.NO:
            fair = Price(1_000_000 - fair)
        if intent.client_order_id in self.by_client or item.order_id in self.orders:
            self._report.refused(intent, RejectReason.DUPLICATE, "")
            return False
        reason = self._risk.check(intent, view.gate, fair, now)
        if reason is not RejectReason.NONE:
            self._report.refused(intent, reason, "")
            return False
        self._refresh_day()
        reducing = self._risk.add_order(intent)
        reason, slot = self._budget.reserve(intent, reducing, self._risk.used(), now)
        if reason is not RejectReason.NONE:
            self._risk.remove_order(intent)
            self._report.refused(intent, reason, "")
            return False
        order = Order(intent, item.order_id, OrderState.PENDING_NEW, now, self._clock.wall_ns(), slot)
        self.orders[order.venue_order_id] = order
        self.by_client[intent.client_order_id] = order
        self._store.save_order(order)
        return True

    def _gate(self, item: Prepared) -> bool:
        """The last look before the bytes leave."""
        order = self.orders[item.order_id]
        if self._stopping or order.intent.client_order_id in self._withdrawn:
            self._drop(order, RejectReason.SESSION, "withdrawn before it was sent")
            return False
        self._risk.remove_order(order.intent)
        before = self._risk.used()
        self._risk.add_order(order.intent)
        now = self._clock.now_ns()
        reason = self._budget.gate(order.slot, before, now)
        if reason is RejectReason.NONE:
            order.sent_ns = now
            self._risk.note_sent(now)
            return True
        order.slot = -1  # the ledger has freed it
        self._drop(order, reason, "")
        return False

    def _drop(self, order: Order, reason: RejectReason, text: str) -> None:
        """The order never left."""
        order.state = OrderState.REJECTED
        self._forget(order)
        self._store.save_order(order)
        self._report.refused(order.intent, reason, text)

    async def _send(self, items: list[Prepared]) -> None:
        orders = [self.orders[item.order_id] for item in items]
        task = asyncio.current_task()
        assert task is not None
        self._sending[task] = orders
        try:
            results = await self._exchange.submit(items)
        except asyncio.CancelledError:
            # The connection is closed with the request: no byte can leave any more, but some may have.
            for order in orders:
                self._on_submit(order, SubmitResult(Verdict.UNKNOWN, text="interrupted by a halt"))
            raise
        finally:
            self._sending.pop(task, None)
        for order, result in zip(orders, results, strict=True):
            self._on_submit(order, result)

    def _on_submit(self, order: Order, result: SubmitResult) -> None:
        if order.venue_order_id not in self.orders:
            return  # the streams were faster: it is filled or cancelled already
        now = self._clock.now_ns()
        if result.verdict in (Verdict.ACCEPTED, Verdict.LANDED):
            if result.order_id and result.order_id != order.venue_order_id:
                self._risk.runaway = True
                self._report.event(2, "order_hash_differed", "the venue names another id than we computed")
                self.check_wanted.set()
            self._budget.live(order.slot)
            if order.state is OrderState.PENDING_NEW:
                self._set_state(order, OrderState.WORKING, ExecutionType.NEW)
            return
        if result.verdict is Verdict.UNKNOWN:
            if order.state is OrderState.PENDING_NEW:
                self._budget.unknown(order.slot)
                self._set_state(order, OrderState.UNKNOWN, ExecutionType.UNKNOWN, result.text)
                self.check_wanted.set()
            return
        if order.state is not OrderState.PENDING_NEW:
            # The streams have shown the order at the venue: a refusal cannot be about it.
            self._report.event(1, "refusal_contradicted", result.text)
            self.check_wanted.set()
            return
        self._rejected(order, result, now)

    def _rejected(self, order: Order, result: SubmitResult, now: int) -> None:
        order.state = OrderState.REJECTED
        self._finish(order)
        self._report.order(order, ExecutionType.REJECTED, result.reason, result.text)
        if result.verdict is Verdict.ACCOUNT:
            self._report.event(2, "account_refused", result.text)
            self._budget.halt(HaltReason.VENUE)
        elif result.verdict in (Verdict.MODE, Verdict.RATE):
            self._paused_until = now + max(DEFAULT_PAUSE_NS, result.retry_after_s * 1_000_000_000)
            self._report.event(1, "venue_paused", result.text)
        elif result.reason in (RejectReason.UNKNOWN_INSTRUMENT, RejectReason.VENUE_MODE):
            self.market_doubted(order.intent.condition_id)  # closed, or not open yet: ask, do not insist
        elif result.reason is not RejectReason.POST_ONLY_CROSS:
            self._risk.note_rejected(now)

    # --- cancelling ---

    def cancel_orders(self, orders: Iterable[Order]) -> None:
        self._cancel_orders(list(orders), self._clock.now_ns())

    def withdraw(self, wanted: Callable[[Intent], bool]) -> None:
        """Cancel orders wherever they are on their way: not yet sent, or at the venue."""
        self._withdrawn |= {number for number, intent in self._placing.items() if wanted(intent)}
        self.cancel_orders(order for order in self.open_orders() if wanted(order.intent))

    def _cancel_orders(self, orders: Sequence[Order], now: int) -> None:
        due = [
            order
            for order in orders
            if not order.ended
            and order.venue_order_id not in self._cancelling
            and now - order.cancel_requested_ns > CANCEL_RETRY_NS
        ]
        for order in due:
            order.cancel_requested_ns = now
            self._cancelling.add(order.venue_order_id)
            if order.state in (OrderState.WORKING, OrderState.PARTIALLY_FILLED):
                order.state = OrderState.PENDING_CANCEL
        for start in range(0, len(due), 100):
            self._spawn(self._cancel([order.venue_order_id for order in due[start : start + 100]]))

    async def _cancel(self, ids: list[str]) -> None:
        try:
            result = await self._exchange.cancel(ids)
        except VenueAccountError as error:
            self._report.event(2, "account_refused", str(error))
            self._budget.halt(HaltReason.VENUE)
            return
        except VenueError as error:
            self._report.event(1, "cancel_unclear", str(error))
            self.check_wanted.set()
            return
        finally:
            self._cancelling.difference_update(ids)
        for order_id in result.canceled:
            order = self.orders.get(order_id)
            if order is not None:
                self._ended(order, None)
        if result.not_canceled:
            self.check_wanted.set()

    def _ended(self, order: Order, matched: int | None) -> None:
        """The venue said it is no longer open. Released once all its fills are booked."""
        if not order.ended:
            order.ended = True
            order.ended_ns = self._clock.now_ns()
        if matched is not None:
            order.final_matched = matched
        self._maybe_finish(order)

    def _maybe_finish(self, order: Order) -> None:
        seen = _matched(order)
        if seen >= order.intent.size - DUST and not order.ended:
            order.ended, order.ended_ns, order.final_matched = True, self._clock.now_ns(), seen
        if order.ended and order.final_matched is not None and seen >= order.final_matched - DUST // 2:
            full = order.filled >= order.intent.size - DUST
            order.state = OrderState.FILLED if full else OrderState.CANCELED
            self._finish(order)
            if not full:
                self._report.order(order, ExecutionType.CANCELED, RejectReason.NONE, "")

    def _finish(self, order: Order) -> None:
        """Release the reservation; the order is history."""
        self._forget(order)
        self._store.save_order(order)

    def _forget(self, order: Order) -> None:
        self._risk.remove_order(order.intent)
        self.orders.pop(order.venue_order_id, None)
        self._gone[order.venue_order_id] = self._clock.now_ns()
        if len(self._gone) > 1000:
            del self._gone[next(iter(self._gone))]
        self.by_client.pop(order.intent.client_order_id, None)
        self._dirty = True
        if order.slot >= 0:
            self._refresh_day()
            slot, order.slot = order.slot, -1
            self._budget.release(slot, self._risk.used(), self._risk.positions(), self._clock.now_ns())

    def _set_state(self, order: Order, state: OrderState, execution: ExecutionType, text: str = "") -> None:
        order.state = state
        self._store.save_order(order)
        self._report.order(order, execution, RejectReason.NONE, text)

    # --- what the venue tells ---

    def on_order(self, update: OrderUpdate) -> None:
        """An order event of the user stream."""
        order = self.orders.get(update.order_id)
        if order is None:
            if update.live and update.order_id not in self._cancelling:
                self.check_wanted.set()  # ours from before, or ended while this was on its way
            return
        if not update.live:
            if update.status == "CANCELED_MARKET_RESOLVED":
                self.market_doubted(order.intent.condition_id)
            known = update.matched > 0 or update.status.startswith("CANCELED")
            self._ended(order, update.matched if known else None)
        elif order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
            self._budget.live(order.slot)
            self._set_state(order, OrderState.WORKING, ExecutionType.NEW)

    def on_trade(self, update: TradeUpdate) -> None:
        """A trade of ours on the user stream. One in a market that we do not know yet waits for reconcile,
        which asks for the market first: a position without terms could not be charged."""
        if any(fill.condition_id not in self._known for fill in update.fills):
            self.check_wanted.set()
            return
        self._apply(update)

    def _apply(self, update: TradeUpdate) -> None:
        """Book, make final, or take back."""
        for change in self.settlement.apply(update):
            self._on_change(change)

    def _on_change(self, change: Change) -> None:
        fill = change.fill
        self._store.save_change(change, self.settlement.status(fill.key) or FillStatus.PROVISIONAL)
        order = self.orders.get(fill.order_id)
        if change.kind is ChangeKind.IGNORED and order is not None:
            order.reversed_size += fill.size  # the venue counts it as matched all the same
            self._maybe_finish(order)
        if change.kind in (ChangeKind.FINAL, ChangeKind.IGNORED):
            return
        if change.kind is ChangeKind.REVERSED and change.day != self.settlement.day:
            self._store.save_openings(self.settlement.day, self.settlement.openings())
        self._sync_held(fill.condition_id)
        if order is not None:
            self._fill_order(order, change)
        self._dirty = True
        self._report.fill(change, order)
        if order is not None:
            self._maybe_finish(order)

    def _fill_order(self, order: Order, change: Change) -> None:
        """The order's remainder shrinks with the fill, and grows again when the fill is taken back."""
        fill = change.fill
        if change.kind is ChangeKind.BOOKED:
            order.filled += fill.size
            if order.state in (OrderState.WORKING, OrderState.PENDING_NEW, OrderState.UNKNOWN):
                if order.state is not OrderState.WORKING:
                    self._budget.live(order.slot)
                order.state = OrderState.PARTIALLY_FILLED
        else:
            order.filled -= fill.size
            order.reversed_size += fill.size
        self._risk.resize_order(order.intent, _unbooked(order))
        self._refresh_day()
        self._budget.filled(
            order.slot, order.filled, self._risk.used(), self._risk.positions(), self._clock.now_ns()
        )
        self._store.save_order(order)

    # --- what the venue is asked ---

    def _retry(self, now: int) -> None:
        """Cancels that got no answer are repeated; orders that are overdue ask for a check."""
        again = [
            order
            for order in self.orders.values()
            if not order.ended and (order.state is OrderState.UNKNOWN or order.cancel_requested_ns)
        ]
        self._cancel_orders(again, now)
        for order in self.orders.values():
            late = order.ended and now - order.ended_ns > FILL_GRACE_NS
            if (late or order.state is OrderState.UNKNOWN) and now - order.checked_ns > CHECK_EVERY_NS:
                order.checked_ns = now
                self.check_wanted.set()

    async def reconcile(self) -> bool:
        """Compare with the venue: open orders first, then trades, so that a fill between the two reads
        is seen. True when both could be read."""
        started = self._clock.now_ns()
        try:
            open_now = {update.order_id: update for update in await self._exchange.open_orders()}
            read_s = self._clock.wall_ns() // 1_000_000_000
            trades = await self._exchange.trades(self._trades_from_s() - TRADE_OVERLAP_S)
            await self._learn_markets(trades)
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
        for order in list(self.orders.values()):
            self._compare(order, open_now.get(order.venue_order_id), started)
        late = started - FILL_GRACE_NS
        orphans = [o for o in open_now if o not in self.orders and self._gone.get(o, 0) < late]
        if orphans:
            self._report.event(1, "orphans_found", f"{len(orphans)} open orders of an earlier process")
            await self._cancel(orphans)
        self.reconciled_ns = self._clock.now_ns()
        return True

    def _compare(self, order: Order, at_venue: OrderUpdate | None, asked_ns: int) -> None:
        if at_venue is not None:
            if order.ended and asked_ns - order.ended_ns > FILL_GRACE_NS:
                # A list that was not complete, or a cancel that did not hold: it rests after all.
                order.ended, order.final_matched = False, None
                self._risk.resize_order(order.intent, order.remaining)
                self._dirty = True
            if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
                self._budget.live(order.slot)
                self._set_state(order, OrderState.WORKING, ExecutionType.STATUS)
            return
        if order.state is OrderState.PENDING_NEW or not order.sent_ns or order.sent_ns > asked_ns:
            return
        unseen = order.state is OrderState.UNKNOWN and not _matched(order) and not order.ended
        if unseen and asked_ns - order.sent_ns < UNKNOWN_WINDOW_NS:
            return
        self._ended(order, None)
        owed = (order.final_matched or 0) - _matched(order)
        if owed > DUST // 2:
            return  # the venue has matched more than its trades show yet
        if asked_ns - order.ended_ns >= FILL_GRACE_NS:
            self._ended(order, _matched(order))

    def _trades_from_s(self) -> int:
        """From when trades are read: nothing between the last complete read and now may be missed, and
        the fate of provisional fills is read again."""
        known = self.settlement.latest_match_s()
        return min(known, self.trades_read_s) if self.trades_read_s else known

    async def _learn_markets(self, trades: Iterable[TradeUpdate]) -> None:
        """The terms of markets in which we have traded and which no list has named."""
        fills = (fill for trade in trades for fill in trade.fills)
        for condition_id in {fill.condition_id for fill in fills} - set(self._known):
            market = await self._exchange.market(condition_id)
            if market is not None:
                self._store.save_market(self.remember(market))
                continue
            self._risk.runaway = True
            self._report.event(
                2, "market_unknown", f"fills in {condition_id[:12]}, which has no terms: no new orders"
            )

    async def settle(self, market: Market) -> bool:
        """Ask whether the market is resolved, and book what its tokens are worth. True when it is."""
        try:
            winner = await self._exchange.winner(market)
        except VenueError as error:
            self._report.event(0, "resolution_unknown", str(error))
            return False
        if winner is None:
            return False
        if self._unsettled(market.condition_id):
            self.check_wanted.set()
            return False  # a fill that may still be taken back decides what is paid
        for change in self.settlement.settle(market, Outcome(winner), self._clock.wall_ns()):
            self._on_change(change)
        self._charge(self._clock.now_ns())
        self._report.event(0, "market_resolved", f"{market.symbols[winner]} pays one dollar a share")
        return True

    def adopt(self, market: Market, token: str, quantity: int) -> None:
        """The venue's balance is another than our books': follow it, at the mark."""
        mark = Price(self.mark_of(token))
        change = self.settlement.adopt(market, token, quantity, mark, self._clock.wall_ns())
        if change is not None:
            self._report.event(
                2, "position_differed", f"{token[-8:]}: the venue holds {quantity} micro-shares"
            )
            self._on_change(change)

    def roll_day(self) -> dict[str, Any] | None:
        """At UTC midnight: the day's account begins again; what is held is carried over."""
        openings = self.settlement.roll(day_of(self._clock.wall_ns()))
        if openings is not None:
            self._dirty = True
            self._report.event(0, "day_rolled", "the day's loss counts from here")
        return openings

    # --- start and stop ---

    async def fence(self) -> int:
        """Cancel whatever is open for this key and make sure that nothing is left. Orders found."""
        found = 0
        for _ in range(20):
            open_now = await self._exchange.open_orders()
            if not open_now:
                return found
            found = max(found, len(open_now))
            await self._exchange.cancel_all()
            await asyncio.sleep(0.1)
        raise VenueError("open orders are still there after cancel-all: cancel them at the venue by hand.")

    def adopt_unclear(self, intent: Intent, order_id: str, age_ns: int) -> None:
        """An order that an earlier process may have sent: charged, cancelled and looked for until its
        window has passed, because its bytes may still be on their way."""
        now = self._clock.now_ns()
        order = Order(intent, order_id, OrderState.UNKNOWN, now - age_ns, self._clock.wall_ns() - age_ns)
        order.sent_ns = now - age_ns
        order.slot = self._budget.find(intent.client_order_id)
        self.orders[order_id] = order
        self.by_client[intent.client_order_id] = order
        self._risk.add_order(intent)

    def rebuild(self) -> None:
        """Tell the ledger the truth after reconcile."""
        self._refresh_day()
        keep = [order.intent.client_order_id for order in self.orders.values()]
        now = self._clock.now_ns()
        if not self._budget.rebuild(self._risk.used(), self._risk.positions(), keep, now):
            self._report.event(1, "budget_short", "positions need more than can be drawn: reducing only")

    async def stop(self, limit_s: float) -> int:
        """Cancel everything and wait for the confirmations; the number of orders still open after it."""
        self._stopping = True
        deadline = self._clock.now_ns() + int(limit_s * 1e9)
        while (self.open_orders() or self._sending) and self._clock.now_ns() < deadline:
            for task in list(self._sending):
                if self._clock.now_ns() > deadline - int(limit_s * 0.7e9):
                    task.cancel()
            self.step({}, stopping=True)
            await asyncio.sleep(0.05)
            await self.reconcile()
        try:
            left = await self._exchange.open_orders()
            if left:
                await self._exchange.cancel_all()
                left = await self._exchange.open_orders()
        except VenueError:
            return len(self.open_orders())
        return len(left)


def _unbooked(order: Order) -> int:
    """What fills of the order can still add: while it is open its remainder, afterwards what the venue has
    matched and we have not seen."""
    if not order.ended:
        return order.remaining
    end = order.intent.size if order.final_matched is None else order.final_matched
    return max(0, end - _matched(order))


def _matched(order: Order) -> int:
    """Everything that the venue has matched, fills that failed later included."""
    return order.filled + order.reversed_size


def _average(position: Any) -> int:
    """Cost per share, the mark of a token whose market shows no price."""
    return int(position.cost_micros * 1_000_000 // position.quantity)
