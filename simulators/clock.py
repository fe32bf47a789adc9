"""The venue's clock: wall time plus a shift that a fault may set.

Everything that a simulator stamps or checks reads this clock, so that a client whose clock differs
from the venue's can be tested by shifting the venue alone. A test that moves the time of the whole
world names a file in PURSER_TEST_CLOCK: its third int64, in nanoseconds, is added here, too.
"""

from __future__ import annotations

import mmap
import os
import struct
import time

_VENUE_SHIFT = struct.Struct("<16xq")


class Clock:
    """Milliseconds since 1970 as the venue sees them."""

    __slots__ = ("_shift", "offset_ms")

    def __init__(self) -> None:
        self.offset_ms = 0
        self._shift = _follow(os.environ.get("PURSER_TEST_CLOCK", ""))

    def now_ms(self) -> int:
        """Venue time in milliseconds."""
        return self.true_ms() + self.offset_ms

    def true_ms(self) -> int:
        """The same without the fault: what a right clock shows."""
        now_ns = time.time_ns()
        if self._shift is not None:
            now_ns += int(_VENUE_SHIFT.unpack_from(self._shift)[0])
        return now_ns // 1_000_000


def _follow(path: str) -> mmap.mmap | None:
    if not path:
        return None
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), _VENUE_SHIFT.size, prot=mmap.PROT_READ)
