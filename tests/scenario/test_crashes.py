"""kill -9 and SIGSTOP of every process while it trades: charges stay, trading resumes, books agree."""

from __future__ import annotations

import signal
import time

import pytest
from conftest import System
from test_main_job import assert_books_equal


def trading(system: System) -> None:
    """Waits until both venues have our orders and at least one fill."""
    system.wait_status(
        "orders and fills on both venues",
        lambda s: s["state"] == "ACTIVE" and all(v["open_orders"] and v["fills"] for v in s["venues"]),
        timeout=60,
    )


def fills(system: System) -> int:
    """How many fills the status shows in all."""
    return sum(v["fills"] for v in system.status()["venues"])


@pytest.mark.parametrize("name", ["engine", "polymarket_bot", "sim-binance", "sim-polymarket"])
def test_a_killed_process_comes_back_by_itself_and_the_books_agree(system: System, name: str) -> None:
    """kill -9 of one process: never above the limit meanwhile, trading resumes, books equal the venues'."""
    system.start()
    trading(system)
    pid = system.signal(name, signal.SIGKILL)
    if name in ("engine", "polymarket_bot"):
        dead = next(p for p in system.status()["budget"]["participants"] if p["name"] == name)
        assert dead["used_micros"] > 0, "what the dead process has at the venue stays charged"

    def back() -> bool:
        status = system.status()
        assert status["budget"]["used_micros"] <= status["budget"]["limit_micros"]
        process = next(p for p in status["processes"] if p["name"] == name)
        return (
            process["pid"] not in (0, None, pid)
            and status["state"] == "ACTIVE"
            and all(v["state"] == "READY" and v["open_orders"] for v in status["venues"])
        )

    system.wait(f"{name} back and quoting on both venues", back, timeout=60)
    count = fills(system)
    system.wait("new fills after the restart", lambda: fills(system) > count, timeout=60)
    system.control("stop")
    assert_books_equal(system)


def test_a_killed_supervisor_is_taken_over_by_the_next_start(system: System) -> None:
    """kill -9 of the supervisor: no risk is added after the lease; `control start` takes over."""
    system.start()
    trading(system)
    system.signal("supervisor", signal.SIGKILL)
    system.wait(
        "quotes pulled after the lease", lambda: not system.account("binance")["open_orders"], timeout=30
    )
    system.start()
    trading(system)
    system.control("stop")
    assert_books_equal(system)


@pytest.mark.parametrize("name", ["supervisor", "engine", "polymarket_bot"])
def test_kill_works_while_a_process_is_stopped(system: System, name: str) -> None:
    """`control kill` with one process under SIGSTOP: exit 0, nothing open at either venue."""
    system.start()
    trading(system)
    system.signal(name, signal.SIGSTOP)
    began = time.monotonic()
    system.control("kill", "--reason", "test")
    assert time.monotonic() - began < 4
    assert system.account("binance")["open_orders"] == []
    assert system.account("polymarket")["open_orders"] == []
