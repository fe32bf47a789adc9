"""The bot's cash: each row of the activity once, the wallet against the books, tokens against positions.

The execution engine, its ledger and the database are real; the venue's wallet is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from polymarket.models.data.activity import parse_activity
from test_bot_execution import MARKET, SHARE, START_S, Desk, fill_of, update

import polymarket_bot.cash_watch as cash_watch
from bridge.messages import CashKind, HaltReason, LedgerState, RejectReason
from polymarket_bot.api.activity import Movement, read_movements
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.cash_watch import CashWatch
from polymarket_bot.errors import VenueError
from polymarket_bot.execution.cash import CashBook
from polymarket_bot.execution.ports import MarketView
from polymarket_bot.execution.settlement import DAY_NS, Settlement, day_of
from polymarket_bot.model import Direction, Market, Outcome, Price, Quote, Side, Size, TradeUpdate
from polymarket_bot.risk.manager import Gate
from polymarket_bot.storage.cash import CashRecords
from polymarket_bot.storage.database import Database
from polymarket_bot.venue_watch import VenueWatch

USD = 1_000_000
DAY = day_of(START_S * 10**9)
OPEN = replace(MARKET, expiry_ns=(START_S + 3600) * 10**9, direction=Direction.ABOVE)
FIRST_S = 100  # how long after the first reading the rows of a test happen


def row(kind: str, usd: float, number: int = 1, at_s: int = START_S + FIRST_S, **more: Any) -> Movement:
    """One row as the venue writes it, read by us."""
    wire = {"type": kind, "usdc_size": usd, "transaction_hash": f"0x{number:064x}", "timestamp": at_s,
            "proxy_wallet": "0x" + "11" * 20, **more}  # fmt: skip
    (movement,) = read_movements([parse_activity(wire)])
    return movement


class Bank:
    """The wallet and the activity of the account, as the venue answers about them."""

    def __init__(self) -> None:
        self.cash = 1_000 * USD
        self.tokens: dict[str, int] = {}
        self.rows: list[Movement] = []
        self.markets: dict[str, Market] = {}
        self.fails = ""
        self.unseen: dict[str | None, int] = {}  # what the venue's cache of balances does not show
        self.asked_from: list[int] = []
        self.on_balance: Callable[[], None] = lambda: None

    def pay(self, movement: Movement, moves: bool = True) -> None:
        self.rows.append(movement)
        self.cash += movement.amount_micros if moves else 0

    async def balance(self, token: str | None) -> int:
        if self.fails == "balance":
            raise VenueError("the test's venue is away")
        if token is None:
            self.on_balance()
            return self.cash - self.unseen.get(None, 0)
        return self.tokens.get(token, 0) - self.unseen.get(token, 0)

    async def refresh_balance(self, token: str | None) -> None:
        self.unseen.pop(token, None)

    async def activity(self, after_s: int) -> list[Movement]:
        if self.fails == "activity":
            raise VenueError("the test's venue is away")
        self.asked_from.append(after_s)
        return [movement for movement in self.rows if movement.wall_ns >= after_s * 10**9]

    async def market(self, condition_id: str) -> Market | None:
        return self.markets.get(condition_id)


class Case:
    """One bot's books beside one bank; `restart` forgets all but the database."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.bank, self.database, self.runs = folder, Bank(), database, 0
        self.later_s = 0
        self.restart()

    def restart(self) -> None:
        self.runs += 1
        folder = self.folder / f"run{self.runs}"
        folder.mkdir()
        self.desk = Desk(folder)
        self.desk.script.offset_ns = self.later_s * 10**9
        self.desk.engine.account.set_market(OPEN)
        bank: Any = self.bank
        tokens = VenueWatch("paper", bank, self.desk.engine, self.desk.script)
        script: Any = self.desk.script
        self.watch = CashWatch(
            bank, self.desk.engine, tokens, CashRecords(self.database), self.desk.budget, script, script, 60
        )

    async def start(self) -> None:
        await self.watch.load()
        await self.watch.start()
        self.later(FIRST_S)

    def later(self, seconds: int) -> None:
        self.later_s += seconds
        self.desk.script.offset_ns = self.later_s * 10**9

    async def look(self) -> None:
        await self.watch.look(600)

    def trade(self, name: str, size: int, side: Side = Side.BUY, status: str = "CONFIRMED") -> None:
        fill = replace(fill_of("0xo", name, size), side=side)
        self.desk.engine.reconciler.on_trade(TradeUpdate(status, (fill,)))
        sign = 1 if side is Side.BUY else -1
        self.bank.cash -= sign * fill.value
        self.bank.tokens[fill.token] = self.bank.tokens.get(fill.token, 0) + sign * fill.size

    @property
    def day(self) -> int:
        self.desk.engine.account.refresh_day()
        return self.desk.risk.day_micros

    @property
    def reduces(self) -> bool:
        return self.desk.risk.cash_differs

    @property
    def events(self) -> list[str]:
        return self.desk.script.events


Story = Callable[[Case], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    """Runs one story with a database of its own and checks that the last ledger is sound."""
    monkeypatch.setattr(cash_watch, "ATTEMPT_PAUSE_S", 0.0)
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(story: Story) -> None:
        async def main() -> None:
            database = await Database.open(tmp_path / "bot.db")
            writer = asyncio.create_task(database.writer())
            try:
                case = Case(tmp_path, database)
                await story(case)
                assert case.desk.ledger.audit() is None
            finally:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
                await database.close()

        asyncio.run(main())

    return run


Play = Callable[[Story], None]


def test_a_reward_is_a_result_and_a_withdrawal_is_none(play: Play) -> None:
    """+5 reward and 100 withdrawn: the day is +5, transfers -100, the wallet equals the books, also after
    the same rows are shown again and again, and after a restart."""

    async def story(case: Case) -> None:
        await case.start()
        assert not case.reduces
        case.bank.pay(row("REWARD", 5))
        case.bank.pay(row("WITHDRAWAL", 100, 2))
        case.bank.unseen[None] = -95 * USD
        for _ in range(3):
            await case.look()
        assert (case.day, case.desk.engine.account.cash.transfers_micros(DAY)) == (5 * USD, -100 * USD)
        assert case.watch.wallet_micros == case.watch.books_micros == 905 * USD
        await case.database.flush()
        case.restart()
        await case.start()
        assert case.day == 5 * USD and not case.reduces
        assert case.watch.wallet_micros == case.watch.books_micros == 905 * USD

    play(story)


@pytest.mark.parametrize(
    ("kind", "usd", "more", "wallet", "day", "transfer"),
    [
        ("REWARD", 5, {}, 5, 5, 0), ("MAKER_REBATE", 2, {}, 2, 2, 0), ("TAKER_REBATE", 2, {}, 2, 2, 0),
        ("REFERRAL_REWARD", 1, {}, 1, 1, 0), ("YIELD", 1, {}, 1, 1, 0),
        ("DEPOSIT", 50, {}, 50, 0, 50), ("WITHDRAWAL", 50, {}, -50, 0, -50), ("MIGRATION", 9, {}, 9, 0, 9),
        ("TIP", 3, {"side": "OUT"}, -3, 0, -3), ("TIP", 3, {"side": "IN"}, 3, 0, 3),
        ("NOVELTY", 7, {}, 7, 0, 0), ("NOVELTY", 7, {"side": "OUT"}, -7, -7, 0),
        ("NOVELTY", -7, {}, -7, -7, 0),
        ("CONVERSION", 4, {"condition_id": "0xd"}, 4, 0, 0),
        ("SPLIT", 6, {"condition_id": "0xd"}, -6, -6, 0), ("MERGE", 6, {"condition_id": "0xd"}, 6, 0, 0),
        ("REDEEM", 8, {"condition_id": "0xd"}, 8, 0, 0),
    ],
)  # fmt: skip
def test_what_each_type_does(
    play: Play, kind: str, usd: float, more: dict[str, Any], wallet: int, day: int, transfer: int
) -> None:
    """Wallet, day's result and transfers for each type, in markets that we do not know: what is unknown
    counts when it is a loss and enlarges nothing when it is a gain."""

    async def story(case: Case) -> None:
        await case.start()
        used = case.desk.used()
        case.bank.pay(row(kind, usd, **more))
        assert case.bank.cash == (1_000 + wallet) * USD
        await case.look()
        cash = case.desk.engine.account.cash
        assert (case.day, cash.transfers_micros(DAY)) == (day * USD, transfer * USD)
        assert case.watch.wallet_micros == case.watch.books_micros and not case.reduces
        assert case.desk.used() - used == max(0, -day) * USD

    play(story)


def test_rows_are_told_apart_and_a_trade_is_none(play: Play) -> None:
    """One transaction may hold several rows of a type and market: each counts once. Trades of the feed are
    not counted, they are read from the order book; a basket's are."""
    wire = {"type": "REWARD", "usdc_size": 1, "transaction_hash": "0x" + "ab" * 32, "timestamp": START_S,
            "proxy_wallet": "0x" + "11" * 20}  # fmt: skip
    trade = wire | {"type": "TRADE", "condition_id": "0xc", "token_id": "111", "side": "BUY", "size": 2,
                    "price": 0.5}  # fmt: skip
    rows = read_movements(
        [parse_activity(w) for w in (wire, wire, wire | {"type": "MAKER_REBATE"}, trade, wire)]
    )
    assert len({movement.key for movement in rows}) == len(rows) == 4
    again = read_movements([parse_activity(w) for w in (wire, wire | {"type": "MAKER_REBATE"}, wire, wire)])
    assert {movement.key for movement in again} == {movement.key for movement in rows}
    with pytest.raises(VenueError):
        read_movements([parse_activity({"type": "GIFT", "usdc_size": 1})])
    with pytest.raises(VenueError):
        read_movements([parse_activity({"type": "GIFT", "timestamp": START_S, "usdc_size": "NaN"})])
    with pytest.raises(VenueError):
        read_movements([parse_activity({"type": "GIFT", "timestamp": START_S})])


def test_a_sibling_that_comes_a_read_later_renames_nothing(play: Play) -> None:
    """Of four rewards in one transaction the feed shows the largest first, then a smaller one, then its
    twin: each is booked once, and a name does not depend on what else an answer holds. Nor does an older
    database,
    whose names were numbers in the order of an answer, book one of them again."""

    async def story(case: Case) -> None:
        await case.start()
        wire = {"type": "REWARD", "transaction_hash": "0x" + "ab" * 32, "timestamp": START_S + FIRST_S,
                "proxy_wallet": "0x" + "11" * 20}  # fmt: skip
        shown: list[dict[str, Any]] = []
        for usd in (9, 2, 2, 5):
            shown.insert(0, wire | {"usdc_size": usd})
            case.bank.rows = read_movements([parse_activity(item) for item in shown])
            case.bank.cash += usd * USD
            await case.look()
            assert not case.reduces
        assert case.day == 18 * USD and len({movement.transaction for movement in case.bank.rows}) == 4
        await case.database.flush()
        rows = await CashRecords(case.database).load()
        old = f"REWARD:{wire['transaction_hash']}:"
        for keys in ((old, old + "#2", old + "#3", old + "#4"), (old + "#3", old, old + "#4", old + "#2")):
            book = CashBook()
            book.load([replace(r, key=key) for r, key in zip(rows, keys, strict=True)], 0)
            assert all(book.known(movement.key) for movement in case.bank.rows)

    play(story)


def test_missing_dollars_reduce_at_once_and_halt_at_the_second_look(play: Play) -> None:
    """7 USD gone: at the first look only what reduces leaves, with CASH; at the second HALT_CASH. After the
    person's resume exactly this difference is booked as a loss, and trading goes on."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 10)
        case.bank.cash -= 7 * USD
        await case.look()
        assert case.reduces and "7 USD missing" in case.watch.doubt
        assert case.desk.budget.state() is LedgerState.ACTIVE and case.events.count("cash_differs") == 1
        case.desk.place(10)
        await case.desk.settle_down()
        assert case.desk.script.refusals == [RejectReason.CASH] and not case.desk.script.sent
        case.desk.place(10, 60, Side.SELL)
        await case.desk.settle_down()
        assert len(case.desk.script.sent) == 1
        await case.look()
        assert case.desk.budget.state() is LedgerState.ACTIVE  # out of turn: the feed has not had its minute
        case.later(60)
        await case.look()
        assert case.desk.budget.state() is LedgerState.HALTED
        assert case.desk.ledger.snapshot().reason is HaltReason.CASH
        assert "cash_unexplained" in case.events
        case.restart()
        case.bank.cash += 4_500_000  # the trade of the first run is not in this one's books
        await case.start()
        assert not case.reduces and "cash_accepted" in case.events and case.day == -7 * USD
        await case.database.flush()
        case.restart()
        await case.start()
        assert not case.reduces and case.day == -7 * USD and "cash_accepted" not in case.events

    play(story)


def test_a_doubt_between_reservation_and_gate_holds_the_order_back(play: Play) -> None:
    """Dollars are found missing while the order is being written down: it never leaves, with CASH."""

    async def story(case: Case) -> None:
        await case.start()
        case.desk.budget.beat(False, case.desk.script.now_ns())

        async def flush() -> None:
            case.desk.risk.cash_differs = True

        case.desk.script.flush = flush  # type: ignore[method-assign]
        case.desk.place(10)
        await case.desk.settle_down()
        assert case.desk.script.refusals == [RejectReason.CASH] and not case.desk.script.sent
        assert case.desk.ledger.snapshot().participants[2].open_orders == 0

    play(story)


@pytest.mark.parametrize("doubt", [False, True])
def test_quotes_that_add_risk_are_withdrawn_while_in_doubt(play: Play, doubt: bool) -> None:
    """A resting bid stays while the wallet is right; in doubt it is cancelled and none is placed."""

    async def story(case: Case) -> None:
        await case.start()
        desk = case.desk
        gate, bid = Gate(True, True, True, True), Quote(Outcome.YES, Side.BUY, cents(45), Size(10 * SHARE))
        view = MarketView((bid,), gate, Price(480_000), None, OPEN.tick, True)
        desk.budget.beat(False, desk.script.now_ns())
        desk.engine.step({"0xc": view})
        await desk.settle_down()
        (order,) = desk.engine.desk.open_orders()
        desk.script.open = [update(order, 0, True, "LIVE")]
        case.bank.cash -= doubt * USD
        await case.look()
        for _ in range(2):
            case.later(2)
            desk.budget.beat(False, desk.script.now_ns())
            desk.engine.step({"0xc": view})
            await desk.settle_down()
        assert len(desk.script.sent) == 1
        assert set(desk.script.cancelled) == (set(desk.script.sent) if doubt else set())

    play(story)


def test_too_many_dollars_are_unexplained_as_well(play: Play) -> None:
    """3 USD too many: reduces, halts; let pass by a person they are nobody's gain."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.cash += 3 * USD
        await case.look()
        assert case.reduces
        case.later(60)
        await case.look()
        assert case.desk.budget.state() is LedgerState.HALTED
        case.restart()
        await case.start()
        assert (case.reduces, case.day) == (False, 0)
        case.bank.cash -= 1 * USD
        await case.look()
        assert case.reduces  # another difference is not let pass

    play(story)


def test_a_lagging_row_explains_in_time(play: Play) -> None:
    """The wallet moved before the feed shows why: reducing until the row is there, then trading again."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.cash += 5 * USD
        await case.look()
        assert case.reduces
        case.bank.pay(row("REWARD", 5), moves=False)
        await case.look()
        assert not case.reduces and case.day == 5 * USD and "cash_explained" in case.events

    play(story)


@pytest.mark.parametrize("micros", [-2, -1, 0, 1, 2])
def test_the_tolerance_is_one_unit(play: Play, micros: int) -> None:
    """One millionth of a dollar may differ, two may not."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.cash += micros
        await case.look()
        assert case.reduces == (abs(micros) > 1)

    play(story)


def test_a_fill_between_the_readings_is_no_difference(play: Play) -> None:
    """The wallet is read just after a fill that our stream tells of a moment later: tried again, equal."""

    async def story(case: Case) -> None:
        await case.start()
        fill = fill_of("0xo", "t1", 10)

        def filled() -> None:
            case.bank.on_balance = lambda: None
            case.bank.cash -= fill.value
            update = TradeUpdate("CONFIRMED", (fill,))
            case.desk.script.done.append(update)

        case.bank.on_balance = filled
        await case.look()
        assert not case.reduces and case.watch.wallet_micros == case.watch.books_micros

    play(story)


def test_trades_that_are_not_final_leave_a_range(play: Play) -> None:
    """While a purchase of 4.50 is on its way the wallet may hold it still or not; more than that may not
    be missing."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 10, status="MATCHED")
        await case.look()
        assert not case.reduces
        case.bank.cash += 4_500_000  # not mined yet
        await case.look()
        assert not case.reduces
        case.bank.cash += 2 * USD
        await case.look()
        assert case.reduces

    play(story)


def test_tokens_that_vanish_are_charged_at_once(play: Play) -> None:
    """10 shares at 0.45 go by hand: at that look all of their worth is lost, and none is offered any more."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 20)
        case.desk.risk.set_prices("0xc", cents(44), cents(46))
        assert case.day == 0
        case.bank.tokens["111"] -= 10 * SHARE
        case.bank.unseen["111"] = -10 * SHARE
        await case.look()
        assert case.desk.settlement.position("111").quantity == 10 * SHARE
        assert case.day == -4_500_000 and "position_differed" in case.events
        assert not case.reduces  # tokens have moved, dollars have not
        case.desk.place(15, 60, Side.SELL)
        await case.desk.settle_down()
        assert case.desk.script.refusals == [RejectReason.INSUFFICIENT_BALANCE]

    play(story)


def test_a_refusal_for_want_of_balance_is_looked_into_at_once(play: Play) -> None:
    """The venue refuses a sale because the tokens are not there, or ends one: the running watch finds and
    charges it without waiting for its minute, and nothing more of them is offered."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 20)
        case.desk.engine.desk.balance_doubted = case.watch.wanted.set
        watching = case.desk.spawn(case.watch.run())
        found = asyncio.Event()
        tell = case.desk.script.event

        def told(level: int, name: str, text: str, order_id: int = 0) -> None:
            tell(level, name, text, order_id)
            if name == "position_differed":
                found.set()

        case.desk.script.event = told  # type: ignore[method-assign]
        await case.desk.settle_down()
        case.bank.tokens["111"] = 0
        case.desk.script.answer = SubmitResult(
            Verdict.REJECTED, RejectReason.INSUFFICIENT_BALANCE, "not enough balance / allowance"
        )
        case.desk.place(10, 60, Side.SELL)
        await asyncio.wait_for(found.wait(), 30)
        assert case.desk.settlement.position("111").quantity == 0 and not watching.done()
        case.watch.wanted.clear()
        case.desk.script.answer = SubmitResult(Verdict.ACCEPTED)
        case.desk.budget.beat(False, case.desk.script.now_ns())
        order = await case.desk.live(10)
        case.desk.engine.desk.on_order(update(order, 0, False, "CANCELED_NOT_ENOUGH_BALANCE"))
        assert case.watch.wanted.is_set()

    play(story)


def test_a_resolution_that_is_not_redeemed_is_no_difference(play: Play) -> None:
    """The winners are booked and nobody has redeemed: the dollars are not expected in the wallet yet."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 10)
        case.desk.script.winning = 0
        await case.desk.engine.reconciler.settle(OPEN)
        case.desk.engine.drop_market("0xc")
        await case.look()
        assert (case.day, case.reduces) == (5_500_000, False)
        case.bank.pay(row("REDEEM", 10, condition_id="0xc"))
        await case.look()
        assert (case.day, case.reduces) == (5_500_000, False)

    play(story)


def cents(number: int) -> Price:
    """A price."""
    return Price(number * 10_000)


def test_tokens_that_come_are_charged_and_no_gain(play: Play) -> None:
    """20 shares appear: the risk of a position of that size is charged, the day's result stays."""

    async def story(case: Case) -> None:
        await case.start()
        case.desk.risk.set_prices("0xc", cents(44), cents(46))
        used = case.desk.used()
        case.bank.tokens["111"] = 20 * SHARE
        await case.look()
        assert case.day == 0 and case.desk.used() - used == 9 * USD

    play(story)


def test_tokens_of_a_trade_on_its_way_are_not_adopted(play: Play) -> None:
    """A balance that lacks a purchase that is not final is no difference, and is looked at soon again."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 20, status="MATCHED")
        case.bank.tokens["111"] = 0
        await case.look()
        assert case.desk.settlement.position("111").quantity == 20 * SHARE
        assert "position_differed" not in case.events

    play(story)


def test_a_split_and_a_merge_are_nobodys_gain(play: Play) -> None:
    """Dollars become pairs and pairs dollars: positions follow, the day does not move; seen after the tokens
    (the feed is late), what was charged for them is taken back."""

    async def story(case: Case) -> None:
        await case.start()
        case.desk.risk.set_prices("0xc", cents(29), cents(31))
        for number, (kind, late) in enumerate((("SPLIT", False), ("MERGE", True))):
            sign = 1 if kind == "SPLIT" else -1
            for token in OPEN.tokens:
                case.bank.tokens[token] = case.bank.tokens.get(token, 0) + sign * 20 * SHARE
            movement = row(kind, 20, number, condition_id="0xc")
            case.bank.cash += movement.amount_micros
            if late:
                await case.look()
                assert case.day == -20 * USD and case.reduces
            case.bank.pay(movement, moves=False)
            await case.look()
            held = {case.desk.settlement.position(token).quantity for token in OPEN.tokens}
            assert held == {max(0, sign) * 20 * SHARE}
            assert case.day == 0 and not case.reduces

    play(story)


def test_a_redemption_pays_what_was_booked_and_more_is_a_result(play: Play) -> None:
    """A resolution is booked at one dollar; the wallet gets it with the REDEEM row, before or after; what is
    paid beyond the booking counts once nothing is held."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 10)
        case.bank.tokens = {}
        case.bank.pay(row("REDEEM", 10, condition_id="0xc"))
        case.desk.script.winning = 0
        await case.watch.read_activity()
        assert case.desk.engine.account.day_cash() == 0
        await case.desk.engine.reconciler.settle(OPEN)
        await case.look()
        assert (case.day, case.reduces) == (5_500_000, False)
        assert case.desk.engine.account.day_cash() == 0
        case.bank.pay(row("REDEEM", 2, 2, condition_id="0xc"))
        await case.look()
        assert (case.day, case.desk.engine.account.day_cash()) == (7_500_000, 2 * USD)
        assert not case.reduces

    play(story)


def test_until_the_first_reading_only_what_reduces_is_placed(play: Play) -> None:
    """A venue that does not tell the wallet or the activity: reducing only, and trading as soon as it does;
    a bot that could compare and cannot any more reduces after five minutes."""

    async def story(case: Case) -> None:
        for part in ("activity", "balance"):
            case.bank.fails = part
            await case.start()
            assert case.reduces and "not read yet" in case.watch.doubt
        case.bank.fails = ""
        await case.look()
        assert not case.reduces
        case.bank.fails = "activity"
        case.later(200)
        await case.look()
        assert not case.reduces
        case.later(200)
        await case.look()
        assert case.reduces and "cash_unread" in case.events

    play(story)


def test_what_happened_before_the_first_reading_is_in_the_baseline(play: Play) -> None:
    """Rows of earlier days are not read, of today they count as a result but not twice in the wallet; one
    that the feed shows late is the same; after a restart nothing of it is counted again."""

    async def story(case: Case) -> None:
        yesterday = START_S - START_S % 86_400 - 10
        case.bank.rows = [row("REWARD", 11, 1, yesterday), row("REWARD", 2, 2, START_S - 50)]
        await case.start()
        assert case.day == 2 * USD and case.watch.wallet_micros == 1_000 * USD
        case.bank.pay(row("REWARD", 3, 3, START_S - 20), moves=False)
        await case.look()
        assert case.day == 5 * USD and not case.reduces
        await case.database.flush()
        case.restart()
        await case.start()
        assert case.day == 5 * USD and not case.reduces
        assert min(case.bank.asked_from) == START_S - START_S % 86_400

    play(story)


def test_a_row_counts_in_its_day_and_a_late_loss_today() -> None:
    """A gain of yesterday is yesterday's; a loss that is learnt today is today's."""
    book = CashBook()
    wall_ns = (DAY - 1) * DAY_NS
    book.take(Movement("a", "REWARD", "a", "", 5, wall_ns), DAY, DAY - 1)
    book.take(Movement("b", "NOVELTY", "b", "", -3, wall_ns), DAY, DAY - 1)
    assert (book.day_micros(DAY - 1), book.day_micros(DAY), book.day_micros(DAY + 1)) == (5, -3, 0)
    with pytest.raises(ValueError, match="already"):
        book.take(Movement("a", "REWARD", "a", "", 5, wall_ns), DAY, DAY - 1)


def test_the_rows_survive_as_they_were(play: Play) -> None:
    """What storage gives back is what was booked, to the micro."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.pay(row("MAKER_REBATE", 0.000001))
        case.bank.pay(row("DEPOSIT", 123456.654321, 2))
        await case.look()
        await case.database.flush()
        rows = {r.type: r for r in await CashRecords(case.database).load()}
        assert (rows["MAKER_REBATE"].amount_micros, rows["MAKER_REBATE"].result_micros) == (1, 1)
        assert rows["MAKER_REBATE"].kind is CashKind.COMMISSION
        assert (rows["DEPOSIT"].amount_micros, rows["DEPOSIT"].result_micros) == (123_456_654_321, 0)
        assert rows["DEPOSIT"].kind is CashKind.TRANSFER and rows["DEPOSIT"].day == DAY

    play(story)


@pytest.mark.parametrize("fails", [False, True])
def test_a_fill_of_the_closed_day_is_in_the_wallets_books(play: Play, fails: bool) -> None:
    """Matched before midnight and learnt after the roll: the wallet is expected without its cost at once,
    after
    it has failed it is not, and a settlement that is loaded from what was booked expects the same."""

    async def story(case: Case) -> None:
        await case.start()
        case.trade("t1", 10)
        case.desk.settlement.roll(DAY + 1, {"111": 450_000})
        case.trade("t2", 20, status="MATCHED" if fails else "CONFIRMED")
        await case.look()
        assert not case.reduces
        if fails:
            case.trade("t2", 20, status="FAILED")
            case.bank.cash += 2 * 20 * 450_000  # the helper has taken it twice, and the venue gives it back
            case.bank.tokens["111"] = 10 * SHARE
            await case.look()
            assert not case.reduces
        assert case.watch.wallet_micros == case.watch.books_micros
        assert case.bank.cash == (1_000 * USD) - (1 if fails else 3) * 4_500_000
        again = Settlement(DAY + 1)
        again.load({}, case.desk.settlement._fills.values())
        assert again.trade_cash_micros == case.desk.settlement.trade_cash_micros

    play(story)


@pytest.mark.parametrize("micros", [-7 * USD, 3 * USD])
def test_a_resume_lets_the_difference_pass_in_the_same_run(play: Play, micros: int) -> None:
    """Halted for a difference: nothing more is said while halted, and the first look after the person's
    resume
    lets exactly it pass; the same bot, without a restart. The next difference begins with its own two
    looks."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.cash += micros
        for _ in range(2):
            await case.look()
            case.later(60)
        assert case.desk.budget.state() is LedgerState.HALTED
        told = list(case.events)
        for _ in range(5):
            await case.look()
            case.later(60)
        assert case.events == told and case.reduces
        case.desk.ledger.set_state(LedgerState.ACTIVE, by_person=True)
        await case.look()
        assert case.desk.budget.state() is LedgerState.ACTIVE
        assert not case.reduces and case.events.count("cash_accepted") == 1
        assert case.day == min(0, micros)
        case.bank.cash -= 1 * USD
        case.later(60)
        await case.look()
        assert case.reduces and case.desk.budget.state() is LedgerState.ACTIVE

    play(story)


def test_the_cash_that_is_shown_follows_each_trade(play: Play) -> None:
    """Between two readings of the wallet the books are shown as they are now, and the wallet as it was read
    with the trades since, so that their difference stays the one of the reading."""

    async def story(case: Case) -> None:
        assert case.watch.shown() == (0, 0)
        await case.start()
        case.trade("t1", 10)
        assert case.watch.shown() == (995_500_000, 995_500_000)
        case.bank.cash -= 7 * USD
        await case.look()
        case.trade("t2", 10)
        assert case.watch.shown() == (984 * USD, 991 * USD)
        assert case.bank.cash == 984 * USD

    play(story)


def test_another_difference_after_the_resume_is_not_let_pass(play: Play) -> None:
    """While halted one dollar more goes: after the resume this is a new difference, which first reduces and
    halts again only when it stays."""

    async def story(case: Case) -> None:
        await case.start()
        case.bank.cash -= 7 * USD
        for _ in range(2):
            await case.look()
            case.later(60)
        case.bank.cash -= 1 * USD
        case.desk.ledger.set_state(LedgerState.ACTIVE, by_person=True)
        await case.look()
        assert case.reduces and case.desk.budget.state() is LedgerState.ACTIVE
        assert "cash_accepted" not in case.events
        case.later(60)
        await case.look()
        assert case.desk.budget.state() is LedgerState.HALTED

    play(story)
