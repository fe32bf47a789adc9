"""Seeded kills: orders are held in the network while `control kill` runs; a referee looks what comes after.

    make kills KILLS=200 SYSTEMS=4 SEED=1
    .venv/bin/python tests/scenario/kills.py --seed 7 --kills 1

In each case the whole system trades with a recvWindow between 200 and 5000 ms; then the next orders of both
venues' processes are cut off on their way and arrive 0 to 9 s later; meanwhile engine, bot and supervisor are
each left alive, paused or killed; and somebody types `control kill`. What must hold:

    after exit 0   nothing of ours is accepted, rests or fills at either venue any more
    exit 6         only orders that never came, were refused when they came, or had ended before anybody
                   looked, are of unknown fate; and nothing is open
    exit 7         only of a venue that did not answer in time, and a repetition ends with 0 or 6

The network here is the simulators' own: nothing can come out of it later than the longest time that orders
are held for. So the referee is watched until a second after that, and a minute with --look, and what he knows
at the end is judged by the venue's own times: whatever was accepted or filled after the command ended.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import ROOT, System

from bridge.paths import Paths
from control import flight, processes
from control.status import snapshot

Json = dict[str, Any]
VENUES = ("binance", "polymarket")
OURS = ("engine", "polymarket_bot", "supervisor")
STATES = ("alive", "frozen", "dead")
HELD_MAX_MS = 9000
WINDOW_MS = (200, 5000)
TRADE_S = 180.0  # until both venues have orders, on a busy machine
CAUGHT_S = 6.0  # until orders were caught on their way
# Ticks from the fair value: close to it, an order that comes late often crosses the book and is refused, so
# that nobody ever sees it; far from it, it rests or fills.
CLOSE, FAR = 1, 4
LOOK_S = 60.0  # as long as a kill itself looks for an order at most; the tests look for a second
MARGIN_MS = 700  # two looks of a kill, and what stands between two clocks' readings
UNVERIFIED, PARTLY = 7, 6


class Violation(AssertionError):
    """A kill that said something else than the truth."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kill, as its seed draws it."""

    seed: int
    window_ms: int
    held: dict[str, int] = field(hash=False)  # by venue: how many orders
    held_ms: dict[str, int] = field(hash=False)
    states: dict[str, str] = field(hash=False)
    pause_s: float

    def __str__(self) -> str:
        held = ", ".join(f"{v} {self.held[v]}x{self.held_ms[v]} ms" for v in VENUES)
        return f"seed {self.seed}: window {self.window_ms} ms; {held}; " + " ".join(
            f"{name}={state}" for name, state in self.states.items()
        )


def draw(seed: int) -> Case:
    """The case of a seed."""
    rnd = random.Random(seed)
    return Case(
        seed,
        rnd.randint(*WINDOW_MS),
        {venue: rnd.randint(0, 4) for venue in VENUES},
        {venue: rnd.randint(1, HELD_MAX_MS) for venue in VENUES},
        {name: rnd.choice(STATES) for name in OURS},
        round(rnd.uniform(0, 0.4), 2),
    )


@dataclass(slots=True)
class Outcome:
    """What a kill said, and what came of it."""

    case: Case
    code: int = 0
    seconds: float = 0.0
    caught: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    repeated: int = 0
    said: str = ""
    why: str = ""

    def __str__(self) -> str:
        caught = " ".join(f"{venue}:{number}" for venue, number in self.caught.items())
        return f"exit {self.code} in {self.seconds:.1f} s, caught {caught}, unknown {self.unknown}{self.why}"


class Site:
    """One system, killed again and again."""

    def __init__(self, look_s: float) -> None:
        shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.system = System(Path(tempfile.mkdtemp(prefix="purser-kills-", dir=shared)))
        self.paths = Paths(self.system.home / "home", self.system.home / "run", "paper")
        self._look_s = look_s
        self._config = self.system.home / "config"
        shutil.copytree(ROOT / "config", self._config)

    def run(self, case: Case) -> Outcome:
        """All of one case; Violation when the kill was wrong."""
        self._start(case)
        outcome = Outcome(case)
        self._hold(case, outcome)
        self._states(case)
        time.sleep(case.pause_s)  # drawn: how long after all that somebody types; it waits for nothing
        text = self._kill(outcome)
        ended_ms = time.time() * 1000
        began_ms = json.loads(self.paths.latch.read_text())["wall_ns"] / 1e6  # Python takes its time to start
        self._watch(began_ms, ended_ms, outcome, text)
        self._justify(began_ms, ended_ms, outcome, text)
        self._resume()
        return outcome

    # ---- before ----------------------------------------------------------------------------------

    def _start(self, case: Case) -> None:
        settings = json.loads((ROOT / "config" / "binance_sim.json").read_text())
        settings["session"]["recv_window_ms"] = case.window_ms
        settings["quoter"] |= {"requote_ticks": 2, "levels": 2}
        (self._config / "binance_sim.json").write_text(json.dumps(settings))
        bot = json.loads((ROOT / "config" / "polymarket_sim.json").read_text())
        spread = CLOSE if case.seed % 2 else FAR
        bot["strategy"] |= {"requote_interval_ms": 100, "tolerance_ticks": 0, "half_spread_ticks": spread}
        (self._config / "polymarket_sim.json").write_text(json.dumps(bot))
        self.system.start("--config", str(self._config))
        self.system.wait(
            "orders at both venues",
            lambda: (
                all(row["open_orders"] for row in snapshot(self.paths)["venues"])
                and len(snapshot(self.paths)["venues"]) == len(VENUES)
            ),
            TRADE_S,
        )

    def _hold(self, case: Case, outcome: Outcome) -> None:
        """Catch the next orders; the market is moved so that there are some soon."""
        wanted = {venue: number for venue, number in case.held.items() if number}
        for venue in wanted:
            switches = {"late_order": case.held[venue], "late_ms": case.held_ms[venue]}
            switches |= {"late_cut": 1} if venue == "binance" else {}
            self.system.admin(venue, "/faults", switches)
        ends = time.monotonic() + CAUGHT_S
        step = 1
        while wanted and time.monotonic() < ends:
            self.system.admin("binance", "/market", {"jump_ticks": 40 * step})
            step = -step
            time.sleep(0.1)
            caught = {v: case.held[v] - self.system.admin(v, "/faults")["late_order"] for v in wanted}
            outcome.caught = caught
            if all(caught.values()):
                break

    def _states(self, case: Case) -> None:
        found = {entry.name: entry.process for entry in processes.find_ours(self.paths.runtime)}
        for name, state in case.states.items():
            if state != "alive" and name in found:
                number = signal.SIGSTOP if state == "frozen" else signal.SIGKILL
                processes.send_signal(found[name], number)

    # ---- the kill and what comes after -----------------------------------------------------------

    def _kill(self, outcome: Outcome) -> str:
        """Typed again while a busy machine's venue gives no answer in time."""
        said = ""
        for _ in range(5):
            began = time.monotonic()
            done = self.system.control("kill", "--reason", "kills", expect=None)
            outcome.code, outcome.seconds = done.returncode, time.monotonic() - began
            said = f"{said}{done.stdout}"
            if done.returncode != UNVERIFIED:
                break
            refusals = [line for line in done.stdout.splitlines() if "UNVERIFIED, " in line]
            if not refusals or not all("no answer" in line for line in refusals):
                raise Violation(f"7 of venues that answer: {done.stdout}{done.stderr}")
            outcome.repeated += 1
        if done.returncode not in (0, PARTLY):
            raise Violation(f"ended with {done.returncode}: {done.stdout}{done.stderr}")
        outcome.said = said
        return done.stdout

    def _watch(self, began_ms: float, ended_ms: float, outcome: Outcome, text: str) -> None:
        """Until the last order that was held must have arrived, and a second."""
        for venue in VENUES:
            self.system.admin(venue, "/faults", {"late_order": 0})
        held_ms = max((outcome.case.held_ms[v] for v, n in outcome.caught.items() if n), default=0)
        until = max(began_ms + held_ms + 1000, ended_ms + 1000 + 1000 * self._look_s) / 1000
        while True:
            last = time.time() > until
            for venue in VENUES:
                account = self.system.account(venue)
                if account["open_orders"]:
                    raise Violation(
                        f"{venue}: open after exit {outcome.code}: {account['open_orders']}\n{text}"
                    )
                if outcome.code == 0:
                    self._nothing_since(venue, account, ended_ms, text)
            if last:
                return
            time.sleep(0.25)

    def _nothing_since(self, venue: str, account: Json, ended_ms: float, text: str) -> None:
        for what in ("accepted", "fills"):
            late = [row for row in account[what] if row["time_ms"] > ended_ms]
            if late:
                raise Violation(f"{venue}: {what} after exit 0: {late}\n{text}")

    def _justify(self, began_ms: float, ended_ms: float, outcome: Outcome, text: str) -> None:
        """A 6 is of orders that the venue never had while it was looked for them."""
        told = {venue: 0 for venue in VENUES}
        for venue, number in re.findall(r"(\w+): [^\n]*?(\d+) OF UNKNOWN FATE", text):
            told[venue] = int(number)
        outcome.unknown = sum(told.values())
        if outcome.code == 0 and not outcome.unknown:
            return
        if outcome.code == PARTLY and not outcome.unknown:
            raise Violation(f"6 without a doubt: {text}")
        if told["binance"]:
            raise Violation(f"a window that has ended leaves no doubt: {text}")
        doubted = [order.query_id for order in flight.read(self.paths).in_flight("polymarket")]
        accepted = {row["order_id"]: row["time_ms"] for row in self.system.account("polymarket")["accepted"]}
        came = {name for name, at in accepted.items() if began_ms + MARGIN_MS < at < ended_ms - MARGIN_MS}
        never = len([name for name in doubted if name not in accepted])
        early = len([name for name in doubted if name in accepted and name not in came])
        outcome.why = f" ({never} never accepted, {early} accepted and ended before the kill looked)"
        if told["polymarket"] > len([name for name in doubted if name not in came]):
            raise Violation(f"of unknown fate, and the venue had it: {doubted} {came}\n{outcome.said}")

    def _resume(self) -> None:
        ends = time.monotonic() + 75
        while (done := self.system.control("resume", "--yes", expect=None)).returncode:
            if time.monotonic() > ends:
                raise Violation(f"no resume: {done.stderr}")
            time.sleep(1)


def kills(
    seeds: list[int], systems: int, say: Callable[[str], None], *, look_s: float = 0.0
) -> tuple[list[Outcome], list[str]]:
    """The cases of these seeds, on so many systems side by side; what came of them, and what was wrong."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in seeds:
        waiting.put(seed)
    outcomes: list[Outcome] = []
    wrong: list[str] = []

    def work() -> None:
        site: Site | None = None
        while True:
            try:
                case = draw(waiting.get_nowait())
            except queue.Empty:
                break
            site = site or Site(look_s)
            try:
                outcome = site.run(case)
                outcomes.append(outcome)
                say(f"{case}: {outcome}")
            except BaseException as error:  # also pytest's own, which is no Exception
                wrong.append(f"{case}: {type(error).__name__}: {error}")
                say(f"{case}: WRONG: {type(error).__name__}: {error}")
                with contextlib.suppress(Exception):
                    site.system.close()
                site = None
        if site is not None:
            site.system.close()

    threads = [threading.Thread(target=work) for _ in range(min(systems, len(seeds)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes, wrong


def main() -> int:
    """The command of `make kills`."""
    parser = argparse.ArgumentParser(description="Seeded kills with orders held in the network.")
    parser.add_argument("--seed", type=int, default=1, help="the first; the others follow")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--systems", type=int, default=4, help="side by side")
    parser.add_argument("--look", type=float, default=LOOK_S, help="seconds to look after each kill")
    chosen = parser.parse_args()
    seeds = list(range(chosen.seed, chosen.seed + chosen.kills))
    outcomes, wrong = kills(seeds, chosen.systems, lambda text: print(text, flush=True), look_s=chosen.look)
    codes = {code: sum(o.code == code for o in outcomes) for code in sorted({o.code for o in outcomes})}
    caught = sum(sum(o.caught.values()) for o in outcomes)
    print(f"{len(outcomes)} kills, exit codes {codes}, {caught} orders held, {len(wrong)} wrong")
    for text in wrong:
        print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
