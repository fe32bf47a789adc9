"""The limit counts every dollar: money and positions that move without a fill, on the whole system."""

from __future__ import annotations

import json
import signal
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


def test_cash_is_exact_through_lost_events_fees_in_bnb_and_a_crash(system: System) -> None:
    """While it trades: events lost, late and told twice, commission in BNB, funding by the rate, a crash of
    the engine between; afterwards positions and cash equal the venue's to the last digit."""
    system.start()
    wallet_read(system)
    market = "/market"
    system.admin("binance", "/faults", {"duplicate_account_update": 1})
    system.admin("binance", market, {"funding_usdt": "-1.25000001"})
    system.admin("binance", "/faults", {"drop_account_update": 1})
    system.admin("binance", market, {"insurance_usdt": "-0.75"})
    system.admin("binance", "/faults", {"late_account_update_ms": 4000})
    system.admin("binance", market, {"funding_usdt": "0.5"})
    system.admin("binance", "/faults", {"late_account_update_ms": 0})
    system.admin("binance", market, {"fee_asset": "BNB"})
    system.admin("binance", market, {"withdraw_usdt": "12.5"})
    fills = len(system.account("binance")["fills"])
    system.wait("fills with fees in BNB", lambda: len(system.account("binance")["fills"]) > fills + 2)
    system.signal("engine", signal.SIGKILL)
    system.admin("binance", market, {"income": {"type": "MOON_TAX", "amount": "-0.1"}})
    system.admin("binance", market, {"fee_asset": "USDT"})
    system.admin("binance", market, {"funding_rate": "0.01"})
    system.admin("binance", market, {"charge_funding": True})
    charged = sum(
        row["amount_e8"] for row in system.account("binance")["income"] if row["type"] != "TRANSFER"
    )
    expected = charged // 100  # never in our favour

    def cash() -> int:
        return next(row for row in pnl(system)["venues"] if row["venue"] == "binance")["cash_micros"]

    system.wait("all of it is known", lambda: cash() == expected)
    assert state(system) == "ACTIVE"
    system.kill()
    if not system.day_ended():
        compared = system.json("account", "--compare", expect=None)
        assert compared["equal"], compared


def test_the_venues_hand_is_charged_and_unexplained_money_halts(system: System) -> None:
    """The venue sets the position to 0.05 BTC: it is charged at once, the books follow, and trading goes on.
    Then the wallet loses a dollar without an event and without a row: no new risk, and a halt."""
    config = configured(system, binance_sim=QUOTE_NOTHING, polymarket_sim=NO_MARKET_QUALIFIES)
    system.start("--config", str(config))
    wallet_read(system)
    system.admin("binance", "/market", {"adjust_position": {"quantity": "0.050"}})

    def used() -> int:
        rows = {row["name"]: row for row in system.status(expect=None)["budget"]["participants"]}
        return int(rows["engine"]["used_micros"])

    system.wait("the position is charged", lambda: used() > 250 * MICROS)
    held = system.wait("the books follow", lambda: system.json("positions")["positions"][0]["quantity_e9"])
    assert held == 50_000_000 and state(system) == "ACTIVE"
    assert system.json("account", "--compare")["equal"]
    system.admin("binance", "/market", {"silent_usdt": "-1"})
    system.admin("binance", "/faults", {"close_user_stream": 1})  # a reading comes at once
    system.wait("the halt", lambda: state(system) == "HALTED")
    assert "cash" in system.status(expect=None)["halt"]
    assert "cash_differs" in [event["name"] for event in system.json_lines("events", "--count", "400")]
