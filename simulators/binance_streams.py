"""WebSocket streams: routes, subscriptions, framing, and the user stream.

Frames are encoded here, once per message and framing, and written straight to every subscriber's
transport: a market of a hundred messages a second must stay cheap. Source: Binance USD-M futures docs,
"Websocket Market Streams" and "User Data Streams" (routes since 2026-04-23).
"""

from __future__ import annotations

import asyncio
import collections
import struct
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from simulators.admin import RequestLog
from simulators.binance_rules import Profile
from simulators.clock import Clock
from simulators.faults import Faults

PUBLIC, MARKET, PRIVATE = "public", "market", "private"
PING_EVERY_S = 180.0
PONG_WITHIN_S = 600.0
LIFETIME_S = 24 * 3600.0
MESSAGES_PER_SECOND = 10
STREAMS_MAX = 1024
BACKLOG_BYTES_MAX = 16 << 20
_ROUTES = {
    PUBLIC: ("depth", "depth@100ms", "depth@0ms", "depth@250ms", "depth@500ms",
             "depth5", "depth10", "depth20", "depth5@100ms", "depth10@100ms", "depth20@100ms",
             "bookTicker", "trade"),
    MARKET: ("aggTrade", "markPrice", "markPrice@1s"),
}  # fmt: skip
_UNMODELLED = ("kline", "continuousKline", "ticker", "miniTicker", "forceOrder", "rpiDepth", "compositeIndex",
               "assetIndex", "tradingSession")  # fmt: skip
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_encode = msgspec.json.encode


def text_frame(payload: bytes, opcode: int = 1, final: bool = True) -> bytes:
    """One unmasked server frame of RFC 6455."""
    head = opcode | (0x80 if final else 0)
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


def fragmented_frame(payload: bytes) -> bytes:
    """The same message in three frames."""
    third = max(1, len(payload) // 3)
    parts = payload[:third], payload[third : 2 * third], payload[2 * third :]
    return text_frame(parts[0], 1, False) + text_frame(parts[1], 0, False) + text_frame(parts[2], 0)


class Socket:
    """One accepted WebSocket: synchronous writes, pings, life time, limit of incoming messages."""

    def __init__(self, request: web.Request, limit_per_second: int = MESSAGES_PER_SECOND) -> None:
        self._request = request
        self._limit = limit_per_second
        self.ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=1 << 20)
        self._received: collections.deque[float] = collections.deque()
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        """Answer the handshake."""
        await self.ws.prepare(self._request)
        self._transport = self._request.transport

    def write(self, frame: bytes) -> None:
        """Send encoded frames; a client that does not read is cut off."""
        transport = self._transport
        if transport is None or transport.is_closing() or self.ws.closed:
            return
        transport.write(frame)
        if transport.get_write_buffer_size() > BACKLOG_BYTES_MAX:
            transport.abort()

    def send(self, document: Any) -> None:
        """Send one JSON document."""
        self.write(text_frame(_encode(document)))

    def cut(self) -> None:
        """Drop the connection without a closing handshake."""
        if self._transport is not None:
            self._transport.close()

    async def messages(self, handle: Callable[[bytes], None]) -> None:
        """Feed every text message to `handle` until the connection ends."""
        loop = asyncio.get_running_loop()
        pinger = asyncio.create_task(self._keep_alive(loop))
        try:
            async for message in self.ws:
                self._last_heard = loop.time()
                if message.type == WSMsgType.PING:
                    await self.ws.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    if self._too_fast(loop.time()):
                        await self.ws.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                        break
                    handle(message.data.encode())
                elif message.type == WSMsgType.BINARY:
                    await self.ws.close(code=WSCloseCode.UNSUPPORTED_DATA)
                    break
        finally:
            pinger.cancel()

    def _too_fast(self, now: float) -> bool:
        self._received.append(now)
        while self._received and self._received[0] <= now - 1.0:
            self._received.popleft()
        return len(self._received) > self._limit

    async def _keep_alive(self, loop: asyncio.AbstractEventLoop) -> None:
        opened = self._last_heard = loop.time()
        while not self.ws.closed:
            await asyncio.sleep(PING_EVERY_S)
            now = loop.time()
            if now - self._last_heard > PONG_WITHIN_S or now - opened > LIFETIME_S:
                await self.ws.close(code=WSCloseCode.GOING_AWAY)
                return
            await self.ws.ping(str(int(now * 1000)).encode())


class StreamConnection:
    """One stream socket: its route, framing and subscriptions."""

    def __init__(self, socket: Socket, route: str, combined: bool) -> None:
        self.socket = socket
        self.route = route
        self.combined = combined
        self.streams: dict[str, None] = {}
        self.events: frozenset[str] = frozenset()


class StreamHub:
    """All stream connections of the venue."""

    def __init__(self, symbol: str, profile: Profile, faults: Faults, clock: Clock, log: RequestLog) -> None:
        self._symbol = symbol.lower()
        self._profile = profile
        self._faults = faults
        self._clock = clock
        self._log = log
        self._connections: set[StreamConnection] = set()
        self._subscribers: dict[str, list[StreamConnection]] = {}
        self._user_queue: list[dict[str, Any]] = []
        self._held: dict[str, Any] | None = None  # an event that waits for the next one to pass it
        self.listen_key: Callable[[], str] = str

    def wanted(self, stream: str) -> bool:
        """Whether anybody listens to this stream."""
        return stream in self._subscribers

    def connections(self) -> int:
        """How many stream sockets are open."""
        return len(self._connections)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, to its end. Paths: /[route/]ws[/a/b] and /[route/]stream[?streams=a/b]."""
        parts = [part for part in request.path.split("/") if part]
        route = parts.pop(0) if parts and parts[0] in (PUBLIC, MARKET, PRIVATE) else ""
        form, names = parts[0], [name for name in parts[1:] if name != "0"]
        names += [name for text in request.query.getall("streams", []) for name in text.split("/") if name]
        names += request.query.getall("listenKey", [])
        unknown = [name for name in names if self._unmodelled(name)]
        if unknown:
            return web.json_response(
                {"code": -9999, "msg": f"the simulator does not model {unknown}"}, status=501
            )
        socket = Socket(request)
        await socket.open()
        connection = StreamConnection(socket, route, combined=form == "stream")
        connection.events = frozenset(
            name for text in request.query.getall("events", []) for name in text.split("/") if name
        )
        self._log.add("stream", "CONNECT", request.path_qs, 101)
        self._connections.add(connection)
        for name in names:
            self._subscribe(connection, name)
        try:
            await socket.messages(lambda message: self._command(connection, message))
        finally:
            self._connections.discard(connection)
            for name in list(connection.streams):
                self._unsubscribe(connection, name)
        return socket.ws

    # --- publishing ----------------------------------------------------------------------------------

    def publish(self, stream: str, data: bytes) -> None:
        """Send one message to everybody who subscribed to `stream`."""
        connections = self._subscribers.get(stream)
        if not connections or self._faults.value("silent_stream"):
            return
        if self._faults.take("malformed_frame"):
            data = data[: len(data) // 2] + b'"}'
        raw = combined = b""
        cut = self._faults.take("close_mid_frame")
        for connection in list(connections):
            if connection.combined:
                combined = combined or self._frame(b'{"stream":"%s","data":%s}' % (stream.encode(), data))
                frame = combined
            else:
                raw = raw or self._frame(data)
                frame = raw
            if cut:
                connection.socket.write(frame[: len(frame) // 2])
                connection.socket.cut()
            else:
                connection.socket.write(frame)

    def user_event(self, event: dict[str, Any]) -> None:
        """Queue one user event; the queue leaves after the answer that is being written now."""
        if not self._user_queue:
            asyncio.get_running_loop().call_soon(self.flush_user_events)
        self._user_queue.append(event)

    def flush_user_events(self) -> None:
        """Send the queued user events in order."""
        queue, self._user_queue = self._user_queue, []
        for event in queue:
            held, self._held = self._held, None
            if held is None and self._faults.take("swap_user_events"):
                self._held = event
                continue
            self._deliver(event)
            if held is not None:
                self._deliver(held)

    def _deliver(self, event: dict[str, Any]) -> None:
        key, kind = self.listen_key() or event.get("listenKey", ""), event["e"]
        connections = self._subscribers.get(key)
        if not connections or self._faults.value("silent_user_stream"):
            return
        execution = kind == "ORDER_TRADE_UPDATE" and event["o"]["x"] == "TRADE"
        if kind == "ORDER_TRADE_UPDATE" and self._faults.take("drop_execution"):
            return
        if execution and self._faults.take("trade_lite_only"):
            return
        data = _encode(event)
        if self._faults.take("malformed_user_frame"):
            data = data[: len(data) // 2]
        times = 2 if execution and self._faults.take("duplicate_execution") else 1
        cut = self._faults.take("close_user_mid_frame")
        for connection in list(connections):
            if connection.events and kind not in connection.events:
                continue
            payload = data
            if connection.combined:
                payload = b'{"stream":"%s","data":%s}' % (key.encode(), data)
            frame = self._frame(payload) * times
            if cut:
                connection.socket.write(frame[: len(frame) // 2])
                connection.socket.cut()
            else:
                connection.socket.write(frame)

    def forget_key(self, key: str) -> None:
        """The listenKey died: its sockets stay open and silent."""
        self.flush_user_events()
        for connection in self._subscribers.pop(key, []):
            connection.streams.pop(key, None)

    def cut(self, route: str) -> None:
        """Drop all connections of a route."""
        for connection in list(self._connections):
            private = any(self._route_of(name) == PRIVATE for name in connection.streams)
            if (route == PRIVATE) == private:
                connection.socket.cut()

    def announce_shutdown(self) -> None:
        """Send the notice that asks clients to reconnect."""
        for connection in self._connections:
            connection.socket.send({"event": {"e": "serverShutdown", "E": self._clock.now_ms()}})

    def _frame(self, payload: bytes) -> bytes:
        return fragmented_frame(payload) if self._faults.value("fragmented_frames") else text_frame(payload)

    # --- subscriptions -------------------------------------------------------------------------------

    def _command(self, connection: StreamConnection, message: bytes) -> None:
        try:
            command = msgspec.json.decode(message)
            method, request_id = command["method"], command.get("id")
            params = command.get("params", [])
            known = method in _METHODS and isinstance(params, list)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            connection.socket.send({"error": {"code": 3, "msg": "Invalid JSON: expected value"}})
            return
        self._log.add("stream", str(method), str(params), 200, id=request_id)
        answer: dict[str, Any] = {"result": None, "id": request_id}
        if not known:
            text = f"Invalid request: unknown variant {method}, or its params are no list"
            answer = {"error": {"code": 2, "msg": text}, "id": request_id}
        elif method == "SUBSCRIBE":
            unknown = [name for name in params if self._unmodelled(name)]
            if unknown:
                text = f"the simulator does not model {unknown}"
                answer = {"error": {"code": -9999, "msg": text}, "id": request_id}
            elif len(connection.streams) + len(params) > STREAMS_MAX:
                answer = {"error": {"code": 2, "msg": "Invalid request: too many streams"}, "id": request_id}
            else:
                for name in params:
                    self._subscribe(connection, name)
        elif method == "UNSUBSCRIBE":
            for name in params:
                self._unsubscribe(connection, name)
        elif method == "LIST_SUBSCRIPTIONS":
            answer["result"] = list(connection.streams)
        elif method == "SET_PROPERTY" and len(params) == 2 and params[0] == "combined":
            connection.combined = bool(params[1])
        elif method == "GET_PROPERTY" and params == ["combined"]:
            answer["result"] = connection.combined
        else:
            answer = {
                "error": {"code": 2, "msg": f"Invalid request: {params} for {method}"},
                "id": request_id,
            }
        connection.socket.send(answer)

    def _subscribe(self, connection: StreamConnection, name: str) -> None:
        """A stream on the wrong route is acknowledged and stays silent, as at the venue."""
        if name in connection.streams:
            return
        connection.streams[name] = None
        route = self._route_of(name)
        if route == PRIVATE and name != self.listen_key():
            return
        allowed = connection.route or (PUBLIC if self._profile.unrouted_public_only else route)
        if route is not None and route == allowed:
            self._subscribers.setdefault(name, []).append(connection)

    def _unsubscribe(self, connection: StreamConnection, name: str) -> None:
        connection.streams.pop(name, None)
        connections = self._subscribers.get(name, [])
        if connection in connections:
            connections.remove(connection)
            if not connections:
                del self._subscribers[name]

    def _route_of(self, name: str) -> str | None:
        """The route that carries a stream; None for a symbol or a stream that does not exist."""
        if name == "!bookTicker":
            return PUBLIC
        symbol, at, kind = name.partition("@")
        if not at:
            return PRIVATE
        if symbol == self._symbol:
            for route, kinds in _ROUTES.items():
                if kind in kinds:
                    return route
        return None

    def _unmodelled(self, name: object) -> bool:
        if not isinstance(name, str):
            return True
        symbol, _, kind = name.partition("@")
        kind = kind if not name.startswith("!") else symbol[1:]
        return kind.split("_")[0].split("@")[0] in _UNMODELLED or name in ("!contractInfo", "!markPrice@arr")
