"""One duty cycle: newest books and signal in, decisions out. Synchronous; it never waits."""

from __future__ import annotations

from dataclasses import replace

import structlog

from bridge.messages import LedgerState, RejectReason, SessionState, StrategyId
from polymarket_bot.api.stream import MarketStream, UserStream
from polymarket_bot.dead_man import DeadMan
from polymarket_bot.execution.engine import ExecutionEngine
from polymarket_bot.execution.ports import Budget, Clock, MarketView
from polymarket_bot.ipc.integration import Hedger, Integration
from polymarket_bot.ipc.protocol import intent_of
from polymarket_bot.market_list import MarketList
from polymarket_bot.model import ONE, BookView, Intent, Market, Outcome, Price, Side, Size, Top
from polymarket_bot.risk.manager import Gate
from polymarket_bot.settings import SECOND_NS, Mode, Settings
from polymarket_bot.storage.database import Database
from polymarket_bot.strategy.fair_value import FairValue, fair_value
from polymarket_bot.strategy.market_maker import decide

log = structlog.get_logger("bot")

BLIND_LIMIT_NS = 15_000_000_000
CLOCK_LIMIT_NS = 1_000_000_000
EMPTY_TOP = Top(None, Size(0), None, Size(0))


class DutyCycle:
    """books, signal -> views -> execution engine; orders of the engine's strategies; hedge target."""

    def __init__(
        self,
        settings: Settings,
        mode: Mode,
        engine: ExecutionEngine,
        markets: MarketList,
        integration: Integration,
        stream: MarketStream,
        budget: Budget,
        database: Database,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._engine = engine
        self._markets = markets
        self._integration = integration
        self._market = stream
        self._budget = budget
        self._database = database
        self._clock = clock
        self.user: UserStream | None = None
        self.dead_man: DeadMan | None = None  # none in a dry run
        hedge = settings.hedge
        self._hedger = Hedger(hedge.threshold, hedge.max, hedge.price_limit_ppm, hedge.interval_s * SECOND_NS)
        self._fairs: dict[str, FairValue] = {}
        self._blind_since = 0
        self.cycles = 0
        self.delta_e9 = 0

    def cycle(self) -> None:
        now, wall = self._clock.now_ns(), self._clock.wall_ns()
        self._after_standing_still(self._engine.day.stood_still_ns(now))
        gate = self._gate(now)
        views = {
            m.condition_id: self._view(m, gate, now, wall)
            for m in list(self._engine.account.markets.values())
        }
        self._take_inbox(views)
        self._engine.step(views)
        self._hedge(now)
        self.cycles += 1

    def _after_standing_still(self, stood_ns: int) -> None:
        """Nothing known is fresh: own fills are read and the ledger is rebuilt before an order leaves."""
        if not stood_ns:
            return
        log.warning("stood_still", seconds=stood_ns // SECOND_NS)
        if self.user is not None:
            self.user.doubt("the process stood still")
        self._engine.reconciler.stale = True
        self._engine.desk.check_wanted.set()

    def _gate(self, now: int) -> Gate:
        sees = self.sees_fills()
        if sees:
            self._blind_since = 0
        elif not self._blind_since:
            self._blind_since = now
        armed = self._mode == "dry-run" or (self.dead_man is not None and self.dead_man.fresh(now))
        return Gate(not self._database.failed, sees, armed, True, self.clock_agrees())

    def sees_fills(self) -> bool:
        """Whether each of our fills reaches us."""
        return self._mode == "dry-run" or (
            self.user is not None and self.user.sees_fills() and not self._engine.reconciler.stale
        )

    def clock_agrees(self) -> bool:
        return abs(self._market.clock_offset_ns) <= CLOCK_LIMIT_NS

    def _view(self, market: Market, gate: Gate, now: int, wall: int) -> MarketView:
        """Everything that one cycle knows of one market, and what should rest there."""
        books = [self._market.books.get(token) for token in market.tokens]
        fresh = all(self._market.fresh(token) for token in market.tokens)
        tops = tuple(book.top() if book is not None and fresh else EMPTY_TOP for book in books)
        tick = Price(books[0].tick) if books[0] is not None else market.tick
        if fresh and tick != market.tick:
            self._engine.account.set_tick(market.condition_id, tick)
            market = self._engine.account.markets[market.condition_id]
        for token, top in zip(market.tokens, tops, strict=True):
            self._integration.top(token, top, SessionState.READY if fresh else SessionState.SYNCING)
        signal_ = self._integration.signal(market.reference, self._settings.risk.signal_stale_ms * 1_000_000)
        fair = fair_value(market, signal_, wall) if signal_ is not None else None
        if fair is not None:
            self._fairs[market.condition_id] = fair
        blind = self._blind_since and now - self._blind_since > BLIND_LIMIT_NS
        wanted = decide(
            market,
            BookView((tops[0], tops[1]), tick, fresh),
            fair if market.condition_id in self._markets.quoted and not blind and gate.clock_agrees else None,
            self._engine.account.holdings(market),
            self._settings.strategy.quotes(),
            wall,
        )
        return MarketView(
            wanted.orders,
            replace(gate, book_fresh=fresh),
            Price(fair.probability) if fair is not None else None,
            tops[0] if fresh else None,
            tick,
            gate.session_ready and gate.sees_own_fills and gate.dead_man_armed,
        )

    def _take_inbox(self, views: dict[str, MarketView]) -> None:
        """Orders of the engine's strategies: the same limits, the same ledger."""
        inbox = self._integration.take_inbox()
        by_symbol = {
            symbol: (market, Outcome(index))
            for market in self._engine.account.markets.values()
            for index, symbol in enumerate(market.symbols)
        }
        for message in inbox.orders:
            found = by_symbol.get(message.symbol)
            blank = Intent(
                message.client_order_id,
                "",
                "",
                Outcome.YES,
                Side.BUY,
                Price(0),
                Size(0),
                False,
                message.strategy,
            )
            if found is None:
                self._integration.refused(blank, RejectReason.UNKNOWN_INSTRUMENT, message.symbol)
                continue
            intent = intent_of(message, *found)
            if isinstance(intent, RejectReason):
                self._integration.refused(blank, intent, message.symbol)
            else:
                self._engine.desk.submit_external(intent, views[intent.condition_id])
        ours = int(StrategyId.MARKET_MAKER)
        wanted = {cancel.client_order_id for cancel in inbox.cancels}
        everything = inbox.engine_left or 0 in wanted
        if wanted or everything:
            self._engine.desk.withdraw(
                lambda i: i.strategy != ours and (everything or i.client_order_id in wanted)
            )

    def _hedge(self, now: int) -> None:
        """BTC that all held tokens are long, to the opposite target at the engine. Silent while the fair
        value is unknown: the last target then expires."""
        if not self._settings.hedge.enabled or not self._integration.server.connected:
            return
        if (
            self._budget.state() is not LedgerState.ACTIVE
            and self._budget.state() is not LedgerState.REDUCING
        ):
            return
        reference = self._settings.markets.reference
        if self._integration.signal(reference, self._settings.risk.signal_stale_ms * 1_000_000) is None:
            return
        delta = 0
        for market in self._engine.account.markets.values():
            fair = self._fairs.get(market.condition_id)
            if fair is not None and market.expiry_ns > self._clock.wall_ns():
                delta += self._engine.account.holdings(market).net * fair.delta_e9 // ONE
        self.delta_e9 = delta
        _, send = self._hedger.decide(delta, now)
        if send:
            self._integration.send(self._hedger.message(reference, now))
