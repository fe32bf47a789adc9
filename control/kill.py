"""`control kill`: the emergency stop. It never asks, needs no other process, and may be repeated.

    1 halt       the ledger to HALTED by one compare-and-swap; then the latch file, fsynced
    2 silence    up to 50 ms for acknowledgements, else SIGKILL; afterwards nobody sends
    3 read       from the ledger's bytes: which orders can still land, and until when (flight.py);
                 from the participants' records: which venue, address and key each used (access.py)
    4 cancel     all at every place at once, by our own connection, and list until nothing is open
    5 end        engine, bot and supervisor (the venues' simulators stay, so that they can be asked)
    6 settle     while an order of ours can still land: cancel, list, and ask for it by its id
    7 verify     cancel and list once more       8 on request, flatten       9 one line a place

At each place, all places side by side, so that the slowest one's time counts and not their sum:

    CANCEL ──nothing can land any more──────────────────────────────► VERIFY ──empty───► confirmed
      │                                                                 │ │                    0
      │ an order is SENT or UNKNOWN, or a slot cannot be read           │ └─still open ► partly 6
      ▼                                                                 │
    SETTLE ──each was found, or the last deadline has passed────────────┤
      │  ▲     (found: by its id, in a cancel's answer, by its owner)   │
      │  └─look again, paced                                            │
      │                        never found, or a slot was not read, ────┴──────► unknown fate 6
      └─ --no-wait: now ─────► and no window proves it

    no answer, an address or key that is not known, a record that is not the ledger's ► UNVERIFIED 7

A deadline is the order's own, from its slot: Binance refuses what is older than its recvWindow, so that its
end proves that an order which nothing is seen of did not land. Polymarket's orders have none: each is looked
for until a minute after it was sent, and one that was never seen then stays "of unknown fate". The venues'
own dead-man switches are left to run out, and prove nothing of an order that is still on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.ledger import Ledger, LedgerError, now_ns
from bridge.messages import HaltReason
from control import access, exposure, flight, processes, shared, sweep, venues, words
from control.access import Place
from control.errors import Exit
from control.latch import actor, set_latch
from control.processes import FoundProcess
from control.recorder import write_event

if TYPE_CHECKING:
    from bridge.paths import Paths
    from control.flatten import Closed

ACK_WAIT_S = 0.05
FIRST_SWEEP_S = 0.9  # from the start of the command
END_S = 1.6  # by then who acknowledged has cancelled too; whoever still runs is ended hard
TOTAL_S = 2.6  # of the three seconds that a kill may take, what is left after starting Python
SECOND_LOOK_S = 0.25  # after the first one, when nothing is on its way
LAST_LOOK_S = 6.0  # after a wait, when haste is over
LAST_CALL_S = 2.5
PROGRESS_S = 4.0
NO_VENUE = "no venue has anything of ours: none was asked"

Say = Callable[[str, str], None]  # text, tone: good, bad, plain


@dataclass(slots=True)
class VenueResult:
    """What could be confirmed at one venue."""

    name: str
    where: str = ""  # " at …" when it is not the simulator
    cancelled: int = 0
    open_orders: int = 0
    fills: int | None = None
    closed: Closed | None = None  # of a flatten
    to_close: bool = False  # positions may be held there, and were to be closed
    problem: str = ""  # why it is unverified
    nothing: str = ""  # why there can be no order of ours, when that is known without asking
    verified: int = 0  # how many sweeps ended with nothing open
    unknown: int = 0  # orders that were never seen, and of which nothing proves that they cannot land
    unread: str = ""  # why it is not known which orders were on their way, and were not waited for
    known_at: str = ""  # when their fate will be known, for who does not wait
    waiting: int = 0
    left_s: float = 0.0

    def line(self) -> str:
        """The venue's line of the report."""
        flat = f", {self.closed.line()}" if self.closed is not None else ""
        if self.problem and self.nothing and not self.to_close:
            return f"{self.name}{self.where}: {self.nothing} (asked all the same: {self.problem})"
        if self.problem:
            return f"{self.name}{self.where}: UNVERIFIED, {self.problem}{flat}"
        fills = "fills not asked" if self.fills is None else f"{self.fills} filled meanwhile"
        times = "twice" if self.verified > 1 else "once, after the last order in flight"
        state = f"{self.open_orders} STILL OPEN" if self.open_orders else f"no order open, verified {times}"
        return f"{self.name}{self.where}: {self.cancelled} cancelled, {fills}, {state}{self._doubt()}{flat}"

    def _doubt(self) -> str:
        doubt = f", {self.unknown} OF UNKNOWN FATE" if self.unknown else ""
        doubt += f", {self.unread}" if self.unread else ""
        if not doubt:
            return ""
        if self.known_at:
            return f"{doubt}: known at {self.known_at}; run `control kill` then"
        seen = "never seen at the venue" if self.unknown else "what was never seen there may still come"
        return f"{doubt}: {seen}; look there before you resume"

    @property
    def unverified(self) -> bool:
        """It could not be asked, and may have orders of ours, or positions that were to be closed."""
        positions = self.closed is not None and bool(self.closed.unknown)
        return positions or bool(self.problem and (not self.nothing or self.to_close))

    @property
    def left_over(self) -> bool:
        """It was asked, and something is left there."""
        closed = self.closed is not None and bool(self.closed.left)
        return bool(self.open_orders or self.unknown or self.unread or closed)


@dataclass(slots=True)
class KillReport:
    """Everything that a kill did, in the order of the contract."""

    epoch: int = 0
    ledger: str = ""
    latch: str = ""
    acknowledged: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    venues: list[VenueResult] = field(default_factory=list)
    seconds: float = 0.0

    def exit_code(self) -> Exit:
        """0 confirmed, 6 partly, 7 a venue could not be reached."""
        if any(result.unverified for result in self.venues):
            return Exit.KILL_UNVERIFIED
        if self.latch or self.alive or any(result.left_over for result in self.venues):
            return Exit.KILL_PARTLY
        return Exit.OK


class Kill:
    """One run of the command."""

    def __init__(
        self, paths: Paths, reason: str, flatten: bool, only: str | None, say: Say, *, wait: bool = True
    ) -> None:
        self._paths = paths
        self._reason = reason
        self._flatten = flatten
        self._only = only
        self._listener = say
        self._began = time.monotonic()
        self._wall_s = time.time()
        self._report = KillReport()
        self._ledger: Ledger | None = None
        self._found: list[FoundProcess] = []
        self._wait = wait
        self._quiet_ns = now_ns()  # when nobody could send any more
        self._seen = flight.Flight()

    def _say(self, text: str, tone: str) -> None:
        """Words are the least of it: nobody reading them must not stop the kill."""
        with contextlib.suppress(OSError, ValueError):
            self._listener(text, tone)

    def run(self) -> KillReport:
        """Do all of it."""
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a closed terminal or a second thought: never half-way
        self._halt()
        self._latch()
        self._found = self._discover()
        self._silence()
        self._end_softly()
        self._seen = flight.read(self._paths)
        asked = self._venues()
        self._report.venues = asyncio.run(self._at_venues(asked))
        if self._flatten:
            self._close_positions(asked)
        self._note_empty(asked)
        for result in self._report.venues:
            self._say(result.line(), "bad" if result.unverified or result.left_over else "good")
        self._report.seconds = time.monotonic() - self._began
        self._journal()
        if self._ledger is not None:
            self._ledger.close()
        return self._report

    # ---- 1, 2: halt and latch --------------------------------------------------------------

    def _halt(self) -> None:
        """Whatever stands in the ledger: it is halted and its orders are read. A halt that failed is said;
        then nobody can acknowledge it, so that every process is ended all the same."""
        try:
            self._ledger = shared.read_ledger(self._paths)
            damage = self._ledger.damage()
            self._report.epoch = self._ledger.halt(HaltReason.OPERATOR)
        except (OSError, LedgerError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._ledger, self._report.ledger = None, str(error)
            self._say(
                f"ledger could NOT be halted: ledger missing or damaged ({error}). Its processes are ended "
                "instead",
                "plain",
            )
            return
        self._say(f"ledger HALTED (epoch {self._report.epoch})", "good")
        if damage is not None:
            self._report.ledger = damage
            self._say(f"ledger missing or damaged: {damage}. Its orders are read all the same", "plain")

    def _latch(self) -> None:
        try:
            whole = set_latch(self._paths.latch, "operator", self._reason, self._report.epoch)
            lost = "" if whole else " (the disk is full: without its reason)"
            self._say(f"latched: no start before `control resume`{lost}", "good")
        except OSError as error:
            self._report.latch = str(error)
            self._say(
                f"the latch {self._paths.latch} cannot be written: {error.strerror}. "
                "Make its folder writable, or free the disk, and run `control kill` again.",
                "bad",
            )

    # ---- 3, 5: processes -------------------------------------------------------------------

    def _discover(self) -> list[FoundProcess]:
        """Every process of ours. A damaged file must not stop a kill: then /proc alone has to do."""
        try:
            return shared.live_processes(self._paths, self._ledger)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return processes.find_ours(self._paths.runtime)

    def _symbols(self, venue: str) -> set[str]:
        """Where we may have orders; without a hint the venue's own list of open orders says so."""
        try:
            return shared.known_symbols(self._paths, self._ledger, venue)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return set()

    def _participants(self) -> list[FoundProcess]:
        return [entry for entry in self._found if entry.name in words.PARTICIPANTS[1:]]

    def _silence(self) -> None:
        """Wait for acknowledgements; SIGKILL whoever does not give one. Afterwards nobody sends."""
        waiting = self._participants()
        deadline = time.monotonic() + ACK_WAIT_S
        while waiting:
            waiting = [entry for entry in waiting if not self._acknowledged(entry)]
            if not waiting or self._ledger is None or time.monotonic() >= deadline:
                break
            time.sleep(0.002)
        for entry in waiting:
            with contextlib.suppress(PermissionError):
                processes.send_signal(entry.process, signal.SIGKILL)
        left = processes.wait_gone([entry.process for entry in waiting], 0.5)
        self._quiet_ns = now_ns()
        for entry in waiting:
            if entry.process not in left:
                self._report.killed.append(entry.name)
                self._say(f"{entry.name} (pid {entry.process.pid}) did not acknowledge: SIGKILL", "plain")
        for entry in self._participants():
            if entry not in waiting:
                self._report.acknowledged.append(entry.name)
                self._say(f"{entry.name} (pid {entry.process.pid}) acknowledged", "good")

    def _acknowledged(self, entry: FoundProcess) -> bool:
        if not processes.is_alive(entry.process):
            return True
        if self._ledger is None:
            return False
        view = self._ledger.snapshot()
        line = view.participants[words.PARTICIPANTS.index(entry.name)]
        return line.pid == entry.process.pid and line.halt_ack == self._report.epoch

    def _ours_to_end(self) -> list[FoundProcess]:
        return [entry for entry in self._found if entry.name in words.PARTICIPANTS]

    def _end_softly(self) -> None:
        """SIGTERM: who acknowledged cancels by its own connection too and leaves a last page."""
        for entry in self._ours_to_end():
            number = signal.SIGKILL if processes.is_stopped(entry.process) else signal.SIGTERM
            with contextlib.suppress(PermissionError):
                processes.send_signal(entry.process, number)

    def _end_hard(self) -> None:
        ending = self._ours_to_end() + [
            entry
            for entry in processes.find_ours(self._paths.runtime)
            if entry.name in words.PARTICIPANTS and entry not in self._found
        ]
        for entry in ending:
            with contextlib.suppress(PermissionError):
                processes.send_signal(entry.process, signal.SIGKILL)
        left = processes.wait_gone([entry.process for entry in ending], 0.5)
        self._report.alive = [entry.name for entry in ending if entry.process in left]
        ended = sorted({entry.name for entry in ending} - set(self._report.alive))
        if ended:
            self._say("ended: " + ", ".join(ended), "good")
        for name in self._report.alive:
            self._say(f"{name} CANNOT be ended; end it by hand", "bad")

    # ---- 4, 6, 7: venues -------------------------------------------------------------------

    def _venues(self) -> list[tuple[VenueResult, Place]]:
        """The places to empty. One where nothing of ours can be is asked when it can be, and else only said
        to be so."""
        wanted = []
        for place in access.places(self._paths, self._seen, self._found):
            if self._only not in (None, place.venue):
                self._say(f"{place.venue}: not asked (--venue {self._only})", "plain")
                continue
            result = VenueResult(place.venue, place.where)
            owners = [entry.process for entry in self._found if entry.name == place.participant]
            if place.earlier or not owners:
                result.nothing = self._nothing(place)
            result.to_close = self._flatten and result.nothing != exposure.NEVER
            if result.nothing and not result.to_close and (place.ready is None or place.problem):
                self._say(f"{place.venue}{place.where}: {result.nothing}", "good")
            else:
                wanted.append((result, place))
        return wanted

    def _nothing(self, place: Place) -> str:
        """Why nothing of ours can be there; a file that says nonsense gives no reason not to ask."""
        try:
            return exposure.nothing_there(self._paths, place.venue, place) or ""
        except Exception:  # whatever it is: this place is asked, and the others too
            return ""

    async def _at_venues(self, asked: list[tuple[VenueResult, Place]]) -> list[VenueResult]:
        """All of them side by side, while the processes are ended, and with a word now and then."""
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(self._tell([result for result, _ in asked]))
            ending = group.create_task(self._end_in_time())
            done = await asyncio.gather(*(self._at_venue(result, place, ending) for result, place in asked))
            await ending
            telling.cancel()
        return list(done)

    async def _end_in_time(self) -> None:
        """Who acknowledged cancels by its own connection meanwhile; then nobody is left."""
        ending = [entry.process for entry in self._ours_to_end()]
        left_s = self._began + END_S - time.monotonic()
        await asyncio.to_thread(processes.wait_gone, ending, max(0.0, left_s))
        await asyncio.to_thread(self._end_hard)

    async def _tell(self, results: list[VenueResult]) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            waiting = [result for result in results if result.left_s > 0]
            if waiting:
                what = ", ".join(f"{r.name} {r.waiting or 'what its slots do not tell'}" for r in waiting)
                left_s = max(result.left_s for result in waiting)
                self._say(f"waiting for orders on their way ({what}): {left_s:.0f} s left at most", "plain")

    async def _at_venue(self, result: VenueResult, place: Place, ended: asyncio.Task[None]) -> VenueResult:
        if place.ready is None:
            result.problem = place.problem or "its address is not known; look at the venue itself"
            return result
        try:
            async with venues.open_venue(place.venue, place.ready, sweep.ANSWER_S) as venue:
                await self._empty(venue, place, result, ended)
        except Exception as error:  # whatever went wrong here, the other venue must still be emptied
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            result.problem = f"{why or type(error).__name__}; look at the venue itself, then kill again"
        if place.problem:  # emptied as well as can be, but it may be another place than the orders went to
            result.problem = place.problem
        return result

    def _left(self, until_s: float) -> asyncio.Timeout:
        """Ends what is inside at this many seconds after the command's start: a venue may also answer
        one byte at a time."""
        return asyncio.timeout(max(0.05, self._began + until_s - time.monotonic()))

    async def _empty(
        self, venue: venues.Venue, place: Place, result: VenueResult, ended: asyncio.Task[None]
    ) -> None:
        # To an earlier run's account nothing can be on its way; to one that was left in order what the
        # ledger tells of, if it does: an owner that ended need not have waited for each answer.
        seen = self._seen.without_doubt() if result.nothing else self._seen
        seen = flight.Flight() if place.earlier else seen
        symbols = set(place.symbols) | self._symbols(venue.name)
        since_s = sweep.since_wall_s(seen, venue.name)
        found = exposure.found_before(self._paths)
        looking = sweep.Sweep(venue, symbols, seen, since_s, found)
        with contextlib.suppress(Exception):  # the last sweep decides
            async with self._left(FIRST_SWEEP_S):
                result.verified += await looking.empty(self._began + FIRST_SWEEP_S)
        first_s = time.monotonic() - self._began
        try:
            await self._settle(looking, result, seen)
        finally:  # what was found stays known, also when the last look fails
            with contextlib.suppress(Exception):
                exposure.note_found(self._paths, looking.found)
        if first_s + SECOND_LOOK_S > time.monotonic() - self._began:
            await asyncio.sleep(first_s + SECOND_LOOK_S - (time.monotonic() - self._began))
        await asyncio.shield(ended)  # nobody is left who could send between this look and the end
        waited = time.monotonic() - self._began > TOTAL_S
        if waited:
            looking.patience_s = LAST_CALL_S
        ends_s = max(TOTAL_S, time.monotonic() - self._began + (LAST_LOOK_S if waited else 0.9))
        async with self._left(ends_s):
            result.verified += await looking.empty(self._began + ends_s - 0.1)
        result.open_orders = len(looking.left)
        self._note_unknown(looking, result, seen, place)
        with contextlib.suppress(Exception):  # counts for the report, no more
            async with self._left(ends_s + 0.3):
                result.cancelled, result.fills = await asyncio.gather(
                    looking.cancelled(), venue.fills_since(self._wall_s, looking.symbols)
                )

    async def _settle(self, looking: sweep.Sweep, result: VenueResult, seen: flight.Flight) -> None:
        """Until no order of ours can land any more; without waiting, one question for each."""
        left_s = sweep.seconds_left(looking, seen, result.name, self._quiet_ns)

        def progress(waiting: int, seconds: float) -> None:
            result.waiting, result.left_s = waiting, seconds

        if self._wait:
            await looking.settle(left_s, lambda: flight.read(self._paths), progress)
        elif left_s() > 0:
            with contextlib.suppress(Exception):
                async with self._left(TOTAL_S):
                    await looking.settle(
                        lambda: min(left_s(), self._began + END_S - time.monotonic()),
                        lambda: flight.read(self._paths),
                    )
        result.left_s = 0.0
        if not self._wait and (seconds := left_s()) > 0:
            at = time.strftime("%H:%M:%S", time.gmtime(time.time() + seconds))
            result.known_at = f"{at} UTC, in {seconds:.0f} s"

    def _note_unknown(
        self, looking: sweep.Sweep, result: VenueResult, seen: flight.Flight, place: Place
    ) -> None:
        result.unknown = len(sweep.of_unknown_fate(looking, result.name, self._quiet_ns))
        if not seen.unreadable(result.name):
            return
        if seen.problem == flight.NO_LEDGER and not self._ran(place):
            return  # its ledger went with the last boot, and so did whoever could send
        why = seen.problem or "damaged slots"
        if not self._wait:
            result.unread = f"orders on their way cannot be counted ({why})"
        elif result.name in flight.WINDOWLESS:  # no time that was waited proves that there are none
            result.unread = f"ORDERS ON THEIR WAY COULD NOT BE COUNTED ({why})"

    def _ran(self, place: Place) -> bool:
        alive = any(entry.name == place.participant for entry in self._found)
        return alive or exposure.ran_since_boot(self._paths, place)

    def _close_positions(self, asked: list[tuple[VenueResult, Place]]) -> None:
        """Only now, with everybody dead who could trade against it; and never at a place that may be another
        one than that which was used."""
        from control.flatten import close_all

        there = [(result, place) for result, place in asked if result.to_close and not place.problem]
        closed = close_all(self._paths, [place for _, place in there], self._report.alive)
        for (result, _), outcome in zip(there, closed, strict=True):
            result.closed = outcome

    def _note_empty(self, asked: list[tuple[VenueResult, Place]]) -> None:
        """What was confirmed is kept, so that the next kill need not call unverified what is empty."""
        for result, place in asked:
            # Without a record, settings of a process that ran say nothing of the next one's.
            fixed = place.simulator or place.fingerprint
            confirmed = result.verified and not (result.problem or result.left_over)
            if confirmed and fixed and place.participant not in self._report.alive:
                with contextlib.suppress(Exception):  # the note is for the next kill, this one is done
                    exposure.note_empty(self._paths, place.venue, place)

    def _journal(self) -> None:
        with contextlib.suppress(Exception):  # what was done counts, and is still to be reported
            write_event(
                self._paths.mode_home,
                "control",
                "kill_finished",
                level="error",
                text=self._reason,
                actor=actor(),
                epoch=self._report.epoch,
                exit_code=int(self._report.exit_code()),
                acknowledged=self._report.acknowledged,
                killed=self._report.killed,
                venues=[result.line() for result in self._report.venues] or [NO_VENUE],
                seconds=round(self._report.seconds, 3),
            )
