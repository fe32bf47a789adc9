"""Fills that no participant booked: what they make of a picture, and when they stop counting."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bridge.paths import Paths
from control import late_fills
from control.executions import e9, taker_fee_e8
from control.flatten import Closed, _least_lots
from control.records import write_atomically


def paths_in(folder: Path) -> Paths:
    """A home and a runtime folder of the test's own."""
    return Paths.from_environment(
        "paper", {"PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run")}
    )


def fill(execution_id: str, side: str, price: str, quantity: str, **more: Any) -> dict[str, Any]:
    """An execution as a venue tells it."""
    return {
        "participant": "engine", "sequence": 0, "wall_ns": int(execution_id), "venue": "binance",
        "symbol": "BTCUSDT", "side": side, "price_e9": e9(price), "quantity_e9": e9(quantity), "fee_e8": 101,
        "maker": False, "provisional": False, "reversed": False, "strategy": "none",
        "client_order_id": "0" * 16, "execution_id": execution_id, **more,
    }  # fmt: skip


def picture() -> dict[str, Any]:
    """Long 0.003 BTC for 180 dollars, marked at 61,000, and one micro-dollar of fees."""
    row = {
        "participant": "engine", "venue": "binance", "symbol": "BTCUSDT", "quantity_e9": e9("0.003"),
        "cost_micros": 180_000_000, "mark_e9": e9("61000"), "realized_micros": 5,
        "unrealized_micros": 3_000_000, "fees_e8": 99, "volume_micros": 180_000_000,
        "cash_flow_micros": -180_000_000,
    }  # fmt: skip
    pnl = {"day_micros": 3_000_004, "realized_micros": 5, "unrealized_micros": 3_000_000, "fees_micros": 1}
    return {"positions": [row], "pnl": pnl, "fills": [], "taken_wall_ns": 100}


def test_sales_release_cost_in_proportion_and_move_the_days_result() -> None:
    """Sold in two parts above the cost: realized, fees and cash by the rule of the books; day and parts add
    up; the picture that was given is not changed."""
    before = picture()
    after = late_fills.with_fills(
        before, [fill("1", "SELL", "62000", "0.001"), fill("2", "SELL", "59000", "0.002")]
    )
    (row,) = after["positions"]
    assert (row["quantity_e9"], row["cost_micros"], row["unrealized_micros"]) == (0, 0, 0)
    assert row["realized_micros"] == 5 + 2_000_000 - 2_000_000
    assert row["cash_flow_micros"] == -180_000_000 + 62_000_000 + 118_000_000
    assert row["fees_e8"] == 99 + 202
    assert after["pnl"] == {
        "day_micros": 5 - 4, "realized_micros": 5, "unrealized_micros": 0, "fees_micros": 4,
    }  # fmt: skip
    assert before == picture()


def test_the_wallet_that_our_books_expect_follows_where_the_venue_tells_by_how_much() -> None:
    """The venue's own number for each fill is added to the expected cash of that venue, and of no other."""
    rows = [
        {"name": name, "participant": "x", "cash": {"known": known, "books_e8": 1000, "wallet_e8": 1000}}
        for name, known in (("binance", True), ("polymarket", True), ("binance", False))
    ]
    told = [fill("1", "SELL", "62000", "0.001", wallet_e8=-7), fill("2", "SELL", "62000", "0.001")]
    after = late_fills.with_fills({**picture(), "venues": rows}, told)["venues"]
    assert [row["cash"]["books_e8"] for row in after] == [993, 1000, 1000]


def test_a_sale_through_zero_opens_the_other_side() -> None:
    """What is more than was held is a position of its own, at its own price."""
    after = late_fills.with_fills(picture(), [fill("1", "SELL", "62000", "0.005")])
    (row,) = after["positions"]
    assert (row["quantity_e9"], row["cost_micros"]) == (e9("-0.002"), -124_000_000)
    assert row["realized_micros"] == 5 + 6_000_000
    assert row["unrealized_micros"] == -122_000_000 + 124_000_000


def test_tokens_that_our_books_never_had_are_not_shown_as_short() -> None:
    """A flatten also sells what another hand bought: our books say nothing of it, before or after."""
    sold = fill("1", "SELL", "0.5", "9", participant="polymarket_bot", venue="polymarket", symbol="X-YES")
    assert late_fills.with_fills(picture(), [sold]) == {**picture(), "venues": []}


def test_each_execution_is_recorded_once_and_counts_until_a_later_picture(tmp_path: Path) -> None:
    """Recorded twice, by two commands, it counts once; two orders of ours in one trade count twice; what is
    already in the kept fills is left out; a picture taken later has it in itself."""
    paths = paths_in(tmp_path)
    write_atomically(paths.mode_home / "last.json", picture())
    twins = [fill("7", "SELL", "60000", "0.001"), fill("7", "SELL", "60000", "0.001")]
    assert late_fills.record_unbooked(paths, twins) == 2
    assert late_fills.record_unbooked(paths, twins) == 0
    with (paths.mode_home / late_fills.FILE).open("ab") as file:
        lines = (paths.mode_home / late_fills.FILE).read_bytes()
        file.write(lines + b'{"half a line')
    assert len(late_fills.recorded(paths)) == 2
    assert len(late_fills.since(paths, 100)) == 2
    assert late_fills.since(paths, time.time_ns()) == []
    assert late_fills.since(paths, None) == []


def test_without_books_nothing_is_recorded_from_the_venue(tmp_path: Path) -> None:
    """A home that has never run has no positions that a fill could change."""
    paths = paths_in(tmp_path)
    assert late_fills.unbooked_since_ns(paths, "binance") is None
    write_atomically(paths.mode_home / "last.json", {**picture(), "taken_wall_ns": 10**18})
    assert late_fills.unbooked_since_ns(paths, "binance") == 10**18 - late_fills.OVERLAP_NS


@pytest.mark.parametrize(
    ("price", "size", "fee_e8"),
    [("0.5", "100", 175_000_000), ("0.01", "5", 347_000), ("0.57", "12", 20_588_000), ("0.3", "0", 0)],
)
def test_the_venues_taker_fee(price: str, size: str, fee_e8: int) -> None:
    """shares x 0.07 x p(1-p), rounded half up at the fifth decimal of a dollar."""
    assert taker_fee_e8(("0.07", 1), Decimal(price), Decimal(size)) == fee_e8
    assert taker_fee_e8(("0", 1), Decimal(price), Decimal(size)) == 0


def test_what_a_flatten_says() -> None:
    """Flat, dust, rest and doubt each have their words, and what is not known comes first."""
    dust = "3.2 X-YES (below the minimum of 5)"
    assert Closed().line() == "flat"
    assert Closed(dust=[dust]).line() == f"flat but for dust: {dust}"
    assert Closed(left=["0.1 BTCUSDT"], dust=[dust]).line() == f"NOT FLAT: 0.1 BTCUSDT; dust: {dust}"
    unknown = Closed(left=["9 Y (nobody bids)"], unknown="HTTP 500").line()
    assert unknown.startswith("POSITIONS UNVERIFIED, HTTP 500") and "NOT FLAT: 9 Y" in unknown


def test_the_least_lot_is_the_larger_of_step_and_minimum() -> None:
    """A reduce-only order is bound by LOT_SIZE alone."""
    for minimum, step, least in (("0.001", "0.001", "0.001"), ("0.010", "0.001", "0.01"), ("0", "1", "1")):
        filters = {"LOT_SIZE": {"minQty": minimum, "stepSize": step}}
        assert f"{_least_lots(filters):f}" == least
