"""The limit counts every dollar: money and positions that move without a fill, on the whole system."""

from __future__ import annotations

import json
from typing import Any

from conftest import System
from test_one_budget import NO_MARKET_QUALIFIES, QUOTE_NOTHING, configured

MICROS = 10**6


def pnl(system: System) -> dict[str, Any]:
    """Our view of the day."""
    content: dict[str, Any] = system.json("pnl")
    return content


def wallet_read(system: System) -> None:
    """Waits until the engine has read the venue's wallet and begun its books of cash."""
    system.wait(
        "the wallet was read",
        lambda: [
            v for v in system.status(expect=None)["venues"] if v["name"] == "binance" and v["cash"]["known"]
        ],
    )


def state(system: System) -> str:
    return str(system.status(expect=None)["state"])


def test_funding_beyond_the_limit_halts(system: System) -> None:
    """Two funding charges of 600 USD under a limit of 1,000 halt everything; a deposit before them changed
    nothing; the day shows -1,200 and the books equal the venue's, cash included, also after a kill."""
    engine = QUOTE_NOTHING | {"risk": {"daily_loss_usd": "10000"}}
    config = configured(system, binance_sim=engine, polymarket_sim=NO_MARKET_QUALIFIES)
    paper = config / "paper.json"
    paper.write_text(json.dumps(json.loads(paper.read_text()) | {"daily_loss_usd": "10000"}))
    system.start("--limit-usd", "1000", "--yes", "--config", str(config))
    wallet_read(system)
    before = pnl(system)["day_micros"]
    system.admin("binance", "/market", {"deposit_usdt": 5000})
    system.wait("the deposit is known", lambda: pnl(system)["transfers_micros"] == 5000 * MICROS)
    assert pnl(system)["day_micros"] == before and state(system) == "ACTIVE"
    system.admin("binance", "/market", {"funding_usdt": "-600"})
    system.wait("the first charge", lambda: pnl(system)["cash_micros"] == -600 * MICROS)
    assert state(system) == "ACTIVE"
    system.admin("binance", "/market", {"funding_usdt": "-600"})
    system.wait("the halt", lambda: state(system) == "HALTED")
    day = pnl(system)
    assert day["cash_micros"] == -1200 * MICROS
    venue = next(row for row in day["venues"] if row["venue"] == "binance")
    assert venue["day_micros"] == venue["cash_micros"] == -1200 * MICROS
    assert "-$1200.00" in system.control("pnl").stdout
    compared = system.json("account", "--compare")
    assert compared["equal"] and {row["venue"] for row in compared["cash"]} >= {"binance"}
    system.kill()
    assert pnl(system)["cash_micros"] == -1200 * MICROS
