"""The worst case of outcome tokens against brute force, and the local limits."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.messages import RejectReason
from polymarket_bot.execution.account import Account
from polymarket_bot.execution.settlement import Position, Settlement, Token
from polymarket_bot.model import ONE, Direction, Fee, Intent, Market, Outcome, Price, Side, Size
from polymarket_bot.risk.manager import LOSS, NOTIONAL, Gate, RiskLimits, RiskManager, Used, trades_with_own

MARKET = Market(
    "0xcondition", "slug", "Bitcoin above 60,000?", ("111", "222"), ("YES", "NO"), Price(10_000),
    Size(5_000_000), False, Fee(70_000, 1), 60_000_000_000, Direction.ABOVE, 10**18,
)  # fmt: skip
LIMITS = RiskLimits(Size(50_000_000), 50_000_000, Size(80_000_000), 12, Price(100_000), 100, 200_000_000)
OPEN = Gate(True, True, True, True)


def intent(
    number: int, outcome: Outcome, side: Side, ticks: int, shares: int, post_only: bool = True
) -> Intent:
    return Intent(
        number, MARKET.condition_id, MARKET.tokens[outcome], outcome, side, Price(ticks * 10_000),
        Size(shares * 1_000_000), post_only, 4,
    )  # fmt: skip


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(list(Outcome)), st.sampled_from(list(Side)), st.integers(1, 99), st.integers(5, 40)
    ),
    max_size=7,
)


def manager(yes: int, no: int, mark_ticks: int) -> RiskManager:
    risk = RiskManager(LIMITS)
    risk.add_market(MARKET)
    risk.set_held(MARKET.condition_id, yes * ONE, no * ONE)
    risk.set_prices(MARKET.condition_id, Price(mark_ticks * 10_000), Price(mark_ticks * 10_000))
    return risk


def brute_force(yes: int, no: int, mark_ticks: int, orders: list[tuple[Outcome, Side, int, int]]) -> int:
    """The worst loss from the mark over every subset of fills and both outcomes, in 0.01 USD."""
    worst = 0
    before = yes * mark_ticks + no * (100 - mark_ticks)
    for size in range(len(orders) + 1):
        for subset in itertools.combinations(orders, size):
            held, cash = [yes, no], 0
            for outcome, side, ticks, shares in subset:
                sign = 1 if side is Side.BUY else -1
                held[outcome] += sign * shares
                cash -= sign * ticks * shares
            for winner in Outcome:
                worst = max(worst, before - (held[winner] * 100 + cash))
    return worst


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 99), ORDERS)
def test_worst_case_equals_brute_force(
    yes: int, no: int, mark_ticks: int, orders: list[tuple[Outcome, Side, int, int]]
) -> None:
    """W is exactly the worst over all subsets of open orders and both outcomes."""
    risk = manager(yes, no, mark_ticks)
    for number, order in enumerate(orders):
        risk.add_order(intent(number, *order))
    expected = brute_force(yes, no, mark_ticks, orders) * 10_000
    assert risk.markets[MARKET.condition_id].worst_micros() == expected
    assert risk.used()[LOSS] == expected


@settings(max_examples=100, deadline=None)
@given(ORDERS, st.randoms(use_true_random=False))
def test_totals_return_when_orders_leave(
    orders: list[tuple[Outcome, Side, int, int]], random: object
) -> None:
    """Adding, shrinking and removing orders in any order leaves no residue."""
    risk = manager(10, 0, 50)
    empty = risk.used()
    for number, order in enumerate(orders):
        risk.add_order(intent(number, *order, post_only=number % 2 == 0))
    for number, order in enumerate(orders):
        risk.resize_order(intent(number, *order), order[3] * 300_001)
    numbers = list(range(len(orders)))
    random.shuffle(numbers)  # type: ignore[attr-defined]
    for number in numbers:
        risk.remove_order(intent(number, *orders[number]))
    assert risk.used() == empty


Book = tuple[int | None, int | None]
BOOKS = st.one_of(
    st.none(),  # never read
    st.tuples(st.none() | st.integers(1, 98), st.none() | st.integers(1, 98)).map(
        lambda book: book if None in book else (min(book), max(book) + 1)  # type: ignore[type-var,operator]
    ),
)
HOLDING = st.tuples(st.integers(0, 40), st.integers(0, 99))  # shares, ticks paid for each


def account_of(holdings: list[tuple[int, int]], realized: int) -> Account:
    """Books that hold YES and NO at a cost, with a result of the day beside them."""
    settlement = Settlement(1)
    for token, (shares, ticks) in zip(MARKET.tokens, holdings, strict=True):
        settlement.tokens[token] = Token(
            position=Position(shares * ONE, shares * ticks * 10_000, realized_micros=realized)
        )
        realized = 0
    nobody: Any = None
    account = Account(RiskManager(LIMITS), settlement, nobody, nobody, nobody)
    account.set_market(MARKET)
    return account


def used_at(account: Account, book: Book | None, orders: list[tuple[Outcome, Side, int, int]]) -> Used:
    if book is not None:
        bid, ask = (None if ticks is None else Price(ticks * 10_000) for ticks in book)
        account.risk.set_prices(MARKET.condition_id, bid, ask)
    for number, order in enumerate(orders):
        account.risk.add_order(intent(number, *order))
    account.refresh_day()
    return account.risk.used()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(HOLDING, min_size=2, max_size=2), st.integers(-30, 30), BOOKS, st.none() | st.integers(1, 99),
    ORDERS,
)  # fmt: skip
def test_what_is_charged_is_never_below_the_truth(
    holdings: list[tuple[int, int]],
    realized: int,
    book: Book | None,
    earlier: int | None,
    orders: list[tuple[Outcome, Side, int, int]],
) -> None:
    """Whatever a share is worth between the best prices that are known: the charge for it at that worth is
    not above what is charged, with a book of two sides, one, or none, and before any was read."""
    account = account_of(holdings, realized * ONE)
    if earlier is not None and book is not None:
        used_at(account, (earlier, earlier), [])
    charged = used_at(account, book, orders)
    bid, ask = book if book is not None else (None, None)
    low, high = 0 if bid is None else bid, 100 if ask is None else ask
    possible = range(low, high + 1) if bid is None or ask is None else ()
    for worth in possible:
        truth = used_at(account_of(holdings, realized * ONE), (worth, worth), orders)
        assert truth[LOSS] <= charged[LOSS] + 1  # a mark at cost is cut to a whole price
        assert truth[NOTIONAL] <= charged[NOTIONAL]


def test_a_holding_without_a_price_is_charged_at_its_worst() -> None:
    """Nothing read: ten YES bought at 0.50 can be worth ten dollars, all of it to lose; no gain is shown."""
    account = account_of([(10, 50), (0, 0)], 0)
    assert used_at(account, None, [])[LOSS] == 10 * ONE
    assert account.day_account() == (0, 0, 0)
    assert account.mark_of("111") == 500_000
    assert used_at(account, (96, 98), [])[LOSS] == 9_700_000


@pytest.mark.parametrize(
    ("book", "holdings", "mark"),
    [
        ((97, None), [(10, 50), (0, 0)], 970_000),
        ((None, 3), [(10, 50), (0, 0)], 0),
        ((None, 3), [(0, 0), (10, 50)], 30_000),  # NO is bid 0.97
        ((97, None), [(0, 0), (10, 50)], ONE),  # nobody bids for NO
        ((None, None), [(10, 50), (0, 0)], 500_000),  # an empty book says nothing
    ],
)
def test_a_one_sided_book_values_what_is_held_at_its_bid(
    book: Book, holdings: list[tuple[int, int]], mark: int
) -> None:
    """Held tokens count for what somebody pays for them."""
    account = account_of(holdings, 0)
    used_at(account, (50, 50), [])
    used_at(account, book, [])
    assert account.risk.markets[MARKET.condition_id].mark == mark


def test_a_holding_that_turns_counts_for_its_own_bid_at_once() -> None:
    """From YES to NO before the one-sided book is read again: nobody bids for NO."""
    account = account_of([(10, 50), (0, 0)], 0)
    used_at(account, (97, None), [])
    account.risk.set_held(MARKET.condition_id, 0, 10 * ONE)
    assert account.mark_of("222") == 0


def test_notional_is_gross_positions_and_open_buys() -> None:
    """The second dimension counts what is held at the mark and what open buys would cost."""
    risk = manager(10, 20, 40)
    risk.add_order(intent(1, Outcome.YES, Side.BUY, 30, 10))
    risk.add_order(intent(2, Outcome.YES, Side.SELL, 50, 10))
    assert risk.used()[NOTIONAL] == 4_000_000 + 12_000_000 + 3_000_000
    assert risk.positions()[NOTIONAL] == 16_000_000


def test_taker_orders_are_charged_their_fee() -> None:
    """An order that may take pays the largest fee it can cost; a post-only one pays none."""
    maker, taker = manager(0, 0, 50), manager(0, 0, 50)
    maker.add_order(intent(1, Outcome.YES, Side.BUY, 50, 10))
    taker.add_order(intent(1, Outcome.YES, Side.BUY, 50, 10, post_only=False))
    assert taker.used()[LOSS] - maker.used()[LOSS] >= 10 * 70_000 // 4


def test_loss_of_the_day_is_counted_and_gains_are_not() -> None:
    """Gains do not enlarge the budget."""
    risk = manager(0, 0, 50)
    risk.day_micros = -3_000_000
    assert risk.used()[LOSS] == 3_000_000
    risk.day_micros = 5_000_000
    assert risk.used()[LOSS] == 0


def test_a_sale_of_held_tokens_reduces() -> None:
    """Selling what is held adds no risk; selling one half of a pair does."""
    assert manager(10, 0, 50).add_order(intent(1, Outcome.YES, Side.SELL, 50, 10))
    assert not manager(10, 10, 50).add_order(intent(1, Outcome.YES, Side.SELL, 50, 10))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (intent(1, Outcome.YES, Side.BUY, 50, 10), RejectReason.NONE),
        (replace(intent(1, Outcome.YES, Side.BUY, 50, 10), price=Price(505_000)), RejectReason.TICK_SIZE),
        (replace(intent(1, Outcome.YES, Side.BUY, 50, 10), price=Price(1_000_000)), RejectReason.TICK_SIZE),
        (intent(1, Outcome.YES, Side.BUY, 50, 4), RejectReason.LOT_SIZE),
        (replace(intent(1, Outcome.YES, Side.BUY, 50, 10), size=Size(10_000_001)), RejectReason.LOT_SIZE),
        (intent(1, Outcome.YES, Side.BUY, 50, 51), RejectReason.MAX_QUANTITY),
        (intent(1, Outcome.YES, Side.BUY, 61, 10), RejectReason.PRICE_COLLAR),
        (intent(1, Outcome.YES, Side.SELL, 50, 11), RejectReason.INSUFFICIENT_BALANCE),
        (
            replace(intent(1, Outcome.YES, Side.BUY, 50, 10), condition_id="?"),
            RejectReason.UNKNOWN_INSTRUMENT,
        ),
        (intent(1, Outcome.YES, Side.BUY, 10, 6, post_only=False), RejectReason.MIN_NOTIONAL),
    ],
)
def test_local_limits(order: Intent, reason: RejectReason) -> None:
    """Each limit refuses with its own reason."""
    risk = manager(10, 0, 50)
    assert risk.check(order, OPEN, Price(500_000), 0) is reason


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (Gate(False, True, True, True), RejectReason.SESSION),
        (Gate(True, False, True, True), RejectReason.BLIND),
        (Gate(True, True, False, True), RejectReason.DEAD_MAN),
        (Gate(True, True, True, False), RejectReason.STALE_DATA),
    ],
)
def test_a_missing_condition_denies(gate: Gate, reason: RejectReason) -> None:
    """What is not known to be well refuses new orders."""
    assert (
        manager(0, 0, 50).check(intent(1, Outcome.YES, Side.BUY, 50, 10), gate, Price(500_000), 0) is reason
    )


def test_no_reference_price_denies() -> None:
    """Without a fair value nothing is placed."""
    order = intent(1, Outcome.YES, Side.BUY, 50, 10)
    assert manager(0, 0, 50).check(order, OPEN, None, 0) is RejectReason.SIGNAL


def test_position_limit_counts_open_orders() -> None:
    """The worst net position with every open order filled stays within the limit."""
    risk = manager(60, 0, 50)
    risk.add_order(intent(1, Outcome.YES, Side.BUY, 50, 15))
    order = intent(2, Outcome.YES, Side.BUY, 50, 10)
    assert risk.check(order, OPEN, Price(500_000), 0) is RejectReason.POSITION_LIMIT


def test_throttle_and_runaway() -> None:
    """Orders per ten seconds are limited, and a flood of refusals stops everything."""
    risk = manager(0, 0, 50)
    order = intent(1, Outcome.YES, Side.BUY, 50, 10)
    for _ in range(LIMITS.orders_per_10s):
        risk.note_sent(1_000)
    assert risk.check(order, OPEN, Price(500_000), 2_000) is RejectReason.THROTTLE
    assert risk.check(order, OPEN, Price(500_000), 20_000_000_000) is RejectReason.NONE
    for _ in range(LIMITS.rejects_per_minute + 1):
        risk.note_rejected(5)
    assert risk.check(order, OPEN, Price(500_000), 20_000_000_000) is RejectReason.RUNAWAY


@pytest.mark.parametrize(
    ("outcome", "side", "ticks", "expected"),
    [
        (Outcome.YES, Side.SELL, 45, True),
        (Outcome.YES, Side.SELL, 46, False),
        (Outcome.NO, Side.BUY, 55, True),
        (Outcome.NO, Side.BUY, 54, False),
        (Outcome.NO, Side.SELL, 10, False),
    ],
)
def test_self_trade_across_the_pair(outcome: Outcome, side: Side, ticks: int, expected: bool) -> None:
    """BUY YES at 0.45 meets SELL YES at 0.45 or less, and BUY NO at 0.55 or more."""
    risk = manager(20, 20, 50)
    risk.add_order(intent(1, Outcome.YES, Side.BUY, 45, 10))
    orders = risk.markets[MARKET.condition_id].orders.values()
    assert trades_with_own(intent(2, outcome, side, ticks, 10), orders) is expected
