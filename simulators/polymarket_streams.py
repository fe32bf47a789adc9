"""The market and user channels.

Frames are flat JSON objects or arrays of them; PING is answered with PONG, both plain text. There are
no sequence numbers (docs.polymarket.com, "WebSocket"). A reader that lets more than QUEUE_MAX frames
pile up is disconnected.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from simulators.admin import RequestLog
from simulators.clock import Clock
from simulators.faults import Faults
from simulators.polymarket_account import Accounts, Trade
from simulators.polymarket_markets import Market
from simulators.polymarket_matching import NO, YES
from simulators.polymarket_orders import ClientOrder
from simulators.polymarket_wire import (
    best_event,
    book_view,
    change_event,
    new_market_event,
    order_event,
    print_event,
    resolved_event,
    tick_event,
    trade_event,
)

QUEUE_MAX = 5_000
_CUT = object()


def _text(document: Any) -> str:
    return msgspec.json.encode(document).decode()


class Connection:
    """One socket with its queue and what it subscribed to."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.request, self.socket = request, socket
        self.assets: set[str] = set()
        self.flagged = False
        self.key = ""
        self.markets: set[str] = set()
        self._queue: asyncio.Queue[object] = asyncio.Queue(QUEUE_MAX)

    def send(self, text: object) -> None:
        """Queue a frame; a full queue ends the connection."""
        try:
            self._queue.put_nowait(text)
        except asyncio.QueueFull:
            transport = self.request.transport
            if transport is not None:
                transport.abort()

    def cut(self) -> None:
        """End the connection in the middle of a frame."""
        self.send(_CUT)

    async def write(self) -> None:
        """Send the queue until the connection ends."""
        while True:
            text = await self._queue.get()
            if text is _CUT:
                transport = self.request.transport
                if transport is not None:
                    # A text frame that announces 4096 bytes and carries 8 of them.
                    transport.write(b"\x81\x7e\x10\x00" + b'[{"event')
                    transport.close()
                return
            await self.socket.send_str(str(text))


class Streams:
    """Both channels, and the publisher of the venue."""

    def __init__(self, clock: Clock, faults: Faults, log: RequestLog) -> None:
        self._clock, self._faults, self._log = clock, faults, log
        self._market: set[Connection] = set()
        self._user: set[Connection] = set()
        self._by_token: dict[str, tuple[Market, int]] = {}
        self._accounts = Accounts()
        self._held: list[tuple[str, str, str]] = []

    def attach(self, accounts: Accounts, by_token: dict[str, tuple[Market, int]]) -> None:
        """Give the streams the venue's keys and tokens."""
        self._accounts, self._by_token = accounts, by_token

    # -- connections ----------------------------------------------------------------------------

    async def market_socket(self, request: web.Request) -> web.WebSocketResponse:
        """/ws/market"""
        return await self._serve(request, self._market, self._market_frame)

    async def user_socket(self, request: web.Request) -> web.WebSocketResponse:
        """/ws/user"""
        return await self._serve(request, self._user, self._user_frame)

    async def _serve(
        self, request: web.Request, group: set[Connection], handle: Callable[[Connection, str], bool]
    ) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=1 << 20, compress=False)
        await socket.prepare(request)
        connection = Connection(request, socket)
        self._log.add("stream", "CONNECT", request.path, 101)
        writer = asyncio.create_task(connection.write())
        group.add(connection)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    continue
                if message.data == "PING":
                    connection.send("PONG")
                elif not handle(connection, message.data):
                    break
        finally:
            group.discard(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
            self._log.add("stream", "CLOSE", request.path, 0)
        return socket

    def _market_frame(self, connection: Connection, data: str) -> bool:
        frame = _decode(data)
        assets = frame.get("assets_ids") if frame else None
        if frame is None or not isinstance(assets, list):
            connection.send("INVALID OPERATION")
            return True
        self._log.add("stream", "SUBSCRIBE", "/ws/market", 0, frame=frame)
        known = [asset for asset in assets if asset in self._by_token]
        if frame.get("operation") == "unsubscribe":
            connection.assets.difference_update(known)
            return True
        connection.flagged = bool(frame.get("custom_feature_enabled", connection.flagged))
        connection.assets.update(known)
        if frame.get("initial_dump", True) and not self._faults.take("no_book_on_subscribe"):
            now_ms = self._clock.now_ms()
            books = [_book_event(*self._by_token[asset], now_ms) for asset in known]
            connection.send(_text(books))
        return True

    def _user_frame(self, connection: Connection, data: str) -> bool:
        frame = _decode(data)
        if frame is None:
            connection.send("INVALID OPERATION")
            return True
        if connection.key:
            markets = frame.get("markets") or []
            change = connection.markets.difference_update if frame.get("operation") == "unsubscribe" else \
                connection.markets.update  # fmt: skip
            change(markets)
            return True
        auth = frame.get("auth") or {}
        key = self._accounts.keys.get(auth.get("apiKey", "")) if isinstance(auth, dict) else None
        given = (auth.get("secret"), auth.get("passphrase")) if isinstance(auth, dict) else None
        right = key is not None and given == (key.secret, key.passphrase)
        self._log.add("stream", "SUBSCRIBE", "/ws/user", 0 if right else 401)
        if key is None or not right:
            # The venue closes a user socket whose credentials are wrong.
            return False
        connection.key = key.key
        connection.markets.update(frame.get("markets") or [])
        return True

    # -- what the venue tells -------------------------------------------------------------------

    def order_event(self, order: ClientOrder, kind: str) -> None:
        """Tell the owner of an order."""
        event = order_event(order, kind, self._clock.now_ms())
        self._to_user(order.book.owner, order.market, event)

    def trade_event(self, trade: Trade) -> None:
        """Tell every key with a leg in a trade, each from its own side."""
        now_ms = self._clock.now_ms()
        for owner in dict.fromkeys(leg.owner for leg in trade.legs()):
            event = trade_event(trade, owner, now_ms)
            if self._faults.take("missing_leg_side"):
                for leg in event["maker_orders"]:
                    leg.pop("side")
            if self._faults.value("seconds_timestamps"):
                event["timestamp"] = str(now_ms // 1000)
            self._to_user(owner, trade.market, event)
            if self._faults.take("duplicate_trade_event"):
                self._to_user(owner, trade.market, event)

    def _to_user(self, owner: str, market: Market, event: dict[str, Any]) -> None:
        if self._faults.take("drop_user_event"):
            return
        if event["event_type"] == "trade" and self._faults.take("hold_trade_event"):
            self._held.append((owner, market.condition_id, _text(event)))
            return
        self._deliver(owner, market.condition_id, _text(event))
        held, self._held = self._held, []
        for late in held:
            self._deliver(*late)

    def _deliver(self, owner: str, condition: str, text: str) -> None:
        if self._faults.value("silent_user_socket"):
            return
        for connection in self._user:
            if connection.key == owner and (not connection.markets or condition in connection.markets):
                connection.send(text)

    def trade_print(self, trade: Trade) -> None:
        """Print a trade to the readers of its asset."""
        token = trade.market.tokens[trade.taker.outcome]
        self._to_market(trade.market, print_event(trade, self._clock.now_ms()), only=token)

    def book_changed(self, market: Market, traded: bool) -> None:
        """Send the changed levels; after a trade also both books."""
        levels = market.book.changed_levels()
        now_ms = self._clock.now_ms()
        readers = [connection for connection in self._market if connection.assets.intersection(market.tokens)]
        if not readers or self._faults.value("silent_socket"):
            return
        if levels and not self._faults.take("drop_price_change"):
            self._to_market(market, change_event(market, levels, now_ms))
        for outcome in (YES, NO):
            token = market.tokens[outcome]
            if traded and not market.closed:
                self._to_market(market, _book_event(market, outcome, now_ms), only=token)
            best = best_event(market, outcome, now_ms)
            if best is not None:
                self._to_market(market, best, only=token, flagged=True)

    def tick_changed(self, market: Market, old: int) -> None:
        """Announce the new grid for both outcomes."""
        now_ms = self._clock.now_ms()
        for outcome in (YES, NO):
            event = tick_event(market, outcome, old, now_ms)
            self._to_market(market, event, only=market.tokens[outcome])

    def listed(self, market: Market) -> None:
        """Announce a market to everybody with the custom features."""
        self._to_all(new_market_event(market, self._clock.now_ms()))

    def resolved(self, market: Market) -> None:
        """Announce a winner to everybody with the custom features."""
        self._to_all(resolved_event(market, market.winner or 0, self._clock.now_ms()))

    def _to_all(self, event: dict[str, Any]) -> None:
        for connection in self._market:
            if connection.flagged:
                connection.send(_text(event))

    def _to_market(
        self, market: Market, event: dict[str, Any], only: str = "", flagged: bool = False
    ) -> None:
        if self._faults.value("silent_socket"):
            return
        text = ""
        for connection in list(self._market):
            if flagged and not connection.flagged:
                continue
            if not (only in connection.assets if only else connection.assets.intersection(market.tokens)):
                continue
            text = text or _text([event] if self._faults.value("array_frames") else event)
            if self._faults.take("malformed_frame"):
                connection.send(text[: len(text) // 2])
            else:
                connection.send(text)

    def faults_changed(self) -> None:
        """Act on the switches that are actions."""
        if self._faults.take("close_mid_frame"):
            for connection in (*self._market, *self._user):
                connection.cut()

    async def close(self) -> None:
        """End every connection."""
        for connection in (*self._market, *self._user):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(connection.socket.close(code=1001), 0.2)


def _decode(data: str) -> dict[str, Any] | None:
    try:
        frame = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return None
    return frame if isinstance(frame, dict) else None


def _book_event(market: Market, outcome: int, now_ms: int) -> dict[str, Any]:
    return {"event_type": "book", **book_view(market, outcome, now_ms)}
