"""Two Pursers on one account: the whole system, and beside it an engine or a bot with a home of its own that
uses the first one's venues. Both stop, and both say why."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from bridge.instance import Fate, read_instance
from bridge.ledger import Ledger
from bridge.messages import HaltReason, LedgerState
from tests.scenario.conftest import ROOT, System

ENGINE = (ROOT / "bin" / "trader", "--mode", "paper", "--exchange", "binance")
BOT = (sys.executable, "-m", "polymarket_bot", "--standalone")
BOTH_STOP_S = 5.0  # after the second one's first word to the venue


class Second:
    """Another home and runtime folder, whose ready lines are those of the first system's venues."""

    def __init__(self, first: System, name: str, home: Path | None = None) -> None:
        self.home, self.runtime = home or first.home / f"{name}-home", first.home / f"{name}-run"
        for folder in (self.home, self.runtime):
            folder.mkdir(mode=0o700, exist_ok=True)
        for venue in ("binance", "polymarket"):
            shutil.copy(first.home / "run" / f"sim-{venue}.json", self.runtime)
        self.environment = first.environment | {
            "PURSER_HOME": str(self.home), "PURSER_RUNTIME": str(self.runtime),
        }  # fmt: skip
        self.log = first.home / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self, *command: str | Path) -> Iterator[None]:
        """One process of this home; ended at the end."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(30)

    def halted_as_foreign(self) -> bool:
        with contextlib.suppress(Exception), Ledger.open(self.runtime / "ledger") as ledger:
            return ledger.state is LedgerState.HALTED and ledger.snapshot().reason is HaltReason.FOREIGN
        return False

    def said(self) -> str:
        return self.log.read_text(errors="replace")


def said_at(log: str, word: str) -> float:
    """When the first line with this word was written, in seconds since 1970."""
    line = next(line for line in log.splitlines() if word in line)
    found = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line)
    assert found is not None
    return datetime.fromisoformat(found.group().replace("Z", "+00:00")).timestamp()


def both_stop(system: System, second: Second, first_word: str) -> str:
    """Waits until both have halted, and gives the first one's sentence. first_word: in the second's log,
    when it could first be seen at the venue; five seconds from there the slower one has halted."""
    system.wait("the second system halts", second.halted_as_foreign)
    status = system.wait_status("the first system halts", lambda s: s["state"] == "HALTED" and s)
    assert "foreign" in status["halt"]
    latch = json.loads((system.home / "home" / "HALTED").read_text())
    assert latch["reason"] == "foreign"
    log = second.said()
    halted = max(latch["wall_ns"] / 1e9, said_at(log, "halted"))
    assert halted - said_at(log, first_word) < BOTH_STOP_S
    return str(latch["text"])


def resume(system: System) -> None:
    system.wait(
        "the first system goes on",
        lambda: system.control("resume", "--yes", expect=None).returncode == 0,
    )
    system.wait_status("trading", lambda s: s["state"] == "ACTIVE")


def has_orders(system: System, venue: str) -> bool:
    return bool(system.account(venue)["open_orders"])


def quoting(system: System) -> None:
    for venue in ("binance", "polymarket"):
        system.wait(f"orders rest at {venue}", partial(has_orders, system, venue))


def by_hand(system: System, method: str, **parameters: str) -> None:
    """What a person does at Binance with the same key."""
    ready = system.ready_line("binance")
    keys = ready["credentials"]
    query = urllib.parse.urlencode({"symbol": "BTCUSDT", **parameters, "timestamp": int(time.time() * 1000)})
    signature = hmac.new(keys["api_secret"].encode(), query.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"{ready['rest']}/fapi/v1/order?{query}&signature={signature}",
        method=method,
        headers={"X-MBX-APIKEY": keys["api_key"]},
    )
    context = ssl.create_default_context(cafile=ready["ca"])
    urllib.request.urlopen(request, context=context, timeout=60).close()


def a_person_trades_too(system: System) -> None:
    """A person's order is charged in the budget and named in status while it rests; trading goes on."""
    mark = next(p["mark_e9"] for p in system.status()["positions"] if p["symbol"] == "BTCUSDT") // 10**9
    by_hand(
        system, "POST", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.020",
        price=f"{mark * 97 // 100}", newClientOrderId="by-hand",
    )  # fmt: skip
    shown = system.wait_status("it is shown", lambda s: any("not ours" in p for p in s["problems"]) and s, 30)
    assert shown["state"] == "ACTIVE"
    assert shown["budget"]["used_micros"] >= mark * 20_000 // 10 * 9 // 10  # 0.02 coins, shock 10 %
    by_hand(system, "DELETE", origClientOrderId="by-hand")
    system.wait_status("it is gone", lambda s: not s["problems"] and s["state"] == "ACTIVE", 30)


def test_two_homes_on_one_account_stop_each_other(system: System) -> None:
    """A person's order stops nothing. An engine of another home, then a bot of one: each time the system and
    the newcomer halt within five seconds and name each other, and the system resumes once the other one is
    gone. An engine of a copied home halts itself and names the original."""
    system.start()
    quoting(system)
    a_person_trades_too(system)
    ours = read_instance(system.home / "home")
    assert ours.fate is Fate.KEPT
    copy = system.home / "copy-home"
    subprocess.run(["cp", "-a", system.home / "home", copy], check=True)
    second = Second(system, "other")
    with second.running(*ENGINE, "--config", ROOT / "config" / "binance_sim.json"):
        latch = both_stop(system, second, "stream_opened user")
        theirs = read_instance(second.home)
        assert theirs.fate is Fate.KEPT and theirs.id != ours.id
        assert f"another Purser (instance {theirs.name})" in latch
        assert f"another Purser (instance {ours.name})" in second.said()
    resume(system)
    quoting(system)
    copied = Second(system, "copy", copy)
    with copied.running(*ENGINE, "--config", ROOT / "config" / "binance_sim.json"):
        system.wait("the copy halts", copied.halted_as_foreign)
        assert read_instance(copied.home).id != ours.id
        assert f"another Purser (instance {ours.name})" in copied.said()
    quoting(system)
    third = Second(system, "bot")
    with third.running(*BOT, "--config", str(ROOT / "config" / "polymarket_sim.json")):
        latch = both_stop(system, third, "halted")  # its first question to the venue
        assert "another system" in latch or "an order that is not ours" in latch
        assert "not ours" in third.said() or "another system" in third.said()
    resume(system)
    quoting(system)
