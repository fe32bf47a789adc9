"""The day's leader on a real ledger: what a start finds, whose time it believes, whom it waits for."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge import access
from bridge.ledger import Amounts, Ledger, now_ns
from bridge.messages import LedgerState, ParticipantRole, RollPhase
from bridge.paths import Paths
from bridge.wall_clock import DAY_NS, Look, day_of, wall_ns
from control.children import Child, wait_child
from control.day import DayKeeper
from control.keeper import Keeper, StartFailed
from control.processes import ProcessId, start_time_of
from control.records import write_atomically

USD = 1_000_000
ENGINE = int(ParticipantRole.ENGINE)


class Asked(DayKeeper):
    """The venues' clocks are what the test says."""

    told: dict[str, float | None]

    async def offsets(self) -> dict[str, float | None]:
        """Each venue's clock less ours."""
        return self.told


class Desk:
    """The parts of a supervisor that the leader touches, with a real ledger."""

    def __init__(self, folder: Path) -> None:
        environment = {"PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run")}
        self.paths = Paths.from_environment("paper", environment)
        self.ledger = Ledger.create(self.paths.ledger, Amounts(100 * USD, 1000 * USD))
        self.ledger.heartbeat(600_000_000_000)
        self.ledger.set_state(LedgerState.ACTIVE)
        self.children: list[Any] = []
        self.stopping = asyncio.Event()
        self.names: list[str] = []
        self.events = SimpleNamespace(write=lambda source, name, **fields: self.names.append(name))
        self.today = day_of(wall_ns())
        self.day = Asked(self)  # type: ignore[arg-type]
        self.day.told = {"binance": None, "polymarket": None}

    def live_ledger(self) -> Ledger:
        """As the supervisor's."""
        return self.ledger

    def kept(self) -> int:
        """The day in day.json."""
        return int(json.loads((self.paths.mode_home / "day.json").read_text())["day"])

    def step(self) -> None:
        """One round of the duty, and whatever roll it leads."""
        self.day._asked = 0.0
        asyncio.run(self.day._step())

    def frozen(self, *, acks: bool, reconciled: bool = True) -> subprocess.Popen[bytes]:
        """A process that holds the engine's line and follows the day, or does not."""
        program = (
            "import sys, time; from bridge.ledger import Ledger; from pathlib import Path\n"
            "from bridge.ledger import Amounts\n"
            "ledger = Ledger.open(Path(sys.argv[1])); ledger.join(1)\n"
            "sys.argv[3] == '1' and ledger.rebuild(Amounts(0, 0), Amounts(0, 0))\n"
            "while True:\n"
            "    roll = ledger.roll()\n"
            "    sys.argv[2] == '1' and ledger.roll_ack(roll, roll.day)\n"
            "    time.sleep(0.002)\n"
        )
        words = [str(int(acks)), str(int(reconciled))]
        child = subprocess.Popen([sys.executable, "-c", program, str(self.paths.ledger), *words])

        def stands() -> bool:
            line = self.ledger.snapshot().participants[ENGINE]
            return line.pid == child.pid and bool(line.reconciled_ns) == reconciled

        while not stands():
            assert child.poll() is None
            time.sleep(0.002)
        process = ProcessId(child.pid, start_time_of(child.pid) or 0)
        self.children.append(
            SimpleNamespace(name="engine", role=ENGINE, process=process, pid=child.pid, state="running")
        )
        return child


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk for one test."""
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_the_first_start_names_the_walls_day_and_keeps_it(desk: Desk) -> None:
    """Nothing ever ran: today by the wall, without a doubt."""
    desk.day.prepare()
    assert desk.ledger.roll().day == desk.kept() == desk.today and desk.day.problem == ""


def test_a_later_day_at_start_is_believed_only_with_two_witnesses(desk: Desk) -> None:
    """After a reboot the kept day stands and new risk is denied, until two venues show the same time."""
    desk.paths.mode_home.joinpath("day.json").write_text(json.dumps({"day": desk.today - 3}))
    desk.day.prepare()
    assert desk.ledger.roll().day == desk.today - 3 and desk.ledger.roll().clock_doubt_ns
    desk.day.told = {"binance": 0.1, "polymarket": None}
    desk.step()
    desk.day.told = {"binance": 0.1, "polymarket": 86_400.0}
    desk.step()
    assert desk.ledger.roll().day == desk.today - 3 and desk.names[-1] == "clock_not_confirmed"
    desk.day.told = {"binance": 0.1, "polymarket": -0.9}
    desk.step()
    assert desk.ledger.roll().day == desk.kept() == desk.today and not desk.ledger.roll().clock_doubt_ns
    assert desk.names[-1] == "day_rolled"


def test_an_earlier_wall_never_opens_a_day_again(desk: Desk) -> None:
    """The kept day is ahead of the wall: it stays, also when the venues confirm the wall."""
    desk.paths.mode_home.joinpath("day.json").write_text(json.dumps({"day": desk.today + 1}))
    desk.day.prepare()
    assert desk.day.problem
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    desk.step()
    assert desk.ledger.roll().day == desk.kept() == desk.today + 1 and desk.day.problem == ""


@pytest.mark.parametrize("phase", [RollPhase.PAUSE, RollPhase.BEGIN, 77])
def test_a_half_done_roll_is_finished_by_the_next_supervisor(desk: Desk, phase: int) -> None:
    """Killed in the pause: given up, and rolled anew when due. Killed after the day began: it has begun."""
    desk.ledger.first_day(desk.today - 1)
    if phase != 77:
        desk.ledger.roll_pause()
    if phase == RollPhase.BEGIN:
        desk.ledger.roll_begin(wall_ns())
    desk.day.prepare()
    assert desk.ledger.roll().phase == RollPhase.NONE
    assert desk.ledger.roll().day == (desk.today if phase == RollPhase.BEGIN else desk.today - 1)
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    desk.step()
    assert desk.ledger.roll().day == desk.today and not desk.ledger.roll().clock_doubt_ns


@pytest.mark.parametrize("by", ["venues", "person"])
def test_a_doubt_outlives_the_supervisor_that_had_it(desk: Desk, by: str) -> None:
    """The wall jumped within one day and the supervisor was killed: the next one, which finds the right day,
    still allows no new risk, until two venues or a person have confirmed the wall."""
    desk.ledger.first_day(desk.today)
    since_ns = now_ns() - 10**9
    desk.ledger.doubt_clock(since_ns)
    desk.day.prepare()
    desk.day.look()
    assert desk.ledger.roll().clock_doubt_ns == since_ns and "an earlier run" in desk.day.problem
    desk.day.told = {"binance": 0.0, "polymarket": 7200.0}
    desk.step()
    desk.day.look()
    assert desk.ledger.roll().clock_doubt_ns == since_ns
    if by == "venues":
        desk.day.told = {"binance": 0.0, "polymarket": 0.0}
        desk.step()
    else:
        desk.day.confirm("somebody")
    desk.day.look()
    assert not desk.ledger.roll().clock_doubt_ns and desk.day.problem == ""


def test_the_keeper_and_the_duty_lead_one_roll(desk: Desk) -> None:
    """At a start both wait for the venues at the same time; one of them rolls, and the other goes on only
    when the roll has ended."""
    desk.ledger.first_day(desk.today - 1)
    desk.day.prepare()
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    child = desk.frozen(acks=True)

    async def start() -> int:
        await desk.day.settle_start()
        return desk.ledger.roll().phase

    async def both() -> None:
        duty = asyncio.create_task(desk.day.run())
        quiet = asyncio.Event()
        starts = [asyncio.create_task(start()) for _ in range(2)]
        assert await asyncio.gather(*starts) == [RollPhase.NONE] * 2
        assert desk.ledger.roll().day == desk.today

        def note(source: str, name: str, **fields: object) -> None:
            desk.names.append(name)
            if name == "day_rolled":
                quiet.set()

        desk.events.write = note
        if "day_rolled" not in desk.names:  # told when the results are in, a second after the roll
            await quiet.wait()
        assert not duty.done()
        duty.cancel()

    asyncio.run(both())
    assert desk.names.count("day_rolled") == 1 and desk.ledger.roll().sequence == 1
    assert child.poll() is None and "day_words_mended" not in desk.names
    child.kill()
    child.wait()


def test_only_a_venue_that_we_trade_at_is_a_witness(desk: Desk, tmp_path: Path) -> None:
    """The engine was sent to another address than that of the simulator of this home, which answers: it is
    not asked, and a place that is not certain gives no time either."""
    asked: list[str] = []

    class Clock(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"serverTime": wall_ns() // 1_000_000}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Clock)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        here = f"http://127.0.0.1:{server.server_port}"
        key = {"api_key": "k", "api_secret": "s"}
        write_atomically(desk.paths.sim_ready("binance"), {"rest": here, "admin": here, "credentials": key})
        offset = asyncio.run(desk.day._offset("binance"))
        assert offset is not None and abs(offset) < 2 and asked
        asked.clear()
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            elsewhere = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            file = tmp_path / "key.json"
            write_atomically(file, key)
            where = access.Access(
                "engine", "binance", "paper", "demo", {"rest": elsewhere}, "k", key_file=str(file)
            )
            access.write(desk.paths, where, 1, wall_ns())
            assert asyncio.run(desk.day._offset("binance")) is None
        assert asked == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_words_that_are_not_the_leaders_are_mended(desk: Desk) -> None:
    """A day, a phase and a doubt that somebody else wrote are put right at the next look."""
    desk.day.prepare()
    desk.ledger.roll_pause()
    desk.ledger.roll_begin((desk.today + 5) * DAY_NS)
    desk.ledger.doubt_clock(now_ns())
    desk.day.look()
    roll = desk.ledger.roll()
    assert (roll.day, roll.phase, roll.clock_doubt_ns) == (desk.today, RollPhase.NONE, 0)
    assert desk.names == ["day_words_mended"]


def test_a_participant_that_does_not_acknowledge_is_ended(desk: Desk) -> None:
    """A second is waited for, then it is killed, and the day begins without it."""
    desk.ledger.first_day(desk.today - 1)
    desk.day.prepare()
    child = desk.frozen(acks=False)
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    began = time.monotonic()
    desk.step()
    assert child.wait(10) == -9 and time.monotonic() - began > 1.0
    assert desk.ledger.roll().day == desk.today and desk.ledger.roll().phase == RollPhase.NONE
    assert "roll_not_acknowledged" in desk.names
    assert desk.children[0].ended_by_roll  # its keeper counts no death


def test_a_participant_that_still_starts_is_not_waited_for(desk: Desk) -> None:
    """Joined but not reconciled, it can send nothing: it lives on, and the day begins at once."""
    desk.ledger.first_day(desk.today - 1)
    desk.day.prepare()
    child = desk.frozen(acks=False, reconciled=False)
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    desk.step()
    assert child.poll() is None and "roll_not_acknowledged" not in desk.names
    assert desk.ledger.roll().day == desk.today and desk.ledger.roll().phase == RollPhase.NONE
    child.kill()
    child.wait()


def test_a_participant_that_acknowledges_lives_on(desk: Desk) -> None:
    """It follows both phases and is left alone."""
    desk.ledger.first_day(desk.today - 1)
    desk.day.prepare()
    child = desk.frozen(acks=True)
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    desk.step()
    assert child.poll() is None and desk.ledger.day_of(ENGINE) == desk.today
    assert "roll_not_acknowledged" not in desk.names
    child.kill()
    child.wait()


@pytest.mark.parametrize("healthy", [False, True])
def test_a_child_that_a_roll_ended_fails_no_start_and_counts_no_death(
    desk: Desk, tmp_path: Path, healthy: bool
) -> None:
    """Its keeper puts things right and starts it anew, as often as that happens; a death by another hand
    before trading is on still fails the start."""

    async def story() -> None:
        log = tmp_path / "log"
        child = Child("engine", "engine", ENGINE, "binance", ["/bin/sleep", "600"], log, log)
        desk.children.append(child)
        stop = asyncio.Event()
        shared = ("paths", "ledger", "events", "live_ledger", "children")
        supervisor = SimpleNamespace(
            **{name: getattr(desk, name) for name in shared},
            healthy=healthy, stopping=stop, write_supervisor_json=lambda: None,
        )  # fmt: skip
        keeper = Keeper(supervisor)  # type: ignore[arg-type]
        keeper._start_participant(child)
        first = child.pid
        desk.day._end(child)
        await keeper._keep_once(child)
        assert child.pid != first and child.restarts == 1 and not child.deaths
        assert child.process is not None
        os.kill(child.pid, 9)
        if healthy:
            await keeper._keep_once(child)
            assert len(child.deaths) == 1
            os.kill(child.pid, 9)
            await wait_child(child)
        else:
            with pytest.raises(StartFailed):
                await keeper._keep_once(child)

    asyncio.run(story())


def test_jumps_are_events_and_beyond_five_seconds_a_doubt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below, nothing is stopped; a person's word ends the doubt."""
    desk.day.prepare()
    desk.day._watch.look(wall_ns() - 10**9)
    desk.day.look()
    assert desk.names == ["clock_jumped"] and not desk.ledger.roll().clock_doubt_ns
    desk.day._watch.look(wall_ns() - 6 * 10**9)
    desk.day.look()
    desk.day._watch.look(wall_ns() - 20 * 10**9)
    assert desk.day._watch.doubted
    desk.day._doubt("the wall clock moved by -20.0 s")
    assert desk.ledger.roll().clock_doubt_ns and "control clock --confirm" in desk.day.problem
    desk.day.confirm("somebody")
    assert not desk.ledger.roll().clock_doubt_ns and desk.day.problem == ""


def test_after_a_sleep_a_persons_word_is_not_enough(desk: Desk) -> None:
    """The clock may be right, but what the participants know is old until they have asked anew."""
    desk.day.prepare()
    child = desk.frozen(acks=True)
    slept = Look(0, 600 * 10**9)
    desk.day._watch = SimpleNamespace(  # type: ignore[assignment]
        look=lambda: slept, doubted=False, moved_ns=0, confirm=lambda: None
    )
    desk.day.look()
    assert desk.names == ["machine_slept", "clock_doubted"]
    desk.day.confirm("somebody")
    assert desk.ledger.roll().clock_doubt_ns
    desk.day.told = {"binance": 0.0, "polymarket": 0.0}
    desk.step()
    assert desk.ledger.roll().clock_doubt_ns  # the engine has no page and has not reconciled
    child.kill()
    child.wait()


def test_a_clock_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """The bot names the variable and what to do, and ends with the code of a wrong configuration."""
    environment = {**os.environ, "PURSER_TEST_CLOCK": str(tmp_path / "none"), "PURSER_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "polymarket_bot", "--mode", "paper", "--config", "config/polymarket_sim.json"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4 and "PURSER_TEST_CLOCK" in done.stderr and "unset it" in done.stderr
