"""`control kill --flatten`: close what is held, in capped slices at a collar, then verify flat.

It runs when the participants are dead, so that nobody trades against it. What is held is asked of the venue
itself: Binance lists positions; at Polymarket the tokens to look at come from the Data API's list, from the
account's trades and from the bot's own table, and how much there is of each from its balance.

Binance: reduce-only IOC limit orders, so a slice can only shrink the position; such orders need no least
notional (error -4164, "unless you choose reduce only"), only the lot size binds. Polymarket: outcome tokens
are sold to the bids by fill-and-kill orders. What is below the venue's least size is dust: it is named, it
cannot lose more than it cost, and it is no failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from control import accounting, executions, late_fills, shared
from control.venues import BinanceVenue, Holding, PolymarketVenue, VenueError, open_venue

if TYPE_CHECKING:
    from bridge.paths import Paths
    from control.access import Place

T = TypeVar("T")
SLICE_USD = Decimal(5000)
COLLAR = Decimal("0.01")
OUTCOME_COLLAR = Decimal("0.1")  # outcome tokens trade in cents: one per cent is less than a tick
CALL_TIMEOUT_S = 2.0
DEADLINE_S = 10.0  # by then the last slice has left
FINAL_S = 20.0  # and by then the chain has confirmed it, or it is said that it has not
TOTAL_S = 30.0  # whatever a venue answers, a flatten ends by then
PAUSE_S = 0.1
AT_ONCE = 8  # questions at a time: Polymarket takes 200 of balances in ten seconds
ENDED_NS = 2 * 24 * 3600 * 1_000_000_000  # a market that ended before that has paid out
TRADES_S = 3600  # of trades, where the Data API answers: far longer than it lags
REFUSED_DUST = "min size: $"  # what the venue says of an order that is worth less than one dollar


@dataclass(slots=True)
class Closed:
    """What a flatten left at one venue."""

    left: list[str] = field(default_factory=list)  # could have been closed, and is not
    dust: list[str] = field(default_factory=list)  # below what the venue takes
    unknown: str = ""  # why it is not known what is held
    books: str = ""  # why our own books could not follow
    in_books: bool = True  # whether they are to follow

    def line(self) -> str:
        """Its part of the venue's line."""
        said = []
        if self.unknown:
            said.append(f"POSITIONS UNVERIFIED, {self.unknown}; look at the venue itself")
        if self.left:
            said.append("NOT FLAT: " + ", ".join(sorted(self.left)))
        dust = "dust: " + ", ".join(sorted(self.dust)) if self.dust else ""
        if said:
            said += [dust] if dust else []
        else:
            said.append(f"flat but for {dust}" if dust else "flat")
        if self.books:
            said.append(f"our books do not follow ({self.books})")
        return "; ".join(said)


def close_all(paths: Paths, places: list[Place], alive: list[str]) -> list[Closed]:
    """Close everything at these places, all at the same time. Never raises: a result a place."""
    if alive:
        running = ", ".join(alive)
        return [Closed(left=[f"nothing was sold, for {running} still runs"]) for _ in places]
    return asyncio.run(_close_all(paths, places))


async def _close_all(paths: Paths, places: list[Place]) -> list[Closed]:
    return list(await asyncio.gather(*(_close_at(paths, place) for place in places)))


async def _close_at(paths: Paths, place: Place) -> Closed:
    # Our books are those of the present place; an account that an earlier run used is none of theirs.
    result = Closed(in_books=not place.earlier)
    if place.ready is None:
        result.unknown = "its address is not known"
        return result
    try:
        async with asyncio.timeout(TOTAL_S), open_venue(place.venue, place.ready, CALL_TIMEOUT_S) as venue:
            offset_s = await venue.ping()
            if isinstance(venue, PolymarketVenue):
                await _Outcomes(venue, paths, result, offset_s).close()
            else:
                await _close_perpetuals(venue, paths, result, offset_s)
    except Exception as error:  # whatever went wrong here, the other venue must still be closed
        result.unknown = "no answer in time" if isinstance(error, TimeoutError) else _words(error)
    return result


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, VenueError) and str(error) else f"{type(error).__name__}: {error}"


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What is held decides the verdict: a question that failed is asked again, three times in all."""
    for _ in range(2):
        with contextlib.suppress(VenueError):
            return await ask()
        await asyncio.sleep(PAUSE_S)
    return await ask()


async def _follow(result: Closed, read: Callable[[], Awaitable[int]]) -> None:
    """Let our own books know what was sold. Its failure takes nothing away from what was closed."""
    if not result.in_books:
        return
    try:
        await read()
    except OSError as error:
        result.books = f"the fills cannot be kept: {error.strerror}"
    except Exception as error:
        result.books = _words(error)


# ---- perpetuals ----------------------------------------------------------------------------------


async def _close_perpetuals(venue: BinanceVenue, paths: Paths, result: Closed, offset_s: float) -> None:
    deadline = time.monotonic() + DEADLINE_S
    symbols = shared.held_symbols(paths, venue.name, flat_too=True)
    refusal = ""
    while True:
        held = await _patiently(venue.positions)
        symbols |= {row.symbol for row in held}
        result.dust = []
        todo = []
        for row in held:
            filters = await _patiently(partial(venue.filters, row.symbol))
            if (least := _least_lots(filters)) > abs(Decimal(row.quantity)):
                result.dust.append(f"{row.quantity} {row.symbol} (below the minimum of {least:f})")
            else:
                todo.append((row, filters))
        if not todo:
            break
        if time.monotonic() >= deadline:
            result.left = [f"{row.symbol} {row.quantity}{refusal}" for row, _ in todo]
            break
        for row, filters in todo:
            try:
                await _slice(venue, row, filters)
            except VenueError as error:
                # Another hand may have closed it meanwhile; the next look at the positions tells.
                refusal = f" ({error})"
        await asyncio.sleep(PAUSE_S)

    async def read() -> int:
        since_ns = late_fills.unbooked_since_ns(paths, venue.name)
        if since_ns is None:
            return 0
        since_ms = since_ns // 1_000_000 + round(offset_s * 1000)
        found = await executions.binance_executions(venue, symbols, since_ms)
        return late_fills.record_unbooked(paths, found)

    await _follow(result, read)


def _least_lots(filters: dict[str, dict[str, str]]) -> Decimal:
    """The least quantity that an order may have."""
    lots = filters["LOT_SIZE"]
    return max(Decimal(lots["minQty"]), Decimal(lots["stepSize"])).normalize()


async def _slice(venue: BinanceVenue, row: Holding, filters: dict[str, dict[str, str]]) -> None:
    tick = Decimal(filters["PRICE_FILTER"]["tickSize"])
    step = Decimal(filters["LOT_SIZE"]["stepSize"])
    bid, ask = (Decimal(text) for text in await venue.top(row.symbol))
    held = Decimal(row.quantity)
    selling = held > 0
    raw = bid * (1 - COLLAR) if selling else ask * (1 + COLLAR)
    rounding = ROUND_CEILING if selling else ROUND_FLOOR
    price = (raw / tick).to_integral_value(rounding) * tick
    dearest = bid if selling else price  # what a fill may come to: the cap holds at that price too
    cap = max((SLICE_USD / dearest / step).to_integral_value(ROUND_FLOOR) * step, _least_lots(filters))
    whole = (abs(held) / step).to_integral_value(ROUND_FLOOR) * step
    client_id = f"kill-{time.time_ns() % 10**15}"
    side = "SELL" if selling else "BUY"
    await venue.reduce(row.symbol, side, f"{min(whole, cap):f}", f"{price:f}", client_id)


# ---- outcome tokens ------------------------------------------------------------------------------


class _Outcomes:
    """Closing everything at Polymarket."""

    def __init__(self, venue: PolymarketVenue, paths: Paths, result: Closed, offset_s: float) -> None:
        self._venue = venue
        self._paths = paths
        self._result = result
        self._began_s = int(time.time() + offset_s) - 1  # by the venue's clock, which tells whole seconds
        self._offset_s = offset_s
        self._names = {token: symbol for symbol, token in accounting.outcome_tokens(paths).items()}
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def close(self) -> None:
        """Sell, then wait until the chain has confirmed the sales; a sale that failed is made again."""
        keys = self._venue.wallet
        if (contract := str(keys.get("wallet") or keys["address"])).lower() != keys["address"].lower():
            self._result.unknown = f"the contract {contract} holds it, and its sales are not signed here"
            return
        began = time.monotonic()
        tokens = await self._candidates()
        ever_held: set[str] = set()
        while True:
            self._result.left, self._result.dust = [], []
            deadline = min(time.monotonic() + DEADLINE_S, began + FINAL_S)
            held = await asyncio.gather(*(self._close_token(token, deadline) for token in tokens))
            ever_held |= {token for token, any_seen in zip(tokens, held, strict=True) if any_seen}
            tokens = ever_held
            open_sales = await self._not_final() if tokens else 0
            if not open_sales:
                break
            if time.monotonic() >= began + FINAL_S:
                self._result.left.append(f"{open_sales} sales that the chain has not confirmed yet")
                break
            await asyncio.sleep(PAUSE_S * 3)
        await _follow(self._result, self._read)

    async def _candidates(self) -> set[str]:
        """Every token of which something may be held. The Data API lags, so recent trades are read too;
        without it, all of them. When neither answers, what we know ourselves is closed all the same."""
        tokens = set(_tokens_of_table(self._paths))
        since_s = self._began_s - TRADES_S
        try:
            tokens |= await _patiently(self._venue.listed_tokens)
        except (VenueError, LookupError, TypeError, AttributeError):
            since_s = 0
        try:
            trades = await _patiently(lambda: self._venue.trades(since_s))
        except VenueError as error:
            self._result.unknown = f"its list of trades cannot be read ({error})"
            return tokens
        for trade in trades:
            legs = [leg for leg in trade.get("maker_orders") or [] if self._venue.is_ours(leg)]
            if self._venue.is_ours(trade):
                legs.append(trade)
            tokens |= {str(leg["asset_id"]) for leg in legs}
        return tokens

    async def _not_final(self) -> int:
        """How many trades since the flatten began may still fail."""
        trades = await _patiently(lambda: self._venue.trades(self._began_s))
        return sum(executions.trade_status(trade) not in executions.FINAL for trade in trades)

    async def _close_token(self, token: str, deadline: float) -> bool:
        """Sell one token until none is left, or only dust. True when there was any."""
        async with self._gate:
            try:
                held = await _patiently(lambda: self._venue.token_balance(token))
                if held <= 0:
                    return False
                rest, dust = await self._sell_out(token, held, deadline)
            except VenueError as error:
                name = executions.symbol_of(self._names, token)
                self._result.unknown = f"how much there is of {name} cannot be read ({error})"
                return False
        if rest:
            (self._result.dust if dust else self._result.left).append(rest)
        return True

    async def _sell_out(self, token: str, held: int, deadline: float) -> tuple[str, bool]:
        """("", False) when nothing is left, else what is left with the reason, and whether it is dust."""
        from control.polymarket_sell import sale

        name = executions.symbol_of(self._names, token)
        why = ""
        while held > 0:
            amount = f"{Decimal(held) / 1_000_000:f} {name}"
            body, dust = None, ""
            try:
                book = await self._venue.book(token)
                body, why, dust = sale(book, token, held, self._venue.wallet, OUTCOME_COLLAR, SLICE_USD)
                if body is not None:
                    await self._venue.submit(body)
            except VenueError as error:
                # Tokens of a sale under way, a market that pauses, a bid that went: the next try tells.
                why = str(error)
                dust = "below the minimum of $1" if REFUSED_DUST in why else ""
            if dust:
                return f"{amount} ({dust})", True
            if time.monotonic() >= deadline:
                return f"{amount} ({why or 'out of time'})", False
            await asyncio.sleep(PAUSE_S)
            held = await _patiently(lambda: self._venue.token_balance(token))
        return "", False

    async def _read(self) -> int:
        since_ns = late_fills.unbooked_since_ns(self._paths, self._venue.name)
        if since_ns is None:
            return 0
        since_s = since_ns // 1_000_000_000 + int(self._offset_s) - 1
        found = await executions.polymarket_executions(self._venue, self._names, since_s)
        return late_fills.record_unbooked(self._paths, found)


def _tokens_of_table(paths: Paths) -> list[str]:
    """Of the bot's table: markets that are not long over, and whatever our pages say is held."""
    held = shared.held_symbols(paths, "polymarket")
    oldest = time.time_ns() - ENDED_NS
    return [t for symbol, t, end_ns in accounting.known_tokens(paths) if end_ns > oldest or symbol in held]
