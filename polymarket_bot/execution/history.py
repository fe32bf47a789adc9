"""A day of which no database tells, made of what the venue tells.

    trades before today    what was held when the day began; what it was worth then is the venue's price of
                           00:00 UTC, or, when it has none, the known price that makes the loss larger
    trades of today        booked in the order of their matching, each in the day of its matching
    markets resolved       before today: paid, nothing is held there; today: settled afterwards as ever

Everything is asked first and booked at once, and the day is written last: a process that ends in between
leaves a database that counts as new.
"""

from __future__ import annotations

from collections.abc import Iterable

from polymarket_bot.api.polymarket import Exchange
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.ports import Reporter, Store
from polymarket_bot.execution.reconcile import Reconciler
from polymarket_bot.execution.settlement import (
    DAY_NS,
    RESOLUTION,
    Booked,
    Change,
    ChangeKind,
    Position,
    day_of,
)
from polymarket_bot.model import ONE, Fill, FillStatus, Market, Price, Side, Size, TradeUpdate

SECOND_NS = 1_000_000_000
FAILED, CONFIRMED = "FAILED", "CONFIRMED"


class DayHistory:
    """Used once, at start, by a bot whose database is new."""

    def __init__(
        self, account: Account, reconciler: Reconciler, exchange: Exchange, store: Store, reporter: Reporter
    ) -> None:
        self._account = account
        self._settlement = account.settlement
        self._reconciler = reconciler
        self._exchange = exchange
        self._store = store
        self._report = reporter
        self.fills = 0  # of today, found at the venue

    async def rebuild(self) -> int:
        """How many fills of today it found. Raises VenueError while the venue does not answer; nothing is
        booked then."""
        trades = await self._exchange.trades(0)
        if await self._reconciler.learn_markets(trades):  # once more: their fees are known only now
            trades = await self._exchange.trades(0)
        start_ns = self._settlement.day * DAY_NS
        earlier = [trade for trade in trades if _matched(trade) < start_ns]
        today = [trade for trade in trades if _matched(trade) >= start_ns]
        openings = await self._openings(earlier, today, start_ns // SECOND_NS)
        self._carry(earlier, openings)
        self._book(today)
        self._store.save_openings(self._settlement.day, self._settlement.openings())
        self._tell(openings)
        return self.fills

    # --- what the day began with ---

    async def _openings(
        self, earlier: list[TradeUpdate], today: list[TradeUpdate], start_s: int
    ) -> dict[str, Position]:
        held: dict[str, Position] = {}
        markets: dict[str, Market] = {}
        for fill in _fills(earlier):
            held.setdefault(fill.token, Position()).apply(fill.side, fill.size, fill.value, 0)
            market = self._account.known.get(fill.condition_id)
            if market is not None:
                markets[fill.token] = market
        openings = {}
        for token, position in held.items():
            if position.quantity <= 0 or token not in markets:
                continue
            resolved_s = await self._exchange.resolved_s(markets[token])
            if resolved_s is not None and resolved_s < start_s:
                earlier.append(await self._paid(markets[token], token, position, resolved_s))
                continue
            told = await self._exchange.price_at(token, start_s)
            price: int = self._worst_price(markets[token], token, position, today) if told is None else told
            openings[token] = Position(position.quantity, position.quantity * price // ONE)
        return openings

    async def _paid(self, market: Market, token: str, position: Position, at_s: int) -> TradeUpdate:
        """What a resolution of an earlier day came to, booked in that day: when the venue pays it out later,
        the dollars are explained."""
        won = await self._exchange.winner(market) == market.outcome_of(token)
        fill = Fill(
            f"{RESOLUTION}:{market.condition_id}",
            token,
            market.condition_id,
            token,
            Side.SELL,
            Price(ONE if won else 0),
            Size(position.quantity),
            True,
            0,
            at_s * SECOND_NS,
        )
        return TradeUpdate(CONFIRMED, (fill,))

    def _worst_price(self, market: Market, token: str, position: Position, today: list[TradeUpdate]) -> int:
        """Shares are never held short, so the highest price that is known makes the loss largest."""
        self._report.event(
            1, "opening_mark_unknown", f"{token[-8:]}: no price of 00:00 UTC; the highest known one counts"
        )
        average = position.cost_micros * ONE // position.quantity
        first = next((fill.price for fill in _fills(today) if fill.token == token), 0)
        charged = self._account.risk.markets.get(market.condition_id)
        yes = None if charged is None else charged.mark
        now = 0 if yes is None else yes if token == market.tokens[0] else ONE - yes
        return max(average, first, now)

    # --- booking ---

    def _carry(self, earlier: list[TradeUpdate], openings: dict[str, Position]) -> None:
        """Fills of earlier days are known, so that none of them is booked today."""
        booked = []
        sequence = self._settlement.sequence
        for trade in earlier:
            for fill in trade.fills:
                if trade.status != FAILED:
                    sequence += 1
                number = 0 if trade.status == FAILED else sequence
                entry = Booked(fill, _status(trade), number, day_of(fill.matched_wall_ns))
                booked.append(entry)
                kind = ChangeKind.BOOKED if number else ChangeKind.IGNORED
                self._store.save_change(Change(kind, fill, number, entry.day), entry.status)
        self._settlement.load(openings, booked)
        for fill in _fills(earlier):
            if fill.token in openings:
                self._account.sync_held(fill.condition_id)

    def _book(self, today: list[TradeUpdate]) -> None:
        for trade in today:
            for change in self._settlement.apply(trade):
                fill = change.fill
                status = self._settlement.status(fill.key) or FillStatus.PROVISIONAL
                self._store.save_change(change, status)
                self._account.sync_held(fill.condition_id)
                self.fills += change.kind is ChangeKind.BOOKED
        self._account.dirty = True

    def _tell(self, openings: dict[str, Position]) -> None:
        if self.fills:
            self._report.event(
                2,
                "database_missing",
                f"the database knows nothing of today: {self.fills} fills of the venue make its result",
            )
        if openings:
            self._report.event(1, "positions_carried", f"{len(openings)} tokens were held at 00:00 UTC")


def _matched(trade: TradeUpdate) -> int:
    return max((fill.matched_wall_ns for fill in trade.fills), default=0)


def _fills(trades: Iterable[TradeUpdate]) -> Iterable[Fill]:
    """Those that came to something."""
    return (fill for trade in trades if trade.status != FAILED for fill in trade.fills)


def _status(trade: TradeUpdate) -> FillStatus:
    if trade.status == FAILED:
        return FillStatus.REVERSED
    return FillStatus.FINAL if trade.status == CONFIRMED else FillStatus.PROVISIONAL
