"""`control events --verify`: are the journals the ones that were written?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.journal_chain import verify_journal
from control.event_chain import verify_events
from control.records import Record

if TYPE_CHECKING:
    from bridge.paths import Paths

_TRIES, _PAUSE_S = 3, 0.3


def verify(paths: Paths) -> Record:
    """The engine's journal and the events. A journal that is being written may be seen half-way, so what is
    found broken is looked at again."""
    for _ in range(_TRIES):
        result = _verify_once(paths)
        if result["whole"]:
            break
        time.sleep(_PAUSE_S)
    return result


def _verify_once(paths: Paths) -> Record:
    journal, events = verify_journal(paths.engine_journal), verify_events(paths.events)
    return {
        "schema_version": 1,
        "whole": not journal.problems and not events.problems,
        "journal": {
            "folder": str(paths.engine_journal),
            "records": journal.records,
            "first": journal.first,
            "sealed": journal.sealed,
            "unsealed": journal.unsealed,
            "head": journal.head,
            "problems": journal.problems,
        },
        "events": {
            "file": str(paths.events),
            "lines": events.lines,
            "chained": events.chained,
            "head": events.head,
            "problems": events.problems,
        },
    }


def sentences(result: Record) -> list[str]:
    """The same for people."""
    journal, events = result["journal"], result["events"]
    said = []
    if journal["problems"]:
        said += [f"✗ The engine's journal: {problem}." for problem in journal["problems"]]
    else:
        tail = f", {journal['unsealed']} behind it wait for the next" if journal["unsealed"] else ""
        said.append(
            f"✓ The engine's journal: {journal['records']} records, sealed to {journal['sealed']}{tail}."
        )
    if events["problems"]:
        said += [f"✗ The events: {problem}." for problem in events["problems"]]
    else:
        said.append(f"✓ The events: {events['lines']} lines, {events['chained']} of them chained.")
    return said
