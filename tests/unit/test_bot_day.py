"""The end of a day in the bot, with the real ledger: it follows the leader and never its own clock."""

from __future__ import annotations

from pathlib import Path

from test_bot_execution import MARKET, SHARE, START_S, Desk, Play, fill_of, play, update  # noqa: F401

from bridge.ledger import Amounts, Ledger, now_ns
from bridge.messages import HaltReason, LedgerState, RejectReason, RollPhase
from bridge.wall_clock import DAY_NS, WallWatch
from polymarket_bot.api.activity import Movement
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.day import CANCELS_WAIT_NS
from polymarket_bot.execution.settlement import Settlement
from polymarket_bot.model import OrderState, Price, Side, Size, TradeUpdate
from polymarket_bot.risk.manager import LOSS

DAY = START_S // 86_400
BOT = 2


def named(desk: Desk) -> None:
    """The leader has named the day on which the test begins."""
    assert desk.ledger.first_day(DAY)
    desk.engine.step({})


def begin(desk: Desk, day: int = DAY + 1) -> None:
    """The leader's part from an acknowledged pause to the end of the roll."""
    assert desk.ledger.roll_acked(BOT)
    desk.ledger.roll_begin(day * DAY_NS)
    desk.engine.step({})
    assert desk.ledger.roll_acked(BOT)
    desk.ledger.roll_end()
    desk.engine.step({})


def test_no_day_begins_by_the_own_clock(play: Play) -> None:  # noqa: F811
    """Midnight passes on the wall: the bot's day stays until the header names another."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.script.offset_ns = DAY_NS
        desk.engine.step({})
        assert desk.settlement.day == DAY and desk.ledger.day_of(BOT) == DAY

    play(story)


def test_the_pause_is_acknowledged_when_nothing_more_can_leave(play: Play) -> None:  # noqa: F811
    """Orders are cancelled, new ones refused, a request under way is waited for; then the day begins."""

    async def story(desk: Desk) -> None:
        named(desk)
        order = await desk.live()
        desk.script.hold_submit = True
        held = desk.place()
        await desk.settle_down()
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        await desk.settle_down()
        assert desk.script.cancelled == [order.venue_order_id] and not desk.ledger.roll_acked(BOT)
        desk.place()
        await desk.settle_down()
        assert desk.script.refusals == [RejectReason.DAY_ROLL]
        desk.script.release.set()
        await desk.settle_down()
        waiting = desk.engine.desk.by_client[held.client_order_id]
        for gone in (order, waiting):
            desk.engine.desk.on_order(update(gone, 0, False, "CANCELED"))
        desk.engine.step({})
        assert desk.settlement.day == DAY
        begin(desk)
        assert desk.settlement.day == DAY + 1 and desk.ledger.day_of(BOT) == DAY + 1
        desk.script.hold_submit = False
        await desk.live()
        assert len(desk.script.sent) == 3

    play(story)


def test_a_slow_venue_does_not_hold_the_day_up(play: Play) -> None:  # noqa: F811
    """After 600 ms a request without an answer is broken off, acknowledged, and stays charged."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.script.hold_submit = True
        intent = desk.place()
        await desk.settle_down()
        assert desk.ledger.roll_pause(now_ns() - CANCELS_WAIT_NS) == 1
        desk.engine.step({})
        await desk.settle_down()
        desk.engine.step({})
        order = desk.engine.desk.by_client[intent.client_order_id]
        assert order.state is OrderState.UNKNOWN
        used = desk.used()
        begin(desk)
        assert desk.used() == used > 0 and desk.ledger.slots(BOT)[0].client_order_id == intent.client_order_id

    play(story)


def test_unknown_orders_are_not_waited_for_and_keep_their_charge(play: Play) -> None:  # noqa: F811
    """The venue did not answer: acknowledged at once, and charged tomorrow as today."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.script.answer = SubmitResult(Verdict.UNKNOWN, text="no answer")
        desk.place()
        await desk.settle_down()
        used = desk.used()
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        begin(desk)
        assert desk.used() == used > 0

    play(story)


def test_what_is_held_is_carried_over_at_its_mark(play: Play) -> None:  # noqa: F811
    """The loss of the closed day is written down, and is not today's."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xa", "t1", 10),)))
        desk.risk.set_prices(MARKET.condition_id, Price(350_000), Price(350_000))
        desk.engine.step({})
        assert desk.risk.loss_micros() == 1_000_000
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        begin(desk)
        assert desk.script.days == [(DAY, 0, -1_000_000)] and desk.risk.loss_micros() == 0
        assert (desk.settlement.closed_day, desk.settlement.closed_micros) == (DAY, -1_000_000)
        assert desk.script.openings[-1]["111"].cost_micros == 3_500_000
        assert desk.script.events.count("day_closed") == 1

    play(story)


def test_a_late_fill_is_its_days_and_its_loss_is_charged_today_too(play: Play) -> None:  # noqa: F811
    """Bought yesterday at 45, marked 35 at the day's end, learnt today: 1 USD of yesterday, charged today."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xa", "t1", 10),)))
        desk.risk.set_prices(MARKET.condition_id, Price(350_000), Price(350_000))
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        begin(desk)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xb", "t2", 10),)))
        desk.engine.step({})
        position = desk.settlement.position("111")
        assert (position.quantity, position.cost_micros) == (20 * SHARE, 7_000_000)
        assert desk.engine.account.day_micros() == 0 and desk.risk.loss_micros() == 1_000_000
        assert desk.settlement.closed_micros == -2_000_000 and desk.script.late == [(DAY + 1, -1_000_000)]
        assert desk.script.openings[-1]["111"].quantity == 20 * SHARE
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xc", "t3", 10, START_S + 86_400),)))
        assert desk.settlement.position("111").cost_micros == 11_500_000
        assert desk.ledger.snapshot().participants[BOT].used_micros[LOSS] >= 1_000_000

    play(story)


def test_a_late_gain_does_not_enlarge_todays_budget() -> None:
    """Sold yesterday above the mark of the day's end: the closed day gains, today's count does not."""
    book = Settlement(DAY)
    first = fill_of("0xa", "t1", 10)
    book.apply(TradeUpdate("MATCHED", (first,)))
    book.roll(DAY + 1, {"111": 350_000})
    sold = fill_of("0xb", "t2", 10)
    book.apply(TradeUpdate("MATCHED", (type(sold)(
        sold.trade_id, sold.order_id, sold.condition_id, sold.token, Side.SELL, Price(500_000),
        Size(10 * SHARE), True, 0, sold.matched_wall_ns,
    ),)))  # fmt: skip
    position = book.position("111")
    assert (position.quantity, position.cost_micros, position.realized_micros) == (0, 0, 0)
    assert book.late_micros == 1_500_000


def test_a_doubted_clock_pulls_quotes_and_denies_new_risk(play: Play) -> None:  # noqa: F811
    """What rests is cancelled, nothing new is sent, until the doubt is lifted."""

    async def story(desk: Desk) -> None:
        named(desk)
        order = await desk.live()
        desk.ledger.doubt_clock(now_ns())
        desk.engine.step({})
        await desk.settle_down()
        assert desk.script.cancelled == [order.venue_order_id]
        desk.place()
        await desk.settle_down()
        assert desk.script.refusals == [RejectReason.CLOCK_JUMP]
        desk.ledger.doubt_clock(0)
        await desk.live()

    play(story)


def test_a_refused_stamp_of_a_jumped_clock_is_no_refused_key(play: Play) -> None:  # noqa: F811
    """While the clock is doubted the venue's 401 halts nothing; once it is believed, it does."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.ledger.doubt_clock(now_ns())
        desk.budget.halt(HaltReason.VENUE)
        assert desk.ledger.state is LedgerState.ACTIVE
        desk.ledger.doubt_clock(0)
        desk.budget.halt(HaltReason.VENUE)
        assert desk.ledger.state is LedgerState.HALTED

    play(story)


def test_who_joins_late_begins_the_ledgers_day(play: Play) -> None:  # noqa: F811
    """Away while the day ended: begun at the start, before the venue is asked."""

    async def story(desk: Desk) -> None:
        assert desk.ledger.first_day(DAY + 2)
        desk.engine.day.begin_at_start()
        assert desk.settlement.day == DAY + 2 and desk.ledger.day_of(BOT) == DAY + 2
        assert len(desk.script.openings) == 1

    play(story)


def test_after_a_suspend_the_ledger_is_rebuilt_from_the_venue(play: Play) -> None:  # noqa: F811
    """Ten minutes of standing still: noticed, and truth is told anew after the next comparison."""

    async def story(desk: Desk) -> None:
        named(desk)
        now = now_ns()
        assert desk.engine.day.stood_still_ns(now) == 0
        assert desk.engine.day.stood_still_ns(now + 50_000_000) == 0
        assert desk.engine.day.stood_still_ns(now + 600 * 10**9) == 600 * 10**9 - 50_000_000
        before = desk.ledger.snapshot().participants[BOT].reconciled_ns
        desk.engine.reconciler.stale = True
        assert await desk.engine.reconciler.reconcile()
        assert desk.ledger.snapshot().participants[BOT].reconciled_ns > before
        assert not desk.engine.reconciler.stale

    play(story)


def test_a_bot_without_a_supervisor_leads_its_own_day(tmp_path: Path) -> None:
    """Midnight with an injected wall: one roll in three beats; a wall that jumps a day rolls nothing."""
    tmp_path.chmod(0o700)
    wall = [(DAY + 1) * DAY_NS - 10]
    ledger = Ledger.create(tmp_path / "ledger", Amounts(1000 * SHARE, 20_000 * SHARE))
    budget = LedgerBudget(ledger, lambda token: token, own_lease=True, wall_ns=lambda: wall[0])
    assert budget.roll().day == DAY
    wall[0] += DAY_NS
    budget.beat(False, now_ns())
    assert budget.roll().day == DAY and budget.roll().clock_doubt_ns
    wall[0] -= DAY_NS
    budget.beat(False, now_ns())
    assert not budget.roll().clock_doubt_ns
    wall[0] += 20
    phases = []
    for _ in range(4):
        budget.beat(False, now_ns())
        phases.append(budget.roll().phase)
        budget.roll_ack(budget.roll(), budget.roll().day)
    assert phases == [RollPhase.PAUSE, RollPhase.BEGIN, RollPhase.NONE, RollPhase.NONE]
    assert budget.roll().day == DAY + 1
    budget.leave()


def test_the_watch_tells_jumps_from_sleep() -> None:
    """The same arithmetic from Python: a wall that was set, and a machine that slept."""
    watch = WallWatch()
    watch.look(DAY * DAY_NS, 1000, 1000)
    assert watch.look(DAY * DAY_NS + 6 * 10**9, 1000, 1000).jumped_ns == 6 * 10**9 and watch.doubted
    watch.confirm()
    assert not watch.doubted and watch.moved_ns == 0
    look = watch.look(DAY * DAY_NS + 606 * 10**9, 600 * 10**9 + 1000, 1000)
    assert (look.jumped_ns, look.slept_ns) == (0, 600 * 10**9)


def test_a_fill_of_the_next_day_waits_for_its_day(play: Play) -> None:  # noqa: F811
    """Matched after midnight and learnt before the roll's BEGIN: the closing day does not have it, its order
    stays charged, its tokens count as on their way, and the new day books it once at its own price."""

    async def story(desk: Desk) -> None:
        named(desk)
        order = await desk.live()
        early = TradeUpdate("MATCHED", (fill_of(order.venue_order_id, "t1", 10, (DAY + 1) * 86_400),))
        desk.engine.reconciler.on_trade(early)
        desk.engine.desk.on_order(update(order, 10, False, "MATCHED"))
        desk.engine.reconciler.on_trade(early)
        settlement = desk.settlement
        assert settlement.position("111").quantity == 0 and settlement.fills_today() == 0
        assert desk.used() == 4_500_000 and settlement.has_order(order.venue_order_id)
        assert [fill.trade_id for fill in settlement.provisional()] == ["t1"]
        assert settlement.pending_cash() == (4_500_000, 0) and settlement.trade_cash_micros == 0
        assert desk.ledger.roll_pause(now_ns() - CANCELS_WAIT_NS) == 1
        desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", early.fills))
        desk.engine.step({})
        begin(desk)
        position = settlement.position("111")
        assert (position.quantity, position.cost_micros) == (10 * SHARE, 4_500_000)
        assert settlement.fills_today() == 1 and settlement.trade_cash_micros == -4_500_000
        assert not settlement.provisional() and settlement.pending_cash() == (0, 0)
        assert order.venue_order_id not in desk.engine.desk.orders
        assert desk.script.days == [(DAY, 0, 0)] and desk.script.late == []

    play(story)


def test_a_fill_of_the_next_day_that_fails_first_is_never_booked(play: Play) -> None:  # noqa: F811
    """It failed while it waited for its day: recorded as failed, and nothing is booked when the day
    begins."""

    async def story(desk: Desk) -> None:
        named(desk)
        early = fill_of("0xa", "t1", 10, (DAY + 1) * 86_400)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (early,)))
        desk.engine.reconciler.on_trade(TradeUpdate("FAILED", (early,)))
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        begin(desk)
        desk.engine.reconciler.on_trade(TradeUpdate("CONFIRMED", (early,)))
        assert desk.settlement.position("111").quantity == 0 and not desk.settlement.trade_cash_micros

    play(story)


def test_the_close_that_is_written_is_the_close_that_is_told(play: Play) -> None:  # noqa: F811
    """A reward of 5 and a loss of 1 at the mark: 4 are reported, and 4 are what the database's row adds
    to."""

    async def story(desk: Desk) -> None:
        named(desk)
        desk.engine.reconciler.on_trade(TradeUpdate("MATCHED", (fill_of("0xa", "t1", 10),)))
        desk.risk.set_prices(MARKET.condition_id, Price(350_000), Price(350_000))
        reward = Movement("r", "REWARD", "r", "", 5_000_000, START_S * 10**9)
        desk.engine.account.cash.take(reward, DAY, DAY)
        assert desk.ledger.roll_pause() == 1
        desk.engine.step({})
        begin(desk)
        assert desk.settlement.closed_micros == 4_000_000
        assert desk.script.days == [(DAY, 0, -1_000_000)] and desk.script.day_cash == [5_000_000]

    play(story)
