"""Every file that a command reads, damaged in every way: no command ends in a traceback, or changes a file
by looking at it. The commands run in this process, as `control` runs them."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.ledger import Amounts, Ledger, Order
from bridge.messages import (
    HaltReason,
    LedgerState,
    OrderSide,
    PageFill,
    PagePosition,
    PageSignal,
    PageVenue,
    ParticipantRole,
    SessionState,
    SlotState,
    VenueId,
)
from bridge.page import PageWriter
from bridge.paths import Paths
from control import cli
from control.errors import Exit
from control.latch import set_latch
from control.status import snapshot

USD = 1_000_000
HUGE = 10**400
# Ends before it starts anything: the engine's file is not there.
START = "start --engine-config /nowhere/engine.json"
KILL = "kill --no-wait"
CODES = {int(code) for code in Exit}


def write_ledger(paths: Paths) -> None:
    """A ledger with one order of a process that is gone."""
    with Ledger.create(paths.ledger, Amounts(1000 * USD, 20000 * USD)) as ledger:
        ledger.heartbeat(600 * 10**9)
        ledger.set_state(LedgerState.ACTIVE)
        engine = Ledger.open(paths.ledger)
        engine.join(ParticipantRole.ENGINE)
        engine.rebuild(Amounts(0, 0), Amounts(0, 0))
        order = Order(7, VenueId.BINANCE, "BTCUSDT", OrderSide.BUY, 60_000 * 10**9, 10**6)
        _, slot = engine.reserve(order, Amounts(5 * USD, 50 * USD))
        engine.gate(slot, Amounts(0, 0))
        engine.live(slot)
        engine.leave()
        engine.close()


def write_page(path: Path, role: ParticipantRole, venue: VenueId) -> None:
    """A page with one of each of its rows."""
    page = PageWriter(path, role, "paper", 1 << 30, 1)
    page.add_fill(PageFill(wall_ns=1, venue=venue, symbol="BTCUSDT", execution_id="1"))
    page.publish(
        updated_ns=1,
        day_micros=5,
        venues=[PageVenue(venue=venue, state=SessionState.READY, feed_ns=1, text="fine")],
        positions=[PagePosition(venue=venue, symbol="BTCUSDT", quantity_e9=10**6, cost_micros=60 * USD)],
        signals=[PageSignal(symbol="BTCUSDT", mid_e9=60_000 * 10**9, updated_ns=1, count=1)],
    )


def write_database(path: Path) -> None:
    """The bot's table of markets."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE markets (yes_symbol, yes_token, no_symbol, no_token)")
        database.execute("INSERT INTO markets VALUES ('A', '1', 'B', '2')")
    database.close()


def fill(paths: Paths) -> None:
    """Everything that a run leaves behind, whole."""
    write_ledger(paths)
    write_page(paths.engine_page, ParticipantRole.ENGINE, VenueId.BINANCE)
    write_page(paths.bot_page, ParticipantRole.BOT, VenueId.POLYMARKET)
    write_database(paths.bot_db)
    child = {"name": "engine", "pid": 1 << 30, "start_time": 1, "state": "running", "restarts": 0}
    about = {
        "schema_version": 1, "mode": "paper", "pid": 1 << 30, "start_time": 1, "started_wall_ns": 1,
        "healthy": True, "problems": [], "unverified": [], "children": [child],
    }  # fmt: skip
    paths.supervisor_json.write_text(json.dumps(about))
    for venue in ("binance", "polymarket"):
        ready = {"rest": "http://127.0.0.1:1", "admin": "http://127.0.0.1:1", "credentials": {}}
        paths.sim_ready(venue).write_text(json.dumps(ready))
        paths.sim_state(venue).mkdir(parents=True)
        (paths.sim_state(venue) / "account.json").write_text('{"accounts": {}}')
    (paths.mode_home / "seen_empty.json").write_text("{}")
    event = {"wall_ns": 1, "source": "engine", "level": "error", "name": "halted", "text": "x"}
    paths.events.write_text(json.dumps(event) + "\n")
    (paths.mode_home / "fills.jsonl").write_text(json.dumps(snapshot(paths)["fills"][0]) + "\n")
    (paths.mode_home / "last.json").write_text(json.dumps(snapshot(paths)))
    paths.log("engine").write_text("a line\n")
    budget = {"limit_usd": "1000", "notional_limit_usd": "20000"}
    (paths.mode_home / "budget.json").write_text(json.dumps(budget))
    set_latch(paths.latch, "operator", "a test", 1)


@dataclass(frozen=True, slots=True)
class Target:
    """A file, the views that read it, and the commands that do more than look."""

    path: Callable[[Paths], Path]
    views: tuple[str, ...] = ()
    commands: tuple[str, ...] = (KILL,)


PAGE_VIEWS = ("status", "positions --json", "fills", "pnl")
FILES = {
    "ledger": Target(
        lambda paths: paths.ledger,
        ("status", "status --json", "orders", "pnl", "doctor", "budget show"),
        (KILL, START, "resume --yes"),
    ),
    "engine_page": Target(lambda paths: paths.engine_page, PAGE_VIEWS),
    "bot_page": Target(lambda paths: paths.bot_page, PAGE_VIEWS),
    "latch": Target(
        lambda paths: paths.latch, ("status", "doctor", "status --json"), (KILL, START, "resume --yes")
    ),
    "database": Target(lambda paths: paths.bot_db, ("positions --json", "pnl")),
    "supervisor_json": Target(
        lambda paths: paths.supervisor_json,
        ("status", "status --json", "doctor", "budget show"),
        (KILL, START, "stop"),
    ),
    "ready_line": Target(lambda paths: paths.sim_ready("binance"), ("account", "doctor"), ()),
    "ready_line_of_the_bot": Target(lambda paths: paths.sim_ready("polymarket"), ("account", "doctor"), ()),
    "account": Target(
        lambda paths: paths.sim_state("binance") / "account.json", ("account", "account --compare"), ()
    ),
    "seen_empty": Target(lambda paths: paths.mode_home / "seen_empty.json", ("status",)),
    "last": Target(
        lambda paths: paths.mode_home / "last.json", ("status", "status --json", "orders", "pnl"), (START,)
    ),
    "fills": Target(lambda paths: paths.mode_home / "fills.jsonl", ("fills", "status"), ()),
    "events": Target(lambda paths: paths.events, ("events", "events --json"), ()),
    "budget": Target(
        lambda paths: paths.mode_home / "budget.json", ("budget show", "config show", "status"), (KILL, START)
    ),
    "log": Target(lambda paths: paths.log("engine"), ("logs", "logs --json"), ()),
}


def put(path: Path, data: bytes) -> None:
    """As a new file, 0600."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(data)


def halved(path: Path) -> None:
    """Its second half is gone."""
    data = path.read_bytes() if path.exists() else b""
    put(path, data[: len(data) // 2])


def garbage(path: Path) -> None:
    """Noise of the same size."""
    put(path, random.Random(7).randbytes(path.stat().st_size if path.exists() else 100))


def other_types(path: Path) -> None:
    """Each value of the object is of another type than it was."""
    try:
        keys = list(json.loads(path.read_bytes().split(b"\n")[0]))
    except ValueError:
        keys = ["pid", "children", "limit_usd"]
    values = [["x"], "x", {"x": []}, None, 1.5, True, -1]
    put(path, json.dumps({key: values[n % len(values)] for n, key in enumerate(keys)}).encode() + b"\n")


def huge_numbers(path: Path) -> None:
    """Each value of the object is a number beyond all bounds."""
    try:
        keys = list(json.loads(path.read_bytes().split(b"\n")[0]))
    except ValueError:
        keys = ["pid", "wall_ns", "limit_usd"]
    text = ", ".join(f'"{key}": {HUGE if n % 2 else "1e999"}' for n, key in enumerate(keys))
    put(path, b"{" + text.encode() + b"}\n")


def of_rows(path: Path) -> None:
    """An object of the right keys with rows of the wrong making."""
    rows = {key: [{"x": 1}] for key in ("children", "orders", "fills", "venues", "positions", "keys")}
    put(path, json.dumps({**rows, "pid": 1, "start_time": 1, "wall_ns": 1, "budget": {}}).encode() + b"\n")


def folder(path: Path) -> None:
    """A folder stands in its place."""
    path.unlink(missing_ok=True)
    path.mkdir()


def link(target: str) -> Callable[[Path], None]:
    """A link stands in its place."""

    def work(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return work


def unreadable(path: Path) -> None:
    """Nobody may read it (root may all the same)."""
    put(path, b"x")
    path.chmod(0)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "empty": lambda path: put(path, b""),
    "garbage": garbage,
    "zeros": lambda path: put(path, bytes(path.stat().st_size if path.exists() else 100)),
    "halved": halved,
    "a_list": lambda path: put(path, b"[1, 2]\n"),
    "a_string": lambda path: put(path, b'"text"\n'),
    "nested": lambda path: put(path, b"[" * 100_000),
    "other_types": other_types,
    "huge_numbers": huge_numbers,
    "of_rows": of_rows,
    "no_utf8": lambda path: put(path, b'{"pid": "\xff\xfe\xfd"}\n'),
    "folder": folder,
    "dangling_link": link("/nowhere/at/all"),
    "endless_link": link("/dev/zero"),
    "unreadable": unreadable,
}


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """The folders of one test; a kill's signal handlers are put back."""
    monkeypatch.setenv("PURSER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PURSER_RUNTIME", str(tmp_path / "run"))
    monkeypatch.setenv("COLUMNS", "200")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    made = Paths.from_environment("paper")
    made.create()
    made.logs.mkdir(parents=True, exist_ok=True)
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """One command as the console script runs it; its exit code. Whatever it raises else passes."""
    monkeypatch.setattr(sys, "argv", ["control", *command.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    return code if isinstance(code, int) else int(code is not None)


def traces(paths: Paths) -> dict[str, tuple[int, int, int]]:
    """Every file of both folders: its mode, size and last change."""
    found = {}
    for top in (paths.home, paths.runtime):
        for path in sorted(top.rglob("*")):
            info = path.lstat()
            found[str(path)] = (info.st_mode, info.st_size if path.is_file() else 0, info.st_mtime_ns)
    return found


def prepared(file: str, paths: Paths) -> tuple[Path, bytes | None]:
    """Everything whole; the file, and what stands in it."""
    fill(paths)
    if file == "last":  # read only where nothing is left in memory
        for gone in (paths.ledger, paths.engine_page, paths.bot_page):
            gone.unlink()
    target = FILES[file].path(paths)
    return target, target.read_bytes() if target.exists() else None


@pytest.mark.parametrize("file", FILES)
def test_no_view_fails_over_a_damaged_file(
    file: str, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each view answers with one of the documented codes whatever stands in the file, and leaves every file
    as it was."""
    target, whole = prepared(file, paths)
    for damage, work in DAMAGES.items():
        if whole is not None:
            put(target, whole)
        work(target)
        before = traces(paths)
        for command in FILES[file].views:
            code = run(command, monkeypatch)
            said = capsys.readouterr()
            assert code in CODES, (damage, command, code, said)
            assert said.out + said.err or "--json" in command or command == "logs", (damage, command)
        assert traces(paths) == before, damage
        restore(target)


def restore(target: Path) -> None:
    """Away with whatever stands there."""
    if target.is_dir() and not target.is_symlink():
        target.rmdir()
    else:
        target.unlink(missing_ok=True)


@pytest.mark.parametrize("file", [name for name, target in FILES.items() if target.commands])
def test_no_command_fails_over_a_damaged_file(
    file: str, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """start, stop, resume and kill end with a documented code and a sentence, whatever stands in the file."""
    target, whole = prepared(file, paths)
    for venue in ("binance", "polymarket"):  # nothing runs there: not asked, so that a kill is quick
        paths.sim_ready(venue).unlink()
    for damage, work in DAMAGES.items():
        for command in FILES[file].commands:
            if whole is not None:
                put(target, whole)
            work(target)
            code = run(command, monkeypatch)
            said = capsys.readouterr()
            assert code in CODES and code != Exit.USAGE, (damage, command, code, said)
            assert said.out + said.err, (damage, command)
            restore(target)


def test_a_flipped_state_byte_is_shown_as_halted(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A control word that is no state, and a reason that is none: HALTED, and the reason's number."""
    write_ledger(paths)
    with Ledger.open(paths.ledger) as ledger:
        ledger.halt(HaltReason.BUG)
    for byte in range(5, 256):
        with paths.ledger.open("r+b") as raw:
            raw.seek(64)
            raw.write(bytes([byte, 0, 77, 3]))
        assert snapshot(paths)["state"] == "HALTED"
    assert "reason 845" in str(snapshot(paths)["halt"])
    assert run("orders", monkeypatch) == 0
    assert "BTCUSDT" in capsys.readouterr().out
    os.truncate(paths.ledger, 90_000)
    assert run("orders", monkeypatch) == 0
    assert "BTCUSDT" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["magic", "limit", "cut"])
def test_a_start_on_a_damaged_ledger_keeps_its_orders_and_halts(
    damage: str, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused with the code for a halt and says why; the orders stand in the new ledger, of unknown
    fate, and the damaged file is kept."""
    write_ledger(paths)
    size = paths.ledger.stat().st_size
    with paths.ledger.open("r+b") as file:
        if damage == "cut":
            file.truncate(size - 60_000)
        else:
            file.seek({"magic": 1, "limit": 88}[damage])
            file.write(b"\x7f")
    assert run("start --paper", monkeypatch) == Exit.HALTED
    said = capsys.readouterr().err
    assert "damaged" in said and "1 orders" in said and "control resume" in said
    with Ledger.open(paths.ledger) as ledger:
        assert ledger.damage() is None
        assert ledger.state == LedgerState.HALTED
        assert ledger.snapshot().limit_micros.loss > 0
        (slot,) = ledger.slots(ParticipantRole.ENGINE)
        assert slot.client_order_id == 7 and slot.state == SlotState.UNKNOWN
    assert paths.ledger.with_name("ledger.damaged-1").exists()
    assert run("start --paper", monkeypatch) == Exit.HALTED
    assert "the ledger was damaged" in capsys.readouterr().err


@pytest.mark.parametrize("byte", [1, 10, 30], ids=["magic", "version", "boot"])
def test_a_start_is_not_refused_for_ever_over_a_damaged_ledger_that_was_halted(
    byte: int, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill halted it and a resume removed the latch, but can change nothing in a damaged ledger: the start
    replaces it by one that keeps its orders, and after one more resume nothing is halted."""
    write_ledger(paths)
    with paths.ledger.open("r+b") as file:
        file.seek(byte)
        was = file.read(1)[0]
        file.seek(byte)
        file.write(bytes([was ^ 2]))
    with Ledger.open_damaged(paths.ledger) as ledger:
        ledger.halt(HaltReason.OPERATOR)
    assert run("start --paper", monkeypatch) == Exit.HALTED
    said = capsys.readouterr().err
    assert "damaged" in said and "1 orders" in said and "control resume" in said
    with Ledger.open(paths.ledger) as ledger:
        ledger.set_state(LedgerState.INIT, by_person=True)
    paths.latch.unlink()
    assert run(START, monkeypatch) == Exit.CONFIGURATION
