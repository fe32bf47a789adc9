"""The CLOB's public reads: books, prices and what a market allows.

They need no key. A token whose market is closed has no book any more and answers 404.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from simulators.polymarket_data import DataApi
from simulators.polymarket_gamma import Gamma
from simulators.polymarket_markets import FEE_RATE_E4, Market
from simulators.polymarket_matching import PRICE_ONE, price_for, price_text
from simulators.polymarket_orders import Refusal
from simulators.polymarket_venue import Venue
from simulators.polymarket_wire import best_of, book_view, clob_market, sampling_market

BOOKS_MAX = 500
PAGE_ROWS = 100
CURSOR_END = "LTE="
Handler = Callable[[web.Request], Awaitable[Any]]


class PublicReads:
    """Handlers of everything that anybody may ask."""

    def __init__(self, venue: Venue) -> None:
        self._venue, self._clock = venue, venue.clock

    def routes(self, gamma: Gamma) -> dict[str, Handler]:
        """Path and handler of every GET, Gamma's included."""
        return {
            "/": self._ok, "/ok": self._ok, "/time": self._time, "/version": self._version,
            "/book": self._book, "/midpoint": self._midpoint, "/price": self._price, "/spread": self._spread,
            "/last-trade-price": self._last_price, "/tick-size": self._tick_size, "/neg-risk": self._neg_risk,
            "/fee-rate": self._fee_rate, "/markets-by-token/{token}": self._market_by_token,
            "/clob-markets/{condition}": self._clob_market, "/sampling-markets": self._sampling,
            "/markets/keyset": gamma.markets_keyset, "/events/keyset": gamma.events_keyset,
            "/markets/slug/{slug}": gamma.market_by_slug, "/events/slug/{slug}": gamma.event_by_slug,
            "/markets": self._markets_or(gamma), "/events": gamma.events, "/public-search": gamma.search,
            "/markets/{condition}": self._market, "/deployed": self._deployed,
            "/v2/positions": DataApi(self._venue).positions,
        }  # fmt: skip

    def batch_routes(self) -> dict[str, Handler]:
        """Path and handler of every POST that only reads."""
        return {
            "/books": self._books, "/midpoints": self._many(self._midpoint_of), "/prices": self._prices,
            "/spreads": self._many(self._spread_of), "/last-trades-prices": self._last_prices,
        }  # fmt: skip

    async def _ok(self, _: web.Request) -> Any:
        return "OK"

    async def _deployed(self, _: web.Request) -> Any:
        """The relayer's question whether a wallet exists on chain; here every wallet does."""
        return {"deployed": True}

    async def _time(self, _: web.Request) -> Any:
        return self._clock.now_ms() // 1000

    async def _version(self, _: web.Request) -> Any:
        return {"version": 2}

    def _token(self, token: object) -> tuple[Market, int]:
        found = self._venue.by_token.get(str(token))
        if found is None or found[0].closed:
            raise Refusal(404, "No orderbook exists for the requested token id")
        return found

    def _best(self, token: object) -> tuple[int | None, int | None]:
        market, outcome = self._token(token)
        return best_of(outcome, (market.book.best_bid(), market.book.best_ask()))

    async def _book(self, request: web.Request) -> Any:
        return book_view(*self._token(request.query.get("token_id")), self._clock.now_ms())

    async def _books(self, request: web.Request) -> Any:
        rows = await _rows(request, BOOKS_MAX)
        found = [self._venue.by_token.get(row["token_id"]) for row in rows]
        return [book_view(*known, self._clock.now_ms()) for known in found if known and not known[0].closed]

    def _midpoint_of(self, token: object) -> str:
        bid, ask = self._best(token)
        if bid is None or ask is None:
            raise Refusal(404, "No orderbook exists for the requested token id")
        return price_text((bid + ask) // 2)

    def _spread_of(self, token: object) -> str:
        bid, ask = self._best(token)
        if bid is None or ask is None:
            raise Refusal(404, "No orderbook exists for the requested token id")
        return price_text(ask - bid)

    def _many(self, one: Callable[[object], str]) -> Handler:
        async def handler(request: web.Request) -> Any:
            return {row["token_id"]: one(row["token_id"]) for row in await _rows(request, BOOKS_MAX)}

        return handler

    async def _midpoint(self, request: web.Request) -> Any:
        return {"mid": self._midpoint_of(request.query.get("token_id"))}

    async def _spread(self, request: web.Request) -> Any:
        return {"spread": self._spread_of(request.query.get("token_id"))}

    def _price_of(self, token: object, side: object) -> str:
        """BUY gives the price at which one can buy, the best ask."""
        bid, ask = self._best(token)
        if side not in ("BUY", "SELL"):
            raise Refusal(400, "Invalid side")
        price = ask if side == "BUY" else bid
        return "0" if price is None else price_text(price)

    async def _price(self, request: web.Request) -> Any:
        return {"price": self._price_of(request.query.get("token_id"), request.query.get("side"))}

    async def _prices(self, request: web.Request) -> Any:
        prices: dict[str, dict[str, str]] = {}
        for row in await _rows(request, BOOKS_MAX):
            prices.setdefault(row["token_id"], {})[row["side"]] = self._price_of(row["token_id"], row["side"])
        return prices

    def _last_of(self, token: object) -> dict[str, str]:
        market, outcome = self._token(token)
        if market.last_price is None:
            return {"price": "0.5", "side": ""}
        return {"price": price_text(price_for(outcome, market.last_price)), "side": market.last_side}

    async def _last_price(self, request: web.Request) -> Any:
        return self._last_of(request.query.get("token_id"))

    async def _last_prices(self, request: web.Request) -> Any:
        tokens = [row["token_id"] for row in await _rows(request, BOOKS_MAX)]
        return [{"token_id": token, **self._last_of(token)} for token in tokens]

    async def _tick_size(self, request: web.Request) -> Any:
        return {"minimum_tick_size": self._token(request.query.get("token_id"))[0].tick / PRICE_ONE}

    async def _neg_risk(self, request: web.Request) -> Any:
        return {"neg_risk": self._token(request.query.get("token_id"))[0].neg_risk}

    async def _fee_rate(self, request: web.Request) -> Any:
        self._token(request.query.get("token_id"))
        return {"base_fee": FEE_RATE_E4}

    async def _market_by_token(self, request: web.Request) -> Any:
        market, _ = self._token(request.match_info["token"])
        return {"condition_id": market.condition_id, "primary_token_id": market.tokens[0],
                "secondary_token_id": market.tokens[1]}  # fmt: skip

    def _condition(self, request: web.Request) -> Market:
        market = self._venue.markets.get(request.match_info["condition"])
        if market is None:
            raise Refusal(404, "market not found")
        return market

    async def _clob_market(self, request: web.Request) -> Any:
        return clob_market(self._condition(request))

    async def _market(self, request: web.Request) -> Any:
        return sampling_market(self._condition(request))

    async def _sampling(self, request: web.Request) -> Any:
        rows = [sampling_market(market) for market in self._venue.markets.values() if not market.closed]
        return cursor_page(rows, request.query.get("next_cursor", ""))

    def _markets_or(self, gamma: Gamma) -> Handler:
        """CLOB and Gamma both have /markets; on one port the CLOB's cursor tells them apart."""

        async def handler(request: web.Request) -> Any:
            if "next_cursor" not in request.query:
                return await gamma.markets(request)
            rows = [sampling_market(market) for market in self._venue.markets.values()]
            return cursor_page(rows, request.query["next_cursor"])

        return handler


async def _rows(request: web.Request, limit: int) -> list[dict[str, Any]]:
    """The body of a batch read: a list of objects with a token_id."""
    rows = msgspec.json.decode(await request.read())
    if not isinstance(rows, list) or len(rows) > limit:
        raise Refusal(400, "Invalid payload")
    if not all(isinstance(row, dict) and isinstance(row.get("token_id"), str) for row in rows):
        raise Refusal(400, "Invalid payload")
    return rows


def cursor_page(rows: list[dict[str, Any]], cursor: str) -> dict[str, Any]:
    """A page of the CLOB: the cursor is the base64 of an offset, MA== the first, LTE= the end."""
    try:
        start = int(base64.b64decode(cursor)) if cursor else 0
    except ValueError as error:
        raise Refusal(400, "Invalid cursor") from error
    page = rows[start : start + PAGE_ROWS] if start >= 0 else []
    more = 0 <= start < len(rows) - PAGE_ROWS
    following = base64.b64encode(str(start + PAGE_ROWS).encode()).decode() if more else CURSOR_END
    return {"limit": PAGE_ROWS, "count": len(page), "next_cursor": following, "data": page}
