"""Orders of others on our accounts, from the engine's page: charged, and somebody should know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

FOREIGN_OPEN = 26  # place in the engine's counters (engine.h)


class Counters(Protocol):
    """What is needed of a page."""

    counters: tuple[int, ...]


def foreign_orders(pages: Mapping[str, Counters]) -> list[str]:
    """One sentence while orders that are not ours rest at Binance."""
    count = pages["engine"].counters[FOREIGN_OPEN] if "engine" in pages else 0
    if not count:
        return []
    orders = "1 order that is not ours rests" if count == 1 else f"{count} orders that are not ours rest"
    return [f"binance: {orders} on this account, charged like ours; `control events` names them"]
