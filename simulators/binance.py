"""Binance USD-M futures on loopback: REST, routed streams and the WebSocket API on one port.

One symbol, BTCUSDT; one account with two keys (HMAC and Ed25519); one-way mode, cross margin. Depth
streams of every speed carry the same events (each 100 ms in the synthetic market, as recorded in a
replay). A recorded capture keeps its prices, quantities and update ids; E and T become the present
time, keeping E - T, so that a client's age checks see a live feed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from simulators.admin import RefereeError, RequestLog, admin_application
from simulators.binance_account import Account, account_keys
from simulators.binance_cash import CASH_VERBS, Cash
from simulators.binance_exchange import Exchange
from simulators.binance_klines import Klines, klines_weight
from simulators.binance_requests import RateLimits
from simulators.binance_rest import RestApi
from simulators.binance_rules import PROFILES as RULES
from simulators.binance_rules import Instrument, Profile, VenueError
from simulators.binance_streams import PRIVATE, PUBLIC, StreamHub
from simulators.binance_views import Views
from simulators.binance_ws_api import WsApi
from simulators.candles import Candles
from simulators.clock import Clock
from simulators.faults import Faults
from simulators.market import Market, SyntheticMarket
from simulators.market_recorded import RecordedMarket
from simulators.matching import BUY, SELL, Book, Resting
from simulators.options import Options
from simulators.server import announce, listen, stop_event
from simulators.state import StateError, StateFolder
from simulators.tls import certificates_in, server_context

PROFILES = tuple(RULES)
SYMBOL = "BTCUSDT"
START_PRICE_TICKS = 600_000
TIMER_S = 0.01
FAULTS = {
    "ban_418": "count: requests answered with an IP ban (418); lasts ban_seconds",
    "ban_seconds": "value: length of that ban in seconds, at least 1",
    "big_frames": "count: depth events padded with 2,400 far empty levels (about 50 KB)",
    "cancel_withheld": "count: WS API cancels that are done and never answered",
    "clock_offset_ms": "value: the venue's clock is this much ahead (negative: behind)",
    "close_mid_frame": "count: market frames of which half is sent before the sockets close",
    "close_streams": "action: all market stream sockets close",
    "close_user_mid_frame": "count: user frames of which half is sent before the sockets close",
    "close_user_stream": "action: all user stream sockets close",
    "close_ws_api": "action: all WS API sockets close",
    "delay_response_ms": "value: answers to orders come this much later",
    "drop_account_update": "count: ACCOUNT_UPDATE events that no fill caused and that are lost",
    "drop_depth": "count: depth events that are lost (a gap in pu)",
    "drop_execution": "count: ORDER_TRADE_UPDATE events that are lost",
    "duplicate_account_update": "count: ACCOUNT_UPDATE events that no fill caused and that are sent twice",
    "duplicate_depth": "count: depth events that are sent twice",
    "duplicate_execution": "count: TRADE executions that are sent twice",
    "event_before_response": "value: answers to orders come this many ms after their events",
    "fill_before_cancel": "count: cancels that arrive just after their order was filled",
    "foreign_symbol": "count: depth events preceded by one of another symbol with st 2 and a non-ASCII name",
    "fragmented_frames": "switch: every stream message arrives in three fragments",
    "fresh_2013": "count: order queries answered with -2013",
    "income_late_ms": "value: rows of the income history are seen this much later",
    "late_account_update_ms": "value: ACCOUNT_UPDATE events that no fill caused come this much later",
    "late_cut": "switch: the connection of a late order is cut at once",
    "late_ms": "value: how late those of late_order arrive, 1000 when 0",
    "late_order": "count: WS API orders that arrive late_ms later, even when their connection is gone",
    "listenkey_expired": "action: the listenKey expires, its sockets stay open",
    "malformed_frame": "count: market frames with broken JSON",
    "malformed_response": "count: WS API answers to orders with broken JSON",
    "malformed_user_frame": "count: user frames with broken JSON",
    "matching_clock_5028": "count: orders refused with -5028",
    "overload_1008": "count: orders refused with -1008",
    "part_fill_before_cancel": "count: cancels that arrive just after half of their order was filled",
    "rate_limit_429": "count: requests refused with 429",
    "reject_503": "count: orders refused with 503 Service Unavailable",
    "request_lost": "count: WS API orders and cancels that never arrive and are never answered",
    "response_lost": "count: orders that are accepted, then the connection closes without an answer",
    "response_withheld": "count: WS API orders that are accepted and never answered",
    "server_shutdown": "action: serverShutdown is announced on all streams",
    "silent_stream": "switch: market streams stay open and silent",
    "silent_user_stream": "switch: user streams stay open and silent",
    "swap_user_events": "count: user events that come after the one that follows them",
    "trade_lite_only": "count: executions of which only TRADE_LITE and ACCOUNT_UPDATE are sent",
    "unknown_1007": "count: orders that are accepted and answered with -1007",
    "unknown_503": "count: orders that are accepted and answered with 503 Unknown error",
}


class Venue:
    """The parts of the simulator, wired; it is what the market calls and what the referee sees."""

    def __init__(self, options: Options, folder: StateFolder, ed25519_public_hex: str) -> None:
        profile = RULES[options.profile]
        self.clock = Clock()
        self.faults = Faults(FAULTS, options.faults)
        self.log = RequestLog(self.clock.now_ms)
        self._folder = folder
        self._instrument = Instrument(SYMBOL, profile.lot_decimals, profile.min_notional)
        self._account = Account(self._instrument, folder, account_keys(folder, ed25519_public_hex))
        self._account.restore()
        self._last_trade_id = self._account.last_trade_id
        self.exchange = Exchange(self._account, Book(), self.clock, self.faults, profile)
        self.exchange.restore_book()
        self.streams = StreamHub(SYMBOL, profile, self.faults, self.clock, self.log)
        self.streams.listen_key = lambda: self._account.settings.listen_key
        self.exchange.emit = self.streams.user_event
        self.exchange.stop_stream = self.streams.forget_key
        self.market = self._market(options)
        self.exchange.market = self.market
        self.market.start()
        self.cash = Cash(self.exchange, self.clock, self.faults)
        self._views = Views(self.exchange, self.cash, self.clock)
        self._klines = Klines(self.exchange, self.clock, Candles(folder.folder))
        limits = RateLimits(profile, self.clock, self.faults)
        shared = (self.exchange, self._views, limits, self.clock, self.faults, self.log)
        self.rest = RestApi(*shared)
        self.rest.add("GET /fapi/v1/markPriceKlines", klines_weight, self._klines.mark_price)
        self.ws_api = WsApi(*shared)
        self.ws_api.flush_events = self.streams.flush_user_events
        self._profile: Profile = profile

    def _market(self, options: Options) -> Market:
        book = self.exchange.book
        if options.feed is not None:
            if self._instrument.lot_decimals != 3:
                raise StateError("the recorded capture has lots of 0.001: use --profile prod-strict")
            return RecordedMarket(book, self, options.feed, options.speed, self.clock.now_ms)
        saved = self._folder.read_document("market.json") or {}
        price, first_id = int(saved.get("mark", START_PRICE_TICKS)), int(saved.get("update_id", 0))
        start_id = max(first_id + 1_000_000, self.clock.now_ms() * 1000)
        lots = self._instrument.lots_per_unit
        return SyntheticMarket(book, self, options.seed, price, start_id, lots)

    # --- what the market tells -----------------------------------------------------------------------

    def depth(
        self, first: int, last: int, previous: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]
    ) -> None:
        """Publish a depth event to the diff streams, and partial depth where somebody listens."""
        now = self.clock.now_ms()
        head = f'{{"e":"depthUpdate","E":{now},"T":{now},"s":"{SYMBOL}","ps":"{SYMBOL}","U":{first},'
        head += f'"u":{last},"pu":{previous},'
        body = f'"b":[{self._levels(bids)}],"a":[{self._levels(asks)}],"st":1}}'
        self._publish_depth((head + body).encode())
        self._publish_partial(head)

    def _publish_depth(self, data: bytes) -> None:
        if self.faults.take("foreign_symbol"):
            foreign = (
                '{"e":"depthUpdate","E":1,"T":1,"s":"币安人生USDT","U":1,"u":2,"pu":0,"b":[],"a":[],"st":2}'
            )
            self._publish_diff(foreign.encode())
        if self.faults.take("drop_depth"):
            return
        if self.faults.take("big_frames"):
            head, _, rest = data.partition(b'"b":[')
            data = b'%s"b":[%s%s%s' % (head, self._far_levels(), b"" if rest[:1] == b"]" else b",", rest)
        self._publish_diff(data)
        if self.faults.take("duplicate_depth"):
            self._publish_diff(data)

    def _publish_diff(self, data: bytes) -> None:
        for speed in ("", "@100ms", "@0ms", "@250ms", "@500ms"):
            self.streams.publish(f"btcusdt@depth{speed}", data)

    def _publish_partial(self, head: str) -> None:
        for count in (5, 10, 20):
            for speed in ("", "@100ms"):
                name = f"btcusdt@depth{count}{speed}"
                if self.streams.wanted(name):
                    _, bids, asks = self.market.snapshot(count)
                    data = f'{head}"b":[{self._levels(bids)}],"a":[{self._levels(asks)}],"st":1}}'
                    self.streams.publish(name, data.encode())

    def top(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        """Publish a bookTicker."""
        if not (self.streams.wanted("btcusdt@bookTicker") or self.streams.wanted("!bookTicker")):
            return
        now = self.clock.now_ms()
        price, quantity = self._instrument.price_text, self._instrument.quantity_text
        data = (
            f'{{"e":"bookTicker","u":{update_id},"s":"{SYMBOL}","ps":"{SYMBOL}",'
            f'"b":"{price(bid[0])}","B":"{quantity(bid[1])}","a":"{price(ask[0])}","A":"{quantity(ask[1])}",'
            f'"T":{now},"E":{now},"st":1}}'
        ).encode()
        self.streams.publish("btcusdt@bookTicker", data)
        self.streams.publish("!bookTicker", data)

    def trade(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        """Publish a trade and its aggregate; gives the trade id."""
        now = self.clock.now_ms()
        trade_id = self.next_trade_id()
        maker = "true" if buyer_is_maker else "false"
        price_text, quantity_text = (
            self._instrument.price_text(price),
            self._instrument.quantity_text(quantity),
        )
        if self.streams.wanted("btcusdt@trade"):
            data = (
                f'{{"e":"trade","E":{now},"T":{now},"s":"{SYMBOL}","t":{trade_id},"p":"{price_text}",'
                f'"q":"{quantity_text}","X":"MARKET","m":{maker},"st":1}}'
            )
            self.streams.publish("btcusdt@trade", data.encode())
        if self.streams.wanted("btcusdt@aggTrade"):
            data = (
                f'{{"e":"aggTrade","E":{now},"a":{trade_id},"s":"{SYMBOL}","p":"{price_text}",'
                f'"q":"{quantity_text}","nq":"{quantity_text}","f":{trade_id},"l":{trade_id},"T":{now},'
                f'"m":{maker},"st":1}}'
            )
            self.streams.publish("btcusdt@aggTrade", data.encode())
        return trade_id

    def next_trade_id(self) -> int:
        """Ids grow with time, so that they stay unique across restarts."""
        self._last_trade_id = max(self._last_trade_id + 1, self.clock.now_ms() * 4)
        return self._last_trade_id

    def maker_filled(self, entry: Resting, price: int, quantity: int, trade_id: int) -> None:
        """A resting order of the account was executed."""
        self.exchange.maker_filled(entry, price, quantity, trade_id)

    def recorded(self, kind: str, data: bytes) -> None:
        """Send a recorded frame on."""
        if kind == "depth":
            self._publish_depth(data)
            if any(self.streams.wanted(f"btcusdt@depth{n}{s}") for n in (5, 10, 20) for s in ("", "@100ms")):
                now, last_id = self.clock.now_ms(), self.market.snapshot(5)[0]
                self._publish_partial(
                    f'{{"e":"depthUpdate","E":{now},"T":{now},"s":"{SYMBOL}","U":{last_id},"u":{last_id},"pu":0,'
                )
        elif kind == "bookTicker":
            self.streams.publish("btcusdt@bookTicker", data)
            self.streams.publish("!bookTicker", data)
        else:
            self.streams.publish("btcusdt@trade", data)

    def _levels(self, levels: list[tuple[int, int]]) -> str:
        price, quantity = self._instrument.price_text, self._instrument.quantity_text
        return ",".join([f'["{price(ticks)}","{quantity(lots)}"]' for ticks, lots in levels])

    def _far_levels(self) -> bytes:
        first = self.market.mark() // 2
        return self._levels([(first - n, 0) for n in range(2400)]).encode()

    async def run_timers(self) -> None:
        """Dead-man switch and expiries every 10 ms; mark price every second; market state every 2 s."""
        beats = 0
        while True:
            await asyncio.sleep(TIMER_S)
            self.exchange.check_timers()
            self._klines.note()
            self.cash.check_funding()
            beats += 1
            if beats % 100 == 0:
                self._publish_mark()
            if beats % 200 == 0:
                self.save_market()
                self._account.compact()

    def _publish_mark(self) -> None:
        now, mark = self.clock.now_ms(), self._views.mark_e8_text()
        data = (
            f'{{"e":"markPriceUpdate","E":{now},"s":"{SYMBOL}","p":"{mark}","ap":"{mark}","i":"{mark}",'
            f'"P":"{mark}","r":"{self.cash.funding_rate_text()}","T":{self.cash.next_funding_ms()},"st":1}}'
        ).encode()
        self.streams.publish("btcusdt@markPrice", data)
        self.streams.publish("btcusdt@markPrice@1s", data)

    # --- what the referee sees -----------------------------------------------------------------------

    def account(self) -> dict[str, Any]:
        """Both keys belong to the one account."""
        view = self._account.referee_view(self.market.mark())
        hmac_key = next(key.api_key for key in self._account.keys.values() if key.secret)
        return {"venue": "binance", "time_ms": self.clock.now_ms(), "accounts": {hmac_key: view}}

    def clock_view(self) -> dict[str, Any]:
        """Venue time, market and connections."""
        return {"now_ms": self.clock.now_ms(), "offset_ms": self.clock.offset_ms,
                "market": self.market.view(),
                "stream_connections": self.streams.connections()}  # fmt: skip

    def book_view(self) -> dict[str, Any]:
        """The matching book with the account's orders in it, 50 levels a side."""
        book = self.exchange.book
        return {"symbol": SYMBOL, "mark_ticks": self.market.mark(),
                "bids": book.levels(BUY, 50), "asks": book.levels(SELL, 50)}  # fmt: skip

    def faults_changed(self) -> None:
        """Carry out the actions among the switches."""
        self.clock.offset_ms = self.faults.value("clock_offset_ms")
        if self.faults.take("listenkey_expired"):
            self.exchange.expire_listen_key()
        if self.faults.take("close_streams"):
            self.streams.cut(PUBLIC)
        if self.faults.take("close_user_stream"):
            self.streams.cut(PRIVATE)
        if self.faults.take("close_ws_api"):
            self.ws_api.cut()
        if self.faults.take("server_shutdown"):
            self.streams.announce_shutdown()

    def move_market(self, body: dict[str, Any]) -> dict[str, Any]:
        """Cash verbs (`HOW` in binance_cash.py) move money; everything else goes to the market."""
        if not CASH_VERBS.isdisjoint(body):
            return self.cash.act(body)
        return self.market.move(body)

    def act_as_trader(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"side": "BUY", "quantity": "0.5", "price": "60000.0" or null for a market order}."""
        try:
            side = {"BUY": BUY, "SELL": SELL}[body["side"]]
            quantity = self._instrument.quantity(str(body["quantity"]), market=False)
            limit = self._instrument.price(str(body["price"])) if body.get("price") else None
        except KeyError as error:
            raise RefereeError("give side (BUY or SELL), quantity and, for a limit order, price") from error
        except VenueError as error:
            raise RefereeError(error.text) from error
        left = self.market.take(side, limit, quantity)
        rests = left if limit is not None else 0
        if rests and limit is not None:
            self.exchange.book.add(side, limit, rests)
            self.market.client_acted()
        return {"executed_lots": quantity - left, "resting_lots": rests}

    def save_market(self) -> None:
        """Remember where the market stands, so that a restart continues there."""
        view = self.market.view()
        if view["kind"] == "synthetic":
            self._folder.write_document(
                "market.json", {"mark": self.market.mark(), "update_id": view["update_id"]}
            )


async def run(options: Options) -> None:
    """Serve until SIGTERM, then write account.json."""
    stopped = stop_event()
    folder = StateFolder(options.state)
    folder.forget_document("account.json")  # of the last end: it would pass for the present account
    private_pem, public_hex = _ed25519_key(options.state / "ed25519.pem")
    venue = Venue(options, folder, public_hex)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{tail:.*}", _dispatch(venue))
    context = None if options.plain else server_context(certificates_in(options.state))
    runner, port = await listen(app, options.port, context)
    admin_runner, admin_port = await listen(admin_application(venue), options.admin_port)
    venue.faults_changed()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(venue.market.run()), group.create_task(venue.run_timers())]
        announce(_ready_line(options, folder, private_pem, port, admin_port))
        await stopped.wait()
        for task in tasks:
            task.cancel()
    venue.save_market()
    folder.write_document("account.json", venue.account())
    with suppress(TimeoutError):
        async with asyncio.timeout(2):
            await admin_runner.cleanup()
            await runner.cleanup()


def _dispatch(venue: Venue) -> Any:
    async def serve(request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/ws-fapi/v1":
            return await venue.ws_api.serve(request)
        first = path.split("/")[1]
        if first in ("ws", "stream", "public", "market", "private"):
            return await venue.streams.serve(request)
        return await venue.rest.serve(request)

    return serve


def _ready_line(
    options: Options, folder: StateFolder, private_pem: Path, port: int, admin_port: int
) -> dict[str, Any]:
    secure = "" if options.plain else "s"
    keys = folder.read_document("keys.json")
    return {
        "venue": "binance", "rest": f"http{secure}://127.0.0.1:{port}", "ws": f"ws{secure}://127.0.0.1:{port}",
        "ws_api": f"ws{secure}://127.0.0.1:{port}/ws-fapi/v1",
        "ca": None if options.plain else str((options.state / "ca.pem").resolve()),
        "credentials": keys | {"ed25519_private_key_file": str(private_pem.resolve())},
        "admin": f"http://127.0.0.1:{admin_port}", "profile": options.profile, "symbol": SYMBOL,
    }  # fmt: skip


def _ed25519_key(path: Path) -> tuple[Path, str]:
    """The private key's file and the public key in hex; made on first use."""
    if path.is_file():
        private = serialization.load_pem_private_key(path.read_bytes(), None)
        assert isinstance(private, Ed25519PrivateKey)
    else:
        private = Ed25519PrivateKey.generate()
        path.touch(mode=0o600)
        path.write_bytes(private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ))  # fmt: skip
    return path, private.public_key().public_bytes_raw().hex()
