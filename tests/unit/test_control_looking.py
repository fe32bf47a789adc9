"""Looking changes nothing: no view leaves a file behind, or alters what a later kill says."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.access import Access, write
from bridge.ledger import ZERO, Amounts, Ledger
from bridge.messages import ParticipantRole
from bridge.paths import Paths
from control import accounting, exposure
from control.cli import app
from control.recorder import write_event

VIEWS = (
    "status --once", "status --json", "orders", "orders --json", "positions", "positions --json", "fills",
    "fills --json", "pnl", "pnl --json", "account", "account --compare", "events", "events --json", "logs",
    "budget show", "config check", "config show", "doctor", "version",
)  # fmt: skip
MARKETS = "CREATE TABLE markets (yes_symbol TEXT, yes_token TEXT, no_symbol TEXT, no_token TEXT)"


def make_database(path: Path) -> sqlite3.Connection:
    """The bot's database in the mode that it uses, with one market; still open."""
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(MARKETS)
    database.execute("INSERT INTO markets VALUES ('A-YES', '1', 'A-NO', '2')")
    database.commit()
    return database


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """What a run leaves: a ledger, records, an event, no process."""
    made = Paths(tmp_path / "home", tmp_path / "run", "paper")
    made.create()
    monkeypatch.setenv("PURSER_HOME", str(made.home))
    monkeypatch.setenv("PURSER_RUNTIME", str(made.runtime))
    with Ledger.create(made.ledger, Amounts(10**9, 10**9)) as ledger:
        generation = ledger.join(ParticipantRole.BOT)
        line = str(made.sim_ready("polymarket"))
        where = Access("polymarket_bot", "polymarket", "paper", "paper", {"clob": "x"}, "k", line, line)
        ledger.set_access(write(made, where, generation, 1))
        ledger.rebuild(ZERO, ZERO)
        ledger.leave()
    write_event(made.mode_home, "control", "halt_lifted", actor="someone")
    yield made


def listing(paths: Paths) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its size, mode and time of change."""
    found = {}
    for root in (paths.home, paths.runtime):
        for path in (root, *root.rglob("*")):
            info = path.lstat()
            found[str(path)] = (info.st_size if path.is_file() else 0, info.st_mode, info.st_mtime_ns)
    return found


@pytest.mark.parametrize(
    ("view", "left"),
    [(view, "closed") for view in VIEWS] + [(view, "killed") for view in ("pnl", "positions")],
)
def test_a_view_leaves_home_and_runtime_as_they_are(paths: Paths, view: str, left: str) -> None:
    """After a clean stop the database lies alone; after a kill its log lies beside it, without the index."""
    database = make_database(paths.bot_db)
    if left == "killed":
        for suffix in ("", "-wal"):
            name = paths.bot_db.with_name(paths.bot_db.name + suffix)
            shutil.copy(name, name.with_name("kept" + suffix))
    database.close()
    if left == "killed":
        for suffix in ("", "-wal"):
            paths.bot_db.with_name("kept" + suffix).rename(paths.bot_db.with_name(paths.bot_db.name + suffix))
    before = listing(paths)
    CliRunner().invoke(app, view.split())
    assert listing(paths) == before


def test_a_look_at_the_books_does_not_reopen_a_confirmed_kill(paths: Paths) -> None:
    """Seen empty, then `pnl` and `positions`, then the next kill: still seen empty. So is a venue whose
    owner's files were only touched."""
    make_database(paths.bot_db).close()
    exposure.note_empty(paths, "polymarket")
    accounting.positions(paths)
    accounting.pnl(paths)
    with closing(sqlite3.connect(f"file:{paths.bot_db}?mode=ro", uri=True)) as careless:
        careless.execute("SELECT * FROM markets").fetchall()
    paths.bot_db.touch()
    assert "seen empty" in (exposure.nothing_there(paths, "polymarket") or "")
