"""One budget: two processes that together want more than the limit never get more than it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, System

from bridge.ledger import Ledger, LedgerView
from bridge.messages import LedgerState

SAMPLE_S = float(os.environ.get("PURSER_SAMPLE_S", "20"))


def samples(system: System, seconds: float) -> Iterator[LedgerView]:
    """A hundred consistent pictures of the ledger a second, each checked against the invariant: what is
    used fits into what was granted, unless marks moved, and then its owner is REDUCING."""
    ledger = Ledger.open(system.home / "run" / "ledger")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        view = ledger.snapshot()
        if view.consistent:
            for dimension in (0, 1):
                alloc = sum(p.alloc_micros[dimension] for p in view.participants)
                assert alloc <= view.limit_micros[dimension], view
                for p in view.participants:
                    fits = p.used_micros[dimension] <= p.alloc_micros[dimension]
                    assert fits or p.state == LedgerState.REDUCING, view
            yield view
        time.sleep(0.01)


def configured(system: System, **files: dict[str, dict[str, Any]]) -> Path:
    """A copy of config/ with keys of some files' sections changed."""
    folder = system.home / "config"
    shutil.copytree(ROOT / "config", folder)
    for name, sections in files.items():
        path = folder / f"{name}.json"
        content = json.loads(path.read_text())
        for section, changes in sections.items():
            content[section] |= changes
        path.write_text(json.dumps(content))
    return folder


def test_both_together_never_exceed_a_limit_that_is_too_small_for_them(system: System) -> None:
    """Sampled 100 times a second: sum(used) <= sum(alloc) <= limit; each side is refused for BUDGET."""
    system.start("--limit-usd", "45")
    seen = 0
    for _ in samples(system, SAMPLE_S + 240):  # a busy machine takes fewer in the same time
        seen += 1
        if seen > SAMPLE_S * 80:
            break
    assert seen > SAMPLE_S * 80

    def refused() -> dict[str, int]:
        rows = [r for r in system.status(expect=None)["refusals"] if r["reason"] == "BUDGET"]
        return dict(rows[0]["participants"])

    system.wait("both refused for BUDGET", lambda: {"engine", "polymarket_bot"} <= set(refused()))


QUOTE_WIDE = {"quoter": {"levels": 5, "max_position": "0.02"}}
QUOTE_NOTHING = {"quoter": {"enabled": False}, "hedger": {"enabled": False}}
NO_MARKET_QUALIFIES = {"strategy": {"lowest": "0.94", "highest": "0.95"}}


@pytest.mark.parametrize(
    ("line", "files"),
    [
        (1, {"binance_sim": QUOTE_WIDE, "polymarket_sim": NO_MARKET_QUALIFIES}),
        (2, {"binance_sim": QUOTE_NOTHING}),
    ],
    ids=["engine", "polymarket_bot"],
)
def test_one_alone_can_use_almost_all_of_it(system: System, line: int, files: dict[str, Any]) -> None:
    """While the other is idle, one process reaches the limit but for the headroom and one order."""
    limit = 40
    system.start("--limit-usd", str(limit), "--config", str(configured(system, **files)))
    most = 0
    for view in samples(system, 240):
        most = max(most, view.participants[line].used_micros[0])
        if most > limit * 0.85 * 1_000_000:
            return
    pytest.fail(f"it used at most {most} of {limit} million micro-dollars\n{system.log_tails()}")
