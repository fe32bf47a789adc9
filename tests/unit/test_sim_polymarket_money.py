"""Money and tokens that move at the Polymarket simulator without a trade, and tokens not mined yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from polymarket.models.data.activity import RedeemActivity, RewardActivity, UnknownActivity, parse_activity
from test_sim_polymarket_venue import Desk

from simulators.admin import RefereeError, RequestLog
from simulators.candles import Candles
from simulators.polymarket_account import INITIAL_CASH_MICROS
from simulators.polymarket_levers import MoneyLevers
from simulators.polymarket_matching import BUY, NO, SELL, YES
from simulators.polymarket_money import Money
from simulators.polymarket_prices import PriceHistory
from simulators.polymarket_rest import Rest
from simulators.polymarket_signing import request_signature
from simulators.polymarket_streams import Streams

DOLLAR = 1_000_000


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh venue."""
    return Desk(tmp_path)


def pull(desk: Desk, name: str, body: Any) -> None:
    """One lever of the referee."""
    MoneyLevers(desk.venue, Money(desk.venue)).pull(name, body)


def ask(desk: Desk, story: Callable[[Callable[..., Awaitable[Any]]], Awaitable[None]]) -> None:
    """Run a story with a client of the venue's REST interface: `get(path, signed=bool, **query)`."""

    async def main() -> None:
        log = RequestLog(desk.clock.now_ms)
        rest = Rest(desk.venue, log, "gold", PriceHistory(desk.venue, Candles(desk.folder)))
        app = rest.application(Streams(desk.clock, desk.venue.faults, log))
        async with TestClient(TestServer(app)) as client:

            async def get(path: str, signed: bool = False, status: int = 200, **query: Any) -> Any:
                headers = {}
                if signed:
                    stamp = str(desk.clock.now_ms() // 1000)
                    headers = {
                        "POLY_API_KEY": desk.key.key, "POLY_ADDRESS": desk.address, "POLY_TIMESTAMP": stamp,
                        "POLY_PASSPHRASE": desk.key.passphrase,
                        "POLY_SIGNATURE": request_signature(desk.key.secret, stamp, "GET", path, b""),
                    }  # fmt: skip
                async with client.get(path, params=query, headers=headers) as answer:
                    assert answer.status == status, await answer.text()
                    return await answer.json()

            await story(get)

    asyncio.run(main())


def feed(desk: Desk, **query: Any) -> list[dict[str, Any]]:
    """The whole activity, page by page."""
    rows: list[dict[str, Any]] = []

    async def story(get: Callable[..., Awaitable[Any]]) -> None:
        more = {"exclude_deposits_withdrawals": "false"} | query
        while True:
            page = await get("/v2/activity", user=desk.address, **more)
            rows.extend(page["data"])
            cursor = page["pagination"]["next_cursor"]
            assert page["pagination"]["has_more"] == (cursor is not None)
            if cursor is None:
                return
            more["cursor"] = cursor

    ask(desk, story)
    return rows


def test_rewards_and_transfers_move_the_wallet_and_have_a_row_each(desk: Desk) -> None:
    """The wallet is what came less what went; the feed hides transfers unless asked for, and tips unless
    named; a type that nobody knows is shown as it is; all of it survives a restart."""
    for kind, usd in (("REWARD", "5"), ("MAKER_REBATE", "0.25"), ("DEPOSIT", 50), ("WITHDRAWAL", "100"),
                      ("TIP", "-2"), ("NOVELTY", "3.000001")):  # fmt: skip
        pull(desk, "pay", {"type": kind, "usd": usd})
        desk.clock.time_ms += 1000
    expected = INITIAL_CASH_MICROS - 43_750_000 + 3_000_001 - 3_000_000
    assert desk.account()["cash_micros"] == expected
    rows = feed(desk)
    assert [row["type"] for row in rows] == ["NOVELTY", "WITHDRAWAL", "DEPOSIT", "MAKER_REBATE", "REWARD"]
    assert [row["type"] for row in feed(desk, type="TIP")] == ["TIP"]
    assert len(feed(desk, exclude_deposits_withdrawals="true")) == 3
    assert feed(desk, type="REWARD", exclude_deposits_withdrawals="true")[0]["usdc_size"] == 5
    assert len({row["transaction_hash"] for row in rows}) == 5
    known = [parse_activity(row) for row in rows]
    assert isinstance(known[-1], RewardActivity) and isinstance(known[0], UnknownActivity)
    desk.restart()
    assert desk.account()["cash_micros"] == expected and feed(desk) == rows


def test_the_feed_is_paged_and_lags(desk: Desk) -> None:
    """Pages follow each other without a gap or a double in both directions, also within one second; a row
    appears only when the feed has caught up; what the venue refuses is refused."""
    for number in range(7):
        pull(desk, "pay", {"type": "REWARD", "usd": number + 1})
        desk.clock.time_ms += 300
    amounts = [row["usdc_size"] for row in feed(desk, limit="2")]
    assert amounts == [7, 6, 5, 4, 3, 2, 1]
    assert [row["usdc_size"] for row in feed(desk, limit="3", sort_direction="ASC")] == amounts[::-1]
    assert [row["usdc_size"] for row in feed(desk, start=str(desk.clock.time_ms // 1000 - 1))] == [7, 6, 5]
    desk.venue.faults.set({"activity_lag_ms": 1000})
    assert [row["usdc_size"] for row in feed(desk)] == [4, 3, 2, 1]

    async def refused(get: Callable[..., Awaitable[Any]]) -> None:
        await get("/v2/activity", status=400)
        for query in ({"type": "GIFT"}, {"limit": "1001"}, {"cursor": "?"}, {"event_id": "1"}):
            await get("/v2/activity", status=400, user=desk.address, **query)

    ask(desk, refused)


def test_a_split_and_a_merge_exchange_dollars_for_pairs(desk: Desk) -> None:
    """A pair costs one dollar and gives one dollar; the position of each half costs and brings one half."""
    pull(desk, "exchange", {"type": "SPLIT", "slug": desk.market.slug, "size": "20"})
    pull(desk, "exchange", {"type": "MERGE", "slug": desk.market.slug, "size": "5"})
    account = desk.account()
    assert account["cash_micros"] == INITIAL_CASH_MICROS - 15 * DOLLAR
    for position in account["positions"]:
        assert (position["quantity_e9"], position["cost_micros"]) == (15 * 10**9, 7_500_000)
    assert [(row["type"], row["usdc_size"]) for row in feed(desk)] == [("MERGE", 5), ("SPLIT", 20)]
    desk.restart()
    assert desk.account()["positions"] == account["positions"]


def test_what_goes_by_hand_leaves_no_row_and_no_order_that_it_backed(desk: Desk) -> None:
    """Tokens and dollars that go have no row; an order that they backed is ended as the venue ends it."""
    desk.other(YES, SELL, 5_000, 2_000)
    desk.place(YES, BUY, 5_000, 2_000)
    sell = desk.place(YES, SELL, 6_000, 1_500, post_only=True)["orderID"]
    buy = desk.place(NO, BUY, 3_000, 1_000, post_only=True)["orderID"]
    pull(desk, "adjust", {"asset_id": desk.market.tokens[YES], "size": "-12"})
    assert desk.venue.orders[sell].status == "CANCELED_NOT_ENOUGH_BALANCE"
    assert desk.venue.orders[buy].status == "LIVE"
    (position,) = desk.account()["positions"]
    assert (position["quantity_e9"], position["cost_micros"]) == (8 * 10**9, 4 * DOLLAR)
    assert position["realized_micros"] == -6 * DOLLAR
    cash = desk.account()["cash_micros"]
    pull(desk, "vanish", {"usd": f"{(cash - 2 * DOLLAR) / 1e6:.6f}"})
    assert desk.venue.orders[buy].status == "CANCELED_NOT_ENOUGH_BALANCE"
    assert desk.account()["cash_micros"] == 2 * DOLLAR and feed(desk) == []
    for name, body in (
        ("vanish", {"usd": "3"}), ("adjust", {"asset_id": desk.market.tokens[YES], "size": "-8.01"}),
        ("adjust", {"asset_id": "7", "size": "1"}), ("pay", {"type": "WITHDRAWAL", "usd": "2.1"}),
        ("pay", {"type": "FUNDING", "usd": "1"}), ("pay", {"type": "REWARD", "usd": "0.0000001"}),
        ("pay", 5), ("exchange", {"type": "SPLIT", "slug": desk.market.slug, "size": "3"}),
        ("redeem", desk.market.slug),
    ):  # fmt: skip
        with pytest.raises(RefereeError):
            pull(desk, name, body)


@pytest.mark.parametrize("manual", [0, 1])
def test_a_resolution_is_paid_by_a_redemption_that_is_seen(desk: Desk, manual: int) -> None:
    """The winners' dollars come with a REDEEM row: at the resolution, or when the referee redeems."""
    desk.venue.faults.set({"manual_redeem": manual})
    desk.other(YES, SELL, 5_000, 2_000)
    desk.place(YES, BUY, 5_000, 2_000)
    for _ in range(2):
        desk.pass_ms(1_000)
    cash = desk.account()["cash_micros"]
    desk.venue.close_market(desk.market, 700_000)
    assert desk.venue.resolve_market(desk.market, YES)
    assert desk.account()["positions"][0]["quantity_e9"] == 0
    if manual:
        assert desk.account()["cash_micros"] == cash and "REDEEM" not in str(feed(desk))
        desk.restart()
        pull(desk, "redeem", desk.market.slug)
    assert desk.account()["cash_micros"] == cash + 20 * DOLLAR
    row = parse_activity(feed(desk)[0])
    assert isinstance(row, RedeemActivity) and row.amount == 20
    assert row.condition_id == desk.market.condition_id
    desk.restart()
    assert desk.account()["cash_micros"] == cash + 20 * DOLLAR
    with pytest.raises(RefereeError, match="nobody holds"):
        pull(desk, "redeem", desk.market.slug)


def test_trades_have_a_row_once_they_are_mined(desk: Desk) -> None:
    """A matched trade is not in the feed; a mined one is, under its hash; a failed one never was."""
    desk.other(YES, SELL, 5_000, 2_000)
    desk.place(YES, BUY, 5_000, 1_000)
    assert feed(desk) == []
    desk.pass_ms(1_000)
    (row,) = feed(desk)
    assert (row["type"], row["size"], row["usdc_size"]) == ("TRADE", 10, 5)
    assert parse_activity(row).transaction_hash == next(iter(desk.venue.trades.values())).hash
    desk.venue.faults.set({"fail_trade": 1})
    desk.place(YES, BUY, 5_000, 1_000)
    for _ in range(3):
        desk.pass_ms(1_000)
    assert len(feed(desk)) == 1


def test_unmined_tokens_cannot_be_offered(desk: Desk) -> None:
    """With the switch, a purchase backs a sale, and changes the wallet, from MINED on and not before; the
    steps take the time that was set; a restart in between changes nothing."""
    desk.venue.faults.set({"unmined_tokens": 1, "mined_ms": 4_000, "confirmed_ms": 2_000})
    desk.other(YES, SELL, 5_000, 2_000)
    desk.place(YES, BUY, 5_000, 2_000)
    token = desk.market.tokens[YES]
    assert desk.account()["positions"][0]["quantity_e9"] == 20 * 10**9
    desk.pass_ms(3_999)
    refusal = desk.refusal(desk.body(YES, SELL, 6_000, 1_000))
    assert (refusal.status, "not enough balance / allowance" in refusal.text) == (400, True)
    wallet = desk.venue.accounts.wallet(desk.address)
    assert (wallet.cash, wallet.tokens.get(token, 0)) == (INITIAL_CASH_MICROS, 0)
    fee = desk.account()["fills"][0]["fee_e8"] // 100
    assert desk.venue.accounts.free_cash(desk.address) == INITIAL_CASH_MICROS - 10 * DOLLAR - fee
    desk.restart()
    desk.venue.faults.set({"unmined_tokens": 1, "mined_ms": 4_000, "confirmed_ms": 2_000})
    wallet = desk.venue.accounts.wallet(desk.address)
    assert (wallet.cash, wallet.tokens.get(token, 0)) == (INITIAL_CASH_MICROS, 0)
    desk.pass_ms(1)
    assert (wallet.cash, wallet.tokens[token]) == (INITIAL_CASH_MICROS - 10 * DOLLAR - fee, 2_000)
    desk.place(YES, SELL, 6_000, 1_000, post_only=True)
    trade = next(iter(desk.venue.trades.values()))
    desk.pass_ms(1_999)
    assert trade.status == "MINED"
    desk.pass_ms(1)
    assert trade.status == "CONFIRMED"


def test_an_unmined_trade_that_fails_never_moved_anything(desk: Desk) -> None:
    """A failure before MINED leaves the wallet alone; one after MINED gives everything back."""
    for fault in ("fail_trade", "fail_after_mined"):
        desk.venue.faults.set({"unmined_tokens": 1, fault: 1})
        desk.other(YES, SELL, 5_000, 1_000)
        desk.place(YES, BUY, 5_000, 1_000)
        for _ in range(3):
            desk.pass_ms(1_000)
        wallet = desk.venue.accounts.wallet(desk.address)
        assert (wallet.cash, any(wallet.tokens.values())) == (INITIAL_CASH_MICROS, False)
        assert not desk.venue.accounts.unmined and desk.account()["positions"][0]["quantity_e9"] == 0


def test_a_sale_that_is_not_mined_keeps_its_tokens_from_another(desk: Desk) -> None:
    """Tokens that a matched sale will take cannot be sold twice while the wallet still shows them."""
    pull(desk, "exchange", {"type": "SPLIT", "slug": desk.market.slug, "size": "10"})
    desk.venue.faults.set({"unmined_tokens": 1})
    desk.other(YES, BUY, 4_000, 1_000)
    desk.place(YES, SELL, 4_000, 1_000)
    assert desk.venue.accounts.wallet(desk.address).tokens[desk.market.tokens[YES]] == 1_000
    assert "not enough balance" in desk.refusal(desk.body(YES, SELL, 6_000, 500)).text


@pytest.mark.parametrize("unmined", [0, 1])
def test_positions_show_what_is_on_the_chain(desk: Desk, unmined: int) -> None:
    """The Data API shows a purchase from MINED on and a sale's tokens until then, switch or not."""
    pull(desk, "exchange", {"type": "SPLIT", "slug": desk.market.slug, "size": "10"})
    desk.venue.faults.set({"unmined_tokens": unmined})
    desk.other(YES, SELL, 5_000, 2_000)
    desk.place(YES, BUY, 5_000, 2_000)
    desk.other(NO, BUY, 4_000, 500)
    desk.place(NO, SELL, 4_000, 500)

    async def held(get: Callable[..., Awaitable[Any]]) -> None:
        rows = (await get("/v2/positions", user=desk.address))["data"]
        sizes.append({row["outcome_index"]: row["current_size"] for row in rows})

    sizes: list[dict[int, float]] = []
    ask(desk, held)
    desk.pass_ms(1_000)
    ask(desk, held)
    assert sizes == [{YES: 10, NO: 10}, {YES: 30, NO: 5}]


def test_cached_balances_show_outside_money_after_an_update(desk: Desk) -> None:
    """With the switch, a deposit and split tokens are neither shown nor spendable until an update is asked
    for; what is traded is seen at once."""
    desk.venue.faults.set({"balance_cache": 1})
    token = desk.market.tokens[NO]
    pull(desk, "pay", {"type": "DEPOSIT", "usd": "500"})
    pull(desk, "exchange", {"type": "SPLIT", "slug": desk.market.slug, "size": "30"})
    assert "not enough balance" in desk.refusal(desk.body(NO, SELL, 9_000, 1_000)).text

    async def story(get: Callable[..., Awaitable[Any]]) -> None:
        async def balance(**query: str) -> int:
            return int((await get("/balance-allowance", signed=True, **query))["balance"])

        assert await balance(asset_type="COLLATERAL") == INITIAL_CASH_MICROS
        await get("/balance-allowance/update", signed=True, asset_type="COLLATERAL")
        assert await balance(asset_type="COLLATERAL") == INITIAL_CASH_MICROS + 470 * DOLLAR
        about = {"asset_type": "CONDITIONAL", "token_id": token}
        assert await balance(**about) == 0
        await get("/balance-allowance/update", signed=True, **about)
        assert await balance(**about) == 30 * DOLLAR

    ask(desk, story)
    desk.place(NO, SELL, 9_000, 1_000, post_only=True)


def test_rewards_can_be_scheduled(desk: Desk) -> None:
    """One dollar each time the seconds have passed, none before."""
    money = Money(desk.venue)
    desk.venue.faults.set({"reward_every_s": 10})
    for _ in range(25):
        desk.clock.time_ms += 1_000
        money.tick()
    assert desk.account()["cash_micros"] == INITIAL_CASH_MICROS + 2 * DOLLAR
