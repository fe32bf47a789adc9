"""The end of a day, and whether the wall clock can be believed: the supervisor leads, all others follow.

    midnight UTC ──► PAUSE ──all acknowledged, or ended after a second──► BEGIN ──the same──► NONE

The day is a word in the ledger, kept in day.json for the next boot; it only grows. It grows by one when the
wall, which has run evenly since it was last confirmed, says so, and by more only when two venues or a person
have confirmed the wall. A wall that jumps by more than 250 ms against CLOCK_BOOTTIME is an event; when the
jumps add up to more than five seconds, or when the machine has slept, no new risk is added until the wall is
confirmed (and, after a sleep, until every participant has armed its dead-man switch, heard its market and
reconciled anew).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING

from bridge.ledger import Ledger, now_ns
from bridge.messages import RollPhase
from bridge.wall_clock import DAY_NS, WallWatch, day_of, wall_ns
from control import access, processes, shared, venues, words
from control.records import Record, read_json, write_atomically

if TYPE_CHECKING:
    from control.children import Child
    from control.supervisor import Supervisor

LOOK_S = 0.1
ACK_S = 1.0  # who has not acknowledged the pause by then is ended
BEGIN_S = 0.7
AGREE_S = 2.0  # so near a venue's clock must be to ours; Polymarket tells whole seconds
WITNESSES = 2
ASK_EVERY_S = 1.0
ASK_SELDOM_S = 10.0  # after a small jump, which stops nothing
START_PATIENCE_S = 3.0
CLOSED_PATIENCE_S = 1.0
TELL_EVERY_S = 60.0
SLEPT = "the machine slept, and not everything is fresh again"


class DayKeeper:
    """Leads the day of one supervisor, and watches its wall clock."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._watch = WallWatch()
        self._day = 0
        self._rolling = False
        self._reason = ""  # why the wall is doubted; empty: it is believed
        self._since_ns = 0
        self._slept_until_ns = 0  # everything known before is stale; 0: it is not
        self._looked_ns = now_ns()
        self._asked = 0.0
        self._told = 0.0

    @property
    def problem(self) -> str:
        """For the views: why no new risk is added; empty when nothing is doubted."""
        if not self._reason:
            return ""
        return f"no new risk: {self._reason}; `control clock` shows it, `control clock --confirm` believes it"

    # ---- the words in the ledger ---------------------------------------------------------------

    def prepare(self) -> None:
        """Before any participant starts: the day of the last run, and the end of a roll that its
        supervisor has left half done. Whether a later day has begun is asked of the venues first, and a
        doubt that it left stands until somebody who knows the time has confirmed the wall."""
        ledger = self._ledger()
        roll = ledger.roll()
        if roll.phase != RollPhase.NONE:
            ledger.roll_end()  # nobody of that run lives: who starts now begins the day that stands there
            done = roll.phase == RollPhase.BEGIN
            self._event("day_roll_finished" if done else "day_roll_given_up", "warning", day=roll.day)
        kept = read_json(self._supervisor.paths.mode_home / "day.json") or {}
        known = kept.get("day")
        today = day_of(wall_ns())
        self._day = max(known if isinstance(known, int) else 0, roll.day) or today
        self._name(self._day)
        self._watch.look()
        if roll.clock_doubt_ns:
            # Our own watch begins now: it cannot know what the wall did before, or since.
            self._doubt("an earlier run doubted the wall clock", since_ns=roll.clock_doubt_ns)
        elif today != self._day:
            self._doubt(f"the wall clock says day {today}, and the last run ended on day {self._day}")

    def _name(self, day: int) -> None:
        self._day = day
        self._ledger().mend_day(day)
        self._keep()

    def _keep(self) -> None:
        with contextlib.suppress(OSError):
            content = {"schema_version": 1, "day": self._day}
            write_atomically(self._supervisor.paths.mode_home / "day.json", content, durable=True)

    def look(self) -> None:
        """Ten times a second, before the lease is renewed: what the clocks did since the last look."""
        found = self._watch.look()
        if found.jumped_ns:
            self._event("clock_jumped", "warning", milliseconds=found.jumped_ns // 1_000_000)
            self._asked = 0.0
            if self._watch.doubted:
                self._doubt(f"the wall clock moved by {self._watch.moved_ns / 1e9:+.1f} s")
        if found.slept_ns:
            self._event("machine_slept", "warning", seconds=round(found.slept_ns / 1e9, 1))
            # The instant of waking, not of noticing it: who was faster than we is fresh already.
            self._slept_until_ns = self._looked_ns + found.slept_ns
            self._doubt(SLEPT)
        self._looked_ns = now_ns()
        ledger = self._ledger()
        roll = ledger.roll()
        if not self._rolling and (roll.day != self._day or roll.phase != RollPhase.NONE):
            self._event("day_words_mended", "error", found_day=roll.day, day=self._day, phase=roll.phase)
            ledger.mend_day(self._day)
        if roll.clock_doubt_ns != self._since_ns:
            ledger.doubt_clock(self._since_ns)

    # ---- doubt ---------------------------------------------------------------------------------

    def _doubt(self, reason: str, since_ns: int = 0) -> None:
        if not self._reason:
            self._since_ns = since_ns or now_ns()
        self._reason, self._told = reason, 0.0
        self._ledger().doubt_clock(self._since_ns)
        self._event("clock_doubted", "error", text=f"{reason}: no new risk until it is confirmed")

    def confirm(self, actor: str) -> None:
        """A person says that the wall is right. What a sleep made stale must still become fresh."""
        self._event("clock_confirmed", "warning", by=actor)
        self._believe()

    def _believe(self) -> None:
        self._watch.confirm()
        if self._slept_until_ns:
            self._reason = SLEPT
            return
        self._reason, self._since_ns = "", 0
        self._ledger().doubt_clock(0)

    async def _ask_venues(self) -> None:
        """Two venues whose clocks agree with ours confirm it."""
        if time.monotonic() - self._asked < (ASK_EVERY_S if self._reason else ASK_SELDOM_S):
            return
        self._asked = time.monotonic()
        offsets = await self.offsets()
        near = [name for name, offset in offsets.items() if offset is not None and abs(offset) <= AGREE_S]
        if len(near) >= WITNESSES:
            if self._reason:
                self._event("clock_confirmed", "warning", by=", ".join(near))
            self._believe()
        elif self._reason and time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            shown = {name: "no answer" if o is None else f"{o:+.1f} s" for name, o in offsets.items()}
            self._event("clock_not_confirmed", "error", offsets=shown, text=self.problem)

    async def offsets(self) -> dict[str, float | None]:
        """Each venue's clock less ours, in seconds; None where it cannot be asked, or where it is not
        certain that it is the venue at which we trade."""
        names = list(venues.VENUES)
        return dict(zip(names, await asyncio.gather(*(self._offset(n) for n in names)), strict=True))

    async def _offset(self, name: str) -> float | None:
        place = await asyncio.to_thread(access.at, self._supervisor.paths, name)
        if place.ready is None or place.problem:
            return None
        try:
            async with venues.open_venue(name, place.ready, timeout_s=1.0) as venue:
                return await venue.ping()
        except (venues.VenueError, LookupError, TypeError, ValueError):
            return None

    def _is_fresh(self) -> bool:
        """After a sleep: every participant has reconciled, armed its switch and heard its market anew."""
        view = self._ledger().snapshot()
        for child in self._participants():
            page = shared.read_page(self._supervisor.paths, child.name)
            if page is None or page.torn or child.role is None:
                return False
            if view.participants[child.role].reconciled_ns <= self._slept_until_ns:
                return False
            own = [row for row in page.venues if words.OWNERS.get(str(row["name"])) == child.name]
            for row in own:
                if min(row["feed_ns"], row["dead_man_armed_ns"]) <= self._slept_until_ns:
                    return False
        return True

    # ---- the roll ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._step()
            # A look falls on midnight itself: the pause begins within a few milliseconds of it.
            left_s = (DAY_NS - wall_ns() % DAY_NS) / 1e9
            await asyncio.sleep(min(LOOK_S, left_s))

    async def _step(self) -> None:
        if self._rolling:
            return
        if self._slept_until_ns:
            if not self._is_fresh():
                return
            self._slept_until_ns = 0
            self._asked = 0.0
            self._event("fresh_again", "info")
        today = day_of(wall_ns())
        skipped = today > self._day + 1
        if self._reason or self._watch.moved_ns or skipped:
            if skipped and not self._reason:
                self._doubt(f"the wall clock says day {today}, and day {self._day} has not ended")
            await self._ask_venues()
        # At a start the keeper and the duty both wait for the venues above; one of them rolls.
        if self._rolling or self._reason or self._supervisor.stopping.is_set():
            return
        if day_of(wall_ns()) > self._day:
            await self._roll()

    async def settle_start(self) -> None:
        """Before the participants start: a day that is over is closed now, so that nobody begins with
        yesterday's loss; while the venues do not confirm the wall, yesterday goes on. A roll that has begun
        is waited for, whoever leads it."""
        deadline = time.monotonic() + START_PATIENCE_S
        while self._rolling or (self._is_open() and time.monotonic() < deadline):
            self._asked = 0.0
            await self._step()
            await asyncio.sleep(0.05)

    def _is_open(self) -> bool:
        """Whether a new day has begun is not settled yet."""
        return bool(self._reason) or day_of(wall_ns()) > self._day

    def is_due(self) -> bool:
        """The wall says another day than the ledger."""
        return day_of(wall_ns()) != self._day

    async def _roll(self) -> None:
        ledger, began = self._ledger(), time.monotonic()
        closed = self._day
        self._rolling = True
        try:
            sequence = ledger.roll_pause()
            ended = await self._acknowledged(ACK_S)
            if self._reason or day_of(wall_ns()) <= closed:
                return  # the wall jumped in between: the day goes on
            ledger.roll_begin(wall_ns())
            self._day = ledger.roll().day
            ended += await self._acknowledged(BEGIN_S)
        finally:
            ledger.roll_end()
            self._rolling = False
        seconds = round(time.monotonic() - began, 3)
        self._keep()
        results = await self._results(closed)
        self._event(
            "day_rolled",
            "info",
            day=self._day,
            closed_day=closed,
            roll=sequence,
            seconds=seconds,
            ended=ended,
            results_micros=results,
            result_micros=sum(value for value in results.values() if value is not None),
        )

    async def _acknowledged(self, patience_s: float) -> list[str]:
        """Wait for every participant that lives; the names of those that were ended for their silence."""
        ledger, deadline = self._ledger(), time.monotonic() + patience_s
        waiting = self._participants()
        while waiting and time.monotonic() < deadline:
            waiting = [c for c in waiting if c.role is not None and not ledger.roll_acked(c.role)]
            await asyncio.sleep(0.002)
        for child in waiting:
            self._end(child)
        while any(c.process is not None and processes.is_alive(c.process) for c in waiting):
            if time.monotonic() > deadline + 0.2:
                break
            await asyncio.sleep(0.002)
        return [child.name for child in waiting]

    def _end(self, child: Child) -> None:
        """Killed; whoever waits for its end puts things right and starts it anew, in the new day."""
        if child.process is None:
            return
        self._event("roll_not_acknowledged", "error", child=child.name, pid=child.pid)
        child.state = "down"
        child.ended_by_roll = True
        processes.send_signal(child.process, signal.SIGKILL)

    async def _results(self, closed: int) -> dict[str, int | None]:
        """What each participant's closed day came to, by its page; None for who did not close it."""
        deadline = time.monotonic() + CLOSED_PATIENCE_S
        results: dict[str, int | None] = {}
        while True:
            for child in self._participants():
                page = shared.read_page(self._supervisor.paths, child.name)
                told = page is not None and not page.torn and page.closed_day == closed
                results[child.name] = page.closed_micros if told and page is not None else None
            if None not in results.values() or time.monotonic() > deadline:
                return results
            await asyncio.sleep(0.02)

    # ---- parts ---------------------------------------------------------------------------------

    def _participants(self) -> list[Child]:
        return [child for child in self._supervisor.children if child.role is not None]

    def _ledger(self) -> Ledger:
        return self._supervisor.live_ledger()

    def _event(self, name: str, level: str, **fields: object) -> None:
        self._supervisor.events.write("supervisor", name, level=level, **fields)

    def record(self) -> Record:
        """For `control clock`."""
        return {
            "schema_version": 1,
            "day": self._day,
            "wall_ns": wall_ns(),
            "wall_day": day_of(wall_ns()),
            "moved_ns": self._watch.moved_ns,
            "doubted": self._reason,
        }
