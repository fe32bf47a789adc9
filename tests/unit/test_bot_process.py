"""The bot as a real process against the Polymarket simulator, with the test in the engine's place."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.channel import Channel, connect
from bridge.ledger import Amounts, Ledger, now_ns
from bridge.messages import (
    ExecutionType,
    HaltReason,
    LedgerState,
    Message,
    MessageCancelOrder,
    MessageExecutionReport,
    MessageHeader,
    MessageHedge,
    MessageNewOrder,
    MessageSignal,
    OrderSide,
    ParticipantRole,
    RejectReason,
    SessionState,
    TimeInForce,
    VenueId,
)
from bridge.page import Page, PageReader

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90.0  # bounds a hang
BOT = int(ParticipantRole.BOT)


def until(what: str, check: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
    """Poll until check gives something true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


class World:
    """One simulator, one PURSER_HOME, and bots started and ended by the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.day = int(time.time()) // 86_400
        self.home, self.runtime = folder / "home", folder / "run"
        for path in (self.home, self.runtime):
            path.mkdir(mode=0o700)
        self.environment = {
            **os.environ, "PURSER_HOME": str(self.home), "PURSER_RUNTIME": str(self.runtime),
        }  # fmt: skip
        self.environment.pop("DATABASE_URL", None)
        self.bots: list[subprocess.Popen[bytes]] = []
        command = [
            sys.executable,
            "-m",
            "simulators",
            "polymarket",
            "--state",
            str(folder / "sim"),
            "--seed",
            "5",
        ]
        self.simulator = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment
        )
        assert self.simulator.stdout is not None
        self.ready = json.loads(self.simulator.stdout.readline())
        self.write_ready(self.ready)

    def write_ready(self, ready: dict[str, Any]) -> None:
        path = self.runtime / "sim-polymarket.json"
        path.write_text(json.dumps(ready))
        path.chmod(0o600)

    def bot(self, *arguments: str, limit_usd: str = "1000", wait: bool = True) -> subprocess.Popen[bytes]:
        budget = self.folder / "budget.json"
        budget.write_text(json.dumps({"limit_usd": limit_usd, "notional_limit_usd": "20000"}))
        command = [
            sys.executable,
            "-m",
            "polymarket_bot",
            "--standalone",
            "--budget",
            str(budget),
            *arguments,
        ]
        log = (self.folder / "bot.log").open("ab")
        bot = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=self.environment)
        log.close()
        self.bots.append(bot)
        if wait:
            until("the bot is ready", lambda: self.page_of(bot) is not None)
        return bot

    def page(self) -> Page | None:
        try:
            return PageReader(self.runtime / "bot.page").read()
        except Exception:
            return None

    def page_of(self, bot: subprocess.Popen[bytes]) -> Page | None:
        assert bot.poll() is None, (self.folder / "bot.log").read_text()[-2000:]
        page = self.page()
        ready = page is not None and page.pid == bot.pid and page.venues
        return page if ready and page is not None and page.venues[0].state == SessionState.READY else None

    def ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.ready["admin"] + path, data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def account(self) -> Any:
        return self.ask("/account")["accounts"][self.ready["credentials"]["api_key"]]

    def orders_sent(self) -> int:
        """How many requests with orders have reached the venue."""
        return sum(row["method"] == "POST" and row["target"].startswith("/order") for row in self.log())

    def log(self) -> list[dict[str, Any]]:
        """The venue's requests."""
        rows: list[dict[str, Any]] = self.ask("/log")["requests"]
        return rows

    def open_orders(self) -> int:
        return len(self.account()["open_orders"])

    def ledger(self) -> Ledger:
        return Ledger.open(self.runtime / "ledger")

    def stop(self, bot: subprocess.Popen[bytes]) -> None:
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(60) == 0

    def assert_equal_accounts(self) -> None:
        """Positions, cost, realized and cash of the last page are the referee's, to the micro. Our money
        is the day's: when midnight UTC has passed, only what is held can be compared."""
        page = self.page()
        assert page is not None
        names = ("quantity_e9", "cost_micros", "realized_micros", "fees_e8", "cash_flow_micros")
        names = names if self.day == int(time.time()) // 86_400 else names[:1]
        ours = sorted(tuple(getattr(p, name) for name in names) for p in page.positions)
        theirs = sorted(tuple(p[name] for name in names) for p in self.account()["positions"])
        assert [p for p in ours if any(p)] == [p for p in theirs if any(p)]

    def close(self) -> None:
        for process in (*self.bots, self.simulator):
            if process.poll() is None:
                process.kill()
            process.wait()
        if self.simulator.stdout is not None:
            self.simulator.stdout.close()


class Engine:
    """The test's end of the bridge: sends a steady signal, keeps what the bot says."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.channel: Channel | None = None
        self.quiet = False

    def channel_opened(self, channel: Channel) -> None:
        """Usable from now on; `channel` was set when the connection was made."""

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        self.messages.append(message)

    def channel_closed(self, channel: Channel, reason: str) -> None:
        self.channel = None

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    async def serve(self, path: Path) -> None:
        """Connect, and again whenever the bot was restarted; a signal twenty times a second."""
        while True:
            if self.channel is None:
                try:
                    self.channel = await connect(path, self, ParticipantRole.ENGINE, "paper", "engine")
                except Exception:
                    await asyncio.sleep(0.05)
                    continue
            await asyncio.sleep(0.05)
            if self.channel is not None and self.channel.is_open and not self.quiet:
                price = 60_000 * 10**9
                self.channel.send(
                    MessageSignal(
                        venue=VenueId.BINANCE,
                        state=SessionState.READY,
                        symbol="BTCUSDT",
                        bid_e9=price,
                        ask_e9=price,
                        mid_e9=price,
                        microprice_e9=price,
                        volatility_e9=5 * 10**8,
                        received_ns=now_ns(),
                    )
                )

    async def wait(self, what: str, check: Callable[[], Any], seconds: float = DEADLINE_S) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = check()
            if value:
                return value
            await asyncio.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {what}")


@contextmanager
def running(folder: Path) -> Iterator[World]:
    world = World(folder)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as made:
        yield made


def drive(world: World, story: Callable[[World, Engine], Any]) -> None:
    """Run a story with an engine connected."""

    async def main() -> None:
        engine = Engine()
        server = asyncio.create_task(engine.serve(world.runtime / "bridge.sock"))
        try:
            await story(world, engine)
        finally:
            server.cancel()

    asyncio.run(main())


def test_quotes_fill_hedge_and_stop(world: World) -> None:
    """Quotes rest, each with a reservation; fills come and ask for a hedge; after SIGTERM nothing is open
    and the account equals the venue's."""
    bot = world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 4)
        ledger = world.ledger()
        await engine.wait("fills", lambda: len(world.account()["fills"]) >= 2)
        await engine.wait("a hedge", lambda: any(h.target_e9 for h in engine.of(MessageHedge)))

        def charged() -> bool:
            view = ledger.snapshot()
            assert view.participants[BOT].used_micros.loss <= view.limit_micros.loss
            return view.participants[BOT].used_micros.loss > 0 and view.participants[BOT].open_orders >= 1

        await engine.wait("what rests is reserved", charged)  # between two quotes there is a moment of none
        assert ledger.audit() is None
        assert engine.of(MessageExecutionReport)

    drive(world, story)
    world.stop(bot)
    assert world.open_orders() == 0
    assert world.ledger().snapshot().participants[BOT].open_orders == 0
    world.assert_equal_accounts()


def test_halt_cancels_and_is_acknowledged(world: World) -> None:
    """A halt in the ledger: acknowledged at once, nothing open at the venue, nothing new placed."""
    world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 4)
        ledger = world.ledger()
        epoch = ledger.halt(HaltReason.OPERATOR)
        await engine.wait(
            "the halt is acknowledged", lambda: ledger.snapshot().participants[BOT].halt_ack == epoch
        )
        await engine.wait("slots are free", lambda: ledger.snapshot().participants[BOT].open_orders == 0)
        await engine.wait("nothing is open", lambda: world.open_orders() == 0)
        placed = world.orders_sent()
        await asyncio.sleep(0.5)
        assert world.orders_sent() == placed and ledger.state is LedgerState.HALTED

    drive(world, story)


def test_killed_bot_comes_back(world: World) -> None:
    """kill -9 with orders resting: charges stay, the next process cancels what was left, knows every fill."""
    bot = world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes and a fill", lambda: world.open_orders() >= 4 and world.account()["fills"])

        def stopped_with_orders() -> bool:
            """Paused while the venue has orders of ours: between two quotes there may be none."""
            bot.send_signal(signal.SIGSTOP)
            if world.open_orders():
                return True
            bot.send_signal(signal.SIGCONT)
            return False

        await engine.wait("paused with orders at the venue", stopped_with_orders)
        bot.kill()
        bot.wait()
        assert world.ledger().snapshot().participants[BOT].used_micros.loss > 0
        before = {order["order_id"] for order in world.account()["open_orders"]}
        again = world.bot()
        await engine.wait("quotes rest again", lambda: world.open_orders() >= 2)
        after = {order["order_id"] for order in world.account()["open_orders"]}
        assert not before & after
        assert world.ledger().audit() is None
        world.stop(again)
        world.assert_equal_accounts()

    drive(world, story)


def test_an_order_that_may_be_on_its_way_stays_charged(world: World) -> None:
    """The last process wrote an order and was killed before any answer: the next one keeps it charged."""
    bot = world.bot()
    world.stop(bot)
    path = world.home / "paper" / "bot.db"
    with sqlite3.connect(path) as database:
        condition, token = database.execute("select condition_id, yes_token from markets limit 1").fetchone()
        database.execute(
            "insert into orders values (?, ?, ?, ?, 0, 450000, 10000000, 4, 0, 0, ?)",
            ("0x" + "ab" * 32, str((2 << 56) | 99), condition, token, time.time_ns()),
        )
    database.close()
    assert world.ledger().snapshot().participants[BOT].used_micros.loss == 0
    world.bot()
    # its cost, and the largest fee it could meet: whether it was post-only is not recorded
    assert world.ledger().snapshot().participants[BOT].used_micros.loss == 4_500_000 + 175_010
    assert world.open_orders() == 0


def test_failed_trades_and_unclear_answers(world: World) -> None:
    """Trades that fail, arrive twice or out of order, answers that are lost or lie: at the end the account
    is the venue's and no reservation is left behind."""
    bot = world.bot()

    async def story(world: World, engine: Engine) -> None:
        faults = {"fail_trade": 2, "duplicate_trade_event": 3, "hold_trade_event": 2, "missing_leg_side": 2}
        world.ask("/faults", faults)
        await engine.wait("quotes rest", lambda: world.open_orders() >= 2)
        world.ask("/faults", {"response_lost": 2, "unknown_500": 2, "context_canceled": 1, "rate_limited": 1})
        statuses = lambda: [fill["status"] for fill in world.account()["fills"]]  # noqa: E731
        await engine.wait("a trade failed", lambda: "FAILED" in statuses())
        await engine.wait("more fills", lambda: len(statuses()) >= 5)

    drive(world, story)
    world.ask("/faults", {"response_lost": 0, "unknown_500": 0, "context_canceled": 0, "rate_limited": 0})
    until("trades are final", lambda: all(fill["final"] for fill in world.account()["fills"]))
    world.stop(bot)
    assert world.open_orders() == 0
    assert world.ledger().snapshot().participants[BOT].open_orders == 0
    world.assert_equal_accounts()


def test_broken_frames_and_sockets(world: World) -> None:
    """Lost and cut frames and broken sockets make books stale and streams reconnect; quoting goes on."""
    world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 2)
        world.ask("/faults", {"drop_price_change": 3, "malformed_frame": 2, "array_frames": 1})
        await engine.wait("a resync", lambda: (p := world.page()) and p.venues[0].resyncs >= 1)
        world.ask("/faults", {"close_mid_frame": 1})
        await engine.wait("reconnected", lambda: (p := world.page()) and p.venues[0].disconnects >= 1)
        await engine.wait("ready again", lambda: world.page_of(world.bots[-1]))
        await engine.wait("quotes rest again", lambda: world.open_orders() >= 2)

    drive(world, story)


def test_budget_refuses_and_holds(world: World) -> None:
    """With a small limit the bot is refused for BUDGET and what it uses never exceeds it."""
    world.bot(limit_usd="12")

    async def story(world: World, engine: Engine) -> None:
        ledger = world.ledger()
        refused = RejectReason.BUDGET
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            view = ledger.snapshot()
            if view.consistent:
                assert view.alloc_micros.loss <= view.limit_micros.loss
                assert view.used_micros.loss <= view.limit_micros.loss
            page = world.page()
            if page is not None and page.refusals[refused] > 0:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("nothing was refused for BUDGET")

    drive(world, story)


def test_reducing_keeps_only_what_reduces(world: World) -> None:
    """In REDUCING every quote that adds risk is cancelled; sales of what is held may rest."""
    world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait(
            "something is held", lambda: any(p["quantity_e9"] for p in world.account()["positions"])
        )
        ledger = world.ledger()
        ledger.set_state(LedgerState.REDUCING)

        def only_sales() -> bool:
            orders = world.account()["open_orders"]
            return all(order["side"] == "SELL" for order in orders)

        def nothing_adds() -> bool:
            """No reservation that adds risk is left either: an order on its way would still rest."""
            return all(slot.side == OrderSide.SELL for slot in ledger.slots(BOT)) and only_sales()

        await engine.wait("only sales rest", nothing_adds)
        bought = len([f for f in world.account()["fills"] if f["side"] == "BUY"])
        for _ in range(20):
            await asyncio.sleep(0.05)
            assert only_sales()
        assert len([f for f in world.account()["fills"] if f["side"] == "BUY"]) == bought

    drive(world, story)


def test_stale_signal_pulls_quotes(world: World) -> None:
    """Without a fresh signal the quotes are pulled; with it they come back."""
    world.bot()

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 2)
        engine.quiet = True
        await engine.wait("quotes are pulled", lambda: world.open_orders() == 0)
        engine.quiet = False
        await engine.wait("quotes rest again", lambda: world.open_orders() >= 2)

    drive(world, story)


def test_supervisor_silent(world: World) -> None:
    """A supervisor that stops renewing the lease: quotes go, and the bot itself stays alive."""
    ledger = Ledger.create(world.runtime / "ledger", Amounts(10**9, 2 * 10**10))
    ledger.heartbeat(600 * 10**9)
    command = [sys.executable, "-m", "polymarket_bot", "--mode", "paper"]
    bot = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, env=world.environment)
    world.bots.append(bot)
    until("reconciled", lambda: ledger.snapshot().participants[BOT].reconciled_ns)
    ledger.set_state(LedgerState.ACTIVE)

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 2)
        ledger.heartbeat(1)
        await engine.wait("quotes are pulled", lambda: world.open_orders() == 0)
        ledger.heartbeat(600 * 10**9)
        await engine.wait("quotes rest again", lambda: world.open_orders() >= 2)

    drive(world, story)
    world.stop(bot)


def test_orders_of_the_engine(world: World) -> None:
    """An order over the bridge takes the same way: placed, reported, cancelled; too large, refused."""
    world.bot()

    async def story(world: World, engine: Engine) -> None:
        def reports(order_id: int, kind: ExecutionType) -> list[Any]:
            return [
                r
                for r in engine.of(MessageExecutionReport)
                if r.client_order_id == order_id and r.execution_type == kind
            ]

        def answers(order_id: int) -> list[Any]:
            return reports(order_id, ExecutionType.NEW) + reports(order_id, ExecutionType.REJECTED)

        new = await engine.wait("a quote", lambda: engine.of(MessageExecutionReport))
        symbol = new[0].symbol
        order = MessageNewOrder(
            venue=VenueId.POLYMARKET, side=0, time_in_force=TimeInForce.POST_ONLY, strategy=3, symbol=symbol,
            price_e9=50_000_000, quantity_e9=6 * 10**9,
        )  # fmt: skip
        assert engine.channel is not None
        accepted, first = False, 1 << 56
        while not accepted:
            first += 1
            engine.channel.send(replace(order, client_order_id=first))
            (answer, *_) = await engine.wait("an answer", partial(answers, first))
            accepted = answer.execution_type == ExecutionType.NEW
            # On a busy machine what it was decided on may be too old when it has been signed.
            assert accepted or answer.reject_reason == RejectReason.STALE_DATA
        engine.channel.send(MessageCancelOrder(client_order_id=first, venue=VenueId.POLYMARKET))
        await engine.wait("cancelled", lambda: reports(first, ExecutionType.CANCELED))
        engine.channel.send(replace(order, client_order_id=first + 1, quantity_e9=600 * 10**9))
        refused = await engine.wait("refused", lambda: reports(first + 1, ExecutionType.REJECTED))
        assert refused[0].reject_reason == RejectReason.MAX_QUANTITY

    drive(world, story)


def run(world: World, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "polymarket_bot", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=world.environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stderr


def test_refusals_to_start(world: World) -> None:
    """Each way not to start has its exit code and says what to do."""
    code, text = run(world, "--mode", "live", "--config", "config/polymarket.example.json")
    assert code == 4 and "keys/polymarket-live.json" in text and "private_key" in text
    code, text = run(world, "--mode", "paper")
    assert code == 1 and "start the supervisor" in text
    assert run(world, "--mode", "nowhere")[0] == 2
    code, text = run(world, "--mode", "live")
    assert code == 4 and "live" in text
    wrong = {**self_credentials(world), "passphrase": "wrong"}
    world.write_ready({**world.ready, "credentials": wrong})
    code, text = run(world, "--mode", "paper", "--standalone")
    assert code == 4 and "refused the credentials" in text
    (world.home / "HALTED").touch()
    code, text = run(world, "--mode", "paper", "--standalone")
    assert code == 8 and "control resume" in text


def self_credentials(world: World) -> dict[str, Any]:
    return dict(world.ready["credentials"])


def test_dry_run_sends_nothing(world: World) -> None:
    """Orders are computed and logged, and the venue never hears of them."""
    command = [sys.executable, "-m", "polymarket_bot", "--mode", "dry-run"]
    log = world.folder / "dry.log"
    with log.open("wb") as out:
        bot = subprocess.Popen(command, cwd=ROOT, stderr=out, env=world.environment)
    world.bots.append(bot)

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("orders are computed", lambda: b"order_computed" in log.read_bytes())

    drive(world, story)
    world.stop(bot)
    assert world.account()["fills"] == [] and world.open_orders() == 0
    secrets = self_credentials(world)
    assert secrets["private_key"].encode() not in log.read_bytes()


def test_logs_hold_no_secrets(world: World) -> None:
    """No credential appears in the bot's log or database, and it may not leave a core."""
    bot = world.bot("--log-level", "debug")

    async def story(world: World, engine: Engine) -> None:
        await engine.wait("quotes rest", lambda: world.open_orders() >= 2)
        assert resource.prlimit(bot.pid, resource.RLIMIT_CORE) in ((1, 1), (0, 0))

    drive(world, story)
    world.stop(bot)
    places = [world.folder / "bot.log", *world.home.rglob("*.db*")]
    for name, secret in self_credentials(world).items():
        for place in places:
            if name != "address" and place.is_file():
                assert secret.encode() not in place.read_bytes(), (name, place)
