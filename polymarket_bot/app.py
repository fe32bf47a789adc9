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
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from bridge.ledger import Ledger, now_ns
from bridge.ledger import LedgerError as BridgeLedgerError
from bridge.messages import LedgerState
from bridge.paths import Paths
from bridge.wall_clock import wall_ns
from polymarket_bot.api.polymarket import Credentials, Endpoints, Exchange, Polymarket
from polymarket_bot.api.stream import MarketStream, UserStream
from polymarket_bot.cash_watch import CashWatch
from polymarket_bot.connection import access_of, budget_limit, check_geoblock, connection_details
from polymarket_bot.dead_man import DeadMan
from polymarket_bot.duty import DutyCycle
from polymarket_bot.errors import BotError, ConfigurationError, HaltedError, LedgerError, VenueError
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.dry_run import DryRunBudget, DryRunExchange
from polymarket_bot.execution.engine import EngineSettings, ExecutionEngine
from polymarket_bot.execution.history import DayHistory
from polymarket_bot.execution.settlement import Settlement, day_of
from polymarket_bot.execution.unseen import UNKNOWN_WINDOW_NS
from polymarket_bot.ipc.integration import Integration
from polymarket_bot.market_list import MarketList
from polymarket_bot.model import Intent, Market, Price, Side, Size
from polymarket_bot.risk.manager import RiskManager
from polymarket_bot.settings import Mode, Settings
from polymarket_bot.status_page import StatusPage
from polymarket_bot.storage.cash import CashRecords
from polymarket_bot.storage.database import Database
from polymarket_bot.venue_watch import VenueWatch

log = structlog.get_logger("bot")

CYCLE_S = 0.05
CYCLE_MIN_S = 0.005
KEEP_ORDERS_NS = 7 * 24 * 3600 * 1_000_000_000
SEND_SLACK_NS = 20_000_000_000  # from an order's record to its last byte at the latest
STOP_LIMIT_S = 3.0


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
        return wall_ns()


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
        self._ready = False
        self._group: asyncio.TaskGroup | None = None
        self._exchange: Exchange
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
        if credentials is not None:
            self._record_access(endpoints, credentials)
        try:
            return await self._run_joined(endpoints, credentials)
        finally:
            if isinstance(self._budget, LedgerBudget):
                self._budget.leave()

    async def _run_joined(self, endpoints: Endpoints, credentials: Credentials | None) -> int:
        storage = self._settings.storage.file
        path = Path(storage) if storage else self._paths.bot_db
        self._database = await Database.open(path, self._paths.markets)
        writer = asyncio.create_task(self._database.writer())
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                watch = group.create_task(_outlive(writer))
                beat = group.create_task(self._beat_until_ready())
                await self._until_stopped(self._start(endpoints, credentials))
                beat.cancel()
                if self._ready:
                    await self._duty_cycles()
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
            self._budget = LedgerBudget(
                ledger, self._symbol_of, own_lease=self._standalone, wall_ns=self._clock.wall_ns
            )
        except BridgeLedgerError as error:
            raise LedgerError(f"{error}.") from error

    def _record_access(self, endpoints: Endpoints, credentials: Credentials) -> None:
        """Where we trade, on disk before anything is sent: whoever cancels for us goes there. After the join,
        so that a bot which another one keeps out does not overwrite the other's record."""
        details = access_of(self._settings, self._mode, self._paths, endpoints, credentials)
        assert isinstance(self._budget, LedgerBudget)
        try:
            self._budget.record_access(self._paths, details, self._clock.wall_ns())
        except OSError as error:
            self._budget.leave()
            raise ConfigurationError(
                f"where the bot trades cannot be recorded ({error}): make room in {self._paths.mode_home}."
            ) from error

    def _symbol_of(self, token: str) -> str:
        return self._symbols.get(token, "TOKEN-" + token[-8:])

    async def _beat_until_ready(self) -> None:
        """The ledger hears from us while the venue keeps us waiting."""
        while True:
            self._budget.beat(self._budget.state() is LedgerState.HALTED, now_ns())
            await asyncio.sleep(0.1)

    async def _start(self, endpoints: Endpoints, credentials: Credentials | None) -> None:
        database, wall = self._database, self._clock.wall_ns()
        day = await database.load_day()
        self._settlement = Settlement(day or self._budget.roll().day or day_of(wall))
        self._settlement.late_micros = await database.load_late(self._settlement.day)
        self._history: DayHistory | None = None
        self._day_unknown = day is None and self._mode != "dry-run"
        if not self._day_unknown:
            openings = await database.load_openings(self._settlement.day)
            self._settlement.load(openings, await database.load_fills())
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
        self._engine.account.market_named = lambda market: self._introduce(venue, market)
        context = ssl.create_default_context(cafile=endpoints.ca or None)
        self._market = MarketStream(
            endpoints.ws + "/ws/market",
            context,
            venue,
            self._on_book,
            self._clock.now_ns,
            self._clock.wall_ns,
            lambda condition_id, _token: self._markets.on_resolved(condition_id),
        )
        self._wire(venue)
        self._run_dead_man()
        await self._cash.load()
        await self._reconcile_at_start()
        await self._markets.follow()
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
            self._watch.user = self._duty.user = self._user
            self._spawn(self._user.run())
        await self._markets.read_marks()
        self._engine.reconciler.rebuild()
        # Until now the leader did not wait for us, so a day may have begun; from now on it does.
        self._engine.day.follow(now_ns())
        self._spawn(self._watch.run())
        self._spawn(self._markets.run())
        if self._mode != "dry-run":
            self._spawn(self._cash.run())
        self._ready = True
        log.info("bot_started", mode=self._mode, markets=len(self._markets.quoted))

    def _run_dead_man(self) -> None:
        """From before the first look at the account: another system that the look finds must see us. It
        does not beat for orders before the first duty cycle."""
        if self._mode == "dry-run":
            return
        dead_man = DeadMan(self._exchange, self._budget, self._integration, lambda: self._duty.cycles)
        self._engine.reconciler.foreign.seen = dead_man.announce
        self._duty.dead_man = dead_man
        self._spawn(dead_man.run())

    def _wire(self, venue: Polymarket) -> None:
        """The parts of a duty cycle and the tasks beside it, each given what it reads and changes."""
        engine, integration, stream = self._engine, self._integration, self._market
        self._markets = MarketList(
            self._settings.markets, self._exchange, engine, self._database, stream, self._clock
        )
        engine.desk.market_doubted = self._markets.on_doubt
        engine.account.market_held = self._markets.on_held
        self._watch = VenueWatch(self._mode, self._exchange, engine, self._clock)
        self._watch.save_market = self._database.save_market
        self._cash = CashWatch(
            venue,
            engine,
            self._watch,
            CashRecords(self._database),
            self._budget,
            integration,
            self._clock,
            self._settings.cash.every_s,
        )
        engine.desk.balance_doubted = self._cash.wanted.set
        self._duty = DutyCycle(
            self._settings,
            self._mode,
            engine,
            self._markets,
            integration,
            stream,
            self._budget,
            self._database,
            self._clock,
        )
        self._page = StatusPage(
            engine,
            self._duty,
            integration,
            stream,
            self._budget,
            self._database,
            self._cash,
            self._symbol_of,
        )

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
        await self._markets.load()
        if self._day_unknown:
            self._history = DayHistory(
                self._engine.account,
                self._engine.reconciler,
                self._exchange,
                self._database,
                self._integration,
            )
        else:
            self._engine.day.begin_at_start()
        self._database.prune_orders(self._clock.wall_ns() - KEEP_ORDERS_NS)
        while True:
            try:
                found = await self._engine.reconciler.fence()
                self._integration.earlier = await self._database.load_orders(open_only=True)
                known = list(self._integration.earlier)
                if self._history is not None and self._day_unknown:
                    self._page.fills_rebuilt = await self._history.rebuild()
                    self._day_unknown = False
                if await self._engine.reconciler.reconcile():
                    unclear = await self._adopt_unclear()
                    await self._database.end_orders(order for order in known if order not in unclear)
                    await self._markets.settle_ended()  # before balances: the venue pays and empties them
                    await self._markets.read_marks()  # a balance that differs is adopted at the mark
                    if self._mode != "dry-run":
                        await self._cash.start()
                    break
            except VenueError as error:
                log.warning("venue_not_reconciled", error=str(error)[:200])
            await asyncio.sleep(1.0)
        log.info("venue_reconciled", orders_cancelled=found, orders_known=len(known))

    async def _adopt_unclear(self) -> set[str]:
        """Orders whose bytes the last process may have let go of just before it ended."""
        adopted = self._engine.reconciler.adopt_unseen()
        wall = self._clock.wall_ns()
        since = wall - UNKNOWN_WINDOW_NS - SEND_SLACK_NS
        for order_id, created, row in await self._database.load_unclear_orders(since):
            market = self._engine.account.known.get(row["condition_id"])
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
                False,  # not recorded: charged with the fee that it could cost
                row["strategy"],
            )
            self._engine.reconciler.adopt_unclear(intent, order_id, max(0, wall - created - SEND_SLACK_NS))
            adopted.add(order_id)
        return adopted

    def _introduce(self, venue: Polymarket, market: Market) -> None:
        """A market with its final name: views call it by that, the venue's reader needs its fee."""
        self._symbols.update(zip(market.tokens, market.symbols, strict=True))
        venue.know(market)

    # --- callbacks ---

    def _on_book(self, token: str) -> None:
        self._wake.set()

    def _on_gap(self, reason: str) -> None:
        if self._ready or hasattr(self, "_engine"):
            self._engine.desk.check_wanted.set()

    # --- the duty cycle ---

    async def _duty_cycles(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CYCLE_S):
                    await self._wake.wait()
            self._wake.clear()
            self._duty.cycle()
            self._page.publish_when_due(now_ns())
            await asyncio.sleep(CYCLE_MIN_S)

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
            self._page.stopped = True
            self._page.publish(now_ns())
        log.info("bot_stopped", orders_left=left)
        with contextlib.suppress(VenueError):
            await self._exchange.close()
        await self._integration.stop()
