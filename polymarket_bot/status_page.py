"""What the bot shows of itself: the status page ten times a second, the ledger's state on the bridge."""

from __future__ import annotations

from collections.abc import Callable

from bridge.messages import MessageRiskState, PagePosition, PageVenue, SessionState, VenueId
from polymarket_bot.api.stream import MarketStream
from polymarket_bot.cash_watch import CashWatch
from polymarket_bot.dead_man import DEAD_MAN_NS
from polymarket_bot.duty import DutyCycle
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.dry_run import DryRunBudget
from polymarket_bot.execution.engine import ExecutionEngine
from polymarket_bot.ipc.integration import Integration
from polymarket_bot.ipc.protocol import E9
from polymarket_bot.storage.database import Database

PAGE_EVERY_NS = 100_000_000
RISK_STATE_EVERY_NS = 1_000_000_000


class StatusPage:
    """Reads everything, changes nothing."""

    def __init__(
        self,
        engine: ExecutionEngine,
        duty: DutyCycle,
        integration: Integration,
        stream: MarketStream,
        budget: LedgerBudget | DryRunBudget,
        database: Database,
        cash: CashWatch,
        symbol_of: Callable[[str], str],
    ) -> None:
        self._engine = engine
        self._duty = duty
        self._settlement = engine.account.settlement
        self._integration = integration
        self._market = stream
        self._budget = budget
        self._database = database
        self._cash = cash
        self._symbol_of = symbol_of
        self.stopped = False
        self.fills_rebuilt = 0  # of today, which the database did not know
        self._page_ns = self._risk_state_ns = 0

    def publish_when_due(self, now: int) -> None:
        if now - self._page_ns >= PAGE_EVERY_NS:
            self._page_ns = now
            self.publish(now)

    def publish(self, now: int) -> None:
        realized, unrealized, fees_e8 = self._engine.account.day_account()
        fees = -(-fees_e8 // 100)
        cash = self._engine.account.day_cash()
        self._integration.page.publish(
            updated_ns=now,
            day_micros=realized + unrealized - fees + cash,
            realized_micros=realized,
            unrealized_micros=unrealized,
            fees_micros=fees,
            cash_micros=cash,
            transfers_micros=self._engine.account.cash.transfers_micros(self._settlement.day),
            venues=[self._page_venue(now)],
            positions=self._page_positions(),
            signals=self._integration.page_signals(),
            day=self._settlement.day,
            late_micros=self._settlement.late_micros,
            closed=(self._settlement.closed_day, self._settlement.closed_micros),
            counters={
                0: self._duty.cycles,
                1: self._market.connections,
                2: self._market.malformed,
                3: self.fills_rebuilt,
            },
        )
        self._database.note_day(
            self._settlement.day, realized, unrealized, fees_e8, self._settlement.fills_today(), cash, now
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
        user, dead_man = self._duty.user, self._duty.dead_man
        sees = self._duty.sees_fills()
        armed = dead_man.armed_ns if dead_man is not None and now - dead_man.armed_ns < DEAD_MAN_NS else 0
        text = ""
        if self.stopped:
            state, text = SessionState.DOWN, "the bot has stopped"
        elif not self._market.connected_ns:
            state, text = SessionState.CONNECTING, "the market stream is not connected"
        elif not synced:
            state, text = SessionState.SYNCING, "books are being fetched"
        elif not sees:
            state, text = SessionState.SYNCING, "own fills are being read"
        elif not self._duty.clock_agrees():
            seconds = self._market.clock_offset_ns / 1e9
            state, text = SessionState.SYNCING, f"the venue's clock differs by {seconds:.1f} s: set ours"
        elif self._database.failed:
            state, text = SessionState.SYNCING, self._database.failed
        else:
            state = SessionState.READY
            if self._engine.pulled:
                text = "quotes are pulled"
            elif self._cash.doubt:
                text = self._cash.doubt
        lost = max(0, self._market.connections - 1)
        if user is not None:
            lost += max(0, user.connections - 1)
        wallet, expected = self._cash.shown()
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
            wallet_e8=wallet * 100,
            books_e8=expected * 100,
            wallet_ns=self._cash.read_ns,
        )

    def _page_positions(self) -> list[PagePosition]:
        records = []
        for token, entry in self._settlement.tokens.items():
            position = entry.position
            if not position.quantity and not position.volume_micros:
                continue
            mark = self._engine.account.mark_of(token)
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
