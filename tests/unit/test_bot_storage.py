"""What must survive the process does."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polymarket_bot.errors import BotError, ConfigurationError
from polymarket_bot.execution.settlement import Settlement
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
from polymarket_bot.storage import market_file
from polymarket_bot.storage.database import Database, database_url

MARKET = Market(
    "0xc", "slug", "Bitcoin above 60,000?", ("111", "222"), ("Y", "N"), Price(10_000), Size(5_000_000), False,
    Fee(70_000, 1), 60_000_000_000, Direction.ABOVE, 1,
)  # fmt: skip


def order(number: int) -> Order:
    intent = Intent(
        (2 << 56) | number, "0xc", "111", Outcome.YES, Side.BUY, Price(450_000), Size(10_000_000), True, 4
    )
    return Order(intent, f"0xhash{number}", OrderState.PENDING_NEW, 1, 2)


def with_database(path: Path, work: Any) -> None:
    async def main() -> None:
        database = await Database.open(path)
        writer = asyncio.create_task(database.writer())
        try:
            await work(database)
            await database.flush()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await database.close()

    asyncio.run(main())


def test_an_order_is_on_disk_after_flush(tmp_path: Path) -> None:
    """flush returns when another process can read the hash and the client order id."""
    path = tmp_path / "bot.db"

    async def work(database: Database) -> None:
        database.save_order(order(1))
        await database.flush()
        with sqlite3.connect(path) as other:
            assert other.execute("select venue_order_id, client_order_id from orders").fetchall() == [
                ("0xhash1", str((2 << 56) | 1))
            ]
        assert list(await database.load_orders(open_only=True)) == ["0xhash1"]
        await database.end_orders(["0xhash1"])
        assert await database.load_orders(open_only=True) == {}

    with_database(path, work)


def test_fills_and_openings_come_back(tmp_path: Path) -> None:
    """A new process has the same positions, the same sequence and the same memory of failed trades."""
    path = tmp_path / "bot.db"
    book = Settlement(day=9)

    async def write(database: Database) -> None:
        for number in range(3):
            fill = Fill(
                f"t{number}", "o", "0xc", "111", Side.BUY, Price(450_000), Size(5_000_000), True, 0, 7
            )
            for status in ("MATCHED", "FAILED" if number == 1 else "CONFIRMED"):
                for change in book.apply(TradeUpdate(status, (fill,))):
                    database.save_change(change, book.status(fill.key) or FillStatus.PROVISIONAL)
        database.save_openings(9, {})
        database.save_market(MARKET)

    async def read(database: Database) -> None:
        again = Settlement(await database.load_day() or 0)
        again.load(await database.load_openings(again.day), await database.load_fills())
        assert again.position("111") == book.position("111")
        assert again.sequence == book.sequence == 3
        failed = Fill("t1", "o", "0xc", "111", Side.BUY, Price(450_000), Size(5_000_000), True, 0, 7)
        assert again.apply(TradeUpdate("MATCHED", (failed,))) == []
        assert await database.load_markets() == [MARKET]

    with_database(path, write)
    with_database(path, read)


def test_an_older_database_gets_the_days_cash(tmp_path: Path) -> None:
    """One that was made before cash was written with the day opens, keeps its days, and takes the next
    one."""
    path = tmp_path / "bot.db"

    async def day(database: Database, number: int) -> None:
        database.save_day(number, -1, 2, 3, 3, 4)

    with_database(path, lambda database: day(database, 8))
    with sqlite3.connect(path) as other:
        other.execute("drop table days_cash")
    with_database(path, lambda database: day(database, 9))
    with sqlite3.connect(path) as other:
        assert other.execute("select day from days order by day").fetchall() == [(8,), (9,)]
        assert other.execute("select day, cash_micros from days_cash").fetchall() == [(9, 4)]


def test_a_database_that_refuses_writes_is_reported_and_caught_up(tmp_path: Path) -> None:
    """While another holds the file flush fails and says so; what was queued is written afterwards."""
    path = tmp_path / "bot.db"

    async def work(database: Database) -> None:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN EXCLUSIVE")
        database.save_order(order(1))
        with pytest.raises(BotError):
            await database.flush()
        assert database.failed
        blocker.execute("ROLLBACK")
        blocker.close()
        database.save_order(order(2))
        await database.flush()
        assert database.failed == ""
        assert len(await database.load_orders(open_only=True)) == 2

    with_database(path, work)


def test_other_versions_and_urls_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another schema version and an unknown kind of database end with a sentence."""
    path = tmp_path / "bot.db"

    async def nothing(database: Database) -> None:
        return None

    with_database(path, nothing)
    with sqlite3.connect(path) as other:
        other.execute("update meta set value = '99' where name = 'schema_version'")
    with pytest.raises(ConfigurationError, match="schema version 99"):
        with_database(path, nothing)
    monkeypatch.setenv("DATABASE_URL", "mysql://x")
    with pytest.raises(ConfigurationError, match="postgresql://"):
        database_url(path)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    assert database_url(path) == "postgresql+asyncpg://u@h/d"


def test_the_table_of_markets_is_a_file_before_any_order_of_them_is_flushed(tmp_path: Path) -> None:
    """Written with mode 0600 by the flush that an order waits for; made anew from the database when it is
    lost; a market that ended long ago is left out."""
    file, end_ns = tmp_path / "markets.json", time.time_ns() + 10**12
    over = replace(MARKET, condition_id="0xd", expiry_ns=time.time_ns() - market_file.KEPT_NS - 1)

    def seen() -> list[Any]:
        return list(json.loads(file.read_text())["markets"])

    async def first() -> None:
        database = await Database.open(tmp_path / "bot.db", file)
        writer = asyncio.create_task(database.writer())
        database.save_market(replace(MARKET, expiry_ns=end_ns))
        database.save_market(over)
        database.save_order(order(1))
        await database.flush()
        assert seen() == [
            {"condition_id": "0xc", "symbols": ["Y", "N"], "tokens": ["111", "222"], "expiry_ns": end_ns}
        ]
        assert os.stat(file).st_mode & 0o777 == 0o600
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await database.close()

    async def again() -> None:
        database = await Database.open(tmp_path / "bot.db", file)
        assert len(await database.load_markets()) == 2
        await database.close()

    asyncio.run(first())
    before = seen()
    file.unlink()
    asyncio.run(again())
    assert seen() == before


def test_a_table_that_cannot_be_written_stops_no_order(tmp_path: Path) -> None:
    """Its folder is gone: that is tried again at the next write, and the database goes on."""
    missing = tmp_path / "gone" / "markets.json"

    async def work() -> None:
        database = await Database.open(tmp_path / "bot.db", missing)
        writer = asyncio.create_task(database.writer())
        database.save_market(replace(MARKET, expiry_ns=time.time_ns() + 10**12))
        await database.flush()
        assert not missing.exists()
        missing.parent.mkdir()
        database.save_order(order(1))
        await database.flush()
        assert missing.exists()
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await database.close()

    asyncio.run(work())
