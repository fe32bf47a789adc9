"""Bad input of every kind: a clear error, nothing lost, and trading goes on by itself where it can."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, System
from test_crashes import fills, trading
from test_main_job import assert_books_equal


def venue(status: dict[str, Any], name: str) -> dict[str, Any]:
    """One venue's object of a status."""
    return dict(next(v for v in status["venues"] if v["name"] == name))


def quoting(system: System) -> bool:
    """Both venues READY with orders of ours."""
    status = system.status(expect=None)
    return status["state"] == "ACTIVE" and all(
        v["state"] == "READY" and v["open_orders"] for v in status["venues"]
    )


def edited_config(system: System, name: str, **changes: Any) -> Path:
    """A copy of config/ in which one file's keys are changed; an object is merged into its section."""
    folder = system.home / "config"
    shutil.copytree(ROOT / "config", folder)
    content = json.loads((folder / name).read_text())
    for key, value in changes.items():
        if isinstance(value, dict):
            content[key] |= value
        else:
            content[key] = value
    (folder / name).write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("file", "key", "meant"),
    [
        ("binance_sim.json", "symbls", "symbols"),
        ("polymarket_sim.json", "strateg", "strategy"),
        ("budget.json", "limit_us", "limit_usd"),
    ],
)
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(
    system: System, file: str, key: str, meant: str
) -> None:
    """An unknown key: exit 4, the file and the key named, the right one suggested; nothing runs."""
    folder = edited_config(system, file, **{key: 1})
    refused = system.start("--config", str(folder), expect=4)
    assert key in refused.stderr and meant in refused.stderr and file in refused.stderr
    system.control("status", "--json", expect=3)


def test_the_engine_refuses_a_wrong_key_with_the_venues_own_word(system: System) -> None:
    """A wrong API secret: the engine ends with 4 and tells what the venue said."""
    state = system.home / "sim"
    simulator = subprocess.Popen(
        [sys.executable, "-m", "simulators", "binance", "--state", state],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert simulator.stdout is not None
        ready = json.loads(simulator.stdout.readline())
        ready["credentials"]["api_secret"] = "0" * 64
        runtime = system.home / "run"
        runtime.mkdir(mode=0o700, exist_ok=True)
        (runtime / "sim-binance.json").write_text(json.dumps(ready))
        (runtime / "sim-binance.json").chmod(0o600)
        done = subprocess.run(
            [
                ROOT / "bin" / "trader",
                "--mode",
                "paper",
                "--exchange",
                "binance",
                "--config",
                ROOT / "config" / "binance_sim.json",
            ],
            env=system.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 4, done.stderr
        assert "-1022" in done.stderr or "ignature" in done.stderr
    finally:
        simulator.terminate()
        simulator.wait(60)


def test_a_taken_port_is_named(system: System) -> None:
    """A simulator told to use a port that is taken ends with an error that names the port."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "simulators",
                "binance",
                "--port",
                str(port),
                "--state",
                system.home / "s",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode != 0
    assert str(port) in done.stderr and "Traceback" not in done.stderr


def test_a_stale_runtime_folder_does_not_stop_a_start(system: System) -> None:
    """Torn files are replaced. A ledger of noise may have held orders: the first start keeps it aside and
    halts, and after a person's resume the next one is healthy."""
    runtime = system.home / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "ledger").write_bytes(os.urandom(4096))
    (runtime / "ledger").chmod(0o600)
    (runtime / "engine.page").write_bytes(b"torn")
    (runtime / "engine.page").chmod(0o600)
    (runtime / "sim-binance.json").write_text('{"venue": "bin')
    (runtime / "supervisor.json").write_text('{"pid": 1, "chil')
    (runtime / "bridge.sock").write_text("")
    refused = system.start(expect=8)
    assert "damaged" in refused.stderr and list(runtime.glob("ledger.damaged-*"))
    system.control("resume", "--yes")
    system.start()
    trading(system)


@pytest.mark.parametrize(
    "fault",
    [
        {"close_mid_frame": 1},
        {"malformed_frame": 1},
        {"drop_depth": 1},
        {"close_user_mid_frame": 1},
        {"malformed_user_frame": 1},
        {"response_lost": 1},
        {"unknown_503": 1, "unknown_1007": 1},
        {"duplicate_execution": 5},
        {"drop_execution": 1},
    ],
    ids=lambda fault: "+".join(fault),
)
def test_the_engine_survives_what_binance_may_do(system: System, fault: dict[str, int]) -> None:
    """One fault of the venue while trading: it goes on by itself and the books still agree."""
    system.start()
    trading(system)
    pid = system.pid("engine")
    system.admin("binance", "/faults", fault)
    system.wait("quoting again", lambda: quoting(system))
    count = fills(system)
    system.wait("new fills", lambda: fills(system) > count + 3)
    assert system.pid("engine") == pid
    system.admin("binance", "/faults", dict.fromkeys(fault, 0))
    system.wait("quoting at the end", lambda: quoting(system))
    system.control("stop")
    assert_books_equal(system, late_fills=True)


def test_a_clock_that_is_five_seconds_off_stops_orders_until_it_is_right(system: System) -> None:
    """Venue clock 5 s ahead: no new orders, the reason is shown; the clock right again: quoting again."""
    system.start()
    trading(system)
    system.admin("binance", "/faults", {"clock_offset_ms": 5000})
    system.wait(
        "no orders on binance and a word about the clock",
        lambda: (
            not system.account("binance")["open_orders"]
            and "clock" in venue(system.status(), "binance")["text"]
        ),
    )
    system.admin("binance", "/faults", {"clock_offset_ms": 0})
    system.wait("quoting again", lambda: quoting(system))
    system.control("stop")
    assert_books_equal(system, late_fills=True)


def test_a_full_disk_under_the_journal_refuses_new_risk_and_loses_nothing(system: System) -> None:
    """The journal's disk fills: orders are refused with JOURNAL, the books agree, it recovers."""
    folder = system.home / "home" / "paper" / "engine"
    for part in (system.home / "home", system.home / "home" / "paper", folder):
        part.mkdir(mode=0o700, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root, and a container that may mount")
    try:
        small = edited_config(system, "binance_sim.json", session={"journal_segment_kb": 32})
        system.start("--config", str(small))
        trading(system)
        ballast = os.open(folder / "ballast", os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(ballast, b"\0" * 4096):
                pass
        os.close(ballast)
        system.wait(
            "refusals for JOURNAL",
            lambda: any(r["reason"] == "JOURNAL" for r in system.status()["refusals"]),
            timeout=300,
        )
        system.wait("it is an event", lambda: "journal" in system.control("events", "--count", "1000").stdout)
        (folder / "ballast").unlink()
        system.wait("quoting again", lambda: quoting(system))
        system.control("stop")
        assert_books_equal(system, late_fills=True)
    finally:
        system.control("stop", expect=None)
        subprocess.run(["umount", "-l", folder], check=False)
