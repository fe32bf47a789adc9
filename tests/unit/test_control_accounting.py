"""When our books and a venue's count as equal."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from control.accounting import cash_row, is_same_money
from control.executions import polymarket_executions
from control.records import Record
from polymarket_bot.execution.settlement import trade_cash
from polymarket_bot.model import Fill, Price, Side, Size


def test_fills_booked_in_another_order_are_the_same_money() -> None:
    """Bought at 100 and 110, sold one at 120: with either purchase first the cash is the same, and what the
    order of booking moves between realized and cost is no difference; anything else is one."""
    moved = {
        "cost_micros": {"ours": 105_000_000, "venue": 110_000_000},
        "realized_micros": {"ours": 15_000_000, "venue": 20_000_000},
    }
    assert is_same_money({}) and is_same_money(moved)
    assert not is_same_money({"cost_micros": moved["cost_micros"]})
    assert not is_same_money(moved | {"realized_micros": {"ours": 15_000_000, "venue": 20_000_001}})
    for key in ("quantity_e9", "fees_e8", "cash_flow_micros"):
        assert not is_same_money(moved | {key: {"ours": 1, "venue": 2}})


def row(ours: int, read: int, state: str = "READY", participant: str = "polymarket_bot") -> Record:
    """A venue's row of the picture."""
    cash = {"known": True, "books_e8": ours, "wallet_e8": read, "read_age_ms": 900}
    return {"name": "polymarket", "participant": participant, "state": state, "cash": cash}


def test_a_live_bots_own_reading_stands_in_and_says_of_when() -> None:
    """The venue has mined a trade less than our books have: the bot's reading is compared, marked as such;
    what
    the reading itself lacks is unequal."""
    assert cash_row(row(100, 100), 500, running=True) == {
        "venue": "polymarket", "ours_e8": 100, "venue_e8": 100, "equal": True,
        "as_of": "the bot's reading 900 ms ago",
    }  # fmt: skip
    assert not cash_row(row(100, 93), 93, running=True)["equal"]
    now = cash_row(row(100, 93), 100, running=True)
    assert now["equal"] and now["as_of"] == "now"


@pytest.mark.parametrize(("state", "running"), [("DOWN", True), ("READY", False)])
def test_a_dead_bots_reading_never_stands_in(state: str, running: bool) -> None:
    """After a kill the venue's own word counts, whatever was read before."""
    told = cash_row(row(100, 100, state), 500, running=running)
    assert (told["venue_e8"], told["equal"], told["as_of"]) == (500, False, "now")
    assert cash_row(row(500, 100, state), 500, running=running)["equal"]


def test_an_engines_reading_never_stands_in() -> None:
    """Its books follow each fill at once, and so does its venue's cash."""
    assert not cash_row(row(100, 100, participant="engine"), 500, running=True)["equal"]


class Trades:
    """A venue's answers about trades, of which all legs are ours."""

    def __init__(self, rows: list[Record]) -> None:
        self.rows = rows

    async def trades(self, since_s: int) -> list[Record]:
        return self.rows

    async def fee_terms(self, condition: str) -> tuple[str, int]:
        return "0.07", 1

    def is_ours(self, leg: Record) -> bool:
        return bool(leg.get("ours"))


def test_what_a_late_fill_at_polymarket_did_to_the_wallet_is_in_it() -> None:
    """A sale as taker brings its value less the fee, a purchase as maker costs its value: the same numbers as
    the bot's own books would have, and the expected cash follows them."""
    taken = {
        "id": "t1", "match_time": "1764000000", "status": "CONFIRMED", "trader_side": "TAKER", "ours": True,
        "market": "0xc", "price": "0.45", "size": "10.01", "asset_id": "111", "side": "SELL",
    }  # fmt: skip
    leg = {"ours": True, "side": "BUY", "price": "0.555", "matched_amount": "3.333333", "asset_id": "111"}
    made = {**taken, "id": "t2", "trader_side": "MAKER", "ours": False, "maker_orders": [leg]}
    venue: Any = Trades([made, taken])
    sale, purchase = asyncio.run(polymarket_executions(venue, {"111": "Y"}, 0))
    assert sale["wallet_e8"] == 4_504_500 * 100 - sale["fee_e8"] and sale["fee_e8"] > 0
    assert purchase["wallet_e8"] == -(555_000 * 3_333_333 // 10**6) * 100
    for record, side, price, size in ((sale, Side.SELL, 450_000, 10_010_000),
                                      (purchase, Side.BUY, 555_000, 3_333_333)):  # fmt: skip
        ours = Fill("t", "o", "0xc", "111", side, Price(price), Size(size), True, record["fee_e8"], 0)
        assert trade_cash(ours) * 100 == record["wallet_e8"]
