"""Fair value and quotes: pure functions, judged by their properties."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from polymarket_bot.model import (
    ONE,
    BookView,
    Direction,
    Fee,
    Holdings,
    Market,
    Outcome,
    Price,
    Quote,
    Side,
    Signal,
    Size,
    Top,
)
from polymarket_bot.strategy.fair_value import YEAR_NS, FairValue, fair_value
from polymarket_bot.strategy.market_maker import QuoteSettings, decide, keep

EXPIRY = 2_000_000 * 10**9
NOW = EXPIRY - 3600 * 10**9
MARKET = Market(
    "0xc", "slug", "?", ("111", "222"), ("Y", "N"), Price(10_000), Size(5_000_000), False, Fee(),
    60_000_000_000, Direction.ABOVE, EXPIRY,
)  # fmt: skip
SETTINGS = QuoteSettings(
    Size(10_000_000), 2, Price(5_000), Size(40_000_000), 4, Price(150_000), Price(50_000), Price(950_000), 0,
    120 * 10**9,
)  # fmt: skip
EMPTY = Top(None, Size(0), None, Size(0))


def signal(price: int, volatility_percent: int = 50) -> Signal:
    return Signal("BTCUSDT", price * 10**9, price * 10**9, volatility_percent * 10**7, 0, True)


def view(bid: int | None, ask: int | None) -> BookView:
    def price(ticks: int | None) -> Price | None:
        return None if ticks is None else Price(ticks * 10_000)

    yes = Top(price(bid), Size(ONE), price(ask), Size(ONE))
    no = Top(
        price(None if ask is None else 100 - ask),
        Size(ONE),
        price(None if bid is None else 100 - bid),
        Size(ONE),
    )
    return BookView((yes, no), Price(10_000), True)


def held(yes: int, no: int) -> Holdings:
    return Holdings(Size(yes * ONE), Size(no * ONE))


def at(probability: int) -> FairValue:
    return FairValue(probability, 0, 0)


def test_value_is_the_normal_distribution_of_d2() -> None:
    """A hand-computed case: S = K, sigma 50 %, one hour."""
    value = fair_value(MARKET, signal(60_000), NOW)
    assert value is not None
    deviation = 0.5 * math.sqrt(3600 * 10**9 / YEAR_NS)
    assert abs(value.probability - ONE * 0.5 * math.erfc(0.5 * deviation / math.sqrt(2))) <= 1
    assert abs(value.delta_e9 - 1e9 * 0.39894 / (60_000 * deviation)) < 200


def test_delta_is_the_slope_of_the_value() -> None:
    """Delta times a small move of the reference is the change of the value."""
    low, high = fair_value(MARKET, signal(59_990), NOW), fair_value(MARKET, signal(60_010), NOW)
    middle = fair_value(MARKET, signal(60_000), NOW)
    assert low is not None and high is not None and middle is not None
    assert abs((high.probability - low.probability) - middle.delta_e9 * 20 // 1000) < 50


def test_below_mirrors_above() -> None:
    """A market that pays below the strike has the complementary value and the opposite delta."""
    above = fair_value(MARKET, signal(60_300), NOW)
    below = fair_value(replace(MARKET, direction=Direction.BELOW), signal(60_300), NOW)
    assert above is not None and below is not None
    assert above.probability + below.probability == ONE
    assert above.delta_e9 == -below.delta_e9


def test_nothing_usable_gives_no_value() -> None:
    """Expired, no volatility, no price: no value, and so no quotes."""
    assert fair_value(MARKET, signal(60_000), EXPIRY) is None
    assert fair_value(MARKET, signal(60_000, 0), NOW) is None
    assert fair_value(MARKET, signal(0), NOW) is None
    assert decide(MARKET, view(45, 55), None, held(0, 0), SETTINGS, NOW).orders == ()


def test_two_buys_make_both_sides() -> None:
    """Without holdings both sides rest as buys: YES below the value, NO below its complement."""
    quotes = decide(MARKET, view(40, 60), at(500_000), held(0, 0), SETTINGS, NOW)
    assert quotes.orders == (
        Quote(Outcome.YES, Side.BUY, Price(480_000), Size(10_000_000)),
        Quote(Outcome.NO, Side.BUY, Price(480_000), Size(10_000_000)),
    )


def test_held_tokens_are_sold_first() -> None:
    """With YES in hand the offer is a sale of YES, and the whole pair of quotes moves down."""
    quotes = decide(MARKET, view(40, 60), at(500_000), held(20, 0), SETTINGS, NOW)
    assert quotes.orders == (
        Quote(Outcome.YES, Side.BUY, Price(460_000), Size(10_000_000)),
        Quote(Outcome.YES, Side.SELL, Price(510_000), Size(10_000_000)),
    )


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, ONE),
    st.integers(1, 98),
    st.integers(1, 30),
    st.integers(0, 60),
    st.integers(0, 60),
)
def test_quotes_keep_their_promises(value: int, bid: int, spread: int, yes: int, no: int) -> None:
    """On the grid, behind the touch, with edge, within position, never selling more than is held."""
    ask = min(99, bid + spread)
    quotes = decide(MARKET, view(bid, ask), at(value), held(yes, no), SETTINGS, NOW)
    for quote in quotes.orders:
        own = value if quote.outcome is Outcome.YES else ONE - value
        assert quote.price % 10_000 == 0 and 10_000 <= quote.price <= ONE - 10_000
        edge = own - quote.price if quote.side is Side.BUY else quote.price - own
        assert edge >= SETTINGS.min_edge
        best_ask = ask if quote.outcome is Outcome.YES else 100 - bid
        best_bid = bid if quote.outcome is Outcome.YES else 100 - ask
        if quote.side is Side.BUY:
            assert quote.price < best_ask * 10_000
        else:
            assert quote.price > best_bid * 10_000
            assert quote.size <= (yes if quote.outcome is Outcome.YES else no) * ONE
        longer = (quote.outcome is Outcome.YES) == (quote.side is Side.BUY)
        after = (yes - no) * ONE + (quote.size if longer else -quote.size)
        assert abs(after) <= SETTINGS.max_position or abs(after) < abs(yes - no) * ONE


def test_no_quotes_when_in_doubt() -> None:
    """A stale book, a far market, a certain outcome and a near expiry each pull everything."""
    stale = replace(view(40, 60), fresh=False)
    assert decide(MARKET, stale, at(500_000), held(0, 0), SETTINGS, NOW).orders == ()
    assert decide(MARKET, view(10, 20), at(500_000), held(0, 0), SETTINGS, NOW).orders == ()
    assert decide(MARKET, view(40, 60), at(970_000), held(0, 0), SETTINGS, NOW).orders == ()
    late = EXPIRY - 60 * 10**9
    assert decide(MARKET, view(40, 60), at(500_000), held(0, 0), SETTINGS, late).orders == ()


def test_empty_book_is_quoted_around_the_value() -> None:
    """Nobody else there: the value alone decides."""
    quotes = decide(
        MARKET, BookView((EMPTY, EMPTY), Price(10_000), True), at(500_000), held(0, 0), SETTINGS, NOW
    )
    assert [quote.price for quote in quotes.orders] == [480_000, 480_000]


def test_near_orders_keep_their_place() -> None:
    """Within the tolerance and with edge an order stays; without edge or half eaten it goes."""
    wanted = Quote(Outcome.YES, Side.BUY, Price(480_000), Size(10_000_000))
    tick, edge = Price(10_000), Price(5_000)
    assert keep(replace(wanted, price=Price(470_000)), wanted, tick, 1, edge, Price(500_000))
    assert not keep(replace(wanted, price=Price(460_000)), wanted, tick, 1, edge, Price(500_000))
    assert not keep(replace(wanted, price=Price(490_000)), wanted, tick, 1, edge, Price(494_000))
    assert not keep(replace(wanted, size=Size(4_000_000)), wanted, tick, 1, edge, Price(500_000))
    assert not keep(replace(wanted, side=Side.SELL), wanted, tick, 1, edge, Price(500_000))
