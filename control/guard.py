"""What the supervisor watches: ten times a second the limit, the budget, the latch and hung processes,
once a second today's loss and the ledger's own invariants. Whatever it finds, it can only make trading
less.

The limit in shared memory is compared with the number that a person chose, and everything halts on a
difference. A new limit is stored and becomes the chosen one within one turn of the supervisor's loop, so
that no look of the guard falls between the two."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from bridge.ledger import LedgerView, now_ns
from bridge.messages import HaltReason, LedgerState
from control import processes, shared, words
from control.config import usd
from control.latch import is_latched
from control.recorder import recorded_events
from control.records import Record

if TYPE_CHECKING:
    from control.children import Child
    from control.processes import ProcessId
    from control.supervisor import Supervisor

READING_S = 0.1
OVER_PERMILLE = 1050
DIFFER_READINGS = 3
HALT_TEXT_NS = 5_000_000_000  # how old an event may be to explain a halt that is seen now
JOIN_S = 20.0  # so long may a process take until it opens the ledger, or leave it before it ends


def halt_text(events: list[Record], now_ns: int) -> str:
    """What the participant that halted said itself: its word on the halt, and the error just before it."""
    recent = [
        row
        for row in events
        if row["level"] == "error"
        and row["source"] in words.PARTICIPANTS[1:]
        and row.get("text")
        and row["wall_ns"] > now_ns - HALT_TEXT_NS
    ]
    said = next((row for row in reversed(recent) if row["name"] == "halted"), None)
    if said is None:
        return str(recent[-1]["text"]) if recent else ""
    before = [row for row in recent if row["name"] != "halted" and row["source"] == said["source"]]
    detail = f" ({before[-1]['text']})" if before else ""
    return f"{said['text']}{detail}"


def _usd(amount_micros: int) -> str:
    """Exact to the micro-dollar where cents do not tell two numbers apart."""
    cents = amount_micros % 10_000 == 0
    return f"${usd(amount_micros)}" if cents else f"${usd(amount_micros)} ({amount_micros} micro-USD)"


class Guard:
    """The watching duty of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._over = 0
        self._limit = [-1, -1]
        self._tolerated = [0, 0]
        self._violations = 0
        self._differ = 0
        self._last_look = now_ns()
        self._apart: dict[str, tuple[int, float]] = {}  # by child: its pid, since when it is not joined

    async def run(self) -> None:
        """Watch until cancelled."""
        round_number = 0
        while True:
            now = now_ns()
            # After our own stop (SIGSTOP, a suspended machine) every heartbeat looks old at first. By the
            # clock of the heartbeats: CLOCK_MONOTONIC stands still while the machine sleeps.
            paused = now - self._last_look > 10 * READING_S * 1e9
            self._last_look = now
            self._look(paused)
            if round_number % 10 == 0:
                self._audit()
                self._check_daily_loss()
            round_number += 1
            await asyncio.sleep(READING_S)

    def _look(self, paused: bool) -> None:
        supervisor = self._supervisor
        ledger = supervisor.ledger
        if ledger is None:
            return
        view = ledger.snapshot()
        self._match_latch(view)
        if view.state != LedgerState.HALTED and self._limit_is_the_chosen_one(view):
            self._check_budget(view)
        if not paused:
            for child in supervisor.children:
                self._check_hung(view, child)

    def _match_latch(self, view: LedgerView) -> None:
        """Halted in the ledger but not latched, or latched but not halted: make both so. Once is not
        enough, because `control resume` changes one after the other."""
        supervisor = self._supervisor
        latched = is_latched(supervisor.paths.latch)
        halted = view.state == LedgerState.HALTED
        self._differ = self._differ + 1 if latched != halted else 0
        if self._differ < DIFFER_READINGS:
            return
        self._differ = 0
        if latched and supervisor.ledger is not None:
            supervisor.events.write("supervisor", "latch_seen", level="error")
            supervisor.ledger.halt(HaltReason.LATCH)
            return
        reason = words.word(words.HALT_REASONS, view.reason)
        supervisor.events.write("supervisor", "halt_seen", level="error", reason=reason)
        text = halt_text(recorded_events(supervisor.paths.mode_home, 100), time.time_ns())
        if view.reason == HaltReason.LEDGER:  # a draw found it before the guard did
            text = self._what_is_wrong(view) or text
        supervisor.latch(view.reason, text or words.HALT_TEXTS.get(reason, ""), view.epoch)

    def _limit_is_the_chosen_one(self, view: LedgerView) -> bool:
        """Halts when limit or headroom are not what was chosen, or when the ledger is damaged."""
        text = self._what_is_wrong(view)
        if text is not None:
            self._supervisor.halt(HaltReason.LEDGER, text)
        return text is None

    def _what_is_wrong(self, view: LedgerView) -> str | None:
        supervisor = self._supervisor
        budget = supervisor.budget
        for what, found, chosen in (
            ("limit", view.limit_micros, budget.limits_micros),
            ("headroom", view.headroom_micros, budget.headrooms_micros),
        ):
            for kind, present, wanted in zip(("", "notional "), found, chosen, strict=True):
                if present != wanted:
                    return (
                        f"the {kind}{what} in shared memory is {_usd(present)}, and {_usd(wanted)} was chosen"
                    )
        return supervisor.ledger.damage() if supervisor.ledger is not None else None

    def _check_budget(self, view: LedgerView) -> None:
        over = False
        for dimension in (0, 1):
            used, limit = view.used_micros[dimension], view.limit_micros[dimension]
            if limit != self._limit[dimension]:
                # A person lowered the limit below what is held: that is reduced, not halted. What is
                # then in use is tolerated, and less and less as it shrinks.
                self._limit[dimension], self._tolerated[dimension] = limit, used
            self._tolerated[dimension] = max(limit, min(self._tolerated[dimension], used))
            over = over or used * 1000 > self._tolerated[dimension] * OVER_PERMILLE
        self._over = self._over + 1 if over else 0
        if self._over >= self._supervisor.settings.over_budget_readings:
            self._over = 0
            shown, allowed = (usd(amount[0]) for amount in (view.used_micros, view.limit_micros))
            text = f"risk in use ${shown} is above 105 % of the limit ${allowed}"
            self._supervisor.halt(HaltReason.OVER_BUDGET, text)

    def _check_daily_loss(self) -> None:
        """What all have lost today, by their pages.

        A participant that a roll ended, or that was dead at midnight, leaves the page of a day that is
        closed: that loss was counted then. Until it shows a page of today it has lost at most what the
        prices did to the positions that its line of the ledger keeps charged, since nothing of it trades;
        when it is back, its page and its own check count again. Everything else counts: a page of a later
        day (its journal was ahead), of none, and any page while the ledger names no day."""
        supervisor = self._supervisor
        if (
            not supervisor.healthy
            or supervisor.ledger is None
            or supervisor.ledger.state == LedgerState.HALTED
        ):
            return
        day, today = 0, supervisor.ledger.roll().day
        for name in words.PARTICIPANTS[1:]:
            page = shared.read_page(supervisor.paths, name)
            if page is not None and not 0 < page.day < today:
                day += page.day_micros + min(0, page.late_micros)
        if day <= -supervisor.daily_loss_micros:
            text = f"today's loss ${usd(-day)} reached the limit of ${usd(supervisor.daily_loss_micros)}"
            supervisor.halt(HaltReason.DAILY_LOSS, text)

    def _check_hung(self, view: LedgerView, child: Child) -> None:
        if child.role is None or child.process is None:
            return
        if child.state not in ("starting", "running", "hung"):
            self._apart.pop(child.name, None)
        elif shared.pid_of(view, child.role) != child.process.pid:
            self._check_apart(child, child.process)
        else:
            self._apart.pop(child.name, None)
            self._check_heartbeat(shared.heartbeat_age_ms(view, child.role), child, child.process)

    def _check_apart(self, child: Child, process: ProcessId) -> None:
        """Without a line in the ledger it has no heartbeat to miss, so that only time can tell."""
        now = time.monotonic()
        pid, since = self._apart.setdefault(child.name, (process.pid, now))
        if pid != process.pid:
            self._apart[child.name] = (process.pid, now)
        elif now - since > max(JOIN_S, self._supervisor.settings.hung_after_s):
            self._replace(child, process, None)
            del self._apart[child.name]

    def _check_heartbeat(self, age: int | None, child: Child, process: ProcessId) -> None:
        if age is None or age < 1000:
            child.state = "running"
        elif age > 1000 * self._supervisor.settings.hung_after_s:
            self._replace(child, process, age)
        elif age > 3000 and child.state == "running":
            child.state = "hung"
            self._supervisor.events.write(
                "supervisor", "heartbeat_missed", level="warning", child=child.name, heartbeat_age_ms=age
            )

    def _replace(self, child: Child, process: ProcessId, age_ms: int | None) -> None:
        """End it; whoever waits for its end puts things right and starts it anew."""
        self._supervisor.events.write(
            "supervisor", "hung_child_killed", level="error", child=child.name, heartbeat_age_ms=age_ms
        )
        child.state = "down"
        processes.send_signal(process, signal.SIGKILL)

    def _audit(self) -> None:
        supervisor = self._supervisor
        if supervisor.ledger is None:
            return
        text = supervisor.ledger.audit()
        # A violation must be seen twice in a row: one reading may fall into the middle of a change.
        self._violations = self._violations + 1 if text is not None else 0
        if self._violations == 2:
            supervisor.events.write("supervisor", "audit_failed", level="error", text=text)
            supervisor.halt(HaltReason.BUG, f"the ledger's audit failed: {text}")
