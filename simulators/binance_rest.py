"""REST of Binance USD-M futures: one table of routes, one path for every request.

Not in the table: 404 for what the venue does not have either, code -9999 for what it has and this
simulator does not model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from simulators.admin import RequestLog
from simulators.binance_account import Key
from simulators.binance_exchange import Exchange
from simulators.binance_params import Params, whole
from simulators.binance_requests import (
    RateLimits,
    check_clock,
    check_signature,
    key_of,
    rest_params,
    split_signature,
)
from simulators.binance_rules import VenueError, exchange_info, not_modelled
from simulators.binance_views import DEPTH_LIMITS, Views
from simulators.clock import Clock
from simulators.faults import Faults

NONE, KEY, SIGNED = "none", "key", "signed"
UNKNOWN_TEXT = "Unknown error, please check your request or try again later."


@dataclass(frozen=True, slots=True)
class Route:
    """How one call is guarded, what it weighs and who answers it."""

    security: str
    weight: Callable[[Params], int]
    answer: Callable[[dict[str, str]], Any]
    orders: bool = False
    batch: bool = False


class RestApi:
    """Serves /fapi/*."""

    def __init__(
        self,
        exchange: Exchange,
        views: Views,
        limits: RateLimits,
        clock: Clock,
        faults: Faults,
        log: RequestLog,
    ) -> None:
        self._exchange = exchange
        self._views = views
        self._limits = limits
        self._clock = clock
        self._faults = faults
        self._log = log
        self._routes = self._table()

    def add(self, name: str, weight: Callable[[Params], int], answer: Callable[[Params], Any]) -> None:
        """One more public call, such as "GET /fapi/v1/…"."""
        self._routes[name] = Route(NONE, weight, answer)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One request, from literal bytes to the venue's answer."""
        path, _, query = request.raw_path.partition("?")
        body = (await request.read()).decode("utf-8", "replace")
        name = f"{request.method} {path}"
        route = self._routes.get(name)
        status, document, params = 200, {}, {}
        try:
            if route is None:
                raise self._unknown(request.method, path)
            params = rest_params(query, body)
            document = await self._answer(route, request.headers, params, query, body)
        except VenueError as error:
            status, document = error.status, error.body()
        except ConnectionAbortedError:
            self._note(request.method, path, 0, params, "answer lost")
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        self._note(request.method, path, status, params, document.get("msg") if status != 200 else None)
        headers = self._limits.headers(bool(route and route.orders))
        return web.Response(body=msgspec.json.encode(document), status=status,
                            content_type="application/json", headers=headers)  # fmt: skip

    async def _answer(
        self, route: Route, headers: Mapping[str, str], params: dict[str, str], query: str, body: str
    ) -> Any:
        self._limits.charge(route.weight(params))
        key: Key | None = None
        if route.security != NONE:
            key = key_of(self._exchange.account.keys, headers.get("X-MBX-APIKEY"))
        if key is not None and route.security == SIGNED:
            prehash, signature = split_signature(query, body)
            check_signature(key, prehash, signature)
            check_clock(params, self._clock)
        if route.orders:
            refuse_by_fault(self._faults)
            self._limits.charge_orders()
        elif route.batch:
            self._limits.charge_orders(5, 1)
        document = route.answer(params)
        if route.orders:
            await answer_by_fault(self._faults, self._exchange)
        return document

    def _note(self, method: str, path: str, status: int, params: Params, error: str | None) -> None:
        shown = {name: value for name, value in params.items() if name != "signature"}
        self._log.add("rest", method, path, status, params=shown, error=error)

    def _unknown(self, method: str, path: str) -> VenueError:
        if path.startswith(("/fapi/", "/futures/", "/sapi/")):
            return not_modelled(f"{method} {path}")
        return VenueError(-1000, status=404, text="Not found")

    def _table(self) -> dict[str, Route]:
        exchange, views = self._exchange, self._views

        def one(_: Params) -> int:
            return 1

        def free(_: Params) -> int:
            return 0

        def five(_: Params) -> int:
            return 5

        def ten(_: Params) -> int:
            return 10

        def twenty(_: Params) -> int:
            return 20

        def thirty(_: Params) -> int:
            return 30

        def per_symbol(single: int, every: int) -> Callable[[Params], int]:
            return lambda params: single if "symbol" in params else every

        def depth_weight(params: Params) -> int:
            return DEPTH_LIMITS.get(whole(params, "limit", 500), 10)

        listen_key = "/fapi/v1/listenKey"
        table = {
            "GET /fapi/v1/ping": Route(NONE, one, lambda _: {}),
            "GET /fapi/v1/time": Route(NONE, one, lambda _: {"serverTime": self._clock.now_ms()}),
            "GET /fapi/v1/exchangeInfo": Route(
                NONE,
                one,
                lambda _: exchange_info(exchange.profile, exchange.instrument, self._clock.now_ms()),
            ),
            "GET /fapi/v1/depth": Route(NONE, depth_weight, views.depth),
            "GET /fapi/v1/ticker/bookTicker": Route(NONE, per_symbol(2, 5), views.book_ticker),
            "GET /fapi/v1/premiumIndex": Route(NONE, per_symbol(1, 10), views.premium_index),
            f"POST {listen_key}": Route(KEY, one, lambda _: {"listenKey": exchange.start_listen_key()}),
            f"PUT {listen_key}": Route(KEY, one, lambda _: {"listenKey": exchange.keep_listen_key()}),
            f"DELETE {listen_key}": Route(KEY, one, lambda _: exchange.close_listen_key()),
            "POST /fapi/v1/order": Route(SIGNED, free, exchange.place, orders=True),
            "PUT /fapi/v1/order": Route(SIGNED, free, exchange.modify, orders=True),
            "POST /fapi/v1/order/test": Route(SIGNED, free, lambda params: exchange.place(params, test=True)),
            "GET /fapi/v1/order": Route(SIGNED, one, exchange.query),
            "DELETE /fapi/v1/order": Route(SIGNED, one, exchange.cancel),
            "POST /fapi/v1/batchOrders": Route(SIGNED, five, exchange.place_batch, batch=True),
            "DELETE /fapi/v1/batchOrders": Route(SIGNED, one, exchange.cancel_batch),
            "DELETE /fapi/v1/allOpenOrders": Route(SIGNED, one, exchange.cancel_all),
            "GET /fapi/v1/openOrder": Route(SIGNED, one, exchange.open_order),
            "GET /fapi/v1/openOrders": Route(SIGNED, per_symbol(1, 40), exchange.open_orders),
            "GET /fapi/v1/openAlgoOrders": Route(SIGNED, per_symbol(1, 40), lambda _: []),
            "GET /fapi/v1/allOrders": Route(SIGNED, five, exchange.all_orders),
            "GET /fapi/v1/userTrades": Route(SIGNED, five, exchange.user_trades),
            "GET /fapi/v1/income": Route(SIGNED, thirty, views.income),
            "POST /fapi/v1/countdownCancelAll": Route(SIGNED, ten, exchange.countdown),
            "GET /fapi/v1/symbolConfig": Route(SIGNED, five, views.symbol_config),
            "GET /fapi/v1/accountConfig": Route(SIGNED, five, lambda _: views.account_config()),
            "GET /fapi/v1/commissionRate": Route(SIGNED, twenty, views.commission_rate),
            "GET /fapi/v1/leverageBracket": Route(SIGNED, one, views.leverage_bracket),
            "GET /fapi/v1/rateLimit/order": Route(SIGNED, one, lambda _: views.order_rate_limits()),
            "GET /fapi/v1/positionSide/dual": Route(SIGNED, five, lambda _: {"dualSidePosition": False}),
            "POST /fapi/v1/positionSide/dual": Route(SIGNED, one, views.set_position_mode),
            "GET /fapi/v1/multiAssetsMargin": Route(SIGNED, five, lambda _: {"multiAssetsMargin": False}),
            "POST /fapi/v1/leverage": Route(SIGNED, one, views.set_leverage),
            "POST /fapi/v1/marginType": Route(SIGNED, one, views.set_margin_type),
        }
        for version in (2, 3):
            base = f"GET /fapi/v{version}"
            table[f"{base}/positionRisk"] = Route(SIGNED, five, partial(views.position_risk, version))
            table[f"{base}/account"] = Route(SIGNED, five, partial(views.account, version))
            table[f"{base}/balance"] = Route(SIGNED, five, views.balance)
        return table


def refuse_by_fault(faults: Faults) -> None:
    """Faults that refuse an order before it reaches the book."""
    if faults.take("reject_503"):
        raise VenueError(-1000, status=503, text="Service Unavailable.")
    if faults.take("overload_1008"):
        raise VenueError(-1008)
    if faults.take("matching_clock_5028"):
        raise VenueError(-5028)


async def answer_by_fault(faults: Faults, exchange: Exchange) -> None:
    """Faults that spoil the answer to an order that the book has already taken."""
    delay = faults.value("event_before_response") or faults.value("delay_response_ms")
    if delay:
        await asyncio.sleep(delay / 1000)
    if faults.take("unknown_503"):
        raise VenueError(-1000, status=503, text=UNKNOWN_TEXT)
    if faults.take("unknown_1007"):
        raise VenueError(-1007)
    if faults.take("response_lost"):
        raise ConnectionAbortedError
