"""What a digital option is worth: the chance that the price ends above the strike.

Black-Scholes without drift: N(d2) with d2 = (ln(S/K) - v²T/2) / (v sqrt T).
"""

from __future__ import annotations

import math

VOLATILITY = 0.55
SECONDS_PER_YEAR = 365 * 86_400


def digital_value(price: float, strike: float, seconds: float, volatility: float = VOLATILITY) -> float:
    """The chance in 0..1 that the price is above the strike after so many seconds."""
    if seconds <= 0:
        return 1.0 if price > strike else 0.0
    deviation = volatility * math.sqrt(seconds / SECONDS_PER_YEAR)
    d2 = (math.log(price / strike) - deviation * deviation / 2) / deviation
    return 0.5 * math.erfc(-d2 / math.sqrt(2))
