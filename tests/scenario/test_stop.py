"""`control stop` says what it could not see."""

from __future__ import annotations

import signal

from conftest import System
from test_crashes import trading

from control import processes


def test_stop_is_not_silent_about_a_venue_that_does_not_answer(system: System) -> None:
    """With a venue's answers gone, stop ends everything, but with 1 and that venue's name."""
    system.start()
    trading(system)
    pid = system.signal("sim-binance", signal.SIGSTOP)
    stopped = system.control("stop", expect=1)
    assert "binance" in stopped.stderr and "may still be open" in stopped.stderr
    assert not processes.identify(pid)
