"""Emptying a venue, and waiting for what is still on its way: the same for a kill, a reclaim and a resume.

    empty   cancel all and list, until the list is empty
    await   again and again until no order of ours can land any more: each that is found, by its id or in an
            answer to cancel-all, is waited for no longer; a venue's dead-man switch that has fired says
            nothing of an order that it has not seen
    empty   once more, after the last of them

Only a venue's own answers count: what was cancelled is what it says it cancelled. The first looks are made at
once; those that follow stay within a fifth of what the venue allows (venues.Pace), and pause when it says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING

from bridge.ledger import now_ns
from bridge.messages import SlotState
from control import flight as flights
from control.flight import Order
from control.venues import Cancelled, OpenOrder, Throttled, Venue, VenueError

if TYPE_CHECKING:
    from control.flight import Flight

STEP_S = 0.05
FATES_AT_ONCE = 64  # as many orders are asked for in one look
CANCELED = frozenset({"CANCELED"})
PATIENCE_S = 0.6  # with one call, before the next is made
ANSWER_S = 5.0  # for open_venue: an answer that comes after PATIENCE_S still counts
LAST_LOOK_S = 3.0  # for emptying the venue after the last order on its way


class Sweep:
    """One venue, from the first cancel to the last look."""

    def __init__(
        self,
        venue: Venue,
        symbols: Iterable[str],
        seen: Flight,
        since_s: float,
        found: Container[str] = frozenset(),
    ) -> None:
        """seen: what the ledger said when nobody could send any more; since_s: wall time before which no
        order that is waited for was sent; found: ids that were found before."""
        self._venue = venue
        self.symbols = {symbol for symbol in symbols if symbol}
        self._ours = {order.key: order for order in seen.at(venue.name)}
        self.symbols |= {order.symbol for order in self._ours.values() if order.symbol}
        self.awaited = {order.key: order for order in seen.in_flight(venue.name)}
        # Found at the venue, or told of by their living owner.
        self.known = {key for key, order in self.awaited.items() if order.query_id in found}
        self._since_s = since_s
        self._canceled: set[str] = set()  # by our cancels, as the venue told
        self._seen: dict[str, OpenOrder] = {}
        self._times = Counter[tuple[str, int]]()  # how often each was asked for
        self._asked: set[asyncio.Task[Cancelled]] = set()
        self.patience_s = PATIENCE_S
        self.left: list[OpenOrder] = []

    @property
    def missing(self) -> list[Order]:
        """Those that were not found yet."""
        return [order for key, order in self.awaited.items() if key not in self.known]

    @property
    def found(self) -> list[str]:
        """The ids of those that were."""
        return [order.query_id for key, order in self.awaited.items() if key in self.known]

    # ---- emptying --------------------------------------------------------------------------------

    async def empty(self, deadline: float) -> bool:
        """Until the venue says that nothing is open, or the monotonic deadline passes: what is open then is
        in `left`. VenueError only when the venue could not be reached, or gave no usable answer, until the
        deadline."""
        everywhere = True
        while True:
            pause = STEP_S
            try:
                await self._pass(everywhere)
                everywhere = False
            except Throttled as error:
                if time.monotonic() + error.pause_s >= deadline:
                    raise
                pause = error.pause_s
            except (VenueError, TimeoutError):
                if time.monotonic() >= deadline:
                    raise
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                if time.monotonic() >= deadline:
                    text = f"an answer that cannot be used ({type(error).__name__}: {error})"
                    raise VenueError(text) from None
            else:
                if not self.left or time.monotonic() >= deadline:
                    return not self.left
            await asyncio.sleep(pause)

    async def _pass(self, everywhere: bool) -> None:
        venue = self._venue
        venue.pace.spend(venue.pass_weight(len(self.symbols), everywhere))
        told = await self._cancel_all(everywhere)
        self.symbols |= {order.symbol for order in told.seen}
        async with asyncio.timeout(self.patience_s):
            self.left = await venue.open_orders(self.symbols)
        self._note(set(), self.left)

    async def _cancel_all(self, everywhere: bool) -> Cancelled:
        """The call goes on when nobody waits for it any more: what a venue cancelled and tells late it tells
        only once, and an order that is named nowhere else would stay of unknown fate."""
        asked = asyncio.create_task(self._venue.cancel_all(self.symbols, everywhere))
        self._asked.add(asked)
        asked.add_done_callback(self._told)
        await asyncio.wait({asked}, timeout=self.patience_s)
        if not asked.done():
            raise VenueError("no answer in time")
        return asked.result()

    def _told(self, asked: asyncio.Task[Cancelled]) -> None:
        self._asked.discard(asked)
        if not asked.cancelled() and asked.exception() is None:
            self._note(asked.result().ids, asked.result().seen)

    def _note(self, canceled: set[str], seen: list[OpenOrder]) -> None:
        self._canceled |= canceled
        self._seen |= {order.order_id: order for order in seen}
        names = canceled | {name.lower() for o in seen for name in (o.order_id, o.client_order_id)}
        self.known |= {key for key, order in self.awaited.items() if order.query_id.lower() in names}

    # ---- waiting ---------------------------------------------------------------------------------

    async def settle(
        self,
        until_s: Callable[[], float],
        told: Callable[[], Flight] | None = None,
        progress: Callable[[int, float], None] = lambda orders, left_s: None,
    ) -> None:
        """Look until nothing that is awaited can land any more. until_s: seconds left as far as the orders
        still missing go. told: the ledger now, where a living owner may have heard of its orders. What a
        venue fails to answer is asked again; the last look decides."""
        while (left_s := until_s()) > 0:
            if told is not None:
                self._hear(told())
            progress(len(self.missing), left_s)
            pause = 0.0
            try:
                await self.ask()
                if until_s() <= 0:
                    return
                await self._pass(everywhere=False)
            except Throttled as error:
                pause = error.pause_s
            except (VenueError, TimeoutError, LookupError, TypeError, ValueError, AttributeError):
                pause = 0.2
            pause = max(pause, STEP_S, self._venue.pace.spend(0))
            await asyncio.sleep(min(pause, max(0.0, until_s())))

    async def ask(self) -> None:
        """Ask for each missing order by its id."""
        # Those that were asked for least often: the venue may know only of the last of them.
        wanted = sorted(self.missing, key=lambda order: self._times[order.key])[:FATES_AT_ONCE]
        if wanted:
            self._times.update(order.key for order in wanted)
            self._venue.pace.spend(len(wanted) * self._venue.fate_weight)
            async with asyncio.timeout(2 * self.patience_s):
                fates = await self._venue.fates(wanted, self._since_s)
            self.known |= {order.key for order in fates}

    def _hear(self, seen: Flight) -> None:
        """An order that its owner has released, or found, is no longer on its way: only the venue's word
        makes it do so. What cannot be read says nothing."""
        if seen.unreadable(self._venue.name):
            return
        still = {order.key for order in seen.in_flight(self._venue.name)}
        self.known |= self.awaited.keys() - still

    # ---- counting --------------------------------------------------------------------------------

    async def cancelled(self) -> int:
        """How many orders the venue says were cancelled: by name in its answers to cancel-all, else when it
        is asked for each that we had there and each that was seen open."""
        if self._venue.names_cancelled:
            return len(self._canceled)
        asked = {order.query_id: order for order in self._ours.values() if order.query_id}
        for order in self._seen.values():
            asked.setdefault(order.client_order_id, _of(self._venue.name, order))
        try:
            fates = await self._venue.fates(list(asked.values())[:FATES_AT_ONCE], self._since_s)
        except Throttled:  # that it is empty counts, and was seen
            return 0
        return sum(fate in CANCELED for fate in fates.values())


def _of(venue: str, order: OpenOrder) -> Order:
    """An order of the venue's list, as it is asked for."""
    return Order("", venue, order.symbol, 0, order.client_order_id, SlotState.LIVE, True, 0, None)


def seconds_left(sweep: Sweep, seen: Flight, venue: str, quiet_ns: int) -> Callable[[], float]:
    """For settle: as the ledger said when nobody could send any more, less what was found since."""
    return lambda: flights.longest_s(seen, venue, quiet_ns, sweep.known)


async def cancel_until_none(
    venue: Venue, symbols: Iterable[str], deadline: float
) -> tuple[int, list[OpenOrder]]:
    """Empty a venue without waiting for anything. The number cancelled, and what is still open."""
    sweep = Sweep(venue, symbols, flights.Flight(), time.time())
    await sweep.empty(deadline)
    return await sweep.cancelled(), sweep.left


async def empty_and_settle(
    venue: Venue,
    symbols: Iterable[str],
    seen: Flight,
    quiet_ns: int,
    longest_s: float,
    found: Container[str] = frozenset(),
) -> Sweep:
    """All of it, for whoever does not report meanwhile: after a participant's certain death. longest_s: no
    longer than this, whatever is awaited. VenueError as of `empty`."""
    ends = time.monotonic() + longest_s
    sweep = Sweep(venue, symbols, seen, since_wall_s(seen, venue.name), found)
    sweep.patience_s = 2 * PATIENCE_S
    await sweep.empty(time.monotonic() + LAST_LOOK_S)
    left_s = seconds_left(sweep, seen, venue.name, quiet_ns)
    await sweep.settle(lambda: min(left_s(), ends - time.monotonic()))
    await sweep.empty(time.monotonic() + LAST_LOOK_S)
    return sweep


def since_wall_s(seen: Flight, venue: str) -> float:
    """From when on a venue's trades can tell of what is awaited there."""
    sent = min((order.sent_ns for order in seen.in_flight(venue) if order.sent_ns), default=now_ns())
    return time.time() - (now_ns() - sent) / flights.SECOND_NS - 5


def of_unknown_fate(sweep: Sweep, venue: str, quiet_ns: int) -> list[Order]:
    """What was never found: where orders carry a window its end proves that they did not land."""
    now = now_ns()
    return [order for order in sweep.missing if venue in flights.WINDOWLESS or order.until_ns(quiet_ns) > now]
