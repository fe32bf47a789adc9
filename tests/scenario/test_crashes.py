"""kill -9 and SIGSTOP of every process while it trades: charges stay, trading resumes, books agree."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
from conftest import System
from test_main_job import assert_books_equal

from bridge.ledger import Ledger

LINES = {"engine": (1, "binance"), "polymarket_bot": (2, "polymarket")}  # line in the ledger, venue


def trading(system: System) -> None:
    """Waits until both venues have our orders and at least one fill."""
    system.wait_status(
        "orders and fills on both venues",
        lambda s: s["state"] == "ACTIVE" and all(v["open_orders"] and v["fills"] for v in s["venues"]),
    )


def fills(system: System) -> int:
    """How many fills the status shows in all."""
    return sum(v["fills"] for v in system.status()["venues"])


def killed_with_orders(system: System, name: str) -> int:
    """kill -9 while the venue has orders of this process; what it has there stays charged. Its pid.

    The process is paused first, because between two quotes there may be no order, and so is the
    supervisor, because it soon cancels what a dead process left, and starts another one."""
    line, venue = LINES[name]
    pid = system.pid(name)
    supervisor = system.pid("supervisor")

    def paused_with_orders() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if system.account(venue)["open_orders"]:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    system.wait("paused with orders at the venue", paused_with_orders)
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    with contextlib.closing(Ledger.open(system.home / "run" / "ledger")) as ledger:
        assert ledger.snapshot().participants[line].used_micros.loss > 0
    os.kill(supervisor, signal.SIGCONT)
    return pid


@pytest.mark.parametrize("name", ["engine", "polymarket_bot", "sim-binance", "sim-polymarket"])
def test_a_killed_process_comes_back_by_itself_and_the_books_agree(system: System, name: str) -> None:
    """kill -9 of one process: never above the limit meanwhile, trading resumes, books equal the venues'."""
    system.start()
    trading(system)
    pid = killed_with_orders(system, name) if name in LINES else system.signal(name, signal.SIGKILL)

    def back() -> bool:
        status = system.status(expect=None)
        assert status["budget"]["used_micros"] <= status["budget"]["limit_micros"]
        process = next(p for p in status["processes"] if p["name"] == name)
        return (
            process["pid"] not in (0, None, pid)
            and status["state"] == "ACTIVE"
            and all(v["state"] == "READY" and v["open_orders"] for v in status["venues"])
        )

    system.wait(f"{name} back and quoting on both venues", back)
    count = fills(system)
    system.wait("new fills after the restart", lambda: fills(system) > count)
    system.control("stop")
    assert_books_equal(system, late_fills=True)


def test_a_killed_supervisor_is_taken_over_by_the_next_start(system: System) -> None:
    """kill -9 of the supervisor: no risk is added after the lease; `control start` takes over."""
    system.start()
    trading(system)
    system.signal("supervisor", signal.SIGKILL)
    system.wait("quotes pulled after the lease", lambda: not system.account("binance")["open_orders"])
    system.start()
    trading(system)
    system.control("stop")
    assert_books_equal(system, late_fills=True)


@pytest.mark.parametrize("name", ["supervisor", "engine", "polymarket_bot"])
def test_kill_works_while_a_process_is_stopped(system: System, name: str) -> None:
    """`control kill` with one process under SIGSTOP: exit 0, nothing open at either venue."""
    system.start()
    trading(system)
    system.signal(name, signal.SIGSTOP)
    system.kill("--reason", "test")
    assert system.account("binance")["open_orders"] == []
    assert system.account("polymarket")["open_orders"] == []
