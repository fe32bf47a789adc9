"""What a kill waits for, what it says of orders on their way, and where it asks."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_control_kill import System, wait_for

from bridge import access as records
from bridge.ledger import now_ns
from bridge.messages import LedgerState, SlotState
from control import exposure, flight
from control.emptying import empty_venue
from control.errors import Exit
from control.kill import Kill, KillReport, VenueResult
from control.latch import is_latched
from control.records import write_atomically
from control.sweep import FATES_AT_ONCE, Sweep
from control.venues import Throttled, open_venue

NEVER_SENT = "0x" + "5a" * 32


@pytest.fixture
def venues(tmp_path: Path) -> Iterator[System]:
    """Two venues, and nobody who trades there yet."""
    made = System(tmp_path)
    try:
        made.start_venue("binance")
        made.start_venue("polymarket")
        yield made
    finally:
        made.close()


def sent(system: System, name: str, folder: Path, **order: Any) -> None:
    """Start a participant that has recorded where it trades and has sent this order."""
    venue = "binance" if name == "engine" else "polymarket"
    ready, line = system.ready[venue], str(system.paths.sim_ready(venue))
    named = ("rest", "ws", "ws_api", "ca") if venue == "binance" else ("clob", "ws", "ca")
    where = {
        "participant": name, "venue": venue, "mode": "paper", "environment": "paper",
        "endpoints": {key: ready[key] for key in named if key in ready},
        "api_key": ready["credentials"]["api_key"], "ready": line, "key_ready": line,
    }  # fmt: skip
    (folder / f"{name}.access").write_text(json.dumps(where))
    (folder / f"{name}.sent").write_text(json.dumps([{"symbol": "BTCUSDT", **order}]))
    options = ("--access", str(folder / f"{name}.access"), "--sent", str(folder / f"{name}.sent"))
    system.start_participant(name, *options)
    system.ledger.set_state(LedgerState.ACTIVE)
    wait_for(lambda: any(o.state == SlotState.SENT for o in flight.read(system.paths).in_flight(venue)))


def test_an_order_s_own_window_is_waited_out(venues: System, tmp_path: Path) -> None:
    """Nothing is seen of an order whose window has seconds left: only its end confirms the kill, and what
    lands before is cancelled. An acknowledgement of an earlier halt is none of this one."""
    venues.ledger.halt(1)
    venues.start_participant("engine")
    wait_for(lambda: venues.ledger.snapshot().participants[1].halt_ack == venues.ledger.epoch)
    venues.ledger.set_state(LedgerState.INIT, by_person=True)
    venues.children["engine"].kill()
    venues.children["engine"].wait()
    sent(venues, "engine", tmp_path, query_id="held", window_ms=12_000)
    (order,) = flight.read(venues.paths).in_flight("binance")
    argv = ["kill", "--venue", "binance"]
    os.kill(venues.children["engine"].pid, signal.SIGSTOP)
    with subprocess.Popen(
        [sys.executable, "-m", "control", *argv], env=venues.environment, stdout=subprocess.PIPE, text=True
    ) as killing:
        wait_for(lambda: is_latched(venues.paths.latch))
        wait_for(lambda: now_ns() > order.until_ns(0) - 5_000_000_000)
        venues.place(1)
        said, _ = killing.communicate(timeout=60)
    assert killing.returncode == 0, said
    assert now_ns() > order.until_ns(0) and "no order open" in said, said
    assert "did not acknowledge: SIGKILL" in said and "waiting for orders on their way (binance 1)" in said
    assert [row["status"] for row in venues.binance_account()["accepted"]] == ["CANCELED"]


def test_an_order_that_is_found_by_its_id_is_not_waited_for(venues: System, tmp_path: Path) -> None:
    """Its window has half a minute left, but the venue tells of it: it is cancelled, and all is known."""
    sent(venues, "engine", tmp_path, query_id="t0", window_ms=30_000)
    venues.place(1)
    began = time.monotonic()
    killed = venues.control("kill", "--venue", "binance")
    assert killed.returncode == 0 and "binance: 1 cancelled" in killed.stdout, killed.stdout
    assert time.monotonic() - began < 15
    assert venues.control("resume", "--yes").returncode == 0


def test_what_was_never_seen_where_nothing_proves_it_is_of_unknown_fate(
    venues: System, tmp_path: Path
) -> None:
    """Polymarket has no window: an order is looked for a minute after it was sent, then the kill says 6.
    Who does not wait is told when to come back, and nothing is resumed before."""
    sent(venues, "polymarket_bot", tmp_path, query_id=NEVER_SENT, sent_ms_ago=40_000)
    began = time.monotonic()
    hurried = venues.control("kill", "--no-wait")
    assert hurried.returncode == Exit.KILL_PARTLY and time.monotonic() - began < 15
    assert "polymarket: 0 cancelled" in hurried.stdout and "1 OF UNKNOWN FATE: known at " in hurried.stdout
    assert "run `control kill` then" in hurried.stdout
    refused = venues.control("resume", "--yes")
    assert refused.returncode == 1 and "1 orders of unknown fate until " in refused.stderr
    assert is_latched(venues.paths.latch)
    waited = venues.control("kill")
    assert waited.returncode == Exit.KILL_PARTLY and "1 OF UNKNOWN FATE: never seen" in waited.stdout
    assert "UNVERIFIED" not in waited.stdout and "no order open" in waited.stdout
    resumed = venues.control("resume", "--yes")
    assert resumed.returncode == 0 and "1 orders were never seen" in resumed.stdout + resumed.stderr


@pytest.mark.parametrize("state", [signal.SIGSTOP, signal.SIGKILL])
def test_the_venue_that_a_participant_used_is_asked(
    venues: System, tmp_path: Path, state: signal.Signals
) -> None:
    """Explicit addresses and a key file; the process is paused or dead, and another venue's ready line lies
    where a simulator's would: the recorded venue is emptied, with the key from its file."""
    for name, venue in (("engine", "binance"), ("polymarket_bot", "polymarket")):
        ready = venues.ready[venue]
        keys = venues.paths.keys / f"{venue}.json"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.touch(0o600)
        keys.write_text(json.dumps(ready["credentials"]))
        named = [key for key in ("rest", "ws", "ws_api", "clob", "ca") if key in ready]
        where = {
            "participant": name, "venue": venue, "mode": "paper", "environment": "testnet",
            "endpoints": {key: ready[key] for key in named},
            "api_key": ready["credentials"]["api_key"], "key_file": str(keys),
        }  # fmt: skip
        (tmp_path / name).write_text(json.dumps(where))
        venues.start_participant(name, "--access", str(tmp_path / name))
        elsewhere = {**ready, "rest": "http://127.0.0.1:1", "clob": "http://127.0.0.1:1"}
        venues.paths.sim_ready(venue).write_text(json.dumps(elsewhere))
        os.kill(venues.children[name].pid, state)
    venues.place(2)
    killed = venues.control("kill")
    assert killed.returncode == 0, killed.stdout
    assert f"binance at {venues.ready['binance']['rest']}: 2 cancelled" in killed.stdout
    assert f"polymarket at {venues.ready['polymarket']['clob']}: 0 cancelled" in killed.stdout
    assert venues.open_at_binance() == 0


def test_a_first_look_that_fails_does_not_end_the_kill(venues: System) -> None:
    """The venue bans the address for a second just then: what the ban asks for is kept, and the look after
    it confirms."""
    venues.start_participant("engine")
    venues.place(2)
    faults = {"ban_418": 1, "ban_seconds": 1}
    admin = f"{venues.ready['binance']['admin']}/faults"
    httpx.post(admin, json=faults, trust_env=False, timeout=60).raise_for_status()
    killed = venues.control("kill", "--venue", "binance")
    assert killed.returncode == 0 and "binance: 2 cancelled" in killed.stdout, killed.stdout
    assert venues.open_at_binance() == 0


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (VenueResult("binance", cancelled=2, verified=2), 0, "2 cancelled"),
        (VenueResult("binance", open_orders=1), 6, "1 STILL OPEN"),
        (VenueResult("polymarket", unknown=2), 6, "2 OF UNKNOWN FATE"),
        (VenueResult("polymarket", unread="orders on their way cannot be counted"), 6, "cannot be counted"),
        (VenueResult("polymarket", problem="no answer"), 7, "UNVERIFIED"),
        (VenueResult("polymarket", problem="no answer", nothing="seen empty"), 0, "seen empty"),
    ],
)
def test_the_exit_code_says_the_worst_of_what_is_known(result: VenueResult, code: int, words: str) -> None:
    """0 is said only where nothing is left and nothing is in doubt."""
    assert KillReport(venues=[VenueResult("binance", verified=2), result]).exit_code() == code
    assert words in result.line()


def test_a_place_that_was_seen_empty_is_still_waited_for(venues: System, tmp_path: Path) -> None:
    """The note that a venue was seen empty says nothing of an order that the ledger has on its way: neither a
    kill nor a resume passes over it."""
    sent(venues, "polymarket_bot", tmp_path, query_id=NEVER_SENT)
    venues.children["polymarket_bot"].kill()
    venues.children["polymarket_bot"].wait()
    exposure.note_empty(venues.paths, "polymarket")
    hurried = venues.control("kill", "--no-wait")
    assert hurried.returncode == Exit.KILL_PARTLY and "1 OF UNKNOWN FATE" in hurried.stdout, hurried.stdout
    refused = venues.control("resume", "--yes")
    assert refused.returncode == 1 and "1 orders of unknown fate until " in refused.stderr, refused.stderr


@pytest.mark.parametrize("spoilt", ['"symbols": 7', '"key": {"file": "a\\u0000b"}', f'"x": {"[" * 3000}'])
def test_no_record_s_content_ends_a_kill(venues: System, tmp_path: Path, spoilt: str) -> None:
    """Where the engine traded cannot be read: the simulator of this home is emptied all the same, the other
    venue is verified, every process is ended, and the exit code tells of the doubt."""
    sent(venues, "engine", tmp_path, query_id="t0", window_ms=100)
    venues.place(1)
    for folder in records.folders(venues.paths):
        content = (folder / "engine.json").read_text().strip()
        (folder / "engine.json").write_text(f"{content[:-1]}, {spoilt}}}")
    killed = venues.control("kill")
    assert killed.returncode == Exit.KILL_UNVERIFIED, killed.stdout + killed.stderr
    assert "binance: UNVERIFIED, " in killed.stdout and "Traceback" not in killed.stderr
    assert venues.open_at_binance() == 0
    assert venues.children["engine"].wait(10) is not None


@pytest.mark.parametrize(
    ("lost", "code"), [("a slot", Exit.KILL_PARTLY), ("the ledger", Exit.KILL_PARTLY), ("the boot", Exit.OK)]
)
def test_what_could_not_be_counted_is_not_confirmed_by_waiting(
    venues: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, code: Exit
) -> None:
    """Where no window ends an order's chance, slots that cannot be read, or a ledger that is gone with the
    bot of this boot, leave a doubt after any wait; with the bot of the boot before there is none."""
    sent(venues, "polymarket_bot", tmp_path, query_id=NEVER_SENT)
    venues.children["polymarket_bot"].kill()
    venues.children["polymarket_bot"].wait()
    if lost == "a slot":
        content = venues.paths.ledger.read_bytes()
        assert content.count(b"\x5a" * 32) == 1
        with venues.paths.ledger.open("r+b") as file:
            file.seek(content.index(b"\x5a" * 32))
            file.write(b"\x5b")
    else:
        venues.paths.ledger.unlink()
    if lost == "the boot":
        venues.paths.bot_page.unlink(missing_ok=True)
        (records.folders(venues.paths)[1] / "polymarket_bot.json").unlink()
        file_at = records.folders(venues.paths)[0] / "polymarket_bot.json"
        record = json.loads(file_at.read_text())
        write_atomically(file_at, {**record, "run": {**record["run"], "started_wall_ns": 1}})
    monkeypatch.setitem(flight.LOOK_MAX_S, "polymarket", 1.0)  # the rule is the same, and the test short
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    report = Kill(venues.paths, "", False, "polymarket", lambda text, tone: None).run()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    (line,) = (result.line() for result in report.venues)
    assert report.exit_code() == code, line
    assert ("COULD NOT BE COUNTED" in line) == (code != Exit.OK), line


def missing(count: int) -> flight.Flight:
    """So many orders of which nothing was heard; the last one is t0."""
    orders = [
        flight.Order("engine", "binance", "BTCUSDT", n, f"gone{n}", SlotState.SENT, False, now_ns(), None)
        for n in range(count - 1)
    ]
    orders.append(
        flight.Order("engine", "binance", "BTCUSDT", count, "t0", SlotState.SENT, False, now_ns(), None)
    )
    return flight.Flight([flight.Line("engine", orders=orders)])


def test_every_missing_order_is_asked_for_in_its_turn(venues: System) -> None:
    """More are missing than are asked for in one look, and the venue has only the last: the second look finds
    it. In a ban the question ends with the venue's pause, and not with "nothing known"."""
    venues.place(1)

    async def work() -> None:
        async with open_venue("binance", venues.ready["binance"], 60.0) as venue:
            looking = Sweep(venue, ["BTCUSDT"], missing(FATES_AT_ONCE + 1), time.time() - 60)
            looking.patience_s = 30
            await looking.ask()
            assert len(looking.missing) == FATES_AT_ONCE + 1
            await looking.ask()
            assert len(looking.missing) == FATES_AT_ONCE and looking.found == ["t0"]
            admin = f"{venues.ready['binance']['admin']}/faults"
            faults = {"ban_418": 1, "ban_seconds": 30}
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                (await client.post(admin, json=faults)).raise_for_status()
            with pytest.raises(Throttled) as refused:
                await looking.ask()
            assert refused.value.pause_s > 1

    asyncio.run(work())


def test_another_place_than_the_recorded_one_does_not_count_as_emptied(
    venues: System, tmp_path: Path
) -> None:
    """Its orders are cancelled as well as can be, but a stop says what is in doubt, and notes nothing."""
    sent(venues, "engine", tmp_path, query_id="t0", window_ms=100)
    venues.place(1)
    for folder in records.folders(venues.paths):
        (folder / "engine.json").write_text("{}")
    seen = asyncio.run(empty_venue(venues.paths, "binance", ["BTCUSDT"], time.monotonic() + 20))
    assert seen.left == 0 and venues.open_at_binance() == 0
    assert not seen.confirmed and "unverified: " in seen.line() and "engine.json" in seen.line()
