"""What a venue itself says we executed, as records like those of the participants' pages.

Used after a flatten, whose fills no participant is there to book. One record an execution and order of
ours; integers as everywhere: price and quantity in 1e-9, fees in 1e-8.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from control import words
from control.records import Record
from control.venues import BinanceVenue, PolymarketVenue

FAILED = "FAILED"
FINAL = ("CONFIRMED", FAILED)


def e9(text: Any) -> int:
    """A decimal number in units of 1e-9."""
    return int(Decimal(str(text)).scaleb(9))


def trade_status(trade: dict[str, Any]) -> str:
    """The word without the prefix that some answers carry."""
    return str(trade["status"]).removeprefix("TRADE_STATUS_")


async def binance_executions(venue: BinanceVenue, symbols: set[str], since_ms: int) -> list[Record]:
    """Everything executed in these symbols since then, by the venue's clock."""
    rows = []
    for symbol in sorted(symbols):
        for trade in await venue.trades(symbol, since_ms):
            fee = Decimal(trade["commission"]) if trade["commissionAsset"] in ("USDT", "USDC") else Decimal(0)
            row = _record(
                "binance",
                symbol,
                str(trade["side"]),
                (e9(trade["price"]), e9(trade["qty"]), int(fee.scaleb(8))),
                bool(trade["maker"]),
                str(trade["id"]),
                int(trade["time"]) * 1_000_000,
            )
            # What it changed the wallet by, as the venue itself tells it: our books of the cash follow that.
            rows.append({**row, "wallet_e8": int((Decimal(trade["realizedPnl"]) - fee).scaleb(8))})
    return rows


async def polymarket_executions(
    venue: PolymarketVenue, symbols: dict[str, str], since_s: int
) -> list[Record]:
    """Our legs of every trade since then that has not failed. `symbols`: token to what we call it."""
    rows: list[Record] = []
    terms: dict[str, tuple[str, int]] = {}
    newest_first = await venue.trades(since_s)
    for trade in reversed(newest_first):  # their times are whole seconds, so the order matters
        if trade_status(trade) == FAILED:
            continue
        wall_ns = int(trade["match_time"]) * 1_000_000_000
        for leg in trade.get("maker_orders") or []:
            if venue.is_ours(leg):
                side = str(leg.get("side") or _leg_side(trade, leg))
                numbers = e9(leg["price"]), e9(leg["matched_amount"]), 0
                symbol = symbol_of(symbols, str(leg["asset_id"]))
                row = _record("polymarket", symbol, side, numbers, True, str(trade["id"]), wall_ns)
                rows.append(_with_wallet(row))
        if str(trade.get("trader_side")) != "MAKER" and venue.is_ours(trade):
            condition = str(trade["market"])
            if condition not in terms:
                terms[condition] = await venue.fee_terms(condition)
            price, size = Decimal(str(trade["price"])), Decimal(str(trade["size"]))
            numbers = e9(price), e9(size), taker_fee_e8(terms[condition], price, size)
            symbol = symbol_of(symbols, str(trade["asset_id"]))
            side = str(trade["side"])
            row = _record("polymarket", symbol, side, numbers, False, str(trade["id"]), wall_ns)
            rows.append(_with_wallet(row))
    return rows


def _with_wallet(row: Record) -> Record:
    """With what it changed the wallet by, in the whole micro-dollars in which the venue keeps it: a purchase
    costs its value, a sale brings it, and both pay the fee. Our books of the cash follow that."""
    value = row["price_e9"] * row["quantity_e9"] // 10**12
    micros = (-value if row["side"] == "BUY" else value) - row["fee_e8"] // 100
    return {**row, "wallet_e8": micros * 100}


def symbol_of(symbols: dict[str, str], token: str) -> str:
    """What the bot calls an outcome token, also one whose market it does not know."""
    return symbols.get(token, "TOKEN-" + token[-8:])


def taker_fee_e8(terms: tuple[str, int], price: Decimal, size: Decimal) -> int:
    """shares x rate x (p(1-p))^exponent, rounded half up at the fifth decimal of a dollar."""
    rate, exponent = terms
    exact = size * Decimal(rate) * (price * (1 - price)) ** exponent
    return int(exact.quantize(Decimal("0.00001"), ROUND_HALF_UP).scaleb(8))


def _leg_side(trade: dict[str, Any], leg: dict[str, Any]) -> str:
    """A maker on the taker's own token is on the other side; on the complementary token on the same."""
    if leg["asset_id"] != trade["asset_id"]:
        return str(trade["side"])
    return "SELL" if trade["side"] == "BUY" else "BUY"


def _record(
    venue: str,
    symbol: str,
    side: str,
    numbers: tuple[int, int, int],
    maker: bool,
    execution_id: str,
    wall_ns: int,
) -> Record:
    price_e9, quantity_e9, fee_e8 = numbers
    return {
        "participant": words.OWNERS[venue], "sequence": 0, "wall_ns": wall_ns, "venue": venue,
        "symbol": symbol, "side": side, "price_e9": price_e9, "quantity_e9": quantity_e9, "fee_e8": fee_e8,
        "maker": maker, "provisional": False, "reversed": False, "strategy": "none",
        "client_order_id": "0" * 16, "execution_id": execution_id[:47],
    }  # fmt: skip
