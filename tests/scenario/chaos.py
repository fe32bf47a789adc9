"""A seeded chaos soak of the whole system: faults are drawn one after another while it trades.

    make soak SOAK_S=600 SEED=7
    .venv/bin/python tests/scenario/chaos.py --seed 7 --seconds 600
    .venv/bin/python tests/scenario/chaos.py --limit 200 --faults '0.4 kill engine; 1.2 expire; 2 settle'

One to six faults, then all of them are taken back and the system must trade again by itself within
RESUME_S ("settle"); so on until the time is over, then `control stop` and the books must equal the venues'.
The oracles (chaos_oracles.py) look all the time. Only what a person would have to do is done here: a
supervisor that was killed is replaced by `control start`, a halt that was asked for is lifted by `control
resume`. The seed decides the faults and the pauses between them, not the instant in which they meet the
system, so a failing run prints its own list of faults, which can be given to --faults.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaos_oracles import LedgerReader, LedgerWatch, VenueWatch, Watch
from conftest import CONTROL, ROOT, System

from bridge.ledger import now_ns
from bridge.messages import LedgerState, SlotState
from bridge.paths import Paths
from control import processes
from control.accounting import compare, is_same_money
from control.shared import read_page
from control.status import snapshot
from control.words import PARTICIPANTS

Json = dict[str, Any]
VENUES = ("binance", "polymarket")
CHILDREN = ("engine", "polymarket_bot", "sim-binance", "sim-polymarket")
RESUME_S = 120.0  # from the end of the faults to orders on both venues, on a busy machine
CHARGE_S = 100.0  # and to no charge that belongs to nothing: an unanswered order is looked for 80 s
BOOKS_S = 90.0  # a fill whose event was lost is found by the reconcile of every minute at the latest
LOOK_S = 0.2
FILES_MAX, MIB_MAX = 80, 300  # of one process; 34 and 115 when nothing goes wrong
DEATHS_ALLOWED, DEATHS_WINDOW_S = 6, 600.0
LIMITS = ("1000", "300", "200")


# What a busy run changes in config/: many more orders, cancels and hedges, and hangs are noticed sooner.
BUSY: dict[str, Json] = {
    "binance_sim.json": {
        "quoter": {"levels": 3, "spread_ticks": 10, "requote_ticks": 2, "max_position": "0.02"},
        "hedger": {"interval_ms": 100},
    },
    "polymarket_sim.json": {
        "strategy": {"requote_interval_ms": 100, "tolerance_ticks": 0},
        "hedge": {"threshold": "0.002", "interval_s": 3},
    },
    "paper.json": {"hung_after_s": 4},
}


class Violation(AssertionError):
    """An oracle was contradicted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """After a pause, something is done to the system."""

    pause_s: float
    what: str  # the words of one entry of --faults

    def __str__(self) -> str:
        return f"{self.pause_s:g} {self.what}"


def parse(text: str) -> list[Fault]:
    """The faults of a --faults argument."""
    faults = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        pause, _, what = part.partition(" ")
        faults.append(Fault(float(pause), what))
    return faults


# ---- drawing ------------------------------------------------------------------------------------

# switch: how much of it at most; used up by what happens, or done at once
COUNTED: dict[str, dict[str, int]] = {
    "binance": {
        "big_frames": 20, "cancel_withheld": 2, "close_mid_frame": 1, "close_streams": 1,
        "close_user_mid_frame": 1, "close_user_stream": 1, "close_ws_api": 1, "drop_depth": 3,
        "drop_execution": 4, "duplicate_depth": 5, "duplicate_execution": 5, "fill_before_cancel": 2,
        "foreign_symbol": 5, "fresh_2013": 4, "late_order": 3, "listenkey_expired": 1,
        "malformed_frame": 2, "malformed_response": 1, "malformed_user_frame": 2,
        "matching_clock_5028": 2, "overload_1008": 3, "part_fill_before_cancel": 2, "rate_limit_429": 2,
        "reject_503": 3, "request_lost": 3, "response_lost": 2, "response_withheld": 2,
        "server_shutdown": 1, "swap_user_events": 4, "trade_lite_only": 3, "unknown_1007": 3,
        "unknown_503": 3,
    },
    "polymarket": {
        "close_mid_frame": 1, "context_canceled": 3, "drop_price_change": 5, "drop_user_event": 4,
        "duplicate_trade_event": 4, "fail_after_mined": 1, "fail_trade": 2, "fill_before_cancel": 2,
        "hold_trade_event": 3, "late_order": 3, "malformed_frame": 2, "market_not_ready": 2,
        "missing_leg_side": 3, "no_book_on_subscribe": 1, "rate_limited": 3, "replace_hash": 2,
        "request_lost": 3, "response_lost": 3, "retry_trade": 2, "unknown_500": 3,
    },
}  # fmt: skip
# Binance refuses what is older than its window; Polymarket orders have none.
LATE_MS = {"binance": 1400, "polymarket": 5000}
# switch: values that hold until the fault is taken back, some seconds later
HELD: dict[str, dict[str, tuple[int, int]]] = {
    "binance": {
        "clock_offset_ms": (-4000, 4000), "delay_response_ms": (50, 900), "event_before_response": (5, 60),
        "fragmented_frames": (1, 1), "silent_stream": (1, 1), "silent_user_stream": (1, 1),
    },
    "polymarket": {
        "answer_delay_ms": (100, 3000), "array_frames": (1, 1), "cancel_only": (1, 1),
        "clock_offset_ms": (-20000, 20000), "disabled": (1, 1), "leg_success_true": (1, 1),
        "post_only_mode": (1, 5), "restart_425": (1, 1), "seconds_timestamps": (1, 1),
        "silent_socket": (1, 1), "silent_user_socket": (1, 1), "status_prefix": (1, 1),
    },
}  # fmt: skip


def _kill(rnd: random.Random) -> str:
    return f"{'term' if rnd.random() < 0.15 else 'kill'} {rnd.choice(CHILDREN)}"


def _stop(rnd: random.Random) -> str:
    seconds = rnd.uniform(11, 14) if rnd.random() < 0.1 else rnd.uniform(0.2, 4)
    return f"stop {rnd.choice((*CHILDREN, 'supervisor'))} {seconds:.1f}"


def _counted(rnd: random.Random) -> str:
    venue = rnd.choice(VENUES)
    name = rnd.choice(sorted(COUNTED[venue]))
    late = f" late_ms={rnd.randint(100, LATE_MS[venue])}" if name == "late_order" else ""
    late += " late_cut=1" if late and venue == "binance" and rnd.random() < 0.5 else ""
    return f"{venue} {name}={rnd.randint(1, COUNTED[venue][name])}{late}"


def _held(rnd: random.Random) -> str:
    venue = rnd.choice(VENUES)
    name = rnd.choice(sorted(HELD[venue]))
    return f"{venue} {name}={rnd.randint(*HELD[venue][name])} for {rnd.uniform(1, 7):.1f}"


def _market(rnd: random.Random) -> str:
    return rnd.choice((
        f"market binance jump_ticks={rnd.choice((-1, 1)) * rnd.randint(200, 2000)}",
        f"market binance burst={rnd.randint(4, 12)}",
        f"market polymarket takers_per_s={rnd.randint(3, 12)}",
        f"market polymarket shift={rnd.choice((-1, 1)) * rnd.randint(10, 120)}",
        "expire",
    ))  # fmt: skip


def _budget(rnd: random.Random) -> str:
    return f"limit {rnd.randint(30, 110)}%"


DRAWS: tuple[tuple[int, Callable[[random.Random], str]], ...] = (
    (8, _counted), (5, _held), (4, _kill), (4, _stop), (3, _market), (2, _budget),
    (1, lambda rnd: f"binance ban_seconds={rnd.randint(2, 8)} ban_418=1"),
)  # fmt: skip
# What ends the supervisor too. A third of the seeds has none of these, so that one lives long there.
ENDS: tuple[tuple[int, Callable[[random.Random], str]], ...] = (
    (1, lambda rnd: f"kill supervisor {rnd.uniform(0, 4):.1f}"),
    (1, lambda rnd: f"halfstart {rnd.uniform(0.3, 5):.1f}"),
    (1, lambda rnd: f"halt {rnd.uniform(0, 1):.1f}"),
    (1, lambda rnd: rnd.choice(("halfstop", "halfhalt")) + f" {rnd.uniform(0.3, 2.5):.1f}"),
    (1, lambda rnd: rnd.choice(("power", "reboot", "restart"))),
)


def plan(seed: int) -> Iterator[Fault]:
    """The endless list of a seed."""
    rnd = random.Random(seed)
    draws = DRAWS if seed % 3 == 0 else DRAWS + ENDS
    weights = [weight for weight, _ in draws]
    while True:
        for _ in range(rnd.randint(1, 6)):
            (draw,) = rnd.choices([draw for _, draw in draws], weights)
            pause = rnd.choice((0.0, rnd.uniform(0, 0.5), rnd.uniform(0, 3)))
            yield Fault(round(pause, 2), draw(rnd))
        yield Fault(round(rnd.uniform(0.5, 3), 2), "settle")


# ---- one run ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    """What a run did."""

    began: float = field(default_factory=time.monotonic)
    faults: list[Fault] = field(default_factory=list)
    rounds: int = 0
    outages: list[tuple[float, str]] = field(default_factory=list)  # seconds not trading, in which round
    books_s: list[float] = field(default_factory=list)  # until our books met the venues'
    most_files: int = 0
    most_mib: int = 0
    starts: int = 0
    fills: int = 0
    looks: str = ""
    halts: list[str] = field(default_factory=list)

    def text(self) -> str:
        """A few lines for people."""
        times = sorted(seconds for seconds, _ in self.outages)
        middle = times[len(times) // 2] if times else 0.0
        worst = "; ".join(f"{s:.1f} s after [{what}]" for s, what in sorted(self.outages)[-3:])
        return (
            f"{len([f for f in self.faults if f.what != 'settle'])} faults in {self.rounds} rounds, "
            f"{time.monotonic() - self.began:.0f} s, {self.fills} fills, {self.starts} starts; {self.looks}\n"
            f"{len(times)} rounds with an outage: median {middle:.1f} s, worst {worst or 'none'}; "
            f"books meet after {max(self.books_s, default=0.0):.1f} s at most\n"
            f"at most {self.most_files} open files and {self.most_mib} MiB in a process; "
            f"halts lifted: {self.halts or 'none'}"
        )


def busy_config(system: System) -> tuple[str, ...]:
    """The options of a start with BUSY settings."""
    folder = system.home / "config"
    shutil.copytree(ROOT / "config", folder)
    for name, changes in BUSY.items():
        content = json.loads((folder / name).read_text())
        for key, value in changes.items():
            content[key] = content[key] | value if isinstance(value, dict) else value
        (folder / name).write_text(json.dumps(content))
    return "--config", str(folder)


def apart(paths: Paths) -> list[Json]:
    """Symbols in which our books are not the venue's."""
    return [row for row in compare(paths)[1] if not is_same_money(row["differences"])]


class TakeBack:
    """Takes faults back when their time is over, whatever the driver waits for meanwhile."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, threading.Timer]] = []

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Let it be done then."""
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        self._timers.append((time.monotonic() + seconds, timer))
        timer.start()

    def left_s(self) -> float:
        """Until the last of them."""
        return max((at - time.monotonic() for at, _ in self._timers), default=0.0)

    def now(self) -> None:
        """Do all of them at once."""
        timers, self._timers = self._timers, []
        for _, timer in timers:
            if timer.is_alive():
                timer.cancel()
                timer.function()

    def never(self) -> None:
        """Forget them: what they would act on is gone."""
        for _, timer in self._timers:
            timer.cancel()
        self._timers.clear()


def why_not_trading(paths: Paths) -> str | None:
    """None while both venues have orders of ours and every process lives; pages and records outlive their
    processes, so each must be there and beat."""
    status = snapshot(paths)
    if status["state"] != "ACTIVE":
        return f"state {status['state']}, {status['halt']}"
    for venue in VENUES:
        row = next((v for v in status["venues"] if v["name"] == venue), None)
        if row is None or row["state"] != "READY" or not row["open_orders"]:
            return f"{venue}: {row}; {status['refusals']}"
    alive = {entry.process.pid for entry in processes.find_ours(paths.runtime)}
    for row in status["processes"]:
        if row["pid"] not in alive or row["state"] != "running":
            return f"process {row}"
        if row["name"] in PARTICIPANTS[1:]:
            page = read_page(paths, row["name"])
            if page is None or page.pid != row["pid"] or row["heartbeat_age_ms"] > 1000:
                return f"process {row}"
    return None


class Outages(Watch):
    """How long trading did not take place."""

    def __init__(self, system: System, paths: Paths) -> None:
        super().__init__(system, 0.25)
        self._paths = paths
        self._seen = time.monotonic()
        self.seconds = 0.0

    def look(self) -> None:
        """Add the time since the last look when there is none."""
        now, before = time.monotonic(), self._seen
        self._seen = now
        if why_not_trading(self._paths) is not None:
            self.seconds += now - before


class Chaos:
    """A system under faults."""

    def __init__(self, system: System, limit_usd: str, busy: bool, say: Callable[[str], None]) -> None:
        self._system = system
        self._limit = limit_usd
        self._options = ("--limit-usd", limit_usd, "--yes", *(busy_config(system) if busy else ()))
        self._say = say
        self._paths = Paths(system.home / "home", system.home / "run", "paper")
        self.report = Report()
        self._take_back = TakeBack()
        self._deaths: dict[str, list[float]] = {}
        self._banned_until = 0.0
        self._lost = False  # the runtime folder was lost and trading has not begun again
        self._round: list[str] = []
        self._ledger_watch = LedgerWatch(system)
        self._outages = Outages(system, self._paths)
        self._venue_watches = [VenueWatch(system, venue, lambda: self._lost) for venue in VENUES]

    # -- the frame --

    def run(self, faults: Iterable[Fault], seconds: float) -> None:
        """All of it: start, faults until the time is over, stop, compare."""
        self._start()
        self._settle()
        watches = (self._ledger_watch, *self._venue_watches, self._outages)
        for watch in watches:
            watch.start()
        end = time.monotonic() + seconds
        try:
            for fault in faults:
                self.report.faults.append(fault)
                self._apply(fault)
                if time.monotonic() > end and fault.what == "settle":
                    break
            self._settle()
            self._new_fills()
        finally:
            for watch in watches:
                watch.end()
            counts = ", ".join(f"{w.compared} comparisons" for w in self._venue_watches)
            self.report.looks = f"{self._ledger_watch.looks} looks at the ledger, {counts}"
        self._check_watches()
        self._end()

    def _apply(self, fault: Fault) -> None:
        time.sleep(fault.pause_s)
        self._say(f"{time.monotonic() - self.report.began:7.1f} {fault}")
        if fault.what == "settle":
            self._settle()
        else:
            self._round.append(fault.what)
            word, _, rest = fault.what.partition(" ")
            getattr(self, f"_do_{word}")(*rest.split())
        self._check_watches()

    def _check_watches(self) -> None:
        for watch in (self._ledger_watch, *self._venue_watches, self._outages):
            if watch.violations:
                raise Violation(f"{watch.violations[0]} ({len(watch.violations)} findings)")

    # -- faults --

    def _do_kill(self, name: str, wait_s: str = "0") -> None:
        self._signal(name, signal.SIGKILL)
        if name == "supervisor":
            time.sleep(float(wait_s))
            self._start()

    def _do_term(self, name: str) -> None:
        """Somebody ends one process in the polite way."""
        self._signal(name, signal.SIGTERM)

    def _do_stop(self, name: str, seconds: str) -> None:
        pid = self._signal(name, signal.SIGSTOP)
        if pid is not None:
            self._take_back.after(float(seconds), lambda: self._continue(pid))
            if name != "supervisor" and float(seconds) > 3:  # it may be replaced
                self._deaths.setdefault(name, []).append(time.monotonic())

    def _do_power(self) -> None:
        """Every process dies at one instant."""
        self._kill_all()
        self._start()

    def _do_restart(self) -> None:
        """A person stops everything and starts it again."""
        self._restore_venues()
        sure = self._venues_up() == list(VENUES) and not self._banned()
        stopped = self._system.control("stop", expect=None)
        if stopped.returncode not in ((0,) if sure else (0, 1)):
            raise Violation(f"stop ended with {stopped.returncode}: {stopped.stdout}{stopped.stderr}")
        self._start()

    def _do_reboot(self) -> None:
        """The same, and tmpfs is empty afterwards."""
        self._lost = True
        self._kill_all()
        shutil.rmtree(self._paths.runtime)
        self._start()

    def _do_halt(self, wait_s: str) -> None:
        """A person kills, and after a look goes on."""
        self._restore_venues()
        up = self._venues_up()
        killed = self._system.control("kill", "--reason", "chaos", expect=None)
        ended_ms = time.time() * 1000
        sure = up == list(VENUES) and not self._banned()
        doubted = killed.returncode == 6 and "OF UNKNOWN FATE" in killed.stdout  # lost on its way, for ever
        if not doubted and killed.returncode not in ((0,) if sure else (0, 7)):
            raise Violation(f"kill ended with {killed.returncode}: {killed.stdout}{killed.stderr}")
        if killed.returncode == 0:
            self._nothing_after(ended_ms, up)
        time.sleep(float(wait_s))
        end = time.monotonic() + 90
        while self._system.control("resume", "--yes", expect=None).returncode:
            # The venue is not to be asked yet, or an order of unknown fate may still land.
            if time.monotonic() > end:
                raise Violation("a kill is not followed by a resume")
            self._system.control("kill", "--reason", "chaos, again", expect=None)
        self._start()

    def _nothing_after(self, ended_ms: float, up: list[str]) -> None:
        """Until whatever the network held has arrived: after a confirmed kill nothing opens and nothing
        fills, by the venues' own times."""
        end = time.monotonic() + max(LATE_MS.values()) / 1000 + 1
        while True:
            last = time.monotonic() > end
            for venue in up:
                account = self._system.account(venue)
                late = [row for row in account["accepted"] + account["fills"] if row["time_ms"] > ended_ms]
                if late or account["open_orders"]:
                    raise Violation(f"{venue}, after a confirmed kill: {account['open_orders']} {late}")
            if last:
                return
            time.sleep(LOOK_S)

    def _do_halfstart(self, seconds: str) -> None:
        """The supervisor dies, and the next one dies while it starts."""
        self._signal("supervisor", signal.SIGKILL)
        self._restore_venues()
        with self._command("start", "--paper", *self._options) as starting:
            time.sleep(float(seconds))
            starting.kill()
        self._signal("supervisor", signal.SIGKILL)
        self._start()

    def _do_halfstop(self, seconds: str) -> None:
        """The supervisor dies while it stops everything."""
        with self._command("stop"):
            time.sleep(float(seconds))
            self._signal("supervisor", signal.SIGKILL)
        self._start()

    def _do_halfhalt(self, seconds: str) -> None:
        """A kill dies half-way, and is typed again."""
        with self._command("kill", "--reason", "chaos, cut short") as killing:
            time.sleep(float(seconds))
            killing.kill()
        self._do_halt("0")

    @contextlib.contextmanager
    def _command(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A control command that runs meanwhile; it is waited for at the end."""
        nowhere = subprocess.DEVNULL
        command = subprocess.Popen(
            [CONTROL, *words], env=self._system.environment, cwd=ROOT, stdout=nowhere, stderr=nowhere
        )
        try:
            yield command
        finally:
            command.wait(120)

    def _banned(self) -> bool:
        return time.monotonic() < self._banned_until

    def _venues_up(self) -> list[str]:
        up = []
        for venue in VENUES:
            with contextlib.suppress(OSError):
                self._system.admin(venue, "/clock")
                up.append(venue)
        return up

    def _do_limit(self, percent: str) -> None:
        """The limit becomes this part of what is in use: lower, or just above."""
        used = snapshot(self._paths)["budget"]["used_micros"]
        cents = max(used * int(percent.rstrip("%")) // 100 // 10_000, 100)
        self._set_limit(f"{cents // 100}.{cents % 100:02d}")

    def _do_expire(self) -> None:
        with contextlib.suppress(OSError, IndexError):
            first = self._system.admin("polymarket", "/orders")["markets"][0]
            self._system.admin("polymarket", "/market", {"expire": first["slug"]})

    def _do_market(self, venue: str, lever: str) -> None:
        name, _, value = lever.partition("=")
        with contextlib.suppress(OSError):
            self._system.admin(venue, "/market", {name: int(value)})

    def _do_binance(self, *words: str) -> None:
        self._switch("binance", words)

    def _do_polymarket(self, *words: str) -> None:
        self._switch("polymarket", words)

    def _switch(self, venue: str, words: tuple[str, ...]) -> None:
        held = words[-2:-1] == ("for",)
        pairs = (word.partition("=") for word in (words[:-2] if held else words))
        switches = {name: int(value) for name, _, value in pairs}
        with contextlib.suppress(OSError):
            self._system.admin(venue, "/faults", switches)
        if "ban_418" in switches:  # it begins with the next request
            self._banned_until = time.monotonic() + 2 * switches["ban_seconds"] + 5
        if held:
            zero = dict.fromkeys(switches, 0)
            self._take_back.after(float(words[-1]), lambda: self._try(venue, zero))

    def _try(self, venue: str, switches: dict[str, int]) -> None:
        with contextlib.suppress(OSError):
            self._system.admin(venue, "/faults", switches)

    # -- processes --

    def _signal(self, name: str, number: signal.Signals) -> int | None:
        found = [entry for entry in processes.find_ours(self._paths.runtime) if entry.name == name]
        for entry in found:
            processes.send_signal(entry.process, number)
            if number in (signal.SIGKILL, signal.SIGTERM):
                self._deaths.setdefault(name, []).append(time.monotonic())
        return found[0].process.pid if found else None

    def _continue(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _kill_all(self) -> None:
        self._take_back.never()
        found = [entry.process for entry in processes.find_ours(self._paths.runtime)]
        for process in found:
            processes.send_signal(process, signal.SIGKILL)
        processes.wait_gone(found, 5.0)

    def _start(self) -> None:
        """What a person does: the venues are well again, then `control start`."""
        self._restore_venues()
        self._system.start(*self._options)
        self._deaths.clear()
        self.report.starts += 1
        self._lost = False

    def _set_limit(self, limit_usd: str) -> None:
        done = self._system.control("budget", "set", "--limit-usd", limit_usd, "--yes", expect=None)
        if done.returncode:
            self._say(f"        budget set: {done.stderr.strip()}")

    # -- back to normal --

    def _restore_venues(self) -> None:
        self._take_back.now()
        for venue in VENUES:
            with contextlib.suppress(OSError):
                known = self._system.admin(venue, "/faults")
                self._system.admin(venue, "/faults", dict.fromkeys(known, 0))
        with contextlib.suppress(OSError):
            self._system.admin("polymarket", "/market", {"shift": 0, "takers_per_s": 2})

    def _settle(self) -> None:
        """The faults end, each in its own time; then trading must resume by itself."""
        time.sleep(max(0.0, self._take_back.left_s()))
        self._restore_venues()
        if any(what.startswith("limit") for what in self._round):
            self._set_limit(self._limit)
        began = time.monotonic()
        while (why := why_not_trading(self._paths)) is not None:
            self._check_watches()
            self._as_a_person()
            if time.monotonic() - began > RESUME_S:
                raise Violation(f"not trading {RESUME_S:.0f} s after the last fault: {why}")
            time.sleep(LOOK_S)
        self._books_meet()
        self._check_resources()
        while self._stale_s() > CHARGE_S:
            time.sleep(LOOK_S)
            if time.monotonic() - began > CHARGE_S + RESUME_S:
                raise Violation(f"charges without an order for {self._stale_s():.0f} s")
        if self._outages.seconds:
            self.report.outages.append((self._outages.seconds, "; ".join(self._round)))
            self._say(f"        not trading for {self._outages.seconds:.1f} s")
        self._outages.seconds = 0.0
        self.report.rounds += bool(self._round)
        self._round.clear()

    def _check_resources(self) -> None:
        """Whatever was cut, reopened and retried: no process keeps what it does not need."""
        for entry in processes.find_ours(self._paths.runtime):
            with contextlib.suppress(OSError):
                files = len(os.listdir(f"/proc/{entry.process.pid}/fd"))
                mib = processes.resident_bytes(entry.process) >> 20
                self.report.most_files = max(self.report.most_files, files)
                self.report.most_mib = max(self.report.most_mib, mib)
                if files > FILES_MAX or mib > MIB_MAX:
                    raise Violation(f"{entry.name} has {files} open files and {mib} MiB")

    def _books_meet(self) -> None:
        """While it trades on, there is soon a moment at which our books and the venues' are the same."""
        began = time.monotonic()
        while True:
            rows = apart(self._paths)
            if not rows or self._system.day_ended():
                break
            if time.monotonic() - began > BOOKS_S:
                raise Violation(f"our books and the venues' do not meet within {BOOKS_S:.0f} s: {rows}")
            time.sleep(LOOK_S)
        self.report.books_s.append(time.monotonic() - began)

    def _stale_s(self) -> float:
        return max(watch.stale.oldest_s() for watch in self._venue_watches)

    def _as_a_person(self) -> None:
        """What trading cannot resume without."""
        status = snapshot(self._paths)
        if status["state"] == "HALTED":
            self._lift(str(status["halt"]))
        elif not status["running"]:
            raise Violation(f"the supervisor is gone: {status['problems']}")

    def _lift(self, halt: str) -> None:
        """A halt is right after too many deaths, and when what is held rises under a limit that was lowered
        below it; then it is lifted as a person would."""
        now = time.monotonic()
        often = [
            name
            for name, times in self._deaths.items()
            if len([t for t in times if now - t < DEATHS_WINDOW_S]) > DEATHS_ALLOWED
        ]
        squeezed = "over_budget" in halt and any(what.startswith("limit") for what in self._round)
        if not squeezed and not (often and "restarts" in halt):
            raise Violation(f"halted without a reason of ours: {halt}")
        for name in often:
            self._deaths[name].clear()
        self.report.halts.append(halt)
        self._system.control("resume", "--yes")

    # -- the end --

    def _new_fills(self) -> None:
        """Trading is more than quoting."""
        before, end = self._fills(), time.monotonic() + RESUME_S
        while any(now <= old for now, old in zip(self._fills(), before, strict=True)):
            if time.monotonic() > end:
                raise Violation(f"no new fills on both venues within {RESUME_S:.0f} s")
            time.sleep(LOOK_S)

    def _fills(self) -> list[int]:
        return [len(self._system.account(venue)["fills"]) for venue in VENUES]

    def _end(self) -> None:
        self.report.fills = sum(self._fills())
        self._system.control("stop")
        for venue in VENUES:
            if left := self._system.account(venue)["open_orders"]:
                raise Violation(f"{venue} has open orders after the stop: {left}")
        ledger = LedgerReader(self._system).ledger()
        if ledger is None or ledger.state == LedgerState.HALTED:
            raise Violation("no ledger, or a halted one, after the stop")
        oldest_ns = now_ns() - int(CHARGE_S * 1e9)
        for slot in ledger.slots(1) + ledger.slots(2):
            # An order whose answer never came keeps its charge until its window has passed.
            if slot.state != SlotState.UNKNOWN or slot.sent_ns < oldest_ns:
                raise Violation(f"a charge after the stop: {slot}")
        if (rows := apart(self._paths)) and not self._system.day_ended():
            raise Violation(f"the books differ from the venues': {rows}")


def soak(
    faults: Iterable[Fault],
    seconds: float,
    limit_usd: str,
    say: Callable[[str], None],
    *,
    busy: bool = False,
    keep: Path | None = None,
) -> Report:
    """One run in folders of its own. A Violation names the faults that led to it; with `keep` the folders
    of a failed run are moved there."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    system = System(Path(tempfile.mkdtemp(prefix="purser-chaos-", dir=shared)))
    chaos = Chaos(system, limit_usd, busy, say)
    try:
        chaos.run(faults, seconds)
    except (AssertionError, OSError, KeyError) as error:
        listed = "; ".join(map(str, chaos.report.faults))
        options = f"--limit {limit_usd}{' --busy' if busy else ''} --faults '{listed}'"
        if keep is not None:
            with contextlib.suppress(OSError):
                shutil.copytree(
                    system.home,
                    keep / system.home.name,
                    ignore=shutil.ignore_patterns("*.pub", "*.sock", "*.cmd"),
                )
        raise Violation(
            f"{type(error).__name__}: {error}\n{chaos.report.text()}\n{system.log_tails()}\nrepro: "
            f".venv/bin/python tests/scenario/chaos.py {options}"
        ) from error
    finally:
        system.close()
    return chaos.report


def limit_of(seed: int) -> str:
    """Small limits meet the budget often, large ones never."""
    return LIMITS[seed // 3 % len(LIMITS)]


def main() -> int:
    """The command of `make soak`."""
    parser = argparse.ArgumentParser(description="A seeded chaos soak of the whole system.")
    parser.add_argument("--seed", type=int, help="default: by the clock")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long faults are drawn in all")
    parser.add_argument(
        "--round-seconds", type=float, default=300.0, help="a new system and seed after so long"
    )
    parser.add_argument("--faults", help="this list instead of a seed's")
    parser.add_argument("--busy", action="store_true", help="many more orders; every other seed is so anyway")
    parser.add_argument("--limit", help="the budget's limit in dollars")
    parser.add_argument("--keep", type=Path, help="where the folders of a failed run go")
    chosen = parser.parse_args()
    first = int(time.time()) if chosen.seed is None else chosen.seed
    end = time.monotonic() + chosen.seconds
    for seed in itertools.count(first):
        limit = chosen.limit or limit_of(seed)
        faults = parse(chosen.faults) if chosen.faults else plan(seed)
        busy = chosen.busy or (seed % 2 == 1 and not chosen.faults)
        print(f"seed {seed}, limit ${limit}{', busy' if busy else ''}", flush=True)
        length = min(chosen.round_seconds, end - time.monotonic())
        try:
            say = partial(print, flush=True)
            report = soak(faults, length, limit, say, busy=busy, keep=chosen.keep)
        except Violation as violation:
            print(f"seed {seed} FAILED: {violation}", flush=True)
            return 1
        print(f"seed {seed} passed: {report.text()}", flush=True)
        if chosen.faults or time.monotonic() >= end:
            return 0
    return 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
