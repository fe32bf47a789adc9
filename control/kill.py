"""`control kill`: the emergency stop. It never asks, needs no other process, and may be repeated.

    1 ledger to HALTED    2 latch file, fsynced    3 up to 50 ms for acknowledgements, else SIGKILL
    4 cancel all at every venue by our own connection, and query until nothing is open
    5 end engine, bot and supervisor (the venues' simulators stay, so that they can be asked)
    6 after the validity window, when an order in flight must have landed, cancel and query again
    7 on request, flatten    8 one line a venue, and the exit code: 0, 6 partly, 7 unverified

The venues' own dead-man switches are left to run out; they are not disarmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.ledger import Ledger
from bridge.messages import HaltReason
from control import exposure, processes, shared, venues, words
from control.errors import Exit
from control.latch import actor, set_latch
from control.processes import FoundProcess, ProcessId
from control.recorder import write_event

if TYPE_CHECKING:
    from bridge.paths import Paths
    from control.flatten import Closed

ACK_WAIT_S = 0.05
FIRST_SWEEP_S = 0.9  # from the start of the command
TOTAL_S = 2.6  # of the three seconds that a kill may take, what is left after starting Python
CALL_TIMEOUT_S = 0.6
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
    problem: str = ""  # why it is unverified
    nothing: str = ""  # why there can be no order of ours, when that is known without asking
    verified: int = 0  # how many sweeps ended with nothing open

    def line(self) -> str:
        """The venue's line of the report."""
        flat = f", {self.closed.line()}" if self.closed is not None else ""
        if self.problem and self.nothing:
            return f"{self.name}{self.where}: {self.nothing} (asked all the same: {self.problem})"
        if self.problem:
            return f"{self.name}{self.where}: UNVERIFIED, {self.problem}{flat}"
        fills = "fills not asked" if self.fills is None else f"{self.fills} filled meanwhile"
        times = "twice" if self.verified > 1 else "once, after the last order in flight"
        state = f"{self.open_orders} STILL OPEN" if self.open_orders else f"no order open, verified {times}"
        return f"{self.name}{self.where}: {self.cancelled} cancelled, {fills}, {state}{flat}"

    @property
    def unverified(self) -> bool:
        """It could not be asked, and may have orders of ours, or positions that were to be closed."""
        positions = self.closed is not None and bool(self.closed.unknown)
        return positions or bool(self.problem and not self.nothing)

    @property
    def left_over(self) -> bool:
        """It was asked, and something is left there."""
        return bool(self.open_orders or (self.closed is not None and self.closed.left))


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

    def __init__(self, paths: Paths, reason: str, flatten: bool, only: str | None, say: Say) -> None:
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
        self._quiet = self._began
        self._reserved: dict[str, int] = {}

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
        asked = self._venues()
        self._report.venues = asyncio.run(self._at_venues(asked))
        self._end_hard()
        if self._flatten:
            self._close_positions(asked)
        self._note_empty()
        for result in self._report.venues:
            self._say(result.line(), "bad" if result.unverified or result.left_over else "good")
        self._report.seconds = time.monotonic() - self._began
        self._journal()
        if self._ledger is not None:
            self._ledger.close()
        return self._report

    # ---- 1, 2: halt and latch --------------------------------------------------------------

    def _halt(self) -> None:
        try:
            self._ledger = shared.open_ledger(self._paths)
            self._report.epoch = self._ledger.halt(HaltReason.OPERATOR)
            for row in shared.open_orders(self._paths):
                self._reserved[row["venue"]] = self._reserved.get(row["venue"], 0) + 1
            self._say(f"ledger HALTED (epoch {self._report.epoch})", "good")
        except OSError as error:
            self._report.ledger = str(error)
            self._say("ledger missing or damaged: every process will be ended instead", "plain")

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
        self._quiet = time.monotonic()
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

    def _venues(self) -> list[tuple[VenueResult, dict[str, Any] | None]]:
        """The venues to empty, each with its address when that is known. A venue where nothing of ours
        can be is asked when it can be, and else only said to be so."""
        wanted = []
        for name in venues.VENUES:
            if self._only not in (None, name):
                self._say(f"{name}: not asked (--venue {self._only})", "plain")
                continue
            result = VenueResult(name)
            owners = [entry.process for entry in self._found if entry.name == words.OWNERS[name]]
            if not owners:
                result.nothing = exposure.nothing_there(self._paths, name) or ""
            if self._flatten and result.nothing != exposure.NEVER:
                result.nothing = ""  # where no order rests, a position may be held
            ready = self._address(name, result, owners)
            if ready is None and result.nothing:
                self._say(f"{name}: {result.nothing}", "good")
            else:
                wanted.append((result, ready))
        return wanted

    def _address(self, venue: str, result: VenueResult, owners: list[ProcessId]) -> dict[str, Any] | None:
        for owner in owners:
            if (named := exposure.address_by_settings(self._paths, owner)) is not None:
                result.where = f" at {named['rest']}"
                return named
        return venues.read_ready(self._paths.sim_ready(venue)) or self._ready_of_process(venue)

    def _ready_of_process(self, venue: str) -> dict[str, Any] | None:
        """With the runtime folder gone, the ready line is still in the simulator's open stdout."""
        for entry in self._found:
            if entry.name == f"sim-{venue}":
                return venues.read_ready(Path(f"/proc/{entry.process.pid}/fd/1"))
        return None

    async def _at_venues(self, asked: list[tuple[VenueResult, dict[str, Any] | None]]) -> list[VenueResult]:
        return list(await asyncio.gather(*(self._at_venue(result, ready) for result, ready in asked)))

    async def _at_venue(self, result: VenueResult, ready: dict[str, Any] | None) -> VenueResult:
        symbols = self._symbols(result.name)
        if ready is None:
            result.problem = "its address is not known; look at the venue itself"
            return result
        try:
            async with venues.open_venue(result.name, ready, CALL_TIMEOUT_S) as venue:
                await self._empty(venue, symbols, result)
        except Exception as error:  # whatever went wrong here, the other venue must still be emptied
            why = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            result.problem = f"{why or type(error).__name__}; look at the venue itself, then kill again"
        return result

    def _left(self, until_s: float) -> asyncio.Timeout:
        """Ends what is inside at this many seconds after the command's start: a venue may also answer
        one byte at a time."""
        return asyncio.timeout(max(0.05, self._began + until_s - time.monotonic()))

    async def _empty(
        self, venue: venues.BinanceVenue | venues.PolymarketVenue, symbols: set[str], result: VenueResult
    ) -> None:
        first = 0
        with contextlib.suppress(Exception):  # the second sweep decides
            async with self._left(FIRST_SWEEP_S):
                first, left = await venues.cancel_until_none(venue, symbols, self._began + FIRST_SWEEP_S)
                result.verified += not left
        again = self._quiet + venues.VALIDITY_WINDOW_S[venue.name] - time.monotonic()
        await asyncio.sleep(max(0.0, again))
        async with self._left(TOTAL_S):
            second, left = await venues.cancel_until_none(venue, symbols, self._began + TOTAL_S - 0.1)
        result.verified += not left
        with contextlib.suppress(Exception):  # a count for the report, no more
            async with self._left(TOTAL_S):
                result.fills = await venue.fills_since(self._wall_s, symbols)
        # The owner cancels by its own connection too, and is often the faster one: what was reserved
        # at the halt and is neither open nor filled was cancelled.
        reserved = self._reserved.get(venue.name, 0) - (result.fills or 0) - len(left)
        result.cancelled, result.open_orders = max(first + second, reserved), len(left)

    def _close_positions(self, asked: list[tuple[VenueResult, dict[str, Any] | None]]) -> None:
        """Only now, with everybody dead who could trade against it."""
        from control.flatten import close_all

        addresses = {result.name: ready for result, ready in asked if ready is not None}
        closed = close_all(self._paths, addresses, self._report.alive)
        for result, _ in asked:
            result.closed = closed.get(result.name)

    def _note_empty(self) -> None:
        """What was confirmed is kept, so that the next kill need not call unverified what is empty."""
        for result in self._report.venues:
            # A venue that an engine's settings name says nothing of the simulator, where it may have been.
            confirmed = result.verified and not (result.problem or result.open_orders or result.where)
            if confirmed and words.OWNERS[result.name] not in self._report.alive:
                with contextlib.suppress(OSError):
                    exposure.note_empty(self._paths, result.name)

    def _journal(self) -> None:
        with contextlib.suppress(OSError):
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
