"""`control stop` says what it could not see."""

from __future__ import annotations

import signal
import time

from conftest import System
from test_crashes import trading

from control import processes
from control.errors import Exit

HELD_MS = 15_000


def test_stop_is_not_silent_about_a_venue_that_does_not_answer(system: System) -> None:
    """With a venue's answers gone, stop ends everything, but with 1 and that venue's name."""
    system.start()
    trading(system)
    pid = system.signal("sim-binance", signal.SIGSTOP)
    stopped = system.control("stop", expect=1)
    assert "binance" in stopped.stderr and "may still be open" in stopped.stderr
    assert not processes.identify(pid)


def test_a_stop_that_left_an_order_on_its_way_is_no_proof_for_a_kill(system: System) -> None:
    """An order of the bot is held in the network for longer than the bot waits at its end, and the venues go
    on: the kill that follows waits for the order, finds it and cancels it, before it says so."""
    system.start()
    trading(system)
    system.admin("polymarket", "/faults", {"late_order": 1, "late_ms": HELD_MS})
    system.wait("an order is held", lambda: not system.admin("polymarket", "/faults")["late_order"], 60)
    held_ms = time.time() * 1000
    system.control("stop", "--keep-venues", expect=None)
    killed = system.control("kill", expect=None)
    ended_ms = time.time() * 1000
    assert killed.returncode in (Exit.OK, Exit.KILL_PARTLY), killed.stdout
    system.wait("the order has come", lambda: time.time() * 1000 > held_ms + HELD_MS + 1000, 60)
    account = system.account("polymarket")
    late = [row for row in account["accepted"] + account["fills"] if row["time_ms"] > ended_ms]
    assert not account["open_orders"] and not late, (killed.stdout, late)
    assert killed.returncode == Exit.OK or "OF UNKNOWN FATE" in killed.stdout
    assert ended_ms > held_ms + HELD_MS, "the kill did not wait for it"
