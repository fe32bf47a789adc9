"""After a flatten the account is flat, and nothing that starts again trades what was held before."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Iterator

import asyncpg  # type: ignore[import-untyped]
import pytest
from conftest import System
from postgresql import running_cluster
from test_bad_input import edited_config
from test_main_job import assert_books_equal, hedges

LOOK_S = 6  # a hedger with something to do trades within its interval of 250 ms
LEAST_E9 = 5 * 10**9  # shares that an order must have at least
UNVERIFIED = 7  # exit status; what a busy machine may make of a kill, which may be repeated


def btc(system: System) -> int:
    """The reference's position at the venue, by its own books."""
    return sum(int(p["quantity_e9"]) for p in system.account("binance")["positions"])


def fills_of_btc(system: System) -> int:
    """How often the reference was traded, by the venue's own books."""
    return len(system.account("binance")["fills"])


def test_the_hedger_does_not_trade_the_mirror_of_a_flattened_hedge(system: System) -> None:
    """Hedged, killed with --flatten, resumed: with nothing to hedge and nothing to quote, the position at
    the venue stays zero."""
    system.start()
    system.wait("a hedge, held", lambda: hedges(system) and btc(system), timeout=240)
    flatten(system)
    assert btc(system) == 0
    system.control("resume", "--yes")
    traded = fills_of_btc(system)
    folder = edited_config(system, "binance_sim.json", quoter={"enabled": False})
    bot = folder / "polymarket_sim.json"
    settings = json.loads(bot.read_text())
    settings["hedge"]["threshold"] = "1"  # the target stays at zero
    bot.write_text(json.dumps(settings))
    system.start("--config", str(folder))
    system.wait_status("it trades", lambda s: s["state"] == "ACTIVE" and s["venues"][1]["open_orders"])
    until = time.monotonic() + LOOK_S
    while time.monotonic() < until:
        assert btc(system) == 0 and fills_of_btc(system) == traded
        time.sleep(0.2)
    system.control("stop")
    assert_books_equal(system)


@pytest.fixture(params=["sqlite", "postgresql"])
def stored(request: pytest.FixtureRequest, system: System) -> Iterator[System]:
    """A system on either database."""
    if request.param == "sqlite":
        system.environment.pop("DATABASE_URL", None)
        yield system
        return
    with running_cluster() as cluster:

        async def create() -> None:
            connection = await asyncpg.connect(host=cluster.socket, user="purser", database="postgres")
            await connection.execute("create database flatten")
            await connection.close()

        asyncio.run(create())
        system.environment["DATABASE_URL"] = cluster.url("flatten")
        yield system
        system.control("stop", expect=None)


def shares(system: System) -> list[int]:
    """What is held of each outcome token, by the venue's own books."""
    held = [int(p["quantity_e9"]) for p in system.account("polymarket")["positions"]]
    return [quantity for quantity in held if quantity]


def fills_at_venues(system: System) -> int:
    """All executions there have ever been, by the venues' own books."""
    return sum(len(system.account(venue)["fills"]) for venue in ("binance", "polymarket"))


def hold_something_everywhere(system: System) -> None:
    """Start and trade until there is a hedge, and more outcome tokens than dust."""
    system.start()
    system.admin("polymarket", "/market", {"takers_per_s": 20})
    system.wait(
        "positions at both venues",
        lambda: btc(system) and max(shares(system), default=0) >= 2 * LEAST_E9,
        timeout=240,
    )
    system.admin("polymarket", "/market", {"pause": True})  # nobody buys the tokens back meanwhile


def stop_with_positions(system: System) -> str:
    """Stopped with the venues left up and something held at both; what the stop said. The engine trades until
    the last moment, and may have ended flat: then once more."""
    for _ in range(4):
        hold_something_everywhere(system)
        stopped = system.control("stop", "--keep-venues")
        if btc(system) and max(shares(system), default=0) >= LEAST_E9:
            return stopped.stderr
        system.admin("polymarket", "/market", {"pause": False})
    raise AssertionError("each time flat at one of the venues")


def flatten(system: System) -> str:
    """`kill --flatten`, which must confirm; what it said."""
    for _ in range(5):
        killed = system.control("kill", "--flatten", "--reason", "test", expect=None)
        if killed.returncode != UNVERIFIED:
            break
    assert killed.returncode == 0, killed.stdout + killed.stderr + system.log_tails()
    return killed.stdout


def assert_only_named_dust(system: System, said: str) -> None:
    """The referees hold nothing that could be closed, and the command named every rest that they hold."""
    assert btc(system) == 0
    left = shares(system)
    assert all(0 < quantity < LEAST_E9 for quantity in left), left
    named = [
        round(float(text) * 1e9) for text in re.findall(r"([0-9.]+) \S+ \(below the minimum of 5\)", said)
    ]
    assert sorted(named) == sorted(left), said


def assert_views_tell_the_truth(system: System, late_fills: bool = False) -> None:
    """Positions, pnl and the comparison equal the referees, to the unit; see assert_books_equal."""
    assert_books_equal(system, late_fills)
    if not system.day_ended():
        assert system.json("account", "--compare")["equal"] is True


def test_everything_is_closed_after_a_stop_that_kept_the_venues(stored: System) -> None:
    """Traded and stopped with the venues left up, a flatten leaves nothing but named dust at both, on either
    database; our books follow at once; a second one sells nothing more; and after the next run, which finds
    the same sales at the venues, each is still counted once."""
    system = stored
    assert "control kill --flatten" in stop_with_positions(system)
    running = {row["name"] for row in system.status(expect=3)["processes"] if row["pid"]}
    assert running == {"sim-binance", "sim-polymarket"}
    assert "simulated venues" in system.control("stop", "--keep-venues", expect=3).stderr
    said = flatten(system)
    assert_only_named_dust(system, said)
    assert_views_tell_the_truth(system)
    sold = fills_at_venues(system)
    assert_only_named_dust(system, flatten(system))
    assert fills_at_venues(system) == sold
    system.control("resume", "--yes")
    started = system.start()
    assert started.stderr.count("still running, kept") == 2
    system.control("stop")
    assert_views_tell_the_truth(system)
    unasked = system.control("kill", "--flatten", expect=UNVERIFIED).stdout
    assert unasked.count("UNVERIFIED, its address is not known") == 2


def test_a_view_between_two_kills_changes_nothing(system: System) -> None:
    """With everything stopped a kill says that the venues were seen empty; every view later it says so
    still, and no view has left a file behind."""
    system.start()
    system.control("stop")
    before = system.control("kill").stdout
    assert before.count("nothing to cancel: seen empty") == 2
    files = kept_files(system)
    for view in ("pnl", "positions", "account", "fills", "orders", "events", "logs"):
        system.control(view)
    system.control("account", "--compare", expect=None)
    system.control("status", expect=3)
    assert kept_files(system) == files
    again = system.control("kill").stdout
    lines = [line for line in before.splitlines() if "seen empty" in line]
    assert [line for line in again.splitlines() if "seen empty" in line] == lines


def kept_files(system: System) -> dict[str, int]:
    """Everything in both folders, with its size."""
    found = (path for path in system.home.rglob("*") if path.is_file())
    return {str(path): path.stat().st_size for path in found}


def end_everything(system: System) -> list[int]:
    """SIGKILL for supervisor, bot and engine, the supervisor first; the venues stay."""
    pids = [system.pid(name) for name in ("supervisor", "polymarket_bot", "engine")]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return pids


def test_the_venues_are_asked_when_our_own_files_are_lost(system: System) -> None:
    """Everything of ours killed, and its database, its table of markets, its journal, its pages and the
    ledger gone: what is held is learnt from the venues, and closed. Which orders were on their way nobody
    can tell any more: 6, in words."""
    hold_something_everywhere(system)
    end_everything(system)
    kept, memory = system.home / "home" / "paper", system.home / "run"
    for path in (*kept.glob("*.db*"), kept / "markets.json", *memory.glob("*.page"), memory / "ledger"):
        path.unlink()
    shutil.rmtree(kept / "engine")
    said = system.control("kill", "--flatten", "--reason", "test", expect=6).stdout
    assert "COULD NOT BE COUNTED (no ledger)" in said
    assert btc(system) == 0 and all(0 < quantity < LEAST_E9 for quantity in shares(system))
    assert said.count("flat") >= 2 and "NOT FLAT" not in said


def test_fills_that_nobody_was_left_to_see_are_in_our_books_after_a_flatten(system: System) -> None:
    """Orders of killed processes go on filling at the venue. A flatten finds those fills too: afterwards our
    books equal the venues' without a start, and a start counts none of them twice."""
    hold_something_everywhere(system)
    seen = fills_at_venues(system)
    end_everything(system)
    mine = next(row for row in system.account("polymarket")["open_orders"] if row["side"] == "BUY")
    price, size = mine["price_e9"] / 1e9, mine["left_e9"] / 1e9
    order = {"asset_id": mine["asset_id"], "side": "SELL", "price": price, "size": size}
    system.admin("polymarket", "/orders", order)
    assert fills_at_venues(system) > seen
    assert_only_named_dust(system, flatten(system))
    assert_views_tell_the_truth(system, late_fills=True)
    system.control("resume", "--yes")
    system.start()
    system.control("stop")
    assert_views_tell_the_truth(system, late_fills=True)


def test_what_the_venue_refuses_or_takes_back_is_sold_later(system: System) -> None:
    """Where sales are refused, what is left is named with the venue's reason (6), the other venue is closed
    all the same, and our books follow. The next flatten waits for the chain, and sells again what the venue
    took back because its settlement failed."""
    stop_with_positions(system)
    system.admin("polymarket", "/faults", {"cancel_only": 1})
    refused = system.control("kill", "--flatten", expect=None)
    assert refused.returncode == 6, refused.stdout
    assert "NOT FLAT" in refused.stdout and "cancel-only" in refused.stdout
    assert btc(system) == 0 and max(shares(system)) >= LEAST_E9
    assert_views_tell_the_truth(system)
    system.admin("polymarket", "/faults", {"cancel_only": 0, "fail_trade": 1})
    assert_only_named_dust(system, flatten(system))
    assert "FAILED" in [row["status"] for row in system.account("polymarket")["fills"]]
    assert_views_tell_the_truth(system)
