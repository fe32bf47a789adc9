"""The bot's day without a database: opening, fills and fees as the venue's own records make them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_bot_execution import MARKET, Desk

from polymarket_bot.errors import VenueError
from polymarket_bot.execution.history import DayHistory
from polymarket_bot.execution.settlement import DAY_NS
from polymarket_bot.model import Fill, FillStatus, Market, Price, Side, Size, TradeUpdate

YES = MARKET.tokens[0]
SHARE = 1_000_000


class Venue:
    """What the history asks the venue for, scripted."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.trades_: list[TradeUpdate] = []
        self.opening: Price | None = Price(400_000)
        self.resolved: int | None = None
        self.asked: list[tuple[str, int]] = []
        self.down = False

    async def trades(self, after_s: int) -> list[TradeUpdate]:
        """All of them."""
        if self.down:
            raise VenueError("no answer")
        assert after_s == 0
        return list(self.trades_)

    async def resolved_s(self, market: Market) -> int | None:
        """When trading ended."""
        return self.resolved

    async def winner(self, market: Market) -> int | None:
        """YES has won."""
        return None if self.resolved is None else 0

    async def price_at(self, token: str, wall_s: int) -> Price | None:
        """The price of then."""
        self.asked.append((token, wall_s))
        return self.opening


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An execution engine with nothing in it."""
    return Desk(tmp_path)


def trade(desk: Desk, number: int, side: Side, price: int, shares: int, days_ago: int = 0,
          status: str = "CONFIRMED") -> TradeUpdate:  # fmt: skip
    """One of our trades, `number` seconds into its day."""
    wall_ns = (desk.settlement.day - days_ago) * DAY_NS + number * 1_000_000_000
    fill = Fill(f"t{number}-{days_ago}", f"o{number}", MARKET.condition_id, YES, side, Price(price),
                Size(shares * SHARE), False, 1_000 * number, wall_ns)  # fmt: skip
    return TradeUpdate(status, (fill,))


def rebuilt(desk: Desk, venue: Venue) -> int:
    """Runs it; how many fills of today there were."""
    engine, script = desk.engine, desk.script
    engine.account.remember(MARKET)
    exchange: Any = venue
    store: Any = script
    history = DayHistory(engine.account, engine.reconciler, exchange, store, store)
    return asyncio.run(history.rebuild())


def test_a_day_that_began_flat_is_its_own_fills(desk: Desk) -> None:
    """Bought and sold today: realized, fees and what is left are those of the fills, and it is an alarm."""
    venue = Venue(desk)
    venue.trades_ = [
        trade(desk, 10, Side.BUY, 500_000, 20),
        trade(desk, 20, Side.SELL, 450_000, 15),
        trade(desk, 30, Side.BUY, 300_000, 7, status="FAILED"),
    ]
    assert rebuilt(desk, venue) == 2
    position = desk.settlement.position(YES)
    assert (position.quantity, position.cost_micros) == (5 * SHARE, 2_500_000)
    assert (position.realized_micros, position.fees_e8) == (-750_000, 30_000)
    assert "database_missing" in desk.script.events


def test_what_was_held_at_midnight_opens_at_the_venues_price_of_then(desk: Desk) -> None:
    """Yesterday's fills are the opening, at the price of 00:00 UTC; none of them is in today's result, and
    none is booked again when it is told once more."""
    venue = Venue(desk)
    yesterday = trade(desk, 80_000, Side.BUY, 900_000, 10, days_ago=1)
    venue.trades_ = [yesterday, trade(desk, 20, Side.SELL, 450_000, 4)]
    assert rebuilt(desk, venue) == 1
    assert venue.asked == [(YES, desk.settlement.day * 86_400)]
    position = desk.settlement.position(YES)
    assert (position.quantity, position.cost_micros) == (6 * SHARE, 2_400_000)
    assert (position.realized_micros, position.fees_e8) == (200_000, 20_000)
    assert desk.settlement.apply(yesterday) == []
    assert desk.script.openings[-1][YES].cost_micros == 4_000_000


WORST = [(900_000, 450_000, 900_000), (300_000, 450_000, 450_000)]


@pytest.mark.parametrize(("paid", "sold", "opening"), WORST)
def test_without_a_price_of_midnight_the_loss_is_the_larger_one(
    desk: Desk, paid: int, sold: int, opening: int
) -> None:
    """The venue knows no price: the higher of what was paid and of the day's first fill counts."""
    venue = Venue(desk)
    venue.opening = None
    venue.trades_ = [
        trade(desk, 80_000, Side.BUY, paid, 10, days_ago=1),
        trade(desk, 20, Side.SELL, sold, 4),
    ]
    rebuilt(desk, venue)
    assert desk.settlement.position(YES).realized_micros == 4 * (sold - opening)
    assert "opening_mark_unknown" in desk.script.events


def test_a_market_that_was_resolved_before_today_is_not_held(desk: Desk) -> None:
    """Its shares were paid on an earlier day; one that was resolved today is still to be settled."""
    venue = Venue(desk)
    venue.trades_ = [trade(desk, 80_000, Side.BUY, 900_000, 10, days_ago=2)]
    venue.resolved = (desk.settlement.day - 1) * 86_400
    assert rebuilt(desk, venue) == 0
    assert desk.settlement.position(YES).quantity == 0
    assert "database_missing" not in desk.script.events
    assert desk.settlement.fills_today() == 0
    assert desk.settlement.resolved_micros() == {MARKET.condition_id: 10 * SHARE}


def test_a_market_that_was_resolved_today_is_still_held(desk: Desk) -> None:
    """It is settled afterwards, as ever, and what it pays is part of today."""
    venue = Venue(desk)
    venue.trades_ = [trade(desk, 80_000, Side.BUY, 900_000, 10, days_ago=2)]
    venue.resolved = desk.settlement.day * 86_400 + 5
    rebuilt(desk, venue)
    assert desk.settlement.position(YES).quantity == 10 * SHARE


def test_nothing_is_booked_while_the_venue_does_not_answer(desk: Desk) -> None:
    """The history cannot be read: an error, no books, and the next try makes them."""
    venue = Venue(desk)
    venue.trades_ = [trade(desk, 10, Side.BUY, 500_000, 20)]
    venue.down = True
    with pytest.raises(VenueError):
        rebuilt(desk, venue)
    assert desk.settlement.position(YES).quantity == 0 and desk.settlement.sequence == 0
    venue.down = False
    assert rebuilt(desk, venue) == 1


def test_a_fill_of_yesterday_that_is_not_final_can_still_be_taken_back(desk: Desk) -> None:
    """Matched just before midnight and failed later: its reversal is part of the new day's opening."""
    venue = Venue(desk)
    update = trade(desk, 86_399, Side.BUY, 400_000, 10, days_ago=1, status="MATCHED")
    venue.trades_ = [update]
    rebuilt(desk, venue)
    assert desk.settlement.status(update.fills[0].key) is FillStatus.PROVISIONAL
    assert desk.settlement.position(YES).quantity == 10 * SHARE
    assert len(desk.settlement.apply(replace(update, status="FAILED"))) == 1
    assert desk.settlement.position(YES).quantity == 0
