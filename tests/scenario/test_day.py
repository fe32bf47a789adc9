"""Midnight under load with the real processes and an injected clock, jumps of the wall, and a suspend.

All processes, the simulated venues too, add the shifts of one small file to their clocks
(bridge/wall_clock.h), so that a test chooses when midnight comes and who notices a jump.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import System

from bridge.ledger import Ledger, Roll, now_ns
from bridge.messages import LedgerState, RollPhase, SlotState

DAY_S = 86_400
# Before midnight, at each try: two venues confirm the jump, and quotes come back, on a slow machine later.
APPROACHES_S = (4.0, 8.0, 12.0, 16.0, 24.0)
LINES = {"engine": 1, "polymarket_bot": 2}
STALL_NS = 15_000_000
QUOTING_S = 2.0  # from the pause until those who stayed have orders out again
# Participant, venue and supervisor work in turn, and on a busy machine each waits as long as we do.
IN_TURN = 3


class WorldClock:
    """The shifts in seconds: of our wall, of CLOCK_BOOTTIME, and of the venues' wall."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._shifts = [0.0, 0.0, 0.0]
        self.set()

    def set(self, ours: float = 0.0, boot: float = 0.0, venues: float = 0.0) -> None:
        """Add to the shifts; in place, because every process has the file mapped."""
        self._shifts = [a + b for a, b in zip(self._shifts, (ours, boot, venues), strict=True)]
        data = struct.pack("<4q", *(round(shift * 1e9) for shift in self._shifts), 0)
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(descriptor, data, 0)
        os.close(descriptor)

    def wall_s(self) -> float:
        """Our processes' wall."""
        return time.time() + self._shifts[0]

    def day(self) -> int:
        """Its UTC day."""
        return int(self.wall_s()) // DAY_S

    def to_midnight_s(self) -> float:
        """So long until the next day begins."""
        return DAY_S - self.wall_s() % DAY_S

    def everybody_before_midnight(self, seconds: float) -> None:
        """The whole world moves forward to this long before the next midnight."""
        forward = self.to_midnight_s() - seconds
        self.set(ours=forward, venues=forward)


class Watch:
    """A thread that samples the ledger's words and slots, as often as it can."""

    def __init__(self, system: System) -> None:
        self._path = system.home / "run" / "ledger"
        self._stop = threading.Event()
        self.rolls: list[tuple[int, Roll]] = []  # monotonic ns, whenever the words were seen changed
        self.rolling_ns = 0  # CLOCK_BOOTTIME before the last look that saw the day ending
        self.sent: dict[tuple[int, int], int] = {}  # line and order id -> when it was sent
        self.first_after: dict[int, int] = {}  # line -> monotonic ns of its first new order after the roll
        self.stalls: list[
            tuple[int, int]
        ] = []  # monotonic ns at which the machine had not run us, for so long
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with Ledger.open(self._path) as ledger:
            last, before = None, time.monotonic_ns()
            while not self._stop.is_set():
                now, gap = time.monotonic_ns(), time.monotonic_ns() - before
                before = now
                if gap > STALL_NS:
                    self.stalls.append((now, gap))
                boot_ns, roll = now_ns(), ledger.roll()
                if not roll.day:
                    continue  # read while the leader wrote the day
                if roll.phase != RollPhase.NONE:
                    self.rolling_ns = boot_ns
                words = (roll.day, roll.sequence, roll.phase)
                if words != last:
                    last = words
                    self.rolls.append((time.monotonic_ns(), roll))
                self._slots(ledger, roll)
                time.sleep(0.001)

    def _slots(self, ledger: Ledger, roll: Roll) -> None:
        ended = roll.phase == RollPhase.NONE and roll.day > self.rolls[0][1].day
        for line in LINES.values():
            for slot in ledger.slots(line):
                if slot.sent_ns and (line, slot.client_order_id) not in self.sent:
                    self.sent[line, slot.client_order_id] = slot.sent_ns
                    if ended:
                        self.first_after.setdefault(line, time.monotonic_ns())

    def stalled_s(self, since_ns: int, until_ns: int) -> float:
        """For how long a busy machine did not run this thread; nor, then, whom it watches."""
        return sum(gap for at, gap in self.stalls if since_ns <= at <= until_ns) / 1e9

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()


def midnight(
    system: System,
    clock: WorldClock,
    just_before: Callable[[], None] = lambda: None,
    quoting: tuple[str, ...] = (),
) -> tuple[Watch, float]:
    """Lets midnight come; checks what must hold at each; gives the watch and when the others quoted again."""
    day = clock.day()
    rolled_before = count(system, "day_rolled")
    watch = Watch(system)
    while clock.to_midnight_s() > 0.3 and clock.day() == day:
        time.sleep(0.02)
    try:
        just_before()
        system.wait("the day is rolled", lambda: count(system, "day_rolled") > rolled_before, timeout=30)
        names = {LINES[name] for name in quoting}
        system.wait("the others quote again", lambda: names <= set(watch.first_after), timeout=30)
    finally:
        watch.stop()
    before, after = watch.rolls[0][1], watch.rolls[-1][1]
    # A starved thread misses phases; none may come twice, nor in another order.
    steps = [(roll.day, RollPhase(roll.phase).name) for _, roll in watch.rolls]
    assert steps == sorted(set(steps), key=steps_of(day).index), steps
    assert (before.day, after.day, after.sequence) == (day, day + 1, before.sequence + 1)
    # The gate's time of each order: none after all had acknowledged while the day was seen ending.
    between = [ns for ns in watch.sent.values() if after.began_ns <= ns < watch.rolling_ns]
    assert between == [], after
    row = system_event(system, "day_rolled")
    assert (row["closed_day"], row["day"], row["roll"]) == (day, day + 1, after.sequence)
    began, again = watch.rolls[1][0], max(watch.first_after[line] for line in names)
    stalled = IN_TURN * watch.stalled_s(began, again)
    began_s = after.began_wall_ns / 1e9 - (day + 1) * DAY_S
    assert 0 <= began_s < 1.5 + stalled and isinstance(row["seconds"], float)
    assert row["seconds"] < 2.0 + stalled
    print(
        f"roll {row['seconds']} s, quoting again {(again - began) / 1e9:.3f} s, of it stalled {stalled:.3f} s"
    )
    return watch, (again - began) / 1e9 - stalled


def steps_of(day: int) -> list[tuple[int, str]]:
    """The words of a day's end in their order."""
    return [
        (day, "NONE"),
        (day, "PAUSE"),
        (day, "BEGIN"),
        (day + 1, "PAUSE"),
        (day + 1, "BEGIN"),
        (day + 1, "NONE"),
    ]


def approach(system: System, clock: WorldClock) -> None:
    """The world moves to shortly before the next midnight, and both participants quote there; once more on a
    machine that is too slow for it."""
    for seconds in APPROACHES_S:
        if clock.to_midnight_s() > 700:  # to another day: markets end, and others begin
            jumps = count(system, "clock_jumped")
            clock.everybody_before_midnight(600.0)
            system.wait("the day's jump is seen", lambda n=jumps: count(system, "clock_jumped") > n)
            quoting_again(system)
        day, jumps = clock.day(), count(system, "clock_jumped")
        clock.everybody_before_midnight(seconds)
        system.wait("the jump is seen", lambda n=jumps: count(system, "clock_jumped") > n)
        quoting_again(system)
        if clock.day() == day and clock.to_midnight_s() > 0.7:
            return
    pytest.fail("quotes were not back within the seconds before five midnights")


def events_named(system: System, name: str) -> list[dict[str, object]]:
    """Every event of the name, oldest first; from the file itself, which costs no process."""
    file = system.home / "home" / "paper" / "events.jsonl"
    rows = (json.loads(line) for line in file.read_text().splitlines() if line.endswith("}"))
    return [row for row in rows if row["name"] == name]


def system_event(system: System, name: str) -> dict[str, object]:
    """The newest event of the name."""
    return events_named(system, name)[-1]


def count(system: System, name: str) -> int:
    """How many events of the name there are."""
    return len(events_named(system, name))


def days(system: System) -> set[int]:
    """The days that the ledger and both participants count."""
    with Ledger.open(system.home / "run" / "ledger") as ledger:
        return {ledger.roll().day, *(ledger.day_of(line) for line in LINES.values())}


@pytest.fixture
def clock(system: System) -> WorldClock:
    """A shifted world that begins shortly before a midnight."""
    clock = WorldClock(system.home / "clock")
    clock.everybody_before_midnight(600.0)
    system.environment["PURSER_TEST_CLOCK"] = str(clock.file)
    return clock


def quoting_again(system: System) -> None:
    """Both participants have orders at their venues, and new risk is allowed."""

    def both() -> bool:
        with Ledger.open(system.home / "run" / "ledger") as ledger:
            resting = [any(s.state == SlotState.LIVE for s in ledger.slots(line)) for line in LINES.values()]
            roll = ledger.roll()
            free = roll.phase == RollPhase.NONE and not roll.clock_doubt_ns
            return all(resting) and free and ledger.state == LedgerState.ACTIVE

    system.wait("orders on both venues", both)


def test_midnight_under_load(system: System, clock: WorldClock) -> None:
    """One roll at one instant with funding in that second, quoting again within two seconds; then with a
    frozen engine, with a dead bot, and with orders of unknown fate."""
    system.start()
    quoting_again(system)
    # Whole days are skipped below: their funding hours must not be charged all at once.
    system.admin("binance", "/market", {"funding_rate": "0"})
    approach(system, clock)

    def funding() -> None:
        """Charged in the very second, by the venue's time on the new day."""
        while clock.to_midnight_s() < 1.0:
            time.sleep(0.005)
        system.admin("binance", "/market", {"funding_usdt": "-5"})

    _, again = midnight(system, clock, funding, quoting=("engine", "polymarket_bot"))
    assert again < QUOTING_S
    system.wait("the funding is the new day's", lambda: system.json("pnl")["cash_micros"] == -5_000_000)
    day = clock.day()
    assert days(system) == {day}
    row = system_event(system, "day_rolled")
    results = row["results_micros"]
    assert isinstance(results, dict) and None not in results.values() and row["ended"] == []

    approach(system, clock)
    frozen = system.pid("engine")
    _, again = midnight(system, clock, lambda: os.kill(frozen, signal.SIGSTOP), quoting=("polymarket_bot",))
    assert again < QUOTING_S + 1.0  # the second in which it was waited for
    assert system_event(system, "day_rolled")["ended"] == ["engine"]
    system.wait(
        "the engine is back in the new day",
        lambda: system.pid("engine") != frozen and days(system) == {day + 1},
    )
    quoting_again(system)

    approach(system, clock)
    bot = system.pid("polymarket_bot")
    system.admin("binance", "/faults", {"request_lost": 1})

    def die() -> None:
        os.kill(bot, signal.SIGKILL)

    _, again = midnight(system, clock, die, quoting=("engine",))
    assert again < QUOTING_S and system_event(system, "day_rolled")["ended"] == []
    with Ledger.open(system.home / "run" / "ledger") as ledger:
        assert ledger.audit() is None
    system.wait(
        "the bot is back in the new day",
        lambda: system.pid("polymarket_bot") != bot and days(system) == {day + 2},
    )
    quoting_again(system)
    assert system.status()["state"] == "ACTIVE"


def believed(system: System) -> bool:
    """No doubt stands in the ledger."""
    with Ledger.open(system.home / "run" / "ledger") as ledger:
        return not ledger.roll().clock_doubt_ns


def quotes_pulled(system: System) -> bool:
    """No order of either participant rests."""
    with Ledger.open(system.home / "run" / "ledger") as ledger:
        return all(not ledger.slots(line) for line in LINES.values())


def test_a_wall_that_jumps_is_believed_when_two_venues_confirm_it(system: System, clock: WorldClock) -> None:
    """Ahead by ten minutes, by a day, and back: an event each, no new risk, no new day; a small jump stops
    nothing; a jump that the venues share is believed; a suspend makes everything stale first."""
    clock.set(ours=-3600, venues=-3600)  # no midnight in this test
    system.start()
    quoting_again(system)
    system.admin("binance", "/market", {"funding_rate": "0"})  # a day is skipped at the end
    day = clock.day()

    clock.set(ours=0.4)
    system.wait("a small jump is an event", lambda: count(system, "clock_jumped") == 1)
    assert count(system, "clock_doubted") == 0

    for number, jump in enumerate((600.0, float(DAY_S), -float(DAY_S)), 1):
        clock.set(ours=jump)
        system.wait("the jump is doubted", lambda n=number: count(system, "clock_doubted") == n)
        system.wait("quotes are pulled", lambda: quotes_pulled(system))
        assert not believed(system) and days(system) == {day}
        clock.set(ours=-jump)
        system.wait("back, and confirmed by the venues", lambda: believed(system))
        quoting_again(system)
    assert days(system) == {day} and count(system, "day_rolled") == 0

    slept = 600.0
    clock.set(ours=slept, boot=slept, venues=slept)
    system.wait("the sleep is an event", lambda: count(system, "machine_slept") == 1)
    system.wait("all is fresh", lambda: count(system, "fresh_again") == 1)
    system.wait("and confirmed", lambda: believed(system))
    quoting_again(system)
    assert count(system, "hung_child_killed") == 0 and count(system, "day_rolled") == 0

    bot = system.pid("polymarket_bot")
    os.kill(bot, signal.SIGKILL)
    clock.set(ours=float(DAY_S), venues=float(DAY_S))
    system.wait(
        "a day that the venues confirm begins, also for who was dead", lambda: days(system) == {day + 1}
    )
    clock.set(ours=-float(DAY_S))
    system.wait("a wall that went back is doubted", lambda: not believed(system))
    system.wait("the views say why", lambda: "no new risk" in " ".join(system.status()["problems"]))
    system.control("clock", "--confirm", expect=2)
    system.control("clock", "--confirm", "--yes")
    assert believed(system) and days(system) == {day + 1}


def test_live_trading_refuses_a_shifted_clock(system: System, clock: WorldClock) -> None:
    """A clock file that cannot be used is named with what to do; kill ignores it."""
    system.environment["PURSER_TEST_CLOCK"] = str(system.home / "none")
    refused = system.control("status", expect=4)
    assert "PURSER_TEST_CLOCK" in refused.stderr and "unset it" in refused.stderr
    system.control("kill")
    system.environment["PURSER_TEST_CLOCK"] = str(clock.file)
