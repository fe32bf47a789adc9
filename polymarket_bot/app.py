"""The bot as a process: wiring, start, one duty cycle after the other, and the way out.

Start: latch, ledger, storage, venue, fence (cancel what is open), fills missed since the last run, balances,
ledger rebuilt, streams, dead-man switch, and only then quotes. The duty cycle is synchronous: it reads the
newest book and signal, decides, and starts whatever must wait on the venue as a task beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from bridge.ledger import Ledger, now_ns
from bridge.ledger import LedgerError as BridgeLedgerError
from bridge.messages import (
    HaltReason,
    LedgerState,
    MessageRiskState,
    PagePosition,
    PageVenue,
    RejectReason,
    SessionState,
    StrategyId,
    VenueId,
)
from bridge.paths import Paths
from polymarket_bot.api.polymarket import (
    Credentials,
    Endpoints,
    Exchange,
    MarketChoice,
    Polymarket,
)
from polymarket_bot.api.stream import MarketStream, UserStream
from polymarket_bot.connection import budget_limit, check_geoblock, connection_details
from polymarket_bot.errors import (
    BotError,
    HaltedError,
    LedgerError,
    VenueAccountError,
    VenueError,
)
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.dry_run import DryRunBudget, DryRunExchange
from polymarket_bot.execution.engine import EngineSettings, ExecutionEngine
from polymarket_bot.execution.ports import MarketView
from polymarket_bot.execution.reconcile import RECONCILE_EVERY_NS, UNKNOWN_WINDOW_NS
from polymarket_bot.execution.settlement import Settlement, day_of
from polymarket_bot.ipc.integration import Hedger, Integration
from polymarket_bot.ipc.protocol import E9, intent_of
from polymarket_bot.model import ONE, BookView, Intent, Market, Outcome, Price, Side, Size, Top
from polymarket_bot.risk.manager import Gate, RiskManager
from polymarket_bot.settings import SECOND_NS, Mode, Settings
from polymarket_bot.storage.database import Database
from polymarket_bot.strategy.fair_value import FairValue, fair_value
from polymarket_bot.strategy.market_maker import decide

log = structlog.get_logger("bot")

CYCLE_S = 0.05
MARKET_PAUSE_S = 1.0
CYCLE_MIN_S = 0.005
PAGE_EVERY_NS = 100_000_000
RISK_STATE_EVERY_NS = 1_000_000_000
HEARTBEAT_S = 2.5  # a quarter of the venue's ten seconds
DEAD_MAN_NS = 10_000_000_000
DEAD_MAN_FRESH_NS = 6_000_000_000
BLIND_LIMIT_NS = 15_000_000_000
KEEP_ORDERS_NS = 7 * 24 * 3600 * 1_000_000_000
SEND_SLACK_NS = 20_000_000_000  # from an order's record to its last byte at the latest
CLOCK_LIMIT_NS = 1_000_000_000
BALANCE_EVERY_NS = 60_000_000_000
STOP_LIMIT_S = 3.0
REFERENCE_WORDS = {"btc": ("bitcoin", "btc")}
EMPTY_TOP = Top(None, Size(0), None, Size(0))


async def _outlive(writer: asyncio.Task[None]) -> None:
    """Ends the bot when the database's writer ends by an error: nothing could be persisted any more."""
    await asyncio.wait((writer,))
    if not writer.cancelled():
        writer.result()


class SystemClock:
    """CLOCK_BOOTTIME and the wall."""

    def now_ns(self) -> int:
        return now_ns()

    def wall_ns(self) -> int:
        return time.time_ns()


class App:
    """One run of the bot."""

    def __init__(
        self, settings: Settings, mode: Mode, paths: Paths, standalone: bool, budget_file: Path
    ) -> None:
        self._settings = settings
        self._mode = mode
        self._paths = paths
        self._standalone = standalone
        self._budget_file = budget_file
        self._clock = SystemClock()
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._markets_changed = asyncio.Event()
        self._ready = False
        self._group: asyncio.TaskGroup | None = None
        self._dead_man_ns = 0
        self._heartbeat_id = ""
        self._cycles = 0
        self._quoted: set[str] = set()
        self._fairs: dict[str, FairValue] = {}
        self._blind_since = 0
        self._balance_ns = 0
        self._mismatches: dict[str, int] = {}
        self._page_ns = self._risk_state_ns = 0
        self._exchange: Exchange
        self._hedger = Hedger(
            settings.hedge.threshold,
            settings.hedge.max,
            settings.hedge.price_limit_ppm,
            settings.hedge.interval_s * SECOND_NS,
        )
        self._user: UserStream | None = None

    # --- life ---

    async def run(self) -> int:
        """Returns the exit code; raises BotError when it cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._check_latch()
        endpoints, credentials = connection_details(self._settings, self._mode, self._paths)
        if self._mode == "live":
            await check_geoblock()
        self._open_budget()
        try:
            return await self._run_joined(endpoints, credentials)
        finally:
            if isinstance(self._budget, LedgerBudget):
                self._budget.leave()

    async def _run_joined(self, endpoints: Endpoints, credentials: Credentials | None) -> int:
        storage = self._settings.storage.file
        self._database = await Database.open(Path(storage) if storage else self._paths.bot_db)
        writer = asyncio.create_task(self._database.writer())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                watch = group.create_task(_outlive(writer))
                beat = group.create_task(self._beat_until_ready())
                await self._until_stopped(self._start(endpoints, credentials))
                beat.cancel()
                if self._ready:
                    await self._duty()
                await self._shut_down()
                watch.cancel()
        finally:
            with contextlib.suppress(BotError, TimeoutError):
                await self._database.flush()
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            await self._database.close()
        return 0

    async def _until_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the start, unless we are told to stop before it ends."""
        task = asyncio.create_task(work)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:  # also when a task of the group has failed and we are cancelled for it
            stop.cancel()
            stopped = not task.done()
            task.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)
        if not stopped:
            task.result()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- start ---

    def _check_latch(self) -> None:
        if self._mode == "dry-run":
            return
        try:
            halted = any(entry.name == self._paths.latch.name for entry in self._paths.home.iterdir())
        except OSError as error:
            raise HaltedError(
                f"the folder {self._paths.home} cannot be read: trading stays halted."
            ) from error
        if halted:
            raise HaltedError(f"trading is halted ({self._paths.latch} exists): run `control resume` first.")

    def _open_budget(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._symbols: dict[str, str] = {}
        if self._mode == "dry-run":
            self._budget: LedgerBudget | DryRunBudget = DryRunBudget(budget_limit(self._budget_file))
            return
        try:
            if self._standalone:
                ledger = Ledger.create(self._paths.ledger, budget_limit(self._budget_file))
            else:
                ledger = Ledger.open(self._paths.ledger)
            self._budget = LedgerBudget(ledger, self._symbol_of, own_lease=self._standalone)
        except BridgeLedgerError as error:
            raise LedgerError(f"{error}.") from error

    def _symbol_of(self, token: str) -> str:
        return self._symbols.get(token, "TOKEN-" + token[-8:])

    async def _beat_until_ready(self) -> None:
        """The ledger hears from us while the venue keeps us waiting."""
        while True:
            self._budget.beat(self._budget.state() is LedgerState.HALTED, now_ns())
            await asyncio.sleep(0.1)

    async def _start(self, endpoints: Endpoints, credentials: Credentials | None) -> None:
        database, wall = self._database, self._clock.wall_ns()
        self._settlement = Settlement(await database.load_day() or day_of(wall))
        self._settlement.load(await database.load_openings(self._settlement.day), await database.load_fills())
        trades_read_s = await database.load_trades_read()
        self._integration = Integration(
            self._paths,
            self._mode,
            self._settlement,
            self._symbol_of,
            self._clock.now_ns,
            self._clock.wall_ns,
            self._wake.set,
        )
        await self._integration.start()
        self._integration.page.set_fills_total(self._settlement.sequence)
        venue = await self._connect(endpoints, credentials)
        self._exchange = venue
        if self._mode == "dry-run":
            self._exchange = DryRunExchange(venue)
        self._engine = self._make_engine()
        self._engine.reconciler.trades_read_s = trades_read_s
        self._integration.mark_of = self._engine.account.mark_of
        self._engine.account.market_named = self._name
        self._engine.desk.market_doubted = self._on_doubt
        context = ssl.create_default_context(cafile=endpoints.ca or None)
        self._market = MarketStream(
            endpoints.ws + "/ws/market",
            context,
            venue,
            self._on_book,
            self._clock.now_ns,
            self._clock.wall_ns,
            self._on_resolved,
        )
        await self._reconcile_at_start()
        await self._follow_markets()
        self._spawn(self._market.run())
        self._spawn(self._market.resync())
        if credentials is not None:
            self._user = UserStream(
                endpoints.ws + "/ws/user",
                context,
                credentials,
                venue.reader,
                self._engine.desk.on_order,
                self._engine.reconciler.on_trade,
                self._on_gap,
                self._clock.now_ns,
            )
            self._spawn(self._user.run())
        await self._read_marks()
        self._engine.reconciler.rebuild()
        self._spawn(self._reconcile_loop())
        self._spawn(self._market_loop())
        if self._mode != "dry-run":
            self._spawn(self._heartbeat_loop())
        self._ready = True
        log.info("bot_started", mode=self._mode, markets=len(self._quoted))

    def _make_engine(self) -> ExecutionEngine:
        strategy = self._settings.strategy
        self._risk = RiskManager(self._settings.risk.limits())
        return ExecutionEngine(
            self._exchange,
            self._budget,
            self._risk,
            self._settlement,
            self._database,
            self._integration,
            self._clock,
            EngineSettings(
                strategy.tolerance_ticks,
                Price(strategy.min_edge),
                strategy.requote_interval_ms * 1_000_000,
            ),
            self._spawn,
        )

    async def _connect(self, endpoints: Endpoints, credentials: Credentials | None) -> Polymarket:
        """The venue may be starting too: try until it answers. Refused keys end the process."""
        pause = 0.2
        while True:
            try:
                return await Polymarket.connect(endpoints, credentials)
            except VenueError as error:
                log.warning("venue_not_reachable", error=str(error)[:200])
                await asyncio.sleep(pause)
                pause = min(5.0, pause * 2)

    async def _reconcile_at_start(self) -> None:
        """Until the venue has answered everything once: nothing open, no fill missed, balances compared."""
        await self._load_markets()
        openings = self._engine.account.roll_day()
        self._database.save_openings(self._settlement.day, openings or self._settlement.openings())
        self._database.prune_orders(self._clock.wall_ns() - KEEP_ORDERS_NS)
        while True:
            try:
                found = await self._engine.reconciler.fence()
                self._integration.earlier = await self._database.load_orders(open_only=True)
                known = list(self._integration.earlier)
                if await self._engine.reconciler.reconcile():
                    unclear = await self._adopt_unclear()
                    await self._database.end_orders(order for order in known if order not in unclear)
                    await self._compare_balances(adopt_now=True)
                    break
            except VenueError as error:
                log.warning("venue_not_reconciled", error=str(error)[:200])
            await asyncio.sleep(1.0)
        log.info("venue_reconciled", orders_cancelled=found, orders_known=len(known))

    async def _adopt_unclear(self) -> set[str]:
        """Orders whose bytes the last process may have let go of just before it ended."""
        wall = self._clock.wall_ns()
        adopted: set[str] = set()
        since = wall - UNKNOWN_WINDOW_NS - SEND_SLACK_NS
        for order_id, created, row in await self._database.load_unclear_orders(since):
            market = self._engine.account.markets.get(row["condition_id"])
            if market is None or row["token"] not in market.tokens:
                continue
            if self._settlement.has_order(order_id):
                continue  # it landed, and the fence has cancelled what was left of it
            intent = Intent(
                int(row["client_order_id"]),
                market.condition_id,
                row["token"],
                market.outcome_of(row["token"]),
                Side(row["side"]),
                Price(row["price"]),
                Size(row["size"]),
                True,
                row["strategy"],
            )
            self._engine.reconciler.adopt_unclear(intent, order_id, max(0, wall - created - SEND_SLACK_NS))
            adopted.add(order_id)
        return adopted

    async def _load_markets(self) -> None:
        """Markets of earlier runs in which something is held, and those of the venue now."""
        for market in await self._database.load_markets():
            market = self._engine.account.remember(market)
            if any(self._settlement.position(token).quantity for token in market.tokens):
                self._engine.account.set_market(market)
        found = await self._choose_markets()
        while not found:  # a venue that has just started may offer nothing yet
            await asyncio.sleep(0.5)
            found = await self._choose_markets()

    async def _read_marks(self) -> None:
        """What is held is charged at real prices from the first moment."""
        markets = {market.tokens[Outcome.YES]: market for market in self._engine.account.markets.values()}
        try:
            snapshots = await self._exchange.books(list(markets))
        except VenueError as error:
            log.warning("marks_unknown", error=str(error)[:160])
            return
        for snapshot in snapshots:
            if snapshot.bids and snapshot.asks:
                middle = (max(snapshot.bids)[0] + min(snapshot.asks)[0]) // 2
                self._risk.set_mark(markets[snapshot.token].condition_id, Price(middle))

    def _name(self, market: Market) -> None:
        self._symbols.update(zip(market.tokens, market.symbols, strict=True))

    async def _choose_markets(self) -> bool:
        """Ask Gamma; the nearest expiries are quoted. False when the venue has nothing to offer yet."""
        wall = self._clock.wall_ns()
        chosen = self._settings.markets
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
        self._quoted = {market.condition_id for market in quoted}
        return bool(quoted)

    # --- tasks ---

    async def _market_loop(self) -> None:
        """New markets, expired markets, resolutions."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.markets.refresh_s):
                    await self._markets_changed.wait()
            self._markets_changed.clear()
            await asyncio.sleep(MARKET_PAUSE_S)  # a doubt is asked about once a second, not once an order
            await self._choose_markets()
            for market in list(self._engine.account.markets.values()):
                if market.condition_id in self._quoted:
                    continue
                holdings = self._engine.account.holdings(market)
                if holdings.yes or holdings.no:
                    await self._engine.reconciler.settle(market)
                self._engine.drop_market(market.condition_id)
            await self._follow_markets()

    async def _follow_markets(self) -> None:
        ticks: dict[str, int] = {}
        for market in self._engine.account.markets.values():
            ticks.update({token: market.tick for token in market.tokens})
        await self._market.set_tokens(ticks)

    async def _reconcile_loop(self) -> None:
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
            gaps = self._user.gaps if self._user is not None else 0
            if await self._engine.reconciler.reconcile():
                if self._user is not None and self._user.gaps == gaps and self._user.connected_ns:
                    self._user.caught_up = True
                if now - self._balance_ns > BALANCE_EVERY_NS:
                    self._balance_ns = now
                    await self._compare_balances(adopt_now=False)
            else:
                self._engine.desk.check_wanted.set()
                await asyncio.sleep(1.0)
            await asyncio.sleep(0.1)

    async def _compare_balances(self, adopt_now: bool) -> None:
        """Tokens at the venue against our books. A difference that lasts is adopted: the venue is right."""
        if self._mode == "dry-run":
            return
        unsettled = {fill.token for fill in self._settlement.provisional()}
        for market in list(self._engine.account.markets.values()):
            if market.expiry_ns < self._clock.wall_ns():
                continue
            for token in market.tokens:
                ours = self._settlement.position(token).quantity
                try:
                    theirs = await self._exchange.balance(token)
                except VenueError as error:
                    log.warning("balance_unknown", error=str(error)[:160])
                    return
                if token in unsettled or theirs == ours or ours != self._settlement.position(token).quantity:
                    self._mismatches.pop(token, None)
                    continue
                self._mismatches[token] = self._mismatches.get(token, 0) + 1
                if adopt_now or self._mismatches[token] >= 3:
                    self._mismatches.pop(token, None)
                    await self._adopt_balance(market, token)

    async def _adopt_balance(self, market: Market, token: str) -> None:
        """The CLOB caches balances, and a trade may have come between: adopt only what is still there
        after the cache is refreshed and trades are read once more."""
        try:
            await self._exchange.refresh_balance(token)
            before = await self._exchange.balance(token)
            read = await self._engine.reconciler.reconcile()
            after = await self._exchange.balance(token)
        except VenueError as error:
            log.warning("balance_unknown", error=str(error)[:160])
            return
        moving = any(fill.token == token for fill in self._settlement.provisional())
        if read and not moving and before == after:
            self._engine.reconciler.adopt(market, token, after)

    async def _heartbeat_loop(self) -> None:
        """The venue's dead-man switch. This task is its only owner, and beats only while the duty cycle
        makes progress and we may still add risk; otherwise the venue cancels everything by itself."""
        seen = -1
        while True:
            now = now_ns()
            alive = self._cycles != seen and self._budget.lease_fresh(now)
            if alive and self._budget.state() is not LedgerState.HALTED:
                seen = self._cycles
                try:
                    self._heartbeat_id = await self._exchange.heartbeat(self._heartbeat_id)
                    self._dead_man_ns = now
                except VenueAccountError as error:
                    log.error("account_refused", error=str(error)[:160])
                    self._budget.halt(HaltReason.VENUE)
                except VenueError as error:
                    log.warning("heartbeat_failed", error=str(error)[:160])
                    await asyncio.sleep(0.5)
                    continue
            await asyncio.sleep(HEARTBEAT_S if self._dead_man_ns else 0.2)

    # --- callbacks ---

    def _on_book(self, token: str) -> None:
        self._wake.set()

    def _on_gap(self, reason: str) -> None:
        if self._ready or hasattr(self, "_engine"):
            self._engine.desk.check_wanted.set()

    def _on_resolved(self, condition_id: str, token: str) -> None:
        """A hint: quotes of the market go at once, and the market loop asks the venue for the rest."""
        self._on_doubt(condition_id)

    def _on_doubt(self, condition_id: str) -> None:
        if condition_id in self._engine.account.markets:
            self._quoted.discard(condition_id)
            self._markets_changed.set()

    # --- the duty cycle ---

    async def _duty(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CYCLE_S):
                    await self._wake.wait()
            self._wake.clear()
            self._cycle()
            await asyncio.sleep(CYCLE_MIN_S)

    def _cycle(self) -> None:
        now, wall = now_ns(), self._clock.wall_ns()
        openings = self._engine.account.roll_day()
        if openings is not None:
            self._database.save_openings(self._settlement.day, openings)
        gate = self._gate(now)
        views = {
            m.condition_id: self._view(m, gate, now, wall)
            for m in list(self._engine.account.markets.values())
        }
        self._take_inbox(views)
        self._engine.step(views)
        self._hedge(now)
        self._cycles += 1
        if now - self._page_ns >= PAGE_EVERY_NS:
            self._page_ns = now
            self._publish(now)

    def _gate(self, now: int) -> Gate:
        sees = self._mode == "dry-run" or (self._user is not None and self._user.sees_fills())
        if sees:
            self._blind_since = 0
        elif not self._blind_since:
            self._blind_since = now
        armed = self._mode == "dry-run" or (
            self._dead_man_ns > 0 and now - self._dead_man_ns < DEAD_MAN_FRESH_NS
        )
        return Gate(self._ready and not self._database.failed, sees, armed, True, self._clock_agrees())

    def _clock_agrees(self) -> bool:
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
            fair if market.condition_id in self._quoted and not blind and gate.clock_agrees else None,
            self._engine.account.holdings(market),
            self._settings.strategy.quotes(),
            wall,
        )
        return MarketView(
            wanted.orders,
            replace(gate, book_fresh=fresh),
            Price(fair.probability) if fair is not None else None,
            tops[0].mid,
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

    # --- what others see ---

    def _publish(self, now: int) -> None:
        realized, unrealized, fees_e8 = self._engine.account.day_account()
        fees = -(-fees_e8 // 100)
        self._integration.page.publish(
            updated_ns=now,
            day_micros=realized + unrealized - fees,
            realized_micros=realized,
            unrealized_micros=unrealized,
            fees_micros=fees,
            venues=[self._page_venue(now)],
            positions=self._page_positions(),
            signals=self._integration.page_signals(),
            counters={0: self._cycles, 1: self._market.connections, 2: self._market.malformed},
        )
        self._database.note_day(
            self._settlement.day, realized, unrealized, fees_e8, self._settlement.fills_today(), now
        )
        if now - self._risk_state_ns >= RISK_STATE_EVERY_NS and isinstance(self._budget, LedgerBudget):
            self._risk_state_ns = now
            view = self._budget.snapshot()
            self._integration.risk_state(
                MessageRiskState(
                    state=view.state,
                    epoch=view.epoch,
                    used_micros=view.used_micros,
                    alloc_micros=view.alloc_micros,
                    limit_micros=view.limit_micros,
                )
            )

    def _page_venue(self, now: int) -> PageVenue:
        books = self._market.books.values()
        synced = all(self._market.fresh(book.token) for book in books) and bool(books)
        sees = self._mode == "dry-run" or (self._user is not None and self._user.sees_fills())
        armed = self._dead_man_ns if now - self._dead_man_ns < DEAD_MAN_NS else 0
        text = ""
        if self._stop.is_set():
            state, text = SessionState.DOWN, "the bot has stopped"
        elif not self._market.connected_ns:
            state, text = SessionState.CONNECTING, "the market stream is not connected"
        elif not synced:
            state, text = SessionState.SYNCING, "books are being fetched"
        elif not sees:
            state, text = SessionState.SYNCING, "own fills are being read"
        elif not self._clock_agrees():
            seconds = self._market.clock_offset_ns / 1e9
            state, text = SessionState.SYNCING, f"the venue's clock differs by {seconds:.1f} s: set ours"
        elif self._database.failed:
            state, text = SessionState.SYNCING, self._database.failed
        else:
            state = SessionState.READY
            if self._engine.pulled:
                text = "quotes are pulled"
        lost = max(0, self._market.connections - 1)
        if self._user is not None:
            lost += max(0, self._user.connections - 1)
        return PageVenue(
            venue=VenueId.POLYMARKET,
            state=state,
            open_orders=len(self._engine.desk.open_orders()),
            feed_ns=self._market.data_ns,
            dead_man_armed_ns=armed,
            dead_man_expires_ns=armed + DEAD_MAN_NS if armed else 0,
            fills=self._integration.page.fills_total,
            resyncs=sum(book.resyncs for book in books),
            disconnects=lost,
            clock_offset_ns=self._market.clock_offset_ns,
            text=text[:63],
        )

    def _page_positions(self) -> list[PagePosition]:
        records = []
        marks = self._engine.account.marks()
        for token, entry in self._settlement.tokens.items():
            position = entry.position
            if not position.quantity and not position.volume_micros:
                continue
            mark = marks.get(token, 0)
            records.append(
                PagePosition(
                    venue=VenueId.POLYMARKET,
                    symbol=self._symbol_of(token),
                    quantity_e9=position.quantity * E9,
                    cost_micros=position.cost_micros,
                    mark_e9=mark * E9,
                    realized_micros=position.realized_micros,
                    unrealized_micros=position.unrealized_micros(mark),
                    fees_e8=position.fees_e8,
                    volume_micros=position.volume_micros,
                    cash_flow_micros=position.cash_flow_micros,
                )
            )
        return records

    # --- the way out ---

    async def _shut_down(self) -> None:
        """Cancel everything, wait for the venue's word, show it, leave."""
        if not hasattr(self, "_engine"):
            if hasattr(self, "_integration"):
                await self._integration.stop()
            return
        left = 0
        try:
            async with asyncio.timeout(STOP_LIMIT_S + 2.0):
                left = await self._engine.stop(STOP_LIMIT_S)
        except (TimeoutError, VenueError) as error:
            log.error("stop_unconfirmed", error=str(error)[:160])
            left = len(self._engine.desk.open_orders())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ready:
            self._publish(now_ns())
        log.info("bot_stopped", orders_left=left)
        with contextlib.suppress(VenueError):
            await self._exchange.close()
        await self._integration.stop()
