"""bin/trader as a person meets it: arguments, errors, exit codes, and runs against the simulated venue."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.channel import Channel, ChannelServer
from bridge.messages import (
    Message,
    MessageExecutionReport,
    MessageHeader,
    MessageHedge,
    MessagePosition,
    MessageSignal,
    MessageTopOfBook,
    ParticipantRole,
)
from bridge.page import Page, PageError, PageReader

ROOT = Path(__file__).resolve().parents[2]
TRADER = Path(os.environ.get("PURSER_TRADER", ROOT / "bin" / "trader"))
CONFIG = ROOT / "config" / "binance_sim.json"
SIMULATOR = (sys.executable, "-m", "simulators", "binance", "--port", "0", "--admin-port", "0", "--seed", "7")
READY = 3

pytestmark = pytest.mark.skipif(not TRADER.exists(), reason="bin/trader is not built; run make trader")


def trader(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs bin/trader to its end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PURSER_")}
    if home is not None:
        environment |= {"PURSER_HOME": str(home / "home"), "PURSER_RUNTIME": str(home / "run")}
    return subprocess.run(
        [TRADER, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def run_arguments(config: Path = CONFIG) -> list[str]:
    """What starts an engine on paper."""
    return ["--mode", "paper", "--exchange", "binance", "--config", str(config)]


def wait(what: str, condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Polls until the condition holds, and returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError, PageError):
            if value := condition():
                return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class Venue:
    """A simulator of Binance and its referee."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.day = int(time.time()) // 86_400
        for name in ("home", "run", "sim"):
            (folder / name).mkdir(mode=0o700)
        self.process = subprocess.Popen(
            [*SIMULATOR, "--state", str(folder / "sim"), *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready = json.loads(line)
        ready_file = folder / "run" / "sim-binance.json"
        ready_file.write_text(line)
        ready_file.chmod(0o600)

    def get(self, path: str) -> Any:
        """The referee's answer."""
        with urllib.request.urlopen(self.ready["admin"] + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Tells the referee."""
        request = urllib.request.Request(
            self.ready["admin"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=60).close()

    def account(self) -> dict[str, Any]:
        """The account of the key that the engine uses."""
        accounts = self.get("/account")["accounts"]
        found: dict[str, Any] = accounts[self.ready["credentials"]["api_key"]]
        return found

    def money_is_of_one_day(self) -> bool:
        """Midnight UTC has not passed: our sums, which are the day's, can be compared with the venue's."""
        return self.day == int(time.time()) // 86_400

    def stop(self) -> None:
        """Ends the simulator."""
        self.process.terminate()
        self.process.wait(60)


class Run:
    """One running engine."""

    def __init__(self, venue: Venue, config: Path = CONFIG) -> None:
        self.log_path = venue.folder / "engine.log"
        self.log = self.log_path.open("a")
        self.venue = venue
        environment = {
            **os.environ,
            "PURSER_HOME": str(venue.folder / "home"),
            "PURSER_RUNTIME": str(venue.folder / "run"),
        }
        self.process = subprocess.Popen(
            [TRADER, *run_arguments(config)], cwd=ROOT, env=environment, stderr=self.log, stdout=self.log
        )

    def page(self) -> Page:
        """The status page of now."""
        page = PageReader(self.venue.folder / "run" / "engine.page")
        try:
            return page.read()
        finally:
            page.close()

    def is_ready(self) -> bool:
        """The venue's session is READY in a page of this process."""
        page = self.page()
        return page.pid == self.process.pid and any(v.venue == 1 and v.state == READY for v in page.venues)

    def text(self) -> str:
        """What the engine has logged."""
        return self.log_path.read_text()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log.close()
        return code


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Venue]:
    """A fresh simulated venue with its folders."""
    made = Venue(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def engine(venue: Venue) -> Iterator[Run]:
    """An engine trading on the simulated venue."""
    run = Run(venue)
    try:
        wait("the engine is ready", run.is_ready)
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait(60)


def test_help_teaches() -> None:
    """--help explains modes, files, examples and exit codes, and ends with 0."""
    done = trader("--help")
    assert done.returncode == 0
    for word in ("--mode", "--check-config", "--replay-check", "keys/binance-testnet.json", "exit codes"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--moed", "paper"], "did you mean --mode?"),
        (["--mode"], "needs a value"),
        (["--mode", "papier", "--exchange", "binance", "--config", "x"], "dry-run, paper or live"),
        (["--mode", "paper", "--exchange", "bitmex", "--config", "x"], "must be binance"),
        ([], "--mode, --exchange and --config are needed"),
    ],
)
def test_wrong_usage(arguments: list[str], hint: str) -> None:
    """A wrong argument ends with 2 and says what to write instead."""
    done = trader(*arguments)
    assert done.returncode == 2
    assert hint in done.stderr


def test_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    """An unknown configuration key ends with 4 and names the key that was meant."""
    config = tmp_path / "config.json"
    config.write_text(CONFIG.read_text().replace('"quoter"', '"qouter"'))
    done = trader("--check-config", "--config", str(config))
    assert done.returncode == 4
    assert 'did you mean "quoter"?' in done.stderr


def test_shipped_configurations_are_correct() -> None:
    """Both configurations that are shipped pass --check-config."""
    for name in ("binance_sim.json", "binance_testnet.json"):
        assert trader("--check-config", "--config", f"config/{name}").returncode == 0


def test_missing_keys_name_the_file(tmp_path: Path) -> None:
    """Without a key file the engine ends with 4 and names the file to create."""
    done = trader(*run_arguments(ROOT / "config" / "binance_testnet.json"), home=tmp_path)
    assert done.returncode == 4
    assert str(tmp_path / "home" / "keys" / "binance-testnet.json") in done.stderr
    assert "api_secret" in done.stderr


def test_latch_refuses(tmp_path: Path) -> None:
    """With the halt latch present the engine ends with 8 and names `control resume`."""
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "HALTED").touch()
    done = trader(*run_arguments(), home=tmp_path)
    assert done.returncode == 8
    assert "control resume" in done.stderr


def test_trades_and_stops_clean(venue: Venue, engine: Run) -> None:
    """The engine trades, refuses a second copy, and on SIGTERM leaves no order; books are equal. Holding
    keys, it may not leave a core."""
    wait("some fills", lambda: len(venue.account()["fills"]) >= 2)
    assert resource.prlimit(engine.process.pid, resource.RLIMIT_CORE) in ((1, 1), (0, 0))
    second = trader(*run_arguments(), home=venue.folder)
    assert second.returncode == 1
    assert "another engine" in second.stderr
    assert engine.stop() == 0
    account = venue.account()
    assert account["open_orders"] == []
    page = engine.page()
    assert page.fills_total == len(account["fills"])
    ours, theirs = page.positions[0], account["positions"][0]
    names = ("quantity_e9", "cost_micros", "realized_micros", "fees_e8", "cash_flow_micros")
    for name in names if venue.money_is_of_one_day() else names[:1]:
        assert getattr(ours, name) == theirs[name], name


def test_killed_engine_is_reconciled(venue: Venue, engine: Run) -> None:
    """After kill -9 the next engine cancels what was left, books what it missed, and trades on."""
    wait("some fills", lambda: len(venue.account()["fills"]) >= 1)
    engine.process.kill()
    engine.process.wait(60)
    again = Run(venue)
    try:
        wait("the engine is ready again", again.is_ready)
        before = len(venue.account()["fills"])
        wait("trades on", lambda: len(venue.account()["fills"]) > before)
        assert again.stop() == 0
        account = venue.account()
        assert account["open_orders"] == []
        ours, theirs = again.page().positions[0], account["positions"][0]
        assert ours.quantity_e9 == theirs["quantity_e9"]
        assert ours.cash_flow_micros == theirs["cash_flow_micros"] or not venue.money_is_of_one_day()
    finally:
        if again.process.poll() is None:
            again.process.kill()
            again.process.wait(60)


@pytest.mark.parametrize(
    ("fault", "evidence"),
    [
        ({"drop_depth": 1}, "book_resynced"),
        ({"malformed_frame": 1}, "frame_malformed"),
        ({"close_mid_frame": 1}, "stream_closed"),
        ({"close_user_stream": 1}, "stream_closed"),
        ({"close_ws_api": 1}, "stream_closed"),
        ({"listenkey_expired": 1}, "listen_key_expired"),
        ({"response_lost": 1}, "order_unknown"),
        ({"unknown_503": 1}, "order_unknown"),
    ],
)
def test_faults_heal(venue: Venue, engine: Run, fault: dict[str, int], evidence: str) -> None:
    """A fault of the venue is noticed and said, and the session becomes READY again by itself."""
    venue.post("/faults", fault)
    wait(f"{evidence} is logged", lambda: evidence in engine.text())
    wait("ready again", engine.is_ready)
    count = len(venue.account()["fills"])
    wait("trades on", lambda: len(venue.account()["fills"]) > count)
    assert engine.stop() == 0
    account = venue.account()
    assert account["open_orders"] == []
    assert engine.page().positions[0].quantity_e9 == account["positions"][0]["quantity_e9"]


class Bot:
    """The other end of the bridge, for one test."""

    def __init__(self) -> None:
        self.channel: Channel | None = None
        self.received: list[Message] = []

    def channel_opened(self, channel: Channel) -> None:
        """The engine has greeted."""
        self.channel = channel

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        """Kept for the test."""
        self.received.append(message)

    def channel_closed(self, channel: Channel, reason: str) -> None:
        """The engine has gone."""
        self.channel = None


def test_hedge_over_the_bridge(venue: Venue, engine: Run) -> None:
    """A HEDGE request is executed at the venue and answered, and signals and the bot's tops flow."""

    async def talk() -> list[Message]:
        bot = Bot()
        server = ChannelServer(bot, ParticipantRole.BOT, "paper", "bot")
        await server.start(venue.folder / "run" / "bridge.sock")
        deadline = time.monotonic() + 90
        hedged = signalled = asked = False
        while time.monotonic() < deadline and not (hedged and signalled):
            await asyncio.sleep(0.02)
            if bot.channel is not None and not asked:
                asked = True
                now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                bot.channel.send(MessageHedge(1, "BTCUSDT", 20_000_000, 500, now + 90_000_000_000))
                e9 = 10**9
                bot.channel.send(MessageTopOfBook(2, READY, "7", e9 // 5 * 2, e9, e9 // 2, e9, now))
            hedged = any(isinstance(m, MessagePosition) and m.quantity_e9 == 20_000_000 for m in bot.received)
            signalled = any(isinstance(m, MessageSignal) for m in bot.received)
        await server.stop()
        return bot.received

    received = asyncio.run(talk())
    kinds = {type(message) for message in received}
    assert {MessageSignal, MessageExecutionReport, MessagePosition} <= kinds
    assert any(isinstance(m, MessagePosition) and m.quantity_e9 == 20_000_000 for m in received)
    assert any(fill["side"] == "BUY" for fill in venue.account()["fills"])
    assert engine.stop() == 0
    assert venue.account()["open_orders"] == []


def test_wrong_secret_is_refused(venue: Venue) -> None:
    """A wrong secret ends with 4 and a sentence; no order is sent."""
    ready = dict(venue.ready)
    ready["credentials"] = {**ready["credentials"], "api_secret": "0" * 64}
    (venue.folder / "run" / "sim-binance.json").write_text(json.dumps(ready))
    run = Run(venue)
    assert run.process.wait(90) == 4
    assert "auth_refused" in run.text() or "refused the API key" in run.text()
    assert venue.account()["fills"] == []


def test_clock_offset_is_refused(tmp_path: Path) -> None:
    """A venue clock 5 s away keeps the engine from trading, with a sentence, until it is right."""
    venue = Venue(tmp_path, "--faults", "clock_offset_ms=5000")
    run = Run(venue)
    try:
        wait("said", lambda: "clock" in run.text())
        assert not run.is_ready()
        venue.post("/faults", {"clock_offset_ms": 0})
        wait("ready when the clock is right", run.is_ready)
        assert run.stop() == 0
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait(60)
        venue.stop()
        shutil.rmtree(tmp_path / "sim", ignore_errors=True)
