"""What prices were, minute by minute: the venues' answers about the past, kept over restarts.

One line of `candles.jsonl` is [name, minute, open, high, low, close]; of several lines of a minute the last
counts. The opening is written when the minute begins, so that a killed simulator still knows it. While a
simulator does not run its market stands still, as far as the past is concerned: the close goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MINUTE_MS = 60_000
KEPT_MINUTES = 15 * 24 * 60
FILE = "candles.jsonl"


@dataclass(slots=True)
class Candle:
    """One minute's prices, in the caller's unit."""

    minute: int
    open: int
    high: int
    low: int
    close: int


class Candles:
    """The candles of every name that was noted."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._series: dict[str, dict[int, Candle]] = {}
        self._newest: dict[str, Candle] = {}
        self._read()
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(self, name: str, now_ms: int, price: int) -> None:
        """The price at this instant."""
        minute, newest = now_ms // MINUTE_MS, self._newest.get(name)
        if newest is not None and newest.minute == minute:
            newest.high, newest.low = max(newest.high, price), min(newest.low, price)
            newest.close = price
            return
        if newest is not None and minute < newest.minute:
            return  # the venue's clock was set back: the past stays what it was
        candle = Candle(minute, price, price, price, price)
        if newest is not None:
            self._write(name, newest)
        self._write(name, candle)
        self._keep(name, candle)

    def between(self, name: str, start_ms: int, end_ms: int) -> Iterator[Candle]:
        """The candles that open within start and end, oldest first, without a gap."""
        known = self._series.get(name)
        if not known:
            return
        minute = max(-(-start_ms // MINUTE_MS), min(known))
        last = min(end_ms // MINUTE_MS, self._newest[name].minute)
        before = self.last_before(name, minute * MINUTE_MS)
        while minute <= last:
            candle = known.get(minute)
            if candle is None:
                close = 0 if before is None else before.close
                candle = Candle(minute, close, close, close, close)
            yield candle
            before = candle
            minute += 1

    def last_before(self, name: str, at_ms: int) -> Candle | None:
        """The newest candle that opened before this instant, or None."""
        earlier = [minute for minute in self._series.get(name, {}) if minute * MINUTE_MS < at_ms]
        return self._series[name][max(earlier)] if earlier else None

    def price_at(self, name: str, at_ms: int) -> tuple[int, int] | None:
        """(time in ms, price) of the last price known at this instant; None before the first."""
        opened = self._series.get(name, {}).get(at_ms // MINUTE_MS)
        if opened is not None:
            return opened.minute * MINUTE_MS, opened.open
        before = self.last_before(name, at_ms)
        return None if before is None else ((before.minute + 1) * MINUTE_MS - 1000, before.close)

    def _keep(self, name: str, candle: Candle) -> None:
        series = self._series.setdefault(name, {})
        series[candle.minute] = candle
        self._newest[name] = candle
        if len(series) > KEPT_MINUTES:
            del series[min(series)]

    def _write(self, name: str, candle: Candle) -> None:
        row = [name, candle.minute, candle.open, candle.high, candle.low, candle.close]
        with contextlib.suppress(OSError):  # a full disk costs the past of a minute, not the venue
            os.write(self._file, json.dumps(row).encode() + b"\n")

    def _read(self) -> None:
        if not self._path.exists():
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        for line in lines:
            if line.endswith(b"\n"):
                name, *numbers = json.loads(line)
                self._keep(name, Candle(*numbers))
        if len(lines) > 3 * sum(map(len, self._series.values())) + 10_000 or (
            lines and not lines[-1].endswith(b"\n")
        ):
            self._rewrite()

    def _rewrite(self) -> None:
        partial = self._path.with_suffix(".new")
        rows = [
            [name, c.minute, c.open, c.high, c.low, c.close]
            for name, series in self._series.items()
            for c in series.values()
        ]
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        partial.replace(self._path)
