"""The venue's dead-man switch: without our beat it cancels every order of the account."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bridge.ledger import now_ns
from bridge.messages import HaltReason, LedgerState
from polymarket_bot.api.polymarket import Exchange
from polymarket_bot.errors import VenueAccountError, VenueError
from polymarket_bot.execution.ports import Budget

log = structlog.get_logger("bot")

HEARTBEAT_S = 2.5  # a quarter of the venue's ten seconds
DEAD_MAN_NS = 10_000_000_000
DEAD_MAN_FRESH_NS = 6_000_000_000


class DeadMan:
    """`cycles` counts the duty cycles: no progress, no beat."""

    def __init__(self, exchange: Exchange, budget: Budget, cycles: Callable[[], int]) -> None:
        self._exchange = exchange
        self._budget = budget
        self._count_cycles = cycles
        self.armed_ns = 0
        self._heartbeat_id = ""

    def fresh(self, now: int) -> bool:
        """Armed so lately that an order may rely on it."""
        return self.armed_ns > 0 and now - self.armed_ns < DEAD_MAN_FRESH_NS

    async def run(self) -> None:
        """The venue's dead-man switch. This task is its only owner, and beats only while the duty cycle
        makes progress and we may still add risk; otherwise the venue cancels everything by itself."""
        seen = -1
        while True:
            now = now_ns()
            alive = self._count_cycles() != seen and self._budget.lease_fresh(now)
            if alive and self._budget.state() is not LedgerState.HALTED:
                seen = self._count_cycles()
                try:
                    self._heartbeat_id = await self._exchange.heartbeat(self._heartbeat_id)
                    self.armed_ns = now
                except VenueAccountError as error:
                    log.error("account_refused", error=str(error)[:160])
                    self._budget.halt(HaltReason.VENUE)
                except VenueError as error:
                    log.warning("heartbeat_failed", error=str(error)[:160])
                    await asyncio.sleep(0.5)
                    continue
            await asyncio.sleep(HEARTBEAT_S if self.armed_ns else 0.2)
