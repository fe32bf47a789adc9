"""A price-time book: the best price first, at one price the oldest order first.

Prices are whole ticks, quantities whole lots. An entry either belongs to a client's order (`owner`)
or to the anonymous background. The caller drives matching step by step through `front` and `fill`,
because what must happen between two fills (self-trade prevention, reduce-only) is the venue's rule
and not the book's.
"""

from __future__ import annotations

import bisect
import collections

BUY = 1
SELL = -1


class Resting:
    """One entry of the book: `quantity` lots are left at `price`; `owner` is None for background."""

    __slots__ = ("owner", "price", "quantity", "side")

    def __init__(self, side: int, price: int, quantity: int, owner: object | None = None) -> None:
        self.side = side
        self.price = price
        self.quantity = quantity
        self.owner = owner


class _Level:
    __slots__ = ("background", "queue", "total")

    def __init__(self) -> None:
        self.queue: collections.deque[Resting] = collections.deque()
        self.total = 0
        self.background = 0


class Book:
    """Both sides of one instrument. `touched` collects the (side, price) pairs that changed."""

    __slots__ = ("_keys", "_levels", "touched")

    def __init__(self) -> None:
        # A key is price x side, ascending: the last key of either side is its best price.
        self._keys: dict[int, list[int]] = {BUY: [], SELL: []}
        self._levels: dict[int, dict[int, _Level]] = {BUY: {}, SELL: {}}
        self.touched: set[tuple[int, int]] = set()

    def best(self, side: int) -> int | None:
        """The best price of a side, None when it is empty."""
        keys = self._keys[side]
        return keys[-1] * side if keys else None

    def quantity_at(self, side: int, price: int) -> int:
        """All lots at one price."""
        level = self._levels[side].get(price)
        return level.total if level else 0

    def background_at(self, side: int, price: int) -> int:
        """The lots at one price that belong to no client."""
        level = self._levels[side].get(price)
        return level.background if level else 0

    def levels(self, side: int, limit: int) -> list[tuple[int, int]]:
        """(price, quantity) from the best price on, at most `limit` of them."""
        levels = self._levels[side]
        keys = self._keys[side]
        return [(key * side, levels[key * side].total) for key in keys[: -limit - 1 : -1]]

    def prices(self, side: int) -> list[int]:
        """All prices of a side, best first."""
        return [key * side for key in reversed(self._keys[side])]

    def prices_better(self, side: int, price: int) -> list[int]:
        """The prices of a side that are better than `price`, best first."""
        keys = self._keys[side]
        first = bisect.bisect_right(keys, price * side)
        return [key * side for key in reversed(keys[first:])]

    def count(self, side: int) -> int:
        """How many prices a side has."""
        return len(self._keys[side])

    def front(self, side: int, limit: int | None = None) -> Resting | None:
        """The entry of `side` that trades next, if its price is within the taker's `limit`."""
        keys = self._keys[side]
        if not keys or (limit is not None and keys[-1] < limit * side):
            return None
        return self._levels[side][keys[-1] * side].queue[0]

    def available(self, side: int, limit: int, wanted: int) -> int:
        """The background's lots of `side` within `limit`, counted until `wanted` is reached."""
        found = 0
        for key in reversed(self._keys[side]):
            if found >= wanted or key < limit * side:
                break
            found += self._levels[side][key * side].background
        return found

    def add(self, side: int, price: int, quantity: int, owner: object | None = None) -> Resting:
        """A new entry behind all others of its price."""
        level = self._level(side, price)
        entry = Resting(side, price, quantity, owner)
        level.queue.append(entry)
        level.total += quantity
        if owner is None:
            level.background += quantity
        self.touched.add((side, price))
        return entry

    def fill(self, entry: Resting, quantity: int) -> None:
        """Take lots off an entry; an empty one leaves the book. Priority is kept."""
        level = self._levels[entry.side][entry.price]
        entry.quantity -= quantity
        level.total -= quantity
        if entry.owner is None:
            level.background -= quantity
        self.touched.add((entry.side, entry.price))
        if entry.quantity == 0:
            if level.queue[0] is entry:
                level.queue.popleft()
            else:
                level.queue.remove(entry)
            self._drop_if_empty(entry.side, entry.price, level)

    def remove(self, entry: Resting) -> None:
        """Take an entry out of the book."""
        if entry.quantity:
            self.fill(entry, entry.quantity)

    def set_background(self, side: int, price: int, quantity: int) -> None:
        """Make the background at one price come to `quantity`.

        More joins at the back; less is taken from the back first, so a client's place in the queue
        never improves by a cancellation that may have happened behind it.
        """
        level = self._levels[side].get(price)
        have = level.background if level else 0
        if quantity > have:
            level = self._level(side, price)
            last = level.queue[-1] if level.queue else None
            if last is not None and last.owner is None:
                last.quantity += quantity - have
                level.total += quantity - have
                level.background += quantity - have
                self.touched.add((side, price))
            else:
                self.add(side, price, quantity - have)
        elif level is not None and quantity < have:
            self._shrink_background(level, have - quantity)

    def _shrink_background(self, level: _Level, quantity: int) -> None:
        for entry in reversed(list(level.queue)):
            if entry.owner is None:
                part = min(entry.quantity, quantity)
                quantity -= part
                self.fill(entry, part)
                if quantity == 0:
                    return

    def _level(self, side: int, price: int) -> _Level:
        level = self._levels[side].get(price)
        if level is None:
            level = self._levels[side][price] = _Level()
            bisect.insort(self._keys[side], price * side)
        return level

    def _drop_if_empty(self, side: int, price: int, level: _Level) -> None:
        if level.queue:
            return
        del self._levels[side][price]
        keys = self._keys[side]
        if keys[-1] == price * side:
            keys.pop()
        else:
            del keys[bisect.bisect_left(keys, price * side)]
