"""Reads the engine's journal: segment files journal-00000001.bin, … of fixed-size records with a CRC-32C."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bridge._bridge import ffi, lib
from bridge.messages import JournalRecord

_NAME = re.compile(r"journal-(\d{8})\.bin")


@dataclass(frozen=True, slots=True)
class Journal:
    """Every good record in order, and why reading stopped early (None: it did not)."""

    records: tuple[JournalRecord, ...]
    stopped: str | None


def segments(folder: Path) -> list[Path]:
    """The segment files, oldest first."""
    return sorted(path for path in folder.glob("journal-*.bin") if _NAME.fullmatch(path.name))


def record_is_good(data: bytes) -> bool:
    """Whether the record's first four bytes are the CRC-32C of the rest with those set to 0."""
    zeroed = b"\0\0\0\0" + data[4:]
    return int(lib.crc32c(ffi.from_buffer(zeroed), len(zeroed))) == int.from_bytes(data[:4], "little")


def _good_records(path: Path) -> Iterator[JournalRecord]:
    with path.open("rb") as file:
        while len(data := file.read(JournalRecord.SIZE)) == JournalRecord.SIZE and record_is_good(data):
            yield JournalRecord.unpack(data)


def read_journal(folder: Path) -> Journal:
    """Reads all segments. A bad record ends its segment; the next one counts only when its first sequence
    follows on, which is how an engine goes on after a crash in the middle of a record."""
    records: list[JournalRecord] = []
    stopped: str | None = None
    for path in segments(folder):
        good = list(_good_records(path))
        for record in good:
            if records and record.sequence != records[-1].sequence + 1:
                stopped = f"{path.name}: sequence {record.sequence} after {records[-1].sequence}"
                return Journal(tuple(records), stopped)
            records.append(record)
        damage = _damage(path, len(good) * JournalRecord.SIZE)
        if good or damage:
            stopped = damage
    return Journal(tuple(records), stopped)


def _damage(path: Path, at: int) -> str | None:
    """What lies behind a segment's last good record: nothing, preallocated zeroes, or damage."""
    with path.open("rb") as file:
        file.seek(at)
        rest = file.read(JournalRecord.SIZE)
    return f"{path.name}: a damaged record at byte {at}" if rest.strip(b"\0") else None
