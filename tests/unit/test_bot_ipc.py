"""What crosses the bridge: hedge targets, orders of the engine, records of fills."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.messages import (
    ExecutionType,
    MessageNewOrder,
    MessageSignal,
    OrderType,
    RejectReason,
    SessionState,
    TimeInForce,
    VenueId,
)
from polymarket_bot.execution.settlement import Change, ChangeKind
from polymarket_bot.ipc.integration import HEDGE_EVERY_NS, HEDGE_VALID_NS, Hedger
from polymarket_bot.ipc.protocol import fill_report_of, intent_of, signal_of
from polymarket_bot.model import Direction, Fee, Fill, Intent, Market, Outcome, Price, Side, Size

MARKET = Market(
    "0xc", "slug", "?", ("111", "222"), ("BTC>60000-YES", "BTC>60000-NO"), Price(10_000),
    Size(5_000_000), False, Fee(), 1, Direction.ABOVE, 1,
)  # fmt: skip
ORDER = MessageNewOrder(
    client_order_id=1 << 56 | 7, venue=VenueId.POLYMARKET, side=1, type=OrderType.LIMIT,
    time_in_force=TimeInForce.POST_ONLY, strategy=3, symbol="BTC>60000-NO", price_e9=450_000_000,
    quantity_e9=10 * 10**9,
)  # fmt: skip


def test_hedge_target_is_opposite_capped_and_repeated() -> None:
    """Sent when it moved by the threshold, and again every second because it expires."""
    hedger = Hedger(threshold_e9=1_000_000, max_e9=50_000_000, price_limit_ppm=500)
    assert hedger.decide(900_000, 10 * HEDGE_EVERY_NS) == (0, True)
    first = hedger.message("BTCUSDT", 10 * HEDGE_EVERY_NS)
    assert (first.target_e9, first.expires_ns) == (0, 10 * HEDGE_EVERY_NS + HEDGE_VALID_NS)
    assert hedger.decide(900_000, 10 * HEDGE_EVERY_NS + 1) == (0, False)
    assert hedger.decide(2_000_000, 10 * HEDGE_EVERY_NS + 2) == (-2_000_000, True)
    assert hedger.message("BTCUSDT", 10 * HEDGE_EVERY_NS + 2).request_id == 2
    assert hedger.decide(2_500_000, 10 * HEDGE_EVERY_NS + 3) == (-2_000_000, False)
    assert hedger.decide(900_000_000, 10 * HEDGE_EVERY_NS + 4) == (-50_000_000, True)
    assert hedger.decide(0, 10 * HEDGE_EVERY_NS + 5)[0] == 0


def test_hedge_target_moves_to_the_exact_delta_and_then_rests() -> None:
    """Inside the band nothing moves; outside it goes to the delta itself, once an interval."""
    hedger = Hedger(8_000_000, 50_000_000, 500, interval_ns=15 * HEDGE_EVERY_NS)
    assert hedger.decide(7_900_000, 1) == (0, False)
    assert hedger.decide(9_100_000, 2) == (-9_100_000, True)
    hedger.sent_ns = 3 * HEDGE_EVERY_NS
    assert hedger.decide(30_000_000, 3 * HEDGE_EVERY_NS + 1) == (-9_100_000, False)
    assert hedger.decide(30_000_000, 4 * HEDGE_EVERY_NS) == (-9_100_000, True)
    assert hedger.decide(30_000_000, 15 * HEDGE_EVERY_NS + 2) == (-30_000_000, True)


def test_order_of_the_engine_becomes_an_intent() -> None:
    """Units and names change; nothing else does."""
    assert intent_of(ORDER, MARKET, Outcome.NO) == Intent(
        1 << 56 | 7, "0xc", "222", Outcome.NO, Side.SELL, Price(450_000), Size(10_000_000), True, 3
    )


@pytest.mark.parametrize(
    "change",
    [
        {"type": OrderType.MARKET},
        {"time_in_force": TimeInForce.IOC},
        {"side": 2},
        {"reduce_only": 1},
        {"price_e9": 450_000_001},
        {"quantity_e9": 0},
        {"quantity_e9": -(10**9)},
    ],
)
def test_what_this_venue_cannot_do_is_refused(change: dict[str, int]) -> None:
    """No market orders, no IOC, no reduce-only, no finer units than the venue's."""
    assert intent_of(replace(ORDER, **change), MARKET, Outcome.NO) is RejectReason.BAD_ORDER


def test_signal_is_usable_only_when_ready() -> None:
    """The state of the book behind the signal travels with it."""
    message = MessageSignal(state=SessionState.SYNCING, symbol="BTCUSDT", mid_e9=1, received_ns=5)
    assert not signal_of(message).ready
    assert signal_of(replace(message, state=SessionState.READY)).ready


def test_fill_reports() -> None:
    """A fill is a TRADE, one that is taken back a TRADE_REVERSED, both with the same execution id."""
    fill = Fill("t" * 60, "o", "0xc", "111", Side.BUY, Price(450_000), Size(4_000_000), True, 0, 1)
    booked = fill_report_of(Change(ChangeKind.BOOKED, fill, 1, 1), None, "Y", True, 9)
    back = fill_report_of(Change(ChangeKind.REVERSED, fill, 1, 1), None, "Y", False, 9)
    assert (booked.execution_type, back.execution_type) == (ExecutionType.TRADE, ExecutionType.TRADE_REVERSED)
    assert booked.last_price_e9 == 450_000_000 and booked.last_quantity_e9 == 4 * 10**9
    assert booked.provisional == 1 and booked.execution_id == back.execution_id == "t" * 47
