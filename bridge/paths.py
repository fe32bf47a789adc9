"""Where Purser keeps its files.

Two folders, both 0700 and owned by the user: `home` is durable (keys, journals, databases, the halt latch),
and `runtime` is on tmpfs (the ledger, pages, sockets). PURSER_HOME and PURSER_RUNTIME move them; the engine
computes the same names in C.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ADVICE = "choose another with PURSER_HOME or PURSER_RUNTIME"
MODES = ("dry-run", "paper", "live")


class PathsError(Exception):
    """A folder that cannot be trusted or made; the text says what to do."""


def private_folder(path: Path) -> Path:
    """Makes the folder 0700 when it is missing; refuses one that others own or may write into."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise PathsError(f"cannot make the folder {path}: {error.strerror}; {ADVICE}") from error
    refuse_untrusted(path)
    return path


def refuse_untrusted(path: Path) -> None:
    """PathsError for what is not a folder of ours alone. One that is missing, or that cannot be looked at,
    has nothing to be misled by."""
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise PathsError(f"{path} is not a folder; move it away, or {ADVICE}")
    if found.st_uid != os.geteuid():
        raise PathsError(f"the folder {path} belongs to another user; {ADVICE}")
    if found.st_mode & 0o022:
        raise PathsError(f"others may write into {path}; run: chmod 700 {path}")


def default_runtime(environment: Mapping[str, str]) -> Path:
    """PURSER_RUNTIME, else a folder per user, else one per user and PURSER_HOME."""
    if chosen := environment.get("PURSER_RUNTIME"):
        return Path(chosen)
    name = f"/dev/shm/purser-{os.geteuid()}"
    if home := environment.get("PURSER_HOME"):
        name += "-" + hashlib.sha256(os.path.realpath(home).encode()).hexdigest()[:8]
    return Path(name)


@dataclass(frozen=True, slots=True)
class Paths:
    """Every file name, for one mode: dry-run, paper or live."""

    home: Path
    runtime: Path
    mode: str

    @classmethod
    def from_environment(
        cls, mode: str, environment: Mapping[str, str] | None = None, *, create: bool = True
    ) -> Paths:
        """Reads PURSER_HOME and PURSER_RUNTIME; makes the folders unless create is False."""
        if mode not in MODES:
            raise PathsError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
        environment = os.environ if environment is None else environment
        home = Path(environment.get("PURSER_HOME") or Path.home() / ".local" / "state" / "purser")
        paths = cls(Path(os.path.abspath(home)), default_runtime(environment), mode)
        if create:
            paths.create()
        return paths

    def create(self) -> None:
        """Makes the folders 0700, refusing those that cannot be trusted."""
        for folder in (self.home, self.runtime, self.mode_home, self.engine_journal, self.logs):
            private_folder(folder)

    # ---- durable -------------------------------------------------------------------------------

    @property
    def latch(self) -> Path:
        """Present: start halted. Only a person's resume removes it."""
        return self.home / "HALTED"

    @property
    def keys(self) -> Path:
        """The folder of credential files, each 0600."""
        return self.home / "keys"

    @property
    def mode_home(self) -> Path:
        """The durable folder of this mode."""
        return self.home / self.mode

    @property
    def engine_journal(self) -> Path:
        """The folder of the engine's journal segments."""
        return self.mode_home / "engine"

    @property
    def bot_db(self) -> Path:
        """The bot's SQLite file."""
        return self.mode_home / "bot.db"

    @property
    def markets(self) -> Path:
        """The bot's table of markets and their tokens, for commands that must do without a database."""
        return self.mode_home / "markets.json"

    @property
    def control_db(self) -> Path:
        """The supervisor's SQLite file."""
        return self.mode_home / "control.db"

    @property
    def events(self) -> Path:
        """The supervisor's journal of events, one JSON object a line."""
        return self.mode_home / "events.jsonl"

    @property
    def logs(self) -> Path:
        """The folder of log files."""
        return self.mode_home / "logs"

    def log(self, name: str) -> Path:
        """One process's log: engine, bot, supervisor, sim-binance, sim-polymarket."""
        return self.logs / f"{name}.log"

    def sim_state(self, name: str) -> Path:
        """The --state folder of a simulator: binance, polymarket."""
        return self.mode_home / "sim" / name

    # ---- runtime -------------------------------------------------------------------------------

    @property
    def ledger(self) -> Path:
        """The shared risk ledger."""
        return self.runtime / "ledger"

    @property
    def engine_page(self) -> Path:
        """The engine's status page."""
        return self.runtime / "engine.page"

    @property
    def bot_page(self) -> Path:
        """The bot's status page."""
        return self.runtime / "bot.page"

    @property
    def bridge_socket(self) -> Path:
        """The bot listens here, the engine connects."""
        return self.runtime / "bridge.sock"

    @property
    def engine_pub(self) -> str:
        """ZeroMQ endpoint of the engine's telemetry."""
        return f"ipc://{self.runtime / 'engine.pub'}"

    @property
    def bot_pub(self) -> str:
        """ZeroMQ endpoint of the bot's telemetry."""
        return f"ipc://{self.runtime / 'bot.pub'}"

    @property
    def command(self) -> str:
        """ZeroMQ endpoint of the supervisor's commands."""
        return f"ipc://{self.runtime / 'supervisor.cmd'}"

    def sim_ready(self, name: str) -> Path:
        """The ready line of a simulator, written by the supervisor."""
        return self.runtime / f"sim-{name}.json"

    @property
    def supervisor_json(self) -> Path:
        """Pid, start time and children of the running supervisor."""
        return self.runtime / "supervisor.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the running supervisor."""
        return self.runtime / "supervisor.lock"
