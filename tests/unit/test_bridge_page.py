"""Status pages from Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.messages import (
    PAGE_FILLS,
    PageFill,
    PagePosition,
    PageSignal,
    PageVenue,
    ParticipantRole,
    RejectReason,
)
from bridge.page import PageError, PageReader, PageWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[PageWriter]:
    """The bot's page."""
    made = PageWriter(tmp_path / "bot.page", ParticipantRole.BOT, "paper", os.getpid(), 123)
    yield made
    made.close()


def test_what_is_published_is_read(writer: PageWriter, tmp_path: Path) -> None:
    """Every part of a page arrives, and only after publish()."""
    writer.publish(updated_ns=1)
    reader = PageReader(tmp_path / "bot.page")
    venue = PageVenue(venue=2, state=3, open_orders=4, fills=5, text="ready")
    position = PagePosition(venue=2, symbol="1" * 32, quantity_e9=-7, cost_micros=-3)
    signal = PageSignal(symbol="BTCUSDT", mid_e9=60_000 * 10**9)
    writer.count_refusal(RejectReason.BUDGET)
    writer.record_tick_to_order(1000)
    assert writer.add_fill(PageFill(symbol="BTCUSDT", price_e9=5, maker=1, execution_id="e1")) == 1
    assert reader.read().fills == ()
    writer.publish(
        updated_ns=2,
        day_micros=-10,
        realized_micros=1,
        unrealized_micros=-8,
        fees_micros=3,
        venues=[venue],
        positions=[position],
        signals=[signal],
        counters={3: 33},
    )
    page = reader.read()
    assert (page.role, page.mode, page.pid, page.started_wall_ns) == (2, "paper", os.getpid(), 123)
    assert (page.day_micros, page.realized_micros) == (-10, 1)
    assert (page.unrealized_micros, page.fees_micros) == (-8, 3)
    assert page.venues == (venue,) and page.positions == (position,) and page.signals == (signal,)
    assert page.counters[3] == 33 and page.refusals[RejectReason.BUDGET] == 1 and not page.torn
    assert page.fills[0].sequence == 1 and page.fills[0].execution_id == "e1"
    assert page.tick_to_order.count == 1 and 1000 <= page.tick_to_order.p99 <= 1063
    assert page.order_to_ack.count == 0
    reader.close()


def test_fills_go_round_and_survive_a_restart(writer: PageWriter, tmp_path: Path) -> None:
    """The ring keeps the newest fills in order, and a new process goes on with the next sequence."""
    for number in range(PAGE_FILLS + 10):
        writer.add_fill(PageFill(price_e9=number))
    writer.publish(updated_ns=1)
    again = PageWriter(tmp_path / "bot.page", ParticipantRole.BOT, "paper", 1, 1)
    assert again.previous.fills_total == again.fills_total == PAGE_FILLS + 10
    assert again.add_fill(PageFill(price_e9=-1)) == PAGE_FILLS + 11
    again.set_fills_total(5)
    again.publish(updated_ns=2)
    fills = PageReader(tmp_path / "bot.page").read().fills
    assert [fill.sequence for fill in fills] == list(range(12, PAGE_FILLS + 12))
    assert fills[-1].price_e9 == -1 and fills[0].price_e9 == 11


def test_refusals_are_counted_by_each_process_anew(writer: PageWriter, tmp_path: Path) -> None:
    """A new process has refused nothing yet, whatever the last one did."""
    writer.count_refusal(RejectReason.BUDGET)
    writer.publish(updated_ns=1)
    again = PageWriter(tmp_path / "bot.page", ParticipantRole.BOT, "paper", 1, 1)
    assert again.previous.refusals[RejectReason.BUDGET] == 1
    again.publish(updated_ns=2)
    assert not any(PageReader(tmp_path / "bot.page").read().refusals)


def test_missing_or_foreign_pages_are_refused(tmp_path: Path) -> None:
    """No file, a file of another size and a symbolic link are errors."""
    with pytest.raises(PageError, match="start the process"):
        PageReader(tmp_path / "none.page")
    (tmp_path / "short.page").write_bytes(b"x" * 100)
    with pytest.raises(PageError):
        PageReader(tmp_path / "short.page")
    (tmp_path / "link.page").symlink_to(tmp_path / "short.page")
    with pytest.raises(PageError):
        PageWriter(tmp_path / "link.page", ParticipantRole.BOT, "paper", 1, 1)
