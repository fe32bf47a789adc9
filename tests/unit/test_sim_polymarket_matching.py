"""The Polymarket simulator's two-outcome book."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.polymarket_matching import (
    BUY,
    NO,
    PRICE_ONE,
    SELL,
    YES,
    BookOrder,
    TwoOutcomeBook,
    price_text,
    size_text,
)


def order(name: str, outcome: int, side: int, price: int, lots: int) -> BookOrder:
    """An order of nobody in particular."""
    return BookOrder(name, "", outcome, side, price, lots, lots)


def trade(book: TwoOutcomeBook, taker: BookOrder) -> list[tuple[str, int, int]]:
    """Match and rest an order the way the venue does: (maker, lots, YES price)."""
    done = []
    for match in book.walk(taker):
        lots = min(match.lots, taker.left)
        if lots == 0:
            break
        book.take(match.maker, lots)
        taker.left -= lots
        done.append((match.maker.order_id, lots, match.yes_price))
    if taker.left:
        book.rest(taker)
    return done


def test_buying_both_outcomes_mints() -> None:
    """BUY YES 0.45 and BUY NO 0.55 add up to a dollar and trade at the maker's price."""
    book = TwoOutcomeBook()
    trade(book, order("a", YES, BUY, 4_500, 1_000))
    assert trade(book, order("b", NO, BUY, 5_600, 400)) == [("a", 400, 4_500)]
    assert book.levels(True) == [(4_500, 600)]


def test_selling_both_outcomes_merges() -> None:
    """SELL YES 0.45 and SELL NO 0.55 trade; with less than a dollar between them they do not."""
    book = TwoOutcomeBook()
    trade(book, order("a", YES, SELL, 4_500, 100))
    assert trade(book, order("b", NO, SELL, 5_600, 100)) == []
    assert trade(book, order("c", NO, SELL, 5_500, 100)) == [("a", 100, 4_500)]


def test_priority_is_price_then_time() -> None:
    """The best price goes first, then the oldest, whichever outcome the maker quoted."""
    book = TwoOutcomeBook()
    for made in (order("old", YES, SELL, 5_000, 100), order("mirror", NO, BUY, 5_000, 100),
                 order("best", NO, BUY, 5_100, 100)):  # fmt: skip
        trade(book, made)
    assert trade(book, order("t", YES, BUY, 5_000, 250)) == [("best", 100, 4_900), ("old", 100, 5_000),
                                                             ("mirror", 50, 5_000)]  # fmt: skip


def test_changes_name_each_touched_level_once() -> None:
    """The levels reported are those touched since the last report, with what rests there now."""
    book = TwoOutcomeBook()
    trade(book, order("a", YES, BUY, 4_000, 100))
    trade(book, order("b", YES, BUY, 4_000, 50))
    assert book.changed_levels() == [(True, 4_000, 150)]
    book.remove("a")
    book.remove("b")
    assert book.changed_levels() == [(True, 4_000, 0)]
    assert book.changed_levels() == []


def test_texts_have_no_superfluous_zeros() -> None:
    """Numbers are written the way the venue writes them."""
    prices = [price_text(price) for price in (4_500, 10, 10_000, 0, 9_990)]
    assert prices == ["0.45", "0.001", "1", "0", "0.999"]
    assert [size_text(lots) for lots in (500, 12_050, 1, 100_000)] == ["5", "120.5", "0.01", "1000"]


ORDERS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(1, 99), st.integers(1, 500), st.booleans()),
    max_size=60,
)


@settings(deadline=None, max_examples=150)
@given(ORDERS)
def test_book_is_never_crossed_and_loses_nothing(rows: list[tuple[int, int, int, int, bool]]) -> None:
    """Whatever arrives, the sides never overlap, level totals equal their orders, and every lot is
    traded, resting or removed."""
    book = TwoOutcomeBook()
    traded = placed = removed = 0
    for number, (outcome, side, ticks, lots, remove) in enumerate(rows):
        placed += lots
        traded += sum(part[1] for part in trade(book, order(str(number), outcome, side, ticks * 100, lots)))
        if remove and (gone := book.remove(str(number // 2))) is not None:
            removed += gone.left
        bid, ask = book.best_bid(), book.best_ask()
        assert bid is None or ask is None or bid < ask
    resting = sum(made.left for made in book.orders())
    assert placed == 2 * traded + removed + resting
    assert resting == sum(lots for is_bid in (True, False) for _, lots in book.levels(is_bid))
    assert all(0 < price < PRICE_ONE for is_bid in (True, False) for price, _ in book.levels(is_bid))
