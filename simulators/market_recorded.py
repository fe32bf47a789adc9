"""A recorded capture as the market: every frame again, with the recorded ids and spacing.

Lines of the capture: `<local_ns> <json>`; the JSON is a combined-stream frame (depth, bookTicker or
trade) or one REST depth snapshot. The public sees the recorded book (`_published`, moved by depth
events only, so that a REST snapshot always lies on an event's boundary). Clients' orders wait in the
matching book: its background follows depth and bookTicker, a recorded trade at a client's price first
consumes the queue ahead, a trade through the price or a crossing quote executes the order.

At the end of the capture it starts again: one depth event turns the last book into the first snapshot,
and all ids are shifted so that the chain of `pu` never breaks.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from simulators.admin import RefereeError
from simulators.market import MarketSink
from simulators.matching import BUY, SELL, Book
from simulators.state import StateError

SLEEP_MIN_S = 0.002
BATCH_MAX = 500
_E = re.compile(rb'"E":\d+')
_T = re.compile(rb'"T":\d+')


class _Data(msgspec.Struct):
    e: str = ""
    E: int = 0
    T: int = 0
    U: int = 0
    u: int = 0
    pu: int = 0
    t: int = 0
    s: str = ""
    b: list[tuple[str, str]] | str = []
    a: list[tuple[str, str]] | str = []
    B: str = ""
    A: str = ""
    p: str = ""
    q: str = ""
    m: bool = False
    lastUpdateId: int = 0
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class RecordedMarket:
    """Replays one capture of BTCUSDT (tick 0.10, lot 0.001) for ever."""

    def __init__(
        self, book: Book, sink: MarketSink, feed: Path, speed: float, now_ms: Callable[[], int]
    ) -> None:
        self.book = book
        self._sink = sink
        self._feed = feed
        self._speed = speed
        self._now_ms = now_ms
        self._decode = msgspec.json.Decoder(_Data).decode
        self._published: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
        self._published_id = 0
        self._snapshot_id = 0
        self._ticker_id = 0
        self._ticker = _Data()
        self._shift = 0
        self._trade_shift = 0
        self._first_trade = self._last_trade = 0
        self._loops = 0
        self._frames = 0
        self._paused = False
        self._first_frame = True
        self._snapshot = self._first_snapshot()

    def start(self) -> None:
        """Begin with the snapshot of the capture."""
        self._load(self._snapshot)

    async def run(self) -> None:
        """Send each frame when it is due."""
        while True:
            started, first = time.monotonic(), 0
            sent = 0
            for stamp, data in self._lines():
                first = first or stamp
                due = started + (stamp - first) / 1e9 / self._speed
                wait = due - time.monotonic()
                if wait > SLEEP_MIN_S or sent >= BATCH_MAX:
                    await asyncio.sleep(max(0.0, wait))
                    sent = 0
                while self._paused:
                    await asyncio.sleep(0.05)
                    started += 0.05
                self._play(data)
                sent += 1
            self._start_again()

    def snapshot(self, limit: int) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """The recorded book after the last depth event."""
        bids = sorted(self._published[BUY].items(), reverse=True)[:limit]
        asks = sorted(self._published[SELL].items())[:limit]
        return self._published_id, bids, asks

    def mark(self) -> int:
        """The middle of the matching book, rounded down to a tick."""
        bid, ask = self.book.best(BUY), self.book.best(SELL)
        return ((bid or ask or 0) + (ask or bid or 0)) // 2

    def client_acted(self) -> None:
        """Clients' orders are not part of the recorded public book."""
        self.book.touched.clear()

    def trade_printed(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        """A client's trade gets an id and is not shown in the recorded stream."""
        return self._sink.next_trade_id()

    def move(self, body: dict[str, Any]) -> dict[str, Any]:
        """A recording can be paused, not moved."""
        if set(body) - {"pause"}:
            raise RefereeError("a recorded market knows only pause: start without --feed to move the price")
        self._paused = bool(body.get("pause", self._paused))
        return self.view()

    def take(self, side: int, limit: int | None, quantity: int) -> int:
        """Another trader takes from the matching book; gives the lots left over."""
        while quantity > 0:
            entry = self.book.front(-side, limit)
            if entry is None:
                break
            part = min(quantity, entry.quantity)
            self._consume(-side, entry.price, part)
            quantity -= part
        return quantity

    def view(self) -> dict[str, Any]:
        """State for the referee."""
        return {"kind": "recorded", "paused": self._paused, "frames": self._frames, "loops": self._loops,
                "update_id": self._published_id, "feed_ended": False}  # fmt: skip

    # --- the capture ---------------------------------------------------------------------------------

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        opener = gzip.open if self._feed.suffix == ".gz" else open
        with opener(self._feed, "rb") as lines:
            for line in lines:
                stamp, _, text = line.partition(b" ")
                at = text.find(b'"data":')
                yield int(stamp), text[at + 7 :].strip()[:-1] if at >= 0 else text.strip()

    def _first_snapshot(self) -> _Data:
        try:
            for _, text in self._lines():
                if text.startswith(b'{"lastUpdateId"'):
                    return self._decode(text)
        except (OSError, EOFError, ValueError, msgspec.DecodeError) as error:
            raise StateError(
                f"{self._feed} is not a capture of `<local_ns> <json>` lines: {error}"
            ) from error
        raise StateError(f"{self._feed} holds no depth snapshot: record one with the streams")

    def _load(self, snapshot: _Data) -> None:
        for side, levels in ((BUY, snapshot.bids), (SELL, snapshot.asks)):
            self._published[side] = {_units(price): _units_lots(lots) for price, lots in levels}
        self._published_id = self._snapshot_id = snapshot.lastUpdateId + self._shift
        self._follow_published()

    def _play(self, text: bytes) -> None:
        frame = self._decode(text)
        if frame.lastUpdateId:
            return
        self._frames += 1
        if frame.e == "depthUpdate":
            self._depth(frame, text)
        elif frame.e == "bookTicker":
            if self._loops and frame.u + self._shift < self._snapshot_id:
                return
            frame.u, text = self._renumber(text, b"u", frame.u)
            self._sink.recorded("bookTicker", self._stamped(text, frame))
            self._follow_ticker(frame)
        elif frame.e == "trade":
            self._trade(frame, text)

    def _depth(self, frame: _Data, text: bytes) -> None:
        if self._loops and frame.u + self._shift < self._snapshot_id:
            return
        bridged = self._loops > 0 and self._first_frame
        first, last, previous = frame.U, frame.u, frame.pu
        frame.u, text = self._renumber(text, b"u", last)
        if bridged:
            text = text.replace(b'"U":%d,' % first, b'"U":%d,' % (self._published_id + 1), 1)
            text = text.replace(b'"pu":%d,' % previous, b'"pu":%d,' % self._published_id, 1)
        else:
            _, text = self._renumber(text, b"U", first)
            _, text = self._renumber(text, b"pu", previous)
        if frame.u >= self._snapshot_id:
            self._first_frame = False
            self._apply(frame)
        self._sink.recorded("depth", self._stamped(text, frame))

    def _renumber(self, text: bytes, name: bytes, value: int) -> tuple[int, bytes]:
        moved = value + self._shift
        if self._shift:
            text = text.replace(b'"%s":%d' % (name, value), b'"%s":%d' % (name, moved), 1)
        return moved, text

    def _apply(self, frame: _Data) -> None:
        for side, levels in ((BUY, frame.b), (SELL, frame.a)):
            published = self._published[side]
            if isinstance(levels, str):
                continue
            for price_text, quantity_text in levels:
                price, lots = _units(price_text), _units_lots(quantity_text)
                if lots:
                    published[price] = lots
                else:
                    published.pop(price, None)
                self.book.set_background(side, price, lots)
        self._published_id = frame.u
        self.book.touched.clear()
        if self._ticker_id > frame.u:
            self._follow_ticker(self._ticker)
        else:
            self._uncross()

    def _start_again(self) -> None:
        """Shift the ids and turn the last published book into the first snapshot by one depth event."""
        before = {side: dict(levels) for side, levels in self._published.items()}
        previous = self._published_id
        self._loops += 1
        highest = max(previous, self._ticker_id)
        self._shift = highest + 1000 - self._snapshot.lastUpdateId
        self._trade_shift += self._last_trade - self._first_trade + 1
        self._first_frame = True
        self._load(self._snapshot)
        changes: list[list[tuple[int, int]]] = []
        for side in (BUY, SELL):
            now = self._published[side]
            gone = [(price, 0) for price in before[side] if price not in now]
            changes.append(gone + [level for level in now.items() if before[side].get(level[0]) != level[1]])
        self._sink.depth(previous + 1, self._published_id, previous, changes[0], changes[1])
        _, bids, asks = self.snapshot(1)
        self._sink.top(self._published_id, bids[0], asks[0])
        self._ticker_id = 0

    def _stamped(self, text: bytes, frame: _Data) -> bytes:
        """The frame with the venue's present time in E and T, their distance kept."""
        now = self._now_ms()
        text = _E.sub(b'"E":%d' % now, text, count=1)
        return _T.sub(b'"T":%d' % (now - (frame.E - frame.T)), text, count=1)

    # --- executions ----------------------------------------------------------------------------------

    def _follow_published(self) -> None:
        for side in (BUY, SELL):
            for price in self.book.prices(side):
                if price not in self._published[side]:
                    self.book.set_background(side, price, 0)
            for price, lots in self._published[side].items():
                self.book.set_background(side, price, lots)
        self.book.touched.clear()
        self._uncross()

    def _follow_ticker(self, ticker: _Data) -> None:
        self._ticker, self._ticker_id = ticker, ticker.u
        tops = ((BUY, str(ticker.b), ticker.B), (SELL, str(ticker.a), ticker.A))
        for side, price_text, quantity_text in tops:
            top = _units(price_text)
            for price in self.book.prices_better(side, top):
                self.book.set_background(side, price, 0)
            self.book.set_background(side, top, _units_lots(quantity_text))
        self.book.touched.clear()
        self._uncross()

    def _uncross(self) -> None:
        """Execute clients' orders that the recorded quotes have reached."""
        for side in (BUY, SELL):
            while True:
                entry, other = self.book.front(side), self.book.best(-side)
                if entry is None or other is None or (entry.price - other) * side < 0:
                    break
                opposite = self.book.front(-side)
                if entry.owner is not None:
                    self._consume(side, entry.price, entry.quantity)
                elif opposite is not None and opposite.owner is not None:
                    self._consume(-side, opposite.price, opposite.quantity)
                else:
                    self.book.remove(entry)

    def _trade(self, frame: _Data, text: bytes) -> None:
        self._first_trade = self._first_trade or frame.t
        self._last_trade = frame.t
        if self._trade_shift:
            text = text.replace(b'"t":%d' % frame.t, b'"t":%d' % (frame.t + self._trade_shift), 1)
        self._sink.recorded("trade", self._stamped(text, frame))
        side = BUY if frame.m else SELL
        price, lots = _units(frame.p), _units_lots(frame.q)
        while lots > 0:
            entry = self.book.front(side, price)
            if entry is None:
                return
            through = entry.price != price
            if through and entry.owner is None:
                self.book.remove(entry)
                continue
            part = entry.quantity if through else min(lots, entry.quantity)
            lots -= 0 if through else part
            self._consume(side, entry.price, part)
        self.book.touched.clear()

    def _consume(self, side: int, price: int, quantity: int) -> None:
        entry = self.book.front(side, price)
        if entry is None:
            return
        self.book.fill(entry, quantity)
        if entry.owner is not None:
            self._sink.maker_filled(entry, price, quantity, self._sink.next_trade_id())


def _units(price: str) -> int:
    """61800.20 is 618002 ticks of 0.10."""
    whole, _, part = price.partition(".")
    return int(whole) * 10 + int((part + "0")[0])


def _units_lots(quantity: str) -> int:
    """0.014 is 14 lots of 0.001."""
    whole, _, part = quantity.partition(".")
    return int(whole) * 1000 + int((part + "000")[:3])
