"""The venue's dead-man switch: without our beat it cancels every order of the account.

The beats are a chain: each answer gives the id for the next beat, and a beat with another id is refused with
the one that the venue expected. There is one chain per key, so whoever else beats with our key breaks ours:

    first beat of this process        takes over whatever chain there is (an earlier process of ours, perhaps)
    a beat whose answer was lost      may have been accepted: the next one takes over too
    the venue knows of no chain       it ran out, or the venue was restarted: ours begins anew
    any other refusal                 somebody else has beaten since our last answer: another system

Who sees that takes the chain back with one more beat, which breaks the other one's chain in turn, and halts;
so both halt, the second within one of its own intervals.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from bridge.ledger import now_ns
from bridge.messages import HaltReason, LedgerState
from polymarket_bot.api.polymarket import Exchange
from polymarket_bot.errors import HeartbeatTakenError, VenueAccountError, VenueError
from polymarket_bot.execution.ports import Budget, Reporter

log = structlog.get_logger("bot")

HEARTBEAT_S = 2.5  # a quarter of the venue's ten seconds
FIRST_BEATS, FIRST_S = 5, 1.0  # more often at first: a chain that is fought over shows at once
DEAD_MAN_NS = 10_000_000_000
DEAD_MAN_FRESH_NS = 6_000_000_000
TAKEN = (
    "another system beats with this account's key (heartbeat {expected}): stop one of the two, or give each "
    "an account of its own; then control resume"
)


class DeadMan:
    """`cycles` counts the duty cycles: no progress, no beat."""

    def __init__(
        self, exchange: Exchange, budget: Budget, reporter: Reporter, cycles: Callable[[], int]
    ) -> None:
        self._exchange = exchange
        self._budget = budget
        self._report = reporter
        self._count_cycles = cycles
        self.armed_ns = 0
        self._heartbeat_id = ""
        self._certain = False  # the last answer came: the chain's next id is the one that we hold
        self._beats = 0
        self._announce = asyncio.Event()

    def fresh(self, now: int) -> bool:
        """Armed so lately that an order may rely on it."""
        return self.armed_ns > 0 and now - self.armed_ns < DEAD_MAN_FRESH_NS

    def announce(self) -> None:
        """Another system was seen: beat once, halted or not, so that its chain breaks and it sees us."""
        self._announce.set()

    async def run(self) -> None:
        """The venue's dead-man switch. This task is its only owner, and beats only while the duty cycle
        makes progress and we may still add risk; otherwise the venue cancels everything by itself."""
        seen = 0
        while True:
            now = now_ns()
            alive = self._count_cycles() != seen and self._budget.lease_fresh(now)
            halted = self._budget.state() is LedgerState.HALTED
            if self._announce.is_set() or (alive and not halted):
                seen = self._count_cycles()
                if not await self._try(now):
                    await asyncio.sleep(0.5)
                    continue
                self._announce.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s()):
                    await self._announce.wait()

    def _pause_s(self) -> float:
        if not self.armed_ns:
            return 0.2
        return FIRST_S if self._beats <= FIRST_BEATS else HEARTBEAT_S

    async def _try(self, now: int) -> bool:
        """False when the venue did not answer: try again soon."""
        try:
            await self.beat(now)
        except VenueAccountError as error:
            log.error("account_refused", error=str(error)[:160])
            self._budget.halt(HaltReason.VENUE)
        except VenueError as error:
            log.warning("heartbeat_failed", error=str(error)[:160])
            self._certain = False
            return False
        return True

    async def beat(self, now: int) -> None:
        """One beat, and one more with the id that the venue expected; halts when it was taken from us."""
        try:
            self._heartbeat_id = await self._exchange.heartbeat(self._heartbeat_id)
        except HeartbeatTakenError as error:
            taken = self._certain and error.expected != ""
            if taken:  # before the next wait on the venue
                self._budget.halt(HaltReason.FOREIGN)
                self._report.event(2, "halted", TAKEN.format(expected=error.expected[:8]))
            self._certain = False
            self._heartbeat_id = await self._exchange.heartbeat(error.expected)
        self._certain = True
        self.armed_ns = now
        self._beats += 1
