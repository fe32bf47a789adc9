"""Where the background flow comes from: a seeded synthetic market, or a recorded capture.

Both drive one `Book` in which clients' orders stand in the queue, tell a `MarketSink` what the public
must see, and hand every execution of a client's resting order to it.

Synthetic: the fair price is a mean-reverting random walk of discrete moves whose variance clusters
(GARCH-like); arrivals excite each other (Hawkes-like), so quiet seconds and bursts alternate. Real
numbers here are used for the random process only; prices and quantities are whole ticks and lots.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from typing import Any, Protocol

from simulators.admin import RefereeError
from simulators.matching import BUY, SELL, Book, Resting

STEP_S = 0.02
DEPTH_EVERY_STEPS = 5
SECONDS_PER_YEAR = 365 * 24 * 3600
LEVELS_AWAY_MAX = 6_000


class MarketSink(Protocol):
    """Who listens to a market: the venue's streams and its accounts."""

    def depth(
        self, first: int, last: int, previous: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]
    ) -> None:
        """Levels that changed in the update ids first..last; `previous` is the last id before them."""

    def top(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        """The best prices and quantities after one update."""

    def trade(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        """A public trade happened; gives its trade id."""

    def next_trade_id(self) -> int:
        """An id for a trade of a client that the public does not see."""

    def maker_filled(self, entry: Resting, price: int, quantity: int, trade_id: int) -> None:
        """A client's resting order was executed; the book already shows it."""

    def recorded(self, kind: str, data: bytes) -> None:
        """A recorded frame (depth, bookTicker or trade) to send as it is."""


class Market(Protocol):
    """What the venue needs from either market."""

    book: Book

    def start(self) -> None:
        """Fill the book; called once, when the clients' orders of a former run are back in it."""

    async def run(self) -> None:
        """Keep the market moving until cancelled."""

    def snapshot(self, limit: int) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """The last update id and the levels, best first."""

    def mark(self) -> int:
        """The mark price in ticks."""

    def client_acted(self) -> None:
        """A client changed the book."""

    def trade_printed(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        """A client took liquidity; gives the trade id."""

    def take(self, side: int, limit: int | None, quantity: int) -> int:
        """Another trader takes from the book; gives the lots left over."""

    def move(self, body: dict[str, Any]) -> dict[str, Any]:
        """The referee's lever."""

    def view(self) -> dict[str, Any]:
        """State for the referee."""


class SyntheticMarket:
    """A random market around a fair price; reproducible for one seed apart from wall-clock timing."""

    def __init__(self, book: Book, sink: MarketSink, seed: int, price: int, start_id: int, lots: int) -> None:
        self.book = book
        self._sink = sink
        self._random = random.Random(seed)
        self._lots = lots
        self._anchor = float(price)
        self._fair = float(price)
        self._drift = 0.0
        self._volatility = 0.55
        self._heat = 1.0
        self._variance = 1.0
        self._spread = 1
        self._taker_side = BUY
        self._paused = False
        self._id = self._last_depth_id = start_id
        self._first_dirty_id = 0
        self._top: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
        self._steps = 0

    def start(self) -> None:
        """Fill the book around the clients' orders that are in it already."""
        for side in (BUY, SELL):
            edge, other = self._edge(side), self.book.best(-side)
            for distance in range(4000):
                price = edge - side * distance
                if other is not None and (price - other) * side >= 0:
                    continue
                if distance == 0 or self._random.random() < max(0.10, 0.8 - distance / 300.0):
                    self.book.add(side, price, self._size(distance))
        self.book.touched.clear()
        self._changed()

    async def run(self) -> None:
        """One step every 20 ms; a late step is not repeated."""
        while True:
            started = time.monotonic()
            if not self._paused:
                self.step()
            self._steps += 1
            if self._steps % DEPTH_EVERY_STEPS == 0:
                self.flush_depth()
            if self._steps % 500 == 0:
                self._prune()
            await asyncio.sleep(max(0.001, STEP_S - (time.monotonic() - started)))

    def step(self) -> None:
        """Advance the random processes by 20 ms."""
        rnd = self._random
        self._heat += (0.4 - self._heat) * 0.03
        self._fair += self._drift * STEP_S
        if rnd.random() < 1.2 * STEP_S * self._heat:
            self._fair_moves()
        if rnd.random() < 6.0 * STEP_S * self._heat:
            self._taker_arrives()
        if rnd.random() < 25.0 * STEP_S * min(self._heat, 3.0):
            self._touch_quoted()
        for _ in range(3):
            if rnd.random() < 0.7:
                self._deep_level_changes()

    def client_acted(self) -> None:
        """A client's order changed the book: number the change and show the new top."""
        self._changed()

    def trade_printed(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        """Tell the public about a trade that a client caused."""
        return self._sink.trade(price, quantity, buyer_is_maker)

    def snapshot(self, limit: int) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """The book as of the latest update id, on or off a depth event's boundary."""
        return self._id, self.book.levels(BUY, limit), self.book.levels(SELL, limit)

    def mark(self) -> int:
        """The middle of the book, rounded down to a tick."""
        bid, ask = self.book.best(BUY), self.book.best(SELL)
        if bid is None or ask is None:
            return round(self._fair)
        return (bid + ask) // 2

    def view(self) -> dict[str, Any]:
        """State for the referee."""
        return {"kind": "synthetic", "paused": self._paused, "fair_ticks": round(self._fair),
                "update_id": self._id, "feed_ended": False}  # fmt: skip

    def move(self, body: dict[str, Any]) -> dict[str, Any]:
        """jump_ticks, price_ticks, drift_ticks_per_s, volatility_percent, pause, burst."""
        known = {"jump_ticks", "price_ticks", "drift_ticks_per_s", "volatility_percent", "pause", "burst"}
        _refuse_unknown(body, known)
        if "drift_ticks_per_s" in body:
            self._drift = float(body["drift_ticks_per_s"])
        if "volatility_percent" in body:
            self._volatility = float(body["volatility_percent"]) / 100
        if "burst" in body:
            self._heat = float(body["burst"])
        if "pause" in body:
            self._paused = bool(body["pause"])
        target = body.get("price_ticks", round(self._fair) + int(body.get("jump_ticks", 0)))
        if "price_ticks" in body or "jump_ticks" in body:
            self._fair = self._anchor = float(int(target))
            self._shift_to(int(target), int(target) + self._spread)
        return self.view()

    def take(self, side: int, limit: int | None, quantity: int) -> int:
        """A background taker of `side` trades with the book; gives the lots left over."""
        book = self.book
        while quantity > 0:
            entry = book.front(-side, limit)
            if entry is None:
                break
            part = min(quantity, entry.quantity)
            trade_id = self._sink.trade(entry.price, part, side == SELL)
            book.fill(entry, part)
            if entry.owner is not None:
                self._sink.maker_filled(entry, entry.price, part, trade_id)
            quantity -= part
            self._changed()
        return quantity

    def flush_depth(self) -> None:
        """Publish the levels that changed since the last depth event."""
        if not self.book.touched:
            return
        bids: list[tuple[int, int]] = []
        asks: list[tuple[int, int]] = []
        for side, price in sorted(self.book.touched):
            level = (price, self.book.quantity_at(side, price))
            (bids if side == BUY else asks).append(level)
        self.book.touched.clear()
        first, previous = self._first_dirty_id or self._id, self._last_depth_id
        self._first_dirty_id, self._last_depth_id = 0, self._id
        self._sink.depth(first, self._id, previous, bids, asks)

    def _changed(self) -> None:
        self._id += self._random.randint(1, 40)
        if self._first_dirty_id == 0:
            self._first_dirty_id = self._id
        bid, ask = self.book.best(BUY), self.book.best(SELL)
        top = (
            (bid or 0, self.book.quantity_at(BUY, bid) if bid else 0),
            (ask or 0, self.book.quantity_at(SELL, ask) if ask else 0),
        )
        if top != self._top:
            self._top = top
            self._sink.top(self._id, *top)

    def _fair_moves(self) -> None:
        rnd = self._random
        per_move = self._fair * self._volatility / math.sqrt(SECONDS_PER_YEAR * 1.2)
        size = rnd.gauss(0.0, per_move * math.sqrt(self._variance))
        surprise = (size / per_move) ** 2
        self._variance = min(12.0, 0.12 + 0.80 * self._variance + 0.08 * surprise)
        self._heat = min(12.0, self._heat + 0.15 * surprise)
        self._fair += size + (self._anchor - self._fair) * 0.0002
        self._taker_side = BUY if size > 0 else SELL
        self._spread = 1 if rnd.random() < 0.8 else rnd.randint(2, 6)
        bid = round(self._fair)
        self._shift_to(bid, bid + self._spread)

    def _shift_to(self, bid: int, ask: int) -> None:
        # Makers between the old and the new price pull most of their quantity, a taker gets the rest:
        # a client's order that stayed in the way is executed as on a real venue.
        for side, edge in ((SELL, ask), (BUY, bid)):
            for price in self.book.prices_better(side, edge):
                keep = self._random.random() * 0.3
                self.book.set_background(side, price, int(self.book.background_at(side, price) * keep))
            self._changed()
        self.take(BUY, ask - 1, 1 << 60)
        self.take(SELL, bid + 1, 1 << 60)
        for side, edge in ((BUY, bid), (SELL, ask)):
            for distance in range(8):
                price = edge - side * distance
                wanted = distance == 0 or self._random.random() < 0.6
                if wanted and self.book.background_at(side, price) == 0:
                    self.book.add(side, price, self._size(distance))
            self._changed()

    def _taker_arrives(self) -> None:
        rnd = self._random
        if rnd.random() < 0.35:
            self._taker_side = -self._taker_side
        self._heat = min(12.0, self._heat + 0.12)
        lots = max(1, int(rnd.lognormvariate(math.log(0.01), 1.4) * self._lots))
        edge = self._edge(-self._taker_side)
        self.take(self._taker_side, edge + self._taker_side * 5, lots)

    def _touch_quoted(self) -> None:
        side = BUY if self._random.random() < 0.5 else SELL
        edge = self._edge(side)
        best, other = self.book.best(side), self.book.best(-side)
        if other is not None and (edge - other) * side >= 0:
            return
        have = self.book.background_at(side, edge)
        if best is None or best * side < edge * side or have == 0:
            self.book.add(side, edge, self._size(0))
        elif self._random.random() < 0.5:
            self.book.add(side, edge, max(1, self._size(0) // 3))
        else:
            self.book.set_background(side, edge, max(1, int(have * self._random.uniform(0.5, 1.0))))
        self._changed()

    def _deep_level_changes(self) -> None:
        rnd = self._random
        side = BUY if rnd.random() < 0.5 else SELL
        distance = 1 + int(rnd.expovariate(1 / 60.0 if rnd.random() < 0.7 else 1 / 1200.0))
        price = self._edge(side) - side * distance
        other = self.book.best(-side)
        if other is not None and (price - other) * side >= 0:
            return
        have = self.book.background_at(side, price)
        if have and rnd.random() < 0.45:
            self.book.set_background(side, price, 0)
        elif have:
            self.book.set_background(side, price, self._size(distance))
        else:
            self.book.add(side, price, self._size(distance))
        self._changed()

    def _edge(self, side: int) -> int:
        bid = round(self._fair)
        return bid if side == BUY else bid + self._spread

    def _size(self, distance: int) -> int:
        median = 0.15 if distance < 10 else 0.4 + distance / 3000.0
        return max(1, int(self._random.lognormvariate(math.log(median), 0.9) * self._lots))

    def _prune(self) -> None:
        for side in (BUY, SELL):
            edge = self._edge(side)
            for price in reversed(self.book.prices(side)):
                if (edge - price) * side <= LEVELS_AWAY_MAX:
                    break
                self.book.set_background(side, price, 0)
        self._changed()


def _refuse_unknown(body: dict[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise RefereeError(f"unknown lever {name!r}; this market knows: {', '.join(sorted(known))}")
