"""Two-sided quotes around the fair value of one binary market. Pure.

Everything is thought of on the YES axis: a bid for YES at b is either BUY YES at b or SELL NO at 1 - b;
an offer of YES at a is either SELL YES at a or BUY NO at 1 - a. Tokens that are held are sold first,
because that frees money; otherwise the complementary token is bought, so that both sides rest with
nothing but USD. All quotes are post-only: a price that would cross is moved back behind the touch.
"""

from __future__ import annotations

from dataclasses import dataclass

from polymarket_bot.model import (
    LOT,
    ONE,
    BookView,
    Holdings,
    Market,
    Outcome,
    Price,
    Quote,
    Side,
    Size,
    ceil_to,
    complement,
    floor_to,
)
from polymarket_bot.strategy.fair_value import FairValue


@dataclass(frozen=True, slots=True)
class QuoteSettings:
    """Sizes in micro-shares, prices in micro-USD.

    skew_ticks: how many ticks the centre moves when the inventory is at max_position.
    deviation_percent: half spread is never below this share of the fair value's one-minute deviation.
    """

    size: Size
    half_spread_ticks: int
    min_edge: Price
    max_position: Size
    skew_ticks: int
    max_divergence: Price
    lowest: Price
    highest: Price
    deviation_percent: int
    stop_before_expiry_ns: int


@dataclass(frozen=True, slots=True)
class Quotes:
    """What should rest, and, when nothing should, why."""

    orders: tuple[Quote, ...]
    reason: str = ""


def decide(
    market: Market,
    book: BookView,
    fair: FairValue | None,
    holdings: Holdings,
    settings: QuoteSettings,
    now_wall_ns: int,
) -> Quotes:
    """The quotes that should rest now. An empty answer means: pull what is resting."""
    if fair is None:
        return Quotes((), "no fair value")
    if not book.fresh:
        return Quotes((), "book not fresh")
    if market.expiry_ns - now_wall_ns < settings.stop_before_expiry_ns:
        return Quotes((), "close to expiry")
    value = fair.probability
    if not settings.lowest <= value <= settings.highest:
        return Quotes((), "fair value outside the quoted range")
    yes = book.tops[Outcome.YES]
    middle = yes.mid
    if middle is not None and abs(middle - value) > settings.max_divergence:
        return Quotes((), "fair value far from the market")
    bid, ask = _prices(book, fair, holdings, settings)
    orders = []
    bid_quote = _bid(market, settings, holdings, bid) if bid is not None else None
    if bid_quote is not None:
        orders.append(bid_quote)
    ask_quote = _ask(market, settings, holdings, ask) if ask is not None else None
    if ask_quote is not None:
        orders.append(ask_quote)
    return Quotes(tuple(orders), "" if orders else "position at its limit or prices without edge")


def _prices(
    book: BookView, fair: FairValue, holdings: Holdings, settings: QuoteSettings
) -> tuple[Price | None, Price | None]:
    """Bid and offer for YES on the tick grid, behind the touch, each with at least the minimum edge."""
    tick = book.tick
    top = book.tops[Outcome.YES]
    half = max(
        settings.half_spread_ticks * tick,
        settings.min_edge,
        fair.minute_deviation * settings.deviation_percent // 100,
    )
    held = max(-settings.max_position, min(settings.max_position, holdings.net))
    shift = -(held * settings.skew_ticks * tick // settings.max_position) if settings.max_position else 0
    centre = fair.probability + shift
    bid = floor_to(min(centre - half, fair.probability - settings.min_edge), tick)
    ask = ceil_to(max(centre + half, fair.probability + settings.min_edge), tick)
    if top.ask is not None:
        bid = min(bid, top.ask - tick)
    if top.bid is not None:
        ask = max(ask, top.bid + tick)
    return (
        Price(bid) if tick <= bid <= ONE - tick else None,
        Price(ask) if tick <= ask <= ONE - tick else None,
    )


def _bid(market: Market, settings: QuoteSettings, holdings: Holdings, price: Price) -> Quote | None:
    size = _size(settings, settings.max_position - holdings.net, market.minimum_size)
    if size is None:
        return None
    if holdings.no >= market.minimum_size:
        return Quote(Outcome.NO, Side.SELL, complement(price), _held(size, holdings.no))
    return Quote(Outcome.YES, Side.BUY, price, size)


def _ask(market: Market, settings: QuoteSettings, holdings: Holdings, price: Price) -> Quote | None:
    size = _size(settings, settings.max_position + holdings.net, market.minimum_size)
    if size is None:
        return None
    if holdings.yes >= market.minimum_size:
        return Quote(Outcome.YES, Side.SELL, price, _held(size, holdings.yes))
    return Quote(Outcome.NO, Side.BUY, complement(price), size)


def _size(settings: QuoteSettings, room: int, minimum: Size) -> Size | None:
    size = floor_to(min(settings.size, room), LOT)
    return Size(size) if size >= minimum else None


def _held(size: Size, held: Size) -> Size:
    return Size(floor_to(min(size, held), LOT))


def keep(resting: Quote, wanted: Quote, tick: Price, tolerance_ticks: int, edge: Price, fair: Price) -> bool:
    """Whether a resting order is close enough to what is wanted to keep its place in the queue: same
    token and side, price within the tolerance and still with its edge, at least half the size left.
    `fair` is the fair value of the order's own token."""
    if resting.outcome is not wanted.outcome or resting.side is not wanted.side:
        return False
    if abs(resting.price - wanted.price) > tolerance_ticks * tick or resting.price % tick:
        return False
    margin = fair - resting.price if resting.side is Side.BUY else resting.price - fair
    if margin < edge:
        return False
    return resting.size * 2 >= wanted.size and resting.size <= wanted.size * 2
