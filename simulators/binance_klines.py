"""`GET /fapi/v1/markPriceKlines`: what the mark price was, minute by minute.

Source: Binance USD-M futures docs, "Mark Price Kline/Candlestick Data": weight by limit, 500 rows unless
asked, 1500 at most; without a time the newest rows, with startTime the oldest from there on.
"""

from __future__ import annotations

from typing import Any

from simulators.binance_exchange import Exchange
from simulators.binance_params import Params, required, whole
from simulators.binance_rules import VenueError, not_modelled, scaled_text
from simulators.candles import MINUTE_MS, Candle, Candles
from simulators.clock import Clock

INTERVALS = frozenset(
    ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
)
ROWS_DEFAULT, ROWS_MAX = 500, 1500


def klines_weight(params: Params) -> int:
    """1 below 100 rows, 2 below 500, 5 up to 1000, 10 above."""
    rows = whole(params, "limit", ROWS_DEFAULT)
    return 1 if rows < 100 else 2 if rows < 500 else 5 if rows <= 1000 else 10


class Klines:
    """The mark's candles; prices are kept in ticks."""

    def __init__(self, exchange: Exchange, clock: Clock, candles: Candles) -> None:
        self._exchange = exchange
        self._clock = clock
        self._candles = candles

    def note(self) -> None:
        """The mark of this instant."""
        symbol, mark = self._exchange.instrument.symbol, self._exchange.market.mark()
        self._candles.note(symbol, self._clock.now_ms(), mark)

    def mark_price(self, params: Params) -> list[list[Any]]:
        """The rows."""
        self._exchange.check_symbol(params)
        interval = required(params, "interval")
        if interval not in INTERVALS:
            raise VenueError(-1120)
        if interval != "1m":
            raise not_modelled(f"the interval {interval}")
        limit = whole(params, "limit", ROWS_DEFAULT)
        if not 1 <= limit <= ROWS_MAX:
            raise VenueError(-1130, "limit")
        start, end = whole(params, "startTime", 0), whole(params, "endTime", self._clock.now_ms())
        if "startTime" in params and "endTime" in params and start > end:
            raise VenueError(-1130, "startTime")
        rows = list(self._candles.between(self._exchange.instrument.symbol, start, end))
        return [_row(candle) for candle in (rows[:limit] if "startTime" in params else rows[-limit:])]


def _row(candle: Candle) -> list[Any]:
    opened = candle.minute * MINUTE_MS
    prices = [scaled_text(ticks * 10**7, 8) for ticks in (candle.open, candle.high, candle.low, candle.close)]
    return [opened, *prices, "0", opened + MINUTE_MS - 1, "0", 60, "0", "0", "0"]
