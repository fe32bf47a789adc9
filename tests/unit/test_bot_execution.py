"""The execution engine with the real ledger, risk and settlement, against a venue that the test scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.ledger import Amounts, Ledger, now_ns
from bridge.messages import ExecutionType, LedgerState, RejectReason, StrategyId
from control import flight
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.api.polymarket import CancelResult, MarketChoice, Prepared, Snapshot
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.engine import EngineSettings, ExecutionEngine
from polymarket_bot.execution.ports import MarketView
from polymarket_bot.execution.settlement import Change, Position, Settlement, day_of
from polymarket_bot.market_list import MarketList
from polymarket_bot.model import (
    Direction,
    Fee,
    Fill,
    FillStatus,
    Intent,
    Market,
    Order,
    OrderState,
    OrderUpdate,
    Outcome,
    Price,
    Side,
    Size,
    TradeUpdate,
)
from polymarket_bot.risk.manager import LOSS, Gate, RiskLimits, RiskManager

SHARE = 1_000_000
START_S = 1_764_000_000
MARKET = Market(
    "0xc", "slug", "Bitcoin above 60,000?", ("111", "222"), ("Y", "N"), Price(10_000), Size(5 * SHARE), False,
    Fee(), 60_000_000_000, Direction.ABOVE, (START_S + 3600) * 10**9,
)  # fmt: skip
LIMITS = RiskLimits(Size(50 * SHARE), 50 * SHARE, Size(80 * SHARE), 12, Price(100_000), 100, 200 * SHARE)


class Script:
    """A venue, a store and a reporter in memory; the test decides what each answers."""

    failed = ""

    def __init__(self) -> None:
        self.offset_ns = 0
        self.open: list[OrderUpdate] = []
        self.done: list[TradeUpdate] = []
        self.asked_from: list[int] = []
        self.sent: list[str] = []
        self.cancelled: list[str] = []
        self.openings: list[dict[str, Position]] = []
        self.days: list[tuple[int, int, int]] = []
        self.day_cash: list[int] = []
        self.late: list[tuple[int, int]] = []
        self.events: list[str] = []
        self.refusals: list[RejectReason] = []
        self.hold_prepare = self.hold_submit = False
        self.cancels_named = False
        self.release = asyncio.Event()
        self.answer = SubmitResult(Verdict.ACCEPTED)
        self.winning: int | None = None
        self.known: Market | None = None
        self.snapshots: list[Snapshot] = []
        self.stored: set[str] = set()  # what a real database would hold

    # clock
    def now_ns(self) -> int:
        return now_ns() + self.offset_ns

    def wall_ns(self) -> int:
        return START_S * 10**9 + self.offset_ns

    # exchange
    async def discover(self, choice: MarketChoice, now_wall_ns: int) -> list[Market]:
        return []

    async def market(self, condition_id: str) -> Market | None:
        return self.known

    async def winner(self, market: Market) -> int | None:
        return self.winning

    async def books(self, tokens: Sequence[str]) -> list[Snapshot]:
        return self.snapshots

    async def prepare(self, intent: Intent, market: Market) -> Prepared:
        if self.hold_prepare:
            await self.release.wait()
        return Prepared(intent, f"0x{intent.client_order_id:x}", None)

    async def submit(self, orders: Sequence[Prepared]) -> list[SubmitResult]:
        if self.hold_submit:
            await self.release.wait()
        self.sent += [order.order_id for order in orders]
        return [self.answer] * len(orders)

    async def cancel(self, order_ids: Sequence[str]) -> CancelResult:
        self.cancelled += order_ids
        if self.cancels_named:
            return CancelResult(frozenset(order_ids), {})
        return CancelResult(frozenset(), {order_id: "not found" for order_id in order_ids})

    async def cancel_all(self) -> CancelResult:
        return CancelResult(frozenset(), {})

    async def open_orders(self) -> list[OrderUpdate]:
        return list(self.open)

    async def trades(self, after_s: int) -> list[TradeUpdate]:
        self.asked_from.append(after_s)
        return list(self.done)

    async def balance(self, token: str | None) -> int:
        return 0

    async def refresh_balance(self, token: str | None) -> None:
        return None

    async def heartbeat(self, heartbeat_id: str) -> str:
        return heartbeat_id

    async def close(self) -> None:
        return None

    # store
    def save_order(self, order: Order) -> None:
        self.stored.add(order.venue_order_id)

    def save_change(self, change: Change, status: FillStatus) -> None:
        return None

    def save_market(self, market: Market) -> None:
        return None

    def save_openings(self, day: int, openings: dict[str, Position]) -> None:
        self.openings.append(openings)

    def save_day(
        self, day: int, realized: int, unrealized: int, fees_e8: int, fills: int, cash_micros: int
    ) -> None:
        self.day_cash.append(cash_micros)
        self.days.append((day, realized, unrealized))

    def save_late(self, day: int, micros: int) -> None:
        self.late.append((day, micros))

    def save_trades_read(self, wall_s: int) -> None:
        return None

    async def flush(self) -> None:
        return None

    async def known_orders(self, order_ids: Iterable[str]) -> set[str]:
        return set(order_ids) & self.stored

    # reporter
    def order(self, order: Order, execution: ExecutionType, reason: RejectReason, text: str) -> None:
        return None

    def refused(self, intent: Intent, reason: RejectReason, text: str) -> None:
        self.refusals.append(reason)

    def fill(self, change: Change, order: Order | None) -> None:
        return None

    def event(self, level: int, name: str, text: str, order_id: int = 0) -> None:
        self.events.append(name)


class Desk:
    """One engine in one ledger of its own."""

    def __init__(self, folder: Path, ledger: Ledger | None = None) -> None:
        folder.chmod(0o700)
        self.script = Script()
        adopted = ledger is not None
        self.ledger = ledger or Ledger.create(folder / "ledger", Amounts(1000 * SHARE, 20_000 * SHARE))
        self.budget = LedgerBudget(self.ledger, lambda token: token, own_lease=True)
        self.risk = RiskManager(LIMITS)
        self.settlement = Settlement(day_of(self.script.wall_ns()))
        self.tasks: set[asyncio.Task[None]] = set()
        script: Any = self.script
        self.engine = ExecutionEngine(
            script, self.budget, self.risk, self.settlement, script, script, script,
            EngineSettings(1, Price(5_000), 500_000_000), self.spawn,
        )  # fmt: skip
        self.engine.account.set_market(MARKET)
        self.budget.beat(False, now_ns())
        if not adopted:
            self.engine.reconciler.rebuild()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def place(self, size: int = 10, price: int = 45, side: Side = Side.BUY) -> Intent:
        intent = Intent(
            self.budget.next_client_order_id(), MARKET.condition_id, "111", Outcome.YES, side,
            Price(price * 10_000), Size(size * SHARE), True, int(StrategyId.MANUAL),
        )  # fmt: skip
        gate = Gate(True, True, True, True)
        view = MarketView((), gate, Price(450_000), None, MARKET.tick, True)
        self.engine.desk.submit_external(intent, view)
        return intent

    async def settle_down(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def live(self, size: int = 10) -> Order:
        intent = self.place(size)
        await self.settle_down()
        return self.engine.desk.by_client[intent.client_order_id]

    def used(self) -> int:
        """Loss used in the ledger, after the engine has charged what it knows."""
        self.engine.step({})
        return self.ledger.snapshot().participants[2].used_micros[LOSS]


def fill_of(
    order_id: str, trade_id: str, size: int, matched_s: int = START_S, condition: str = "0xc"
) -> Fill:
    return Fill(
        trade_id, order_id, condition, "111", Side.BUY, Price(450_000), Size(size * SHARE), True, 0,
        matched_s * 10**9,
    )  # fmt: skip


def update(order: Order, matched: int, live: bool, status: str) -> OrderUpdate:
    intent = order.intent
    return OrderUpdate(
        order.venue_order_id, intent.condition_id, intent.token, intent.side, intent.price, intent.size,
        Size(matched * SHARE), live, status,
    )  # fmt: skip


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Desk], Awaitable[None]]], None]:
    """Runs one story in an event loop and checks the ledger's invariants at its end."""

    def run(story: Callable[[Desk], Awaitable[None]]) -> None:
        async def main() -> None:
            desk = Desk(tmp_path)
            try:
                await story(desk)
                assert desk.ledger.audit() is None
            finally:
                for task in list(desk.tasks):
                    task.cancel()
                await asyncio.gather(*desk.tasks, return_exceptions=True)
                desk.budget.leave()

        asyncio.run(main())

    return run


Play = Callable[[Callable[[Desk], Awaitable[None]]], None]


def test_a_cancelled_order_stays_charged_for_fills_not_yet_seen(play: Play) -> None:
    """Cancelled with 6 matched: after the first trade of 3 the other 3 are still charged."""

    async def story(desk: Desk) -> None:
        order = await desk.live(10)
        desk.engine.desk.on_order(update(order, 6, False, "CANCELED"))
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of(order.venue_order_id, "t1", 3),)))
        assert desk.used() >= 6 * 450_000
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of(order.venue_order_id, "t2", 3),)))
        assert order.venue_order_id not in desk.engine.desk.orders

    play(story)


def test_an_order_whose_end_is_told_is_on_its_way_no_more(play: Play) -> None:
    """Unanswered, then cancelled by its hash: until its fills are booked it stays charged, but whoever reads
    the ledger meanwhile, a kill for one, need not wait for it to land. An answer that does not name it as
    cancelled proves nothing."""

    async def story(desk: Desk) -> None:
        desk.script.answer = SubmitResult(Verdict.UNKNOWN)
        order = await desk.live(10)

        def in_flight() -> int:
            seen = flight.parse(desk.ledger.path.read_bytes())
            return len(seen.in_flight("polymarket"))

        await desk.engine.desk.cancel_ids([order.venue_order_id])
        assert order.slot >= 0 and in_flight() == 1
        desk.script.cancels_named = True
        await desk.engine.desk.cancel_ids([order.venue_order_id])
        assert order.slot >= 0 and in_flight() == 0

    play(story)


def test_matched_at_the_venue_is_not_released_before_its_trades_show(play: Play) -> None:
    """Absent from the open orders with 6 matched and no trade yet: no reconcile releases it."""

    async def story(desk: Desk) -> None:
        order = await desk.live(10)
        desk.engine.desk.on_order(update(order, 6, False, "CANCELED"))
        for _ in range(3):
            desk.script.offset_ns += 3_000_000_000
            assert await desk.engine.reconciler.reconcile()
        assert order.venue_order_id in desk.engine.desk.orders

    play(story)


def test_the_last_lot_of_an_order_is_charged_until_the_venue_has_spoken(play: Play) -> None:
    """9.99 of 10 filled: the rest of one lot still rests at the venue and keeps its reservation."""

    async def story(desk: Desk) -> None:
        order = await desk.live(10)
        most = replace(fill_of(order.venue_order_id, "t1", 0), size=Size(10 * SHARE - 10_000))
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (most,)))
        assert order in desk.engine.desk.open_orders() and order.slot >= 0
        desk.engine.desk.on_order(replace(update(order, 0, False, "MATCHED"), matched=most.size))
        assert order.venue_order_id not in desk.engine.desk.orders and order.state is OrderState.FILLED

    play(story)


def test_one_absence_does_not_release(play: Play) -> None:
    """An order missing from one list keeps its reservation, and rests again when the next list has it."""

    async def story(desk: Desk) -> None:
        order = await desk.live(10)
        assert await desk.engine.reconciler.reconcile()
        assert order.slot >= 0
        desk.script.offset_ns += 3_000_000_000
        desk.script.open = [update(order, 0, True, "LIVE")]
        assert await desk.engine.reconciler.reconcile()
        assert not order.ended and order in desk.engine.desk.open_orders()
        desk.script.open = []
        for _ in range(2):
            desk.script.offset_ns += 3_000_000_000
            assert await desk.engine.reconciler.reconcile()
        assert order.venue_order_id not in desk.engine.desk.orders

    play(story)


def test_a_trade_that_failed_before_it_was_seen_ends_its_order(play: Play) -> None:
    """The venue counts it as matched; nothing is held, and the reservation does not stay for ever."""

    async def story(desk: Desk) -> None:
        order = await desk.live(10)
        desk.engine.reconciler.on_trade(TradeUpdate("FAILED", (fill_of(order.venue_order_id, "t1", 10),)))
        desk.engine.desk.on_order(update(order, 10, False, "MATCHED"))
        assert order.venue_order_id not in desk.engine.desk.orders
        assert desk.settlement.position("111").quantity == 0

    play(story)


def test_no_order_leaves_once_we_stop(play: Play) -> None:
    """An order that is being signed when the stop begins is dropped before the venue hears of it."""

    async def story(desk: Desk) -> None:
        desk.script.hold_prepare = True
        desk.place()
        await desk.settle_down()
        stopping = asyncio.create_task(desk.engine.stop(1.0))
        await desk.settle_down()
        desk.script.release.set()
        assert await stopping == 0
        await desk.settle_down()
        assert desk.script.sent == [] and not desk.engine.desk.orders

    play(story)


def test_an_order_that_was_held_up_is_not_sent(play: Play) -> None:
    """What it was decided on is 1.7 s old when it is signed: it is dropped, and nothing is charged."""

    async def story(desk: Desk) -> None:
        desk.script.hold_prepare = True
        desk.place()
        await desk.settle_down()
        desk.script.offset_ns += 1_700_000_000
        desk.script.release.set()
        await desk.settle_down()
        assert desk.script.sent == [] and not desk.engine.desk.orders
        assert desk.script.refusals == [RejectReason.STALE_DATA]

    play(story)


def test_a_cancel_reaches_an_order_that_is_still_being_signed(play: Play) -> None:
    """NEW_ORDER and CANCEL_ORDER may arrive together: the order is then not sent at all."""

    async def story(desk: Desk) -> None:
        desk.script.hold_prepare = True
        intent = desk.place()
        desk.engine.desk.withdraw(lambda i: i.client_order_id == intent.client_order_id)
        desk.script.release.set()
        await desk.settle_down()
        assert desk.script.sent == [] and not desk.engine.desk.orders

    play(story)


def test_halt_is_acknowledged_only_when_no_request_can_go_out(play: Play) -> None:
    """A request that waits for its connection is abandoned first; its order is then UNKNOWN, charged."""

    async def story(desk: Desk) -> None:
        desk.script.hold_submit = True
        desk.place()
        await desk.settle_down()
        epoch = desk.ledger.set_state(LedgerState.HALTED)
        desk.engine.step({})
        assert desk.ledger.snapshot().participants[2].halt_ack != epoch
        await desk.settle_down()
        desk.engine.step({})
        assert desk.ledger.snapshot().participants[2].halt_ack == epoch
        (order,) = desk.engine.desk.orders.values()
        assert order.state is OrderState.UNKNOWN and order.slot >= 0
        desk.script.release.set()
        await desk.settle_down()
        assert desk.script.sent == []

    play(story)


def test_cancel_only_abandons_requests_too(play: Play) -> None:
    """The gate was passed before the state changed: a request still waiting must not go out after it."""

    async def story(desk: Desk) -> None:
        desk.script.hold_submit = True
        desk.place()
        await desk.settle_down()
        desk.ledger.set_state(LedgerState.CANCEL_ONLY)
        desk.engine.step({})
        await desk.settle_down()
        desk.script.release.set()
        await desk.settle_down()
        assert desk.script.sent == []

    play(story)


def test_a_refusal_does_not_free_an_order_seen_at_the_venue(play: Play) -> None:
    """The stream has shown it resting; a refusal that comes after that is not believed."""

    async def story(desk: Desk) -> None:
        desk.script.hold_submit = True
        desk.script.answer = SubmitResult(Verdict.REJECTED, RejectReason.BAD_ORDER)
        order = await desk.live(10)
        desk.engine.desk.on_order(update(order, 0, True, "LIVE"))
        desk.script.release.set()
        await desk.settle_down()
        assert order.slot >= 0 and order in desk.engine.desk.open_orders()

    play(story)


def test_trades_are_read_from_the_last_complete_read(play: Play) -> None:
    """A trade that the stream lost is older than the newest known one: reading starts before both."""

    async def story(desk: Desk) -> None:
        assert await desk.engine.reconciler.reconcile()
        desk.script.offset_ns = 600 * 10**9
        newest = fill_of("0xold", "t9", 5, START_S + 599)
        desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", (newest,)))
        assert await desk.engine.reconciler.reconcile()
        assert desk.script.asked_from[-1] <= START_S

    play(story)


def test_a_fill_in_a_market_that_was_dropped_is_charged(play: Play) -> None:
    """A late fill brings its market back, with its worst case."""

    async def story(desk: Desk) -> None:
        assert desk.engine.drop_market("0xc")
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xold", "t1", 10),)))
        assert desk.used() >= 10 * 450_000

    play(story)


def test_what_is_held_is_charged_at_the_books_that_the_venue_has(play: Play) -> None:
    """At the start, before the ledger is rebuilt: worst case without a book, then what the book says, with
    one side as with two; a book that cannot be read changes nothing."""

    async def story(desk: Desk) -> None:
        desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", (fill_of("0xold", "t1", 10),)))
        assert desk.used() == 10_000_000
        nothing: Any = None
        script: Any = desk.script
        markets = MarketList(nothing, script, desk.engine, nothing, nothing, script)
        for bids, asks, used in (
            (((960_000, 1),), ((980_000, 1),), 9_700_000),
            (((960_000, 1), (970_000, 0)), (), 10_000_000),
            ((), ((30_000, 1),), 4_500_000 + 300_000),
        ):
            desk.script.snapshots = [Snapshot("111", "0xc", bids, asks, 10_000, 0)]
            await markets.read_marks()
            assert desk.used() == used
        desk.script.snapshots = []
        await markets.read_marks()
        assert desk.used() == 4_500_000 + 300_000

    play(story)


def test_a_market_that_comes_back_by_a_fill_is_followed(play: Play) -> None:
    """Its books are asked for at once, not at the next refresh of the list."""

    async def story(desk: Desk) -> None:
        wanted: list[str] = []
        desk.engine.account.market_held = lambda: wanted.append("follow")
        assert desk.engine.drop_market("0xc")
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xold", "t1", 10),)))
        assert wanted == ["follow"]

    play(story)


def test_an_unclear_order_in_a_market_that_is_not_quoted_is_charged(play: Play) -> None:
    """An earlier process may have sent it just before its market ended."""

    async def story(desk: Desk) -> None:
        assert desk.engine.drop_market("0xc")
        intent = Intent(
            77, MARKET.condition_id, "111", Outcome.YES, Side.BUY, Price(450_000), Size(10 * SHARE), False, 4
        )
        for _ in range(2):
            desk.engine.reconciler.adopt_unclear(intent, "0xdead", 0)
        assert 10 * 450_000 <= desk.used() < 2 * 10 * 450_000
        assert not desk.engine.drop_market("0xc")

    play(story)


def restart(desk: Desk) -> None:
    """Another process on the same ledger, which has nothing else of the first."""
    path = desk.ledger.path
    desk.budget.leave()
    again = Desk(path.parent, Ledger.open(path))
    again.script.offset_ns = desk.script.offset_ns
    desk.__dict__.update(again.__dict__)


def waits(desk: Desk) -> int:
    """How many orders a kill would wait for."""
    return len(flight.parse(desk.ledger.path.read_bytes()).in_flight("polymarket"))


@pytest.mark.parametrize("named", [True, False])
def test_what_only_the_ledger_knows_stays_charged_for_its_window(play: Play, named: bool) -> None:
    """Sent without an answer by a process whose database is gone: the next one keeps it charged, and a kill
    waits for it, until 60 s have passed since it was sent; whether its market is still known or not."""

    async def story(desk: Desk) -> None:
        desk.script.answer = SubmitResult(Verdict.UNKNOWN)
        intent = desk.place(10)
        await desk.settle_down()
        used = desk.used()
        assert used >= 10 * 450_000 and waits(desk) == 1
        restart(desk)
        desk.engine.drop_market("0xc")
        known = desk.engine.account.known
        known["0xc"] = replace(MARKET, symbols=MARKET.tokens)  # as this ledger calls its tokens
        if not named:
            known.clear()
        for _ in range(2):
            assert await desk.engine.reconciler.reconcile()
            adopted = desk.engine.reconciler.adopt_unseen()
            desk.engine.reconciler.rebuild()
        assert len(adopted) == named and ("orders_unplaced" in desk.script.events) is not named
        for second in (0, 30, 29):
            desk.script.offset_ns += second * 10**9
            assert await desk.engine.reconciler.reconcile()
            desk.engine.step({})
            assert waits(desk) == 1
            assert desk.ledger.snapshot().participants[2].used_micros[LOSS] >= 10 * 450_000
        for _ in range(3):
            desk.script.offset_ns += 10 * 10**9
            assert await desk.engine.reconciler.reconcile()
        desk.engine.step({})
        assert not waits(desk) and desk.ledger.snapshot().participants[2].used_micros[LOSS] == 0
        assert desk.budget.find(intent.client_order_id) == -1

    play(story)


def test_what_the_venue_has_told_of_is_not_looked_for_again(play: Play) -> None:
    """An order that was accepted before the process ended is not adopted from the ledger: what the venue
    lists or fills of it is found there."""

    async def story(desk: Desk) -> None:
        await desk.live(10)
        restart(desk)
        assert desk.engine.reconciler.adopt_unseen() == set()
        desk.engine.reconciler.rebuild()
        assert desk.used() == 0 and not desk.ledger.slots(2)

    play(story)


def test_a_fill_in_a_market_nobody_named_is_asked_about(play: Play) -> None:
    """The stream's trade waits for reconcile, which asks for the terms; without terms no new orders."""

    async def story(desk: Desk) -> None:
        trade = TradeUpdate("MATCHED", (replace(fill_of("0xold", "t1", 10, condition="0xd"), token="333"),))
        desk.engine.reconciler.on_trade(trade)
        assert desk.engine.desk.check_wanted.is_set() and not desk.settlement.position("333").quantity
        desk.script.known = replace(MARKET, condition_id="0xd", tokens=("333", "444"))
        desk.script.done = [trade]
        assert await desk.engine.reconciler.reconcile()
        assert len(desk.script.asked_from) == 2  # the fee of a trade needs the market's terms
        assert desk.used() >= 10 * 450_000 and not desk.risk.runaway
        desk.script.known = None
        desk.script.done = [TradeUpdate("MATCHED", (fill_of("0xold", "t2", 10, condition="0xe"),))]
        assert await desk.engine.reconciler.reconcile()
        assert desk.risk.runaway and "market_unknown" in desk.script.events

    play(story)


def test_a_market_with_unsettled_fills_is_neither_settled_nor_dropped(play: Play) -> None:
    """Sold out by a trade that may still fail: it stays until the trade is final."""

    async def story(desk: Desk) -> None:
        desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", (fill_of("0xa", "t1", 10),)))
        sale = replace(fill_of("0xb", "t2", 10), side=Side.SELL)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (sale,)))
        desk.script.winning = 0
        assert not desk.engine.drop_market("0xc") and not await desk.engine.reconciler.settle(MARKET)
        desk.engine.reconciler.on_trade(TradeUpdate("FAILED", (sale,)))
        assert await desk.engine.reconciler.settle(MARKET)
        assert desk.settlement.position("111").realized_micros == 10 * 550_000
        assert desk.engine.drop_market("0xc")

    play(story)


def test_a_fill_found_after_the_settlement_is_settled_too(play: Play) -> None:
    """The second booking has a key of its own."""

    async def story(desk: Desk) -> None:
        desk.script.winning = 0
        for trade_id in ("t1", "t2"):
            desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", (fill_of("0xa", trade_id, 10),)))
            assert await desk.engine.reconciler.settle(MARKET)
            assert desk.settlement.position("111").quantity == 0
        assert desk.settlement.position("111").realized_micros == 2 * 10 * 550_000

    play(story)


def test_a_question_listed_again_has_a_name_of_its_own(play: Play) -> None:
    """Same strike and end, another condition: views and orders by name can tell them apart."""

    async def story(desk: Desk) -> None:
        again = desk.engine.account.remember(replace(MARKET, condition_id="0xd", tokens=("333", "444")))
        assert again.symbols == ("Y#2", "N#2")
        assert desk.engine.account.remember(replace(again, symbols=("Y", "N"))).symbols == ("Y#2", "N#2")
        assert desk.engine.account.remember(MARKET).symbols == MARKET.symbols

    play(story)


def test_a_market_that_the_venue_refuses_is_doubted_and_not_insisted_on(play: Play) -> None:
    """A closed market answers each order with a refusal: that is not a runaway of ours."""

    async def story(desk: Desk) -> None:
        doubted: list[str] = []
        desk.engine.desk.market_doubted = doubted.append
        desk.script.answer = SubmitResult(Verdict.REJECTED, RejectReason.VENUE_MODE, "not yet ready")
        for _ in range(LIMITS.rejects_per_minute + 2):
            desk.place()
            await desk.settle_down()
        assert set(doubted) == {"0xc"} and not desk.risk.runaway and not desk.engine.desk.orders

    play(story)


def test_a_failed_trade_of_yesterday_changes_the_recorded_opening(play: Play) -> None:
    """Otherwise a restart would bring the position back."""

    async def story(desk: Desk) -> None:
        trade = fill_of("0xa", "t1", 10)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (trade,)))
        desk.ledger.first_day(desk.settlement.day + 1)
        desk.engine.step({})
        desk.engine.reconciler.on_trade(TradeUpdate("FAILED", (trade,)))
        assert desk.script.openings[-1]["111"].quantity == 0
        assert desk.settlement.position("111").quantity == 0

    play(story)
