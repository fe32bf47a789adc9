"""Emergency sales of outcome tokens: the signature by known answers, the amounts by the venue's rules."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from control.polymarket_sell import EXCHANGE, EXCHANGE_NEG_RISK, SellOrder, order_digest, sale, sign

# A public test value of the known-answer vectors; never funded.
KEY = "0x" + "59" * 32
ADDRESS = "0x3792A991E81F467eD89a2F7E60fB31b80dF71908"
TOKEN = 7719472615821079694904732333912527190217998977709370935963838933860875309329
KEYS = {"private_key": KEY, "address": ADDRESS, "api_key": "11111111-1111-4111-8111-111111111111"}


def test_signature_equals_the_known_answer() -> None:
    """Order hash and signature of a neg-risk sale equal those of three independent implementations."""
    order = SellOrder(123456789, ADDRESS, TOKEN, 10_000_000, 5_500_000, 1, 1763900000000)
    digest = order_digest(order, EXCHANGE_NEG_RISK)
    assert digest.hex() == "773265c6e352b78183b3c4dbaf8627bbacda0e5fda79251a0d4450a307d0fbc8"
    assert sign(digest, KEY) == (
        "0x59687045be9bcda68c10acdfa3a9f3aab2899268ca453ab127f57a890c371b0f"
        "61739ca5ec162b1739a905558aea8ab35e705036907da754af7a23e4d2addb4e1c"
    )


def test_standard_exchange_has_its_own_domain() -> None:
    """The buy vector of the standard exchange, whose hash depends on that contract."""
    order = SellOrder(123456789, ADDRESS, TOKEN, 4_500_000, 10_000_000, 0, 1763900000000)
    assert order_digest(order, EXCHANGE).hex().startswith("aa3d6635")


def order_of(held: int, bid: str, tick: str = "0.01", cap: str = "5000") -> tuple[dict[str, Any] | None, str]:
    """The order that would be sent, or why none is."""
    book = {
        "tick_size": tick,
        "min_order_size": "5",
        "bids": [{"price": bid}, {"price": tick}],
        "neg_risk": False,
    }
    body, why, dust = sale(book, str(TOKEN), held, KEYS, Decimal("0.1"), Decimal(cap))
    return (None if body is None else json.loads(body)), why or dust


@pytest.mark.parametrize(
    ("held", "bid", "tick", "cap", "maker", "taker"),
    [
        (40_000_000, "0.50", "0.01", "5000", "40000000", "18000000"),  # 10 % below the bid
        (12_340_000, "0.57", "0.01", "5000", "12000000", "6120000"),  # whole shares, price on the grid
        (40_000_000, "0.50", "0.01", "9", "20000000", "9000000"),  # capped slice
        (9_000_000, "0.01", "0.01", "5000", "9000000", "90000"),  # never below one tick
        (9_000_000, "0.4321", "0.0001", "5000", "9000000", "3499200"),  # at most four decimals
    ],
)
def test_amounts_are_on_the_venues_grid(
    held: int, bid: str, tick: str, cap: str, maker: str, taker: str
) -> None:
    """Shares are whole, the price is on the tick grid, and the slice is capped."""
    body, _ = order_of(held, bid, tick, cap)
    assert body is not None
    assert body["orderType"] == "FAK"
    assert (body["order"]["makerAmount"], body["order"]["takerAmount"]) == (maker, taker)


def test_dust_and_empty_books_are_told() -> None:
    """What cannot be sold is not sent but named."""
    book = {"tick_size": "0.01", "min_order_size": "5", "bids": []}
    for bids in ([], [{"price": "0.5"}]):  # with or without a bid: dust is not waited for
        dust = sale({**book, "bids": bids}, str(TOKEN), 4_990_000, KEYS, Decimal("0.1"), Decimal(5))
        assert dust == (None, "", "below the minimum of 5")
    assert sale(book, str(TOKEN), 10**7, KEYS, Decimal("0.1"), Decimal(5)) == (None, "nobody bids", "")
