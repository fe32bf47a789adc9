"""What the venues say of past prices: minute by minute, over restarts and gaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulators.binance_klines import Klines, klines_weight
from simulators.binance_rules import NOT_MODELLED, VenueError
from simulators.candles import MINUTE_MS, Candle, Candles

T = 30_000_000 * MINUTE_MS  # a full minute


class Desk:
    """The parts of an exchange that candles need."""

    def __init__(self, folder: Path) -> None:
        self.now, self.ticks = T, 600_000
        self.instrument = self
        self.market = self
        self.symbol = "BTCUSDT"
        desk: Any = self
        self.klines = Klines(desk, desk, Candles(folder))

    def now_ms(self) -> int:
        """The clock."""
        return self.now

    def mark(self) -> int:
        """The market."""
        return self.ticks

    def check_symbol(self, params: dict[str, str]) -> None:
        """The exchange."""
        if params.get("symbol") != self.symbol:
            raise VenueError(-1121)

    def trade(self, *prices: int) -> None:
        """One price every 10 s from now on."""
        for price in prices:
            self.ticks = price
            self.klines.note()
            self.now += 10_000

    def rows(self, **params: str) -> list[list[Any]]:
        """The answer."""
        return self.klines.mark_price({"symbol": "BTCUSDT", "interval": "1m"} | params)


def test_candles_open_at_the_minutes_first_price_and_come_in_the_venues_form(tmp_path: Path) -> None:
    """Open, high, low and close of each minute; times are its first and last ms; prices have 8 decimals."""
    desk = Desk(tmp_path)
    desk.trade(600_000, 600_500, 599_000, 600_100, 600_200, 600_300, 700_000)
    first, second = desk.rows()
    assert first == [T, "60000.00000000", "60050.00000000", "59900.00000000", "60030.00000000", "0",
                     T + MINUTE_MS - 1, "0", 60, "0", "0", "0"]  # fmt: skip
    assert second[:2] == [T + MINUTE_MS, "70000.00000000"]
    assert desk.rows(startTime=str(T), limit="1") == [first]
    assert desk.rows(startTime=str(T + 1)) == [second]
    assert desk.rows(endTime=str(T + MINUTE_MS - 1)) == [first]
    assert desk.rows(limit="1") == [second]


def test_candles_survive_a_kill_and_a_pause_has_the_last_price(tmp_path: Path) -> None:
    """A new process knows the candles, the one it was killed in by its opening; minutes without one stand
    still; a torn last line is no price."""
    Desk(tmp_path).trade(600_000, 600_500)
    with (tmp_path / "candles.jsonl").open("a") as file:
        file.write('["BTCUSDT", 3000')
    desk = Desk(tmp_path)
    desk.now = T + 3 * MINUTE_MS
    desk.trade(610_000)
    opens = [row[1] for row in desk.rows(startTime=str(T))]
    assert opens == ["60000.00000000", "60000.00000000", "60000.00000000", "61000.00000000"]
    again = Desk(tmp_path)
    again.now = T + 4 * MINUTE_MS
    assert [row[1] for row in again.rows(startTime=str(T + 3 * MINUTE_MS))] == ["61000.00000000"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "ETHUSDT"}, -1121),
        ({"interval": "7m"}, -1120),
        ({"interval": ""}, -1102),
        ({"interval": "1h"}, NOT_MODELLED),
        ({"limit": "0"}, -1130),
        ({"limit": "1501"}, -1130),
        ({"startTime": "x"}, -1102),
        ({"startTime": "9", "endTime": "3"}, -1130),
    ],
)
def test_what_the_venue_refuses_is_refused(tmp_path: Path, params: dict[str, str], code: int) -> None:
    """Wrong parameters get the venue's own codes."""
    with pytest.raises(VenueError) as refused:
        Desk(tmp_path).rows(**params)
    assert refused.value.code == code


def test_the_weight_grows_with_the_rows_asked_for() -> None:
    """1 below 100 rows, 2 below 500, 5 up to 1000, 10 above; 500 when nothing is said."""
    weights = [klines_weight({"limit": n}) for n in ("1", "99", "100", "499", "500", "1000", "1500")]
    assert weights == [1, 1, 2, 2, 5, 5, 10] and klines_weight({}) == 5


def test_the_price_at_an_instant_is_the_last_one_known_then(tmp_path: Path) -> None:
    """None before the first; the opening inside a known minute; the close of the one before a gap."""
    candles = Candles(tmp_path)
    candles.note("x", T + 5_000, 40)
    candles.note("x", T + 9_000, 45)
    assert candles.price_at("x", T - 1) is None and candles.price_at("y", T) is None
    assert candles.price_at("x", T + 30_000) == (T, 40)
    assert candles.price_at("x", T + 9 * MINUTE_MS) == (T + MINUTE_MS - 1000, 45)
    candles.note("x", T - MINUTE_MS, 99)  # a clock that was set back changes no past
    assert list(candles.between("x", T, T)) == [Candle(T // MINUTE_MS, 40, 45, 40, 45)]
