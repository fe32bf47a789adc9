"""The integration harness: the real system (simulators, engine, bot, supervisor) in folders of its own.

`system` is started by the test through the same command a person types, asked through `control … --json`
and through the simulators' referee ports, and taken down at the end whatever happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTROL = ROOT / ".venv" / "bin" / "control"
DATA = Path(os.environ.get("PURSER_DATA", ROOT.parent / "shared" / "data"))
CAPTURE = DATA / "binance" / "btcusdt_20240808.gz"

KILL_UNVERIFIED = 7  # exit status

Json = dict[str, Any]


def utc_day() -> int:
    """The number of the present day since 1970."""
    return int(time.time()) // 86_400


class System:
    """One running Purser and the two venues it trades on."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.began_day = utc_day()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PURSER_")},
            "PURSER_HOME": str(home / "home"),
            "PURSER_RUNTIME": str(home / "run"),
            "NO_COLOR": "1",
        }

    def day_ended(self) -> bool:
        """Midnight UTC has passed since the test began: the day's P&L began again."""
        return utc_day() != self.began_day

    # --- commands -----------------------------------------------------------------------------

    def control(
        self, *arguments: str, expect: int | None = 0, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Runs one control command; its exit status must be `expect` (None: any)."""
        done = subprocess.run(
            [CONTROL, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if expect is not None:
            assert done.returncode == expect, (
                f"control {' '.join(arguments)} ended with {done.returncode}, not {expect}\n"
                f"{done.stdout}\n{done.stderr}\n{self.log_tails()}"
            )
        return done

    def start(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """`control start --paper …`."""
        return self.control("start", "--paper", *arguments, expect=expect)

    def kill(self, *arguments: str) -> None:
        """`control kill`, again while a busy machine leaves a venue unverified: it may be repeated."""
        for _ in range(5):
            killed = self.control("kill", *arguments, expect=None)
            if killed.returncode != KILL_UNVERIFIED:
                break
        assert killed.returncode == 0, f"{killed.stdout}\n{killed.stderr}\n{self.log_tails()}"

    def json(self, *arguments: str, expect: int | None = 0) -> Any:
        """The object that a command prints with --json."""
        return json.loads(self.control(*arguments, "--json", expect=expect).stdout)

    def json_lines(self, *arguments: str) -> list[Json]:
        """The objects that a command prints with --json, one a line."""
        return [json.loads(line) for line in self.control(*arguments, "--json").stdout.splitlines()]

    def status(self, expect: int | None = 0) -> Json:
        """`control status --json`."""
        result: Json = self.json("status", expect=expect)
        return result

    def wait(self, what: str, condition: Callable[[], Any], timeout: float = 120) -> Any:
        """Polls until the condition holds and returns its value; fails with `what` otherwise."""
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(KeyError, IndexError, json.JSONDecodeError, OSError):
                value = condition()
                if value:
                    return value
            if time.monotonic() > deadline:
                status = self.control("status", "--json", expect=None).stdout
                pytest.fail(f"not within {timeout:.0f} s: {what}\n{status}\n{self.log_tails()}")
            time.sleep(0.1)

    def wait_status(self, what: str, condition: Callable[[Json], Any], timeout: float = 120) -> Any:
        """Polls `control status --json` until the condition holds on it."""
        return self.wait(what, lambda: condition(self.status(expect=None)), timeout)

    def log_tails(self, lines: int = 12) -> str:
        """The last lines of each process's log, for a failure's message."""
        parts = []
        for log in sorted((self.home / "home").rglob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {log.name}\n" + "\n".join(tail))
        return "\n".join(parts)

    # --- processes ----------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """The process id of `engine`, `polymarket_bot`, `supervisor`, `sim-binance` or `sim-polymarket`."""
        for process in self.status(expect=None)["processes"]:
            if process["name"] == name and process["pid"]:
                return int(process["pid"])
        raise KeyError(name)

    def signal(self, name: str, number: signal.Signals) -> int:
        """Sends a signal to one of our processes; returns its pid."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    # --- the venues' own view -------------------------------------------------------------------

    def ready_line(self, venue: str) -> Json:
        """What the venue's simulator printed when it was ready."""
        line: Json = json.loads((self.home / "run" / f"sim-{venue}.json").read_text())
        return line

    def admin(self, venue: str, path: str, body: Json | None = None) -> Any:
        """Asks (or, with a body, tells) the venue's referee port."""
        request = urllib.request.Request(
            self.ready_line(venue)["admin"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def account(self, venue: str) -> Json:
        """Our key's account at the venue, by the venue's own books: running, or as left at its end."""
        try:
            whole = self.admin(venue, "/account")
        except OSError:
            state = self.home / "home" / "paper" / "sim" / venue / "account.json"
            whole = json.loads(state.read_text())
        return our_account(whole)

    def close(self) -> None:
        """Takes everything down: by command, then by the pids we know."""
        pids = set()
        with contextlib.suppress(Exception):
            pids = {int(p["pid"]) for p in self.status(expect=None)["processes"] if p["pid"]}
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.control("stop", expect=None, timeout=90)
        for pid in pids:
            with contextlib.suppress(OSError):  # gone, or a zombie that may not be looked at
                if str(self.home) in Path(f"/proc/{pid}/environ").read_text(errors="replace"):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)


def our_account(account: Json) -> Json:
    """The one key's account of a referee's answer that lists accounts per key."""
    accounts = account.get("accounts", account)
    if isinstance(accounts, dict) and "open_orders" not in accounts:
        named = [value for value in accounts.values() if isinstance(value, dict) and "open_orders" in value]
        assert len(named) == 1, f"expected one account, found {list(accounts)}"
        return named[0]
    if isinstance(accounts, list):
        assert len(accounts) == 1
        return dict(accounts[0])
    return dict(accounts)


@pytest.fixture
def system() -> Iterator[System]:
    """A Purser in folders of its own, taken down at the end."""
    home = Path(
        tempfile.mkdtemp(prefix="purser-test-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    )
    instance = System(home)
    try:
        yield instance
    finally:
        instance.close()
