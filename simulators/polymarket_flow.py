"""The other traders: a ladder of quotes around the fair value, and takers with opinions of their own.

The ladder leaves a gap of a few ticks around the fair value, so a client that quotes closer is first
in line. Takers arrive at random and pay up to a few ticks beyond the fair value; most trade with what
is best, which is the client when it quotes well. All choices come from one seeded generator.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from simulators.polymarket_fair_value import digital_value
from simulators.polymarket_markets import (
    ABOVE,
    HOUR_MS,
    STRIKE_STEP,
    UP_DOWN,
    Market,
    make_market,
    next_listing,
)
from simulators.polymarket_matching import BUY, LOTS_PER_SHARE, NO, PRICE_ONE, SELL, YES
from simulators.polymarket_reference import Reference
from simulators.polymarket_venue import Venue

STEP_S = 0.25
LADDER_LEVELS = 10
LADDER_GAP_TICKS = 3
TAKERS_PER_S = 0.35
TAKER_REACH_TICKS = 3.0
OPINION_TICKS = 1.2
NEAR_END_MS = 600_000
STRIKE_REACH = 2 * STRIKE_STEP


@dataclass(slots=True)
class _Crowd:
    """The resting quotes of the other traders in one market: (is bid, YES price) -> (order id, lots)."""

    quotes: dict[tuple[bool, int], tuple[str, int]] = field(default_factory=dict)
    opinion: float = 0.0
    centre: int | None = None
    steps: int = 0


class Flow:
    """Lists and resolves markets and trades in them."""

    def __init__(self, venue: Venue, reference: Reference, seed: int, neg_risk: bool) -> None:
        self.takers_per_s = TAKERS_PER_S
        self.paused = False
        self._venue, self._reference, self._neg_risk = venue, reference, neg_risk
        self._random = random.Random(seed)
        self._crowds: dict[str, _Crowd] = {}

    def step(self, seconds: float) -> None:
        """One step of all other traders, `seconds` after the last. Paused, they keep still, and only the
        calendar goes on."""
        self._roll()
        for market in self._open_markets() if not self.paused else ():
            self._quote(market)
            if self._random.random() < self.takers_per_s * seconds:
                self._take(market)
            self._venue.refresh_tick(market)
        self._venue.commit()

    def fair(self, market: Market) -> float:
        """The chance of YES."""
        seconds = (market.end_ms - self._venue.clock.now_ms()) / 1000
        return digital_value(self._reference.dollars, market.strike / 10, seconds)

    # -- listing and resolution -----------------------------------------------------------------

    def _open_markets(self) -> list[Market]:
        return [market for market in self._venue.markets.values() if not market.closed]

    def _roll(self) -> None:
        """Close what has expired, resolve what is closed, list what is missing."""
        now_ms = self._venue.clock.now_ms()
        for market in list(self._venue.markets.values()):
            if not market.closed and now_ms >= market.end_ms:
                self.expire(market)
            elif (
                market.closed and market.winner is None and (final := market.final or self._reference.tenths)
            ):
                self._venue.resolve_market(market, market.outcome_wins(final))
        if not self._reference.price:
            return
        price, kinds = self._reference.tenths, {market.kind for market in self._open_markets()}
        above = {(market.strike, market.end_ms) for market in self._open_markets() if market.kind == ABOVE}
        # A price that has left all strikes behind gets new ones before the old expire.
        if not any(abs(strike - price) <= STRIKE_REACH for strike, _ in above):
            end_ms, strikes = next_listing(now_ms, price)
            for strike in strikes:
                if (strike, end_ms) not in above:
                    self._list(ABOVE, strike, now_ms, end_ms)
        if UP_DOWN not in kinds:
            start_ms = now_ms // HOUR_MS * HOUR_MS
            if now_ms - start_ms > HOUR_MS - NEAR_END_MS:
                start_ms += HOUR_MS
            self._list(UP_DOWN, price, start_ms, start_ms + HOUR_MS)

    def _list(self, kind: str, strike: int, start_ms: int, end_ms: int) -> None:
        number = 900_001 + len(self._venue.markets)
        self._venue.list_market(make_market(number, kind, strike, start_ms, end_ms, self._neg_risk))

    def expire(self, market: Market) -> None:
        """End trading in a market now."""
        self._crowds.pop(market.condition_id, None)
        self._venue.close_market(market, self._reference.tenths)

    # -- quotes ---------------------------------------------------------------------------------

    def _quote(self, market: Market) -> None:
        crowd = self._crowds.setdefault(market.condition_id, _Crowd())
        crowd.opinion += -0.05 * crowd.opinion + 0.1 * self._random.gauss(0.0, OPINION_TICKS)
        centre = round(self.fair(market) * PRICE_ONE + crowd.opinion * market.tick)
        crowd.steps += 1
        moved = crowd.centre is None or abs(centre - crowd.centre) >= market.tick
        if not moved and crowd.steps % 8:
            return
        crowd.centre = centre
        wanted = self._ladder(market, centre)
        for place in [place for place in crowd.quotes if place not in wanted]:
            self._venue.remove_other(market, crowd.quotes.pop(place)[0])
        for (is_bid, price), lots in wanted.items():
            held = crowd.quotes.get((is_bid, price))
            resting = market.book.get(held[0]) if held else None
            # A quote is replaced when it was eaten into, and now and then for no reason.
            if resting is not None and resting.left * 2 > lots and self._random.random() > 0.02:
                continue
            if held:
                self._venue.remove_other(market, held[0])
            side = BUY if is_bid else SELL
            crowd.quotes[(is_bid, price)] = (self._venue.other_order(market, YES, side, price, lots), lots)

    def _ladder(self, market: Market, centre: int) -> dict[tuple[bool, int], int]:
        """The quotes that the crowd wants: thin near the fair value, thicker away from it."""
        tick = market.tick
        wanted: dict[tuple[bool, int], int] = {}
        for level in range(LADDER_LEVELS):
            lots = (30 + 25 * level) * LOTS_PER_SHARE + (market.number * 37 + level * 911) % 700 * 10
            bid = (centre // tick - LADDER_GAP_TICKS - level) * tick
            ask = (-(-centre // tick) + LADDER_GAP_TICKS + level) * tick
            if tick <= bid:
                wanted[(True, bid)] = lots
            if ask <= PRICE_ONE - tick:
                wanted[(False, ask)] = lots
        return wanted

    # -- takers ---------------------------------------------------------------------------------

    def _take(self, market: Market) -> None:
        """One taker: buys or sells, YES or NO, up to a price of its own."""
        draw = self._random
        reach = draw.expovariate(1 / TAKER_REACH_TICKS) + 1.0
        buys_yes = draw.random() < 0.5
        limit = self.fair(market) * PRICE_ONE + (reach if buys_yes else -reach) * market.tick
        yes_price = round(limit / market.tick) * market.tick
        yes_price = min(max(yes_price, market.tick), PRICE_ONE - market.tick)
        lots = round(draw.lognormvariate(2.3, 0.7) * LOTS_PER_SHARE)
        # The same interest comes as buying one outcome or selling the other.
        if draw.random() < 0.5:
            self._venue.other_order(market, YES, BUY if buys_yes else SELL, yes_price, lots, rest=False)
        else:
            price = PRICE_ONE - yes_price
            self._venue.other_order(market, NO, SELL if buys_yes else BUY, price, lots, rest=False)
