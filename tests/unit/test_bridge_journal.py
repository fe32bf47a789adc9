"""The journal's reader: it stops at the first damage and never invents a record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bridge._bridge import ffi, lib
from bridge.journal import read_journal
from bridge.messages import JournalKind, JournalRecord


def record(sequence: int) -> bytes:
    """A good record, its checksum made by the C side."""
    plain = JournalRecord(kind=JournalKind.INTENT, version=1, sequence=sequence, symbol="BTCUSDT")
    data = plain.pack()
    return replace(plain, crc=lib.crc32c(ffi.from_buffer(data), len(data))).pack()


def write(folder: Path, number: int, data: bytes) -> None:
    """One segment."""
    (folder / f"journal-{number:08d}.bin").write_bytes(data)


def sequences(folder: Path) -> list[int]:
    """What the reader believes."""
    return [entry.sequence for entry in read_journal(folder).records]


def test_segments_are_read_in_order(tmp_path: Path) -> None:
    """Records of all segments follow one another, with preallocated zeroes skipped."""
    assert read_journal(tmp_path).records == ()
    write(tmp_path, 2, record(4) + record(5) + b"\0" * 1024)
    write(tmp_path, 1, record(1) + record(2) + record(3) + b"\0" * 512)
    (tmp_path / "notes.txt").write_text("not a segment")
    journal = read_journal(tmp_path)
    assert [entry.sequence for entry in journal.records] == [1, 2, 3, 4, 5]
    assert journal.stopped is None


def test_writing_goes_on_after_a_torn_record(tmp_path: Path) -> None:
    """A torn record ends its segment; the segment of the restarted engine follows on."""
    write(tmp_path, 1, record(1) + record(2) + record(3)[:20] + b"\0" * 236)
    write(tmp_path, 2, record(3) + record(4))
    assert sequences(tmp_path) == [1, 2, 3, 4]


def test_a_gap_ends_the_reading(tmp_path: Path) -> None:
    """A segment whose first sequence does not follow on is not read."""
    write(tmp_path, 1, record(1) + record(2))
    write(tmp_path, 2, record(4))
    journal = read_journal(tmp_path)
    assert [entry.sequence for entry in journal.records] == [1, 2]
    assert journal.stopped == "journal-00000002.bin: sequence 4 after 2"


@pytest.mark.parametrize("at", [*range(256, 512, 7)])
def test_every_flipped_byte_is_noticed(tmp_path: Path, at: int) -> None:
    """A flip anywhere in the second record is the end, also when an empty segment lies ahead."""
    data = bytearray(record(1) + record(2) + record(3))
    data[at] ^= 0x40
    write(tmp_path, 1, bytes(data))
    write(tmp_path, 2, b"\0" * 512)
    journal = read_journal(tmp_path)
    assert [entry.sequence for entry in journal.records] == [1]
    assert journal.stopped == "journal-00000001.bin: a damaged record at byte 256"


@pytest.mark.parametrize("size", [0, 1, 255, 256, 300, 511, 512, 700])
def test_truncated_files_give_whole_records(tmp_path: Path, size: int) -> None:
    """A file cut at any byte gives exactly the records that are whole."""
    write(tmp_path, 1, (record(1) + record(2) + record(3))[:size])
    assert sequences(tmp_path) == list(range(1, size // 256 + 1))
