"""What the engine and the bot need: no heap on the path, little memory, little time when nothing moves."""

from __future__ import annotations

import resource
import subprocess
import time
from pathlib import Path

from conftest import ROOT, System
from test_crashes import trading

from bridge.page import PageReader

TRAP = ROOT / "build" / "heap-trap"
HEAP_TRAP_CALLS, HEAP_TRAP_SECTIONS = 40, 41  # engine/engine.h, enum of counters


def resident_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_no_heap_call_between_tick_and_order(system: System) -> None:
    """A build that traps heap calls trades on both venues: thousands of armed sections, not one call."""
    assert subprocess.run([TRAP / "tests" / "test_heap_trap"], check=False).returncode == 0
    system.environment |= {"PURSER_TRADER": str(TRAP / "bin" / "trader"), "PURSER_HEAP_TRAP": "abort"}
    system.start()
    trading(system)
    reader = PageReader(system.home / "run" / "engine.page")

    def counters() -> tuple[int, int]:
        page = reader.read()
        return page.counters[HEAP_TRAP_CALLS], page.counters[HEAP_TRAP_SECTIONS]

    system.wait("a thousand armed sections", lambda: counters()[1] > 1000)
    assert counters()[0] == 0
    assert all(process["restarts"] == 0 for process in system.status()["processes"])


def test_memory_and_idle_processor_time(system: System) -> None:
    """Engine below 64 MB, bot below 250 MB; with a quiet feed the engine uses less than 5 % of a core."""
    system.start()
    trading(system)
    assert resident_bytes(system.pid("engine")) < 64 * 2**20
    assert resident_bytes(system.pid("polymarket_bot")) < 250 * 2**20
    system.admin("binance", "/market", {"pause": True})
    pid = system.pid("engine")
    before, began = cpu_seconds(pid), time.monotonic()
    system.wait("ten quiet seconds", lambda: time.monotonic() - began > 10)
    assert (cpu_seconds(pid) - before) / (time.monotonic() - began) < 0.05
