"""`control kill --flatten`: close what is held, in capped slices at a collar, then verify flat.

Binance: reduce-only IOC limit orders, so a slice can only shrink the position. Polymarket: outcome
tokens are sold to the bids by fill-and-kill orders; a rest below the venue's minimum size cannot be
sold and is reported: it cannot lose more than it cost.
"""

from __future__ import annotations

import asyncio
import time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from control import accounting, exposure, shared
from control.venues import BinanceVenue, Holding, PolymarketVenue, VenueError

if TYPE_CHECKING:
    from bridge.paths import Paths

SLICE_USD = Decimal(5000)
COLLAR = Decimal("0.01")
OUTCOME_COLLAR = Decimal("0.1")  # outcome tokens trade in cents: one per cent is less than a tick
DEADLINE_S = 5.0
PAUSE_S = 0.1


async def flatten(venue: BinanceVenue | PolymarketVenue, paths: Paths) -> str:
    """Close everything at the venue. "flat", or "NOT FLAT: …" with what is left."""
    deadline = time.monotonic() + DEADLINE_S
    if isinstance(venue, PolymarketVenue):
        return await _flatten_outcomes(venue, paths, deadline)
    refusal = ""
    while True:
        held = await venue.positions()
        if not held:
            return "flat"
        if time.monotonic() >= deadline:
            return "NOT FLAT: " + ", ".join(f"{row.symbol} {row.quantity}" for row in held) + refusal
        for row in held:
            try:
                await _slice(venue, row)
            except VenueError as error:
                # Another hand may have closed it meanwhile; the next look at the positions tells.
                refusal = f" ({error})"
        await asyncio.sleep(PAUSE_S)


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
    dearest = bid if selling else price  # what a fill may come to: the cap holds at that price too
    cap = (SLICE_USD / dearest / step).to_integral_value(ROUND_FLOOR) * step
    quantity = min(abs(held), max(cap, step))
    client_id = f"kill-{time.time_ns() % 10**15}"
    await venue.reduce(row.symbol, "SELL" if selling else "BUY", f"{quantity:f}", f"{price:f}", client_id)


async def _flatten_outcomes(venue: PolymarketVenue, paths: Paths, deadline: float) -> str:
    tokens = accounting.outcome_tokens(paths)
    if not tokens and exposure.was_used(paths, venue.name):
        return "NOT FLAT as far as is known: the bot's table of markets, which names our tokens, is missing"
    unknown = shared.held_symbols(paths, "polymarket") - tokens.keys()
    left = {symbol: "its token is not known" for symbol in unknown}
    for symbol, token in tokens.items():
        rest = await _sell_out(venue, token, deadline)
        if rest:
            left[symbol] = rest
    if not left:
        return "flat"
    return "NOT FLAT: " + ", ".join(f"{symbol} ({why})" for symbol, why in sorted(left.items()))


async def _sell_out(venue: PolymarketVenue, token: str, deadline: float) -> str:
    """Sell one token until none is left: "" then, else what is left and why."""
    from control.polymarket_sell import sale

    while True:
        held_micros = await venue.token_balance(token)
        if held_micros <= 0:
            return ""
        shares = f"{Decimal(held_micros) / 1_000_000:f} shares"
        if time.monotonic() >= deadline:
            return f"{shares}, out of time"
        body, why = sale(await venue.book(token), token, held_micros, venue.wallet, OUTCOME_COLLAR, SLICE_USD)
        if body is None:
            return f"{shares}, {why}"
        try:
            await venue.submit(body)
        except VenueError as error:
            return f"{shares}, {error}"
        await asyncio.sleep(PAUSE_S)
