"""The wall clock from Python, its watcher, and the shift that a test may give to all clocks (wall_clock.h).

On paper, PURSER_TEST_CLOCK names a file of four int64 that every process adds to its clocks: ours to the
wall, ours to CLOCK_BOOTTIME, the simulated venues' to the wall, and a zero. Live trading refuses it.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from bridge._bridge import ffi, lib

TEST_CLOCK = "PURSER_TEST_CLOCK"
DAY_NS = 24 * 3600 * 1_000_000_000


class ClockError(Exception):
    """A test clock that cannot be obeyed; the text says what to do."""


def follow_test_clock(mode: str) -> None:
    """Obey PURSER_TEST_CLOCK. ClockError in live trading, or when the file cannot be used."""
    path = os.environ.get(TEST_CLOCK)
    if not path:
        return
    if mode == "live":
        raise ClockError(f"{TEST_CLOCK} shifts all clocks and is for tests on paper; unset it to trade live")
    code = int(lib.clock_shift_follow(os.fsencode(path)))
    if code < 0:
        raise ClockError(
            f"{TEST_CLOCK}={path} cannot be used: {os.strerror(-code)}; it needs 32 bytes, or unset it"
        )
    # A venue's own client stamps requests by the module's clock.
    vars(time).update(time=lambda: wall_ns() / 1e9, time_ns=wall_ns)


def wall_ns() -> int:
    """Nanoseconds since 1970; may jump."""
    return int(lib.wall_clock_ns())


def day_of(at_wall_ns: int) -> int:
    """UTC day number since 1970."""
    return at_wall_ns // DAY_NS


class Look(NamedTuple):
    """What one look found; 0 where nothing happened."""

    jumped_ns: int
    slept_ns: int


class WallWatch:
    """Remembers how far the wall stood from CLOCK_BOOTTIME, and says when that changes."""

    def __init__(self) -> None:
        self._watch: Any = ffi.new("struct wall_watch *")
        self._look: Any = ffi.new("struct wall_look *")

    def look(self, wall: int | None = None, boot: int | None = None, monotonic: int | None = None) -> Look:
        """Look at the three clocks, or at these readings of them."""
        lib.wall_watch_look(
            self._watch,
            self._look,
            lib.wall_clock_ns() if wall is None else wall,
            lib.ledger_now_ns() if boot is None else boot,
            lib.steady_clock_ns() if monotonic is None else monotonic,
        )
        return Look(self._look.jumped_ns, self._look.slept_ns)

    @property
    def doubted(self) -> bool:
        """All jumps since the last confirmation together are more than may pass."""
        return bool(lib.wall_watch_doubted(self._watch))

    @property
    def moved_ns(self) -> int:
        """The sum of the jumps since the last confirmation."""
        return int(self._watch.moved_ns)

    def confirm(self) -> None:
        """Somebody who knows the time has confirmed it."""
        lib.wall_watch_confirm(self._watch)
