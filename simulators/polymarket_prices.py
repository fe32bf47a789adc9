"""What outcome tokens were worth in the past: the CLOB's /prices-history and the Data API's.

    GET /prices-history?market=TOKEN&startTs=&endTs=&fidelity=MINUTES      {"history": [{"t", "p"}, …]}
    GET /v2/prices-history?token_id=TOKEN&as_of=T | &start=&end=&bucket_seconds=
        {"data": [{"timestamp", "price", "resolution_seconds"}, …], "pagination": {…}}

Times are seconds. The middle of the book is noted for every open market; `as_of` gives the last price known
at that second, with resolution 0 (docs.polymarket.com, "Prices history"; the client's own parameter checks).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from simulators.candles import MINUTE_MS, Candle, Candles
from simulators.polymarket_matching import PRICE_ONE, YES
from simulators.polymarket_orders import Refusal
from simulators.polymarket_venue import Venue

WINDOW_MAX_S = 15 * 86_400
POINTS_MAX = 10_000
_DATA_KNOWN = {"token_id", "start", "end", "as_of", "bucket_seconds", "limit"}


class PriceHistory:
    """Notes prices and answers for them."""

    def __init__(self, venue: Venue, candles: Candles) -> None:
        self._venue, self._candles = venue, candles

    def note(self) -> None:
        """The middle of every open market at this instant."""
        now_ms = self._venue.clock.now_ms()
        for market in self._venue.markets.values():
            if not market.closed:
                self._candles.note(market.condition_id, now_ms, market.mid())

    async def clob(self, request: web.Request) -> Any:
        """GET /prices-history"""
        query = request.query
        token = query.get("market", "")
        fidelity = _number(query.get("fidelity", "1"))
        if "interval" in query or "startTs" not in query:
            raise Refusal(501, "only windows of startTs and endTs are modelled by this simulator")
        start = _number(query["startTs"])
        end = _number(query.get("endTs", str(self._venue.clock.now_ms() // 1000)))
        if end < start or end - start > WINDOW_MAX_S:
            raise Refusal(400, "invalid filters: 'startTs' and 'endTs' interval is too long")
        points = self._points(token, start, end, max(1, fidelity) * 60)
        return {"history": [{"t": time, "p": price} for time, price in points]}

    async def data(self, request: web.Request) -> Any:
        """GET /v2/prices-history"""
        query = request.query
        unknown = set(query) - _DATA_KNOWN
        if unknown:
            raise Refusal(501, f"{sorted(unknown)[0]} is not modelled by this simulator")
        token, limit = query.get("token_id", ""), _number(query.get("limit", str(POINTS_MAX)))
        if ("as_of" in query) == ("start" in query):
            raise Refusal(400, "exactly one of interval, start, or as_of is required")
        if "as_of" in query:
            rows = self._as_of(token, _number(query["as_of"]))
        else:
            start = _number(query["start"])
            end = _number(query.get("end", str(self._venue.clock.now_ms() // 1000)))
            if end < start or end - start > WINDOW_MAX_S:
                raise Refusal(400, "the window must not end before its start or exceed 15 days")
            bucket = _number(query.get("bucket_seconds", "60"))
            rows = [
                {"timestamp": time, "price": price, "resolution_seconds": bucket}
                for time, price in self._points(token, start, end - 1, bucket)
            ]
        if len(rows) > limit:
            raise Refusal(501, "further pages are not modelled by this simulator: ask for a shorter window")
        return {"data": rows, "pagination": {"limit": limit, "has_more": False, "next_cursor": None}}

    def _as_of(self, token: str, at_s: int) -> list[dict[str, Any]]:
        found = self._venue.by_token.get(token)
        known = self._candles.price_at(found[0].condition_id, at_s * 1000) if found else None
        if found is None or known is None:
            return []
        price = known[1] if found[1] == YES else PRICE_ONE - known[1]
        return [{"timestamp": known[0] // 1000, "price": price / PRICE_ONE, "resolution_seconds": 0}]

    def _points(self, token: str, start_s: int, end_s: int, step_s: int) -> list[tuple[int, float]]:
        found = self._venue.by_token.get(token)
        if found is None:
            return []
        market, outcome = found
        buckets: dict[int, Candle] = {}
        for candle in self._candles.between(market.condition_id, start_s * 1000, end_s * 1000):
            buckets.setdefault(candle.minute * MINUTE_MS // 1000 // step_s, candle)
        return [
            (candle.minute * MINUTE_MS // 1000,
             (candle.open if outcome == YES else PRICE_ONE - candle.open) / PRICE_ONE)
            for candle in buckets.values()
        ]  # fmt: skip


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Refusal(400, f"{text!r} is not a whole number")
    return int(text)
