"""What the Binance simulator must refuse although a careless venue would take it, without sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulators.binance import Venue
from simulators.binance_account import Key
from simulators.binance_params import whole
from simulators.binance_requests import check_clock, check_signature
from simulators.binance_rules import NOT_MODELLED, VenueError, number
from simulators.clock import Clock
from simulators.market import SyntheticMarket
from simulators.matching import BUY, SELL
from simulators.options import Options
from simulators.state import StateFolder

DAY_MS = 86_400_000


class Desk:
    """A venue whose market stands still."""

    def __init__(self, folder: Path) -> None:
        options = Options("binance", 0, 0, folder, 1, None, 1.0, True, "prod-strict", "", None)
        self.venue = Venue(options, StateFolder(folder), "00" * 32)
        self.exchange = self.venue.exchange
        self.exchange.emit = lambda _: None
        assert isinstance(self.venue.market, SyntheticMarket)

    def order(self, side: str, price: int, quantity: str = "0.002", **more: str) -> dict[str, Any]:
        """Place a limit order at a price in ticks; a MARKET order ignores the price."""
        params = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "quantity": quantity,
                  "price": f"{price // 10}.{price % 10}", "timeInForce": "GTC",
                  "newOrderRespType": "RESULT"} | more  # fmt: skip
        if params["type"] == "MARKET":
            del params["price"], params["timeInForce"]
        return self.exchange.place(params)

    def best(self, side: int) -> int:
        """The best price of a side in ticks."""
        best = self.exchange.book.best(side)
        assert best is not None
        return best

    def empty(self, side: int, to: int) -> None:
        """Take all background off a side that is better than a price."""
        for price in self.exchange.book.prices_better(side, to):
            self.exchange.book.set_background(side, price, 0)

    def position(self) -> int:
        """Lots held."""
        return self.exchange.account.position.quantity


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh venue."""
    return Desk(tmp_path)


def code(refused: pytest.ExceptionInfo[VenueError]) -> int:
    """The venue's code."""
    return refused.value.code


def test_modify_needs_margin_for_what_it_adds(desk: Desk) -> None:
    """An order cannot grow by modification beyond what it could have been placed with."""
    price = desk.best(BUY) - 100
    placed = desk.order("BUY", price)
    bigger = {"symbol": "BTCUSDT", "orderId": str(placed["orderId"]), "side": "BUY",
              "price": placed["price"], "quantity": "900"}  # fmt: skip
    with pytest.raises(VenueError) as refused:
        desk.exchange.modify(bigger)
    assert code(refused) == -2019
    assert desk.exchange.open_orders({})[0]["origQty"] == "0.002"
    assert desk.exchange.modify(bigger | {"quantity": "0.003"})["origQty"] == "0.003"


def test_modify_refuses_what_it_does_not_read(desk: Desk) -> None:
    """A parameter that would change nothing here is refused, not passed over; reduceOnly is checked only."""
    price = desk.best(BUY) - 100
    placed = desk.order("BUY", price)
    change = {"symbol": "BTCUSDT", "orderId": str(placed["orderId"]), "side": "BUY",
              "price": placed["price"], "quantity": "0.003"}  # fmt: skip
    for more, expected in (
        ({"stopPrice": "50000"}, -1104), ({"timeInForce": "IOC"}, -1104), ({"newClientOrderId": "x"}, -1104),
        ({"positionSide": "LONG"}, -4061), ({"priceMatch": "QUEUE"}, NOT_MODELLED),
        ({"reduceOnly": "true"}, -5047), ({"reduceOnly": "yes"}, -1130),
    ):  # fmt: skip
        with pytest.raises(VenueError) as refused:
            desk.exchange.modify(change | more)
        assert code(refused) == expected, more
    assert desk.exchange.open_orders({})[0]["origQty"] == "0.002"
    same = {"reduceOnly": "false", "positionSide": "BOTH", "priceMatch": "NONE", "modifyId": "7"}
    assert desk.exchange.modify(change | same)["origQty"] == "0.003"


def test_a_market_order_stays_within_the_band_around_the_mark(desk: Desk) -> None:
    """Beyond 5 % of the mark the counterparty is refused (-4131), and a sweep ends there."""
    mark = desk.venue.market.mark()
    bound = mark * 105 // 100
    desk.empty(SELL, 1 << 40)
    desk.exchange.book.add(SELL, mark + 5, 3)
    desk.exchange.book.add(SELL, bound + 500, 1_000)
    swept = desk.order("BUY", 0, "0.010", type="MARKET")
    assert (swept["status"], swept["executedQty"]) == ("EXPIRED", "0.003")
    assert desk.position() == 3
    desk.exchange.book.set_background(SELL, bound + 500, 0)
    desk.exchange.book.add(SELL, desk.best(BUY) * 120 // 100, 1_000)
    with pytest.raises(VenueError) as refused:
        desk.order("BUY", 0, "0.010", type="MARKET")
    assert code(refused) == -4131 and desk.position() == 3


def test_a_fok_order_is_never_filled_in_part(desk: Desk) -> None:
    """One's own resting quantity is no counterparty: the order is refused and the quote stays."""
    ask = desk.best(SELL) + 50
    desk.empty(SELL, ask + 1)
    desk.exchange.book.add(SELL, ask, 2)
    own = desk.order("SELL", ask, "0.005")
    with pytest.raises(VenueError) as refused:
        desk.order("BUY", ask, "0.004", timeInForce="FOK")
    assert code(refused) == -5021 and desk.position() == 0
    assert [order["orderId"] for order in desk.exchange.open_orders({})] == [own["orderId"]]
    assert desk.order("BUY", ask, "0.002", timeInForce="FOK")["status"] == "FILLED"


def test_a_batch_answers_each_of_its_orders(desk: Desk) -> None:
    """A leg that cannot be read is refused alone; the leg before it is not hidden by it."""
    price = desk.best(BUY) - 100
    leg = f'{{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","timeInForce":"GTC","quantity":"0.002",' \
          f'"price":"{price // 10}.{price % 10}"}}'  # fmt: skip
    placed, refused, other = desk.exchange.place_batch({"batchOrders": f"[{leg},5,{leg}]"})
    assert placed["status"] == other["status"] == "NEW" and refused["code"] == -1102
    assert len(desk.exchange.open_orders({})) == 2


@pytest.mark.parametrize("text", ["1\n", "\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT TWO}"])
def test_only_plain_digits_are_numbers(text: str, desk: Desk) -> None:
    """Digits of other scripts and line ends are refused and never crash the venue."""
    with pytest.raises(VenueError) as refused:
        number(text, "quantity")
    assert code(refused) == -1130
    with pytest.raises(VenueError):
        whole({"limit": text}, "limit", 1)
    for params in ({"timestamp": text}, {"timestamp": str(Clock().now_ms()), "recvWindow": text}):
        with pytest.raises(VenueError):
            check_clock(params, Clock())
    with pytest.raises(VenueError) as refused:
        desk.order("BUY", desk.best(BUY) - 100, newClientOrderId=text)
    assert code(refused) == -1100


def test_a_signature_of_strange_letters_is_a_wrong_signature() -> None:
    """-1022 for both kinds of key, whatever the bytes."""
    public = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    for key in (Key("k", secret="s"), Key("k", public_hex=public)):
        with pytest.raises(VenueError) as refused:
            check_signature(key, "a=1", "\N{LATIN SMALL LETTER E WITH ACUTE}")
        assert code(refused) == -1022


def test_history_has_the_venues_windows(desk: Desk) -> None:
    """At most a thousand rows, at least one; seven days; fromId excludes times."""
    for _ in range(3):
        desk.order("BUY", desk.best(SELL))
    symbol = {"symbol": "BTCUSDT"}
    assert len(desk.exchange.all_orders(symbol | {"limit": "2"})) == 2
    assert len(desk.exchange.user_trades(symbol | {"limit": "2"})) == 2
    for read in (desk.exchange.all_orders, desk.exchange.user_trades):
        with pytest.raises(VenueError) as refused:
            read(symbol | {"limit": "0"})
        assert code(refused) == -1130
        now = Clock().now_ms()
        with pytest.raises(VenueError) as refused:
            read(symbol | {"startTime": str(now - 8 * DAY_MS), "endTime": str(now)})
        assert code(refused) == -4165 and refused.value.text == "Maximum time interval is 7 days"
        assert read(symbol | {"startTime": str(now - 8 * DAY_MS)}) == []
        assert read(symbol | {"startTime": str(now - DAY_MS)})
    with pytest.raises(VenueError) as refused:
        desk.exchange.user_trades(symbol | {"fromId": "1", "startTime": "1"})
    assert code(refused) == -1128
