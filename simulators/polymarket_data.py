"""The Data API as far as a client uses it to learn what a wallet holds: GET /v2/positions.

Source: package polymarket-client 0.14.0, `_internal/actions/data.py` (path, parameters, pages of at most
1,000 rows, the `data` and `pagination` envelope) and `models/data/portfolio.py` (the fields of a row).
This API reads the chain and lags behind the matching engine: a trade shows only once it is mined, and one
whose settlement failed never does. Filters that are not modelled are refused, so that no client believes
that it filtered.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from typing import Any

from aiohttp import web

from simulators.polymarket_account import CONFIRMED, FAILED, MINED, Position
from simulators.polymarket_markets import Market
from simulators.polymarket_matching import BUY, LOTS_PER_SHARE, PRICE_ONE
from simulators.polymarket_orders import Refusal
from simulators.polymarket_venue import Venue, mid_price

PAGE_MAX, PAGE_DEFAULT = 1000, 100
STATUSES = ("OPEN", "REDEEMABLE", "CLOSED")
_PARAMETERS = {"user", "status", "limit", "cursor", "condition_id"}
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")


class DataApi:
    """The handlers. They need no key: what a wallet holds is public."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def positions(self, request: web.Request) -> Any:
        """GET /v2/positions?user=0x…"""
        query = request.query
        if unknown := sorted(set(query) - _PARAMETERS):
            raise Refusal(400, f"parameter {unknown[0]} is not modelled by this simulator")
        if not _ADDRESS.match(query.get("user", "")):
            raise Refusal(400, "Provide user")
        if query.get("status", "OPEN") not in STATUSES:
            raise Refusal(400, "Invalid status")
        conditions = query["condition_id"].split(",") if "condition_id" in query else None
        rows = [row for row in self.held_by(query["user"]) if row["status"] == query.get("status", "OPEN")]
        if conditions is not None:
            rows = [row for row in rows if row["condition_id"] in conditions]
        return _page(rows, query.get("limit", str(PAGE_DEFAULT)), query.get("cursor", ""))

    def held_by(self, user: str) -> list[dict[str, Any]]:
        """A row for each outcome token that the wallet has on the chain."""
        accounts = self._venue.accounts
        wallet = next((name for name in accounts.wallets if name.lower() == user.lower()), None)
        if wallet is None:
            return []
        held = Counter(accounts.wallets[wallet].tokens)
        for trade in {trade for fills in accounts.fills.values() for trade, _ in fills}:
            for leg in trade.legs():
                if leg.wallet == wallet and trade.moved and trade.status not in (MINED, CONFIRMED, FAILED):
                    # Not on the chain yet: there the tokens are still where they were.
                    held[trade.market.tokens[leg.outcome]] -= leg.lots if leg.side == BUY else -leg.lots
        return [
            self._row(wallet, token, lots, *self._venue.by_token[token])
            for token, lots in held.items()
            if lots > 0 and token in self._venue.by_token
        ]

    def _row(self, wallet: str, token: str, lots: int, market: Market, outcome: int) -> dict[str, Any]:
        accounts = self._venue.accounts
        books = [entry for (_, held), entry in accounts.positions.items() if held == token]
        book = books[0] if len(books) == 1 else Position()
        price = mid_price(market, outcome)
        value, cost = lots * price, book.cost
        ended = market.winner is not None
        return {
            "proxy_wallet": wallet, "token_id": token, "condition_id": market.condition_id,
            "current_size": lots / LOTS_PER_SHARE, "total_size": lots / LOTS_PER_SHARE,
            "avg_price": cost / lots / PRICE_ONE, "current_price": price / PRICE_ONE,
            "entry_cost_usdc": cost / 1e6, "entry_fees_usdc": book.fees_e8 / 1e8,
            "total_cost_usdc": cost / 1e6, "current_value": value / 1e6,
            "realized_pnl": book.realized / 1e6, "unrealized_pnl": (value - cost) / 1e6,
            "total_pnl": (book.realized + value - cost) / 1e6,
            "percent_pnl": 100 * (value - cost) / cost if cost else 0, "percent_realized_pnl": 0,
            "status": "REDEEMABLE" if ended else "OPEN", "redeemable": ended, "mergeable": False,
            "negative_risk": market.neg_risk, "archived": False, "verified": True,
            "title": market.question, "slug": market.slug, "outcome": market.outcomes[outcome],
            "opposite_outcome": market.outcomes[1 - outcome], "outcome_index": outcome,
            "opposite_token_id": market.tokens[1 - outcome],
        }  # fmt: skip


def _page(rows: list[dict[str, Any]], limit: str, cursor: str) -> dict[str, Any]:
    """A page; the cursor is opaque to clients, here the base64 of an offset."""
    try:
        size, start = int(limit), int(base64.urlsafe_b64decode(cursor)) if cursor else 0
    except ValueError as error:
        raise Refusal(400, "Invalid cursor") from error
    if not 1 <= size <= PAGE_MAX or start < 0:
        raise Refusal(400, f"limit must be between 1 and {PAGE_MAX}")
    more = start + size < len(rows)
    following = base64.urlsafe_b64encode(str(start + size).encode()).decode() if more else None
    return {
        "data": rows[start : start + size],
        "pagination": {"has_more": more, "next_cursor": following},
    }
