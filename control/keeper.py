"""Starting the children and keeping them alive: the supervisor's longest duty.

A child's death is handled in a fixed order, and only after the process is certainly gone: its slots
become UNKNOWN, its venue is emptied by the supervisor's own connection, again after any order in
flight must have landed, and only then is it started anew, later each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.ledger import now_ns
from bridge.messages import HaltReason, LedgerState, ParticipantRole
from control import access, exposure, flight, processes, shared, sweep, venues, words
from control import children as kids
from control.children import Child
from control.emptying import Emptied, empty_venue
from control.endings import ending, is_defect, report_advice
from control.errors import Exit
from control.latch import is_latched

if TYPE_CHECKING:
    from control.supervisor import Supervisor

LOOK_S = 0.1
# Of an earlier run's orders on their way: all of Binance's windows. Polymarket's have none: the bot goes on
# looking for each by its hash, and keeps it charged, so that a start need not take a minute.
ADOPTION_S = 8.0


class StartFailed(Exception):
    """Start-up cannot succeed; carries the command's exit code."""

    def __init__(self, text: str, code: Exit) -> None:
        super().__init__(text)
        self.code = code


class Keeper:
    """Starts the children of one supervisor, in order, and keeps them running."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    # ---- start -----------------------------------------------------------------------------

    async def run(self) -> None:
        binance, polymarket, engine, bot = self._supervisor.children
        began = time.monotonic()
        await self._start_simulator(binance)
        if self._supervisor.adopted:
            swept = await self._settle_venue("binance", now_ns(), ADOPTION_S)
            self._supervisor.events.write("supervisor", "venues_swept", binance=swept)
        # The engine needs only Binance: it connects while the second venue comes up.
        if self._supervisor.day.is_due():  # both venues are asked whether it is so
            await self._start_simulator(polymarket)
            await self._supervisor.day.settle_start()
            self._start_participant(engine)
        else:
            self._start_participant(engine)
            await self._start_simulator(polymarket)
        await self._sweep_after_adoption(polymarket)
        self._start_participant(bot)
        async with asyncio.TaskGroup() as group:
            for child in self._supervisor.children:
                group.create_task(self._keep(child))
            group.create_task(self._announce_health(began))

    async def _sweep_after_adoption(self, child: Child) -> None:
        """Charges of an earlier run may belong to orders that are still open at the venue."""
        if self._supervisor.adopted:
            swept = await self._settle_venue(child.venue, now_ns(), ADOPTION_S)
            self._supervisor.events.write("supervisor", "venue_swept", venue=child.venue, result=swept)

    async def _announce_health(self, began: float) -> None:
        waiting = {child.name: child for child in self._supervisor.children if not child.simulator}
        while waiting:
            view = self._supervisor.live_ledger().snapshot()
            for name, child in list(waiting.items()):
                if shared.is_reconciled(view, child.role):
                    seconds = time.monotonic() - child.started
                    title = child.title[0].upper() + child.title[1:]
                    self._supervisor.step(f"{title} connected and reconciled ({seconds:.1f} s)")
                    del waiting[name]
            await asyncio.sleep(0.05)
        while not self._supervisor.healthy:
            if self._supervisor.live_ledger().state == LedgerState.ACTIVE and self._venues_ready():
                self._supervisor.healthy = True
                self._supervisor.write_supervisor_json()
            else:
                await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        self._supervisor.events.write("supervisor", "trading_started", seconds=round(seconds, 2))
        self._supervisor.report("healthy", f"Trading is on ({seconds:.1f} s)")

    def _venues_ready(self) -> bool:
        pids = {child.pid for child in self._supervisor.children}
        for name in words.PARTICIPANTS[1:]:
            page = shared.read_page(self._supervisor.paths, name)
            # A page outlives its writer, so an old one may still say READY.
            if (
                page is None
                or page.pid not in pids
                or not any(venue["state"] == "READY" for venue in page.venues)
            ):
                return False
        return True

    async def _start_simulator(self, child: Child) -> None:
        if await self._adopt_simulator(child):
            self._supervisor.step(f"{child.title} still running, kept (pid {child.pid})")
            return
        ready = await self._launch_simulator(child)
        if ready is None:
            raise StartFailed(self._why_failed(child), Exit.ERROR)
        port, admin = kids.ports_of(ready)
        self._supervisor.step(f"{child.title} ready (port {port}, referee's view on {admin})")

    async def _adopt_simulator(self, child: Child) -> bool:
        """Keep a simulator that an earlier supervisor started the same way and that still answers."""
        running = [e for e in processes.find_ours(self._supervisor.paths.runtime) if e.name == child.name]
        children = self._supervisor.earlier.get("children", [])
        argv = next((entry.get("argv") for entry in children if entry.get("name") == child.name), None)
        ready = venues.read_ready(self._supervisor.paths.sim_ready(child.venue))
        if len(running) == 1 and ready is not None and argv == child.argv and await _answers(ready):
            child.process, child.handle, child.state = running[0].process, None, "running"
            child.started = time.monotonic()
            self._supervisor.write_supervisor_json()
            return True
        await asyncio.to_thread(processes.terminate, [e.process for e in running], 4.0)
        return False

    async def _launch_simulator(self, child: Child) -> dict[str, Any] | None:
        ready_path = self._supervisor.paths.sim_ready(child.venue)
        settings = (
            self._supervisor.settings.binance
            if child.venue == "binance"
            else self._supervisor.settings.polymarket
        )
        port, admin = settings.port, settings.admin_port
        before = venues.read_ready(ready_path)
        if child.restarts and before is not None:  # its clients know it by its address
            port, admin = kids.ports_of(before)
        self._supervisor.paths.sim_state(child.venue).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._spawn(child, kids.with_ports(child.argv, port, admin))
        ready = await kids.wait_ready_line(child, ready_path, timeout_s=20.0)
        if ready is not None:
            child.state = "running"
            self._supervisor.write_supervisor_json()
        return ready

    def _start_participant(self, child: Child) -> None:
        self._spawn(child, child.argv)

    def _spawn(self, child: Child, argv: list[str]) -> None:
        environment = {
            **os.environ,
            "PURSER_HOME": str(self._supervisor.paths.home),
            "PURSER_RUNTIME": str(self._supervisor.paths.runtime),
            "PURSER_SUPERVISED": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONFAULTHANDLER": "1",  # a crash inside a C module tells where in the Python code
        }
        try:
            kids.start_child(child, argv, environment)
        except OSError as error:
            raise StartFailed(
                f"{child.argv[0]} cannot be run: {error.strerror}. Build it with `make trader`.",
                Exit.CONFIGURATION,
            ) from None
        self._supervisor.events.write("supervisor", "child_started", child=child.name, pid=child.pid)
        self._supervisor.write_supervisor_json()

    def _why_failed(self, child: Child) -> str:
        code = child.handle.poll() if child.handle is not None else child.exit_code
        running = code is None and child.handle is not None
        end = "did not become ready in time" if running else ending(code)
        tail = "\n".join("    " + line for line in kids.last_lines(child.log, start=child.log_start))
        advice = report_advice(code, child.log, self._journal_of(child))
        said = f"The {child.title} (pid {child.pid}) {end}."
        if tail:
            return f"{said} The end of {child.log}:\n{tail}" + (f"\n{advice}" if advice else "")
        return f"{said} It wrote nothing. {advice or '`control doctor` looks at folders and disks.'}"

    def _journal_of(self, child: Child) -> Path | None:
        paths = self._supervisor.paths
        return {"engine": paths.engine_journal, "polymarket_bot": paths.bot_db}.get(child.name)

    # ---- keep alive ------------------------------------------------------------------------

    async def _keep(self, child: Child) -> None:
        """Wait for the child's end, put things right, start it again; for ever."""
        while not self._supervisor.stopping.is_set():
            try:
                await self._keep_once(child)
            except StartFailed:
                raise
            except Exception as error:
                # Its process is still dead, so the next round begins at once, after a longer pause.
                self._supervisor.events.write(
                    "supervisor",
                    "recovery_failed",
                    level="error",
                    child=child.name,
                    text=f"{type(error).__name__}: {error}",
                )
                traceback.print_exc()
                await asyncio.sleep(child.backoff_s())

    async def _keep_once(self, child: Child) -> None:
        code = await kids.wait_child(child)
        if self._supervisor.stopping.is_set():
            return
        child.state = "down"
        self._note_end(child, code)
        by_roll, child.ended_by_roll = child.ended_by_roll, False
        if not self._supervisor.healthy and not child.simulator and not by_roll:
            known = {int(Exit.CONFIGURATION), int(Exit.HALTED), int(Exit.USAGE)}
            raise StartFailed(self._why_failed(child), Exit(code) if code in known else Exit.ERROR)
        died = time.monotonic()
        if child.role is not None:
            await self._clear_after_death(child, died)
        if not by_roll and child.too_many_deaths(died):
            child.state = "failed"
            self._supervisor.write_supervisor_json()
            text = f"the {child.title} died {len(child.deaths)} times in ten minutes"
            self._supervisor.halt(HaltReason.RESTARTS, text)
            await self._wait_until_resumed()
            child.deaths.clear()
        await asyncio.sleep(max(0.0, child.backoff_s() - (time.monotonic() - died)))
        if not child.simulator:
            await self._wait_until_resumed()
        await self._restart(child)

    def _note_end(self, child: Child, code: int | None) -> None:
        """The end in words, so that the log of events tells a defect from a stop."""
        self._supervisor.events.write(
            "supervisor",
            "child_ended",
            level="error" if is_defect(code) else "warning",
            child=child.name,
            exit_code=code,
            text=" ".join(
                part
                for part in (
                    f"the {child.title} (pid {child.pid}) {ending(code)}.",
                    report_advice(code, child.log, self._journal_of(child)),
                )
                if part
            ),
        )

    async def _clear_after_death(self, child: Child, died: float) -> None:
        """After the certain death of a participant: its slots become UNKNOWN, its venue is emptied
        by our own connection, twice, the second time after any order in flight must have landed."""
        assert child.role is not None
        child.state = "recovering"
        self._supervisor.write_supervisor_json()
        quiet_ns = now_ns()
        charged = self._supervisor.live_ledger().reclaim(ParticipantRole(child.role))
        swept = await self._settle_venue(child.venue, quiet_ns, 2 * flight.LOOK_MAX_S[child.venue])
        self._supervisor.events.write(
            "supervisor",
            "participant_reclaimed",
            level="warning",
            child=child.name,
            slots_charged=charged,
            swept=swept,
            seconds=round(time.monotonic() - died, 2),
        )

    async def empty_venue(self, name: str, deadline: float) -> Emptied:
        """Cancel and list until nothing is open; what is on its way is not waited for."""
        return await empty_venue(self._supervisor.paths, name, self._known_symbols(name), deadline)

    async def _settle_venue(self, name: str, quiet_ns: int, longest_s: float) -> str:
        """The same, and then until no order of the dead can land any more; the longest of what its slots
        tell decides, as in a kill. What was never seen stays charged for the next owner."""
        paths = self._supervisor.paths
        place = await asyncio.to_thread(access.at, paths, name)
        seen = await asyncio.to_thread(flight.read, paths)
        if exposure.nothing_there(paths, name, place) is not None:
            seen = seen.without_doubt()  # a kill has found out about what could not be read
        if place.ready is None:
            await asyncio.sleep(min(flight.longest_s(seen, name, quiet_ns), longest_s))
            return "unreachable: " + (place.problem or "its address is not known")
        symbols = self._known_symbols(name) | set(place.symbols)
        try:
            async with venues.open_venue(name, place.ready, timeout_s=sweep.ANSWER_S) as venue:
                done = await sweep.empty_and_settle(
                    venue, symbols, seen, quiet_ns, longest_s, exposure.found_before(paths)
                )
                count = await done.cancelled()
        except (venues.VenueError, TimeoutError) as error:
            await asyncio.sleep(min(flight.longest_s(seen, name, quiet_ns), longest_s))
            return f"unreachable: {error}"
        with contextlib.suppress(OSError):
            exposure.note_found(paths, done.found)
        unknown = len(sweep.of_unknown_fate(done, name, quiet_ns))
        doubt = f", {unknown} of unknown fate" if unknown else ""
        return f"{count} cancelled, {len(done.left)} open{doubt}"

    def _known_symbols(self, venue: str) -> set[str]:
        return shared.known_symbols(self._supervisor.paths, self._supervisor.ledger, venue)

    async def _restart(self, child: Child) -> None:
        child.restarts += 1
        try:
            if not child.simulator:
                self._start_participant(child)
            elif await self._launch_simulator(child) is None:
                self._note_failed_restart(child, self._why_failed(child))
                if child.handle is not None and child.process is not None:
                    await asyncio.to_thread(processes.terminate, [child.process], 1.0)
        except StartFailed as failure:
            # The dead process is waited for again at once, so the next round backs off further.
            self._note_failed_restart(child, str(failure))

    def _note_failed_restart(self, child: Child, text: str) -> None:
        self._supervisor.events.write(
            "supervisor", "restart_failed", level="error", child=child.name, text=text
        )

    async def _wait_until_resumed(self) -> None:
        """The halt is a word in shared memory and a file: both can only be looked at."""
        while self._is_halted():  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)

    def _is_halted(self) -> bool:
        supervisor = self._supervisor
        return is_latched(supervisor.paths.latch) or supervisor.live_ledger().state == LedgerState.HALTED


async def _answers(ready: dict[str, Any]) -> bool:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
            return (await client.get(f"{ready['admin']}/clock")).status_code == 200
    except (httpx.HTTPError, KeyError):
        return False
