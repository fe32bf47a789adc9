"""The main job: one line starts everything, it trades, it stops, it tells the truth."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from conftest import CAPTURE, System

RUN_S = float(os.environ.get("PURSER_RUN_S", "30"))


MONEY = ("quantity_e9", "cost_micros", "realized_micros", "fees_e8", "cash_flow_micros")


def hedges(system: System) -> list[dict[str, Any]]:
    """Fills that the engine's hedger made."""
    return [f for f in system.json("fills", "--count", "1000")["fills"] if f["strategy"] == "hedger"]


def compared(system: System) -> tuple[str, ...]:
    """What must equal the venue's account. Ours counts money by the day, the venue's for ever: when
    midnight UTC has passed since the start, only what is held can be compared."""
    return MONEY[:1] if system.day_ended() else MONEY


def money(row: dict[str, Any], fields: tuple[str, ...], late_fills: bool) -> dict[str, int]:
    """The integers that are compared. A fill whose event was lost is booked when it is found, after later
    ones: the same money is then parted otherwise into what is realized and what the open quantity cost."""
    values = {field: int(row[field]) for field in fields}
    if late_fills and "cost_micros" in values:
        values["realized_less_cost"] = values.pop("realized_micros") - values.pop("cost_micros")
    return values


def traded(
    positions: list[dict[str, Any]], fields: tuple[str, ...], late_fills: bool = False
) -> dict[str, dict[str, int]]:
    """By asset, the integers of every position in which one of them is not zero."""
    rows = {p.get("asset_id", p["symbol"]): money(p, fields, late_fills) for p in positions}
    return {asset: row for asset, row in rows.items() if any(row.values())}


def assert_books_equal(system: System, late_fills: bool = False) -> None:
    """Positions and P&L as we tell them equal the venues' own account, to the unit; with `late_fills`
    (a test in which executions get lost) realized and cost may be parted otherwise, to the same sum."""
    ours = system.json("positions")["positions"]
    fields = compared(system)
    sums = dict.fromkeys(money(dict.fromkeys(fields, 0), fields, late_fills), 0)
    del sums["quantity_e9"]
    for venue in ("binance", "polymarket"):
        theirs = traded(system.account(venue)["positions"], fields, late_fills)
        assert traded([p for p in ours if p["venue"] == venue], fields, late_fills) == theirs, venue
        for field in sums:
            sums[field] += sum(p[field] for p in theirs.values())
    total = {"quantity_e9": 0, **system.json("pnl")["total"]}
    assert {
        field: value for field, value in money(total, fields, late_fills).items() if field in sums
    } == sums


def test_it_trades_on_both_venues_within_the_limit_and_the_books_equal_the_venues(system: System) -> None:
    """After one command: healthy, fills on both venues, a hedge, within the limit; books agree."""
    system.start()
    status = system.status()
    assert status["mode"] == "paper"
    assert status["state"] == "ACTIVE"
    deadline = time.monotonic() + RUN_S + 240
    seen: set[str] = set()
    begin = time.monotonic()
    while time.monotonic() < deadline:
        status = system.status()
        budget = status["budget"]
        assert budget["used_micros"] <= budget["limit_micros"]
        for venue in status["venues"]:
            if venue["fills"]:
                seen.add(venue["name"])
        if {"binance", "polymarket"} <= seen and time.monotonic() - begin > RUN_S and hedges(system):
            break
        time.sleep(0.5)
    assert {"binance", "polymarket"} <= seen, system.log_tails()
    assert hedges(system), system.log_tails()
    assert status["latency"]["tick_to_order_ns"]["count"] > 0
    system.wait_status("dead-man switches", lambda s: all(v["dead_man"]["armed"] for v in s["venues"]))
    system.control("stop")
    assert system.account("binance")["open_orders"] == []
    assert system.account("polymarket")["open_orders"] == []
    assert_books_equal(system)


def test_status_has_every_promised_field(system: System) -> None:
    """`control status --json` prints one object with the fields that scripts rely on."""
    system.start()
    status = system.wait_status("a signal", lambda s: s if s["signals"] else None)
    for name in (
        "schema_version",
        "mode",
        "state",
        "uptime_s",
        "budget",
        "pnl",
        "processes",
        "venues",
        "positions",
        "orders",
        "fills",
        "refusals",
        "signals",
        "latency",
    ):
        assert name in status, name
    assert {
        "limit_micros",
        "used_micros",
        "positions_micros",
        "orders_micros",
        "free_micros",
        "participants",
    } <= set(status["budget"])
    assert {"name", "used_micros", "alloc_micros"} <= set(status["budget"]["participants"][0])
    assert {"day_micros", "realized_micros", "unrealized_micros", "fees_micros"} <= set(status["pnl"])
    assert {"name", "pid", "state", "heartbeat_age_ms", "restarts"} <= set(status["processes"][0])
    assert {"name", "state", "feed_age_ms", "dead_man", "open_orders", "fills"} <= set(status["venues"][0])
    assert {"armed", "expires_in_s"} <= set(status["venues"][0]["dead_man"])
    assert {"p50", "p99", "p999", "count"} <= set(status["latency"]["tick_to_order_ns"])


def test_kill_leaves_nothing_open_and_stays_until_a_person_resumes(system: System) -> None:
    """Kill: nothing open by the venues' own account, start refused with 8 until resume."""
    system.start()
    system.wait_status("orders on both venues", lambda s: all(v["open_orders"] for v in s["venues"]))
    system.kill("--reason", "test")
    assert system.account("binance")["open_orders"] == []
    assert system.account("polymarket")["open_orders"] == []
    refused = system.start(expect=8)
    assert "resume" in refused.stderr
    system.kill()
    system.control("resume", "--yes")
    system.start()
    system.wait_status("active again", lambda s: s["state"] == "ACTIVE")


def test_a_second_start_is_refused(system: System) -> None:
    """One copy runs at a time: the second start ends with 1 and says what to do."""
    system.start()
    second = system.start(expect=1)
    assert "running" in second.stderr


@pytest.mark.skipif(
    not CAPTURE.exists(), reason=f"the recorded capture is not here ({CAPTURE}); set PURSER_DATA"
)
def test_it_trades_against_the_recorded_production_capture(system: System) -> None:
    """With --feed the engine's book follows the recorded frames and orders are filled against them."""
    system.start("--feed", str(CAPTURE))

    def filled(status: dict[str, Any]) -> bool:
        binance = next(v for v in status["venues"] if v["name"] == "binance")
        return bool(binance["fills"] and binance["state"] == "READY")

    system.wait_status("fills against the capture", filled)
    price = system.wait_status("a price", lambda s: next(iter(s["signals"].values()))["mid_e9"])
    assert 50_000 * 10**9 < price < 70_000 * 10**9
    system.control("stop")
    assert_books_equal(system)
