"""Polymarket's two WebSocket channels, and our own books.

No stream of Polymarket has sequence numbers, so a loss shows only indirectly: a level that makes our best
price differ from the one the venue sends along, a crossed book, a connection that answers no PING, or data
that stops on every asset while REST shows another book. Each of these marks the book STALE; a stale book
is fetched again over REST before it is used. Frames are one object or an array of objects.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import msgspec
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from polymarket_bot.api.decimals import parse_scaled, parse_wall_ns
from polymarket_bot.api.polymarket import Credentials, Snapshot
from polymarket_bot.api.trades import TradeReader
from polymarket_bot.errors import BookError, BotError, VenueError
from polymarket_bot.model import DUST, OrderUpdate, Price, Side, Size, Top, TradeUpdate

log = structlog.get_logger("stream")

PING_S = 10.0
PONG_LIMIT_NS = 30_000_000_000
SILENCE_PROBE_NS = 15_000_000_000
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
FRAME_MAX = 4 << 20


class BookState(Enum):
    EMPTY = "empty"  # no snapshot yet: deltas are ignored
    SYNCED = "synced"
    STALE = "stale"


class Book:
    """One token's book. Levels are integer ticks to micro-shares; a new tick size is a new epoch."""

    def __init__(self, token: str, tick: int) -> None:
        self.token = token
        self.tick = tick
        self.state = BookState.EMPTY
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.wall_ms = 0
        self.updated_ns = 0
        self.resyncs = 0

    def ticks(self, price: int) -> int:
        if price % self.tick:
            raise BookError(f"price {price} is not on the tick grid {self.tick}")
        return price // self.tick

    def load(
        self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], tick: int, wall_ms: int
    ) -> None:
        """Replace everything. The venue sends the best level last, but order is not relied upon."""
        if tick > 0:
            self.tick = tick
        new_bids = {self.ticks(price): size for price, size in bids if size}
        new_asks = {self.ticks(price): size for price, size in asks if size}
        self.bids, self.asks, self.wall_ms = new_bids, new_asks, wall_ms
        self.state = BookState.STALE if self.crossed() else BookState.SYNCED

    def set_level(self, side: Side, price: int, size: int) -> None:
        levels = self.bids if side is Side.BUY else self.asks
        if size:
            levels[self.ticks(price)] = size
        else:
            levels.pop(self.ticks(price), None)

    def best(self) -> tuple[int | None, int | None]:
        """Best bid and ask in ticks."""
        return (max(self.bids) if self.bids else None, min(self.asks) if self.asks else None)

    def crossed(self) -> bool:
        bid, ask = self.best()
        return bid is not None and ask is not None and bid >= ask

    def matches(self, best_bid: object, best_ask: object) -> bool:
        """Whether our best prices are the venue's. An empty side is "", "0", or, for asks, "1"."""
        bid, ask = self.best()
        return self._same(bid, best_bid, 0) and self._same(ask, best_ask, 1_000_000)

    def _same(self, ours: int | None, theirs: object, empty: int) -> bool:
        if theirs is None:
            return True
        price = 0 if theirs == "" else parse_scaled(theirs)
        if ours is None:
            return price in (0, empty)
        return ours * self.tick == price

    def top(self) -> Top:
        bid, ask = self.best()
        return Top(
            None if bid is None else Price(bid * self.tick),
            Size(0 if bid is None else self.bids[bid]),
            None if ask is None else Price(ask * self.tick),
            Size(0 if ask is None else self.asks[ask]),
        )


class BookReader(Protocol):
    async def books(self, tokens: Sequence[str]) -> list[Snapshot]: ...


def as_events(frame: str | bytes) -> list[Mapping[str, Any]]:
    """The objects of one frame; raises BookError when it is not JSON, or not objects."""
    try:
        decoded = msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BookError("a frame is not JSON") from error
    events = decoded if isinstance(decoded, list) else [decoded]
    if not all(isinstance(event, dict) for event in events):
        raise BookError("a frame holds something else than objects")
    return events


class Channel(ABC):
    """One WebSocket that is kept open: connect, greet, PING, read, and again after a pause."""

    def __init__(self, name: str, url: str, context: ssl.SSLContext | None, clock: Callable[[], int]) -> None:
        self.name = name
        self._url = url
        self._ssl = context if url.startswith("wss:") else None
        self._clock = clock
        self._socket: ClientConnection | None = None
        self._pong_ns = 0
        self.connected_ns = 0  # 0 while it is down
        self.data_ns = 0
        self.connections = 0
        self.malformed = 0

    async def run(self) -> None:
        failures = 0
        while True:
            started = self._clock()
            try:
                await self._session()
                reason = "closed by the venue"
            except (OSError, TimeoutError, WebSocketException, BotError) as error:
                reason = f"{type(error).__name__}: {error}"
            self.connected_ns = 0
            self._socket = None
            self.lost(reason)
            failures = 0 if self._clock() - started > 10_000_000_000 else failures + 1
            log.warning("stream_lost", channel=self.name, reason=reason[:160], failures=failures)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    async def _session(self) -> None:
        async with connect(
            self._url,
            ssl=self._ssl,
            open_timeout=5,
            close_timeout=1,
            ping_interval=None,
            max_size=FRAME_MAX,
            compression=None,
            proxy=None,
        ) as socket:
            self._socket = socket
            await socket.send(msgspec.json.encode(self.greeting()).decode())
            self._pong_ns = self.connected_ns = self.data_ns = self._clock()
            self.connections += 1
            self.opened()
            log.info("stream_connected", channel=self.name, connections=self.connections)
            pinger = asyncio.create_task(self._ping(socket))
            try:
                async for frame in socket:
                    self._receive(frame)
            finally:
                pinger.cancel()
                await asyncio.gather(pinger, return_exceptions=True)

    async def _ping(self, socket: ClientConnection) -> None:
        try:
            while self._clock() - self._pong_ns <= PONG_LIMIT_NS:
                await socket.send("PING")
                await asyncio.sleep(PING_S)
            log.warning("stream_silent", channel=self.name)
            await socket.close(1001, "no PONG")
        except WebSocketException:
            return  # the reader sees the same end and reports it

    def _receive(self, frame: str | bytes) -> None:
        if frame in ("PONG", b"PONG"):
            self._pong_ns = self._clock()
            return
        self.data_ns = self._clock()
        actions: list[Callable[[], None]] = []
        try:
            for event in as_events(frame):
                action = self.handle(event)
                if action is not None:
                    actions.append(action)
        except (BookError, VenueError, KeyError, TypeError, ValueError) as error:
            self.malformed += 1
            log.warning("frame_malformed", channel=self.name, error=f"{type(error).__name__}: {error}"[:160])
            self.doubt(str(error))
        for action in actions:  # outside the try: an error of ours is a bug, not a malformed frame
            action()

    async def reconnect(self) -> None:
        if self._socket is not None:
            await self._socket.close(1000, "resubscribe")

    # What a channel is: the subclass says, and what it does not care about does nothing.

    @abstractmethod
    def greeting(self) -> dict[str, Any]:
        """The first frame of a connection: what is subscribed to."""

    @abstractmethod
    def handle(self, event: Mapping[str, Any]) -> Callable[[], None] | None:
        """Read one event; what others must be told is returned, and called after the frame is read."""

    def opened(self) -> None:  # noqa: B027
        """A new connection: nothing is known yet."""

    def lost(self, reason: str) -> None:  # noqa: B027
        """The connection ended."""

    def doubt(self, reason: str) -> None:  # noqa: B027
        """A frame could not be used: what it said is unknown."""


class MarketStream(Channel):
    """Books of the subscribed tokens. `changed` is called after each change of any book."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext | None,
        reader: BookReader,
        changed: Callable[[str], None],
        clock: Callable[[], int],
        wall: Callable[[], int],
        resolved: Callable[[str, str], None],
    ) -> None:
        super().__init__("market", url, context, clock)
        self._reader = reader
        self._changed = changed
        self._resolved = resolved
        self._wall = wall
        self._wake = asyncio.Event()
        self.clock_offset_ns = 0  # the venue's clock minus ours, from the last change of a book
        self.books: dict[str, Book] = {}

    def greeting(self) -> dict[str, Any]:
        return {"type": "market", "assets_ids": list(self.books), "custom_feature_enabled": True}

    async def set_tokens(self, ticks: Mapping[str, int]) -> None:
        """The tokens to follow, with their tick sizes. A changed set renews the subscription."""
        if set(ticks) == set(self.books):
            return
        self.books = {token: self.books.get(token) or Book(token, tick) for token, tick in ticks.items()}
        await self.reconnect()

    def fresh(self, token: str) -> bool:
        """Usable for trading: synced, on a live connection that answers its PINGs."""
        book = self.books.get(token)
        if book is None or book.state is not BookState.SYNCED or not self.connected_ns:
            return False
        return self._clock() - self._pong_ns <= PONG_LIMIT_NS

    def opened(self) -> None:
        for book in self.books.values():
            if book.state is BookState.SYNCED:
                book.state = BookState.STALE
        self._wake.set()

    def lost(self, reason: str) -> None:
        for book in self.books.values():
            self._stale(book, reason)

    def doubt(self, reason: str) -> None:
        for book in self.books.values():
            self._stale(book, reason)

    def _stale(self, book: Book, reason: str) -> None:
        if book.state is BookState.SYNCED:
            book.state = BookState.STALE
            log.info("book_stale", token=book.token[-8:], reason=reason[:120])
            self._changed(book.token)
        self._wake.set()

    # --- events ---

    def handle(self, event: Mapping[str, Any]) -> Callable[[], None] | None:
        kind = event.get("event_type")
        if kind == "price_change":
            self._price_change(event)
        elif kind == "book":
            self._book(event)
        elif kind == "tick_size_change":
            self._tick_size_change(event)
        elif kind == "best_bid_ask":
            self._compare(event["asset_id"], event.get("best_bid"), event.get("best_ask"))
        elif kind == "market_resolved":
            market, winner = str(event.get("market", "")), str(event.get("winning_asset_id", ""))
            return lambda: self._resolved(market, winner)
        return None

    def _book(self, event: Mapping[str, Any]) -> None:
        book = self.books.get(str(event["asset_id"]))
        if book is None:
            return
        tick = parse_scaled(event["tick_size"]) if event.get("tick_size") else book.tick
        book.load(
            _levels(event["bids"]),
            _levels(event["asks"]),
            tick,
            parse_wall_ns(event.get("timestamp")) // 1_000_000,
        )
        self._done(book)

    def _price_change(self, event: Mapping[str, Any]) -> None:
        wall_ms = parse_wall_ns(event.get("timestamp")) // 1_000_000
        if wall_ms:
            self.clock_offset_ns = wall_ms * 1_000_000 - self._wall()
        last: dict[str, Mapping[str, Any]] = {}
        for change in event["price_changes"]:
            book = self.books.get(str(change["asset_id"]))
            if book is None or book.state is not BookState.SYNCED or 0 < wall_ms < book.wall_ms:
                continue
            try:
                book.set_level(
                    Side[change["side"]], parse_scaled(change["price"]), parse_scaled(change["size"])
                )
            except BookError as error:
                self._stale(book, str(error))
                continue
            last[book.token] = change
        for token, change in last.items():
            book = self.books[token]
            book.wall_ms = max(book.wall_ms, wall_ms)
            self._compare(token, change.get("best_bid"), change.get("best_ask"))
            self._done(book)

    def _compare(self, token: str, best_bid: object, best_ask: object) -> None:
        book = self.books.get(str(token))
        if book is None or book.state is not BookState.SYNCED:
            return
        if not book.matches(best_bid, best_ask):
            self._stale(book, f"best prices differ from the venue's {best_bid}/{best_ask}")
        elif book.crossed():
            self._stale(book, "the book is crossed")

    def _tick_size_change(self, event: Mapping[str, Any]) -> None:
        book = self.books.get(str(event["asset_id"]))
        if book is not None:
            book.tick = parse_scaled(event["new_tick_size"])
            book.bids.clear()
            book.asks.clear()
            book.state = BookState.EMPTY
            self._changed(book.token)
            self._wake.set()

    def _done(self, book: Book) -> None:
        book.updated_ns = self._clock()
        self._changed(book.token)

    # --- resync ---

    async def resync(self) -> None:
        """Task: fetch every book that is not in sync, and probe REST when everything is quiet."""
        while True:
            try:
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if not self.connected_ns:
                continue
            now = self._clock()
            behind = [b.token for b in self.books.values() if b.state is not BookState.SYNCED]
            quiet = now - self.data_ns > SILENCE_PROBE_NS and bool(self.books)
            try:
                if behind:
                    await self._fetch(behind)
                elif quiet:
                    await self._probe()
            except BotError as error:
                log.warning("books_not_fetched", error=str(error)[:160])
                await asyncio.sleep(1.0)

    async def _fetch(self, tokens: list[str]) -> None:
        await asyncio.sleep(0.05)  # the snapshot of a fresh subscription is usually on its way
        tokens = [
            token for token in tokens if (b := self.books.get(token)) and b.state is not BookState.SYNCED
        ]
        if not tokens:
            return
        for snapshot in await self._reader.books(tokens):
            book = self.books.get(snapshot.token)
            if book is None or book.state is BookState.SYNCED:
                continue
            book.load(snapshot.bids, snapshot.asks, snapshot.tick, snapshot.wall_ms)
            book.resyncs += 1
            self._done(book)

    async def _probe(self) -> None:
        """Nothing arrived on any asset for a while: a quiet market, or a socket that delivers nothing?"""
        before = self.data_ns
        snapshots = await self._reader.books(list(self.books))
        if self.data_ns != before:
            return
        self.data_ns = self._clock()
        for snapshot in snapshots:
            book = self.books.get(snapshot.token)
            if book is None:
                continue
            other = Book(snapshot.token, snapshot.tick)
            other.load(snapshot.bids, snapshot.asks, snapshot.tick, snapshot.wall_ms)
            if other.top() != book.top():
                log.warning("stream_delivers_nothing", channel=self.name)
                await self.reconnect()
                return


def _levels(levels: Iterable[Mapping[str, Any]]) -> list[tuple[int, int]]:
    return [(parse_scaled(level["price"]), parse_scaled(level["size"])) for level in levels]


class UserStream(Channel):
    """Our orders and trades. `caught_up` is set by the engine after it has read, over REST, what the
    connection may have missed; until then the bot is blind on its own fills."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext | None,
        credentials: Credentials,
        reader: TradeReader,
        on_order: Callable[[OrderUpdate], None],
        on_trade: Callable[[TradeUpdate], None],
        on_gap: Callable[[str], None],
        clock: Callable[[], int],
    ) -> None:
        super().__init__("user", url, context, clock)
        self._credentials = credentials
        self._reader = reader
        self._on_order = on_order
        self._on_trade = on_trade
        self._on_gap = on_gap
        self.caught_up = False
        self.gaps = 0  # how often something may have been missed

    def greeting(self) -> dict[str, Any]:
        keys = self._credentials
        auth = {"apiKey": keys.api_key, "secret": keys.api_secret, "passphrase": keys.passphrase}
        return {"type": "user", "auth": auth}

    def sees_fills(self) -> bool:
        return bool(self.connected_ns) and self.caught_up and self._clock() - self._pong_ns <= PONG_LIMIT_NS

    def opened(self) -> None:
        self.caught_up = False
        self.gaps += 1
        self._on_gap("user stream connected")

    def lost(self, reason: str) -> None:
        self.caught_up = False

    def doubt(self, reason: str) -> None:
        self.caught_up = False
        self.gaps += 1
        self._on_gap("malformed frame")

    def handle(self, event: Mapping[str, Any]) -> Callable[[], None] | None:
        kind = event.get("event_type")
        if kind == "order":
            order = read_order(event)
            return lambda: self._on_order(order)
        if kind == "trade":
            trade = self._reader.read(event)
            return lambda: self._on_trade(trade)
        return None


def read_order(event: Mapping[str, Any]) -> OrderUpdate:
    """An order event. `live` is False once the order can no longer match."""
    kind = str(event.get("type", ""))
    status = str(event.get("status", "")).removeprefix("ORDER_STATUS_")
    original = parse_scaled(event["original_size"])
    matched = parse_scaled(event.get("size_matched") or "0")
    # A partial match may be called MATCHED too: what is left of it still rests.
    open_ = status in ("LIVE", "DELAYED") or (status == "MATCHED" and matched <= original - DUST)
    live = kind != "CANCELLATION" and open_
    return OrderUpdate(
        str(event["id"]),
        str(event["market"]),
        str(event["asset_id"]),
        Side[event["side"]],
        Price(parse_scaled(event["price"])),
        Size(original),
        Size(matched),
        live,
        status,
    )
