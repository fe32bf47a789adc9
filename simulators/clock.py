"""The venue's clock: wall time plus a shift that a fault may set.

Everything that a simulator stamps or checks reads this clock, so that a client whose clock differs
from the venue's can be tested by shifting the venue alone.
"""

from __future__ import annotations

import time


class Clock:
    """Milliseconds since 1970 as the venue sees them."""

    __slots__ = ("offset_ms",)

    def __init__(self) -> None:
        self.offset_ms = 0

    def now_ms(self) -> int:
        """Venue time in milliseconds."""
        return time.time_ns() // 1_000_000 + self.offset_ms
