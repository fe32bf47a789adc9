"""Which markets are quoted, watched and charged: asked of the venue, kept over restarts, dropped at last."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from polymarket_bot.api.polymarket import Exchange, MarketChoice
from polymarket_bot.api.stream import MarketStream
from polymarket_bot.errors import VenueError
from polymarket_bot.execution.engine import ExecutionEngine
from polymarket_bot.execution.ports import Clock
from polymarket_bot.model import Outcome, Price
from polymarket_bot.settings import SECOND_NS, MarketSettings
from polymarket_bot.storage.database import Database

log = structlog.get_logger("bot")

MARKET_PAUSE_S = 1.0
REFERENCE_WORDS = {"btc": ("bitcoin", "btc")}


class MarketList:
    """Markets in the engine are charged and watched; those in `quoted` are also quoted."""

    def __init__(
        self,
        settings: MarketSettings,
        exchange: Exchange,
        engine: ExecutionEngine,
        database: Database,
        stream: MarketStream,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._exchange = exchange
        self._engine = engine
        self._database = database
        self._stream = stream
        self._clock = clock
        self.quoted: set[str] = set()
        self._changed = asyncio.Event()

    async def load(self) -> None:
        """Markets of earlier runs in which something is held, and those of the venue now."""
        for market in await self._database.load_markets():
            market = self._engine.account.remember(market)
            if any(self._engine.account.settlement.position(token).quantity for token in market.tokens):
                self._engine.account.set_market(market)
        found = await self.choose()
        while not found:  # a venue that has just started may offer nothing yet
            await asyncio.sleep(0.5)
            found = await self.choose()

    async def choose(self) -> bool:
        """Ask Gamma; the nearest expiries are quoted. False when the venue has nothing to offer yet."""
        wall = self._clock.wall_ns()
        chosen = self._settings
        choice = MarketChoice(
            REFERENCE_WORDS[chosen.discover],
            chosen.limit,
            chosen.min_remaining_s * SECOND_NS,
            chosen.max_remaining_s * SECOND_NS,
            chosen.reference,
            chosen.tag_id,
        )
        try:
            found = await self._exchange.discover(choice, wall)
        except VenueError as error:
            log.warning("markets_not_found", error=str(error)[:200])
            return False
        quoted = found[: chosen.limit]
        for market in map(self._engine.account.remember, quoted):
            if market.condition_id not in self._engine.account.markets:
                self._engine.account.set_market(market)
                self._database.save_market(market)
        self.quoted = {market.condition_id for market in quoted}
        return bool(quoted)

    async def follow(self) -> None:
        ticks: dict[str, int] = {}
        for market in self._engine.account.markets.values():
            ticks.update({token: market.tick for token in market.tokens})
        await self._stream.set_tokens(ticks)

    async def read_marks(self) -> None:
        """What is held is charged at real prices from the first moment; at its worst where there are none."""
        markets = {market.tokens[Outcome.YES]: market for market in self._engine.account.markets.values()}
        try:
            snapshots = await self._exchange.books(list(markets))
        except VenueError as error:
            log.warning("marks_unknown", error=str(error)[:160])
            return
        for snapshot in snapshots:
            market = markets.get(snapshot.token)
            if market is None:
                continue
            bids = [Price(price) for price, size in snapshot.bids if size]
            asks = [Price(price) for price, size in snapshot.asks if size]
            best = max(bids, default=None), min(asks, default=None)
            if self._engine.account.risk.set_prices(market.condition_id, *best):
                self._engine.account.dirty = True

    async def run(self) -> None:
        """New markets, expired markets, resolutions."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.refresh_s):
                    await self._changed.wait()
            self._changed.clear()
            await asyncio.sleep(MARKET_PAUSE_S)  # a doubt is asked about once a second, not once an order
            await self.choose()
            await self.settle_ended()
            await self.follow()

    async def settle_ended(self) -> None:
        """Markets that are quoted no longer: what is held there is settled once they are resolved, and
        those in which nothing is held are dropped."""
        for market in list(self._engine.account.markets.values()):
            if market.condition_id in self.quoted:
                continue
            holdings = self._engine.account.holdings(market)
            if holdings.yes or holdings.no:
                await self._engine.reconciler.settle(market)
            self._engine.drop_market(market.condition_id)

    def on_held(self) -> None:
        """Something is held in a market that is not followed yet: its books are wanted."""
        self._changed.set()

    def on_resolved(self, condition_id: str) -> None:
        """A hint: quotes of the market go at once, and the market loop asks the venue for the rest."""
        self.on_doubt(condition_id)

    def on_doubt(self, condition_id: str) -> None:
        if condition_id in self._engine.account.markets:
            self.quoted.discard(condition_id)
            self._changed.set()
