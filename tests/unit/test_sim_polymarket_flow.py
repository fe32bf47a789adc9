"""The Polymarket simulator's other traders and the life of its markets, on a clock that the test moves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.polymarket import FAULTS
from simulators.polymarket_account import Trade
from simulators.polymarket_fair_value import digital_value
from simulators.polymarket_flow import STEP_S, Flow
from simulators.polymarket_markets import ABOVE, UP_DOWN, Market
from simulators.polymarket_matching import YES
from simulators.polymarket_orders import ClientOrder
from simulators.polymarket_reference import Reference
from simulators.polymarket_venue import Venue
from simulators.polymarket_wire import gamma_event, gamma_market
from simulators.state import StateFolder

START_MS = 1_795_570_200_000  # 2026-11-25 01:30:00 UTC


class FixedClock(Clock):
    """A clock that the test moves."""

    time_ms = START_MS

    def now_ms(self) -> int:
        """The time the test chose."""
        return self.time_ms


class Deaf:
    """A publisher that drains the changes and counts trades."""

    def __init__(self) -> None:
        self.prints: list[tuple[int, int]] = []

    def order_event(self, order: ClientOrder, kind: str) -> None:
        """Nobody has orders here."""

    def trade_event(self, trade: Trade) -> None:
        """Nobody has trades here."""

    def trade_print(self, trade: Trade) -> None:
        """Remember price and size."""
        self.prints.append((trade.taker.price, trade.taker.lots))

    def book_changed(self, market: Market, traded: bool) -> None:
        """Drain."""
        market.book.changed_levels()

    def tick_changed(self, market: Market, old: int) -> None:
        """Not noted."""

    def listed(self, market: Market) -> None:
        """Not noted."""

    def resolved(self, market: Market) -> None:
        """Not noted."""


class Stage:
    """A venue with its flow around a price of 60,100 dollars."""

    def __init__(self, folder: Path, seed: int = 3) -> None:
        self.folder = folder
        self.clock, self.deaf = FixedClock(), Deaf()
        self.venue = Venue(self.clock, Faults(FAULTS), StateFolder(folder), self.deaf)
        self.reference = Reference(None, 1)
        self.reference.price = 60_100.0
        self.flow = Flow(self.venue, self.reference, seed, False)

    def restart(self) -> None:
        """Go on with a venue that knows only what the killed one had written."""
        folder = self.folder / "restarted"
        folder.mkdir()
        shutil.copy(self.folder / "events.jsonl", folder)
        self.venue = Venue(self.clock, Faults(FAULTS), StateFolder(folder), self.deaf)
        self.venue.restore()
        self.flow = Flow(self.venue, self.reference, 3, False)

    def run(self, seconds: float) -> None:
        """Let the other traders live for so long."""
        for _ in range(round(seconds / STEP_S)):
            self.clock.time_ms += round(STEP_S * 1000)
            self.flow.step(STEP_S)

    def open(self, kind: str) -> list[Market]:
        """The open markets of a kind."""
        return [market for market in self.venue.markets.values() if market.kind == kind and not market.closed]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A fresh stage."""
    return Stage(tmp_path)


def test_fair_value_of_a_digital_option() -> None:
    """At the strike it is about one half, it rises with the price, and at the end it is 0 or 1."""
    assert digital_value(60_000, 60_000, 3_600) == pytest.approx(0.5, abs=0.01)
    assert digital_value(60_300, 60_000, 3_600) > 0.75 > 0.25 > digital_value(59_700, 60_000, 3_600)
    assert (digital_value(60_001, 60_000, 0), digital_value(60_000, 60_000, 0)) == (1.0, 0.0)


def test_markets_can_be_read_from_gamma(stage: Stage) -> None:
    """Three strikes around the price one to two hours ahead and the current hour, with strike and expiry
    in title, slug and dates."""
    stage.run(1)
    assert [market.strike for market in stage.open(ABOVE)] == [597_500, 600_000, 602_500]
    view = gamma_market(stage.open(ABOVE)[1])
    assert view["question"] == "Bitcoin above 60,000 on November 25, 3AM UTC?"
    assert view["slug"] == "bitcoin-above-60000-on-november-25-2026-3am-utc"
    assert (view["endDate"], view["groupItemThreshold"]) == ("2026-11-25T03:00:00Z", "60000")
    assert view["outcomes"] == '["Yes", "No"]' and view["clobTokenIds"].startswith('["')
    event: dict[str, Any] = gamma_event(stage.open(ABOVE))
    assert len(event["markets"]) == 3
    hour = gamma_market(stage.open(UP_DOWN)[0])
    assert hour["question"] == "Bitcoin Up or Down - November 25, 1AM UTC"
    assert "the price to beat, 60,100, else" in hour["description"]


def test_books_are_deep_around_the_fair_value(stage: Stage) -> None:
    """Both sides have levels, the fair value lies between them, and trades happen in lots of 0.01."""
    stage.run(60)
    for market in stage.venue.markets.values():
        bid, ask = market.book.best_bid(), market.book.best_ask()
        assert bid is not None and ask is not None
        assert bid < stage.flow.fair(market) * 10_000 < ask
        assert len(market.book.levels(True)) >= 8 and len(market.book.levels(False)) >= 8
    assert len(stage.deaf.prints) > 5
    assert all(lots > 0 for _, lots in stage.deaf.prints)


def test_same_seed_same_flow(tmp_path: Path) -> None:
    """The other traders are a function of the seed, the clock and the reference price."""
    runs = [Stage(tmp_path / name, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4))]
    for run in runs:
        run.run(60)
    first, second, third = (run.deaf.prints for run in runs)
    assert first == second != third


def test_expiry_resolves_by_the_price_and_lists_anew(stage: Stage) -> None:
    """At the end a market closes, its winner follows the reference price, and a new set is listed."""
    stage.run(1)
    old = stage.open(ABOVE)
    stage.clock.time_ms = old[0].end_ms
    stage.run(1)
    assert [market.winner == YES for market in old] == [True, True, False]
    assert all(market.closed and not list(market.book.orders()) for market in old)
    assert [market.strike for market in stage.open(ABOVE)] == [597_500, 600_000, 602_500]
    assert stage.open(ABOVE)[0].end_ms > old[0].end_ms


def test_the_price_at_the_end_decides(stage: Stage) -> None:
    """A price that moves between the end of a market and its resolution does not change the winner, not
    even when the venue is killed in between."""
    stage.run(1)
    old = stage.open(ABOVE)
    stage.clock.time_ms = old[0].end_ms
    stage.flow.step(STEP_S)
    assert all(market.closed and market.winner is None for market in old)
    stage.restart()
    stage.reference.price = 70_000.0
    stage.flow.step(STEP_S)
    ended = [stage.venue.markets[market.condition_id] for market in old]
    assert [market.winner == YES for market in ended] == [True, True, False]


def test_new_strikes_follow_a_price_that_left(stage: Stage) -> None:
    """When the price jumps away from all strikes, strikes around it are added at once."""
    stage.run(1)
    stage.reference.price = 57_040.0
    stage.run(1)
    assert {570_000, 567_500, 572_500} <= {market.strike for market in stage.open(ABOVE)}
