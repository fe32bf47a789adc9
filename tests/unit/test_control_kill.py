"""The kill contract against real simulators, a real ledger and real processes."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.ledger import Amounts, Ledger
from bridge.messages import LedgerState
from bridge.paths import Paths
from control import exposure, kill, processes, shared
from control.cli import understood
from control.errors import Exit
from control.latch import is_latched
from control.recorder import recorded_events
from control.records import write_atomically
from control.status import snapshot
from control.sweep import cancel_until_none
from control.venues import BinanceVenue, VenueError

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = Amounts(1_000_000_000, 20_000_000_000)


class System:
    """Simulators and participants of one test, without a supervisor."""

    def __init__(self, folder: Path) -> None:
        self.environment = {
            **os.environ, "PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run"),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self.paths = Paths.from_environment("paper", self.environment)
        self.ready: dict[str, dict[str, Any]] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        # Made and closed at once: whoever holds it as its supervisor would be ended by the kill.
        Ledger.create(self.paths.ledger, LIMIT).close()
        self.ledger = Ledger.open(self.paths.ledger)
        self.ledger.heartbeat(600_000_000_000)

    def spawn(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a child whose stdout is a file."""
        with (self.paths.runtime / f"{name}.out").open("wb") as out:
            child = subprocess.Popen([sys.executable, *argv], cwd=ROOT, env=self.environment, stdout=out)
        self.children[name] = child
        return child

    def start_venue(self, venue: str, *options: str) -> None:
        """Start a simulator and keep its ready line, as the supervisor does."""
        name = f"sim-{venue}"
        arguments = ["-m", "simulators", venue, "--state", str(self.paths.sim_state(venue)), *options]
        if venue == "polymarket":
            arguments += ["--reference", str(self.paths.sim_ready("binance"))]
        self.paths.sim_state(venue).mkdir(parents=True, exist_ok=True)
        self.spawn(name, *arguments)
        out = self.paths.runtime / f"{name}.out"
        wait_for(lambda: out.read_bytes().endswith(b"\n"))
        self.ready[venue] = json.loads(out.read_text())
        write_atomically(self.paths.sim_ready(venue), self.ready[venue])

    def start_participant(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a participant and wait until it has reconciled."""
        child = self.spawn(name, str(ROOT / "tests/unit/control_participant.py"), name, *options)
        role = 1 if name == "engine" else 2
        wait_for(lambda: shared.is_reconciled(self.ledger.snapshot(), role))
        return child

    def place(self, count: int) -> None:
        """Rest some orders on Binance, far from the market."""

        async def work() -> None:
            async with BinanceVenue(self.ready["binance"], 60.0) as venue:
                bid, _ = await venue.top("BTCUSDT")
                for number in range(count):
                    price = f"{int(bid.split('.')[0]) - 500 - number}.0"
                    order = {
                        "symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
                        "quantity": "0.010", "price": price, "newClientOrderId": f"t{number}",
                    }  # fmt: skip
                    await venue._signed("POST", "/fapi/v1/order", order)

        asyncio.run(work())

    def buy(self, quantity: str) -> None:
        """Take a position on Binance at the market."""

        async def work() -> None:
            async with BinanceVenue(self.ready["binance"], 60.0) as venue:
                order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": quantity}
                await venue._signed("POST", "/fapi/v1/order", order)

        asyncio.run(work())

    def binance_account(self) -> dict[str, Any]:
        """Our account by the simulator's own books."""
        account = httpx.get(f"{self.ready['binance']['admin']}/account", trust_env=False, timeout=60).json()
        (only,) = account["accounts"].values()
        return dict(only)

    def open_at_binance(self) -> int:
        """Open orders there."""
        return len(self.binance_account()["open_orders"])

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a person would."""
        return subprocess.run(
            [sys.executable, "-m", "control", *arguments], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def kill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`control kill`, again while a busy machine leaves a venue unverified; its output as one text."""
        said = ""
        for _ in range(5):
            killed = self.control("kill", *arguments)
            said += killed.stdout
            if killed.returncode != Exit.KILL_UNVERIFIED:
                break
        return subprocess.CompletedProcess(killed.args, killed.returncode, said, killed.stderr)

    def close(self) -> None:
        """End every child."""
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.kill()
            child.wait()
        self.ledger.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """Two venues, an engine and a bot."""
    made = System(tmp_path)
    try:
        made.start_venue("binance")
        made.start_venue("polymarket")
        made.start_participant("engine")
        made.start_participant("polymarket_bot")
        made.ledger.set_state(LedgerState.ACTIVE)
        yield made
    finally:
        made.close()


def processor_seconds() -> float:
    """Processor time of every command that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_kill_confirms_and_holds_until_resume(system: System) -> None:
    """Both processes acknowledge and end, nothing is left at the venues, a start is refused until resume.
    What a kill computes and what it must wait for fit into three seconds, however busy the machine is."""
    system.place(4)
    before = processor_seconds()
    killed = system.control("kill", "--reason", "test")
    assert processor_seconds() - before + kill.SECOND_LOOK_S < 3.0
    if killed.returncode == Exit.KILL_UNVERIFIED:
        killed = system.kill()
    else:
        assert "4 cancelled" in killed.stdout
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert system.open_at_binance() == 0
    assert system.children["engine"].wait(60) == 0
    assert system.children["polymarket_bot"].wait(60) == 0
    assert system.ledger.state == LedgerState.HALTED
    assert is_latched(system.paths.latch)
    (journalled,) = (
        row for row in recorded_events(system.paths.mode_home, 100) if row["name"] == "kill_finished"
    )
    assert journalled["text"] == "test" and f"(uid {os.getuid()})" in journalled["actor"]
    refused = system.control("start", "--paper")
    assert refused.returncode == 8 and "control resume" in refused.stderr
    halted = system.control("status")
    assert halted.returncode == 3
    assert halted.stderr.startswith("Halted: `control resume` lifts it") and "HALTED at 20" in halted.stdout
    assert "UTC, before the stop" in halted.stdout
    assert "before the stop" in system.control("positions").stderr
    assert system.kill().returncode == 0
    assert system.control("resume").returncode == 2  # no terminal, no --yes
    assert system.control("resume", "--yes").returncode == 0
    assert not is_latched(system.paths.latch)
    assert int(system.ledger.state) == LedgerState.INIT


def test_stopped_engine_is_killed(system: System) -> None:
    """A paused process cannot acknowledge: it is ended by SIGKILL and its orders by the command's own key."""
    system.place(3)
    os.kill(system.children["engine"].pid, signal.SIGSTOP)
    killed = system.kill()
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert "did not acknowledge: SIGKILL" in killed.stdout
    assert system.children["engine"].wait(60) == -signal.SIGKILL
    assert system.open_at_binance() == 0


def test_kill_works_without_the_runtime_folder(system: System) -> None:
    """With ledger and addresses gone the venues are found through their processes."""
    system.place(2)
    moved = system.paths.runtime.with_name("moved")
    system.paths.runtime.rename(moved)
    try:
        killed = system.kill("--venue", "binance")  # at the other one is looked for a minute
    finally:
        shutil.rmtree(system.paths.runtime, ignore_errors=True)
        moved.rename(system.paths.runtime)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert system.open_at_binance() == 0
    assert is_latched(system.paths.latch)


def test_damaged_files_do_not_stop_a_kill(system: System) -> None:
    """Garbage in ledger, page and supervisor.json: processes and orders are found without them."""
    system.place(2)
    system.paths.supervisor_json.write_text('{"children": [{"nonsense": 1}], "pid": "x"}')
    system.paths.engine_page.write_bytes(b"\xff" * 5000)
    damaged = system.paths.runtime / "damaged"
    damaged.write_bytes(os.urandom(system.paths.ledger.stat().st_size))
    damaged.chmod(0o600)
    damaged.rename(system.paths.ledger)
    killed = system.kill("--venue", "binance")  # at the other one is looked for a minute
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert "ledger missing or damaged" in killed.stdout
    assert system.open_at_binance() == 0
    assert is_latched(system.paths.latch)


def test_unreachable_venue_is_unverified(system: System) -> None:
    """A venue that does not answer is named, the other one is emptied all the same, and the code is 7."""
    system.place(2)
    system.children["sim-polymarket"].kill()
    system.children["sim-polymarket"].wait()
    killed = system.control("kill")
    assert killed.returncode == Exit.KILL_UNVERIFIED
    assert "polymarket: UNVERIFIED" in killed.stdout
    assert "binance: " in killed.stdout
    assert system.open_at_binance() == 0


def test_wrong_clock_does_not_stop_a_kill(system: System) -> None:
    """With the venue's clock five seconds off, requests are signed again by the venue's own time."""
    system.place(2)
    faults = f"{system.ready['binance']['admin']}/faults"
    httpx.post(faults, json={"clock_offset_ms": 5000}, trust_env=False, timeout=60).raise_for_status()
    killed = system.kill()
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert system.open_at_binance() == 0


def test_resume_is_refused_while_orders_are_open(system: System) -> None:
    """A halt is not lifted while a venue still shows an open order."""
    assert system.kill().returncode == 0
    system.place(1)
    refused = system.control("resume", "--yes")
    assert refused.returncode == 1 and "1 open orders" in refused.stderr
    assert is_latched(system.paths.latch)


def test_status_is_complete_without_a_supervisor(system: System) -> None:
    """The picture comes from shared memory: every promised field is there, and the code is 3."""
    shown = system.control("status", "--json")
    assert shown.returncode == 3
    picture = json.loads(shown.stdout)
    assert picture["state"] == "STOPPED" and picture["mode"] == "paper"
    pids = {name: system.children[name].pid for name in ("engine", "polymarket_bot")}
    for name, pid in pids.items():
        assert f"{name} ({pid})" in shown.stderr
        assert [row["pid"] for row in picture["processes"] if row["name"] == name] == [pid]
    assert "No supervisor: " in shown.stderr and "control kill" in shown.stderr
    assert "without a supervisor" in system.control("status").stdout
    assert picture["as_of_wall_ns"] is None
    assert picture["budget"]["limit_micros"] == LIMIT.loss
    assert picture["budget"]["used_micros"] == 2_000_000
    assert picture["budget"]["positions_micros"] == 1_200_000
    assert {row["name"] for row in picture["budget"]["participants"]} == {"engine", "polymarket_bot"}
    assert picture["pnl"]["day_micros"] == -10
    assert [row["state"] for row in picture["venues"]] == ["READY", "READY"]
    keys = {
        "schema_version", "mode", "state", "uptime_s", "budget", "pnl", "processes", "venues", "positions",
        "orders", "fills", "refusals", "signals", "latency",
    }  # fmt: skip
    assert keys <= set(picture)
    assert {"p50", "p99", "p999", "count"} <= set(picture["latency"]["tick_to_order_ns"])


def test_kill_with_nothing_running_still_latches(tmp_path: Path) -> None:
    """On a machine where nothing was ever started the command latches and confirms."""
    environment = {
        **os.environ,
        "PURSER_HOME": str(tmp_path / "home"),
        "PURSER_RUNTIME": str(tmp_path / "run"),
    }
    argv = [sys.executable, "-m", "control", "kill", "--venue", "binanse"]  # a slip does not stop a kill
    killed = subprocess.run(
        argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert killed.returncode == 0, killed.stdout
    assert "binanse" in killed.stdout + killed.stderr
    assert "no venue has anything of ours: none was asked" in killed.stdout
    for venue in ("binance", "polymarket"):
        assert (
            f"{venue}: nothing to cancel: no process of this PURSER_HOME ever worked there" in killed.stdout
        )
    assert "confirmed" not in killed.stdout
    paths = Paths.from_environment("paper", environment, create=False)
    assert is_latched(paths.latch)
    assert snapshot(paths)["state"] == "HALTED"
    assert processes.find_ours(paths.runtime) == []


def test_kill_goes_on_when_nobody_reads_its_words(system: System) -> None:
    """`control kill | head -1`, or a terminal that is gone: the words are lost, the kill is not."""
    system.place(2)
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-m", "control", "kill"]
    killed = subprocess.run(
        argv, cwd=ROOT, env=system.environment, stdout=writing, stderr=writing, timeout=120, check=False
    )
    os.close(writing)
    assert killed.returncode == 0 or system.kill().returncode == 0
    assert is_latched(system.paths.latch)
    assert system.ledger.state == LedgerState.HALTED
    assert system.open_at_binance() == 0


def test_a_second_thought_does_not_leave_a_kill_half_done(system: System) -> None:
    """Ctrl-C once it has begun, or a terminal that closes: it goes on to its end and confirms."""
    system.place(2)
    argv = [sys.executable, "-m", "control", "kill"]
    with subprocess.Popen(argv, cwd=ROOT, env=system.environment, stdout=subprocess.PIPE, text=True) as child:
        wait_for(lambda: is_latched(system.paths.latch))
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGHUP)
        said, _ = child.communicate(timeout=30)
    assert child.returncode == 0 and "binance: 2 cancelled" in said, said
    assert system.open_at_binance() == 0


def test_hanging_venue_does_not_hold_up_a_kill(system: System) -> None:
    """A venue that takes the connection and never answers: code 7 by the command's own deadline, which no
    call is longer than, no noise, and the other venue is emptied."""
    system.place(1)
    os.kill(system.children["sim-binance"].pid, signal.SIGSTOP)
    killed = system.control("kill")
    assert killed.returncode == 7
    (finished,) = [
        row for row in recorded_events(system.paths.mode_home, 9) if row["name"] == "kill_finished"
    ]
    assert finished["seconds"] < 20  # 2.6 on a machine of its own; a connection that is waited for: for ever
    assert "binance: UNVERIFIED" in killed.stdout and "polymarket: " in killed.stdout
    assert "Traceback" not in killed.stderr and "never retrieved" not in killed.stderr


def test_full_disk_still_latches(system: System) -> None:
    """Where not one byte can be written, an empty latch file is made: its presence is what counts."""
    argv = [sys.executable, "-m", "control", "kill", "--reason", "disk"]
    killed = subprocess.run(
        argv, cwd=ROOT, env=system.environment, capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )  # fmt: skip
    assert killed.returncode in (Exit.OK, Exit.KILL_UNVERIFIED), killed.stdout + killed.stderr
    assert is_latched(system.paths.latch)
    assert system.paths.latch.stat().st_size == 0
    refused = system.control("start", "--paper")
    assert refused.returncode == 8


def test_two_kills_at_once(system: System) -> None:
    """Two terminals, one thought: both confirm."""
    system.place(2)
    argv = [sys.executable, "-m", "control", "kill"]
    both = [
        subprocess.Popen(argv, cwd=ROOT, env=system.environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [child.communicate(timeout=120)[0] for child in both]
    assert {child.returncode for child in both} <= {Exit.OK, Exit.KILL_UNVERIFIED}, said
    assert system.kill().returncode == 0
    assert system.open_at_binance() == 0


def test_a_venue_that_was_never_used_needs_no_answer(tmp_path: Path) -> None:
    """Only the engine ever ran: Polymarket has nothing of ours. What was seen empty stays so until its
    owner runs again; after that only the venue itself can tell."""
    system = System(tmp_path)
    try:
        system.start_venue("binance")
        system.start_participant("engine")
        system.place(1)
        never = "polymarket: nothing to cancel: no process of this PURSER_HOME ever worked there"
        killed = system.control("kill")
        assert killed.returncode == 0 and never in killed.stdout, killed.stdout + killed.stderr
        assert "binance: 1 cancelled" in killed.stdout

        system.children["sim-binance"].kill()
        system.children["sim-binance"].wait()
        again = system.control("kill")
        assert again.returncode == 0 and never in again.stdout, again.stdout + again.stderr
        assert "binance: nothing to cancel: seen empty at 20" in again.stdout
        assert "engine has not run since" in again.stdout

        system.ledger.set_state(LedgerState.INIT, by_person=True)
        engine = system.start_participant("engine")
        engine.kill()
        engine.wait()
        unknown = system.control("kill")
        assert unknown.returncode == 7 and "binance: UNVERIFIED" in unknown.stdout, unknown.stdout
        assert never in unknown.stdout
    finally:
        system.close()


@pytest.mark.parametrize(
    ("trace", "venue"),
    [("paper/engine/journal-00000001.bin", "binance"), ("paper/bot.db", "polymarket"),
     ("paper/logs/bot.log", "polymarket")],
)  # fmt: skip
def test_what_is_left_on_disk_keeps_a_venue_in_question(tmp_path: Path, trace: str, venue: str) -> None:
    """After a reboot memory is empty, but the owner's files say that it worked there: unverified."""
    environment = {
        **os.environ,
        "PURSER_HOME": str(tmp_path / "home"),
        "PURSER_RUNTIME": str(tmp_path / "run"),
    }
    paths = Paths.from_environment("paper", environment, create=False)
    left = paths.home / trace
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    other = {"binance": "polymarket", "polymarket": "binance"}[venue]
    assert exposure.nothing_there(paths, venue) is None
    assert exposure.nothing_there(paths, other) == exposure.NEVER
    exposure.note_empty(paths, venue)
    assert "seen empty" in (exposure.nothing_there(paths, venue) or "")
    left.with_name("journal-00000002.bin" if venue == "binance" else left.name).write_bytes(b"xy")
    assert exposure.nothing_there(paths, venue) is None


def test_one_venue_is_emptied_and_the_other_is_said_not_to_be_asked(system: System) -> None:
    """--venue halts everything, cancels at one venue, and does not pass over the other in silence."""
    system.place(1)
    killed = system.control("kill", "--venue", "polymarket")
    assert killed.returncode == 0, killed.stdout
    assert "binance: not asked (--venue polymarket)" in killed.stdout
    assert "polymarket: 0 cancelled" in killed.stdout
    assert system.ledger.state == LedgerState.HALTED and system.open_at_binance() == 1
    assert all(child.wait(60) == 0 for name, child in system.children.items() if not name.startswith("sim-"))


def test_a_typing_mistake_does_not_stop_a_kill(system: System) -> None:
    """An option that does not exist and a word too many are named, and everything is stopped."""
    system.place(1)
    killed = system.control("kill", "--flaten", "--reason", "a slip", "now")
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert "'--flaten' is not understood; everything is stopped" in killed.stdout
    assert "'now' is not understood" in killed.stdout
    assert system.open_at_binance() == 0
    assert json.loads(system.paths.latch.read_text())["text"] == "a slip"


@pytest.mark.parametrize(
    ("typed", "kept", "misread"),
    [
        ("--flatten --venue binance --reason x", ["--flatten", "--venue=binance", "--reason=x"], []),
        ("--reason=-h --venue", ["--reason=-h"], ["--venue"]),
        ("--reason --flatten", ["--flatten"], ["--reason"]),
        ("--venu=binance -f", [], ["--venu=binance", "-f"]),
        ("--reason help", ["--reason=help"], []),
        ("--hlep", ["--help"], []),
        ("help", ["--help"], []),
    ],
)
def test_what_is_understood_of_a_kill(typed: str, kept: list[str], misread: list[str]) -> None:
    """Known options with their values are kept, the rest is named; who looks for help stops nothing."""
    assert understood(typed.split()) == (kept, misread)


def test_flatten_closes_in_capped_slices(system: System) -> None:
    """A position of many thousand dollars is closed by reduce-only slices below the cap, also when two
    people do it at once."""
    system.buy("0.250")
    argv = [sys.executable, "-m", "control", "kill", "--flatten", "--venue", "binance"]
    both = [
        subprocess.Popen(argv, cwd=ROOT, env=system.environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [child.communicate(timeout=240)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0], said
    assert all(", flat" in text for text in said), said
    fills = [row for row in system.binance_account()["fills"] if row["side"] == "SELL"]
    orders: dict[str, int] = {}
    for row in fills:
        orders[row["order_id"]] = orders.get(row["order_id"], 0) + row["quantity_e9"] * row["price_e9"]
    assert len(orders) >= 3
    assert max(orders.values()) <= 5_000 * 10**18
    assert sum(row["quantity_e9"] for row in fills) == 250_000_000


def test_an_order_that_lands_after_the_first_look_is_cancelled_by_the_second(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was on its way when everything was halted arrives behind the first sweep: once no order can be
    on its way any more, the venue is emptied and looked at again."""
    monkeypatch.setattr(kill, "SECOND_LOOK_S", 3.0)  # room for a slow machine
    monkeypatch.setattr(kill, "TOTAL_S", 20.0)
    log = f"{system.ready['binance']['admin']}/log"

    def looked() -> bool:
        entries = httpx.get(log, trust_env=False).json()["requests"]
        return any("/fapi/v1/openOrders" in json.dumps(entry) for entry in entries)

    def land_late() -> None:
        wait_for(looked)
        system.place(1)

    late = threading.Thread(target=land_late)
    late.start()
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        report = kill.Kill(system.paths, "", False, "binance", lambda text, tone: None).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        late.join()
    assert report.exit_code() == 0
    assert [(result.cancelled, result.open_orders) for result in report.venues] == [(1, 0)]
    assert system.open_at_binance() == 0


def test_an_engine_on_a_test_network_is_emptied_there(tmp_path: Path) -> None:
    """The engine's own settings name the venue and the key that it works with: those are used, not the
    address of a simulator that happens to run."""
    system = System(tmp_path)
    try:
        system.start_venue("binance", "--plain")
        there = system.ready["binance"]
        keys = system.paths.keys / "binance-testnet.json"
        keys.parent.mkdir(mode=0o700)
        write_atomically(keys, there["credentials"])
        config = tmp_path / "testnet.json"
        endpoints = {"rest": there["rest"], "streams": there["ws"], "ws_api": there["ws_api"]}
        config.write_text(
            json.dumps({"endpoints": endpoints, "credentials": {"file": "keys/binance-testnet.json"}})
        )
        write_atomically(system.paths.sim_ready("binance"), {**there, "rest": "http://127.0.0.1:1"})
        system.start_participant("engine", "--config", str(config))
        system.place(2)
        killed = system.control("kill")
        assert killed.returncode == 0, killed.stdout
        assert f"binance at {there['rest']}: 2 cancelled" in killed.stdout
        assert system.open_at_binance() == 0

        system.ledger.set_state(LedgerState.INIT, by_person=True)
        keys.chmod(0o644)
        system.start_participant("engine", "--config", str(config))
        unknown = system.control("kill")
        assert unknown.returncode == 7 and f"binance at {there['rest']}: UNVERIFIED" in unknown.stdout
    finally:
        system.close()


def test_an_answer_that_cannot_be_used_is_a_venue_error() -> None:
    """A venue that answers 200 with something else than orders counts as not reached: callers know that
    error, and a supervisor in the middle of a recovery does not end over it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{"odd":1}')
        await writer.drain()
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ready = {
            "rest": f"http://127.0.0.1:{port}",
            "credentials": {"api_key": "k", "api_secret": "s"},
        }
        async with server, BinanceVenue(ready, 60.0) as venue:
            with pytest.raises(VenueError, match="cannot be used"):
                await cancel_until_none(venue, {"BTCUSDT"}, time.monotonic() + 0.2)

    asyncio.run(ask())
