"""c_core.engine: the engine and its order book driven from Python through libengine."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

engine_module = pytest.importorskip("c_core.engine", reason="c_core._engine is not built; run make trader")

from c_core.engine import (  # noqa: E402
    Engine,
    EngineError,
    Mode,
    OrderBook,
    OrderRefusedError,
    Side,
    TimeInForce,
    replay_check,
)

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config" / "binance_sim.json"
DATA = Path(os.environ.get("PURSER_DATA", ROOT.parent / "shared" / "data"))
CAPTURE = DATA / "binance" / "btcusdt_20240808.gz"
SIMULATOR = (sys.executable, "-m", "simulators", "binance", "--port", "0", "--admin-port", "0", "--seed", "7")
READY = 3
TICK_E9 = 100_000_000
BINANCE = 1


def wait(what: str, condition: Callable[[], Any], seconds: float = 90) -> Any:
    """Polls until the condition holds, and returns its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            if value := condition():
                return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders of an installation, and a configuration whose quoter is off: only the test trades."""
    for name in ("home", "run", "sim"):
        (tmp_path / name).mkdir(mode=0o700)
    config = json.loads(CONFIG.read_text())
    config["quoter"]["enabled"] = False
    (tmp_path / "engine.json").write_text(json.dumps(config))
    (tmp_path / "budget.json").write_text((ROOT / "config" / "budget.json").read_text())
    return tmp_path


@pytest.fixture
def admin(folder: Path) -> Iterator[str]:
    """A simulated venue; its referee's address."""
    process = subprocess.Popen(
        [*SIMULATOR, "--state", str(folder / "sim")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    (folder / "run" / "sim-binance.json").write_text(line)
    (folder / "run" / "sim-binance.json").chmod(0o600)
    yield json.loads(line)["admin"]
    process.terminate()
    process.wait(60)


@pytest.fixture
def engine(folder: Path, admin: str) -> Iterator[Engine]:
    """An engine that is ready to trade."""
    with Engine(folder / "engine.json", folder / "home", folder / "run", Mode.PAPER) as made:
        wait("ready", lambda: any(v.venue == BINANCE and v.state == READY for v in made.venues()))
        wait("a book", lambda: made.books("BTCUSDT")[0])
        yield made


def account(admin: str) -> dict[str, Any]:
    """The referee's view of the one key that has traded."""
    with urllib.request.urlopen(admin + "/account", timeout=60) as answer:
        accounts = json.load(answer)["accounts"]
    found: dict[str, Any] = max(accounts.values(), key=lambda entry: int(entry["orders_total"]))
    return found


def submit(engine: Engine, side: Side, price_e9: int, time_in_force: TimeInForce = TimeInForce.GTC) -> int:
    """Sends 0.002 BTC; right after the start the ledger may not be active yet."""

    def attempt() -> int | None:
        try:
            return engine.submit("BTCUSDT", side, price_e9, 2_000_000, time_in_force)
        except OrderRefusedError as error:
            if error.name in ("NOT_ACTIVE", "NOT_RECONCILED", "STALE_DATA"):
                return None
            raise

    result: int = wait("the order is accepted", attempt)
    return result


def test_book_keeps_levels_in_order() -> None:
    """A bare book agrees with a dictionary after a thousand random changes."""
    book, model = OrderBook(), ({}, {})  # type: tuple[OrderBook, tuple[dict[int, int], dict[int, int]]]
    numbers = random.Random(1)
    for _ in range(1000):
        side = Side(numbers.randrange(2))
        ticks = 600_000 + numbers.randrange(300) * (-1 if side is Side.BUY else 1)
        lots = numbers.choice((0, numbers.randrange(1, 9)))
        book.set(side, ticks, lots)
        model[side].pop(ticks, None)
        if lots:
            model[side][ticks] = lots
    for side in Side:
        wanted = sorted(model[side].items(), reverse=side is Side.BUY)
        assert book.levels(side) == len(wanted)
        assert [tuple(level) for level in book.depth(side, 256)] == wanted[:256]
        assert book.best(side) == wanted[0]


def test_book_refuses_nonsense_and_sees_a_cross() -> None:
    """Negative numbers are refused, an empty side has no best, and a crossed book says so."""
    book = OrderBook()
    with pytest.raises(ValueError, match="negative"):
        book.set(Side.BUY, -1, 1)
    assert book.best(Side.BUY) is None
    book.set(Side.BUY, 100, 1)
    book.set(Side.SELL, 101, 1)
    assert not book.crossed
    book.set(Side.BUY, 101, 1)
    assert book.crossed
    book.clear()
    assert book.levels(Side.BUY) == 0


@pytest.mark.skipif(not CAPTURE.exists(), reason="the recorded capture is not here; set PURSER_DATA")
def test_replay_of_the_recorded_capture() -> None:
    """Every checkable top of the recorded production capture equals the venue's bookTicker."""
    assert replay_check(CAPTURE) == (6547, 6547)


def test_configuration_errors_carry_the_exit_code(folder: Path) -> None:
    """A wrong configuration raises with exit code 4 and the sentence that bin/trader prints."""
    (folder / "engine.json").write_text("{}")
    with pytest.raises(EngineError, match="is missing") as caught:
        Engine(folder / "engine.json", folder / "home", folder / "run")
    assert caught.value.exit_code == 4


def test_order_rests_and_is_cancelled(engine: Engine, admin: str) -> None:
    """A bid below the market rests at the venue, shows among our orders, and is gone after cancel."""
    bids, asks = engine.books("BTCUSDT")
    assert 0 < bids[0].price_e9 < asks[0].price_e9
    identifier = submit(engine, Side.BUY, bids[0].price_e9 - 500 * TICK_E9, TimeInForce.POST_ONLY)
    wait("it is open at the venue", lambda: len(account(admin)["open_orders"]) == 1)
    assert [order.client_order_id for order in engine.orders()] == [identifier]
    assert engine.cancel(identifier) == 1
    wait("it is gone here", lambda: engine.orders() == [])
    assert account(admin)["open_orders"] == []


def test_marketable_order_fills_and_positions_agree(engine: Engine, admin: str) -> None:
    """An IOC order through the ask fills, and quantity, cash and fees equal the venue's to the unit."""
    day = int(time.time()) // 86_400
    asks = engine.books("BTCUSDT")[1]
    submit(engine, Side.BUY, asks[0].price_e9 + 200 * TICK_E9, TimeInForce.IOC)
    wait("a fill", lambda: engine.counters()["fills"] >= 1)
    wait("the order has ended", lambda: engine.orders() == [])
    ours, theirs = engine.positions()[0], account(admin)["positions"][0]
    assert ours.quantity_e9 == theirs["quantity_e9"] == 2_000_000
    if day == int(time.time()) // 86_400:  # ours are the day's, and midnight UTC may have passed
        assert ours.cash_flow_micros == theirs["cash_flow_micros"]
        assert ours.fees_e8 == theirs["fees_e8"]


def test_own_limits_refuse(engine: Engine, admin: str) -> None:
    """An order above the configured size, or far from the market, is refused here and never leaves."""
    bid = engine.books("BTCUSDT")[0][0]
    with pytest.raises(OrderRefusedError, match="MAX_QUANTITY"):
        engine.submit("BTCUSDT", Side.BUY, bid.price_e9, 10_000_000_000)
    with pytest.raises(OrderRefusedError, match="UNKNOWN_INSTRUMENT"):
        engine.submit("ETHUSDT", Side.BUY, bid.price_e9, 2_000_000)
    assert engine.refusals()["MAX_QUANTITY"] == 1
    assert account(admin)["open_orders"] == []


def test_stop_cancels_and_close_is_idempotent(engine: Engine, admin: str) -> None:
    """stop() leaves no order at the venue, and close() may be called twice."""
    bid = engine.books("BTCUSDT")[0][0]
    submit(engine, Side.BUY, bid.price_e9 - 500 * TICK_E9)
    wait("it is open at the venue", lambda: len(account(admin)["open_orders"]) == 1)
    assert engine.stop() == 0
    assert not engine.running
    assert account(admin)["open_orders"] == []
    engine.close()
    engine.close()
