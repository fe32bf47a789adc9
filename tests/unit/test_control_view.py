"""The terminal view on terminals of any size, and with text that came from outside."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bridge.paths import Paths
from control import cli
from control.printable import printable
from control.screen import Screen
from control.status import _budget as no_ledger
from control.view import FILL_COLUMNS, Fitting, _budget

ROW = ["02:44:36", "polymarket", "BTC>60250@1125T0400-NO", "BUY", "16.77", "0.475", "0.023997", "maker",
       "market_maker"]  # fmt: skip


def shown(width: int) -> str:
    """The fills table as a terminal of this width gets it."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, no_color=True)
    console.print(Fitting("Last fills", FILL_COLUMNS, [ROW]))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_narrow_terminal_leaves_out_columns_and_cuts_nothing(width: int) -> None:
    """What is shown is whole; the wide terminal shows all."""
    text = shown(width)
    assert "…" not in text
    assert all(cell in text for cell in ("BTC>60250@1125T0400-NO", "BUY", "16.77", "0.475"))
    assert ("market_maker" in text) == (width == 120)


def test_escapes_from_outside_are_harmless() -> None:
    """A market title cannot move the cursor or clear the screen."""
    assert printable("\x1b[2Jwin\x07\u202e") == "?[2Jwin??"


def test_brackets_from_outside_are_text() -> None:
    """Words in square brackets are shown as they are, not taken for markup (which may be wrong markup)."""
    console = Console(width=80, file=io.StringIO())
    console.print(Fitting("Venues", ("name", "state"), [["[/red]", "[bold]READY"]]))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[/red]" in text and "[bold]READY" in text


@pytest.mark.parametrize(
    ("used", "state", "said"), [(5, "ACTIVE", ""), (5, "REDUCING", "REDUCING"), (11, "ACTIVE", "OVER LIMIT")]
)
def test_the_budget_line_says_when_only_reducing_orders_go_out(used: int, state: str, said: str) -> None:
    """A limit lowered below what is in use is told by a word beside the bar."""
    budget = {**no_ledger(None), "limit_micros": 10, "used_micros": used, "positions_micros": used}
    text = _budget(budget, state).plain
    assert "positions and today's loss" in text
    assert said in text and ("only" in text) == bool(said)


def busy_picture() -> dict[str, Any]:
    """The picture of a system with more of everything than a small terminal can show."""
    processes = ["supervisor", "sim-binance", "sim-polymarket", "engine", "polymarket_bot"]
    symbols = [f"BTC>{60000 + 250 * n}@1125T0400-YES" for n in range(14)]
    participants = [
        {"name": name, "used_micros": 138_960_000, "alloc_micros": 158_870_000, "open_orders": 7}
        for name in ("engine", "polymarket_bot")
    ]
    venue = {"state": "READY", "feed_age_ms": 49, "dead_man": {"armed": True, "expires_in_s": 10.5},
             "open_orders": 7, "fills": 26, "text": ""}  # fmt: skip
    row = {"venue": "polymarket", "side": "BUY", "quantity_e9": 10 * 10**9, "price_e9": 485 * 10**6}
    position = {"venue": "polymarket", "quantity_e9": 10**9, "mark_e9": 505 * 10**6,
                "realized_micros": 480_000, "unrealized_micros": -20_000, "fees_e8": 0,
                "cost_micros": 0, "volume_micros": 0, "cash_flow_micros": 0}  # fmt: skip
    return {
        "mode": "paper", "state": "ACTIVE", "running": True, "uptime_s": 3600, "problems": [], "halt": None,
        "budget": {**no_ledger(None), "limit_micros": 500_000_000, "used_micros": 174_320_000,
                   "positions_micros": 152_760_000, "orders_micros": 21_560_000, "free_micros": 325_680_000,
                   "participants": participants},
        "pnl": {"day_micros": -20_000, "realized_micros": 1_480_000, "unrealized_micros": -250_000,
                "fees_micros": 1_250_000},
        "processes": [{"name": name, "pid": 3364, "state": "running", "heartbeat_age_ms": 48,
                       "restarts": int(name == "engine"), "resident_bytes": 48 << 20} for name in processes],
        "venues": [{"name": "binance", **venue}, {"name": "polymarket", **venue}],
        "positions": [{**position, "symbol": symbol} for symbol in symbols],
        "orders": [{**row, "participant": "polymarket_bot", "symbol": symbol, "filled_e9": 0, "state": "LIVE"}
                   for symbol in symbols],
        "fills": [{**row, "symbol": f"FILL{n:02d}", "wall_ns": n * 10**9, "fee_e8": 0, "maker": True,
                   "reversed": False, "strategy": "market_maker"} for n in range(20)],
        "refusals": [{"reason": f"REASON_{n}", "count": 9 - n, "text": "said in words"} for n in range(8)],
        "signals": {"BTCUSDT": {"mid_e9": 60_000 * 10**9, "volatility_e9": 716 * 10**6, "age_ms": 102}},
        "latency": {"tick_to_order_ns": {"count": 86, "p50": 49_000, "p99": 131_000}},
    }  # fmt: skip


def screen(picture: dict[str, Any], width: int, height: int) -> list[str]:
    """The lines that a terminal of this size shows."""
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=False)
    console.print(Screen(picture))
    return str(console.file.getvalue()).splitlines()  # type: ignore[attr-defined]


ESSENTIAL = (
    " PAPER ", "ACTIVE", "$500.00", "positions and loss $152.76", "resting orders $21.56", "free $325.68",
    "$0.02 LOSS", "14 orders, 14 positions; 52 fills, 44 refused", "engine running 48 ms, restarted 1x",
    "polymarket_bot running", "sim-polymarket running", "binance ", "polymarket ", "armed, 10.5 s left",
    "FILL19", "REASON_0", "BTC>60000@1125T0400-YES",
)  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (132, 43), (200, 50), (200, 150)])
def test_everything_essential_fits_on_every_usual_terminal(width: int, height: int) -> None:
    """No line is cut or pushed out: mode, state, budget, today, counts, processes, venues, newest fill."""
    lines = screen(busy_picture(), width, height)
    assert len(lines) < height and max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    whole = height > 100  # there is room for the whole view, which spells some things otherwise
    assert [word for word in ESSENTIAL if word not in text and not whole] == []
    assert ("Tick to order: p50 49 µs" if whole else "tick to order p50 49 µs, p99 131 µs") in text


def test_more_room_shows_more() -> None:
    """A taller terminal shows more rows of each part, and says how many there are besides."""
    small, middle, tall = (screen(busy_picture(), 100, height) for height in (24, 40, 60))
    counts = [sum("FILL" in line for line in lines) for lines in (small, middle, tall)]
    assert 3 <= counts[0] < counts[1] < counts[2]
    assert any("Fills 3/20" in line for line in small)
    orders = [sum("LIVE" in line for line in lines) for lines in (small, middle, tall)]
    assert orders == sorted(orders) and orders[2] > orders[0]


def test_alarms_push_out_rows_but_nothing_essential() -> None:
    """A halt with a long reason and two problems still leaves budget, processes and venues on 80x24."""
    picture = busy_picture()
    picture["state"], picture["halt"] = (
        "HALTED",
        "halted at 2026-11-25 by somebody, reason venue: " + "x" * 150,
    )
    picture["problems"] = ["no supervisor: engine (1) still runs", "fills cannot be written: no space left"]
    lines = screen(picture, 80, 24)
    assert len(lines) < 24
    text = "\n".join(lines)
    for word in ("HALTED at 2026", "PROBLEM: no supervisor", "PROBLEM: fills", "free $325.68",
                 "engine running", "armed, 10.5 s left", "FILL19"):  # fmt: skip
        assert word in text


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202emoved\rover"


def test_no_view_lets_a_venues_words_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Titles, errors, reasons and log lines with terminal escapes in them: every command shows them
    without one control character."""
    monkeypatch.setenv("PURSER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PURSER_RUNTIME", str(tmp_path / "run"))
    paths = Paths.from_environment("paper")
    picture = busy_picture()
    for name in ("positions", "orders", "fills", "venues", "refusals"):
        for row in picture[name]:
            row |= {key: HOSTILE for key, value in row.items() if isinstance(value, str) and key != "venue"}
    fill = {**picture["fills"][0], "participant": "engine", "sequence": 1}
    kept = {**picture, "taken_wall_ns": 1, "signals": {HOSTILE: picture["signals"]["BTCUSDT"]}}
    (paths.mode_home / "last.json").write_text(json.dumps(kept))
    (paths.mode_home / "fills.jsonl").write_text(json.dumps(fill) + "\n")
    event = {"wall_ns": 1, "source": HOSTILE, "level": "error", "name": HOSTILE, "text": HOSTILE}
    paths.events.write_text(json.dumps(event) + "\n")
    paths.log("bot").write_bytes(HOSTILE.encode() + b"\n")
    paths.latch.write_text(json.dumps({"reason": "operator", "text": HOSTILE, "actor": HOSTILE}))
    paths.sim_ready("binance").write_text(json.dumps({"rest": HOSTILE, "credentials": {}}))
    for command in ("status", "orders", "positions", "fills", "pnl", "events", "logs", "doctor", "start",
                    "resume", "budget show"):  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["control", *command.split()])
        with pytest.raises(SystemExit):
            cli.main()
        shown = capsys.readouterr()
        moving = {char for char in shown.out + shown.err if char != "\n" and not char.isprintable()}
        assert not moving, (command, moving)
        assert shown.out + shown.err
        if command in ("status", "fills", "events", "logs", "start"):
            assert "moved?over" in shown.out + shown.err, command
    cli._kill_line(f"binance: UNVERIFIED, {HOSTILE}", "bad")
    assert "moved?over" in (line := capsys.readouterr().out) and line.rstrip("\n").isprintable()
