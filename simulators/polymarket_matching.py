"""One book for the two outcomes of a market.

A YES share and a NO share of the same market together are worth one dollar, so the venue keeps a
single book: buying NO at q is selling YES at 1 - q. Every order is placed on the YES ladder; where
the two sides of a match buy both outcomes the exchange mints a pair, where both sell it merges one
(docs.polymarket.com, "CTF Exchange": complementary, mint and merge matches). The maker's price rules.

Prices are integers of 0.0001 dollar, sizes integers of 0.01 share; price times size is in
micro-dollars without a remainder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PRICE_ONE = 10_000
LOTS_PER_SHARE = 100
YES, NO = 0, 1
BUY, SELL = 0, 1
SIDE_NAMES = ("BUY", "SELL")


@dataclass(slots=True, eq=False)
class BookOrder:
    """An order as the book sees it. `price` is in terms of its own outcome; `owner` is an API key,
    or empty for the venue's other traders."""

    order_id: str
    owner: str
    outcome: int
    side: int
    price: int
    lots: int
    left: int

    @property
    def is_bid(self) -> bool:
        """True when the order buys YES or, what is the same, sells NO."""
        return (self.side == BUY) == (self.outcome == YES)

    @property
    def yes_price(self) -> int:
        """The price on the YES ladder."""
        return self.price if self.outcome == YES else PRICE_ONE - self.price


@dataclass(frozen=True, slots=True)
class Match:
    """A maker and the lots taken from it, at the maker's price on the YES ladder."""

    maker: BookOrder
    lots: int
    yes_price: int


def price_for(outcome: int, yes_price: int) -> int:
    """A price of the YES ladder as the holder of `outcome` sees it."""
    return yes_price if outcome == YES else PRICE_ONE - yes_price


class TwoOutcomeBook:
    """Price-time priority over the YES ladder. Levels hold orders in order of arrival."""

    def __init__(self) -> None:
        self._bids: dict[int, dict[str, BookOrder]] = {}
        self._asks: dict[int, dict[str, BookOrder]] = {}
        self._totals: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._orders: dict[str, BookOrder] = {}
        self._changed: dict[tuple[bool, int], None] = {}

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._orders

    def orders(self) -> Iterator[BookOrder]:
        """Every resting order."""
        return iter(list(self._orders.values()))

    def get(self, order_id: str) -> BookOrder | None:
        """The resting order of this id."""
        return self._orders.get(order_id)

    def best_bid(self) -> int | None:
        """The highest price at which somebody buys YES."""
        return max(self._bids, default=None)

    def best_ask(self) -> int | None:
        """The lowest price at which somebody sells YES."""
        return min(self._asks, default=None)

    def total(self, is_bid: bool, yes_price: int) -> int:
        """The lots resting at one level."""
        return self._totals[not is_bid].get(yes_price, 0)

    def levels(self, is_bid: bool) -> list[tuple[int, int]]:
        """(YES price, lots) of one side, best first."""
        return sorted(self._totals[not is_bid].items(), reverse=is_bid)

    def crosses(self, order: BookOrder) -> bool:
        """True when the order would trade at once."""
        best = self.best_ask() if order.is_bid else self.best_bid()
        if best is None:
            return False
        return best <= order.yes_price if order.is_bid else best >= order.yes_price

    def walk(self, order: BookOrder) -> Iterator[Match]:
        """The resting orders that this order can trade with, in priority, without taking anything.
        The lots of a match are the maker's whole rest."""
        levels = self._asks if order.is_bid else self._bids
        for yes_price in sorted(levels, reverse=not order.is_bid):
            if yes_price > order.yes_price if order.is_bid else yes_price < order.yes_price:
                return
            for maker in list(levels[yes_price].values()):
                yield Match(maker, maker.left, yes_price)

    def take(self, maker: BookOrder, lots: int) -> None:
        """Trade this many lots of a resting order."""
        if not 0 < lots <= maker.left:
            raise ValueError(f"cannot take {lots} of {maker.left} lots")
        maker.left -= lots
        self._change(maker, -lots)
        if maker.left == 0:
            self._drop(maker)

    def rest(self, order: BookOrder) -> None:
        """Put the untraded rest of an order on the book."""
        if order.order_id in self._orders or order.left <= 0:
            raise ValueError(f"order {order.order_id} cannot rest")
        side = self._bids if order.is_bid else self._asks
        side.setdefault(order.yes_price, {})[order.order_id] = order
        self._orders[order.order_id] = order
        self._change(order, order.left)

    def remove(self, order_id: str) -> BookOrder | None:
        """Take an order off the book; None when it does not rest."""
        order = self._orders.get(order_id)
        if order is not None:
            self._change(order, -order.left)
            self._drop(order)
        return order

    def changed_levels(self) -> list[tuple[bool, int, int]]:
        """(is bid, YES price, lots now) of every level touched since the last call."""
        changes = [(is_bid, price, self.total(is_bid, price)) for is_bid, price in self._changed]
        self._changed.clear()
        return changes

    def _change(self, order: BookOrder, lots: int) -> None:
        totals = self._totals[not order.is_bid]
        total = totals.get(order.yes_price, 0) + lots
        if total:
            totals[order.yes_price] = total
        else:
            totals.pop(order.yes_price, None)
        self._changed[(order.is_bid, order.yes_price)] = None

    def _drop(self, order: BookOrder) -> None:
        side = self._bids if order.is_bid else self._asks
        level = side[order.yes_price]
        del level[order.order_id]
        if not level:
            del side[order.yes_price]
        del self._orders[order.order_id]


def price_text(price: int) -> str:
    """A price of 0.0001 dollar without superfluous zeros: 4500 is 0.45."""
    text = f"{price // PRICE_ONE}.{price % PRICE_ONE:04d}".rstrip("0")
    return text[:-1] if text.endswith(".") else text


def size_text(lots: int) -> str:
    """A size of 0.01 share without superfluous zeros: 12050 is 120.5."""
    text = f"{lots // LOTS_PER_SHARE}.{lots % LOTS_PER_SHARE:02d}".rstrip("0")
    return text[:-1] if text.endswith(".") else text


def dollars_text(micros: int) -> str:
    """Micro-dollars without superfluous zeros."""
    text = f"{micros // 1_000_000}.{micros % 1_000_000:06d}".rstrip("0")
    return text[:-1] if text.endswith(".") else text
