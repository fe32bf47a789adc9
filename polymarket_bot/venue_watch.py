"""The regular comparison with the venue: orders and trades every 15 s or in doubt; tokens when asked to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from bridge.ledger import now_ns
from polymarket_bot.api.polymarket import Exchange
from polymarket_bot.api.stream import UserStream
from polymarket_bot.errors import VenueError
from polymarket_bot.execution.engine import ExecutionEngine
from polymarket_bot.execution.ports import Clock
from polymarket_bot.execution.reconcile import RECONCILE_EVERY_NS
from polymarket_bot.model import Market
from polymarket_bot.settings import Mode

log = structlog.get_logger("bot")


class VenueWatch:
    """Keeps asking the venue what our streams may not have told."""

    def __init__(self, mode: Mode, exchange: Exchange, engine: ExecutionEngine, clock: Clock) -> None:
        self._mode = mode
        self._exchange = exchange
        self._engine = engine
        self._settlement = engine.account.settlement
        self._clock = clock
        self.user: UserStream | None = None
        self.skipped = False  # the last comparison left out tokens of which a trade is not final
        self.save_market: Callable[[Market], None] = lambda market: None

    async def run(self) -> None:
        """Every 15 s, and whenever something is in doubt."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._engine.desk.check_wanted.wait()
            now = now_ns()
            wanted = self._engine.desk.check_wanted.is_set()
            if not wanted and now - self._engine.reconciler.reconciled_ns < RECONCILE_EVERY_NS:
                continue
            self._engine.desk.check_wanted.clear()
            gaps = self.user.gaps if self.user is not None else 0
            if await self._engine.reconciler.reconcile():
                if self.user is not None and self.user.gaps == gaps and self.user.connected_ns:
                    self.user.caught_up = True
            else:
                self._engine.desk.check_wanted.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(0.1)

    async def compare_balances(self) -> None:
        """Tokens at the venue against our books. A difference that nothing explains is adopted as soon as it
        is certain: the venue is right, and tokens that are not there are not offered."""
        if self._mode == "dry-run":
            return
        self.skipped = False
        for market in list(self._engine.account.markets.values()):
            if market.expiry_ns < self._clock.wall_ns():
                continue
            for token in market.tokens:
                ours = self._settlement.position(token).quantity
                try:
                    await self._exchange.refresh_balance(token)  # the order book caches what is on chain
                    theirs = await self._exchange.balance(token)
                except VenueError as error:
                    log.warning("balance_unknown", error=str(error)[:160])
                    self.skipped = True
                    return
                if theirs == ours or ours != self._settlement.position(token).quantity:
                    continue
                if any(fill.token == token for fill in self._settlement.provisional()):
                    self.skipped = True
                    continue
                await self._adopt_balance(market, token)

    async def _adopt_balance(self, market: Market, token: str) -> None:
        """A trade may have come between: adopt only what is still there after trades are read once more."""
        try:
            before = await self._exchange.balance(token)
            read = await self._engine.reconciler.reconcile()
            await self._exchange.refresh_balance(token)
            after = await self._exchange.balance(token)
        except VenueError as error:
            log.warning("balance_unknown", error=str(error)[:160])
            self.skipped = True
            return
        moving = any(fill.token == token for fill in self._settlement.provisional())
        if not read or moving or before != after:
            self.skipped = True
            return
        # Gone because the market is resolved and paid: that has a price, and it is not the mark.
        if not await self._engine.reconciler.settle(market):
            self._engine.reconciler.adopt(market, token, after)
