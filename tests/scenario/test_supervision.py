"""What the supervisor and the engine do about a revoked key, a hanging process and one that never joins."""

from __future__ import annotations

import json
import os
import signal
import time

from conftest import ROOT, Json, System
from test_bad_input import edited_config
from test_crashes import trading
from test_main_job import assert_books_equal


def event_names(system: System) -> list[str]:
    """The names of the last events, oldest first."""
    return [row["name"] for row in system.json_lines("events", "--count", "1000")]


def venue_refused_the_key(status: Json) -> bool:
    """The status page, which follows the ledger within its interval, says why the venue is down."""
    binance = next(v for v in status["venues"] if v["name"] == "binance")
    return binance["state"] == "DOWN" and "refused the API key" in binance["text"]


def test_a_key_that_is_revoked_while_trading_halts_everything(system: System) -> None:
    """The venue comes back with another secret: auth is refused, never retried, all is halted and
    latched, and a kill still confirms by the key that is valid now."""
    system.start()
    trading(system)
    file = system.home / "home" / "paper" / "sim" / "binance" / "keys.json"
    keys = json.loads(file.read_text())
    keys["api_secret"] = "0" * 64
    file.write_text(json.dumps(keys))
    system.signal("sim-binance", signal.SIGKILL)
    halt = system.wait_status("halted", lambda s: s["state"] == "HALTED" and s["halt"])
    assert "reason venue" in halt
    system.wait_status("the venue is down for its key", venue_refused_the_key)
    system.wait("the refusal is an event", lambda: event_names(system).count("auth_refused"))
    system.kill()
    assert event_names(system).count("auth_refused") == 1
    assert system.account("binance")["open_orders"] == []
    system.start(expect=8)


def test_a_hanging_process_is_replaced_and_trading_goes_on(system: System) -> None:
    """SIGSTOP of the engine: noticed by its heartbeat, killed, its orders cancelled, started anew."""
    folder = edited_config(system, "paper.json", hung_after_s=3)
    system.start("--config", str(folder))
    trading(system)
    stopped = system.signal("engine", signal.SIGSTOP)
    system.wait(
        "another engine quotes",
        lambda: system.pid("engine") != stopped and system.status()["state"] == "ACTIVE"
        and system.account("binance")["open_orders"],
    )  # fmt: skip
    names = event_names(system)
    assert "hung_child_killed" in names and "participant_reclaimed" in names
    system.control("stop")
    assert_books_equal(system, late_fills=True)


def test_a_restarted_process_that_never_joins_is_replaced(system: System) -> None:
    """An engine that hangs before it opens the ledger has no heartbeat to miss: it is ended all the same."""
    marker, program = system.home / "hang", system.home / "trader"
    program.write_text(
        f'#!/bin/sh\nif [ -e {marker} ]; then rm {marker}; exec sleep 600; fi\nexec {ROOT}/bin/trader "$@"\n'
    )
    program.chmod(0o755)
    folder = edited_config(system, "paper.json", hung_after_s=3)
    system.environment["PURSER_TRADER"] = str(program)
    system.start("--config", str(folder))
    trading(system)
    marker.touch()
    os.kill(system.pid("engine"), signal.SIGKILL)
    system.wait("the marker is taken", lambda: not marker.exists())
    system.wait(
        "orders after the second restart",
        lambda: system.status()["state"] == "ACTIVE" and system.account("binance")["open_orders"],
    )
    system.control("stop")


def test_an_address_ban_holds_every_order_back_until_it_ends(system: System) -> None:
    """418 at the order connection: no order is tried again every second while the ban lasts."""
    system.start()
    trading(system)
    banned = time.monotonic()
    system.admin("binance", "/faults", {"ban_seconds": 8, "ban_418": 1})
    system.wait(
        "the ban is known",
        lambda: "rate_limited" in event_names(system),
    )
    system.wait(
        "trading after the ban",
        lambda: (
            time.monotonic() - banned > 13  # orders of before the ban may rest through it
            and system.status()["state"] == "ACTIVE"
            and system.account("binance")["open_orders"]
        ),
    )
    requests = system.admin("binance", "/log")["requests"]
    refused = [r["method"] for r in requests if r["status"] == 418 and r["method"] != "order.cancel"]
    assert len(refused) <= 4, refused
    system.control("stop")
    assert_books_equal(system, late_fills=True)
