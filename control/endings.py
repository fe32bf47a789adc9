"""How a process of ours ended, in words that tell its user what to do.

A number below zero is what the operating system says of a process that a signal ended. Signals are of
three kinds here: those that a defect of the program itself brings, those that somebody sends, and SIGKILL,
which also comes from the kernel when the machine is out of memory.
"""

from __future__ import annotations

import signal
from pathlib import Path

_DEFECTS = {
    signal.SIGSEGV: "it used memory that is not its own",
    signal.SIGBUS: "it used memory that is not there: misaligned, or a file that was cut short under it",
    signal.SIGILL: "its processor does not know an instruction that it was built with",
    signal.SIGFPE: "an arithmetic operation has no result",
    signal.SIGABRT: "a check inside it failed",
    signal.SIGTRAP: "it reached code that must never be reached",
    signal.SIGSYS: "it made a system call that this system forbids",
}
_LIMITS = {
    signal.SIGXCPU: "its CPU time (`ulimit -t`) was used up: raise that limit",
    signal.SIGXFSZ: "a file reached the largest size allowed (`ulimit -f`): raise that limit",
}


def signal_of(code: int | None) -> signal.Signals | None:
    """The signal that ended a process with this exit code, None when none did."""
    try:
        return signal.Signals(-code) if code is not None and code < 0 else None
    except ValueError:
        return None  # a real-time signal has no name


def is_defect(code: int | None) -> bool:
    """Whether the end is a defect of the program itself."""
    return signal_of(code) in _DEFECTS


def ending(code: int | None) -> str:
    """The end as the rest of a sentence that begins with the process: "ended with code 4"."""
    number = signal_of(code)
    if code is None:
        return "ended, and nobody was there to learn how"
    if number is None:
        return f"ended with code {code}" if code >= 0 else f"was ended by signal {-code}"
    if number in _DEFECTS:
        return f"was ended by {number.name} ({_DEFECTS[number]}). This is a bug in Purser"
    if number in _LIMITS:
        return f"was ended by {number.name}: {_LIMITS[number]}"
    if number == signal.SIGKILL:
        return "was ended by SIGKILL: somebody sent it, or the machine is out of memory (`dmesg` tells)"
    return f"was ended by {number.name}, which somebody sent"


def report_advice(code: int | None, log: Path, journal: Path | None) -> str:
    """For a defect: what to keep and what to report. Empty for every other end."""
    if not is_defect(code):
        return ""
    kept = f"Log: {log}" + (f"; journal: {journal}" if journal is not None else "")
    rebuild = (
        " If it was built on another machine, build it here: `make clean && make trader`."
        if signal_of(code) == signal.SIGILL
        else ""
    )
    return (
        f"{kept}. Keep both.{rebuild} Please report it with: the lines of the log from its last start on, "
        "what `control version`, `uname -srm` and `control events` print, and what you had typed."
    )
