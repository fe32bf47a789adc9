"""The WebSocket API of Binance USD-M futures: order entry and account queries over one socket.

Source: Binance USD-M futures docs, "WebSocket API General Info": requests `{id, method, params}`,
answers `{id, status, result | error, rateLimits}`; session.logon takes Ed25519 keys only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from simulators.admin import RequestLog
from simulators.binance_account import Key
from simulators.binance_exchange import Exchange
from simulators.binance_params import whole, ws_text
from simulators.binance_requests import (
    RateLimits,
    check_clock,
    check_signature,
    key_of,
    ws_prehash,
)
from simulators.binance_rest import UNKNOWN_TEXT, refuse_by_fault
from simulators.binance_rules import VenueError, not_modelled
from simulators.binance_streams import Socket
from simulators.binance_views import DEPTH_LIMITS, Views
from simulators.clock import Clock
from simulators.faults import Faults

HANDSHAKE_WEIGHT = 5
MESSAGES_PER_SECOND = 1000
NONE, KEY, SIGNED = "none", "key", "signed"
LATE_MS = 1000
_ORDERS = frozenset(("order.place", "order.modify"))
_CANCEL = "order.cancel"
_ENVELOPE = frozenset(("apiKey", "signature", "returnRateLimits"))


class ApiConnection:
    """One socket: who is logged on, and since when."""

    def __init__(self, socket: Socket, show_limits: bool, now: int) -> None:
        self.socket = socket
        self.show_limits = show_limits
        self.connected = now
        self.key: Key | None = None
        self.authorized = 0


class WsApi:
    """Serves /ws-fapi/v1."""

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
        self._connections: set[ApiConnection] = set()
        self._late: set[asyncio.TimerHandle] = set()
        self._methods = self._table()
        self.flush_events: Callable[[], None] = lambda: None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection from handshake to end."""
        try:
            self._limits.charge(HANDSHAKE_WEIGHT)
        except VenueError as error:
            return web.json_response(error.body(), status=error.status)
        socket = Socket(request, MESSAGES_PER_SECOND)
        await socket.open()
        show_limits = request.query.get("returnRateLimits", "true").lower() != "false"
        connection = ApiConnection(socket, show_limits, self._clock.now_ms())
        self._connections.add(connection)
        self._log.add("ws_api", "CONNECT", request.path_qs, 101)
        try:
            await socket.messages(lambda message: self._request(connection, message))
        finally:
            self._connections.discard(connection)
        return socket.ws

    def cut(self) -> None:
        """Drop all connections."""
        for connection in list(self._connections):
            connection.socket.cut()

    def _request(self, connection: ApiConnection, message: bytes) -> None:
        try:
            request = msgspec.json.decode(message)
        except msgspec.DecodeError:
            connection.socket.send(_error(None, VenueError(-1013, text="Invalid JSON request.")))
            return
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            connection.socket.send(_error(None, VenueError(-1102, "method")))
            return
        method = request["method"]
        if (method in _ORDERS or method == _CANCEL) and self._faults.take("request_lost"):
            self._log.add("ws_api", method, "", 0, error="request lost")
        elif method in _ORDERS and self._faults.take("late_order"):
            late_s = (self._faults.value("late_ms") or LATE_MS) / 1000
            asyncio.get_running_loop().call_later(late_s, self._perform, connection, request)
            if self._faults.value("late_cut"):
                connection.socket.cut()
        else:
            self._perform(connection, request)

    def _perform(self, connection: ApiConnection, request: dict[str, Any]) -> None:
        request_id, method = request.get("id"), request["method"]
        params: dict[str, str] = {}
        answer: dict[str, Any] = {}
        orders = method in _ORDERS
        try:
            params = ws_text(request.get("params") or {})
            answer = {"id": request_id, "status": 200, "result": self._answer(connection, method, params)}
        except VenueError as error:
            answer = _error(request_id, error)
        except ConnectionAbortedError:
            self._note(method, 0, params, "answer lost")
            connection.socket.cut()
            return
        self._note(method, answer["status"], params, answer.get("error", {}).get("msg"))
        if params.get("returnRateLimits", str(connection.show_limits)).lower() != "false":
            answer["rateLimits"] = self._limits.ws_view(orders)
        if method == _CANCEL and self._faults.take("cancel_withheld"):
            return
        self._send(connection, answer, orders)

    def _send(self, connection: ApiConnection, answer: dict[str, Any], orders: bool) -> None:
        early = self._faults.value("event_before_response") if orders else 0
        delay = early or (self._faults.value("delay_response_ms") if orders else 0)
        if early:
            self.flush_events()
        if orders and self._faults.take("response_withheld"):
            return
        if orders and self._faults.take("malformed_response"):
            connection.socket.write(b'\x81\x10{"id":1,"status"')
        elif delay:
            asyncio.get_running_loop().call_later(delay / 1000, connection.socket.send, answer)
        else:
            connection.socket.send(answer)

    def _answer(self, connection: ApiConnection, method: str, params: dict[str, str]) -> Any:
        known = self._methods.get(method)
        if known is None:
            raise not_modelled(f"the method {method!r}")
        security, weight, answer = known
        if method == "depth":
            weight = DEPTH_LIMITS.get(whole(params, "limit", 500), 10)
        self._limits.charge(weight)
        if security != NONE:
            self._authorize(connection, security, params)
        if method.startswith("session."):
            return self._session(connection, method)
        inner = {name: value for name, value in params.items() if name not in _ENVELOPE}
        if method not in _ORDERS:
            return answer(inner)
        refuse_by_fault(self._faults)
        self._limits.charge_orders()
        result = answer(inner)
        if self._faults.take("unknown_503"):
            raise VenueError(-1000, status=503, text=UNKNOWN_TEXT)
        if self._faults.take("unknown_1007"):
            raise VenueError(-1007)
        if self._faults.take("response_lost"):
            raise ConnectionAbortedError
        return result

    def _authorize(self, connection: ApiConnection, security: str, params: dict[str, str]) -> None:
        if "apiKey" not in params and connection.key is not None:
            if security == SIGNED:
                check_clock(params, self._clock)
            return
        key = key_of(self._exchange.account.keys, params.get("apiKey"))
        if security == KEY:
            return
        if security == "logon" and not key.public_hex:
            raise VenueError(-4056, text="HMAC_SHA256 API key is not supported.")
        check_signature(key, ws_prehash(params), params.get("signature", ""))
        check_clock(params, self._clock)
        if security == "logon":
            connection.key, connection.authorized = key, self._clock.now_ms()

    def _session(self, connection: ApiConnection, method: str) -> dict[str, Any]:
        if method == "session.logout":
            connection.key, connection.authorized = None, 0
        return {
            "apiKey": connection.key.api_key if connection.key else None,
            "authorizedSince": connection.authorized or None, "connectedSince": connection.connected,
            "returnRateLimits": connection.show_limits, "serverTime": self._clock.now_ms(),
        }  # fmt: skip

    def _note(self, method: str, status: int, params: dict[str, str], error: str | None) -> None:
        shown = {name: value for name, value in params.items() if name != "signature"}
        self._log.add("ws_api", method, "", status, params=shown, error=error)

    def _table(self) -> dict[str, tuple[str, int, Callable[[dict[str, str]], Any]]]:
        exchange, views = self._exchange, self._views
        table: dict[str, tuple[str, int, Callable[[dict[str, str]], Any]]] = {
            "order.place": (SIGNED, 0, exchange.place),
            "order.modify": (SIGNED, 0, exchange.modify),
            _CANCEL: (SIGNED, 1, exchange.cancel),
            "order.status": (SIGNED, 1, exchange.query),
            "account.position": (SIGNED, 5, partial(views.position_risk, 2)),
            "v2/account.position": (SIGNED, 5, partial(views.position_risk, 3)),
            "account.balance": (SIGNED, 5, views.balance),
            "v2/account.balance": (SIGNED, 5, views.balance),
            "account.status": (SIGNED, 5, partial(views.account, 2)),
            "v2/account.status": (SIGNED, 5, partial(views.account, 3)),
            "userDataStream.start": (KEY, 5, lambda _: {"listenKey": exchange.start_listen_key()}),
            "userDataStream.ping": (KEY, 1, lambda _: {"listenKey": exchange.keep_listen_key()}),
            "userDataStream.stop": (KEY, 1, lambda _: exchange.close_listen_key()),
            "session.logon": ("logon", 2, lambda _: {}),
            "session.status": (NONE, 2, lambda _: {}),
            "session.logout": (NONE, 2, lambda _: {}),
            "depth": (NONE, 10, views.depth),
            "ticker.book": (NONE, 2, views.book_ticker),
            "ticker.price": (NONE, 1, views.price),
        }
        return table


def _error(request_id: Any, error: VenueError) -> dict[str, Any]:
    return {"id": request_id, "status": error.status, "error": error.body()}
