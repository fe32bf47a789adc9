"""Text to integers at the venue's edge. No exponents, no NaN, no overlong numbers, no floats."""

from __future__ import annotations

import re

from polymarket_bot.errors import VenueError

_NUMBER = re.compile(r"([0-9]{0,18})(?:\.([0-9]{0,24}))?")


def parse_scaled(value: object, decimals: int = 6) -> int:
    """A non-negative decimal, times 10**decimals; digits beyond that are dropped. Accepts text, whole
    numbers, and JSON numbers (Gamma and /clob-markets write prices and sizes as those)."""
    if isinstance(value, bool):
        raise VenueError("the venue sent a boolean where a number belongs")
    if isinstance(value, float):
        value = f"{value:.12f}"
    text = str(value)
    match = _NUMBER.fullmatch(text)
    if match is None or (not match[1] and not match[2]):
        raise VenueError(f"the venue sent {text[:40]!r} where a number belongs")
    fraction = (match[2] or "")[:decimals].ljust(decimals, "0")
    return int((match[1] or "0") + fraction)


def format_scaled(value: int, decimals: int = 6) -> str:
    """The inverse, without superfluous zeros: 450_000 is 0.45."""
    whole, fraction = divmod(value, 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def parse_wall_ns(value: object) -> int:
    """The venue mixes seconds and milliseconds, as numbers and as text: told apart by magnitude.
    0 when there is no usable time."""
    try:
        number = int(str(value).split(".", 1)[0])
    except ValueError:
        return 0
    if number <= 0:
        return 0
    if number < 100_000_000_000:
        return number * 1_000_000_000
    if number < 100_000_000_000_000:
        return number * 1_000_000
    return number * 1_000 if number < 100_000_000_000_000_000 else number
