"""`control` with the real engine, bot and simulators: start, crash, start again, stop, compare."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.paths import Paths
from control import processes
from control.children import trader_path

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(not os.access(trader_path(), os.X_OK), reason="bin/trader: run `make trader`")


class Desk:
    """The command line in folders of its own."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ, "PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run"),
        }  # fmt: skip
        self.paths = Paths.from_environment("paper", self.environment)

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run(
            [sys.executable, "-m", "control", *arguments], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """The picture."""
        picture: dict[str, Any] = json.loads(self.control("status", "--json").stdout)
        return picture

    def events(self) -> list[dict[str, Any]]:
        """The supervisor's journal of events."""
        return [json.loads(line) for line in self.paths.events.read_text().splitlines()]

    def pid(self, name: str) -> int:
        """A process's pid by the status."""
        return next(int(row["pid"]) for row in self.status()["processes"] if row["name"] == name)

    def close(self) -> None:
        """Leave nothing behind."""
        self.control("stop")
        processes.terminate([entry.process for entry in processes.find_ours(self.paths.runtime)], 0.0)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk for one test."""
    made = Desk(tmp_path)
    yield made
    made.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.2)


def test_one_run_from_start_to_equal_books(desk: Desk) -> None:
    """Starts healthy, refuses a second start, survives kill -9 of engine and supervisor, and after the
    stop its books equal the venues' to the micro-dollar, with every fill kept once."""
    day = int(time.time()) // 86_400  # after midnight UTC the sums differ
    started = desk.control("start", "--paper")
    assert started.returncode == 0, started.stderr
    assert "Trading is on" in started.stderr and "control kill" in started.stdout
    assert desk.control("start").returncode == 1
    wait_for(lambda: sum(row["fills"] for row in desk.status()["venues"]) >= 3)

    os.kill(desk.pid("engine"), signal.SIGKILL)
    wait_for(lambda: desk.status()["processes"][3]["restarts"] == 1)
    wait_for(lambda: all(row["state"] == "READY" for row in desk.status()["venues"]))

    os.kill(desk.pid("supervisor"), signal.SIGKILL)
    shown = desk.control("status", "--json")
    assert shown.returncode == 3 and json.loads(shown.stdout)["state"] == "STOPPED"
    assert "No supervisor: engine (" in shown.stderr and "control start --paper` takes over" in shown.stderr
    assert all(row["pid"] for row in json.loads(shown.stdout)["processes"][1:])
    again = desk.control("start", "--paper")
    assert again.returncode == 0, again.stderr
    assert "still running, kept" in again.stderr
    picture = desk.status()
    assert (
        picture["state"] == "ACTIVE" and picture["budget"]["used_micros"] <= picture["budget"]["limit_micros"]
    )

    stopped = desk.control("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert processes.find_ours(desk.paths.runtime) == []
    compared = desk.control("account", "--compare")
    assert compared.returncode == 0 or day != int(time.time()) // 86_400, compared.stdout
    kept = json.loads(desk.control("fills", "--json", "-n", "100000").stdout)["fills"]
    venue_fills = sum(book["fills"] for book in json.loads(desk.control("account").stdout)["venues"].values())
    assert len({(f["venue"], f["execution_id"], f["client_order_id"], f["reversed"]) for f in kept}) == len(
        kept
    )
    assert len(kept) == venue_fills
    assert desk.control("stop").returncode == 3


def test_failing_child_is_explained(desk: Desk, tmp_path: Path) -> None:
    """When the engine refuses its file the start ends with its code and sentence, and nothing runs."""
    wrong = tmp_path / "engine.json"
    wrong.write_text((ROOT / "config/binance_sim.json").read_text().replace('"quoter"', '"qouter"'))
    failed = desk.control("start", "--paper", "--engine-config", str(wrong))
    assert failed.returncode == 4, failed.stderr
    assert "qouter" in failed.stderr and "quoter" in failed.stderr
    assert processes.find_ours(desk.paths.runtime) == []


@pytest.mark.parametrize("words", ["", "echo 'a last word' >&2;"])
def test_a_child_that_dies_by_a_signal_is_told_in_words(desk: Desk, tmp_path: Path, words: str) -> None:
    """The start names the process, the signal and that it is a bug, where the log and the journal are, and
    what to report; it never speaks of a code."""
    program = tmp_path / "trader"
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--mode*) {words} kill -SEGV $$;; esac\nexec {trader_path()} "$@"\n'
    )
    program.chmod(0o755)
    desk.environment["PURSER_TRADER"] = str(program)
    failed = desk.control("start", "--paper")
    assert failed.returncode == 1, failed.stderr
    for told in (
        "engine",
        "SIGSEGV",
        "bug in Purser",
        str(desk.paths.log("engine")),
        str(desk.paths.engine_journal),
    ):
        assert told in failed.stderr, failed.stderr
    assert "report it" in failed.stderr and "-11" not in failed.stderr
    assert ("wrote nothing" if not words else "a last word") in failed.stderr
    ended = [row for row in desk.events() if row["name"] == "child_ended"]
    assert ended and ended[-1]["level"] == "error" and "SIGSEGV" in ended[-1]["text"]


def test_a_start_that_does_not_become_healthy_says_what_was_wrong(desk: Desk, tmp_path: Path) -> None:
    """An unknown symbol: the picture is of before the stop, and the venue's own words are in it."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    engine = folder / "binance_sim.json"
    engine.write_text(engine.read_text().replace('"symbol": "BTCUSDT"', '"symbol": "ETHUSDT"'))
    settings = json.loads((folder / "paper.json").read_text()) | {"start_timeout_s": 15}
    (folder / "paper.json").write_text(json.dumps(settings))
    failed = desk.control("start", "--paper", "--config", str(folder))
    assert failed.returncode == 5, failed.stderr
    assert "symbol ETHUSDT is not listed" in failed.stderr and "supervisor running" in failed.stderr
    assert "engine.log" in failed.stderr
    assert processes.find_ours(desk.paths.runtime) == []


def test_a_halt_during_the_start_ends_the_waiting(desk: Desk) -> None:
    """Our books and the venue's differ from the start: it ends at once with 8, the engine's own words and
    the way out."""
    assert desk.control("start", "--paper").returncode == 0
    engine = desk.pid("engine")

    def stopped_with_a_position() -> bool:
        """Paused while it holds something: so the position stays until the end."""
        os.kill(engine, signal.SIGSTOP)
        if any(row["venue"] == "binance" and row["quantity_e9"] for row in desk.status()["positions"]):
            return True
        os.kill(engine, signal.SIGCONT)
        return False

    wait_for(stopped_with_a_position)
    desk.control("stop")
    shutil.rmtree(desk.paths.sim_state("binance"))
    halted = desk.control("start", "--paper")
    assert halted.returncode == 8, halted.stderr
    assert "our books say" in halted.stderr and "control resume" in halted.stderr
    assert "credentials" not in halted.stderr
    assert "our books say" in desk.control("status").stdout


def test_a_limit_above_the_kept_one_needs_a_confirmation_at_start(desk: Desk, tmp_path: Path) -> None:
    """After a `budget set`, start --limit-usd with more is refused without --yes."""
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    settings = json.loads((folder / "paper.json").read_text()) | {"hung_after_s": 120}
    (folder / "paper.json").write_text(json.dumps(settings))
    assert desk.control("budget", "set", "--limit-usd", "200").returncode == 0
    refused = desk.control("start", "--paper", "--limit-usd", "300")
    assert refused.returncode == 2 and "from $200.00 to $300.00" in refused.stderr
    assert not desk.paths.supervisor_json.exists()
    started = desk.control("start", "--paper", "--limit-usd", "300", "--yes", "--config", str(folder))
    assert started.returncode == 0 and "$300.00 from --limit-usd, for this run" in started.stderr
    children = [desk.pid(name) for name in ("engine", "polymarket_bot")]

    def stopped_with_something_in_use() -> bool:
        """Both paused, so that what is in use stays: once the limit is lowered, they would reduce it."""
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        if desk.status()["budget"]["used_micros"] > 1_000_000:
            return True
        for pid in children:
            os.kill(pid, signal.SIGCONT)
        return False

    wait_for(stopped_with_something_in_use)
    lowered = desk.control("budget", "set", "--limit-usd", "0.5")
    assert "above the limit of $0.50: only reducing orders" in lowered.stderr
    assert "above the limit" in desk.control("doctor").stderr
    for pid in children:
        os.kill(pid, signal.SIGCONT)
    assert desk.control("stop").returncode == 0
    assert desk.status()["budget"]["limit_micros"] == 500_000  # of the next start, not of the last run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_foreground_says_that_it_stopped(desk: Desk, number: signal.Signals) -> None:
    """Ctrl-C on `start --foreground`, or its terminal closed: it stops in order and says so."""
    with subprocess.Popen(
        [sys.executable, "-m", "control", "start", "--paper", "--foreground"], cwd=ROOT,
        env=desk.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        wait_for(lambda: desk.status()["healthy"])
        child.send_signal(number)
        _, said = child.communicate(timeout=240)
    assert child.returncode == 0 and said.rstrip().endswith("Stopped"), said


def test_limit_is_lowered_at_once_and_raised_only_by_confirmation(desk: Desk) -> None:
    """`budget set` reaches the ledger of the running system; raising without --yes is refused."""
    assert desk.control("start", "--paper", "--limit-usd", "300").returncode == 0
    assert desk.status()["budget"]["limit_micros"] == 300_000_000
    assert desk.control("budget", "set", "--limit-usd", "250").returncode == 0
    assert desk.status()["budget"]["limit_micros"] == 250_000_000
    assert desk.control("budget", "set", "--limit-usd", "400").returncode == 2
    assert desk.control("budget", "set", "--limit-usd", "400", "--yes").returncode == 0
    assert desk.status()["budget"]["limit_micros"] == 400_000_000


def test_a_command_that_nobody_waits_for_any_more_is_not_carried_out(desk: Desk) -> None:
    """A limit sent to a paused supervisor fails with 5, and does not come true when it goes on."""
    try:
        assert desk.control("start", "--paper").returncode == 0
        supervisor = desk.pid("supervisor")
        os.kill(supervisor, signal.SIGSTOP)
        refused = desk.control("budget", "set", "--limit-usd", "900")
        assert refused.returncode == 5, refused.stderr
        assert any("has not moved" in text for text in desk.status()["problems"])
        os.kill(supervisor, signal.SIGCONT)
        assert desk.control("budget", "set", "--limit-usd", "950").returncode == 0
        events = desk.control("events", "--json").stdout.splitlines()
        changes = [row for row in map(json.loads, events) if row["name"] == "limit_changed"]
        assert [row["limit_usd"] for row in changes] == ["950"]
    finally:
        desk.close()


def test_a_kill_in_the_middle_of_a_start_or_a_stop_is_a_kill(desk: Desk) -> None:
    """It confirms, the other command ends and says why, no participant is left, and nothing is open at
    the venues."""
    argv = [sys.executable, "-m", "control"]
    with subprocess.Popen([*argv, "start"], cwd=ROOT, env=desk.environment, stderr=subprocess.PIPE) as start:
        wait_for(desk.paths.sim_ready("binance").exists)
        killed = desk.control("kill")
        said = start.communicate(timeout=240)[1].decode()
    assert killed.returncode == 0, killed.stdout
    assert start.returncode == 8 and "cut short" in said, said
    assert {entry.name for entry in processes.find_ours(desk.paths.runtime)} <= {
        "sim-binance",
        "sim-polymarket",
    }
    desk.control("stop")
    assert desk.control("resume", "--yes").returncode == 0

    assert desk.control("start").returncode == 0
    wait_for(lambda: sum(row["open_orders"] for row in desk.status()["venues"]) > 1)
    with subprocess.Popen([*argv, "stop"], cwd=ROOT, env=desk.environment, stderr=subprocess.PIPE) as stop:
        wait_for(lambda: "stop_requested" in desk.paths.events.read_text())
        killed = desk.control("kill")
        said = stop.communicate(timeout=240)[1].decode()
    assert killed.returncode == 0, killed.stdout + said
    assert desk.status()["state"] == "HALTED"
    accounts = json.loads(desk.control("account").stdout)["venues"]
    assert {name: book["open_orders"] for name, book in accounts.items()} == {"binance": 0, "polymarket": 0}
    desk.control("stop")
    assert processes.find_ours(desk.paths.runtime) == []
    again = desk.control("kill")
    assert again.returncode == 0 and again.stdout.count("nothing to cancel: seen empty at") == 2, again.stdout


def test_an_interrupted_start_stops_what_it_started(desk: Desk) -> None:
    """Ctrl-C while it waits: nothing goes on to trade behind the back of whoever pressed it."""
    argv = [sys.executable, "-m", "control", "start"]
    with subprocess.Popen(argv, cwd=ROOT, env=desk.environment, stderr=subprocess.PIPE) as start:
        wait_for(desk.paths.sim_ready("binance").exists)
        start.send_signal(signal.SIGINT)
        said = start.communicate(timeout=40)[1].decode()
    assert start.returncode == 1 and "stopped again\nNothing runs." in said, said
    assert processes.find_ours(desk.paths.runtime) == []
    assert desk.status()["state"] == "STOPPED"
