"""The Polymarket simulator's money: positions, fees, failed trades and settlement, in integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulators.polymarket_account import (
    INITIAL_CASH_MICROS,
    Accounts,
    ApiKey,
    Leg,
    Position,
    Trade,
    taker_fee_e8,
)
from simulators.polymarket_markets import Market, make_market
from simulators.polymarket_matching import BUY, NO, PRICE_ONE, SELL, YES

KEY = ApiKey("key", "secret", "phrase", "0xWallet", 0)


def market() -> Market:
    """A market of no importance."""
    return make_market(1, "above", 600_000, 0, 3_600_000, False)


def trade_of(name: str, about: Market, outcome: int, side: int, price: int, lots: int, fee: int = 0) -> Trade:
    """A trade in which KEY is the taker."""
    mine = Leg("order", "key", "0xWallet", outcome, side, price, lots, fee)
    other = Leg("other", "", "0xOther", outcome, 1 - side, price, lots)
    return Trade(name, about, mine, [other], 0)


def accounts() -> Accounts:
    """The books with KEY in them."""
    made = Accounts()
    made.add_key(KEY)
    return made


def test_closing_releases_cost_in_proportion() -> None:
    """Part of the cost goes out rounded towards zero, and all of what is left with the last lot."""
    position = Position()
    position.apply(BUY, 3_333, 3, 0)
    position.apply(BUY, 3_334, 4, 0)
    assert (position.quantity, position.cost) == (7, 23_335)
    position.apply(SELL, 5_000, 3, 1_000)
    assert position.cost == 23_335 - 23_335 * 3 // 7
    position.apply(SELL, 5_000, 4, 0)
    assert (position.quantity, position.cost, position.realized) == (0, 0, 35_000 - 23_335)
    assert (position.cash_flow, position.fees_e8) == (35_000 - 23_335, 1_000)


def test_a_fill_through_zero_closes_then_opens() -> None:
    """Selling more than is held closes exactly and opens a short at the new price."""
    position = Position()
    position.apply(BUY, 4_000, 10, 0)
    position.apply(SELL, 5_000, 15, 0)
    assert (position.quantity, position.cost, position.realized) == (-5, -25_000, 10_000)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9_999), st.integers(1, 10_000)), max_size=30))
def test_realized_plus_open_cost_is_the_cash_flow(fills: list[tuple[int, int, int]]) -> None:
    """No micro-dollar appears or disappears: cash flow = realized - cost of what is open."""
    position = Position()
    for side, price, lots in fills:
        position.apply(side, price, lots, 0)
    assert position.cash_flow == position.realized - position.cost
    assert position.quantity != 0 or position.cost == 0


def test_taker_fee_is_the_schedule_rounded_to_five_decimals() -> None:
    """10 shares at 0.50 pay 10 x 0.07 x 0.25 = 0.175 dollars; halves round up."""
    assert taker_fee_e8(5_000, 1_000) == 17_500_000
    assert taker_fee_e8(5_300, 1_886) == 32_886_000
    assert taker_fee_e8(100, 1) % 1_000 == 0


def test_a_failed_trade_leaves_no_trace() -> None:
    """Taking a trade back restores cash, tokens and the position that the other fills make."""
    made, about = accounts(), market()
    first = trade_of("1", about, YES, BUY, 4_000, 1_000, fee=2_000)
    second = trade_of("2", about, YES, SELL, 5_000, 600)
    made.book(first)
    cash, tokens = made.wallets["0xWallet"].cash, dict(made.wallets["0xWallet"].tokens)
    before = made.positions[("key", about.tokens[YES])]
    kept = (before.quantity, before.cost, before.realized, before.fees_e8, before.cash_flow)
    made.book(second)
    made.take_back(second)
    after = made.positions[("key", about.tokens[YES])]
    assert (after.quantity, after.cost, after.realized, after.fees_e8, after.cash_flow) == kept
    assert (made.wallets["0xWallet"].cash, made.wallets["0xWallet"].tokens) == (cash, tokens)


def test_resolution_pays_one_dollar_for_the_winner() -> None:
    """A pair of YES and NO bought for 0.95 a share is worth a dollar whoever wins."""
    made, about = accounts(), market()
    made.book(trade_of("1", about, YES, BUY, 4_500, 1_000))
    made.book(trade_of("2", about, NO, BUY, 5_000, 1_000))
    made.settle(about, NO, 5)
    assert made.wallets["0xWallet"].cash == INITIAL_CASH_MICROS + 1_000 * (PRICE_ONE - 9_500)
    yes, no = (made.positions[("key", token)] for token in about.tokens)
    assert (yes.quantity, yes.realized, no.realized) == (0, -4_500_000, 5_000_000)
    assert [row["price_e9"] for row in made.settlements["key"]] == [0, 1_000_000_000]
