"""Money without a fill at the Binance simulator: rows, events and balances tell of the same amounts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_sim_binance import Client, Simulator, drive, receive, trades_of_an_order

from simulators.admin import RefereeError
from simulators.binance import Venue
from simulators.binance_cash import FUNDING_EVERY_MS, INCOME_LAG_MS
from simulators.binance_rules import VenueError
from simulators.options import Options
from simulators.state import StateFolder

E8 = 10**8
START_E8 = 100_000 * E8
HOUR_MS = 3_600_000


class Desk:
    """A venue without sockets, its events, and a clock that the test moves."""

    def __init__(self, folder: Path, faults: str = "") -> None:
        options = Options("binance", 0, 0, folder, 1, None, 1.0, True, "prod-strict", faults, None)
        self.folder = StateFolder(folder)
        self.venue = Venue(options, self.folder, "00" * 32)
        self.events: list[dict[str, Any]] = []
        self.venue.exchange.emit = self.events.append

    def act(self, **verb: Any) -> dict[str, Any]:
        return self.venue.move_market(verb)

    def buy(self, quantity: str) -> None:
        self.trade("BUY", quantity)

    def trade(self, side: str, quantity: str) -> None:
        order = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity,
                 "newOrderRespType": "RESULT"}  # fmt: skip
        assert self.venue.exchange.place(order)["status"] == "FILLED"

    def pass_ms(self, ms: int) -> None:
        self.venue.clock.offset_ms += ms
        self.venue.cash.check_funding()

    def rows(self, **params: Any) -> list[dict[str, Any]]:
        return self.venue.cash.income({name: str(value) for name, value in params.items()})

    def account(self) -> dict[str, Any]:
        (view,) = self.venue.account()["accounts"].values()
        account: dict[str, Any] = view
        return account

    def account_events(self) -> list[dict[str, Any]]:
        return [
            event for event in self.events if event["e"] == "ACCOUNT_UPDATE" and event["a"]["m"] != "ORDER"
        ]


def amount_e8(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    whole, _, rest = text.removeprefix("-").partition(".")
    assert len(rest) == 8
    return sign * (int(whole) * E8 + int(rest))


def held(desk: Desk) -> dict[str, Any]:
    """The account without what the mark price decides."""
    account = desk.account()
    for position in account["positions"]:
        del position["mark_e9"], position["unrealized_micros"]
    return account


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A fresh venue."""
    yield Desk(tmp_path / "state")


def test_a_charge_is_a_row_an_event_and_a_balance(tmp_path: Path) -> None:
    """The client sees one funding charge in the event, in the income history and in both balances."""
    simulator = Simulator(tmp_path / "state")
    simulator.start()

    async def act(client: Client) -> None:
        async with client.user() as user:
            await client.admin("/market", {"funding_usdt": "-600.00"})
            event = await receive(user)
            assert (event["e"], event["a"]["m"], event["a"]["P"]) == ("ACCOUNT_UPDATE", "FUNDING_FEE", [])
            assert event["a"]["B"] == [
                {"a": "USDT", "wb": "99400.00000000", "cw": "99400.00000000", "bc": "-600.00000000"}
            ]
        async with asyncio.timeout(60):
            while (await client.admin("/clock"))["now_ms"] <= event["T"] + INCOME_LAG_MS + 100:
                pass
        status, rows = await client.call("GET", "/fapi/v1/income", incomeType="FUNDING_FEE")
        assert status == 200
        assert rows[0]["income"] == "-600.00000000" and rows[0]["asset"] == "USDT"
        assert rows[0]["tradeId"] == "" and rows[0]["time"] == event["T"]
        assert (await client.call("GET", "/fapi/v3/balance"))[1][0]["balance"] == "99400.00000000"
        account = (await client.call("GET", "/fapi/v3/account"))[1]
        assert account["totalWalletBalance"] == account["assets"][0]["walletBalance"] == "99400.00000000"
        assert (await client.account())["cash_e8"] == 99_400 * E8
        status, answer = await client.call("GET", "/fapi/v1/income", incomeType="NO_SUCH_TYPE")
        assert (status, answer["code"]) == (400, -1130)

    try:
        drive(simulator, act)
    finally:
        simulator.stop()


def test_funding_is_charged_at_its_hours(desk: Desk) -> None:
    """At 00:00, 08:00 and 16:00 UTC a long position pays mark x quantity x rate; a short one is paid."""
    desk.buy("1.000")
    desk.act(funding_rate="0.001")
    mark = desk.venue.market.mark()
    due = desk.venue.cash.next_funding_ms()
    assert due % FUNDING_EVERY_MS == 0
    desk.pass_ms(due - desk.venue.clock.now_ms() - 1000)
    assert not desk.account_events()
    desk.pass_ms(1001)
    (event,) = desk.account_events()
    assert event["a"]["m"] == "FUNDING_FEE" and event["T"] == due
    assert amount_e8(event["a"]["B"][0]["bc"]) == -mark * E8 // 10_000
    desk.trade("SELL", "3.000")
    mark = desk.venue.market.mark()
    desk.pass_ms(FUNDING_EVERY_MS)
    assert amount_e8(desk.account_events()[1]["a"]["B"][0]["bc"]) == 2 * mark * E8 // 10_000
    desk.pass_ms(INCOME_LAG_MS)
    assert [row["time"] for row in desk.rows(incomeType="FUNDING_FEE")] == [due, due + FUNDING_EVERY_MS]
    assert desk.venue._views.premium_index({})[0]["lastFundingRate"] == "0.00100000"
    assert desk.venue._views.premium_index({})[0]["nextFundingTime"] == due + 2 * FUNDING_EVERY_MS


def test_a_restart_charges_what_came_due(tmp_path: Path) -> None:
    """An hour of funding that passed while the venue was down is charged once, and rows survive."""
    desk = Desk(tmp_path / "state")
    desk.buy("1.000")
    desk.act(deposit_usdt="5000")
    desk.act(adjust_position={"quantity": "2.000", "price": "60000.0"})
    desk.buy("1.000")
    before = held(desk)
    due = desk.venue.cash.next_funding_ms()
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    again = Desk(tmp_path / "copy")
    assert held(again) == before
    again.pass_ms(due - again.venue.clock.now_ms())
    again.pass_ms(0)
    assert [row["type"] for row in again.account()["income"]] == ["TRANSFER", "FUNDING_FEE"]
    again.venue._account.folder.records = 10**9
    again.venue._account.compact()
    kept = held(again)
    shutil.copytree(tmp_path / "copy", tmp_path / "compacted")
    assert held(Desk(tmp_path / "compacted")) == kept


def test_each_verb_has_its_type_and_reason(desk: Desk) -> None:
    """What the referee causes arrives under the venue's own names, and the balance follows."""
    wanted = [
        ("adjust_usdt", "-12.5", "ADJUSTMENT", "ADJUSTMENT", -1_250_000_000),
        ("insurance_usdt", "-1", "INSURANCE_CLEAR", "INSURANCE_CLEAR", -E8),
        ("deposit_usdt", 5000, "TRANSFER", "DEPOSIT", 5000 * E8),
        ("deposit_usdt", -5, "TRANSFER", "WITHDRAW", -5 * E8),
        ("withdraw_usdt", "10", "TRANSFER", "WITHDRAW", -10 * E8),
        ("transfer_usdt", "0.00000001", "TRANSFER", "MARGIN_TRANSFER", 1),
    ]
    total = START_E8
    for verb, value, kind, reason, change in wanted:
        total += change
        assert desk.act(**{verb: value})["wallet_e8"] == total
        assert desk.account()["income"][-1]["type"] == kind
        assert desk.account_events()[-1]["a"]["m"] == reason
        assert amount_e8(desk.account_events()[-1]["a"]["B"][0]["bc"]) == change
    desk.act(income={"type": "REFERRAL_KICKBACK", "amount": "0.5", "asset": "BNB", "reason": "ADMIN_DEPOSIT"})
    assert desk.account()["cash_e8"] == total and desk.account()["coins_e8"]["BNB"] == 10 * E8 + E8 // 2
    refused: list[dict[str, Any]] = [
        {"funding_usdt": "1e3"}, {"deposit_usdt": True}, {"fee_asset": "DOGE"}, {"income": 3},
        {"adjust_position": {"quantity": "0.00001"}}, {"funding_usdt": 1, "adjust_usdt": 1},
    ]  # fmt: skip
    for wrong in refused:
        with pytest.raises(RefereeError):
            desk.act(**wrong)
    assert desk.account()["cash_e8"] == total


def test_rows_come_later_than_the_money(desk: Desk) -> None:
    """A row is not there at the instant of the event; `income_late_ms` makes it later still."""
    desk.act(funding_usdt="-1")
    assert desk.account()["cash_e8"] == START_E8 - E8 and desk.rows() == []
    desk.pass_ms(INCOME_LAG_MS + 1)
    assert len(desk.rows()) == 1
    desk.venue.faults.set({"income_late_ms": 5000})
    desk.act(funding_usdt="-2")
    desk.pass_ms(INCOME_LAG_MS + 4000)
    assert len(desk.rows(incomeType="FUNDING_FEE")) == 1
    desk.pass_ms(1001)
    assert len(desk.rows(incomeType="FUNDING_FEE")) == 2


def test_events_may_be_lost_or_told_twice(desk: Desk) -> None:
    """The faults touch the event alone: row and balance are there in any case."""
    desk.venue.faults.set({"drop_account_update": 1, "duplicate_account_update": 1})
    desk.act(funding_usdt="-1")
    assert desk.account_events() == []
    desk.act(funding_usdt="-2")
    assert len(desk.account_events()) == 2 and desk.account_events()[0] == desk.account_events()[1]
    desk.pass_ms(INCOME_LAG_MS + 1)
    assert [row["income"] for row in desk.rows()] == ["-1.00000000", "-2.00000000"]
    desk.act(silent_usdt="-3")
    desk.pass_ms(INCOME_LAG_MS + 1)
    assert len(desk.account_events()) == 2 and len(desk.rows()) == 2
    assert desk.account()["cash_e8"] == START_E8 - 6 * E8


def test_income_is_paged_and_bounded(desk: Desk) -> None:
    """100 rows unless asked, 1000 at most, pages from the oldest, seven days unless a start is given."""
    for _ in range(250):
        desk.act(transfer_usdt="1")
    desk.pass_ms(INCOME_LAG_MS + 1)
    start = desk.venue.clock.now_ms() - HOUR_MS
    assert len(desk.rows()) == 100
    pages = [desk.rows(startTime=start, page=page, limit=90) for page in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [90, 90, 70, 0]
    assert len({row["tranId"] for page in pages for row in page}) == 250
    assert desk.rows()[-1] == pages[2][-1]
    for wrong in ({"limit": 0}, {"limit": 1001}, {"page": 0}, {"incomeType": "X"}):
        with pytest.raises(VenueError):
            desk.rows(**wrong)
    desk.pass_ms(8 * 86_400_000)
    assert desk.rows() == [] and len(desk.rows(startTime=start, limit=1000)) == 250
    desk.pass_ms(90 * 86_400_000)
    assert desk.rows(startTime=start) == []


def test_fills_have_their_rows(desk: Desk) -> None:
    """Every fill has a commission row, a closing one its profit; with the rest they are the whole wallet."""
    desk.buy("1.000")
    desk.trade("SELL", "0.400")
    desk.act(funding_usdt="-600")
    desk.pass_ms(INCOME_LAG_MS + 1)
    account = desk.account()
    rows = desk.rows(limit=1000)
    commissions = [row for row in rows if row["incomeType"] == "COMMISSION"]
    assert {row["tradeId"] for row in commissions} == {str(fill["trade_id"]) for fill in account["fills"]}
    assert START_E8 + sum(amount_e8(row["income"]) for row in rows) == account["cash_e8"]


def test_commission_may_be_paid_in_another_coin(tmp_path: Path) -> None:
    """With fee_asset BNB the fill, the row and the balances tell of BNB, and the USDT wallet keeps it."""
    simulator = Simulator(tmp_path / "state")
    simulator.start()

    async def act(client: Client) -> None:
        await client.quiet_market()
        await client.admin("/market", {"fee_asset": "BNB"})
        async with client.user() as user:
            await client.order("BUY", "", "0.100", type="MARKET")
            trades = await trades_of_an_order(user)
        assert {trade["N"] for trade in trades} == {"BNB"}
        paid = sum(amount_e8(trade["n"]) for trade in trades)
        account = await client.account()
        assert account["cash_e8"] == START_E8 and account["coins_e8"]["BNB"] == 10 * E8 - paid
        assert account["fees_e8"] > 0
        balances = {row["asset"]: row["balance"] for row in (await client.call("GET", "/fapi/v3/balance"))[1]}
        assert amount_e8(balances["BNB"]) == 10 * E8 - paid and amount_e8(balances["USDT"]) == START_E8
        (fill, *_) = (await client.call("GET", "/fapi/v1/userTrades", symbol="BTCUSDT"))[1]
        assert fill["commissionAsset"] == "BNB"

    try:
        drive(simulator, act)
    finally:
        simulator.stop()


def test_a_position_is_set_by_hand(desk: Desk) -> None:
    """The event names the new position; no fill, no profit, and resting reduce-only orders follow."""
    desk.buy("1.000")
    fills, (position,) = len(desk.account()["fills"]), desk.account()["positions"]
    desk.act(adjust_position={"quantity": "25.000", "price": "60000.0"})
    (event,) = desk.account_events()
    assert event["a"]["m"] == "ADJUSTMENT" and event["a"]["B"] == []
    assert event["a"]["P"][0]["pa"] == "25.000"
    (grown,) = desk.account()["positions"]
    assert grown["cost_micros"] == position["cost_micros"] + 24 * 60_000 * 10**6
    assert len(desk.account()["fills"]) == fills and grown["realized_micros"] == position["realized_micros"]
    desk.act(adjust_position={"quantity": "5.000"})
    (shrunk,) = desk.account()["positions"]
    assert shrunk["cost_micros"] == grown["cost_micros"] - grown["cost_micros"] * 20 // 25
    desk.act(adjust_position={"quantity": "-2.000", "price": "61000.0"})
    assert desk.account()["positions"][0]["cost_micros"] == -2 * 61_000 * 10**6
    desk.act(adjust_position={"quantity": "0"})
    assert desk.account()["positions"][0]["cost_micros"] == 0
    assert desk.account()["cash_e8"] == START_E8 - desk.account()["fees_e8"]
