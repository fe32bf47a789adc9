"""One budget: two processes that together want more than the limit never get more than it."""

from __future__ import annotations

import os
import time

from conftest import System

from bridge.ledger import Ledger

SAMPLE_S = float(os.environ.get("PURSER_SAMPLE_S", "20"))


def test_both_together_never_exceed_a_limit_that_is_too_small_for_them(system: System) -> None:
    """Sampled 100 times a second: sum(used) <= sum(alloc) <= limit; each side is refused for BUDGET."""
    system.start("--limit-usd", "45")
    ledger = Ledger.open(system.home / "run" / "ledger")
    deadline = time.monotonic() + SAMPLE_S
    samples = 0
    while time.monotonic() < deadline:
        view = ledger.snapshot()
        if view.consistent:
            for dimension in (0, 1):
                used = sum(p.used_micros[dimension] for p in view.participants)
                alloc = sum(p.alloc_micros[dimension] for p in view.participants)
                assert used <= alloc <= view.limit_micros[dimension], view
            samples += 1
        time.sleep(0.01)
    assert samples > SAMPLE_S * 50
    budget = next((r for r in system.status()["refusals"] if r["reason"] == "BUDGET"), {"participants": {}})
    assert budget["participants"].get("engine"), system.status()["refusals"]
    assert budget["participants"].get("polymarket_bot"), system.status()["refusals"]
