"""`control kill --flatten`: close what is held, in capped reduce-only slices, then verify flat.

Binance: reduce-only IOC limit orders at a collar through the touch, so a slice can only shrink the
position and never chases an empty book. Polymarket outcome tokens are fully paid: they cannot lose
more than they cost, and selling them needs the wallet's signature, which this emergency path does
not hold; what is held is told instead.
"""

from __future__ import annotations

import asyncio
import time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from control import shared
from control.venues import BinanceVenue, Holding, PolymarketVenue

if TYPE_CHECKING:
    from bridge.paths import Paths

SLICE_USD = Decimal(5000)
COLLAR = Decimal("0.01")
DEADLINE_S = 5.0


async def flatten(venue: BinanceVenue | PolymarketVenue, paths: Paths) -> str:
    """Close everything at the venue. "flat", or "NOT FLAT: …" with what is left."""
    if isinstance(venue, PolymarketVenue):
        held = shared.held_symbols(paths, "polymarket")
        return f"NOT FLAT: {len(held)} outcome tokens kept, sell or redeem them by hand" if held else "flat"
    deadline = time.monotonic() + DEADLINE_S
    while True:
        held_now = await venue.positions()
        if not held_now:
            return "flat"
        if time.monotonic() >= deadline:
            return "NOT FLAT: " + ", ".join(f"{row.symbol} {row.quantity}" for row in held_now)
        for row in held_now:
            await _slice(venue, row)
        await asyncio.sleep(0.1)


async def _slice(venue: BinanceVenue, row: Holding) -> None:
    filters = await venue.filters(row.symbol)
    tick = Decimal(filters["PRICE_FILTER"]["tickSize"])
    step = Decimal(filters["LOT_SIZE"]["stepSize"])
    bid, ask = (Decimal(text) for text in await venue.top(row.symbol))
    held = Decimal(row.quantity)
    selling = held > 0
    raw = bid * (1 - COLLAR) if selling else ask * (1 + COLLAR)
    rounding = ROUND_CEILING if selling else ROUND_FLOOR
    price = (raw / tick).to_integral_value(rounding) * tick
    cap = (SLICE_USD / price / step).to_integral_value(ROUND_FLOOR) * step
    quantity = min(abs(held), max(cap, step))
    client_id = f"kill-{time.time_ns() % 10**15}"
    await venue.reduce(row.symbol, "SELL" if selling else "BUY", f"{quantity:f}", f"{price:f}", client_id)
