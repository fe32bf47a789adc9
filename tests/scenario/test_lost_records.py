"""Today's result survives the loss of what it was written in: the venues' own records make it again."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

from conftest import System, utc_day
from test_bad_input import edited_config
from test_main_job import MONEY, assert_books_equal, traded

from simulators.polymarket_matching import PRICE_ONE

DAY_MS = 86_400_000
MARK_TICKS, MID = 598_765, 4_321  # at 00:00 UTC: 59,876.5 dollars, and 0.4321 for each YES
FUNDING_USDT, FUNDING_MICROS = "-26.90", 26_900_000
LOSS_TICKS = 400  # 40 dollars a bitcoin, against what the quoter holds


def trade_at_a_loss(system: System) -> None:
    """Fills on both venues, and a day that is below zero after its fees."""
    system.wait_status(
        "fills on both venues",
        lambda s: s["state"] == "ACTIVE" and all(v["fills"] >= 3 for v in s["venues"]),
        timeout=240,
    )
    held = sum(int(p["quantity_e9"]) for p in system.account("binance")["positions"])
    system.admin("binance", "/market", {"jump_ticks": -LOSS_TICKS if held > 0 else LOSS_TICKS})
    system.admin("binance", "/market", {"funding_usdt": FUNDING_USDT})
    system.wait(
        "the funding in the day's result", lambda: system.json("pnl")["cash_micros"] == -FUNDING_MICROS
    )
    system.wait(
        "a loss", lambda: system.json("pnl")["realized_micros"] - system.json("pnl")["fees_micros"] < 0
    )


def quiet_config(system: System) -> str:
    """The engine quotes nothing and hedges nothing, so that its day stays what it was."""
    folder = edited_config(system, "binance_sim.json", quoter={"enabled": False})
    bot = folder / "polymarket_sim.json"
    settings = json.loads(bot.read_text())
    settings["hedge"]["threshold"] = "1"
    bot.write_text(json.dumps(settings))
    return str(folder)


def lose_everything(system: System) -> None:
    """The journal's folder with its head, and the bot's database."""
    home = system.home / "home" / "paper"
    shutil.rmtree(home / "engine")
    (home / "engine.head").unlink()
    for file in home.glob("bot.db*"):
        file.unlink()


def engine_books(system: System) -> dict[str, Any]:
    """What the engine says of its day, but for the mark."""
    rows = [p for p in system.json("positions")["positions"] if p["venue"] == "binance"]
    fields = ("quantity_e9", "cost_micros", "realized_micros", "fees_e8", "cash_flow_micros", "volume_micros")
    return {field: sum(int(row[field]) for row in rows) for field in fields}


def test_a_day_with_a_loss_is_known_after_journal_and_database_are_deleted(system: System) -> None:
    """Traded, stopped, all records deleted: the next start shows the same loss from the venues' own history,
    to the unit, says that the records were lost, and goes on trading."""
    system.start()
    trade_at_a_loss(system)
    system.control("stop")
    assert_books_equal(system)
    before = engine_books(system)
    day = system.json("pnl")
    assert day["day_micros"] < 0
    lose_everything(system)
    system.start("--config", quiet_config(system))
    after = system.wait_status(
        "the loss is back", lambda s: s if s["state"] == "ACTIVE" and s["pnl"]["fees_micros"] else None
    )
    assert engine_books(system) == before
    assert after["pnl"]["fees_micros"] >= day["fees_micros"]
    assert system.json("pnl")["cash_micros"] == -FUNDING_MICROS
    told = " ".join(after["problems"])
    assert "journal of today was lost" in told and "database knew nothing of today" in told
    system.wait(
        "both alarms among the events",
        lambda: (
            {"journal_missing", "database_missing"}
            <= {e["name"] for e in system.json_lines("events", "--count", "200") if e["level"] == "error"}
        ),
    )
    system.control("stop")
    if not system.day_ended():
        assert_books_equal(system)
    assert "✓ The engine's journal" in system.control("events", "--verify").stdout


# ---- a position carried over midnight ------------------------------------------------------------


def set_back(system: System) -> None:
    """The first half of each venue's fills happens yesterday, and the venue knows what the price was at
    00:00 UTC: in the simulators' own records, while they do not run."""
    midnight = utc_day() * DAY_MS
    for venue in ("binance", "polymarket"):
        folder = system.home / "home" / "paper" / "sim" / venue
        records = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        fills = [r["fill"] for r in records if "fill" in r] + [
            r for r in records if r.get("event") == "trade"
        ]
        for number, fill in enumerate(fills[: (len(fills) + 1) // 2]):
            fill["time" if venue == "binance" else "time_ms"] = midnight - 3_600_000 + 1000 * number
        lines = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
        (folder / "events.jsonl").write_text(lines)
        names = {"BTCUSDT": MARK_TICKS} if venue == "binance" else {fill["market"]: MID for fill in fills}
        candles = folder / "candles.jsonl"
        old = "".join(json.dumps([n, midnight // 60_000, *[p] * 4]) + "\n" for n, p in names.items())
        candles.write_text(old + candles.read_text())


def signed(fill: dict[str, Any]) -> int:
    """Bought is above zero."""
    return int(fill["quantity_e9"]) * (1 if fill["side"] == "BUY" else -1)


def truncated(numerator: int, denominator: int) -> int:
    """Division toward zero."""
    return abs(numerator) // denominator * (1 if numerator >= 0 else -1)


def day_of_one(fills: list[dict[str, Any]], mark_e9: int) -> dict[str, int]:
    """What today comes to by one asset's fills: what was held at midnight had cost its mark of then."""
    midnight = utc_day() * DAY_MS
    held = sum(signed(fill) for fill in fills if fill["time_ms"] < midnight)
    cost, realized, fees, cash = truncated(held * mark_e9, 10**12), 0, 0, 0
    for fill in (fill for fill in fills if fill["time_ms"] >= midnight):
        quantity = signed(fill)
        value = truncated(quantity * fill["price_e9"], 10**12)
        cash, fees = cash - value, fees + fill["fee_e8"]
        if held * quantity < 0:
            closed = min(abs(quantity), abs(held))
            part = truncated(value * closed, abs(quantity))
            released = truncated(cost * closed, abs(held))
            realized -= part + released
            step = closed if quantity > 0 else -closed
            cost, held = cost - released, held + step
            value, quantity = value - part, quantity - step
        cost, held = cost + value, held + quantity
    return dict(zip(MONEY, (held, cost, realized, fees, cash), strict=True))


def expected(system: System, venue: str, mark_e9: Callable[[str], int]) -> dict[str, dict[str, int]]:
    """The same for every asset of a venue, by the venue's own fills."""
    fills: dict[str, list[dict[str, Any]]] = {}
    for fill in system.account(venue)["fills"]:
        if fill.get("status") != "FAILED":
            fills.setdefault(fill.get("asset_id", fill["symbol"]), []).append(fill)
    rows = {asset: day_of_one(mine, mark_e9(asset)) for asset, mine in fills.items()}
    return {asset: row for asset, row in rows.items() if any(row.values())}


def yes_tokens(system: System) -> set[str]:
    """The tokens whose price is the market's own; the other of a pair is worth the rest of a dollar."""
    with contextlib.closing(sqlite3.connect(system.home / "home" / "paper" / "bot.db")) as database:
        return {token for (token,) in database.execute("SELECT yes_token FROM markets")}


def test_a_position_carried_over_midnight_opens_at_the_venues_mark_of_then(system: System) -> None:
    """Held since yesterday, all records deleted: today's realized, cost and fees are what the venue's fills
    of today and its marks of 00:00 UTC make, to the unit; yesterday's fills are not in them."""
    system.start()
    system.wait_status(
        "fills on both venues",
        lambda s: s["state"] == "ACTIVE" and all(v["fills"] >= 5 for v in s["venues"]),
        timeout=240,
    )
    system.control("stop")
    set_back(system)
    lose_everything(system)
    system.start("--config", quiet_config(system))
    system.wait_status("alarms", lambda s: s["state"] == "ACTIVE" and len(s["problems"]) == 2)
    system.control("stop")
    if system.day_ended():
        return
    ours = system.json("positions")["positions"]
    tokens = yes_tokens(system)
    marks: dict[str, Callable[[str], int]] = {
        "binance": lambda _: MARK_TICKS * 10**8,
        "polymarket": lambda token: (MID if token in tokens else PRICE_ONE - MID) * 100_000,
    }
    for venue, mark_e9 in marks.items():
        mine = traded([p for p in ours if p["venue"] == venue], MONEY)
        assert mine == expected(system, venue, mark_e9), venue
