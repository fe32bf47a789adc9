"""Which Purser this is, said at each start: the name by which another one on the account would call it."""

from __future__ import annotations

from collections.abc import Callable

from bridge.instance import Fate, InstanceError, read_instance
from bridge.paths import Paths
from control.errors import Exit
from control.keeper import StartFailed
from control.recorder import EventLog

TEXTS = {
    Fate.KEPT: "this home's own",
    Fate.MADE: "new: the home had none",
    Fate.COPIED: "new: the home is a copy, or was restored or moved to another disk",
    Fate.DAMAGED: "new: the file of the old one could not be read",
}


def know_instance(paths: Paths, events: EventLog, step: Callable[[str], None]) -> None:
    """Before anything of ours can send an order. A changed id is told loudly: orders that an earlier id left
    open are another Purser's from now on."""
    try:
        instance = read_instance(paths.home)
    except InstanceError as error:
        raise StartFailed(f"{error}.", Exit.CONFIGURATION) from None
    changed = instance.fate in (Fate.COPIED, Fate.DAMAGED)
    events.write(
        "supervisor",
        "instance_changed" if changed else "instance_known",
        level="warning" if changed else "info",
        instance=instance.name,
        text=TEXTS[instance.fate],
    )
    if changed:
        step(f"This Purser is now instance {instance.name} ({TEXTS[instance.fate]})")
