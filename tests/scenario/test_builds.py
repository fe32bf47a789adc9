"""The engine in other builds: stopping at undefined behaviour, and for any machine of the architecture."""

from __future__ import annotations

import pytest
from conftest import ROOT, System
from test_crashes import trading


@pytest.mark.parametrize("build", ["sanitized", "portable"])
def test_another_build_trades_and_stops(system: System, build: str) -> None:
    """From start to kill on both venues it trades as the plain engine does, and never ends by itself."""
    trader = ROOT / "build" / build / "bin" / "trader"
    assert trader.exists(), f"{trader} is not built: run `make {build}`"
    system.environment |= {"PURSER_TRADER": str(trader), "UBSAN_OPTIONS": "print_stacktrace=1"}
    system.start()
    trading(system)
    assert all(process["restarts"] == 0 for process in system.status()["processes"])
    system.control("kill")
    assert "runtime error" not in system.log_tails(lines=1_000)
