"""Today's result survives the loss of what it was written in: the venues' own records make it again."""

from __future__ import annotations

import json
import shutil
from typing import Any

from conftest import System
from test_bad_input import edited_config
from test_main_job import assert_books_equal

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
    assert day["realized_micros"] - day["fees_micros"] < 0
    lose_everything(system)
    system.start("--config", quiet_config(system))
    after = system.wait_status(
        "the loss is back", lambda s: s if s["state"] == "ACTIVE" and s["pnl"]["fees_micros"] else None
    )
    assert engine_books(system) == before
    assert after["pnl"]["fees_micros"] >= day["fees_micros"]
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
