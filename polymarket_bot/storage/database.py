"""Storage over SQLAlchemy Core: SQLite beside the bot by default, PostgreSQL when DATABASE_URL is set.

All writes go through one queue and one task, so they happen in the order in which they were asked for.
`flush` waits until everything before it is on disk; orders are flushed before their bytes leave.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from polymarket_bot.errors import BotError, ConfigurationError
from polymarket_bot.execution.settlement import Booked, Change, ChangeKind, Position
from polymarket_bot.model import Fill, FillStatus, Market, Order, OrderState, Price, Side, Size
from polymarket_bot.storage import schema
from polymarket_bot.storage.market_file import MarketFile

COMMIT_TIMEOUT_S = 5.0
# What a database says when it cannot be reached; asyncpg's come through SQLAlchemy unwrapped while a
# connection is being made.
UNREACHABLE = (
    OSError,
    TimeoutError,
    sa.exc.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)


def database_url(path: Path) -> str:
    """DATABASE_URL with the asyncpg driver, or the SQLite file."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        return f"sqlite+aiosqlite:///{path}"
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+asyncpg://" + url.removeprefix(prefix)
    if url.startswith("postgresql+asyncpg://"):
        return url
    raise ConfigurationError(
        "DATABASE_URL must begin with postgresql://; unset it to use the SQLite file of the bot."
    )


class Database:
    """Open with `await Database.open(path)`; run `writer()` as a task; close at the end."""

    def __init__(self, engine: AsyncEngine, markets: MarketFile | None = None) -> None:
        self._engine = engine
        self._markets = markets
        self._queue: asyncio.Queue[tuple[sa.Executable | None, asyncio.Future[None] | None]] = asyncio.Queue()
        self._backlog: list[tuple[sa.Executable | None, asyncio.Future[None] | None]] = []
        self._day_ns = 0
        self._trades_read_s = 0
        self.failed: str = ""

    @classmethod
    async def open(cls, path: Path, markets: Path | None = None) -> Database:
        """`markets`: where the table of markets is kept for commands that must do without a database."""
        url = database_url(path)
        if url.startswith("sqlite"):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        engine = create_async_engine(url)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine.sync_engine, "connect", _sqlite_durable)
        database = cls(engine, MarketFile(markets) if markets is not None else None)
        try:
            async with asyncio.timeout(10), engine.begin() as connection:
                await connection.run_sync(schema.metadata.create_all)
                await database._check_version(connection)
        except UNREACHABLE as error:
            await engine.dispose()
            raise ConfigurationError(
                f"the database cannot be opened ({type(error).__name__}): check {path} or DATABASE_URL."
            ) from error
        return database

    async def _check_version(self, connection: AsyncConnection) -> None:
        row = (
            await connection.execute(
                sa.select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
            )
        ).scalar_one_or_none()
        if row is None:
            await connection.execute(
                schema.meta.insert().values(name="schema_version", value=str(schema.VERSION))
            )
        elif row != str(schema.VERSION):
            raise ConfigurationError(
                f"the database has schema version {row}, this build needs {schema.VERSION}: "
                "move the file away or use the build that wrote it."
            )

    async def close(self) -> None:
        await self._engine.dispose()

    # --- writing ---

    async def writer(self) -> None:
        """Run until cancelled; whoever cancels it flushes first."""
        try:
            while True:
                await self._commit([*self._backlog, await self._queue.get()])
        finally:
            rest = self._backlog
            while not self._queue.empty():
                rest.append(self._queue.get_nowait())
            if rest:
                await asyncio.shield(self._commit(rest))

    async def _commit(self, batch: list[tuple[sa.Executable | None, asyncio.Future[None] | None]]) -> None:
        while not self._queue.empty() and len(batch) < 200:
            batch.append(self._queue.get_nowait())
        self._backlog = []
        waiters = [future for _, future in batch if future is not None]
        if self._markets is not None:  # before any order of a new market is flushed, and so before it is sent
            await asyncio.to_thread(self._markets.write_if_changed)
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S), self._engine.begin() as connection:
                for statement, _ in batch:
                    if statement is not None:
                        await connection.execute(statement)
        except asyncio.CancelledError:
            self._backlog = batch  # the writer commits it on its way out
            raise
        except UNREACHABLE as error:
            self.failed = f"{type(error).__name__}: the database does not accept writes"
            for future in waiters:
                if not future.done():
                    future.set_exception(BotError(self.failed))
            # Every statement may be repeated: keep what could not be written, for when there is room.
            self._backlog = [(statement, None) for statement, _ in batch if statement is not None]
            return
        self.failed = ""
        for future in waiters:
            if not future.done():
                future.set_result(None)

    def _put(self, statement: sa.Executable) -> None:
        self._queue.put_nowait((statement, None))

    async def flush(self) -> None:
        """Wait until everything queued so far is committed; raises BotError when it cannot be."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((None, future))
        async with asyncio.timeout(COMMIT_TIMEOUT_S * 2):
            await future

    def _upsert(self, table: sa.Table, values: dict[str, Any], update: Iterable[str] = ()) -> sa.Executable:
        columns = [column.name for column in table.primary_key.columns]
        if self._engine.dialect.name == "postgresql":
            statement = postgresql.insert(table).values(**values)
            changes = {name: statement.excluded[name] for name in update}
            if changes:
                return statement.on_conflict_do_update(index_elements=columns, set_=changes)
            return statement.on_conflict_do_nothing(index_elements=columns)
        lite = sqlite.insert(table).values(**values)
        changes = {name: lite.excluded[name] for name in update}
        if changes:
            return lite.on_conflict_do_update(index_elements=columns, set_=changes)
        return lite.on_conflict_do_nothing(index_elements=columns)

    def save_meta(self, name: str, value: str) -> None:
        """One named fact; the newest counts."""
        self._put(self._upsert(schema.meta, {"name": name, "value": value}, ("value",)))

    def save_row(self, table: sa.Table, values: dict[str, Any]) -> None:
        """A row that is written once, however often it is asked for."""
        self._put(self._upsert(table, values))

    async def load_rows(self, query: sa.Select[Any]) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(query)).all())

    def save_order(self, order: Order) -> None:
        intent = order.intent
        values = {
            "venue_order_id": order.venue_order_id,
            "client_order_id": str(intent.client_order_id),
            "condition_id": intent.condition_id,
            "token": intent.token,
            "side": int(intent.side),
            "price": int(intent.price),
            "size": int(intent.size),
            "strategy": intent.strategy,
            "state": int(order.state),
            "filled": order.filled,
            "created_wall_ns": order.created_wall_ns,
        }
        self._put(self._upsert(schema.orders, values, ("state", "filled")))

    def prune_orders(self, before_wall_ns: int) -> None:
        """Forget ended orders older than this; fills are kept."""
        table = schema.orders
        ended = [int(state) for state in OrderState if state.terminal]
        old = (table.c.created_wall_ns < before_wall_ns) & table.c.state.in_(ended)
        self._put(table.delete().where(old))

    def save_change(self, change: Change, status: FillStatus) -> None:
        fill = change.fill
        if change.kind in (ChangeKind.FINAL, ChangeKind.REVERSED):
            table = schema.fills
            self._put(
                table.update()
                .where(table.c.trade_id == fill.trade_id, table.c.order_id == fill.order_id)
                .values(status=status.value)
            )
            return
        values = {
            "trade_id": fill.trade_id,
            "order_id": fill.order_id,
            "sequence": change.sequence,
            "day": change.day,
            "status": status.value,
            "condition_id": fill.condition_id,
            "token": fill.token,
            "side": int(fill.side),
            "price": int(fill.price),
            "size": int(fill.size),
            "maker": int(fill.maker),
            "fee_e8": fill.fee_e8,
            "matched_wall_ns": fill.matched_wall_ns,
        }
        self._put(self._upsert(schema.fills, values))

    def save_market(self, market: Market) -> None:
        values = {
            "condition_id": market.condition_id,
            "yes_symbol": market.symbols[0],
            "yes_token": market.tokens[0],
            "no_symbol": market.symbols[1],
            "no_token": market.tokens[1],
            "definition": msgspec.json.encode(market).decode(),
        }
        self._put(self._upsert(schema.markets, values, ("definition",)))
        if self._markets is not None:
            self._markets.keep([market])

    def save_trades_read(self, wall_s: int) -> None:
        """Up to when all trades are known, every ten seconds at most: a new process reads on from there."""
        if wall_s - self._trades_read_s >= 10:
            self._trades_read_s = wall_s
            self._put(self._upsert(schema.meta, {"name": "trades_read_s", "value": str(wall_s)}, ("value",)))

    def save_late(self, day: int, micros: int) -> None:
        """What this day has learnt of closed ones."""
        self._put(self._upsert(schema.meta, {"name": "late", "value": f"{day}:{micros}"}, ("value",)))

    async def load_late(self, day: int) -> int:
        """0 when nothing was learnt, or on another day."""
        of, _, micros = (await self.load_meta("late") or "0:0").partition(":")
        return int(micros) if int(of) == day else 0

    async def load_trades_read(self) -> int:
        """0 when no process has read them yet."""
        value = await self.load_meta("trades_read_s")
        return 0 if value is None else int(value)

    async def load_markets(self) -> list[Market]:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(sa.select(schema.markets.c.definition))).scalars().all()
        found = [msgspec.json.decode(row, type=Market) for row in rows]
        if self._markets is not None:
            self._markets.keep(found)
            await asyncio.to_thread(self._markets.write_if_changed)
        return found

    def save_openings(self, day: int, openings: dict[str, Position]) -> None:
        for token, position in openings.items():
            values = {
                "day": day,
                "token": token,
                "quantity": position.quantity,
                "cost_micros": position.cost_micros,
            }
            self._put(self._upsert(schema.openings, values, ("quantity", "cost_micros")))
        self._put(self._upsert(schema.meta, {"name": "day", "value": str(day)}, ("value",)))

    def save_day(
        self, day: int, realized: int, unrealized: int, fees_e8: int, fills: int, cash_micros: int
    ) -> None:
        """The parts of the day's result: realized and unrealized less fees (rounded up), and cash."""
        values = {
            "day": day,
            "realized_micros": realized,
            "unrealized_micros": unrealized,
            "fees_e8": fees_e8,
            "fills": fills,
        }
        self._put(
            self._upsert(schema.days, values, ("realized_micros", "unrealized_micros", "fees_e8", "fills"))
        )
        cash = {"day": day, "cash_micros": cash_micros}
        self._put(self._upsert(schema.days_cash, cash, ("cash_micros",)))

    def note_day(
        self,
        day: int,
        realized: int,
        unrealized: int,
        fees_e8: int,
        fills: int,
        cash_micros: int,
        now_ns: int,
    ) -> None:
        """The day's result once every ten seconds."""
        if now_ns - self._day_ns >= 10_000_000_000:
            self._day_ns = now_ns
            self.save_day(day, realized, unrealized, fees_e8, fills, cash_micros)

    # --- reading, at start ---

    async def load_day(self) -> int | None:
        """The day whose openings were last recorded."""
        value = await self.load_meta("day")
        return None if value is None else int(value)

    async def load_meta(self, name: str) -> str | None:
        query = sa.select(schema.meta.c.value).where(schema.meta.c.name == name)
        async with self._engine.connect() as connection:
            value: str | None = (await connection.execute(query)).scalar_one_or_none()
        return value

    async def load_openings(self, day: int) -> dict[str, Position]:
        table = schema.openings
        async with self._engine.connect() as connection:
            rows = (await connection.execute(sa.select(table).where(table.c.day == day))).all()
        return {row.token: Position(row.quantity, row.cost_micros) for row in rows}

    async def load_fills(self) -> list[Booked]:
        table = schema.fills
        async with self._engine.connect() as connection:
            rows = (await connection.execute(sa.select(table).order_by(table.c.sequence))).all()
        return [
            Booked(
                Fill(
                    row.trade_id,
                    row.order_id,
                    row.condition_id,
                    row.token,
                    Side(row.side),
                    Price(row.price),
                    Size(row.size),
                    bool(row.maker),
                    row.fee_e8,
                    row.matched_wall_ns,
                ),
                FillStatus(row.status),
                row.sequence,
                row.day,
            )
            for row in rows
        ]

    async def load_orders(self, open_only: bool) -> dict[str, tuple[int, int, OrderState]]:
        """Venue order id to (client order id, strategy, last recorded state)."""
        table = schema.orders
        query = sa.select(table.c.venue_order_id, table.c.client_order_id, table.c.strategy, table.c.state)
        if open_only:
            ended = [int(state) for state in OrderState if state.terminal]
            query = query.where(table.c.state.not_in(ended))
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        return {
            row.venue_order_id: (int(row.client_order_id), row.strategy, OrderState(row.state))
            for row in rows
        }

    async def known_orders(self, order_ids: Iterable[str]) -> set[str]:
        """Which of these venue ids an order of ours has or had, or a fill of one."""
        ids = list(order_ids)
        found: set[str] = set()
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S), self._engine.connect() as connection:
                for start in range(0, len(ids), 200):
                    chunk = ids[start : start + 200]
                    query = sa.select(schema.orders.c.venue_order_id).where(
                        schema.orders.c.venue_order_id.in_(chunk)
                    )
                    found |= set((await connection.execute(query)).scalars().all())
        except UNREACHABLE as error:
            raise BotError(f"{type(error).__name__}: the database cannot be read.") from error
        return found

    async def load_unclear_orders(self, since_wall_ns: int) -> list[tuple[str, int, dict[str, Any]]]:
        """Orders of an earlier process that may have been sent and were never answered: venue id,
        when they were made, and the other columns by name."""
        table = schema.orders
        unclear = [int(OrderState.PENDING_NEW), int(OrderState.UNKNOWN)]
        query = sa.select(table).where(
            table.c.state.in_(unclear) & (table.c.created_wall_ns >= since_wall_ns) & (table.c.filled == 0)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [(row["venue_order_id"], row["created_wall_ns"], dict(row)) for row in rows]

    async def end_orders(self, venue_order_ids: Iterable[str]) -> None:
        """Mark orders of an earlier process as ended: the venue says they are gone."""
        table = schema.orders
        ids = list(venue_order_ids)
        for start in range(0, len(ids), 200):
            chunk = ids[start : start + 200]
            self._put(
                table.update().where(table.c.venue_order_id.in_(chunk)).values(state=int(OrderState.CANCELED))
            )
        await self.flush()


def _sqlite_durable(connection: Any, _record: Any) -> None:
    """WAL, and each commit on disk before it is reported: an order must be known before it is sent."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=2000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
