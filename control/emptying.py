"""Cancelling everything at one venue without waiting for what is on its way: for a halt and for a stop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from control import access, sweep, venues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.paths import Paths


@dataclass(frozen=True, slots=True)
class Emptied:
    """What was seen. `problem`: why it does not count, though everything may be cancelled there."""

    cancelled: int = 0
    left: int = 0
    problem: str = ""
    known: bool = True  # there is a place that could be asked, or a reason why not

    @property
    def confirmed(self) -> bool:
        """The place that was used was seen with nothing open."""
        return not self.problem and not self.left

    def line(self) -> str:
        """For the log, and for who stops."""
        seen = f"{self.cancelled} cancelled, {self.left} open"
        return f"unverified: {self.problem}" if self.problem else seen


async def empty_venue(paths: Paths, name: str, symbols: Iterable[str], deadline: float) -> Emptied:
    """Cancel and list until nothing is open, or the monotonic deadline passes."""
    place = await asyncio.to_thread(access.at, paths, name)
    if place.ready is None:
        problem = place.problem or "its address is not known"
        return Emptied(problem=problem, known=bool(place.problem))
    try:
        async with venues.open_venue(name, place.ready, timeout_s=1.0) as venue:
            wanted = {*symbols, *place.symbols}
            count, left = await sweep.cancel_until_none(venue, wanted, deadline)
    except (venues.VenueError, TimeoutError) as error:
        return Emptied(problem=place.problem or str(error) or "no answer in time")
    return Emptied(count, len(left), place.problem)
