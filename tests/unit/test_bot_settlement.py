"""Fills: booked once, final once, taken back once; positions by the shared rule."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from polymarket_bot.execution.settlement import Booked, ChangeKind, Position, Settlement
from polymarket_bot.model import (
    Direction,
    Fee,
    Fill,
    FillStatus,
    Market,
    Outcome,
    Price,
    Side,
    Size,
    TradeUpdate,
    fee_e8,
)

MARKET = Market(
    "0xc", "slug", "?", ("111", "222"), ("Y", "N"), Price(10_000), Size(5_000_000), False, Fee(), 1,
    Direction.ABOVE, 1,
)  # fmt: skip


def fill(number: int, side: Side, price: int, size: int, token: str = "111") -> Fill:
    return Fill(f"t{number}", f"o{number}", "0xc", token, side, Price(price), Size(size), True, 0, number)


def update(status: str, *fills: Fill) -> TradeUpdate:
    return TradeUpdate(status, fills)


def test_life_of_a_fill() -> None:
    """MATCHED books, repeats and MINED change nothing, CONFIRMED makes it final, FAILED comes too late."""
    book = Settlement(day=1)
    one = fill(1, Side.BUY, 450_000, 10_000_000)
    assert [c.kind for c in book.apply(update("MATCHED", one))] == [ChangeKind.BOOKED]
    assert book.apply(update("MATCHED", one)) == []
    assert book.apply(update("MINED", one)) == []
    assert [c.kind for c in book.apply(update("CONFIRMED", one))] == [ChangeKind.FINAL]
    assert book.apply(update("FAILED", one)) == []
    assert book.position("111").quantity == 10_000_000
    assert book.position("111").cost_micros == 4_500_000


def test_failed_is_taken_back_exactly_once() -> None:
    """A failed fill leaves no trace in the position, and no replay books it again."""
    book = Settlement(day=1)
    one, two = fill(1, Side.BUY, 450_000, 10_000_000), fill(2, Side.SELL, 500_000, 5_000_000)
    book.apply(update("MATCHED", one, two))
    assert [c.kind for c in book.apply(update("FAILED", two))] == [ChangeKind.REVERSED]
    for status in ("FAILED", "MATCHED", "MINED", "CONFIRMED"):
        assert book.apply(update(status, two)) == []
    position = book.position("111")
    assert (position.quantity, position.cost_micros, position.realized_micros) == (10_000_000, 4_500_000, 0)
    assert position.cash_flow_micros == -4_500_000


def test_failed_before_matched_is_never_booked() -> None:
    """Events out of order: FAILED first, then a replayed MATCHED."""
    book = Settlement(day=1)
    one = fill(1, Side.BUY, 450_000, 10_000_000)
    assert [c.kind for c in book.apply(update("FAILED", one))] == [ChangeKind.IGNORED]
    assert book.apply(update("MATCHED", one)) == []
    assert book.position("111").quantity == 0


def test_rule_of_cost_and_realized() -> None:
    """Closing releases cost in proportion, truncated toward zero; a flip closes all first."""
    position = Position()
    position.apply(Side.BUY, 3, 100, 0)
    position.apply(Side.SELL, 1, 50, 0)
    assert (position.quantity, position.cost_micros, position.realized_micros) == (2, 67, 17)
    position.apply(Side.SELL, 4, 200, 0)
    assert (position.quantity, position.cost_micros, position.realized_micros) == (-2, -100, 50)
    assert position.cash_flow_micros == 150


TRADES = st.lists(
    st.tuples(st.sampled_from(list(Side)), st.integers(1, 99), st.integers(1, 5_000), st.booleans()),
    max_size=25,
)


@settings(max_examples=100, deadline=None)
@given(TRADES)
def test_cash_and_cost_balance(trades: list[tuple[Side, int, int, bool]]) -> None:
    """realized - cost equals the cash flow, whatever was traded and whatever of it failed."""
    book = Settlement(day=1)
    for number, (side, ticks, lots, fails) in enumerate(trades):
        one = fill(number, side, ticks * 10_000, lots * 10_000)
        book.apply(update("MATCHED", one))
        if fails:
            book.apply(update("FAILED", one))
    position = book.position("111")
    assert position.realized_micros - position.cost_micros == position.cash_flow_micros
    kept = [(s, t, n) for s, t, n, fails in trades if not fails]
    assert position.cash_flow_micros == sum((-1 if s is Side.BUY else 1) * t * n * 100 for s, t, n in kept)


def test_restart_rebuilds_the_same_positions() -> None:
    """What storage kept, loaded into a fresh object, gives the same account and the same memory of keys."""
    book = Settlement(day=7)
    kept: list[Booked] = []
    for number, side in enumerate((Side.BUY, Side.BUY, Side.SELL)):
        for change in book.apply(update("MATCHED", fill(number, side, 400_000 + number, 7_000_000))):
            kept.append(Booked(change.fill, FillStatus.PROVISIONAL, change.sequence, change.day))
    again = Settlement(day=7)
    again.load({}, kept)
    assert again.position("111") == book.position("111")
    assert again.sequence == 3
    assert again.apply(update("MATCHED", kept[0].fill)) == []


def test_resolution_pays_winners_once() -> None:
    """Winning shares become one dollar, losing ones nothing, and only once."""
    book = Settlement(day=1)
    book.apply(update("CONFIRMED", fill(1, Side.BUY, 400_000, 10_000_000)))
    book.apply(update("CONFIRMED", fill(2, Side.BUY, 500_000, 10_000_000, token="222")))
    assert len(book.settle(MARKET, Outcome.YES, 9)) == 2
    assert book.settle(MARKET, Outcome.YES, 9) == []
    assert book.position("111").realized_micros == 6_000_000
    assert book.position("222").realized_micros == -5_000_000


def test_day_roll_carries_what_is_held() -> None:
    """A new day starts with quantity and cost and an empty account; an old fill can still fail."""
    book = Settlement(day=1)
    one = fill(1, Side.BUY, 450_000, 10_000_000)
    book.apply(update("MATCHED", one))
    assert book.roll(1) is None
    openings = book.roll(2)
    assert openings is not None and openings["111"].cost_micros == 4_500_000
    assert book.position("111").cash_flow_micros == 0
    book.apply(update("FAILED", one))
    assert (book.position("111").quantity, book.position("111").cost_micros) == (0, 0)


def test_taker_fee_rounds_at_the_fifth_decimal() -> None:
    """shares x rate x p (1 - p), half up at 0.00001 USD (Polymarket docs, fees)."""
    assert fee_e8(Fee(70_000, 1), 450_000, 10_000_000) == 17_325_000
    assert fee_e8(Fee(70_000, 1), 10_000, 10_000) == 1_000
    assert fee_e8(Fee(0, 1), 450_000, 10_000_000) == 0
