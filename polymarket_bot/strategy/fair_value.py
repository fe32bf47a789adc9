"""Fair value of "reference above K at T", from the engine's signal.

A digital option under a driftless lognormal reference pays one USD when S_T > K, so it is worth N(d2):

    d2 = (ln(S / K) - v / 2) / sqrt(v)      v = sigma^2 * (T - now), sigma annualised
    delta = n(d2) / (S * sqrt(v))           change of value in USD per USD of reference, per share

Floats live only inside this file; what leaves it is an integer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from polymarket_bot.model import ONE, Direction, Market, Signal

YEAR_NS = 365 * 24 * 3600 * 1_000_000_000
SHORTEST_NS = 1_000_000_000  # below one second to expiry the value is taken as of one second


@dataclass(frozen=True, slots=True)
class FairValue:
    """probability: of YES, 1e-6. delta_e9: reference units (BTC) one YES share is long, times 1e9.
    minute_deviation: one standard deviation of the probability over a minute, 1e-6."""

    probability: int
    delta_e9: int
    minute_deviation: int


def normal_cdf(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))


def normal_density(value: float) -> float:
    return math.exp(-0.5 * value * value) / math.sqrt(2.0 * math.pi)


def fair_value(market: Market, signal: Signal, now_wall_ns: int) -> FairValue | None:
    """None when the signal carries no usable price or volatility, or when the market has expired."""
    remaining_ns = market.expiry_ns - now_wall_ns
    if remaining_ns <= 0 or market.strike_micros <= 0:
        return None
    reference_e9 = signal.microprice_e9 or signal.mid_e9
    if reference_e9 <= 0 or signal.volatility_e9 <= 0:
        return None
    reference = reference_e9 / 1e9
    strike = market.strike_micros / 1e6
    sigma = signal.volatility_e9 / 1e9
    deviation = sigma * math.sqrt(max(remaining_ns, SHORTEST_NS) / YEAR_NS)
    d2 = (math.log(reference / strike) - 0.5 * deviation * deviation) / deviation
    probability = normal_cdf(d2)
    delta = normal_density(d2) / (reference * deviation)
    if market.direction is Direction.BELOW:
        probability, delta = 1.0 - probability, -delta
    minute = abs(delta) * reference * sigma * math.sqrt(60e9 / YEAR_NS)
    return FairValue(
        probability=min(ONE, max(0, round(probability * ONE))),
        delta_e9=round(delta * 1e9),
        minute_deviation=round(minute * ONE),
    )
