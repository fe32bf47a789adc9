"""Processes by pid and start time.

A pid alone is not an identity: the kernel reuses it. Everything here that signals a process first
opens a pidfd, then compares the start time, then signals through the pidfd, so that a signal can
never reach a stranger who was given the same number in between.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# What the processes of this product look like in /proc/PID/cmdline, by the name used in every view.
_MODULES = {
    "control.supervisor": "supervisor",
    "polymarket_bot": "polymarket_bot",
    "simulators binance": "sim-binance",
    "simulators polymarket": "sim-polymarket",
}


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for ever: its pid and field 22 of /proc/PID/stat (clock ticks since boot)."""

    pid: int
    start_time: int


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process of ours found by looking through /proc."""

    name: str
    process: ProcessId


def _stat_fields(pid: int) -> list[str] | None:
    if not 0 < pid < 1 << 31:  # from a file or from shared memory: no process has such a number
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    # The command name may contain spaces and brackets; the fields after it begin at the last ')'.
    return text[text.rfind(")") + 2 :].split()


def start_time_of(pid: int) -> int | None:
    """Start time of a process, or None when there is none (a zombie counts as gone)."""
    fields = _stat_fields(pid)
    if fields is None or fields[0] in ("Z", "X"):
        return None
    return int(fields[19])


def identify(pid: int) -> ProcessId | None:
    """The identity of a live process, or None."""
    started = start_time_of(pid)
    return None if started is None else ProcessId(pid, started)


def is_alive(process: ProcessId) -> bool:
    """True while exactly this process exists; stopped counts as alive, a zombie does not."""
    return process.pid > 0 and start_time_of(process.pid) == process.start_time


def is_stopped(process: ProcessId) -> bool:
    """True when the process is alive and stopped by a signal or a debugger."""
    fields = _stat_fields(process.pid)
    return fields is not None and fields[0] in ("T", "t") and int(fields[19]) == process.start_time


def resident_bytes(process: ProcessId) -> int:
    """Resident memory in bytes, 0 when the process is gone."""
    fields = _stat_fields(process.pid)
    if fields is None or int(fields[19]) != process.start_time:
        return 0
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def send_signal(process: ProcessId, number: int) -> bool:
    """Signal exactly this process. False when it is already gone. PermissionError passes through."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError as error:
        if error.errno == errno.EINVAL:  # no process has such a number
            return False
        raise
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def wait_gone(processes: Iterable[ProcessId], timeout_s: float) -> list[ProcessId]:
    """Wait until all are gone; returns those still alive at the deadline."""
    deadline = time.monotonic() + timeout_s
    left = [process for process in processes if is_alive(process)]
    while left and (remaining := deadline - time.monotonic()) > 0:
        _wait_one(left[0], min(remaining, 0.25))
        left = [process for process in left if is_alive(process)]
    return left


def _wait_one(process: ProcessId, timeout_s: float) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if is_alive(process):
            select.select([descriptor], [], [], timeout_s)
    finally:
        os.close(descriptor)


def terminate(processes: Iterable[ProcessId], grace_s: float, kill_s: float = 2.0) -> list[ProcessId]:
    """SIGTERM, wait grace_s, SIGKILL what is left, wait kill_s. Returns what even then is alive."""
    wanted = list(processes)
    for process in wanted:
        send_signal(process, signal.SIGTERM)
    # A stopped process cannot act on SIGTERM; waiting for it would only lose time.
    left = wait_gone([process for process in wanted if not is_stopped(process)], grace_s)
    left += [process for process in wanted if process not in left and is_alive(process)]
    for process in left:
        send_signal(process, signal.SIGKILL)
    return wait_gone(left, kill_s)


def spawn(
    argv: Sequence[str],
    *,
    stdout: Path,
    stderr: Path,
    environment: Mapping[str, str],
    directory: Path,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a process in its own session, so that a Ctrl-C in our terminal is not also its own.

    stdout is truncated, stderr appended to; both are created 0600.
    """
    out = os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        if stdout != stderr:
            os.ftruncate(out, 0)
        err = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=dict(environment),
                cwd=directory,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        finally:
            os.close(err)
    finally:
        os.close(out)


def arguments_of(process: ProcessId) -> list[str]:
    """Its command line, empty when it is gone."""
    try:
        parts = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [part.decode(errors="replace") for part in parts] if is_alive(process) else []


def find_ours(runtime: Path) -> list[FoundProcess]:
    """Every live process of ours that works in this runtime folder, found without any file of ours.

    A process counts when its environment names the runtime folder and its command line is one of
    the programs we start; the command line alone could be somebody's editor or log viewer.
    """
    wanted = f"PURSER_RUNTIME={runtime}".encode()
    found: list[FoundProcess] = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        pid = int(entry)
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if wanted not in environment.split(b"\0"):
                continue
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        name = _name_of([part.decode(errors="replace") for part in argv])
        process = identify(pid) if name else None
        if name and process:
            found.append(FoundProcess(name, process))
    return found


def _name_of(argv: list[str]) -> str | None:
    if not argv:
        return None
    if os.path.basename(argv[0]) == "trader":
        return "engine"
    for index, part in enumerate(argv[:-1]):
        if part == "-m":
            module = argv[index + 1]
            if module == "simulators" and len(argv) > index + 2:
                module = f"simulators {argv[index + 2]}"
            return _MODULES.get(module)
    return None
