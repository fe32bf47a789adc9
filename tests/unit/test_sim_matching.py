"""The simulator's book and its money rule."""

from __future__ import annotations

from simulators.binance_account import Position
from simulators.matching import BUY, SELL, Book


def test_better_price_then_older_order_trades_first() -> None:
    """The best price is in front, and at one price the entry that came first."""
    book = Book()
    first, second = book.add(SELL, 101, 5, "first"), book.add(SELL, 101, 5, "second")
    best = book.add(SELL, 100, 1, "best")
    assert book.front(SELL) is best
    book.fill(best, 1)
    assert book.front(SELL) is first
    book.fill(first, 5)
    assert book.front(SELL) is second
    assert (book.best(SELL), book.best(BUY)) == (101, None)


def test_limit_of_the_taker_is_respected() -> None:
    """No entry beyond the taker's limit is offered or counted."""
    book = Book()
    book.add(BUY, 100, 3)
    book.add(BUY, 98, 4)
    assert book.front(BUY, 101) is None
    assert book.available(BUY, 99, 10) == 3
    assert book.available(BUY, 1, 10) == 7
    assert book.levels(BUY, 5) == [(100, 3), (98, 4)]
    assert book.prices_better(BUY, 98) == [100]


def test_background_shrinks_behind_a_client_first() -> None:
    """A smaller background takes from the back, so the queue ahead of a client stays as long as it can."""
    book = Book()
    ahead = book.add(BUY, 100, 10)
    own = book.add(BUY, 100, 2, "own")
    book.set_background(BUY, 100, 15)
    book.set_background(BUY, 100, 12)
    assert ahead.quantity == 10
    book.set_background(BUY, 100, 4)
    assert (ahead.quantity, own.quantity, book.quantity_at(BUY, 100)) == (4, 2, 6)
    book.set_background(BUY, 100, 0)
    assert book.front(BUY) is own


def test_removed_entry_leaves_no_level_behind() -> None:
    """A level disappears with its last entry, wherever it stands."""
    book = Book()
    deep = book.add(BUY, 90, 1)
    book.add(BUY, 95, 1)
    book.remove(deep)
    book.remove(deep)
    assert book.prices(BUY) == [95]
    assert book.count(BUY) == 1


def test_position_releases_cost_in_proportion_toward_zero() -> None:
    """Reducing releases the share of the cost rounded toward zero; closing releases the rest exactly."""
    position = Position()
    position.apply(BUY, 3, 1000, 7)
    assert position.apply(SELL, 1, 400, 0) == 400 - 333
    assert position.cost_micros == 667
    assert position.apply(SELL, 2, 600, 0) == 600 - 667
    assert (position.quantity, position.cost_micros, position.realized_micros) == (0, 0, 0)
    assert (position.fees_e8, position.cash_flow_micros) == (7, 0)


def test_flip_closes_everything_then_opens() -> None:
    """A fill through zero realises on the old position and opens the rest at its own price."""
    position = Position()
    position.apply(SELL, 2, 200, 0)
    assert position.apply(BUY, 5, 450, 0) == 200 - 180
    assert (position.quantity, position.cost_micros) == (3, 270)
