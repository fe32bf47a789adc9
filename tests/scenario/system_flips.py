"""One bit of the ledger is flipped while the whole system trades, and somebody types `control kill`.

    make flips-system FLIPS=50 SEED=1
    .venv/bin/python tests/scenario/system_flips.py --seed 7 --flips 1
    .venv/bin/python tests/scenario/system_flips.py --bit 704 --pause 0.1

Engine, bot, supervisor and both simulators run as a person starts them, with orders open at both venues. The
seed shuffles the fields of the header and of the engine's and the bot's lines before their slots, so that no
field is met twice before each was met once, and draws one bit of each; then, 0 to 300 ms later, a kill. What
must hold:

    kill      ends with 0; with 6 or 7 only for what it names: orders that the venue never had, a record that
              is not the one that the damaged ledger names
    after it  engine, bot and supervisor are gone; no referee sees an order of ours then and for 3 s, and
              after a 0 nothing is accepted or filled any more; each view answers
    resume    and a start, by what the commands' own sentences say: both venues have orders of ours again
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import ROOT, System

from bridge._bridge import ffi
from bridge.messages import ParticipantRole
from bridge.paths import Paths
from control import processes
from control.errors import Exit

VENUES = ("binance", "polymarket")
OURS = ("engine", "polymarket_bot", "supervisor")
PAUSE_MAX_S = 0.3
LOOK_S = 3.0
START_S = 180  # on a busy machine
TRADE_S = 180.0  # until both venues have orders, on a busy machine
LIFT_S = 90.0  # until an order of unknown fate can no longer land, and its time to be asked for
LINE = ffi.sizeof("struct ledger_participant")
LINES = {
    "engine": ffi.sizeof("struct ledger_header") + ParticipantRole.ENGINE * LINE,
    "bot": ffi.sizeof("struct ledger_header") + ParticipantRole.BOT * LINE,
}
# Each view, and the codes with which it may end after a kill: 3 says that nothing runs, 1 of `doctor` that it
# found something.
VIEWS: dict[tuple[str, ...], set[int]] = {
    ("status", "--json"): {Exit.NOT_RUNNING},
    ("orders", "--json"): {Exit.OK},
    ("positions", "--json"): {Exit.OK},
    ("fills", "--json"): {Exit.OK},
    ("pnl", "--json"): {Exit.OK},
    ("account", "--json"): {Exit.OK},
    ("events", "--json"): {Exit.OK},
    ("logs", "--json"): {Exit.OK},
    ("doctor", "--json"): {Exit.OK, Exit.ERROR},
    ("budget", "show", "--json"): {Exit.OK},
}
TRACE = "Traceback (most recent call last)"
RAISED = re.compile(r"^[ |]*([\w.]+(?:Error|Exception): .*)$", re.MULTILINE)


class Fault(AssertionError):
    """Something that a flipped bit must not bring about."""


@dataclass(frozen=True, slots=True)
class Field:
    """Some bytes of the ledger with one meaning."""

    name: str
    at: int
    size: int


def _fields(structure: str, prefix: str, base: int) -> Iterator[Field]:
    for name, member in ffi.typeof(f"struct {structure}").fields or ():
        if name != "slots":
            yield Field(f"{prefix}.{name}", base + member.offset, ffi.sizeof(member.type))


FIELDS = [
    *_fields("ledger_header", "header", 0),
    *(entry for name, base in LINES.items() for entry in _fields("ledger_participant", name, base)),
]


@dataclass(frozen=True, slots=True)
class Case:
    """One flip, and how long after it the kill is typed."""

    bit: int
    pause_s: float

    def __str__(self) -> str:
        byte = self.bit // 8
        place = next(entry for entry in FIELDS if entry.at <= byte < entry.at + entry.size)
        where = f"{place.name} byte {byte - place.at} bit {self.bit % 8}"
        return f"--bit {self.bit} --pause {self.pause_s} ({where})"


def draw(seed: int, count: int) -> list[Case]:
    """So many cases: a bit of each field, in an order of the seed's, then again."""
    rnd = random.Random(seed)
    cases: list[Case] = []
    while len(cases) < count:
        for entry in rnd.sample(FIELDS, len(FIELDS)):
            bit = 8 * entry.at + rnd.randrange(8 * entry.size)
            cases.append(Case(bit, round(rnd.uniform(0, PAUSE_MAX_S), 3)))
    return cases[:count]


@dataclass(slots=True)
class Outcome:
    """What a case came to."""

    case: Case
    code: int = -1
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    words: str = ""  # of the kill

    def __str__(self) -> str:
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.case}: kill {self.code} in {self.seconds:.1f} s{notes}"


class Site:
    """One system, damaged and killed again and again; the venues stay up."""

    def __init__(self) -> None:
        shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.system = System(Path(tempfile.mkdtemp(prefix="purser-flips-", dir=shared)))
        self.paths = Paths(self.system.home / "home", self.system.home / "run", "paper")
        self._log_ends: dict[str, int] = {}
        config = self.system.home / "config"
        shutil.copytree(ROOT / "config", config)
        settings = json.loads((config / "paper.json").read_text())
        (config / "paper.json").write_text(json.dumps(settings | {"start_timeout_s": START_S}))
        self._start = ("start", "--paper", "--config", str(config))
        self._begin({Exit.OK})

    def close(self) -> None:
        """Take all of it down."""
        self.system.close()

    def run(self, case: Case) -> Outcome:
        """All of one case, from orders at both venues to a system that runs again."""
        self.system.wait("orders at both venues", lambda: all(self._open(venue) for venue in VENUES), TRADE_S)
        self._mark_logs()
        outcome = Outcome(case)
        self._flip(case.bit)
        time.sleep(case.pause_s)
        self._kill(outcome)
        self._look(outcome)
        self._again(outcome)
        outcome.notes += self._traces()
        return outcome

    # ---- the flip and the kill ---------------------------------------------------------------

    def _open(self, venue: str) -> list[Any]:
        rows: list[Any] = self.system.account(venue)["open_orders"]
        return rows

    def _flip(self, bit: int) -> None:
        """As a stray store does it: in place, under everybody's eyes."""
        descriptor = os.open(self.paths.ledger, os.O_RDWR | os.O_CLOEXEC)
        try:
            byte = os.pread(descriptor, 1, bit // 8)[0]
            os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), bit // 8)
        finally:
            os.close(descriptor)

    def _kill(self, outcome: Outcome) -> None:
        """Typed again only while a busy machine's venue gives no answer in time."""
        for _ in range(5):
            began = time.monotonic()
            done = self.system.control("kill", "--reason", "flips", expect=None)
            outcome.code, outcome.seconds = done.returncode, time.monotonic() - began
            outcome.words = done.stdout
            self._expect(done, {Exit.OK, Exit.KILL_PARTLY, Exit.KILL_UNVERIFIED})
            if not (done.returncode == Exit.KILL_UNVERIFIED and "no answer" in done.stdout):
                break
            outcome.notes.append("a venue gave no answer in time: killed again")
        named = re.findall(r"(\w+: [^\n]*(?:UNVERIFIED|OF UNKNOWN FATE|STILL OPEN)[^\n]*)", done.stdout)
        if outcome.code != Exit.OK and not named:
            raise Fault(f"{outcome.code} of nothing that it names: {done.stdout}")
        outcome.notes += named

    def _expect(self, done: subprocess.CompletedProcess[str], codes: set[int]) -> None:
        words = (
            f"{' '.join(map(str, done.args[1:]))} ended with {done.returncode}: {done.stdout}{done.stderr}"
        )
        if TRACE in done.stderr or done.returncode not in codes:
            raise Fault(words)

    # ---- after it ----------------------------------------------------------------------------

    def _look(self, outcome: Outcome) -> None:
        """The processes are gone, the referees see nothing, and every view answers meanwhile."""
        ended = time.monotonic()
        ended_ms = time.time() * 1000
        left = [entry.name for entry in processes.find_ours(self.paths.runtime) if entry.name in OURS]
        if left:
            raise Fault(f"outlived the kill: {left}: {outcome.words}")
        self._referees(outcome, ended_ms)
        with ThreadPoolExecutor(max_workers=2) as pool:
            views = [pool.submit(self._view, words, codes) for words, codes in VIEWS.items()]
            while time.monotonic() < ended + LOOK_S or not all(view.done() for view in views):
                time.sleep(0.1)
                self._referees(outcome, ended_ms)
            for view in views:
                view.result()

    def _referees(self, outcome: Outcome, ended_ms: float) -> None:
        for venue in VENUES:
            account = self.system.account(venue)
            if account["open_orders"]:
                raise Fault(f"{venue}: open after exit {outcome.code}: {account['open_orders']}")
            for what in ("accepted", "fills") if outcome.code == Exit.OK else ():
                late = [row for row in account[what] if row["time_ms"] > ended_ms]
                if late:
                    raise Fault(f"{venue}: {what} after exit 0: {late}\n{outcome.words}")

    def _view(self, words: tuple[str, ...], codes: set[int]) -> None:
        done = self.system.control(*words, expect=None)
        self._expect(done, codes)
        lines = done.stdout.splitlines() if words[0] in ("events", "logs") else [done.stdout]
        for line in lines:
            json.loads(line)
        if not lines:
            raise Fault(f"{' '.join(words)} said nothing: {done.stderr}")

    # ---- and again ---------------------------------------------------------------------------

    def _again(self, outcome: Outcome) -> None:
        """Resume and start; a damaged ledger is refused once, with a sentence that is followed."""
        self._resume(outcome)
        started = self._begin({Exit.OK, Exit.HALTED})
        if started.returncode == Exit.OK:
            return
        said = started.stderr
        if "`control resume`" not in said:
            raise Fault(f"refused without a way out: {said}")
        outcome.notes.append(next((line for line in said.splitlines() if "amage" in line), said))
        if "`control kill`" in said:
            killed = self.system.control("kill", "--reason", "flips", expect=None)
            self._expect(killed, {Exit.OK, Exit.KILL_PARTLY})
            outcome.notes.append(f"kill {killed.returncode} once more")
        self._resume(outcome)
        self._begin({Exit.OK})

    def _begin(self, codes: set[int]) -> subprocess.CompletedProcess[str]:
        """A start; once more where a busy machine gave its check of the settings no time to end."""
        started = self.system.control(*self._start, expect=None)
        if started.returncode == Exit.CONFIGURATION and "its check did not end" in started.stderr:
            started = self.system.control(*self._start, expect=None)
        self._expect(started, codes)
        return started

    def _resume(self, outcome: Outcome) -> None:
        """Until it is lifted: its sentence says when an order of unknown fate can no longer land."""
        began = time.monotonic()
        while True:
            done = self.system.control("resume", "--yes", expect=None)
            self._expect(done, {Exit.OK, Exit.ERROR})
            if done.returncode == Exit.OK:
                return
            waited = time.monotonic() - began
            if waited > LIFT_S:
                raise Fault(f"no resume within {waited:.0f} s: {done.stderr}")
            if "Run `control kill`" in done.stderr and not re.search(r"\((\d+) s\)", done.stderr):
                self.system.control("kill", expect=None)
            outcome.notes.append(f"resume waits: {done.stderr.splitlines()[-1]}"[:160])
            time.sleep(2)

    # ---- what the processes said ---------------------------------------------------------------

    def _logs(self) -> Iterator[Path]:
        return iter(sorted(self.paths.logs.glob("*.log")))

    def _mark_logs(self) -> None:
        self._log_ends = {log.name: log.stat().st_size for log in self._logs()}

    def _traces(self) -> list[str]:
        """Tracebacks in the processes' logs since the flip: what was raised."""
        found = []
        for log in self._logs():
            said = log.read_bytes()[self._log_ends.get(log.name, 0) :].decode(errors="replace")
            raised = RAISED.findall(said[said.index(TRACE) :]) if TRACE in said else []
            found += [f"{log.name}: {text}" for text in dict.fromkeys(raised)]
        return found


def flips(cases: list[Case], say: Callable[[str], None]) -> tuple[list[Outcome], list[str]]:
    """These cases, one after another; what came of them, and what was wrong."""
    outcomes: list[Outcome] = []
    faults: list[str] = []
    site: Site | None = None
    try:
        for number, case in enumerate(cases, 1):
            try:
                site = site or Site()
                outcomes.append(site.run(case))
                say(f"{number}/{len(cases)} {outcomes[-1]}")
            except BaseException as error:  # also pytest's own, which is no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
                faults.append(f"{case}: {type(error).__name__}: {error}")
                say(f"{number}/{len(cases)} FAULT {faults[-1]}")
                if site is not None:
                    site.close()
                    site = None
    finally:
        if site is not None:
            site.close()
    return outcomes, faults


def main() -> int:
    """The command of `make flips-system`; 1 when one flip was not survived."""
    parser = argparse.ArgumentParser(description="Flipped bits of the ledger while the whole system trades.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flips", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="begin with this one of them")
    parser.add_argument("--bit", type=int, action="append", default=[], help="this bit instead of drawn ones")
    parser.add_argument("--pause", type=float, default=0.1, help="seconds between --bit and the kill")
    chosen = parser.parse_args()
    cases = draw(chosen.seed, chosen.flips)[chosen.first - 1 :]
    if chosen.bit:
        cases = [Case(bit, chosen.pause) for bit in chosen.bit]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # takes the system down, also in the background
    began = time.monotonic()
    outcomes, faults = flips(cases, lambda text: print(text, flush=True))
    codes = dict(sorted(Counter(outcome.code for outcome in outcomes).items()))
    for text in faults:
        print(text)
    seconds = time.monotonic() - began
    print(f"{len(cases)} flips in {seconds:.0f} s, kills' exit codes {codes}, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
