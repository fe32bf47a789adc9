"""`control resume`: lifts a halt, after the venues have been asked that nothing is open there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bridge.messages import LedgerState
from control import processes, shared, venues
from control.errors import ControlError
from control.latch import actor, clear_latch, is_latched
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
    return list(await asyncio.gather(*(_check_venue(paths, name) for name in venues.VENUES)))


async def _check_venue(paths: Paths, name: str) -> str:
    ready = venues.read_ready(paths.sim_ready(name))
    running = [e for e in processes.find_ours(paths.runtime) if e.name == f"sim-{name}"]
    if not running:
        # A stopped simulator keeps its account on disk; the next start cancels what it finds there.
        return f"{name}: its simulator does not run; the next start empties it before it quotes"
    if ready is None:
        raise ControlError(f"{name} runs but its address is lost; `control stop`, then `control resume`.")
    try:
        async with venues.open_venue(name, ready, timeout_s=1.0) as venue:
            left = await venue.open_orders()
            if left:
                # The dead-man switch or a cancel may be on its way: look once more before refusing.
                await asyncio.sleep(0.3)
                left = await venue.open_orders()
    except venues.VenueError as error:
        raise ControlError(
            f"{name} cannot be asked ({error}), so the halt stays. Try again, "
            "or `control stop` to end the simulators."
        ) from None
    if left:
        raise ControlError(
            f"{name} still has {len(left)} open orders, so the halt stays. "
            "Run `control kill` again, then `control resume`."
        )
    return f"{name}: no order open ({time.strftime('%H:%M:%S')})"
