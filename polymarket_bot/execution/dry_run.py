"""A venue that sends nothing: orders are computed, judged and logged, and then rest nowhere.

Public reads (markets, books) still go to the real venue, so that the prices are real. An order is
"accepted" until it is cancelled and never fills.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import structlog

from bridge.ledger import Roll
from bridge.messages import HaltReason, LedgerState, RejectReason, RollPhase
from bridge.wall_clock import day_of, wall_ns
from polymarket_bot.api.decimals import format_scaled
from polymarket_bot.api.errors_table import SubmitResult, Verdict
from polymarket_bot.api.polymarket import CancelResult, MarketChoice, Polymarket, Prepared, Snapshot
from polymarket_bot.model import Intent, Market, OrderUpdate, Price, TradeUpdate, UnseenOrder
from polymarket_bot.risk.manager import LOSS, NOTIONAL, Used

log = structlog.get_logger("dry_run")


class DryRunExchange:
    """Public reads of a real venue, and no orders."""

    def __init__(self, venue: Polymarket) -> None:
        self._venue = venue
        self._open: dict[str, Intent] = {}

    async def discover(self, choice: MarketChoice, now_wall_ns: int) -> list[Market]:
        return await self._venue.discover(choice, now_wall_ns)

    async def winner(self, market: Market) -> int | None:
        return await self._venue.winner(market)

    async def market(self, condition_id: str) -> Market | None:
        return await self._venue.market(condition_id)

    async def books(self, tokens: Sequence[str]) -> list[Snapshot]:
        return await self._venue.books(tokens)

    async def prepare(self, intent: Intent, market: Market) -> Prepared:
        digest = hashlib.sha256(f"{intent.client_order_id}:{intent.token}".encode()).hexdigest()
        return Prepared(intent, f"dry-run-{digest[:48]}", None)

    async def submit(self, orders: Sequence[Prepared]) -> list[SubmitResult]:
        for order in orders:
            intent = order.intent
            self._open[order.order_id] = intent
            log.info(
                "order_computed",
                token=intent.token[-8:],
                outcome=intent.outcome.name,
                side=intent.side.name,
                price=format_scaled(intent.price),
                size=format_scaled(intent.size),
            )
        return [SubmitResult(Verdict.ACCEPTED, order_id=order.order_id) for order in orders]

    async def cancel(self, order_ids: Sequence[str]) -> CancelResult:
        known = frozenset(order_id for order_id in order_ids if self._open.pop(order_id, None) is not None)
        return CancelResult(known, {o: "not found" for o in order_ids if o not in known})

    async def cancel_all(self) -> CancelResult:
        return await self.cancel(list(self._open))

    async def open_orders(self) -> list[OrderUpdate]:
        return [
            OrderUpdate(
                order_id, i.condition_id, i.token, i.side, i.price, i.size, type(i.size)(0), True, "LIVE"
            )
            for order_id, i in self._open.items()
        ]

    async def resolved_s(self, market: Market) -> int | None:
        return await self._venue.resolved_s(market)

    async def price_at(self, token: str, wall_s: int) -> Price | None:
        return await self._venue.price_at(token, wall_s)

    async def trades(self, after_s: int) -> list[TradeUpdate]:
        return []

    async def balance(self, token: str | None) -> int:
        return 0

    async def refresh_balance(self, token: str | None) -> None:
        return None

    async def heartbeat(self, heartbeat_id: str) -> str:
        return "dry-run"

    async def close(self) -> None:
        await self._venue.close()


class DryRunBudget:
    """Counts against the configured limit by itself: a dry run shares no ledger, because it sends
    nothing that could use it."""

    def __init__(self, limit: Used) -> None:
        self._limit = limit
        self._sequence = 0

    def next_client_order_id(self) -> int:
        self._sequence += 1
        return (2 << 56) | self._sequence

    def state(self) -> LedgerState:
        return LedgerState.ACTIVE

    def lease_fresh(self, now_ns: int) -> bool:
        return True

    def reserve(
        self, intent: Intent, reducing: bool, used: Used, now_ns: int, order_id: str = ""
    ) -> tuple[RejectReason, int]:
        fits = used[LOSS] <= self._limit[LOSS] and used[NOTIONAL] <= self._limit[NOTIONAL]
        return (RejectReason.NONE, 0) if reducing or fits else (RejectReason.BUDGET, -1)

    def gate(self, slot: int, used_before: Used, now_ns: int) -> RejectReason:
        return RejectReason.NONE

    def find(self, client_order_id: int) -> int:
        return -1

    def live(self, slot: int) -> None:
        return None

    def unknown(self, slot: int) -> None:
        return None

    def filled(self, slot: int, filled: int, used: Used, positions: Used, now_ns: int) -> None:
        return None

    def release(self, slot: int, used: Used, positions: Used, now_ns: int) -> None:
        return None

    def reprice(self, used: Used, positions: Used, now_ns: int) -> bool:
        return used[LOSS] <= self._limit[LOSS] and used[NOTIONAL] <= self._limit[NOTIONAL]

    def rebuild(self, used: Used, positions: Used, keep: Sequence[int], now_ns: int) -> bool:
        return True

    def beat(self, halted: bool, now_ns: int) -> None:
        return None

    def roll(self) -> Roll:
        """Nobody leads a dry run: its day is the wall's."""
        return Roll(day_of(wall_ns()), 0, RollPhase.NONE, 0, 0, 0)

    def roll_ack(self, roll: Roll, day: int) -> None:
        return None

    def halt(self, reason: HaltReason) -> None:
        log.error("halt_wanted", reason=reason.name)

    def slot_ids(self) -> set[str]:
        return set()

    def unseen(self) -> list[UnseenOrder]:
        return []
