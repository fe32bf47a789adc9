"""`control resume`: lifts a halt, after the venues have been asked that nothing is open there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bridge.ledger import now_ns
from bridge.messages import LedgerState
from control import access, exposure, flight, processes, shared, sweep, venues
from control.errors import ControlError
from control.latch import actor, clear_latch, held_for_ns, is_latched
from control.recorder import write_event

if TYPE_CHECKING:
    from bridge.paths import Paths


def is_halted(paths: Paths) -> bool:
    """True when the latch is there or the ledger says HALTED."""
    return is_latched(paths.latch) or shared.ledger_state(paths) == LedgerState.HALTED


def resume(paths: Paths) -> list[str]:
    """Check every venue, then lower the ledger's state and remove the latch. Returns lines to show.

    ControlError when something is open or cannot be asked: nothing is changed then."""
    lines = asyncio.run(_check_venues(paths))
    try:
        ledger = shared.open_ledger(paths)
    except FileNotFoundError:
        lines.append("no ledger in shared memory: the next start makes a new one")
    except OSError as error:
        lines.append(f"the ledger cannot be used ({error}): the next start keeps its orders and is HALTED")
    else:
        # The ledger before the latch: a running supervisor latches again whatever is still HALTED.
        ledger.set_state(LedgerState.INIT, by_person=True)
        ledger.close()
        lines.append("ledger INIT: a start, or the running supervisor, makes it ACTIVE after reconciling")
    clear_latch(paths.latch)
    write_event(paths.mode_home, "control", "halt_lifted", level="warning", actor=actor(), checks=lines)
    lines.append("latch removed")
    return lines


async def _check_venues(paths: Paths) -> list[str]:
    seen = flight.read(paths)
    found = processes.find_ours(paths.runtime)
    places = access.places(paths, seen, found)
    return list(await asyncio.gather(*(_check_place(paths, place, seen, found) for place in places)))


async def _check_place(
    paths: Paths, place: access.Place, seen: flight.Flight, found: list[processes.FoundProcess]
) -> str:
    name = f"{place.venue}{place.where}"
    if place.simulator and not any(entry.name == f"sim-{place.venue}" for entry in found):
        # A stopped simulator keeps its account on disk; the next start cancels what it finds there.
        return f"{name}: its simulator does not run; the next start empties it before it quotes"
    runs = any(entry.name == place.participant for entry in found)
    # A kill that was confirmed has found out about what could not be read; the ledger does not say so.
    settled = not runs and exposure.nothing_there(paths, place.venue, place) is not None
    if place.earlier and settled:
        return f"{name}: seen empty before"
    if place.problem and (place.fingerprint or seen.at(place.venue)):
        raise ControlError(f"{name}: {place.problem}, so the halt stays. Look at the venue itself.")
    if place.ready is None:
        raise ControlError(f"{name} runs but its address is lost; `control stop`, then `control resume`.")
    orders = seen.without_doubt() if settled else seen
    orders = flight.Flight() if place.earlier else orders
    try:
        async with venues.open_venue(place.venue, place.ready, timeout_s=1.0) as venue:
            left = await venue.open_orders()
            if left:
                # The dead-man switch or a cancel may be on its way: look once more before refusing.
                await asyncio.sleep(0.3)
                left = await venue.open_orders()
            unknown = await _on_their_way(paths, venue, orders)
            left = left or await venue.open_orders()
    except (venues.VenueError, TimeoutError) as error:
        raise ControlError(
            f"{name} cannot be asked ({error}), so the halt stays. Try again, "
            "or `control stop` to end the simulators."
        ) from None
    if left:
        raise ControlError(
            f"{name} still has {len(left)} open orders, so the halt stays. "
            "Run `control kill` again, then `control resume`."
        )
    return f"{name}: no order open ({time.strftime('%H:%M:%S')}){unknown}"


async def _on_their_way(paths: Paths, venue: venues.Venue, seen: flight.Flight) -> str:
    """ControlError while an order of ours can still land, with when that ends; else what is to be said of
    orders that were never seen."""
    # Since when nobody may send: what a slot that cannot be read is judged by.
    quiet_ns = now_ns() - held_for_ns(paths.latch)
    found = exposure.found_before(paths)
    looking = sweep.Sweep(venue, (), seen, sweep.since_wall_s(seen, venue.name), found)
    await looking.ask()
    left_s = sweep.seconds_left(looking, seen, venue.name, quiet_ns)()
    if left_s > 0:
        until = time.strftime("%H:%M:%S", time.gmtime(time.time() + left_s))
        what = f"{len(looking.missing)} orders of unknown fate" if looking.missing else "unread reservations"
        raise ControlError(
            f"{venue.name} has {what} until {until} UTC ({left_s:.0f} s): they may still open, so the halt "
            "stays. Run `control kill` and then `control resume` after that."
        )
    never = len(sweep.of_unknown_fate(looking, venue.name, quiet_ns))
    return f"; {never} orders were never seen and stay charged" if never else ""
