"""The terminal view on terminals of any width, and with text that came from outside."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from control.status import _budget as no_ledger
from control.venues import printable
from control.view import FILL_COLUMNS, _budget, _Fitting

ROW = ["02:44:36", "polymarket", "BTC>60250@1125T0400-NO", "BUY", "16.77", "0.475", "0.023997", "maker",
       "market_maker"]  # fmt: skip


def shown(width: int) -> str:
    """The fills table as a terminal of this width gets it."""
    console = Console(width=width, file=io.StringIO(), force_terminal=True, no_color=True)
    console.print(_Fitting("Last fills", FILL_COLUMNS, [ROW]))
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
    console.print(_Fitting("Venues", ("name", "state"), [["[/red]", "[bold]READY"]]))
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
