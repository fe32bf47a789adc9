"""Storage on PostgreSQL: a cluster of the test's own in a temporary folder, reached over its Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from postgresql import Cluster, running_cluster

from bridge.messages import CashKind
from polymarket_bot.errors import BotError, ConfigurationError
from polymarket_bot.execution.cash import CashRow
from polymarket_bot.execution.settlement import Position, Settlement
from polymarket_bot.model import (
    Direction,
    Fee,
    Fill,
    FillStatus,
    Intent,
    Market,
    Order,
    OrderState,
    Outcome,
    Price,
    Side,
    Size,
    TradeUpdate,
)
from polymarket_bot.storage.cash import BASELINE, HALTED, CashRecords
from polymarket_bot.storage.database import Database

MARKET = Market(
    "0x" + "c" * 64, "slug", "Bitcoin above 60,000?", ("1" * 78, "2" * 78), ("Y" * 31, "N" * 31),
    Price(10_000), Size(5_000_000), False, Fee(70_000, 1), 60_000_000_000, Direction.ABOVE, 1,
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A running server, stopped and removed at the end."""
    with running_cluster() as server:
        yield server


@pytest.fixture
def empty(cluster: Cluster, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty database, named by DATABASE_URL; its name."""
    name = "test_" + str(abs(hash(request.node.name)) % 10**8)

    async def create() -> None:
        connection = await asyncpg.connect(host=cluster.socket, user="purser", database="postgres")
        try:
            await connection.execute(f"create database {name}")
        finally:
            await connection.close()

    asyncio.run(create())
    monkeypatch.setenv("DATABASE_URL", cluster.url(name))
    return name


def with_database(work: Any) -> None:
    async def main() -> None:
        database = await Database.open(Path("/nonexistent/bot.db"))
        writer = asyncio.create_task(database.writer())
        try:
            await work(database)
            await database.flush()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await database.close()

    asyncio.run(main())


def query(cluster: Cluster, database: str, text: str) -> list[Any]:
    """What another client sees."""

    async def ask() -> list[Any]:
        connection = await asyncpg.connect(host=cluster.socket, user="purser", database=database)
        try:
            return [tuple(row) for row in await connection.fetch(text)]
        finally:
            await connection.close()

    return asyncio.run(ask())


def order(number: int, state: OrderState = OrderState.PENDING_NEW) -> Order:
    intent = Intent(
        (255 << 56) | number, MARKET.condition_id, MARKET.tokens[0], Outcome.YES, Side.BUY, Price(450_000),
        Size(10_000_000), True, 4,
    )  # fmt: skip
    return Order(intent, f"0x{number:064x}", state, 1, 1_763_900_000_000_000_000 + number)


def fill(number: int) -> Fill:
    return Fill(
        f"trade-{number}", "0xo", MARKET.condition_id, MARKET.tokens[0], Side.BUY, Price(450_000),
        Size(5_000_000), True, 8_719_000, 1_763_900_010_000_000_000,
    )  # fmt: skip


def test_orders_are_committed_by_flush_and_read_back(cluster: Cluster, empty: str) -> None:
    """Another client sees the hash after flush; open, unclear, ended and pruned orders are told apart."""

    async def work(database: Database) -> None:
        database.save_order(order(1))
        database.save_order(order(2, OrderState.WORKING))
        await database.flush()
        assert set(await database.load_orders(open_only=True)) == {f"0x{n:064x}" for n in (1, 2)}
        ((venue_id, created, row),) = await database.load_unclear_orders(0)
        assert (venue_id, created) == (f"0x{1:064x}", order(1).created_wall_ns)
        assert int(row["client_order_id"]) == order(1).intent.client_order_id
        await database.end_orders([f"0x{n:064x}" for n in (1, 2)])
        assert await database.load_orders(open_only=True) == {}
        database.prune_orders(order(2).created_wall_ns)
        await database.flush()

    with_database(work)
    rows = query(cluster, empty, "select venue_order_id, state from orders")
    assert rows == [(f"0x{2:064x}", int(OrderState.CANCELED))]


def test_fills_markets_and_openings_come_back(empty: str) -> None:
    """A new process has the same positions, sequence, markets and memory of failed trades."""
    day = fill(0).matched_wall_ns // 86_400_000_000_000
    book = Settlement(day=day)
    book.load({MARKET.tokens[1]: Position(-7, -(2**40))}, [])

    async def write(database: Database) -> None:
        for number in range(3):
            for status in ("MATCHED", "FAILED" if number == 1 else "CONFIRMED"):
                for change in book.apply(TradeUpdate(status, (fill(number),))):
                    database.save_change(change, book.status(change.fill.key) or FillStatus.PROVISIONAL)
                    database.save_change(change, book.status(change.fill.key) or FillStatus.PROVISIONAL)
        database.save_openings(day, book.openings())
        database.save_market(MARKET)
        database.save_market(MARKET)
        database.save_day(day, -1, 2, 3, 3, 4)
        database.save_trades_read(1_763_900_000)

    async def read(database: Database) -> None:
        again = Settlement(await database.load_day() or 0)
        again.load(await database.load_openings(again.day), await database.load_fills())
        for token in MARKET.tokens:
            assert again.position(token) == book.position(token)
        assert again.sequence == book.sequence == 3
        assert again.apply(TradeUpdate("MATCHED", (fill(1),))) == []
        assert await database.load_markets() == [MARKET]
        assert await database.load_trades_read() == 1_763_900_000

    with_database(write)
    with_database(read)


def test_cash_rows_come_back_also_in_a_database_of_before(cluster: Cluster, empty: str) -> None:
    """A database of before this table opens as it is; a row that is written twice is there once."""
    key = "COMBO_TRADE:0x" + "a" * 64 + ":0x" + "c" * 64 + "#2"
    row = CashRow(key, 20_000, CashKind.REWARD, "COMBO_TRADE", 2**60, -(2**60), MARKET.condition_id, 2**62)

    async def nothing(database: Database) -> None:
        return None

    async def write(database: Database) -> None:
        records = CashRecords(database)
        records.save(row)
        records.save(row)
        records.note(BASELINE, -5)
        records.note(HALTED, 7)
        records.note(HALTED, None)
        await records.flush()

    async def read(database: Database) -> None:
        records = CashRecords(database)
        assert await records.load() == [row]
        assert (await records.fact(BASELINE), await records.fact(HALTED)) == (-5, None)

    with_database(nothing)
    query(cluster, empty, "drop table cash")
    with_database(write)
    with_database(read)


def test_another_schema_version_is_refused(cluster: Cluster, empty: str) -> None:
    """A database of another build is left alone."""

    async def nothing(database: Database) -> None:
        return None

    with_database(nothing)
    query(cluster, empty, "update meta set value = '99' where name = 'schema_version'")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        with_database(nothing)


def test_a_server_that_goes_away_is_reported_and_caught_up(cluster: Cluster, empty: str) -> None:
    """While the server is down flush fails and says so; what was queued is written when it is back."""

    async def work(database: Database) -> None:
        database.save_order(order(1))
        await database.flush()
        await asyncio.to_thread(cluster.stop)
        try:
            database.save_order(order(2))
            for _ in range(2):  # the first finds a broken connection, the second finds no server
                with pytest.raises(BotError):
                    await database.flush()
            assert database.failed
        finally:
            await asyncio.to_thread(cluster.start)
        for _ in range(5):
            try:
                await database.flush()
                break
            except BotError:
                continue
        assert database.failed == ""
        assert len(await database.load_orders(open_only=True)) == 2

    with_database(work)


def test_no_server_at_all_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names DATABASE_URL."""
    monkeypatch.setenv("DATABASE_URL", f"postgresql://purser@/x?host={tmp_path}")
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        asyncio.run(Database.open(tmp_path / "bot.db"))
