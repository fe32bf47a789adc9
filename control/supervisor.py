"""The supervisor: owns the ledger and the lease, keeps the children alive, stops them.

    INIT ──every required participant reconciled──► ACTIVE ──stop──► CANCEL_ONLY ──► gone
      └──────────────── halt by anyone ───────────────┴──► HALTED ──only `control resume`──► INIT

It is a process of its own (`python -m control.supervisor`), one asyncio TaskGroup. While it lives it
renews the lease every 100 ms; when it dies, or is stopped, the lease runs out within two seconds and
the participants add no more risk. Everything that it knows is in files or shared memory, so the next
supervisor goes on where this one ended: it ends orphaned participants, keeps the simulators that
still run (a venue does not restart because we do), reclaims, and starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bridge.ledger import Amounts, Ledger, LedgerOrigin
from bridge.messages import PROTOCOL_PARTICIPANTS, HaltReason, LedgerState, ParticipantRole
from bridge.paths import Paths
from bridge.wall_clock import ClockError, follow_test_clock
from control import children as kids
from control import exposure, flight, processes, shared, venues, words
from control.bus import BusReader, CommandServer
from control.children import Child
from control.config import Budget, Paper, load, micros, usd
from control.day import DayKeeper
from control.emptying import Emptied
from control.errors import ControlError, Exit
from control.guard import Guard
from control.instance import know_instance
from control.keeper import Keeper, StartFailed
from control.latch import describe, is_latched, set_latch
from control.lost_records import lost_records
from control.processes import ProcessId
from control.recorder import EventLog, FillRecorder
from control.records import write_atomically

BEAT_S = 0.1
LEASE_NS = 2_000_000_000
SNAPSHOT_S = 2.0
Duty = Callable[[], Awaitable[None]]
Report = Callable[[str, str], None]  # kind ("step", "failed", "healthy"), text


class Supervisor:
    """One run, from `control start` to `control stop` or `control kill`."""

    def __init__(self, paths: Paths, options: dict[str, Any], report: Report) -> None:
        self.paths = paths
        self.options = options
        self.report = report
        self._folder = Path(options["config"])
        self.settings = load(Paper, self._folder / "paper.json")
        self.budget = Budget.model_validate(options["budget"])
        self.events = EventLog(paths.mode_home)
        self._fills = FillRecorder(paths.mode_home)
        self.children: list[Child] = []
        self.ledger: Ledger | None = None
        self.healthy = False
        self.adopted = False
        self.stopping = asyncio.Event()
        self.stop_simulators = True
        self.keep_venues = False  # after a stop that leaves them up
        self.exit_code = Exit.OK
        self._lock = -1
        self._keeper = Keeper(self)
        self.day = DayKeeper(self)
        self._started_wall_ns = time.time_ns()
        self._fills_problem: str | None = None
        self._lost_told: set[str] = set()
        self._unverified: list[str] = []  # venues where a stop did not see that nothing is open
        self.earlier = shared.about_supervisor(paths)
        self._sweeps: set[asyncio.Task[Emptied]] = set()
        self._me = ProcessId(os.getpid(), processes.start_time_of(os.getpid()) or 0)

    # ---- life ------------------------------------------------------------------------------

    async def run(self) -> Exit:
        """Run until told to stop. The exit code is the command's."""
        self._take_lock()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # SIGHUP: the terminal of `start --foreground` was closed; ignored when nohup wants it so.
            if signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal)
        self.events.write(
            "supervisor", "supervisor_started", pid=self._me.pid, options=self._public_options()
        )
        try:
            self._prepare()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._for_ever(name, duty)) for name, duty in self._duties()]
                starter = group.create_task(self._keeper.run())
                await self.stopping.wait()
                starter.cancel()
                await self._shut_down()
                for task in tasks:
                    task.cancel()
        except* StartFailed as failures:
            failure = _first(failures)
            self._fail(str(failure), failure.code)
        finally:
            self._close()
        return self.exit_code

    def _duties(self) -> list[tuple[str, Duty]]:
        return [
            ("heartbeat", self._beat),
            ("guard", Guard(self).run),
            ("bus", BusReader(self.paths, self.events).run),
            ("commands", CommandServer(self).run),
            ("day", self.day.run),
            ("fills", self._record_fills),
            ("snapshots", self._write_snapshots),
        ]

    async def _for_ever(self, name: str, duty: Duty) -> None:
        """A duty that fails is noted and begun again: one broken view must not end the heartbeat.
        When the heartbeat itself fails, the lease runs out and nobody adds risk."""
        while True:
            try:
                await duty()
            except Exception as error:  # also a group of them, and ZeroMQ's own
                self.events.write(
                    "supervisor",
                    "duty_failed",
                    level="error",
                    duty=name,
                    text=f"{type(error).__name__}: {error}",
                )
                traceback.print_exc()
            await asyncio.sleep(1.0)

    def _take_lock(self) -> None:
        self._lock = os.open(self.paths.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ControlError("It is already running; `control status` shows it.", Exit.ERROR) from None

    def _prepare(self) -> None:
        know_instance(self.paths, self.events, self.step)
        engine_config = Path(self.options.get("engine_config") or self._folder / self.settings.engine_config)
        bot_config = Path(self.options.get("bot_config") or self._folder / self.settings.bot_config)
        self.children = kids.make_children(self.paths, self.settings, engine_config, bot_config, self.options)
        self._end_orphans()
        for stale in ("bridge_socket", "engine_pub", "bot_pub", "command"):
            Path(str(getattr(self.paths, stale)).removeprefix("ipc://")).unlink(missing_ok=True)
        try:
            self.ledger = shared.create_ledger(
                self.paths, self.budget.limits_micros, self.budget.headrooms_micros
            )
        except OSError as error:
            raise StartFailed(
                f"The ledger {self.paths.ledger} cannot be made: {error.strerror or error}. "
                "Look at that folder; `control doctor` helps.",
                Exit.ERROR,
            ) from None
        self._refuse_what_was_rescued(self.ledger)
        self.adopted = adopted = self.ledger.adopted
        if adopted:
            self._apply_limit(self.budget)
            for child in self.children:
                if child.role is not None:
                    self.ledger.reclaim(ParticipantRole(child.role))
        self.day.prepare()
        self.ledger.heartbeat(LEASE_NS)
        if self.ledger.state == LedgerState.HALTED:
            raise StartFailed("The ledger is halted. `control resume` lifts it after a check.", Exit.HALTED)
        self._fills.open()
        self.write_supervisor_json()
        limit, notional = self.budget.limits_micros
        kept = ", charges of the last run kept" if adopted else ""
        self.step(f"Ledger ready: limit ${usd(limit)}, notional ${usd(notional)}{kept}")

    def _refuse_what_was_rescued(self, ledger: Ledger) -> None:
        """A ledger that was damaged, or one of another build that may hold orders, is HALTED: a person looks
        before anything trades on what could be read of it."""
        orders = sum(len(ledger.slots(role)) for role in range(PROTOCOL_PARTICIPANTS))
        if ledger.origin == LedgerOrigin.RESCUED:
            text = (
                f"the ledger was damaged; it is kept as {ledger.path}.damaged-…, and the new one has its "
                f"{orders} orders, of unknown fate"
            )
        elif ledger.origin == LedgerOrigin.SUPERSEDED:
            text = (
                f"another build of this program left a ledger that may hold orders, kept as {ledger.path}.old"
            )
        else:
            return
        self.events.write("supervisor", "ledger_replaced", level="error", text=text, orders=orders)
        self.latch(HaltReason.LEDGER, text, ledger.epoch)
        raise StartFailed(
            f"{text[0].upper()}{text[1:]}. Trading is halted: `control kill` empties the venues, "
            "`control resume` lifts the halt after a check.",
            Exit.HALTED,
        )

    def _end_orphans(self) -> None:
        """End participants that an earlier supervisor left behind: their lease is gone, and only a
        process that we started may hold rights. SIGTERM lets them cancel their orders first."""
        found = shared.all_live_processes(self.paths)
        participants = {child.name for child in self.children if not child.simulator}
        orphans = [entry for entry in found if entry.name in participants]
        if not orphans:
            return
        left = processes.terminate([entry.process for entry in orphans], grace_s=3.5)
        if left:
            raise StartFailed(f"Process {left[0].pid} of an earlier run cannot be ended.", Exit.ERROR)
        names = ", ".join(sorted({entry.name for entry in orphans}))
        self.events.write("supervisor", "orphans_ended", names=names)
        self.step(f"Ended what an earlier supervisor left running: {names}")

    def _fail(self, text: str, code: Exit) -> None:
        self.exit_code = code
        self.events.write("supervisor", "start_failed", level="error", text=text)
        self.report("failed", text)
        keep_venues = is_latched(self.paths.latch)  # a kill during the start wants to ask them
        ending = [c.process for c in self.children if c.process and not (c.simulator and keep_venues)]
        processes.terminate([process for process in ending if processes.is_alive(process)], grace_s=4.0)

    def _close(self) -> None:
        self.events.write("supervisor", "supervisor_stopped", exit_code=int(self.exit_code))
        with contextlib.suppress(OSError):
            self._fills.close()
        if self.ledger is not None:
            self.ledger.close()
        self.events.close()
        if self._lock >= 0:
            os.close(self._lock)

    def _on_signal(self) -> None:
        # SIGTERM is how `control kill` ends the supervisor: the venues must stay up to be asked.
        self.stop_simulators = not is_latched(self.paths.latch)
        self.stopping.set()

    def step(self, text: str) -> None:
        """Tell whoever waits for the start, and the log."""
        self.report("step", text)

    def _public_options(self) -> dict[str, Any]:
        return {key: value for key, value in self.options.items() if value is not None}

    # ---- duties ----------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Heartbeat, lease, and INIT to ACTIVE; nothing here waits for anything else."""
        required = [child.role for child in self.children if child.role is not None]
        ledger = self.live_ledger()
        while True:
            self.day.look()
            ledger.heartbeat(LEASE_NS)
            if ledger.state == LedgerState.INIT and not is_latched(self.paths.latch):
                view = ledger.snapshot()
                if all(shared.is_reconciled(view, role) for role in required):
                    ledger.set_state(LedgerState.ACTIVE)
                    self.events.write("supervisor", "ledger_activated")
            self._note_child_health()
            await asyncio.sleep(BEAT_S)

    def _note_child_health(self) -> None:
        view = self.live_ledger().snapshot()
        for child in self.children:
            if child.role is not None and child.state in ("starting", "running", "hung"):
                age = shared.heartbeat_age_ms(view, child.role)
                joined = child.process is not None and shared.pid_of(view, child.role) == child.process.pid
                if joined and age is not None and age < 1000 and child.state != "running":
                    child.state = "running"
                    self.write_supervisor_json()

    async def _record_fills(self) -> None:
        while True:
            self.record_fills_now()
            await asyncio.sleep(BEAT_S)

    def _note_lost_records(self) -> None:
        """Told once, also when the participant said so before anybody listened to it."""
        pages = {name: shared.read_page(self.paths, name) for name in words.PARTICIPANTS[1:]}
        lost = lost_records({name: page for name, page in pages.items() if page and not page.torn})
        for name, text in lost.items():
            if name not in self._lost_told:
                self.events.write("supervisor", name, level="error", text=text)
        self._lost_told = set(lost)

    def record_fills_now(self) -> None:
        """Copy new fills of both pages into fills.jsonl; a full disk is an event, not an end."""
        for name in words.PARTICIPANTS[1:]:
            page = shared.read_page(self.paths, name)
            if page is None or page.torn:
                continue
            try:
                _, lost = self._fills.take(name, page)
                self._fills.sync()
                self._fills_problem = None
            except OSError as error:
                # The page keeps them for a while; they are taken again at the next round.
                if self._fills_problem is None:
                    self.events.write("supervisor", "fills_not_written", level="error", text=str(error))
                self._fills_problem = f"fills cannot be written: {error.strerror}"
                return
            if lost:
                self.events.write("supervisor", "fills_missed", level="error", participant=name, count=lost)

    async def _write_snapshots(self) -> None:
        while True:
            self._note_lost_records()
            self.write_snapshot()
            self.write_supervisor_json()
            for child in self.children:
                kids.bound_log(child.log)
            await asyncio.sleep(SNAPSHOT_S)

    def write_snapshot(self) -> None:
        """Keep the last picture for `control status` and friends after a stop or a reboot."""
        from control.status import snapshot

        with contextlib.suppress(OSError):
            write_atomically(self.paths.mode_home / "last.json", snapshot(self.paths))

    # ---- halt and stop ---------------------------------------------------------------------

    def halt(self, reason: HaltReason, text: str) -> None:
        """Raise the ledger to HALTED, latch, and empty the venues by our own connections too."""
        epoch = self.live_ledger().halt(reason)
        self.events.write(
            "supervisor",
            "trading_halted",
            level="error",
            reason=words.word(words.HALT_REASONS, reason),
            text=text,
        )
        self.latch(reason, text, epoch)
        for name in venues.VENUES:
            sweep = asyncio.get_running_loop().create_task(
                self._keeper.empty_venue(name, time.monotonic() + 5.0)
            )
            self._sweeps.add(sweep)  # a task that nobody holds may be collected before it ran
            sweep.add_done_callback(self._sweeps.discard)

    def latch(self, reason: int, text: str, epoch: int) -> None:
        """Write the latch file; a failure is an event (the ledger is halted all the same)."""
        try:
            set_latch(self.paths.latch, words.word(words.HALT_REASONS, reason), text, epoch)
        except OSError as error:
            self.events.write("supervisor", "latch_not_written", level="error", text=str(error))

    async def _shut_down(self) -> None:
        """Participants first, so that they cancel their orders while the venues are up."""
        ledger = self.live_ledger()
        if ledger.state in (LedgerState.INIT, LedgerState.ACTIVE, LedgerState.REDUCING):
            ledger.set_state(LedgerState.CANCEL_ONLY)
        participants = [c for c in self.children if not c.simulator and c.process is not None]
        await asyncio.to_thread(processes.terminate, [c.process for c in participants if c.process], 5.0)
        for child in participants:
            child.state = "stopped"
        self.record_fills_now()
        if self.children and self.stop_simulators:
            swept = await asyncio.gather(
                *(self._keeper.empty_venue(n, time.monotonic() + 2.0) for n in venues.VENUES)
            )
            said = dict(zip(venues.VENUES, swept, strict=True))
            self.events.write("supervisor", "venues_swept", **{n: seen.line() for n, seen in said.items()})
            self._unverified = [f"{n}: {seen.line()}" for n, seen in said.items() if not seen.confirmed]
            self._note_empty({name for name, seen in said.items() if seen.confirmed})
        self.write_snapshot()
        if self.stop_simulators and not self.keep_venues:
            await self._stop_simulators()
        self.write_supervisor_json()

    def _note_empty(self, seen_empty: set[str]) -> None:
        """For a later kill, when nothing runs that could be asked. Only of a participant that ended by
        itself, and when the ledger says that each of its orders has its answer: at its end it waits for
        answers only so long."""
        seen = flight.read(self.paths)
        for child in self.children:
            ended = child.handle.poll() if child.handle is not None else None
            in_order = ended == 0 and not seen.may_land(child.venue)
            if not child.simulator and child.venue in seen_empty and in_order:
                with contextlib.suppress(OSError):
                    exposure.note_empty(self.paths, child.venue)

    async def _stop_simulators(self) -> None:
        simulators = [c for c in self.children if c.simulator and c.process is not None]
        await asyncio.to_thread(processes.terminate, [c.process for c in simulators if c.process], 6.0)
        for child in simulators:
            child.state = "stopped"
            self.paths.sim_ready(child.venue).unlink(missing_ok=True)

    # ---- files -----------------------------------------------------------------------------

    def write_supervisor_json(self) -> None:
        """Who runs, for every other command."""
        content = {
            "schema_version": 1,
            "mode": "paper",
            "pid": self._me.pid,
            "start_time": self._me.start_time,
            "started_wall_ns": self._started_wall_ns,
            "healthy": self.healthy,
            "budget": self.budget.model_dump(),
            "options": self._public_options(),
            "problems": [p for p in (self.events.failed, self._fills_problem, self.day.problem) if p],
            "unverified": self._unverified,
            "children": [child.record() for child in self.children],
        }
        with contextlib.suppress(OSError):
            write_atomically(self.paths.supervisor_json, content)

    def live_ledger(self) -> Ledger:
        if self.ledger is None:
            raise ControlError("the supervisor has no ledger")
        return self.ledger

    @staticmethod
    def _pid(child: Child) -> int:
        return child.process.pid if child.process else 0

    def set_budget(self, budget: Budget) -> None:
        """A new limit, at once; a lower one takes nothing back but stops grants until it is kept. Called on
        the supervisor's loop: the guard halts when the ledger's limit is not `budget`."""
        self._apply_limit(budget)
        self.budget = budget
        self.events.write("supervisor", "limit_changed", **budget.model_dump())
        self.write_supervisor_json()

    def _apply_limit(self, budget: Budget) -> None:
        limits, headrooms = budget.limits_micros, budget.headrooms_micros
        self.live_ledger().set_limit(Amounts(*limits), Amounts(*headrooms))

    @property
    def daily_loss_micros(self) -> int:
        """The loss of one day at which everything is halted."""
        return micros(self.settings.daily_loss_usd)


def _first(group: BaseExceptionGroup[StartFailed]) -> StartFailed:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _reporter(descriptor: int) -> Report:
    """Progress as JSON lines on a pipe; after the reader has gone, silence."""

    def report(kind: str, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(descriptor, json.dumps({"kind": kind, "text": text}).encode() + b"\n")
        if kind in ("healthy", "failed"):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    return report


def run_supervisor(paths: Paths, options: dict[str, Any], report: Report) -> int:
    """Run one supervisor in this process until it stops."""
    if is_latched(paths.latch):
        raise ControlError(f"Trading is {describe(paths.latch)}. `control resume` lifts it.", Exit.HALTED)
    return int(asyncio.run(Supervisor(paths, options, report).run()))


def main() -> int:
    """python -m control.supervisor OPTIONS [PROGRESS_FD]: started by `control start`."""
    if len(sys.argv) < 2:
        print("The supervisor is started by `control start --paper`.", file=sys.stderr)
        return int(Exit.USAGE)
    options = json.loads(sys.argv[1])
    report: Report = _reporter(int(sys.argv[2])) if len(sys.argv) > 2 else (lambda kind, text: None)
    try:
        follow_test_clock(options["mode"])
        return run_supervisor(Paths.from_environment(options["mode"]), options, report)
    except ClockError as error:
        report("failed", str(error))
        print(error, file=sys.stderr)
        return int(Exit.CONFIGURATION)
    except ControlError as error:
        report("failed", str(error))
        print(error, file=sys.stderr)
        return int(error.code)


if __name__ == "__main__":
    sys.exit(main())
