"""Which participant's record of today was lost, as its page tells: an alarm until its next start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

ENGINE, BOT = "engine", "polymarket_bot"
ENGINE_JOURNAL_MISSING, ENGINE_JOURNAL_DAMAGED = 25, 23  # enum engine_counter
BOT_FILLS_REBUILT = 3  # polymarket_bot/status_page.py


class Counters(Protocol):
    """The part of a page that is looked at."""

    counters: tuple[int, ...]


def lost_records(pages: Mapping[str, Counters]) -> dict[str, str]:
    """Event name to sentence; empty when every record was there."""
    lost = {}
    if ENGINE in pages:
        counters = pages[ENGINE].counters
        if counters[ENGINE_JOURNAL_MISSING]:
            lost["journal_missing"] = (
                "the engine's journal of today was lost: its result is made of the venue's own fills; "
                "`control events --verify` looks at what is left"
            )
        elif counters[ENGINE_JOURNAL_DAMAGED]:
            lost["journal_damaged"] = (
                "the engine's journal is damaged: the venue's own fills fill the rest; "
                "`control events --verify` says where it breaks"
            )
    if BOT in pages and (fills := pages[BOT].counters[BOT_FILLS_REBUILT]):
        lost["database_missing"] = (
            f"the bot's database knew nothing of today: its result is made of {fills} fills of the venue"
        )
    return lost
