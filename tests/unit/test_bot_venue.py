"""What the venue says and what it means: hashes, answers, trades, titles, numbers."""

from __future__ import annotations

from typing import Any

import pytest
from polymarket.models.clob.orders import SignedOrder

from bridge.messages import RejectReason
from polymarket_bot.api.decimals import format_scaled, parse_scaled, parse_wall_ns
from polymarket_bot.api.errors_table import Verdict, classify
from polymarket_bot.api.polymarket import (
    Credentials,
    domain_separator,
    is_protocol_v2,
    order_hash,
    read_strike,
)
from polymarket_bot.api.trades import TradeReader
from polymarket_bot.errors import VenueError
from polymarket_bot.model import Direction, Fee, Side

ZERO32 = "0x" + "00" * 32
EXCHANGE_V2 = "0xE111180000d2663C0091e4f400237545B87B996B"
ADDRESS = "0x3792A991E81F467eD89a2F7E60fB31b80dF71908"
TOKEN = "7719472615821079694904732333912527190217998977709370935963838933860875309329"
OTHER = "15438945231642159389809464667825054380435997955418741871927677867721750618658"
OWNER = "11111111-1111-4111-8111-111111111111"
ORDER = "0xaa3d66358d8e05f4a8d65f105d232acc794130b3d25476b8a0a21ba15a9e9562"


def test_order_hash_known_answer() -> None:
    """The id of a BUY of 10 at 0.45 on the standard exchange, as three independent signers compute it."""
    separator = domain_separator("2", 137, EXCHANGE_V2)
    assert separator.hex() == "3264e159346253e26a64e00b69032db0e7d32f94628de3e6eecb50304d7af3d2"
    order = SignedOrder(
        builder=ZERO32, expiration=0, maker=ADDRESS, maker_amount=4_500_000, metadata=ZERO32,
        order_type="GTC", salt=123456789, side="BUY", signature="0x", signature_type=0, signer=ADDRESS,
        taker_amount=10_000_000, timestamp=1763900000000, token_id=TOKEN,
    )  # type: ignore[arg-type]  # fmt: skip
    assert order_hash(separator, order) == ORDER


def test_protocol_of_a_position_id() -> None:
    """Bits 40 to 103 all zero mark protocol V2."""
    assert not is_protocol_v2(TOKEN)
    assert is_protocol_v2(str((1 << 248) | 5))


@pytest.mark.parametrize(
    ("status", "text", "verdict", "reason"),
    [
        (400, "invalid post-only order: order crosses book", Verdict.REJECTED, RejectReason.POST_ONLY_CROSS),
        (200, "invalid post-only order: order crosses book", Verdict.REJECTED, RejectReason.POST_ONLY_CROSS),
        (400, "not enough balance / allowance", Verdict.REJECTED, RejectReason.INSUFFICIENT_BALANCE),
        (400, f"order {ORDER} is invalid. Price (0.455) breaks minimum tick size rule: 0.01",
         Verdict.REJECTED, RejectReason.TICK_SIZE),
        (400, f"order {ORDER} is invalid. Size (1) lower than the minimum: 5", Verdict.REJECTED,
         RejectReason.LOT_SIZE),
        (400, f"order {ORDER} is invalid. Duplicated.", Verdict.LANDED, RejectReason.NONE),
        (401, "Unauthorized/Invalid api key", Verdict.ACCOUNT, RejectReason.VENUE_AUTH),
        (400, "the order owner has to be the owner of the API KEY", Verdict.ACCOUNT, RejectReason.VENUE_AUTH),
        (400, "maker address not allowed, please use the deposit wallet flow", Verdict.ACCOUNT,
         RejectReason.VENUE_AUTH),
        (503, "post_only_mode: post-only", Verdict.MODE, RejectReason.VENUE_MODE),
        (200, "post-only mode: only post-only orders and cancels are allowed", Verdict.MODE,
         RejectReason.VENUE_MODE),
        (503, "Trading is currently cancel-only.", Verdict.MODE, RejectReason.VENUE_MODE),
        (503, "Trading is currently disabled.", Verdict.MODE, RejectReason.VENUE_MODE),
        (400, "context canceled", Verdict.UNKNOWN, RejectReason.NONE),
        (425, "", Verdict.UNKNOWN, RejectReason.NONE),
        (500, "there are no matching orders", Verdict.UNKNOWN, RejectReason.NONE),
        (500, "order couldn't be fully filled. FOK orders are fully filled or killed.", Verdict.UNKNOWN,
         RejectReason.NONE),
        (502, "not enough balance / allowance", Verdict.UNKNOWN, RejectReason.NONE),
        (503, "Service Unavailable", Verdict.UNKNOWN, RejectReason.NONE),
        (200, "order match delayed due to market conditions", Verdict.UNKNOWN, RejectReason.NONE),
        (400, "something new", Verdict.UNKNOWN, RejectReason.NONE),
    ],
)  # fmt: skip
def test_answers(status: int, text: str, verdict: Verdict, reason: RejectReason) -> None:
    """Only a listed refusal frees an order; every other answer leaves it UNKNOWN."""
    result = classify(status, text)
    assert (result.verdict, result.reason) == (verdict, reason)


def test_rate_limit_with_and_without_headers() -> None:
    """A 429 with headers was refused by the limiter; a bare one may come from anywhere."""
    assert classify(429, "", limited=True, retry_after_s=3).verdict is Verdict.RATE
    assert classify(429, "").verdict is Verdict.UNKNOWN


def trade(**changes: Any) -> dict[str, Any]:
    leg = {
        "order_id": ORDER, "owner": OWNER, "maker_address": ADDRESS, "matched_amount": "4", "price": "0.45",
        "asset_id": TOKEN, "side": "BUY",
    }  # fmt: skip
    value: dict[str, Any] = {
        "id": "t1", "status": "MATCHED", "market": "0xc", "asset_id": OTHER, "side": "BUY", "size": "4",
        "price": "0.55", "match_time": "1763900010", "owner": OWNER, "trade_owner": "2222",
        "maker_address": "0x4444", "taker_order_id": "0xc1", "trader_side": "MAKER", "maker_orders": [leg],
    }  # fmt: skip
    value.update(changes)
    return value


def reader() -> TradeReader:
    return TradeReader(OWNER, ADDRESS, lambda token: Fee(70_000, 1))


def test_maker_leg_on_the_complementary_token() -> None:
    """The taker bought NO at 0.55; what we traded is our own leg: BUY YES at 0.45, no fee."""
    (fill,) = reader().read(trade()).fills
    assert (fill.token, fill.side, fill.price, fill.size) == (TOKEN, Side.BUY, 450_000, 4_000_000)
    assert (fill.maker, fill.fee_e8, fill.order_id) == (True, 0, ORDER)
    assert fill.matched_wall_ns == 1763900010 * 10**9


def test_missing_leg_side() -> None:
    """Same token as the trade: the opposite side; the complementary token: the same side."""
    same, across = trade(), trade()
    for value, token in ((same, OTHER), (across, TOKEN)):
        value["maker_orders"] = [{**value["maker_orders"][0], "asset_id": token, "side": ""}]
    assert reader().read(same).fills[0].side is Side.SELL
    assert reader().read(across).fills[0].side is Side.BUY


def test_taker_trade_has_a_fee_and_foreign_makers_are_not_ours() -> None:
    """As taker the trade's own fields are ours, and only they."""
    foreign = {**trade()["maker_orders"][0], "owner": "x", "maker_address": "0x4444"}
    value = trade(
        trader_side="TAKER", trade_owner=OWNER, maker_address=ADDRESS, taker_order_id=ORDER, asset_id=TOKEN,
        price="0.47", size="5", maker_orders=[foreign], status="TRADE_STATUS_MATCHED",
    )  # fmt: skip
    result = reader().read(value)
    (fill,) = result.fills
    assert result.status == "MATCHED"
    assert (fill.maker, fill.price, fill.size) == (False, 470_000, 5_000_000)
    assert fill.fee_e8 == 8_719_000


@pytest.mark.parametrize("field", ["price", "asset_id", "order_id"])
def test_trade_without_a_deciding_field_is_refused(field: str) -> None:
    """What decides about money is never guessed."""
    value = trade()
    del value["maker_orders"][0][field]
    with pytest.raises(VenueError):
        reader().read(value)


@pytest.mark.parametrize("text", ["", "-1", "1e5", "NaN", "1.2.3", "0x10", " 1", "1" * 30, True, None])
def test_numbers_that_are_refused(text: object) -> None:
    """No sign, exponent, NaN, blank or overlong number passes."""
    with pytest.raises(VenueError):
        parse_scaled(text)


def test_numbers() -> None:
    """Decimal text, whole numbers and JSON numbers become integers and come back."""
    assert [parse_scaled(v) for v in ("0.45", ".5", "10", 5, 0.01, "0.0001")] == [
        450_000, 500_000, 10_000_000, 5_000_000, 10_000, 100,
    ]  # fmt: skip
    assert [format_scaled(v) for v in (450_000, 10_000_000, 100)] == ["0.45", "10", "0.0001"]


def test_times_in_seconds_and_milliseconds() -> None:
    """Told apart by magnitude."""
    assert parse_wall_ns("1763900010") == parse_wall_ns(1763900010000) == 1763900010 * 10**9
    assert parse_wall_ns("soon") == parse_wall_ns(None) == 0


def test_what_a_title_says() -> None:
    """Strike and direction come from the title, or from the price to beat."""
    assert read_strike("Bitcoin above 60,250.5 on November 25?", "") == (60_250_500_000, Direction.ABOVE)
    assert read_strike("Will BTC be below $99,000 at 5PM?", "") == (99_000_000_000, Direction.BELOW)
    text = "at or above the price to beat, 60,012.3, else to Down."
    assert read_strike("Bitcoin Up or Down - 3PM", text) == (60_012_300_000, Direction.ABOVE)
    assert read_strike("Bitcoin Up or Down - 3PM", "") is None
    assert read_strike("Will it rain?", "") is None


def test_secrets_have_no_repr() -> None:
    """Printing or logging credentials shows nothing of them."""
    secret = Credentials("canary-key", "0x1", "canary-id", "canary-secret", "canary-pass")
    assert "canary" not in f"{secret!r} {secret} {[secret]}"
