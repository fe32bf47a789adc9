"""The Polymarket simulator's venue without a network: what it accepts, refuses, matches and remembers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from polymarket._internal.data_envelope import parse_data_page
from polymarket.models.data.portfolio import Position

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.polymarket import FAULTS
from simulators.polymarket_account import ApiKey, Trade
from simulators.polymarket_data import DataApi
from simulators.polymarket_markets import Market, make_market
from simulators.polymarket_matching import BUY, NO, SELL, YES
from simulators.polymarket_orders import ClientOrder, Refusal, parse_submission
from simulators.polymarket_referee import account_view
from simulators.polymarket_signing import OrderMessage, exchange_of, order_hash
from simulators.polymarket_venue import Venue
from simulators.state import StateFolder

HOUR_MS = 3_600_000


class FixedClock(Clock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        super().__init__()
        self.time_ms = 1_795_570_000_000

    def now_ms(self) -> int:
        """The time the test chose."""
        return self.time_ms

    def true_ms(self) -> int:
        """The same: this clock has no fault."""
        return self.time_ms


class Notes:
    """A publisher that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, ...]] = []

    def order_event(self, order: ClientOrder, kind: str) -> None:
        """Note an order event."""
        self.lines.append(("order", kind, order.status))

    def trade_event(self, trade: Trade) -> None:
        """Note a trade event."""
        self.lines.append(("trade", trade.status))

    def trade_print(self, trade: Trade) -> None:
        """Prints are not noted."""

    def book_changed(self, market: Market, traded: bool) -> None:
        """Changes are drained and not noted."""
        market.book.changed_levels()

    def tick_changed(self, market: Market, old: int) -> None:
        """Note a new grid."""
        self.lines.append(("tick", str(old), str(market.tick)))

    def listed(self, market: Market) -> None:
        """Listings are not noted."""

    def resolved(self, market: Market) -> None:
        """Note a winner."""
        self.lines.append(("resolved", market.outcomes[market.winner or 0]))


class Desk:
    """A venue with one market and one trader who can sign."""

    def __init__(self, folder: Path, neg_risk: bool = False) -> None:
        self.folder, self.clock, self.notes = folder, FixedClock(), Notes()
        self.private = PrivateKey(bytes([0x42] * 32))
        self.address = str(to_checksum_address(keccak(self.private.public_key.format(False)[1:])[12:]))
        self.salt = 0
        self.venue = self.open()
        self.key = self.venue.create_key(self.address, 0)
        now_ms = self.clock.now_ms()
        self.market = make_market(1, "above", 600_000, now_ms, now_ms + HOUR_MS, neg_risk)
        self.venue.list_market(self.market)

    def open(self) -> Venue:
        """A venue on the state folder."""
        venue = Venue(self.clock, Faults(FAULTS), StateFolder(self.folder), self.notes)
        venue.restore()
        return venue

    def restart(self) -> None:
        """Go on with a venue that knows only what the killed one had written."""
        folder = self.folder.with_name(self.folder.name + "-restarted")
        folder.mkdir()
        shutil.copy(self.folder / "events.jsonl", folder)
        self.folder = folder
        self.venue = self.open()
        self.market = self.venue.markets[self.market.condition_id]

    def body(self, outcome: int, side: int, price: int, lots: int, order_type: str = "GTC",
             post_only: bool = False, expiration_s: int = 0, dollars: int = 0) -> dict[str, Any]:  # fmt: skip
        """A signed body of POST /order. Price in 0.0001 dollar, lots of 0.01 share."""
        self.salt += 1
        worth, shares = dollars or price * lots, lots * 10_000
        making, taking = (worth, shares) if side == BUY else (shares, worth)
        token = int(self.market.tokens[outcome])
        message = OrderMessage(self.salt, self.address, self.address, token, making, taking, side, 0,
                               self.clock.now_ms(), bytes(32), bytes(32))  # fmt: skip
        digest = order_hash(message, exchange_of(self.market.neg_risk))
        made = self.private.sign_recoverable(digest, hasher=None)
        signature = "0x" + made[:64].hex() + f"{made[64] + 27:02x}"
        order = {
            "salt": self.salt, "maker": self.address, "signer": self.address, "side": ("BUY", "SELL")[side],
            "tokenId": self.market.tokens[outcome], "makerAmount": str(making), "takerAmount": str(taking),
            "signatureType": 0, "timestamp": str(self.clock.now_ms()), "metadata": "0x" + "00" * 32,
            "builder": "0x" + "00" * 32, "expiration": str(expiration_s), "signature": signature,
        }  # fmt: skip
        body = {"deferExec": False, "order": order, "orderType": order_type, "owner": self.key.key}
        return body | {"postOnly": True} if post_only else body

    def send(self, body: dict[str, Any], key: ApiKey | None = None, mode: bool = False) -> dict[str, Any]:
        """Hand a body to the venue."""
        key = key or self.key
        return self.venue.place(key, parse_submission(body, key, self.venue.by_token), mode)

    def place(self, outcome: int, side: int, price: int, lots: int, **more: Any) -> dict[str, Any]:
        """Sign and send."""
        return self.send(self.body(outcome, side, price, lots, **more))

    def refusal(self, body: dict[str, Any], mode: bool = False) -> Refusal:
        """Send something that must be refused."""
        with pytest.raises(Refusal) as caught:
            self.send(body, mode=mode)
        return caught.value

    def other(self, outcome: int, side: int, price: int, lots: int, rest: bool = True) -> None:
        """Another trader's order."""
        self.venue.other_order(self.market, outcome, side, price, lots, rest)
        self.venue.commit()

    def pass_ms(self, duration_ms: int) -> None:
        """Let the venue live on."""
        self.clock.time_ms += duration_ms
        self.venue.tick()

    def account(self) -> dict[str, Any]:
        """The referee's account of the trader."""
        view: dict[str, Any] = account_view(self.venue)["accounts"][self.key.key]
        return view


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh venue."""
    return Desk(tmp_path)


def test_resting_order_is_live_and_its_id_is_the_hash(desk: Desk) -> None:
    """A post-only quote rests; sending the same bytes again is Duplicated, also after a cancel."""
    body = desk.body(YES, BUY, 4_500, 1_000, post_only=True)
    answer = desk.send(body)
    assert (answer["status"], answer["errorMsg"]) == ("live", "")
    assert desk.refusal(body).text == f"order {answer['orderID']} is invalid. Duplicated."
    done = desk.venue.cancel_many([answer["orderID"], "0x" + "0" * 64], desk.key.key)
    assert done == {"canceled": [answer["orderID"]], "not_canceled": {"0x" + "0" * 64: "order not found"}}
    again = desk.venue.cancel_many([answer["orderID"]], desk.key.key)
    assert again["not_canceled"] == {answer["orderID"]: "already canceled or matched"}
    assert "Duplicated" in desk.refusal(body).text


def test_terms_are_checked(desk: Desk) -> None:
    """Grid, minimum size, bounds, balance and post-only have the venue's own texts."""
    desk.other(YES, SELL, 5_000, 1_000)
    assert "breaks minimum tick size rule: 0.01" in desk.refusal(desk.body(YES, BUY, 4_550, 1_000)).text
    assert "Size (4.99) lower than the minimum: 5" in desk.refusal(desk.body(YES, BUY, 4_500, 499)).text
    crossing = desk.refusal(desk.body(NO, SELL, 5_000, 1_000, post_only=True)).text
    assert crossing == "invalid post-only order: order crosses book"
    assert "not enough balance / allowance" in desk.refusal(desk.body(YES, SELL, 6_000, 1_000)).text
    assert "not enough balance / allowance" in desk.refusal(desk.body(YES, BUY, 4_000, 3_000_000)).text
    assert desk.refusal(desk.body(YES, BUY, 4_000, 500, expiration_s=9)).text == "invalid expiration"
    desk.other(YES, SELL, 100, 1_000)
    assert "min size: $1" in desk.refusal(desk.body(YES, BUY, 100, 500)).text
    assert desk.account()["open_orders"] == []


def test_forms_are_checked(desk: Desk) -> None:
    """Owner, signer, struct version, signature and what is not modelled are refused."""
    good = desk.body(YES, BUY, 4_500, 1_000)
    order = good["order"]
    old = good | {"order": order | {"nonce": "0", "feeRateBps": "0", "taker": "0x" + "00" * 20}}
    assert desk.refusal(old).text == "order_version_mismatch"
    assert "owner has to be" in desk.refusal(good | {"owner": "somebody"}).text
    stranger = "0x" + "11" * 20
    assert "signer address has to be" in desk.refusal(good | {"order": order | {"signer": stranger}}).text
    assert desk.refusal(good | {"order": order | {"salt": 999}}).text.startswith("invalid signature")
    assert desk.refusal(good | {"order": order | {"tokenId": "5"}}).status == 400
    assert "not modelled" in desk.refusal(good | {"deferExec": True}).text
    assert desk.refusal(good | {"order": order | {"makerAmount": "-1"}}).text == "Invalid order payload"
    assert desk.refusal({"order": 1}).text == "Invalid order payload"
    huge, types = str(1 << 256), (True, 0.0, "0", None, [])
    wrong = [{name: huge} for name in ("makerAmount", "takerAmount", "timestamp", "expiration", "tokenId")]
    for change in (*wrong, *({"signatureType": kind} for kind in types), {"side": ["BUY"]}):
        assert desk.refusal(good | {"order": order | change}).text == "Invalid order payload", change


def test_neg_risk_markets_use_the_other_domain(tmp_path: Path) -> None:
    """An order signed for the standard exchange is refused in a neg-risk market."""
    desk = Desk(tmp_path, neg_risk=True)
    assert desk.place(YES, BUY, 4_500, 1_000)["status"] == "live"
    desk.market.neg_risk = False
    body = desk.body(YES, BUY, 4_500, 1_000)
    desk.market.neg_risk = True
    assert desk.refusal(body).text == "invalid signature"


def test_maker_fill_settles_in_three_steps(desk: Desk) -> None:
    """A quote taken on the complementary outcome is MATCHED, MINED and CONFIRMED, at its own price."""
    desk.place(YES, BUY, 4_500, 1_000, post_only=True)
    desk.other(NO, BUY, 5_600, 400)
    for _ in range(3):
        desk.pass_ms(1_000)
    assert [line[1] for line in desk.notes.lines if line[0] == "trade"] == ["MATCHED", "MINED", "CONFIRMED"]
    account = desk.account()
    fill = account["fills"][0]
    assert (fill["role"], fill["status"], fill["fee_e8"]) == ("MAKER", "CONFIRMED", 0)
    assert (fill["price_e9"], fill["quantity_e9"]) == (450_000_000, 4_000_000_000)
    assert account["cash_micros"] == 10_000_000_000 - 4_500 * 400
    assert account["open_orders"][0]["left_e9"] == 6_000_000_000


def test_taker_pays_the_fee_and_its_rest_stays(desk: Desk) -> None:
    """A crossing GTC order trades at the makers' prices, pays the fee and rests with what is left."""
    desk.other(YES, SELL, 5_000, 1_000)
    desk.other(NO, BUY, 4_800, 500)
    answer = desk.place(YES, BUY, 5_100, 1_200)
    assert (answer["status"], answer["takingAmount"], answer["makingAmount"]) == ("matched", "10", "5")
    desk.place(YES, BUY, 5_200, 500)
    fills = desk.account()["fills"]
    assert [fill["price_e9"] for fill in fills] == [500_000_000, 520_000_000]
    assert fills[0]["fee_e8"] == 17_500_000
    assert [left["left_e9"] for left in desk.account()["open_orders"]] == [2_000_000_000]


def test_fok_and_fak(desk: Desk) -> None:
    """FOK is all or nothing, FAK takes what it can and cancels the rest; a market buy spends dollars."""
    desk.other(YES, SELL, 5_000, 1_000)
    killed = desk.refusal(desk.body(YES, BUY, 5_000, 2_000, order_type="FOK", dollars=10_000_000)).text
    assert killed == "order couldn't be fully filled. FOK orders are fully filled or killed."
    none = desk.refusal(desk.body(YES, BUY, 4_000, 1_000, order_type="FAK", dollars=4_000_000)).text
    assert none.startswith("no orders found to match with FAK order.")
    answer = desk.place(YES, BUY, 5_000, 600, order_type="FAK", dollars=3_000_000)
    assert (answer["makingAmount"], answer["takingAmount"]) == ("3", "6")
    assert desk.account()["open_orders"] == []


def test_failed_trade_is_taken_back_once(desk: Desk) -> None:
    """A trade that fails leaves cash and position as before it, and says so exactly once."""
    desk.venue.faults.set({"fail_trade": 1})
    desk.place(YES, BUY, 4_500, 1_000)
    desk.other(YES, SELL, 4_500, 400, rest=False)
    for _ in range(4):
        desk.pass_ms(1_000)
    assert [line[1] for line in desk.notes.lines if line[0] == "trade"] == ["MATCHED", "RETRYING", "FAILED"]
    account = desk.account()
    assert account["cash_micros"] == 10_000_000_000
    assert [position["quantity_e9"] for position in account["positions"]] == [0]


def test_what_a_failed_purchase_was_to_bring_cannot_be_sold(desk: Desk) -> None:
    """Tokens that were sold before their purchase failed: that sale fails too, and quotes for them end."""
    desk.venue.faults.set({"fail_after_mined": 1})
    desk.place(YES, BUY, 4_500, 1_100)
    desk.other(YES, SELL, 4_500, 1_100, rest=False)
    desk.pass_ms(1_000)
    for lots in (600, 500):
        desk.place(YES, SELL, 5_000, lots)
    desk.other(YES, BUY, 5_000, 600, rest=False)
    desk.pass_ms(1_000)
    account = desk.account()
    assert [fill["status"] for fill in account["fills"]] == ["FAILED", "FAILED"]
    assert [position["quantity_e9"] for position in account["positions"]] == [0]
    assert account["cash_micros"] == 10_000_000_000 and account["open_orders"] == []
    desk.restart()
    assert desk.account()["cash_micros"] == 10_000_000_000


def test_heartbeat_that_stops_cancels_everything(desk: Desk) -> None:
    """Ids are chained, a wrong one does not refresh, and after ten silent seconds no order is left."""
    accepted, following = desk.venue.heartbeats.beat(desk.key.key, "", desk.clock.now_ms())
    desk.place(YES, BUY, 4_500, 1_000)
    desk.place(NO, BUY, 4_500, 1_000)
    desk.pass_ms(9_000)
    assert accepted and len(desk.account()["open_orders"]) == 2
    assert desk.venue.heartbeats.beat(desk.key.key, "wrong", desk.clock.now_ms()) == (False, following)
    desk.pass_ms(1_000)
    assert desk.account()["open_orders"] == []
    assert desk.venue.heartbeats.beat(desk.key.key, following, desk.clock.now_ms()) == (False, "")


def test_gtd_ends_a_minute_early(desk: Desk) -> None:
    """A GTD order is cancelled 60 seconds before its expiration."""
    now_s = desk.clock.now_ms() // 1000
    assert desk.refusal(desk.body(YES, BUY, 4_500, 500, order_type="GTD", expiration_s=now_s + 60)).text \
        == "invalid expiration"  # fmt: skip
    desk.place(YES, BUY, 4_500, 500, order_type="GTD", expiration_s=now_s + 180)
    desk.pass_ms(119_000)
    assert len(desk.account()["open_orders"]) == 1
    desk.pass_ms(1_000)
    assert desk.account()["open_orders"] == []


def test_restart_remembers_everything(desk: Desk) -> None:
    """A venue built again from the journal shows the same account, and its open quotes still trade."""
    desk.venue.faults.set({"fail_after_mined": 1})
    quote = desk.place(YES, BUY, 4_500, 1_000, post_only=True)["orderID"]
    desk.other(YES, SELL, 4_500, 300, rest=False)
    desk.pass_ms(1_000)
    desk.pass_ms(1_000)
    desk.other(YES, SELL, 5_000, 700)
    desk.place(YES, BUY, 5_000, 500)
    gone = desk.place(NO, BUY, 3_000, 500)["orderID"]
    desk.venue.cancel_many([gone], desk.key.key)
    desk.other(YES, SELL, 4_500, 100, rest=False)
    before = desk.account()
    assert [fill["status"] for fill in before["fills"]] == ["FAILED", "MATCHED", "MATCHED"]
    desk.restart()
    after = desk.account()
    for view in (before, after):
        for position in view["positions"]:
            del position["mark_e9"], position["unrealized_micros"]
    assert after == before
    assert [order["order_id"] for order in after["open_orders"]] == [quote]
    desk.other(YES, SELL, 4_500, 600, rest=False)
    desk.pass_ms(1_000)
    desk.pass_ms(1_000)
    assert desk.account()["open_orders"] == []
    assert {fill["status"] for fill in desk.account()["fills"]} == {"FAILED", "CONFIRMED"}


def test_resolution_waits_for_settlement_and_pays(desk: Desk) -> None:
    """Closing cancels quotes; the winner is paid once no trade is under way, also after a restart."""
    desk.place(YES, BUY, 4_500, 1_000)
    desk.other(YES, SELL, 4_500, 400, rest=False)
    desk.venue.close_market(desk.market, 600_001)
    assert not desk.venue.resolve_market(desk.market, YES)
    assert desk.refusal(desk.body(YES, BUY, 4_500, 500)).text.startswith("the market is not yet ready")
    desk.pass_ms(1_000)
    desk.pass_ms(1_000)
    assert desk.venue.resolve_market(desk.market, YES)
    assert ("order", "CANCELLATION", "CANCELED_MARKET_RESOLVED") in desk.notes.lines
    account = desk.account()
    assert account["cash_micros"] == 10_000_000_000 + 400 * 5_500
    assert account["positions"][0]["realized_micros"] == 400 * 5_500
    desk.restart()
    assert desk.account() == account


def test_modes_and_own_quotes(desk: Desk) -> None:
    """Post-only mode takes quotes only, and a trade with one's own quote is refused as not modelled."""
    refusal = desk.refusal(desk.body(YES, BUY, 4_500, 1_000), mode=True)
    assert (refusal.status, refusal.body["code"]) == (503, "post_only_mode")
    desk.send(desk.body(YES, BUY, 4_500, 1_000, post_only=True), mode=True)
    assert "own order" in desk.refusal(desk.body(NO, BUY, 5_500, 1_000)).text


def test_fine_grid_near_the_end_of_the_scale(desk: Desk) -> None:
    """A market beyond 0.96 gets the tick 0.001, once, and then takes such prices."""
    desk.other(YES, BUY, 9_700, 1_000)
    desk.other(YES, SELL, 9_900, 1_000)
    desk.venue.refresh_tick(desk.market)
    desk.venue.refresh_tick(desk.market)
    desk.venue.commit()
    assert [line for line in desk.notes.lines if line[0] == "tick"] == [("tick", "100", "10")]
    assert desk.place(YES, BUY, 9_710, 500)["status"] == "live"


def test_sold_tokens_cannot_be_sold_twice(desk: Desk) -> None:
    """Open sells hold their tokens."""
    desk.place(YES, BUY, 4_500, 1_000)
    desk.other(YES, SELL, 4_500, 1_000, rest=False)
    assert desk.place(YES, SELL, 6_000, 600)["status"] == "live"
    assert "not enough balance" in desk.refusal(desk.body(YES, SELL, 6_000, 600)).text


def test_the_data_api_shows_a_trade_once_it_is_mined(tmp_path: Path) -> None:
    """A purchase that is only matched is not on the chain yet, and a sale that is only matched has not left
    it: the list lags behind the balance, and never shows a trade that failed."""
    desk = Desk(tmp_path)
    listed = DataApi(desk.venue)

    def held() -> dict[str, float]:
        return {row["token_id"]: row["current_size"] for row in listed.held_by(desk.address.lower())}

    desk.venue.other_order(desk.market, YES, SELL, 5_000, 3_000, True)
    desk.place(YES, BUY, 5_000, 2_000)
    assert held() == {}
    desk.clock.time_ms += 1_000
    desk.venue.tick()
    assert held() == {desk.market.tokens[YES]: 20.0}
    rows = {"data": listed.held_by(desk.address), "pagination": {"has_more": False, "next_cursor": None}}
    (row,) = parse_data_page(
        msgspec.json.decode(msgspec.json.encode(rows)), Position.parse_response_list
    ).items
    assert (row.asset_id, row.current_size, row.status) == (desk.market.tokens[YES], 20, "OPEN")
    desk.venue.other_order(desk.market, YES, BUY, 4_900, 3_000, True)
    desk.place(YES, SELL, 4_900, 1_500)
    assert held() == {desk.market.tokens[YES]: 20.0}
    desk.clock.time_ms += 1_000
    desk.venue.tick()
    assert held() == {desk.market.tokens[YES]: 5.0}
    desk.venue.faults.set({"fail_trade": 1})
    desk.place(YES, SELL, 4_900, 500)
    for _ in range(3):
        assert held() == {desk.market.tokens[YES]: 5.0}
        desk.clock.time_ms += 1_000
        desk.venue.tick()
