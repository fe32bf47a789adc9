"""A market ends while something is held in it: quotes go, it is settled, the next one is quoted."""

from __future__ import annotations

import os
import signal
from typing import Any

from conftest import System
from test_main_job import assert_books_equal, compared, traded

Json = dict[str, Any]


def open_markets(system: System) -> dict[str, Json]:
    """The venue's open markets by condition id."""
    return {m["condition_id"]: m for m in system.admin("polymarket", "/orders")["markets"]}


def ordered_assets(system: System) -> set[str]:
    """Tokens in which we have open orders, by the venue's books."""
    return {order["asset_id"] for order in system.account("polymarket")["open_orders"]}


def held_market(system: System) -> Json | None:
    """An open market in which we hold tokens and in which we quote."""
    markets, quoted = open_markets(system), ordered_assets(system)
    for position in system.account("polymarket")["positions"]:
        market = markets.get(position["condition_id"])
        if position["quantity_e9"] and market and {market["yes"], market["no"]} & quoted:
            return market
    return None


def test_a_resolved_market_is_settled_and_the_next_one_is_quoted(system: System) -> None:
    """After the referee ends a market: no quotes there, books equal the venue's, new markets quoted."""
    system.start()
    market = system.wait("a position in a quoted market", lambda: held_market(system), timeout=60)
    system.admin("polymarket", "/market", {"expire": market["slug"]})
    tokens = {market["yes"], market["no"]}

    def settled() -> bool:
        positions = system.account("polymarket")["positions"]
        of_market = [p for p in positions if p["asset_id"] in tokens]
        shown = [p for p in system.json("positions")["positions"] if p.get("asset_id") in tokens]
        kept = shown or system.day_ended()
        assert kept, "the position is shown while it is held and on the day it was settled"
        return not any(p["quantity_e9"] for p in of_market) and not any(p["quantity_e9"] for p in shown)

    system.wait("the market is settled at the venue and by us", settled)
    assert system.account("polymarket")["settlements"]
    assert not tokens & ordered_assets(system)

    before = open_markets(system)
    for other in before.values():
        system.admin("polymarket", "/market", {"expire": other["slug"]})
    system.wait("new markets are listed", lambda: set(open_markets(system)) - set(before))

    def quoted_new() -> bool:
        fresh = [m for c, m in open_markets(system).items() if c not in before]
        return bool({token for m in fresh for token in (m["yes"], m["no"])} & ordered_assets(system))

    system.wait("a new market is quoted", quoted_new, timeout=45)

    def all_settled() -> bool:
        ended = {t for c, m in before.items() if c not in open_markets(system) for t in (m["yes"], m["no"])}
        held = [p for p in system.json("positions")["positions"] if p["quantity_e9"]]
        return not any(p.get("asset_id") in ended for p in held)

    system.wait("what was held in the ended markets is settled", all_settled)
    status = system.status()
    assert status["state"] == "ACTIVE"
    assert status["budget"]["used_micros"] <= status["budget"]["limit_micros"]
    assert not any(refusal["reason"] == "RUNAWAY" for refusal in status["refusals"])
    assert all(process["restarts"] == 0 for process in status["processes"])
    system.control("stop")
    ours = [p for p in system.json("positions")["positions"] if p["venue"] == "polymarket"]
    fields = compared(system)
    assert traded(ours, fields) == traded(system.account("polymarket")["positions"], fields)


def test_a_market_that_was_resolved_while_the_bot_was_down_is_booked_at_its_payout(system: System) -> None:
    """Bot and supervisor die holding tokens, the market is resolved: the next start books the payout."""
    system.start()
    market = system.wait("a position in a quoted market", lambda: held_market(system), timeout=60)
    bot = system.pid("polymarket_bot")
    system.signal("supervisor", signal.SIGKILL)
    os.kill(bot, signal.SIGKILL)
    system.admin("polymarket", "/market", {"expire": market["slug"]})
    system.wait("the venue has paid", lambda: system.account("polymarket")["settlements"])
    system.start()
    system.control("stop")
    assert_books_equal(system)
