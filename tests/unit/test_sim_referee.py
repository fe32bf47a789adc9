"""The referees' accounts, computed a second time from their own fills after random trading."""

from __future__ import annotations

import random
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from test_sim_polymarket_venue import Desk

from simulators.binance import Venue
from simulators.binance_params import Params
from simulators.binance_rules import VenueError
from simulators.market import SyntheticMarket
from simulators.options import Options
from simulators.polymarket_matching import BUY, NO, SELL, YES
from simulators.polymarket_orders import Refusal
from simulators.state import StateFolder

E9 = 10**9


class Books:
    """One position by the rule of the house, in fractions, so that only the stated rounding rounds."""

    def __init__(self) -> None:
        self.quantity, self.cost, self.realized, self.flow, self.fees_e8 = 0, 0, 0, Fraction(0), 0

    def book(self, side: str, price_e9: int, quantity_e9: int, fee_e8: int) -> None:
        """One fill; its part that closes comes first."""
        sign = 1 if side == "BUY" else -1
        self.flow -= sign * Fraction(price_e9 * quantity_e9, 10**12)
        self.fees_e8 += fee_e8
        closing = min(quantity_e9, abs(self.quantity)) if self.quantity * sign < 0 else 0
        if closing:
            released = int(Fraction(self.cost * closing, abs(self.quantity)))
            self.realized += int(-sign * Fraction(price_e9 * closing, 10**12)) - released
            self.cost -= released
            self.quantity += sign * closing
        opening = quantity_e9 - closing
        self.cost += int(sign * Fraction(price_e9 * opening, 10**12))
        self.quantity += sign * opening

    def view(self) -> dict[str, int]:
        """As the referee shows it."""
        assert self.flow.denominator == 1 and self.flow == self.realized - self.cost
        return {"quantity_e9": self.quantity, "cost_micros": self.cost, "realized_micros": self.realized,
                "fees_e8": self.fees_e8, "cash_flow_micros": int(self.flow)}  # fmt: skip


def shown(position: dict[str, Any]) -> dict[str, int]:
    """The integers of a referee's position that fills determine."""
    return {name: position[name] for name in Books().view()}


def booked(fills: Iterable[dict[str, Any]], name: str) -> dict[str, Books]:
    """The books of these fills, by the field that names the instrument."""
    books: dict[str, Books] = {}
    for fill in fills:
        book = books.setdefault(fill[name], Books())
        book.book(fill["side"], fill["price_e9"], fill["quantity_e9"], fill.get("fee_e8", 0))
    return books


# --- Binance -------------------------------------------------------------------------------------------


class Trader:
    """A client that does whatever the dice say, on a venue without sockets."""

    def __init__(self, folder: Path, seed: int) -> None:
        options = Options("binance", 0, 0, folder, seed, None, 1.0, True, "prod-strict", "", None)
        self.dice = random.Random(seed)
        self.venue = Venue(options, StateFolder(folder), "00" * 32)
        self.events: list[dict[str, Any]] = []
        self.venue.exchange.emit = self.events.append
        self.refused: set[int] = set()
        self.positions: list[int] = []

    def account(self) -> dict[str, Any]:
        """The referee's account."""
        (view,) = self.venue.account()["accounts"].values()
        account: dict[str, Any] = view
        return account

    def act(self) -> None:
        """One random request; what the venue refuses must leave no trace."""
        dice, exchange = self.dice, self.venue.exchange
        open_orders = list(exchange.account.open.values())
        price = self.venue.market.mark() + dice.randint(-12, 12)
        params = {"symbol": "BTCUSDT", "side": dice.choice(("BUY", "SELL")), "type": "LIMIT",
                  "quantity": f"0.{dice.randint(2, 60):03d}", "price": f"{price // 10}.{price % 10}",
                  "timeInForce": dice.choice(("GTC", "GTC", "IOC", "FOK", "GTX")),
                  "reduceOnly": dice.choice(("false", "false", "true")),
                  "selfTradePreventionMode": dice.choice(("EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH")),
                  "newOrderRespType": "RESULT"}  # fmt: skip
        if dice.random() < 0.15:
            del params["price"], params["timeInForce"]
            params["type"] = "MARKET"
        before = self.account()
        try:
            if open_orders and dice.random() < 0.3:
                chosen = dice.choice(open_orders)
                named: Params = {"symbol": "BTCUSDT", "orderId": str(chosen.order_id)}
                side = "BUY" if chosen.side > 0 else "SELL"
                if dice.random() < 0.5 or params["type"] == "MARKET":
                    exchange.cancel(named)
                else:
                    exchange.modify({**params, **named, "side": side})
            else:
                answer = exchange.place(params)
                if params.get("timeInForce") == "FOK" and params["reduceOnly"] == "false":
                    assert answer["status"] == "FILLED"
                if params["reduceOnly"] == "true":
                    held, now = (view["positions"][0]["quantity_e9"] for view in (before, self.account()))
                    assert 0 <= now * (1 if held > 0 else -1) <= abs(held)
        except VenueError as error:
            self.refused.add(error.code)
            assert self.account() == before
        self.positions.append(self.account()["positions"][0]["quantity_e9"])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_binance_account_follows_from_its_fills(tmp_path: Path, seed: int) -> None:
    """Position, cost, profit, fees and cash are the sums over the fills, whatever was traded; orders and
    the user stream tell of the same fills, and a restart changes nothing."""
    trader = Trader(tmp_path, seed)
    market = trader.venue.market
    assert isinstance(market, SyntheticMarket)
    for _ in range(400):
        trader.act()
        for _ in range(5):
            market.step()
    account = trader.account()
    assert len(account["fills"]) > 100 and max(trader.positions) > 0 > min(trader.positions)
    assert {-5022, -5021, -2022, -4164} & trader.refused
    (position,) = account["positions"]
    books = booked(account["fills"], "symbol")["BTCUSDT"]
    assert shown(position) == books.view()
    marked = position["quantity_e9"] * position["mark_e9"] // 10**12
    assert position["unrealized_micros"] == marked - books.cost
    assert account["cash_e8"] == 100_000 * 10**8 + books.realized * 100 - books.fees_e8
    for fill in account["fills"]:
        rate = Fraction(2 if fill["maker"] else 5, 10_000)
        exact = Fraction(fill["price_e9"] * fill["quantity_e9"], 10**10) * rate
        assert fill["fee_e8"] == int(exact + Fraction(1, 2))
    told = [event["o"] for event in trader.events if event.get("o", {}).get("x") == "TRADE"]
    assert [(o["t"], o["i"], o["m"]) for o in told] \
        == [(f["trade_id"], f["order_id"], f["maker"]) for f in account["fills"]]  # fmt: skip
    for order in trader.venue.exchange.account.orders.values():
        mine = [fill["quantity_e9"] for fill in account["fills"] if fill["order_id"] == order.order_id]
        assert sum(mine) == order.executed * 10**6 <= order.quantity * 10**6
    resting = {order["order_id"] for order in account["open_orders"]}
    assert resting == set(trader.venue.exchange.account.open)
    again = tmp_path / "again"
    again.mkdir()
    for name in ("events.jsonl", "keys.json"):
        (again / name).write_bytes((tmp_path / name).read_bytes())
    restored = Trader(again, seed).account()
    for name in ("fills", "cash_e8", "fees_e8"):
        assert restored[name] == account[name]
    assert shown(restored["positions"][0]) == shown(position)


# --- Polymarket ----------------------------------------------------------------------------------------


def random_order(desk: Desk, dice: random.Random) -> dict[str, Any]:
    """A signed order of any type, near the middle."""
    kind = dice.choice(("GTC", "GTC", "GTC", "FAK", "FOK"))
    outcome, side = dice.choice((YES, NO)), dice.choice((BUY, BUY, SELL))
    price, lots = dice.randint(45, 55) * 100, dice.randint(5, 40) * 100
    return desk.body(
        outcome, side, price, lots, order_type=kind, post_only=kind == "GTC" and dice.random() < 0.5
    )


def trade_at_random(desk: Desk, dice: random.Random, steps: int) -> None:
    """Orders of the key and of others, cancels, failing trades, time."""
    for _ in range(steps):
        draw = dice.random()
        before = desk.account()
        if draw < 0.45:
            try:
                desk.send(random_order(desk, dice))
            except Refusal:
                assert desk.account() == before
        elif draw < 0.85:
            lots = dice.randint(1, 3_000)
            desk.other(dice.choice((YES, NO)), dice.choice((BUY, SELL)), dice.randint(45, 55) * 100, lots)
        elif draw < 0.92 and before["open_orders"]:
            desk.venue.cancel_many([dice.choice(before["open_orders"])["order_id"]], desk.key.key)
        else:
            desk.venue.faults.set({dice.choice(("fail_trade", "retry_trade", "fail_after_mined")): 1})
            desk.pass_ms(dice.randint(0, 2_500))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_polymarket_account_follows_from_its_fills(tmp_path: Path, seed: int) -> None:
    """Positions, fees and cash are the sums over the fills that did not fail, before and after the
    resolution, and a restart changes nothing."""
    desk, dice = Desk(tmp_path), random.Random(seed)
    trade_at_random(desk, dice, 400)

    def check() -> None:
        account = desk.account()
        valid = [fill for fill in account["fills"] if fill["status"] != "FAILED"]
        books = booked([*valid, *account["settlements"]], "asset_id")
        views = {token: book.view() for token, book in books.items()}
        assert {p["asset_id"]: shown(p) for p in account["positions"] if p["asset_id"] in books} == views
        assert all(p["quantity_e9"] >= 0 for p in account["positions"]), "tokens cannot be owed"
        assert not any(any(shown(p).values()) for p in account["positions"] if p["asset_id"] not in books)
        paid = sum(view["cash_flow_micros"] * 100 - view["fees_e8"] for view in views.values())
        assert account["cash_micros"] * 100 == 10_000 * 10**8 + paid

    check()
    fills = desk.account()["fills"]
    assert len(fills) > 40 and {fill["role"] for fill in fills} == {"TAKER", "MAKER"}
    desk.restart()
    check()
    assert [fill["trade_id"] for fill in desk.account()["fills"]] == [fill["trade_id"] for fill in fills]
    for _ in range(8):
        desk.pass_ms(1_000)
    check()
    assert {fill["status"] for fill in desk.account()["fills"]} == {"CONFIRMED", "FAILED"}
    desk.venue.close_market(desk.market, 600_001)
    assert desk.venue.resolve_market(desk.market, YES) and desk.account()["settlements"]
    check()
    desk.restart()
    check()
