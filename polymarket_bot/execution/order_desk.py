"""Orders on their way out and back.

Out, each step before the next:
    sign, which gives its id at the venue -> local limits -> reserve in the shared ledger
    -> written to storage, on disk -> last look at the ledger (gate) -> bytes to the venue

Back: the reservation is released only when the venue has said that the order is gone AND every fill that
it had is booked. An answer that is missing or unclear makes the order UNKNOWN: it keeps its reservation, is
cancelled by its hash, and looked for among open orders and trades, until the venue has named its fate or,
seen nowhere, its validity window has passed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from bridge.messages import ExecutionType, HaltReason, RejectReason
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.api.polymarket import Exchange, Prepared
from polymarket_bot.errors import BotError, VenueAccountError, VenueError
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.ports import Budget, Clock, MarketView, Reporter, Store
from polymarket_bot.execution.settlement import Change, ChangeKind
from polymarket_bot.model import DUST, Intent, Order, OrderState, OrderUpdate, Outcome, Price

CANCEL_RETRY_NS = 1_500_000_000
FILL_GRACE_NS = 2_000_000_000  # how long the stream may take to deliver the fills of an ended order
CHECK_EVERY_NS = 1_000_000_000
DEFAULT_PAUSE_NS = 2_000_000_000
DECISION_VALID_NS = 1_500_000_000
GONE_MAX = 1000


class OrderDesk:
    """Owner of all orders of the account, until their reservation is released."""

    def __init__(
        self,
        account: Account,
        exchange: Exchange,
        budget: Budget,
        store: Store,
        reporter: Reporter,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._account = account
        self._exchange = exchange
        self._budget = budget
        self._store = store
        self._report = reporter
        self._clock = clock
        self._spawn = spawn
        self.orders: dict[str, Order] = {}  # by venue id
        self.by_client: dict[int, Order] = {}
        self.placing: dict[int, Intent] = {}  # no order yet: being signed or written down
        self.sending: dict[asyncio.Task[None], list[Order]] = {}  # past the gate, no answer yet
        self.gone: dict[str, int] = {}  # ended lately, and when: a list read before may still hold them
        self.paused_until = 0
        self.stopping = False
        self.check_wanted = asyncio.Event()  # something is in doubt: reconcile
        self.market_doubted: Callable[[str], None] = lambda condition_id: None  # the venue refuses it
        self.balance_doubted: Callable[[], None] = lambda: None  # the venue misses tokens or dollars of ours
        self._cancelling: set[str] = set()
        self._withdrawn: set[int] = set()  # cancelled before they were sent

    def open_orders(self, condition_id: str | None = None) -> list[Order]:
        """Orders that may still be at the venue."""
        return [
            order
            for order in self.orders.values()
            if not order.ended and (condition_id is None or order.intent.condition_id == condition_id)
        ]

    # --- placing ---

    def submit_external(self, intent: Intent, view: MarketView) -> None:
        """An order from another strategy, through the same limits and the same ledger."""
        self.start_placing([intent], {intent.condition_id: view})

    def start_placing(self, intents: Sequence[Intent], views: Mapping[str, MarketView]) -> None:
        if not intents or self.stopping:
            return
        for intent in intents:
            self.placing[intent.client_order_id] = intent
        self._spawn(self._place(list(intents), dict(views), self._clock.now_ns()))

    async def _place(self, intents: list[Intent], views: Mapping[str, MarketView], decided_ns: int) -> None:
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
            sending = [item for item in reserved if self._gate(item, decided_ns)]
            if sending:
                await self._send(sending)
        finally:
            for intent in intents:
                self.placing.pop(intent.client_order_id, None)
                self._withdrawn.discard(intent.client_order_id)

    async def _prepare(self, intent: Intent) -> Prepared | None:
        market = self._account.markets.get(intent.condition_id)
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
        reason = self._account.risk.check(intent, view.gate, fair, now)
        if reason is not RejectReason.NONE:
            self._report.refused(intent, reason, "")
            return False
        self._account.refresh_day()
        reducing = self._account.risk.add_order(intent)
        used = self._account.risk.used()
        reason, slot = RejectReason.CASH, -1
        if reducing or not self._account.risk.cash_differs:
            reason, slot = self._budget.reserve(intent, reducing, used, now, item.order_id)
        if reason is not RejectReason.NONE:
            self._account.risk.remove_order(intent)
            self._report.refused(intent, reason, "")
            return False
        order = Order(intent, item.order_id, OrderState.PENDING_NEW, now, self._clock.wall_ns(), slot)
        self.orders[order.venue_order_id] = order
        self.by_client[intent.client_order_id] = order
        self._store.save_order(order)
        return True

    def _gate(self, item: Prepared, decided_ns: int) -> bool:
        """The last look before the bytes leave. What the decision rested on (book, dead-man switch, own
        fills) is not looked at again: an order that signing or the disk has held up is too old to send."""
        order = self.orders[item.order_id]
        if self._clock.now_ns() - decided_ns > DECISION_VALID_NS:
            self._drop(order, RejectReason.STALE_DATA, "decided too long ago")
            return False
        if self.stopping or order.intent.client_order_id in self._withdrawn:
            self._drop(order, RejectReason.SESSION, "withdrawn before it was sent")
            return False
        self._account.risk.remove_order(order.intent)
        before = self._account.risk.used()
        reducing = self._account.risk.add_order(order.intent)
        if self._account.risk.cash_differs and not reducing:
            self._drop(order, RejectReason.CASH, "")
            return False
        now = self._clock.now_ns()
        reason = self._budget.gate(order.slot, before, now)
        if reason is RejectReason.NONE:
            order.sent_ns = now
            self._account.risk.note_sent(now)
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
        self.sending[task] = orders
        try:
            results = await self._exchange.submit(items)
        except asyncio.CancelledError:
            # The connection is closed with the request: no byte can leave any more, but some may have.
            for order in orders:
                self._on_submit(order, SubmitResult(Verdict.UNKNOWN, text="interrupted by a halt"))
            raise
        finally:
            self.sending.pop(task, None)
        for order, result in zip(orders, results, strict=True):
            self._on_submit(order, result)

    def _on_submit(self, order: Order, result: SubmitResult) -> None:
        if order.venue_order_id not in self.orders:
            return  # the streams were faster: it is filled or cancelled already
        now = self._clock.now_ns()
        if result.verdict in (Verdict.ACCEPTED, Verdict.LANDED):
            if result.order_id and result.order_id != order.venue_order_id:
                self._account.risk.runaway = True
                self._report.event(2, "order_hash_differed", "the venue names another id than we computed")
                self.check_wanted.set()
            self._budget.live(order.slot)
            if order.state is OrderState.PENDING_NEW:
                self.set_state(order, OrderState.WORKING, ExecutionType.NEW)
            return
        if result.verdict is Verdict.UNKNOWN:
            if order.state is OrderState.PENDING_NEW:
                self._budget.unknown(order.slot)
                self.set_state(order, OrderState.UNKNOWN, ExecutionType.UNKNOWN, result.text)
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
            self.paused_until = now + max(DEFAULT_PAUSE_NS, result.retry_after_s * 1_000_000_000)
            self._report.event(1, "venue_paused", result.text)
        elif result.reason in (RejectReason.UNKNOWN_INSTRUMENT, RejectReason.VENUE_MODE):
            self.market_doubted(order.intent.condition_id)  # closed, or not open yet: ask, do not insist
        elif result.reason is not RejectReason.POST_ONLY_CROSS:
            self._account.risk.note_rejected(now)
            if result.reason is RejectReason.INSUFFICIENT_BALANCE:
                self.balance_doubted()

    # --- cancelling ---

    def cancel_orders(self, orders: Iterable[Order]) -> None:
        self.cancel_due(list(orders), self._clock.now_ns())

    def withdraw(self, wanted: Callable[[Intent], bool]) -> None:
        """Cancel orders wherever they are on their way: not yet sent, or at the venue."""
        self._withdrawn |= {number for number, intent in self.placing.items() if wanted(intent)}
        self.cancel_orders(order for order in self.open_orders() if wanted(order.intent))

    def cancel_due(self, orders: Sequence[Order], now: int) -> None:
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
            self._spawn(self.cancel_ids([order.venue_order_id for order in due[start : start + 100]]))

    async def cancel_ids(self, ids: list[str]) -> None:
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
                self._arrived(order)
                self.ended(order, None)
        if result.not_canceled:
            self.check_wanted.set()

    def retry(self, now: int) -> None:
        """Cancels that got no answer are repeated; orders that are overdue ask for a check."""
        again = [
            order
            for order in self.orders.values()
            if not order.ended and (order.state is OrderState.UNKNOWN or order.cancel_requested_ns)
        ]
        self.cancel_due(again, now)
        for order in self.orders.values():
            late = order.ended and now - order.ended_ns > FILL_GRACE_NS
            if (late or order.state is OrderState.UNKNOWN) and now - order.checked_ns > CHECK_EVERY_NS:
                order.checked_ns = now
                self.check_wanted.set()

    # --- the end of an order ---

    def _arrived(self, order: Order) -> None:
        """The venue has told of it, be it of its end: it is on its way no more. The ledger must say so too: a
        kill that comes before its release waits for what may still land."""
        if order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
            self._budget.live(order.slot)

    def ended(self, order: Order, matched: int | None) -> None:
        """The venue said it is no longer open. Released once all its fills are booked."""
        if not order.ended:
            order.ended = True
            order.ended_ns = self._clock.now_ns()
        if matched is not None:
            order.final_matched = matched
        self.maybe_finish(order)

    def maybe_finish(self, order: Order) -> None:
        seen = order.matched
        if seen > order.intent.size - DUST and not order.ended:
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
        self._account.risk.remove_order(order.intent)
        self.orders.pop(order.venue_order_id, None)
        self.gone[order.venue_order_id] = self._clock.now_ns()
        if len(self.gone) > GONE_MAX:
            del self.gone[next(iter(self.gone))]
        self.by_client.pop(order.intent.client_order_id, None)
        self._account.dirty = True
        if order.slot >= 0:
            self._account.refresh_day()
            slot, order.slot = order.slot, -1
            self._budget.release(
                slot, self._account.risk.used(), self._account.risk.positions(), self._clock.now_ns()
            )

    def set_state(self, order: Order, state: OrderState, execution: ExecutionType, text: str = "") -> None:
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
        self._arrived(order)
        if not update.live:
            if update.status == "CANCELED_MARKET_RESOLVED":
                self.market_doubted(order.intent.condition_id)
            if update.status == "CANCELED_NOT_ENOUGH_BALANCE":
                self.balance_doubted()
            known = update.matched > 0 or update.status.startswith("CANCELED")
            self.ended(order, update.matched if known else None)
        elif order.state in (OrderState.PENDING_NEW, OrderState.UNKNOWN):
            self._budget.live(order.slot)
            self.set_state(order, OrderState.WORKING, ExecutionType.NEW)

    def fill_order(self, order: Order, change: Change) -> None:
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
        self._account.risk.resize_order(order.intent, order.unbooked)
        self._account.refresh_day()
        self._budget.filled(
            order.slot,
            order.filled,
            self._account.risk.used(),
            self._account.risk.positions(),
            self._clock.now_ns(),
        )
        self._store.save_order(order)
