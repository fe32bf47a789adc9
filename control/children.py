"""The supervisor's child processes: how each is started, found again, waited for and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control import processes
from control.config import ROOT, Paper, Simulator
from control.printable import printable
from control.processes import ProcessId
from control.records import write_atomically

if TYPE_CHECKING:
    from bridge.paths import Paths

RESTARTS_MAX = 6
RESTART_WINDOW_S = 600.0
BACKOFF_MAX_S = 8.0
LOG_LIMIT_BYTES = 64 << 20


@dataclass(slots=True)
class Child:
    """One process that the supervisor keeps alive."""

    name: str
    title: str
    role: int | None  # its line in the ledger; None for a simulator
    venue: str  # the venue where its orders rest, or which it simulates
    argv: list[str]
    log: Path
    stdout: Path
    process: ProcessId | None = None
    handle: subprocess.Popen[bytes] | None = None  # None when adopted from an earlier supervisor
    state: str = "down"  # down starting running hung recovering stopped failed
    restarts: int = 0
    started: float = 0.0
    exit_code: int | None = None
    log_start: int = 0  # where in its log this process began
    ended_by_roll: bool = False  # for its silence at a day's end: not a death of its own
    deaths: deque[float] = field(default_factory=deque)

    @property
    def simulator(self) -> bool:
        """True for a local venue, which holds no rights in the ledger."""
        return self.role is None

    @property
    def pid(self) -> int:
        """Its process now, 0 when it never had one."""
        return self.process.pid if self.process else 0

    def record(self) -> dict[str, Any]:
        """Its entry in supervisor.json."""
        return {
            "name": self.name,
            "pid": self.process.pid if self.process else 0,
            "start_time": self.process.start_time if self.process else 0,
            "state": self.state,
            "restarts": self.restarts,
            "argv": self.argv,
        }

    def too_many_deaths(self, now: float) -> bool:
        """Notes a death; True when it has died too often in the window to be started again."""
        self.deaths.append(now)
        while self.deaths and now - self.deaths[0] > RESTART_WINDOW_S:
            self.deaths.popleft()
        return len(self.deaths) > RESTARTS_MAX

    def backoff_s(self) -> float:
        """0.5 s after the first death in the window, then twice as long each time."""
        return min(0.5 * 2.0 ** (max(len(self.deaths), 1) - 1), BACKOFF_MAX_S)


def trader_path() -> Path:
    """The engine's program: PURSER_TRADER, else bin/trader of this tree."""
    named = os.environ.get("PURSER_TRADER")
    return Path(named) if named else ROOT / "bin" / "trader"


def simulator_argv(
    name: str, settings: Simulator, paths: Paths, seed: int, feed: str | None, speed: str | None
) -> list[str]:
    """The command line of a local venue, without its ports (see with_ports)."""
    argv = [sys.executable, "-m", "simulators", name, "--state", str(paths.sim_state(name))]
    argv += ["--seed", str(settings.seed if settings.seed is not None else seed)]
    if name == "polymarket":
        argv += ["--reference", str(paths.sim_ready("binance"))]
    if settings.profile:
        argv += ["--profile", settings.profile]
    if settings.faults:
        argv += ["--faults", settings.faults]
    if name == "binance" and feed:
        argv += ["--feed", feed]
        if speed:
            argv += ["--speed", speed]
    return argv


def with_ports(argv: list[str], port: int, admin_port: int) -> list[str]:
    """The command line with the two listening ports."""
    return [*argv, "--port", str(port), "--admin-port", str(admin_port)]


def ports_of(ready: dict[str, Any]) -> tuple[int, int]:
    """The ports in a ready line: service and admin."""
    service = ready.get("rest") or ready.get("clob") or ""
    return _port(service), _port(ready.get("admin") or "")


def _port(url: str) -> int:
    tail = url.rstrip("/").rpartition(":")[2]
    return int(tail) if tail.isdigit() else 0


def make_children(
    paths: Paths, settings: Paper, engine_config: Path, bot_config: Path, options: dict[str, Any]
) -> list[Child]:
    """The four processes of paper mode, in the order in which they start."""
    seed = settings.seed if options.get("seed") is None else int(options["seed"])
    feed, speed = options.get("feed"), options.get("speed")
    children = []
    for venue, title, chosen in (
        ("binance", "Binance simulator", settings.binance),
        ("polymarket", "Polymarket simulator", settings.polymarket),
    ):
        name = f"sim-{venue}"
        children.append(
            Child(
                name,
                title,
                None,
                venue,
                simulator_argv(venue, chosen, paths, seed, feed, speed),
                paths.logs / f"{name}.log",
                paths.runtime / f"{name}.out",
            )
        )
    engine_log, bot_log = paths.logs / "engine.log", paths.logs / "bot.log"
    engine = [str(trader_path()), "--mode", "paper", "--exchange", "binance", "--config", str(engine_config)]
    bot = [sys.executable, "-m", "polymarket_bot", "--mode", "paper", "--config", str(bot_config)]
    children.append(Child("engine", "engine", 1, "binance", engine, engine_log, engine_log))
    children.append(Child("polymarket_bot", "Polymarket bot", 2, "polymarket", bot, bot_log, bot_log))
    return children


def start_child(child: Child, argv: list[str], environment: dict[str, str]) -> None:
    """Start the process and note its identity. OSError when the program cannot be run."""
    bound_log(child.log)
    child.state, child.exit_code = "starting", None
    child.log_start = child.log.stat().st_size if child.log.exists() else 0
    child.handle = processes.spawn(
        argv, stdout=child.stdout, stderr=child.log, environment=environment, directory=ROOT
    )
    started = processes.start_time_of(child.handle.pid)
    # A zombie has no start time here; wait() still sees its exit code.
    child.process = ProcessId(child.handle.pid, started or 0)
    child.started = time.monotonic()


async def wait_child(child: Child) -> int | None:
    """Wait until the process is gone: its exit code (negative: the signal), None when adopted."""
    if child.process is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        await _wait_pidfd(child.process)
    if child.handle is None:
        child.exit_code = None
    else:
        child.exit_code = await asyncio.to_thread(child.handle.wait)
    return child.exit_code


async def _wait_pidfd(process: ProcessId) -> None:
    descriptor = os.pidfd_open(process.pid)
    try:
        if process.start_time and not processes.is_alive(process):
            return
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
    finally:
        os.close(descriptor)


async def wait_ready_line(child: Child, ready_path: Path, timeout_s: float) -> dict[str, Any] | None:
    """The simulator's ready line from its stdout, kept 0600 in ready_path; None when it does not come."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            line, newline, _ = child.stdout.read_text().partition("\n")
            if newline:
                ready = json.loads(line)
                if isinstance(ready, dict):
                    write_atomically(ready_path, ready)
                    return ready
        if child.handle is not None and child.handle.poll() is not None:
            return None
        await asyncio.sleep(0.02)
    return None


def bound_log(path: Path) -> None:
    """Keep a log bounded: copy it to .1 and empty it (its writer appends, so it may go on)."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            path.with_name(path.name + ".1").write_bytes(path.read_bytes())
            os.truncate(path, 0)


def last_lines(path: Path, count: int = 12, start: int = 0) -> list[str]:
    """The last lines of a log after this offset, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, path.stat().st_size - 8192))
            text = file.read(1 << 16).decode(errors="replace")
    except OSError:
        return []
    # At line feeds alone: a carriage return in a venue's words must not make a line of its own.
    return [printable(line) for line in text.removesuffix("\n").split("\n")[-count:] if text]
