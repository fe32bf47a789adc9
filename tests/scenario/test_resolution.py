"""A market ends while something is held in it: quotes go, it is settled, the next one is quoted."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.error
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
    """An open market in which we hold tokens, also by our own books."""
    markets = open_markets(system)
    ours = {p.get("asset_id") for p in system.json("positions", expect=None)["positions"] if p["quantity_e9"]}
    for position in system.account("polymarket")["positions"]:
        market = markets.get(position["condition_id"])
        if position["quantity_e9"] and position["asset_id"] in ours and market:
            return market
    return None


def end_a_held_market(system: System) -> set[str]:
    """Ends a market in which we hold tokens and waits until the venue has paid; gives its tokens. What is
    held may be sold, or the market end by itself, at that very moment: then it is another market's turn."""
    while True:
        market = system.wait("a position in an open market", lambda: held_market(system))
        with contextlib.suppress(urllib.error.HTTPError):
            system.admin("polymarket", "/market", {"expire": market["slug"]})
        tokens = {market["yes"], market["no"]}

        def paid(tokens: set[str] = tokens) -> bool:
            positions = system.account("polymarket")["positions"]
            return not any(p["quantity_e9"] for p in positions if p["asset_id"] in tokens)

        system.wait("nothing is held in it any more", paid)
        if any(row["asset_id"] in tokens for row in system.account("polymarket")["settlements"]):
            return tokens


def test_a_resolved_market_is_settled_and_the_next_one_is_quoted(system: System) -> None:
    """After the referee ends a market: no quotes there, books equal the venue's, new markets quoted."""
    system.start()
    tokens = end_a_held_market(system)

    def settled() -> bool:
        """The position is shown on the day it was settled, with nothing held."""
        shown = [p for p in system.json("positions")["positions"] if p.get("asset_id") in tokens]
        return bool(shown or system.day_ended()) and not any(p["quantity_e9"] for p in shown)

    system.wait("the market is settled by us", settled)
    assert not tokens & ordered_assets(system)

    before = open_markets(system)
    for other in before.values():
        with contextlib.suppress(urllib.error.HTTPError):  # one may end by itself meanwhile
            system.admin("polymarket", "/market", {"expire": other["slug"]})
    system.wait("new markets are listed", lambda: set(open_markets(system)) - set(before))

    def quoted_new() -> bool:
        fresh = [m for c, m in open_markets(system).items() if c not in before]
        return bool({token for m in fresh for token in (m["yes"], m["no"])} & ordered_assets(system))

    system.wait("a new market is quoted", quoted_new)

    def all_settled() -> bool:
        ended = {t for c, m in before.items() if c not in open_markets(system) for t in (m["yes"], m["no"])}
        held = [p for p in system.json("positions")["positions"] if p["quantity_e9"]]
        return not any(p.get("asset_id") in ended for p in held)

    system.wait("what was held in the ended markets is settled", all_settled)
    status = system.wait_status("active", lambda s: s if s["state"] == "ACTIVE" else None)
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
    system.wait("a position in an open market", lambda: held_market(system))
    bot = system.pid("polymarket_bot")
    system.signal("supervisor", signal.SIGKILL)
    os.kill(bot, signal.SIGKILL)
    end_a_held_market(system)
    system.start()
    system.control("stop")
    assert_books_equal(system, late_fills=True)
