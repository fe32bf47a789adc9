"""The engine built to stop at undefined behaviour and at misaligned access trades as the plain one does."""

from __future__ import annotations

from conftest import ROOT, System
from test_crashes import trading

TRADER = ROOT / "build" / "sanitized" / "bin" / "trader"


def test_the_sanitized_engine_trades_and_stops(system: System) -> None:
    """From start to kill on both venues it does nothing that C leaves undefined: it never ends by itself."""
    assert TRADER.exists(), f"{TRADER} is not built: run `make sanitized`"
    system.environment |= {"PURSER_TRADER": str(TRADER), "UBSAN_OPTIONS": "print_stacktrace=1"}
    system.start()
    trading(system)
    assert all(process["restarts"] == 0 for process in system.status()["processes"])
    system.control("kill")
    assert "runtime error" not in system.log_tails(lines=1_000)
