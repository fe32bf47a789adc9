"""Status pages: each participant publishes one, anybody reads it, even after its process has died."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from bridge._bridge import ffi, lib
from bridge.messages import (
    PAGE_COUNTERS,
    PAGE_FILLS,
    PAGE_POSITIONS,
    PAGE_REASONS,
    PAGE_SIGNALS,
    PAGE_VENUES,
    PageFill,
    PagePosition,
    PageSignal,
    PageVenue,
    ParticipantRole,
)

MODE_NUMBERS = {"dry-run": 0, "paper": 1, "live": 2}
MODE_NAMES = ("dry-run", "paper", "live")


class PageError(Exception):
    """The page could not be made, opened or read."""


class _Flat(Protocol):
    SIZE: ClassVar[int]

    def pack(self) -> bytes: ...


_Record = TypeVar("_Record", PageFill, PagePosition, PageSignal, PageVenue)


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram in nanoseconds; percentiles are upper bucket edges, at most 1/16 too high."""

    count: int = 0
    p50: int = 0
    p99: int = 0
    p999: int = 0
    min: int = 0
    max: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """What a participant shows. fills are the newest ones, oldest first."""

    role: int = ParticipantRole.TOOL
    mode: str = "paper"
    pid: int = 0
    started_wall_ns: int = 0
    updated_ns: int = 0
    day_micros: int = 0
    realized_micros: int = 0
    unrealized_micros: int = 0
    fees_micros: int = 0
    cash_micros: int = 0
    transfers_micros: int = 0
    fills_total: int = 0
    refusals: tuple[int, ...] = ()
    counters: tuple[int, ...] = ()
    venues: tuple[PageVenue, ...] = ()
    positions: tuple[PagePosition, ...] = ()
    signals: tuple[PageSignal, ...] = ()
    fills: tuple[PageFill, ...] = ()
    tick_to_order: Latency = Latency()
    order_to_ack: Latency = Latency()
    torn: bool = False  # the writer died while writing; figures may be of two moments


_SCALARS = (
    "pid",
    "started_wall_ns",
    "updated_ns",
    "day_micros",
    "realized_micros",
    "unrealized_micros",
    "fees_micros",
    "cash_micros",
    "transfers_micros",
    "fills_total",
)


def _checked(what: str, code: int) -> None:
    if code < 0:
        advice = "start the process that writes it, of this same version"
        raise PageError(f"{what}: {os.strerror(-code)}; {advice}")


def _latency(histogram: Any) -> Latency:
    pointer = ffi.addressof(histogram)
    p50, p99, p999 = (lib.histogram_percentile(pointer, permille) for permille in (500, 990, 999))
    return Latency(histogram.count, p50, p99, p999, histogram.min_ns, histogram.max_ns)


def _records(kind: type[_Record], array: Any, count: int) -> tuple[_Record, ...]:
    data = memoryview(ffi.buffer(array))
    return tuple(kind.unpack(data[i * kind.SIZE : (i + 1) * kind.SIZE]) for i in range(count))


def _page(content: Any, torn: bool) -> Page:
    total = content.fills_total
    ring = _records(PageFill, content.fills, min(max(total, 0), PAGE_FILLS))
    return Page(
        role=content.role,
        mode=MODE_NAMES[content.mode] if content.mode < len(MODE_NAMES) else "?",
        refusals=tuple(content.refusals),
        counters=tuple(content.counters),
        venues=_records(PageVenue, content.venues, min(content.venues_count, PAGE_VENUES)),
        positions=_records(PagePosition, content.positions, min(content.positions_count, PAGE_POSITIONS)),
        signals=_records(PageSignal, content.signals, min(content.signals_count, PAGE_SIGNALS)),
        fills=tuple(sorted((fill for fill in ring if fill.sequence > 0), key=lambda fill: fill.sequence)),
        tick_to_order=_latency(content.tick_to_order),
        order_to_ack=_latency(content.order_to_ack),
        torn=torn,
        **{name: getattr(content, name) for name in _SCALARS},
    )


class PageReader:
    """Reads another process's page."""

    def __init__(self, path: Path) -> None:
        out = ffi.new("struct page **")
        _checked(f"cannot open the page {path}", lib.page_open(out, os.fsencode(path)))
        self._page = ffi.gc(out[0], lib.page_close)
        self._content = ffi.new("struct participant_page *")

    def read(self) -> Page:
        """A whole copy."""
        torn = lib.page_read(self._page, self._content) != 0
        return _page(self._content, torn)

    def close(self) -> None:
        """Unmaps it."""
        ffi.release(self._page)


class PageWriter:
    """Publishes this process's page; fills and their sequence go on where the last process stopped, and its
    refusals are counted from 0."""

    def __init__(self, path: Path, role: ParticipantRole, mode: str, pid: int, started_wall_ns: int) -> None:
        out = ffi.new("struct page **")
        self._content = ffi.new("struct participant_page *")
        _checked(f"cannot make the page {path}", lib.page_create(out, os.fsencode(path), self._content))
        self._page = ffi.gc(out[0], lib.page_close)
        self.previous = _page(self._content, False)
        content = self._content
        ffi.buffer(content.refusals)[:] = bytes(ffi.sizeof(content.refusals))
        content.role, content.mode = role, MODE_NUMBERS[mode]
        content.pid, content.started_wall_ns = pid, started_wall_ns

    @property
    def fills_total(self) -> int:
        """Sequence of the newest fill."""
        return int(self._content.fills_total)

    def add_fill(self, fill: PageFill) -> int:
        """Puts the fill into the ring under the next sequence, which it returns. Shown by publish()."""
        sequence = self.fills_total + 1
        slot = self._content.fills[(sequence - 1) % PAGE_FILLS]
        ffi.buffer(ffi.addressof(slot))[:] = replace(fill, sequence=sequence).pack()
        self._content.fills_total = sequence
        return sequence

    def set_fills_total(self, total: int) -> None:
        """The durable store knows a higher sequence than the page of a lost tmpfs: go on from there."""
        if total > self.fills_total:
            self._content.fills_total = total

    def count_refusal(self, reason: int) -> None:
        """One more refusal for this reason."""
        if 0 <= reason < PAGE_REASONS:
            self._content.refusals[reason] += 1

    def record_tick_to_order(self, value_ns: int) -> None:
        """One latency sample."""
        lib.histogram_record(ffi.addressof(self._content, "tick_to_order"), value_ns)

    def record_order_to_ack(self, value_ns: int) -> None:
        """One latency sample."""
        lib.histogram_record(ffi.addressof(self._content, "order_to_ack"), value_ns)

    def publish(
        self,
        *,
        updated_ns: int,
        day_micros: int = 0,
        realized_micros: int = 0,
        unrealized_micros: int = 0,
        fees_micros: int = 0,
        cash_micros: int = 0,
        transfers_micros: int = 0,
        venues: Sequence[PageVenue] = (),
        positions: Sequence[PagePosition] = (),
        signals: Sequence[PageSignal] = (),
        counters: Mapping[int, int] | None = None,
        day: int = 0,
        late_micros: int = 0,
        closed: tuple[int, int] = (0, 0),
    ) -> None:
        """Makes everything since the last call visible at once. closed: the day closed last, its result."""
        content = self._content
        content.updated_ns = updated_ns
        content.day_micros = day_micros
        content.realized_micros = realized_micros
        content.unrealized_micros = unrealized_micros
        content.fees_micros = fees_micros
        content.day = day
        content.late_micros = late_micros
        content.closed_day, content.closed_micros = closed
        content.cash_micros = cash_micros
        content.transfers_micros = transfers_micros
        content.venues_count = self._put(content.venues, venues, PAGE_VENUES)
        content.positions_count = self._put(content.positions, positions, PAGE_POSITIONS)
        content.signals_count = self._put(content.signals, signals, PAGE_SIGNALS)
        for index, value in (counters or {}).items():
            if 0 <= index < PAGE_COUNTERS:
                content.counters[index] = value
        lib.page_publish(self._page, content)

    @staticmethod
    def _put(array: Any, records: Sequence[_Flat], limit: int) -> int:
        data = b"".join(record.pack() for record in records[:limit])
        if data:
            ffi.buffer(array)[: len(data)] = data
        return min(len(records), limit)

    def close(self) -> None:
        """Unmaps it; the file stays readable."""
        ffi.release(self._page)
