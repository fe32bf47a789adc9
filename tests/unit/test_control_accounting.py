"""When our books and a venue's count as equal."""

from __future__ import annotations

from control.accounting import is_same_money


def test_fills_booked_in_another_order_are_the_same_money() -> None:
    """Bought at 100 and 110, sold one at 120: with either purchase first the cash is the same, and what the
    order of booking moves between realized and cost is no difference; anything else is one."""
    moved = {
        "cost_micros": {"ours": 105_000_000, "venue": 110_000_000},
        "realized_micros": {"ours": 15_000_000, "venue": 20_000_000},
    }
    assert is_same_money({}) and is_same_money(moved)
    assert not is_same_money({"cost_micros": moved["cost_micros"]})
    assert not is_same_money(moved | {"realized_micros": {"ours": 15_000_000, "venue": 20_000_001}})
    for key in ("quantity_e9", "fees_e8", "cash_flow_micros"):
        assert not is_same_money(moved | {key: {"ours": 1, "venue": 2}})
