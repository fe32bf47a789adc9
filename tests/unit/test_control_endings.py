"""How the end of a process is told: by name, as a defect or not, with what to do next."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from control.endings import ending, is_defect, report_advice

DEFECTS = [signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT]
LOG, JOURNAL = Path("logs/engine.log"), Path("engine")


@pytest.mark.parametrize("number", DEFECTS)
def test_a_process_that_died_of_a_defect_is_called_one(number: signal.Signals) -> None:
    """The code that the operating system gives for a real death by the signal names it, as a bug, with what
    to keep and to report."""
    program = (
        f"import os, signal; signal.signal({number:d}, signal.SIG_DFL); os.kill(os.getpid(), {number:d})"
    )
    code = subprocess.run([sys.executable, "-c", program], check=False).returncode
    assert is_defect(code)
    assert number.name in ending(code) and "bug" in ending(code)
    advice = report_advice(code, LOG, JOURNAL)
    assert str(LOG) in advice and f"journal: {JOURNAL}" in advice and "report" in advice


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (-9, "out of memory"),
        (-15, "somebody sent"),
        (-25, "ulimit -f"),
        (4, "code 4"),
        (-40, "signal 40"),
        (None, "learn how"),
    ],
)
def test_other_ends_are_not_called_a_bug(code: int | None, word: str) -> None:
    """A signal from outside, a limit, an exit code: each is told as what it is, with nothing to report."""
    assert word in ending(code) and "bug" not in ending(code)
    assert report_advice(code, LOG, JOURNAL) == ""
