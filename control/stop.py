"""`control stop`: graceful end. Orders are cancelled, positions are kept, the venues' simulators end."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from control import processes, shared, venues
from control.emptying import empty_venue
from control.errors import ControlError, Exit
from control.latch import actor, is_latched
from control.recorder import FillRecorder, write_event
from control.status import supervisor_process
from control.words import PARTICIPANTS

if TYPE_CHECKING:
    from bridge.paths import Paths

Say = Callable[[str], None]
GRACE_S = 20.0
NOTHING = "Nothing is running. `control start --paper` starts it."
NOTHING_BUT_VENUES = "Nothing is running but the simulated venues. `control stop` ends them."
VENUES_KEPT = (
    "the simulated venues still run. `control kill --flatten` closes positions, `control start` goes on, "
    "`control stop` ends the venues."
)


def stop(paths: Paths, say: Say, keep_venues: bool = False) -> None:
    """Ask the supervisor to stop; whatever it does not end is ended here. ControlError(NOT_RUNNING).
    With keep_venues the simulated venues go on, as real ones would."""
    supervisor = supervisor_process(paths)
    if supervisor is not None:
        say("Stopping: orders are cancelled, positions are kept")
        _ask_to_stop(paths, supervisor, keep_venues)
        left = processes.wait_gone([supervisor], GRACE_S)
        if left:
            say("The supervisor does not end; it is killed")
            processes.terminate(left, grace_s=0.0)
    about = shared.about_supervisor(paths) if supervisor is not None else {}
    problems: list[str] = list(about.get("unverified", []))
    leftovers = shared.all_live_processes(paths)
    ending = [entry for entry in leftovers if not (keep_venues and entry.name.startswith("sim-"))]
    if supervisor is None and not ending:
        raise ControlError(NOTHING_BUT_VENUES if leftovers else NOTHING, Exit.NOT_RUNNING)
    if supervisor is not None and leftovers and is_latched(paths.latch):
        # Its supervisor left the venues to a kill, which asks them once more after a while.
        raise ControlError(
            "Stopped by the `control kill` that came in between. The simulated venues still run, so that "
            "they can be asked; `control stop` ends them."
        )
    if ending:
        problems += _end_leftovers(paths, leftovers, say, keep_venues)
    if problems:
        raise ControlError(
            "Stopped, but orders may still be open: " + "; ".join(problems) + ". The next start cancels them."
        )
    say("✓ Stopped; " + VENUES_KEPT if keep_venues else "✓ Stopped")


def _ask_to_stop(paths: Paths, supervisor: processes.ProcessId, keep_venues: bool) -> None:
    from control.bus import ask

    if processes.is_stopped(supervisor):
        # It was paused by a signal; let it go on, so that it can end things in order.
        processes.send_signal(supervisor, signal.SIGCONT)
    try:
        ask(paths, {"command": "stop", "actor": actor(), "keep_venues": keep_venues})
    except ControlError:
        # By a signal it cannot be told to leave the venues up: then the rest is ended from here.
        processes.send_signal(supervisor, signal.SIGKILL if keep_venues else signal.SIGTERM)


def _end_leftovers(
    paths: Paths, leftovers: list[processes.FoundProcess], say: Say, keep_venues: bool
) -> list[str]:
    """Ends them in order; returns what could not be seen to be closed at a venue."""
    participants = [e.process for e in leftovers if e.name in PARTICIPANTS]
    simulators = [e.process for e in leftovers if e.name.startswith("sim-")]
    kept = [e.name for e in leftovers if keep_venues and e.name.startswith("sim-")]
    names = ", ".join(sorted({entry.name for entry in leftovers} - set(kept)))
    say(f"Ending what no supervisor watches: {names}")
    processes.terminate(participants, grace_s=4.0)
    problems = asyncio.run(_empty_venues(paths)) if simulators else []
    try:
        _keep_last_fills(paths)
    except OSError as error:
        say(f"The last fills stay in {paths.runtime} for now: {error.strerror}")
    alive = [] if keep_venues else processes.terminate(simulators, grace_s=6.0)
    for venue in venues.VENUES:
        if not keep_venues:
            paths.sim_ready(venue).unlink(missing_ok=True)
    write_event(paths.mode_home, "control", "leftovers_ended", names=names)
    if alive:
        raise ControlError(f"Process {alive[0].pid} does not end; end it by hand.")
    return problems


async def _empty_venues(paths: Paths) -> list[str]:
    """What could not be seen to be empty; a venue of which nothing is known was not used."""
    problems = []
    for name in venues.VENUES:
        symbols = shared.known_symbols(paths, None, name)
        seen = await empty_venue(paths, name, symbols, time.monotonic() + 2.0)
        if seen.known and not seen.confirmed:
            problems.append(f"{name}: {seen.line()}")
    return problems


def _keep_last_fills(paths: Paths) -> None:
    """The supervisor is gone, so the last fills of the pages are kept here."""
    recorder = FillRecorder(paths.mode_home)
    recorder.open()
    for name in PARTICIPANTS[1:]:
        page = shared.read_page(paths, name)
        if page is not None:
            recorder.take(name, page)
    recorder.close()
