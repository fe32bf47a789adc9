"""What is kept for good: fills.jsonl from the participants' pages, events.jsonl from their buses.

Fills are kept exactly once. Each participant numbers its fills 1, 2, 3 …; the file's own last number
says where to go on, so nothing has to be remembered anywhere else and a killed supervisor repeats or
skips nothing: the page outlives it, and a line is either whole in the file or not in it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol

from control.event_chain import ChainedFile, plain
from control.records import Record, RecordFile, last_records, read_records
from control.shapes import EVENT, FILL

FILLS_FILE = "fills.jsonl"
EVENTS_FILE = "events.jsonl"
_RECENT = 2048

FillKey = tuple[str, str, str, str, bool]


def fill_key(record: Record) -> FillKey:
    """What makes a fill unique: the venue's execution and our order; a reversal is its own record."""
    return (
        str(record["venue"]),
        str(record["symbol"]),
        str(record["execution_id"]),
        str(record["client_order_id"]),
        bool(record["reversed"]),
    )


class FillRing(Protocol):
    """The part of a page that holds the newest fills."""

    fills_total: int

    def fills_after(self, sequence: int) -> list[Record]:
        """Those above the sequence, oldest first."""


class FillRecorder:
    """Copies new fills from page rings to fills.jsonl."""

    def __init__(self, folder: Path) -> None:
        self._file = RecordFile(folder / FILLS_FILE)
        self._last: dict[str, int] = {}
        self._recent: deque[FillKey] = deque(maxlen=_RECENT)
        self._unsynced = False

    def open(self) -> None:
        """Cut a torn last line and read where the file ends. OSError passes through."""
        self._file.open()
        for record in read_records(self._file.path):
            with contextlib.suppress(KeyError, TypeError):  # a line of another making
                key, participant = fill_key(record), str(record["participant"])
                self._last[participant] = int(record["sequence"])
                self._recent.append(key)

    def close(self) -> None:
        """Make durable and close."""
        self.sync()
        self._file.close()

    def take(self, participant: str, page: FillRing) -> tuple[int, int]:
        """Append what is new of a page's ring. Returns (appended, lost): lost is how many fills had
        already left the ring, which holds the newest 256."""
        last = self._last.get(participant, 0)
        if page.fills_total < last:
            last = 0  # a page that starts over; fill_key keeps out what is already in the file
        if page.fills_total == last:
            return 0, 0
        appended = lost = 0
        for record in page.fills_after(last):
            lost += record["sequence"] - last - 1
            if fill_key(record) not in self._recent:
                self._file.append(record)
                self._recent.append(fill_key(record))
                self._unsynced = True
                appended += 1
            last = record["sequence"]
            self._last[participant] = last
        return appended, lost

    def sync(self) -> None:
        """Make what was appended durable; does nothing when nothing was."""
        if self._unsynced:
            self._file.sync()
            self._unsynced = False


class EventLog:
    """events.jsonl: what happened, in past-tense names with fields; hash-chained (event_chain.py)."""

    def __init__(self, folder: Path) -> None:
        self._file = ChainedFile(folder / EVENTS_FILE)
        self.failed: str | None = None

    def write(self, source: str, name: str, *, level: str = "info", **fields: Any) -> None:
        """Append one event. Neither a full disk nor what stands in the file may stop a supervisor or a
        command: the error is kept in `failed` and shown by status."""
        record = {"wall_ns": time.time_ns(), "source": source, "level": level, "name": name, **fields}
        try:
            self._file.append(record)
            self.failed = None
        except OSError as error:
            self.failed = f"events cannot be written: {error.strerror}"
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            self.failed = f"events cannot be written: {type(error).__name__}: {error}"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_event(folder: Path, source: str, name: str, *, level: str = "info", **fields: Any) -> None:
    """One event from a short-lived command; best effort, since the command itself matters more."""
    if os.path.isdir(folder):
        log = EventLog(folder)
        log.write(source, name, level=level, **fields)
        log.close()


def recorded_fills(folder: Path, count: int) -> list[Record]:
    """The newest fills of the file, oldest first."""
    return last_records(folder / FILLS_FILE, count, shape=FILL)


def recorded_events(folder: Path, count: int) -> list[Record]:
    """The newest events of the file, oldest first."""
    return [plain(record) for record in last_records(folder / EVENTS_FILE, count, shape=EVENT)]
