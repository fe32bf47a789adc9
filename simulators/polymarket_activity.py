"""The Data API's feed of what an account did: trades that are on chain, and money that moved without one.

GET /v2/activity gives rows in the order of (time, sequence), newest first unless `sort_direction` is ASC,
in pages that are followed by `pagination.next_cursor`; a cursor keeps the direction and the page size
under which it was made. Deposits and withdrawals are left out unless asked for, and tips unless named
(docs.polymarket.com, "List account activity"). The feed is not the chain: `activity_lag_ms` makes a row
appear so much later than what it tells of.
"""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from simulators.polymarket_account import CONFIRMED, MINED, Leg, Trade
from simulators.polymarket_matching import LOTS_PER_SHARE, PRICE_ONE, SIDE_NAMES
from simulators.polymarket_money import NOVELTY, TIP, TYPES, WITHDRAWAL, Movement
from simulators.polymarket_orders import Refusal
from simulators.polymarket_venue import Venue

PAGE_DEFAULT, PAGE_MAX = 100, 1000
LEGS_MAX = 1000  # of one trade; keeps the sequence of rows free of doubles
_KNOWN = {"user", "condition_id", "type", "side", "sort_direction", "start", "end",
          "exclude_deposits_withdrawals", "limit", "cursor"}  # fmt: skip
Place = tuple[int, int]


class ActivityFeed:
    """The handler."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def activity(self, request: web.Request) -> Any:
        """GET /v2/activity"""
        query = request.query
        unknown = set(query) - _KNOWN
        if unknown:
            raise Refusal(400, f"{sorted(unknown)[0]} is not modelled by this simulator")
        user = query.get("user", "")
        if not user:
            raise Refusal(400, "user is required")
        types = [name for name in query.get("type", "").split(",") if name]
        if set(types) - set(TYPES):
            raise Refusal(400, f"invalid type: {sorted(set(types) - set(TYPES))[0]}")
        ascending, after, limit = _cursor(query)
        rows = sorted(self._rows(user.lower()), key=lambda row: row[0], reverse=not ascending)
        rows = [row for row in rows if self._wanted(row[1], types, query)]
        if after is not None:
            rows = [row for row in rows if (row[0] > after if ascending else row[0] < after)]
        page = rows[:limit]
        more = len(rows) > limit
        cursor = _cursor_text(ascending, page[-1][0], limit) if more else None
        return {"data": [row for _, row in page],
                "pagination": {"limit": limit, "has_more": more, "next_cursor": cursor}}  # fmt: skip

    def _wanted(self, row: dict[str, Any], types: list[str], query: MultiMapping[str]) -> bool:
        hidden = query.get("exclude_deposits_withdrawals", "true").lower() != "false"
        if row["type"] in ("DEPOSIT", WITHDRAWAL) and hidden:
            return False
        if row["type"] not in types if types else row["type"] == TIP:
            return False
        if "side" in query and row.get("side") != query["side"]:
            return False
        if "condition_id" in query and row.get("condition_id") not in query["condition_id"].split(","):
            return False
        start, end = _seconds(query, "start"), _seconds(query, "end")
        return start <= row["timestamp"] and (not end or row["timestamp"] <= end)

    def _rows(self, user: str) -> list[tuple[Place, dict[str, Any]]]:
        """Every row of a wallet that the feed has caught up with, with its place in the order."""
        seen_ms = self._venue.clock.now_ms() - self._venue.faults.value("activity_lag_ms")
        rows = [
            ((movement.time_ms // 1000, 2 * LEGS_MAX * movement.number), self._movement_row(movement))
            for movement in self._venue.accounts.movements
            if movement.wallet.lower() == user and movement.time_ms <= seen_ms
        ]
        for trade in self._venue.trades.values():
            if trade.status not in (MINED, CONFIRMED) or trade.mined_ms > seen_ms:
                continue
            for index, leg in enumerate(trade.legs()):
                if leg.wallet.lower() == user:
                    place = (trade.mined_ms // 1000, 2 * (LEGS_MAX * trade.number + index) + 1)
                    rows.append((place, _trade_row(trade, leg)))
        return rows

    def _movement_row(self, movement: Movement) -> dict[str, Any]:
        row: dict[str, Any] = {
            "type": movement.kind, "proxy_wallet": movement.wallet, "timestamp": movement.time_ms // 1000,
            "transaction_hash": movement.hash, "usdc_size": abs(movement.amount) / 1e6,
            "size": movement.lots / LOTS_PER_SHARE,
        }  # fmt: skip
        if movement.kind in (TIP, NOVELTY):
            row |= {"side": "OUT" if movement.amount < 0 else "IN", "size": row["usdc_size"]}
        if movement.condition:
            market = self._venue.markets[movement.condition]
            row |= {"condition_id": market.condition_id, "title": market.question, "slug": market.slug,
                    "token_id": "", "outcome": "", "outcome_index": 999}  # fmt: skip
        return row


def _trade_row(trade: Trade, leg: Leg) -> dict[str, Any]:
    market = trade.market
    return {
        "type": "TRADE", "is_combo": False, "proxy_wallet": leg.wallet, "timestamp": trade.mined_ms // 1000,
        "transaction_hash": trade.hash, "condition_id": market.condition_id, "side": SIDE_NAMES[leg.side],
        "token_id": market.tokens[leg.outcome], "size": leg.lots / LOTS_PER_SHARE,
        "usdc_size": leg.lots * leg.price / 1e6, "price": leg.price / PRICE_ONE, "title": market.question,
        "slug": market.slug, "outcome": market.outcomes[leg.outcome], "outcome_index": leg.outcome,
    }  # fmt: skip


def _cursor(query: MultiMapping[str]) -> tuple[bool, Place | None, int]:
    """Direction, the place after which the page begins, and its size: of the cursor where there is one."""
    try:
        if "cursor" in query:
            way, second, number, limit = base64.b64decode(query["cursor"], validate=True).decode().split(":")
            return way == "ASC", (int(second), int(number)), int(limit)
        limit_text = query.get("limit", str(PAGE_DEFAULT))
    except ValueError as error:
        raise Refusal(400, "invalid cursor") from error
    if not limit_text.isdecimal() or not 1 <= int(limit_text) <= PAGE_MAX:
        raise Refusal(400, f"limit must be between 1 and {PAGE_MAX}")
    direction = query.get("sort_direction", "DESC")
    if direction not in ("ASC", "DESC"):
        raise Refusal(400, "invalid sort_direction")
    return direction == "ASC", None, int(limit_text)


def _cursor_text(ascending: bool, place: Place, limit: int) -> str:
    way = "ASC" if ascending else "DESC"
    return base64.b64encode(f"{way}:{place[0]}:{place[1]}:{limit}".encode()).decode()


def _seconds(query: MultiMapping[str], name: str) -> int:
    text = query.get(name, "0")
    if not text.isdecimal():
        raise Refusal(400, f"{name} is not a time in seconds")
    return int(text)
