"""What must outlive the process about cash: the rows, the baseline, how far the activity was read, and the
difference for which trading was halted."""

from __future__ import annotations

import sqlalchemy as sa

from bridge.messages import CashKind
from polymarket_bot.execution.cash import CashRow
from polymarket_bot.storage import schema
from polymarket_bot.storage.database import Database

BASELINE, BASELINE_S = "cash_baseline_micros", "cash_baseline_s"
SINCE_S, READ_S = "cash_since_s", "cash_read_s"
HALTED = "cash_halted_micros"


class CashRecords:
    """The cash table and its facts, in the database's one queue: what was asked first is on disk first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, row: CashRow) -> None:
        values = {
            "key": row.key,
            "day": row.day,
            "kind": int(row.kind),
            "type": row.type,
            "amount_micros": row.amount_micros,
            "result_micros": row.result_micros,
            "condition_id": row.condition_id,
            "wall_ns": row.wall_ns,
        }
        self._database.save_row(schema.cash, values)

    async def load(self) -> list[CashRow]:
        rows = await self._database.load_rows(sa.select(schema.cash).order_by(schema.cash.c.wall_ns))
        return [
            CashRow(
                row.key,
                row.day,
                CashKind(row.kind),
                row.type,
                row.amount_micros,
                row.result_micros,
                row.condition_id,
                row.wall_ns,
            )
            for row in rows
        ]

    def note(self, name: str, value: int | None) -> None:
        """One of the facts above; None forgets it."""
        self._database.save_meta(name, "" if value is None else str(value))

    async def fact(self, name: str) -> int | None:
        value = await self._database.load_meta(name)
        return int(value) if value else None

    async def flush(self) -> None:
        await self._database.flush()
