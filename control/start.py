"""`control start`: checks, then a supervisor of its own, then waiting until all is healthy."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.messages import LedgerState
from control import children, processes, shared
from control.budget import effective_budget
from control.config import ROOT, Paper, load, signed_usd, usd
from control.endings import ending, report_advice
from control.errors import ControlError, Exit
from control.latch import describe, is_latched
from control.printable import printable_text
from control.recorder import recorded_events
from control.settings_check import check_start
from control.status import snapshot, supervisor_process, why_halted
from control.words import PARTICIPANTS

if TYPE_CHECKING:
    from bridge.paths import Paths

Say = Callable[[str], None]
DISK_MIN_BYTES = 32 << 20  # the journal's segments, the venues' files and the logs begin with some MiB
LOOK_S = 0.2  # how often a start looks whether something halted


def check_startable(paths: Paths, options: dict[str, Any]) -> dict[str, Any]:
    """Refuse early, with a clear sentence, whatever would fail later. Returns the full options."""
    if _is_halted(paths):
        why = why_halted(paths, shared.ledger_view(paths))
        raise ControlError(
            f"Refused: trading is {why}.\nWhen the cause is understood, lift it with "
            "`control resume`, then start again.",
            Exit.HALTED,
        )
    _refuse_second(paths)
    refuse_full_disk(paths)
    trader = children.trader_path()
    if not os.access(trader, os.X_OK):
        raise ControlError(f"{trader} is not built; run `make trader` first.", Exit.CONFIGURATION)
    folder = Path(options["config"]).resolve()
    settings = load(Paper, folder / "paper.json")
    budget, _ = effective_budget(paths, folder, options.get("limit_usd"))
    full = {**options, "mode": "paper", "config": str(folder), "budget": budget.model_dump()}
    for key, chosen in (("engine_config", settings.engine_config), ("bot_config", settings.bot_config)):
        file = Path(options.get(key) or folder / chosen).resolve()
        if not file.is_file():
            raise ControlError(f"{file} is missing; restore it or name another file.", Exit.CONFIGURATION)
        full[key] = str(file)
    wrong = [
        text
        for ok, text in check_start(settings, Path(full["engine_config"]), Path(full["bot_config"]))
        if not ok
    ]
    if wrong:
        raise ControlError("\n".join(wrong), Exit.CONFIGURATION)
    feed = options.get("feed")
    if feed is not None:
        if not Path(feed).is_file():
            raise ControlError(f"The feed {feed} is not a file; name a recorded capture.", Exit.CONFIGURATION)
        full["feed"] = str(Path(feed).resolve())
    return full


def _is_halted(paths: Paths) -> bool:
    """Latched, or HALTED in a ledger that this start would take over. One that cannot be used is replaced by
    one that is HALTED and says why; refusing it here would refuse it for ever, because no `control resume`
    can change what is damaged."""
    if is_latched(paths.latch):
        return True
    try:
        ledger = shared.open_ledger(paths)
    except OSError:
        return False
    state = ledger.state
    ledger.close()
    return bool(state == LedgerState.HALTED)


def refuse_full_disk(paths: Paths) -> None:
    """A start without room would end in the middle, where no reason can be written any more."""
    for folder in (paths.home, paths.runtime):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < DISK_MIN_BYTES:
            raise ControlError(
                f"{folder} has room for {free >> 20} MiB only, and a start needs {DISK_MIN_BYTES >> 20}: "
                "free space there, or choose another folder with PURSER_HOME or PURSER_RUNTIME."
            )


def _refuse_second(paths: Paths) -> None:
    running = supervisor_process(paths)
    if running is not None:
        raise ControlError(
            f"Refused: it is already running (pid {running.pid}). `control status` shows it, "
            "`control stop` ends it.",
            Exit.ERROR,
        )
    lock = paths.supervisor_lock
    if not lock.exists():
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ControlError(
            "Refused: another start is under way. `control status` shows it.", Exit.ERROR
        ) from None
    finally:
        os.close(descriptor)


def prepare_folders(paths: Paths) -> None:
    """The durable and the runtime folders, 0700, ours; a runtime folder of somebody else is refused."""
    wanted = [
        paths.home,
        paths.runtime,
        paths.mode_home,
        paths.logs,
        paths.engine_journal,
        paths.sim_state("binance"),
        paths.sim_state("polymarket"),
    ]
    for entry in wanted:
        folder = Path(entry)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = folder.lstat()
            if not folder.is_dir() or folder.is_symlink() or info.st_uid != os.getuid():
                raise ControlError(f"{folder} is not a folder of ours; move it away and start again.")
            if info.st_mode & 0o077:
                folder.chmod(0o700)
        except OSError as error:
            raise ControlError(
                f"{folder} cannot be used: {error.strerror}. Set PURSER_HOME or "
                "PURSER_RUNTIME to a folder you own."
            ) from None


def start_detached(paths: Paths, options: dict[str, Any], say: Say, timeout_s: float) -> None:
    """Start the supervisor in its own session and wait until it reports healthy."""
    reading, writing = os.pipe()
    log = paths.logs / "supervisor.log"
    environment = {**os.environ, "PURSER_HOME": str(paths.home), "PURSER_RUNTIME": str(paths.runtime)}
    environment["PYTHONFAULTHANDLER"] = "1"
    argv = [sys.executable, "-m", "control.supervisor", json.dumps(options), str(writing)]
    children.bound_log(log)
    log_start = log.stat().st_size if log.exists() else 0
    handle = processes.spawn(
        argv, stdout=log, stderr=log, environment=environment, directory=ROOT, pass_fds=[writing]
    )
    os.close(writing)
    began_ns = time.time_ns()
    try:
        outcome, text = _follow(reading, say, time.monotonic() + timeout_s, lambda: is_latched(paths.latch))
    except KeyboardInterrupt:
        say("Interrupted: what was started is stopped again")
        begun = processes.identify(handle.pid)
        left = processes.terminate([begun], grace_s=12.0) if begun is not None else []
        raise ControlError("`control stop` ends what is left." if left else "Nothing runs.") from None
    finally:
        os.close(reading)
    if outcome == "healthy":
        say(f"✓ {text}")
        return
    identity = processes.identify(handle.pid)
    if outcome in ("timeout", "halted"):
        seen = what_is_missing(paths, began_ns)  # before the stop: afterwards everything looks dead
        if identity is not None:
            processes.terminate([identity], grace_s=12.0)
        if outcome == "halted":
            raise ControlError(_cut_short(paths, seen), Exit.HALTED)
        raise ControlError(
            f"Not healthy within {timeout_s:.0f} s; everything was stopped again.\n{seen}\n"
            f"Logs: {paths.logs}",
            Exit.TIMEOUT,
        )
    try:
        code = handle.wait(timeout=15)
    except subprocess.TimeoutExpired:
        code = int(Exit.ERROR)
    if is_latched(paths.latch):
        raise ControlError(_cut_short(paths, recent_trouble(paths, began_ns)), Exit.HALTED)
    if not text:
        tail = "\n".join("    " + line for line in children.last_lines(log, start=log_start))
        advice = report_advice(code, log, None)
        text = f"The supervisor (pid {handle.pid}) {ending(code)}. The end of {log}:\n{tail}"
        text += f"\n{advice}" if advice else ""
    raise ControlError(text, Exit(code) if code in set(Exit) and code else Exit.ERROR)


def _cut_short(paths: Paths, seen: str) -> str:
    return (
        f"The start was cut short: trading is {describe(paths.latch)}.\n{seen}".rstrip()
        + "\nOnly the simulated venues still run, so that they can be asked. The way out: look at the cause "
        "(`control account --compare` shows our books beside the venues', `control logs` the rest), then "
        "`control resume`, then start again."
    )


def _follow(reading: int, say: Say, deadline: float, halted: Callable[[], bool]) -> tuple[str, str]:
    """Show steps until the outcome: ("healthy"|"failed"|"ended"|"halted"|"timeout", text)."""
    pending = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([reading], [], [], min(left, LOOK_S))[0]:
            if halted():
                return "halted", ""
            continue
        block = os.read(reading, 65536)
        if not block:
            return "ended", ""
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["kind"] != "step":
                return str(message["kind"]), str(message["text"])
            say(f"✓ {message['text']}")
    return "timeout", ""


def what_is_missing(paths: Paths, began_ns: int) -> str:
    """What is not healthy now, and what it said itself since the start began."""
    picture = snapshot(paths)
    parts = [f"{row['name']} {row['state']}" for row in picture["processes"]]
    parts += [f"{row['name']} {row['state']} {row['text']}".strip() for row in picture["venues"]]
    ill = {str(row["name"]) for row in picture["processes"] if row["state"] != "running"}
    ready = {row["participant"] for row in picture["venues"] if row["state"] == "READY"}
    ill |= {name for name in PARTICIPANTS[1:] if name not in ready}
    lines = [f"Last seen: {', '.join(parts)}.", recent_trouble(paths, began_ns)]
    for name in sorted(ill - {"supervisor"}):
        log = paths.logs / f"{'bot' if name == 'polymarket_bot' else name}.log"
        tail = children.last_lines(log, 6) if log.exists() and log.stat().st_mtime_ns >= began_ns else []
        if tail:
            lines += [f"The end of {log}:", *(f"    {line}" for line in tail)]
    return printable_text("\n".join(line for line in lines if line))


def recent_trouble(paths: Paths, began_ns: int) -> str:
    """The last events since then that are warnings or errors, one a line, repeated ones once."""
    said: dict[str, None] = {}
    for row in recorded_events(paths.mode_home, 300):
        if row["wall_ns"] >= began_ns and row["level"] in ("warning", "error"):
            text = row.get("text") or row.get("reason") or ""
            line = f"    {row['source']}: {row['name']} {text}".rstrip()
            said.pop(line, None)
            said[line] = None
    lines = ["Warnings and errors since the start:", *list(said)[-6:]]
    return printable_text("\n".join(lines)) if said else ""


def summary(paths: Paths) -> str:
    """What runs, what it risks, and what to type next."""
    picture = snapshot(paths)
    budget = picture["budget"]
    runs = ", ".join(f"{row['name']} ({row['pid']})" for row in picture["processes"])
    return "\n".join(
        [
            "",
            f"{picture['mode'].upper()}: simulated venues on this machine, no real money.",
            f"Runs    {runs}",
            f"Risks   at most ${usd(budget['limit_micros'])} today, over both venues together; "
            f"{signed_usd(budget['used_micros'])} in use now",
            "Next    control status    watch it",
            "        control pnl       what it has made or lost",
            "        control kill      stop everything at once",
        ]
    )
