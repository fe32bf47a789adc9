"""The end of a day, as the ledger's header leads it (bridge/ledger.h); the bot never begins one by itself.

    NONE ──► PAUSE: nothing is placed, all is cancelled; acknowledged when nothing more can leave
         ──► BEGIN: the old day's result is written down, the new day begins; acknowledged
         ──► NONE:  quoting goes on by itself

Whoever starts, or wakes up, after the roll finds a later day in the header than its own and begins it then.
"""

from __future__ import annotations

from typing import Any

from bridge.ledger import Roll
from bridge.messages import RollPhase
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.order_desk import OrderDesk
from polymarket_bot.execution.ports import Budget, Reporter, Store
from polymarket_bot.model import OrderState

# So long the answers to cancels may take. What rests at the venue then is of before the pause: it may still
# fill, and the fill belongs to the day of its time.
CANCELS_WAIT_NS = 600_000_000
STOOD_STILL_NS = 5_000_000_000


class Day:
    """Follows the phases for one account."""

    def __init__(
        self, account: Account, desk: OrderDesk, budget: Budget, store: Store, reporter: Reporter
    ) -> None:
        self._account = account
        self._desk = desk
        self._budget = budget
        self._store = store
        self._report = reporter
        self._looked_ns = 0

    def forbids(self) -> bool:
        """No order may be placed now: the day ends, or the wall clock is doubted."""
        roll = self._budget.roll()
        return roll.phase != RollPhase.NONE or roll.clock_doubt_ns != 0

    def begin_at_start(self) -> None:
        """Before the venue is asked: the ledger's day, and its openings written down in any case."""
        roll = self._budget.roll()
        settlement = self._account.settlement
        if roll.phase != RollPhase.PAUSE and roll.day > settlement.day:
            self._begin(roll)
        else:
            self._store.save_openings(settlement.day, settlement.openings())
        self._budget.roll_ack(roll, settlement.day)

    def follow(self, now: int) -> None:
        """At the end of a cycle: what the phase asks for, then the word that it is done."""
        roll = self._budget.roll()
        if roll.phase == RollPhase.PAUSE:
            if not self._is_quiet(roll, now):
                return
        elif roll.day > self._account.settlement.day:
            self._begin(roll)
        self._budget.roll_ack(roll, self._account.settlement.day)

    def _is_quiet(self, roll: Roll, now: int) -> bool:
        """Nothing more can leave. What is still being signed or written down is stopped by the gate; a
        request that is under way too long is broken off, and its orders are UNKNOWN."""
        late = now - roll.began_ns >= CANCELS_WAIT_NS
        if late:
            for task in list(self._desk.sending):
                task.cancel()
        waiting = [o for o in self._desk.open_orders() if o.state is not OrderState.UNKNOWN]
        return not self._desk.sending and (late or not waiting)

    def _begin(self, roll: Roll) -> None:
        account = self._account
        settlement = account.settlement
        closed, result = settlement.day, account.day_micros()
        realized, unrealized, fees = account.day_account()
        cash = account.day_cash()
        self._store.save_day(closed, realized, unrealized, fees, settlement.fills_today(), cash)
        openings: dict[str, Any] = settlement.roll(roll.day, account.marks()) or {}
        settlement.closed_day, settlement.closed_micros = closed, result
        self._store.save_openings(roll.day, openings)
        account.dirty = True
        self._report.event(
            0, "day_closed", f"day {closed} closed with {result} micro-dollars; the count begins anew"
        )

    def stood_still_ns(self, now: int) -> int:
        """How long the process stood still before this cycle (a suspend, or a stop); 0 when it did not."""
        before, self._looked_ns = self._looked_ns, now
        return now - before if before and now - before >= STOOD_STILL_NS else 0
