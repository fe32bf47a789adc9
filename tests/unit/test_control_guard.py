"""What the supervisor does about the budget, the latch and a lowered limit, on a real ledger."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bridge._bridge import ffi
from bridge.ledger import Amounts, Ledger
from bridge.messages import HaltReason, LedgerState, ParticipantRole
from bridge.page import PageWriter
from bridge.paths import Paths
from control.config import Paper
from control.guard import DIFFER_READINGS, Guard, halt_text
from control.latch import clear_latch, describe, is_latched, set_latch

USD = 1_000_000


def chosen(usd: int) -> Any:
    """What the guard reads of the budget that a person chose."""
    return SimpleNamespace(limits_micros=(usd * USD, 1000 * USD), headrooms_micros=(0, 0))


class Desk:
    """The parts of a supervisor that the guard touches, with a real ledger and one real participant."""

    def __init__(self, folder: Path) -> None:
        environment = {"PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run")}
        self.paths = Paths.from_environment("paper", environment)
        self.ledger = Ledger.create(self.paths.ledger, Amounts(100 * USD, 1000 * USD))
        self.ledger.heartbeat(600_000_000_000)
        self.ledger.set_state(LedgerState.ACTIVE)
        self.engine = Ledger.open(self.paths.ledger)
        self.engine.join(ParticipantRole.ENGINE)
        self.settings = Paper(over_budget_readings=3)
        self.budget = chosen(100)
        self.children: list[Any] = []
        self.healthy = False
        self.daily_loss_micros = 0
        self.halts: list[HaltReason] = []
        self.texts: list[str] = []
        self.events = SimpleNamespace(write=lambda *arguments, **fields: None)
        self.guard = Guard(self)  # type: ignore[arg-type]

    def halt(self, reason: HaltReason, text: str) -> None:
        """As the supervisor's: the ledger, and the latch."""
        self.halts.append(reason)
        self.texts.append(text)
        self.latch(reason, text, self.ledger.halt(reason))

    def latch(self, reason: int, text: str, epoch: int) -> None:
        """Write the latch."""
        set_latch(self.paths.latch, str(reason), text, epoch)

    def set_limit(self, usd: int) -> None:
        """As a person does it: the ledger's limit, and the number that was chosen."""
        self.ledger.set_limit(Amounts(usd * USD, 1000 * USD), Amounts(0, 0))
        self.budget = chosen(usd)

    def use(self, usd: int) -> None:
        """The engine's truth: so much in use."""
        self.engine.rebuild(Amounts(usd * USD, 0), Amounts(usd * USD, 0))

    def look(self, times: int) -> None:
        """So many readings."""
        for _ in range(times):
            self.guard._look(paused=False)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk for one test."""
    made = Desk(tmp_path)
    yield made
    made.engine.close()
    made.ledger.close()


def test_five_percent_over_is_tolerated(desk: Desk) -> None:
    """Marks may carry the risk in use to 105 % of the limit without a halt."""
    desk.look(1)
    desk.use(105)
    desk.look(10)
    assert desk.halts == []


def test_lasting_excess_halts(desk: Desk) -> None:
    """Above 105 % for several readings in a row halts and latches; fewer do not."""
    desk.look(1)
    desk.use(106)
    desk.look(2)
    desk.use(90)
    desk.look(1)
    desk.use(106)
    desk.look(2)
    assert desk.halts == []
    desk.look(1)
    assert desk.halts == [HaltReason.OVER_BUDGET]
    assert is_latched(desk.paths.latch)


def test_lowered_limit_reduces_but_does_not_halt(desk: Desk) -> None:
    """A limit set below what is held is no reason to halt, until what is held grows by itself."""
    desk.use(80)
    desk.look(1)
    desk.set_limit(40)
    desk.look(10)
    assert desk.halts == []
    desk.use(60)
    desk.look(5)
    assert desk.halts == []
    desk.use(80)
    desk.look(5)
    assert desk.halts == [HaltReason.OVER_BUDGET]


@contextmanager
def poked(desk: Desk) -> Iterator[Any]:
    """The ledger's header, to be written by hand as a stray store would."""
    with desk.paths.ledger.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        header = ffi.cast("struct ledger_header *", ffi.from_buffer(memory))
        yield header
        del header


@pytest.mark.parametrize("field", ["limit_micros", "headroom_micros", "ceiling_micros", "rights_checksum"])
@pytest.mark.parametrize("bit", [0, 1, 20, 40, 62])
def test_a_flipped_limit_bit_halts_at_the_first_look(desk: Desk, field: str, bit: int) -> None:
    """One bit of limit, headroom, ceiling or their checksum: the next look halts, whoever trades."""
    desk.look(3)
    assert desk.halts == []
    with poked(desk) as header:
        if field == "rights_checksum":
            header.rights_checksum ^= 1 << bit
        else:
            getattr(header, field)[0] ^= 1 << bit
    desk.look(1)
    assert desk.halts == [HaltReason.LEDGER]
    assert is_latched(desk.paths.latch)


def test_a_limit_that_nobody_chose_halts_and_both_numbers_are_named(desk: Desk) -> None:
    """Also one that was stored in order, with ceiling and checksum: it is not the person's number."""
    desk.ledger.set_limit(Amounts(5000 * USD, 1000 * USD), Amounts(0, 0))
    desk.look(1)
    assert desk.halts == [HaltReason.LEDGER]
    assert "$5000.00" in desk.texts[0] and "$100.00" in desk.texts[0]


def test_a_headroom_that_nobody_chose_halts(desk: Desk) -> None:
    """Less headroom than was chosen lets orders use what marks need."""
    desk.ledger.set_limit(Amounts(100 * USD, 1000 * USD), Amounts(50 * USD, 0))
    desk.look(1)
    assert desk.halts == [HaltReason.LEDGER]
    assert "headroom" in desk.texts[0]


def test_a_limit_that_was_chosen_never_halts(desk: Desk) -> None:
    """Raised and lowered, with risk in use and without, looked at between the changes."""
    for usd in (50, 200, 30, 1000, 100):
        desk.set_limit(usd)
        desk.look(2)
        desk.use(min(usd, 40))
        desk.look(2)
    assert desk.halts == []


def test_what_a_draw_found_is_told_with_both_numbers(desk: Desk) -> None:
    """A participant's draw may halt before the guard looks: the latch tells what was wrong all the same."""
    with poked(desk) as header:
        header.limit_micros[0] = 5000 * USD
    desk.use(90)
    assert desk.ledger.snapshot().reason == HaltReason.LEDGER
    desk.look(DIFFER_READINGS)
    assert "$5000.00" in describe(desk.paths.latch) and "$100.00" in describe(desk.paths.latch)


def test_halt_by_somebody_else_is_latched(desk: Desk) -> None:
    """A participant that halted the ledger leaves a latch, so that a restart cannot forget it."""
    desk.engine.halt(HaltReason.BUG)
    desk.look(DIFFER_READINGS - 1)
    assert not is_latched(desk.paths.latch)
    desk.look(1)
    assert is_latched(desk.paths.latch)


def test_latch_by_somebody_else_halts(desk: Desk) -> None:
    """A latch written without the ledger (a kill that could not open it) halts the ledger."""
    set_latch(desk.paths.latch, "operator", "", 0)
    desk.look(DIFFER_READINGS)
    assert desk.ledger.state == LedgerState.HALTED


def test_resume_is_not_undone(desk: Desk) -> None:
    """Between the two steps of a resume a reading may fall: it changes nothing."""
    desk.halt(HaltReason.OPERATOR, "")
    desk.look(1)
    desk.ledger.set_state(LedgerState.INIT, by_person=True)
    desk.look(1)
    clear_latch(desk.paths.latch)
    desk.look(5)
    assert desk.ledger.state == LedgerState.INIT
    assert not is_latched(desk.paths.latch)


def test_a_halt_is_explained_by_who_halted() -> None:
    """The latch gets the engine's own words and the error before them, and nothing that is old."""
    now = 100_000_000_000

    def event(age_s: int, name: str, text: str, source: str = "engine") -> dict[str, Any]:
        wall_ns = now - age_s * 1_000_000_000
        return {"wall_ns": wall_ns, "level": "error", "source": source, "name": name, "text": text}

    old = event(60, "halted", "an old halt")
    differ = event(1, "position_mismatch", "our books say -6 lots, the venue 0")
    halted = event(1, "halted", "our position and the venue's differ")
    assert halt_text([old, differ, halted], now) == (
        "our position and the venue's differ (our books say -6 lots, the venue 0)"
    )
    assert halt_text([old], now) == ""
    refused = event(1, "account_refused", "key revoked", "polymarket_bot")
    assert halt_text([old, refused, event(0, "restarted", "x", "supervisor")], now) == "key revoked"


@pytest.mark.parametrize(
    ("bots_day", "halts"),
    [(-1, False), (0, True), (1, True), (None, True)],
    ids=["yesterday", "today", "ahead", "unknown"],
)
def test_a_page_of_yesterday_does_not_count_today(desk: Desk, bots_day: int | None, halts: bool) -> None:
    """A participant that ended in a roll leaves the page of the closed day, whose loss is not added to what
    another has lost today; a page of today, of a later day or of none that can be told is added."""
    today = 20_000
    assert desk.ledger.first_day(today)
    desk.healthy, desk.daily_loss_micros = True, 100 * USD
    named = 0 if bots_day is None else today + bots_day
    for name, role, day in (("engine", ParticipantRole.ENGINE, today), ("bot", ParticipantRole.BOT, named)):
        page = PageWriter(getattr(desk.paths, f"{name}_page"), role, "paper", 1, 1)
        page.publish(updated_ns=1, day=day, day_micros=-60 * USD)
        page.close()
    desk.guard._check_daily_loss()
    assert desk.halts == ([HaltReason.DAILY_LOSS] if halts else [])


def test_a_ledger_that_names_no_day_hides_no_loss(desk: Desk) -> None:
    """While the day in the ledger cannot be told, every page counts."""
    desk.healthy, desk.daily_loss_micros = True, 100 * USD
    page = PageWriter(desk.paths.engine_page, ParticipantRole.ENGINE, "paper", 1, 1)
    page.publish(updated_ns=1, day=20_000, day_micros=-100 * USD)
    page.close()
    desk.guard._check_daily_loss()
    assert desk.halts == [HaltReason.DAILY_LOSS]
