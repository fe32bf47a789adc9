"""Checks the engine's journal against its hash chain and its head, and says where it breaks.

The same rules as c_core/src/oms/journal_chain.h, written a second time on purpose: who checks the writer does
not use the writer's code. A seal's digest is SHA-256 over the last seal's digest, every record since, and the
seal itself with digest and crc at zero. The head, `<folder>.head`, holds copies of the newest seals.
"""

from __future__ import annotations

import hashlib
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bridge._bridge import ffi
from bridge.journal import record_is_good, segments
from bridge.messages import JournalKind, JournalRecord

SIZE = JournalRecord.SIZE
DIGEST = 32
SEGMENTS_KEPT = 1024  # JOURNAL_SEGMENTS
_AT = ffi.offsetof("struct journal_record", "digest")


@dataclass(slots=True)
class Verdict:
    """What was found. `problems` is empty when all is well."""

    records: int = 0
    sealed: int = 0  # sequence of the newest seal that fits
    head: int = 0  # sequence that the head covers; 0: no head
    first: int = 0
    unsealed: int = 0  # records behind the newest seal
    problems: list[str] = field(default_factory=list)


class _Chain:
    """The hash over what the next seal covers."""

    def __init__(self, digest: bytes = bytes(DIGEST), sealed: int = 0, first: int = 0) -> None:
        self.digest, self.sealed, self.first = digest, sealed, first
        self.start = 0  # first record that waits for its seal
        self.waits = 0
        self._hash = hashlib.sha256(digest)

    def copy(self) -> _Chain:
        """As it is behind a seal, when nothing waits."""
        return _Chain(self.digest, self.sealed, self.first)

    def add(self, record: JournalRecord, data: bytes) -> None:
        self.start = self.start or record.sequence
        self.first = self.first or record.sequence
        self.waits += 1
        self._hash.update(data)

    def fits(self, record: JournalRecord, data: bytes) -> bool:
        """Whether this seal covers exactly what waits; it is then the newest."""
        self.first = self.first or record.sequence
        digest = data[_AT : _AT + DIGEST]
        retired = self.sealed == 0 and self.first > 1
        retired = retired and (record.quantity_e9 != 0 or record.position_e9 < self.first)
        if not retired:
            if (record.quantity_e9, record.position_e9) != (self.sealed, self.start):
                return False
            plain = bytearray(data)
            plain[:4] = bytes(4)
            plain[_AT : _AT + DIGEST] = bytes(DIGEST)
            self._hash.update(plain)
            if self._hash.digest() != digest:
                return False
        self.digest, self.sealed, self.start, self.waits = digest, record.sequence, 0, 0
        self._hash = hashlib.sha256(digest)
        return True


def read_head(folder: Path) -> tuple[int, bytes] | None:
    """(sequence, digest) of the newest seal that the head holds, or None."""
    try:
        content = folder.with_name(folder.name + ".head").read_bytes()
    except OSError:
        return None
    newest = None
    for at in range(0, len(content) - SIZE + 1, SIZE):
        data = content[at : at + SIZE]
        record = JournalRecord.unpack(data) if record_is_good(data) else None
        if record is None or record.kind != JournalKind.SEAL:
            continue
        if newest is None or record.sequence > newest[0]:
            newest = record.sequence, data[_AT : _AT + DIGEST]
    return newest


def verify_journal(folder: Path) -> Verdict:
    """Reads every segment. Goes on behind a break as the engine does: where a segment's first record follows
    the last one that was believed."""
    walk = _Walk(read_head(folder))
    paths = segments(folder)
    _check_names(paths, walk.verdict)
    for path in paths:
        if problem := _no_plain_file(path):
            walk.verdict.problems.append(problem)
        else:
            walk.segment(path)
    walk.verdict.sealed, walk.verdict.unsealed = walk.chain.sealed, walk.chain.waits
    _judge_head(folder, walk.verdict, walk.last)
    return walk.verdict


class _Walk:
    """Where the reading is."""

    def __init__(self, head: tuple[int, bytes] | None) -> None:
        self.verdict = Verdict(head=head[0] if head else 0)
        self.chain = _Chain()
        self.last = 0
        self._head = head
        self._anchor = _Chain()  # as it was behind the newest seal that fits

    def segment(self, path: Path) -> None:
        """One file, up to its blank rest or a break."""
        for number, data in enumerate(_slots(path)):
            record = JournalRecord.unpack(data) if record_is_good(data) else None
            if record is None or not self._follows(record):
                self.verdict.problems.append(_broken(path, number, record, self.last))
                return
            self._compare_with_head(path, number, record, data)
            if not self._take(record, data):
                self.verdict.problems.append(
                    f"{_where(path, number, record)}: the seal does not fit: one of the records "
                    f"{self._anchor.sealed + 1} to {record.sequence} was rewritten"
                )
                self.last, self.chain = self._anchor.sealed, self._anchor.copy()
                return
            self.verdict.first = self.verdict.first or record.sequence
            self.verdict.records += 1
            self.last = record.sequence

    def _follows(self, record: JournalRecord) -> bool:
        begins = self.last == 0 and self.verdict.records == 0
        return begins or record.sequence == self.last + 1

    def _compare_with_head(self, path: Path, number: int, record: JournalRecord, data: bytes) -> None:
        if self._head is None or record.sequence != self._head[0]:
            return
        if data[_AT : _AT + DIGEST] != self._head[1]:
            self.verdict.problems.append(
                f"{_where(path, number, record)} is not the seal that the head remembers: "
                "this is another journal than the one that was written"
            )

    def _take(self, record: JournalRecord, data: bytes) -> bool:
        if record.kind != JournalKind.SEAL:
            self.chain.add(record, data)
            return True
        if not self.chain.fits(record, data):
            return False
        self._anchor = self.chain.copy()
        return True


def _slots(path: Path) -> Iterator[bytes]:
    """The written places of a segment: up to the blank rest."""
    content = path.read_bytes().rstrip(b"\0")
    for at in range(0, len(content), SIZE):
        yield content[at : at + SIZE].ljust(SIZE, b"\0")


def _check_names(paths: list[Path], verdict: Verdict) -> None:
    """Segments are numbered; the oldest are retired only when there are very many."""
    numbers = [int(path.stem.removeprefix("journal-")) for path in paths]
    if numbers and numbers[0] > 1 and numbers[-1] - numbers[0] < SEGMENTS_KEPT - 2:
        verdict.problems.append(
            f"the journal begins with {paths[0].name}: the segments before it are missing"
        )


def _no_plain_file(path: Path) -> str | None:
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        return None
    what = "a symbolic link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no plain file"
    return f"{path.name} is {what}: the engine does not start with it; remove it"


def _where(path: Path, number: int, record: JournalRecord) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.wall_ns // 1_000_000_000))
    return f"{path.name}, record {number} (sequence {record.sequence}, {when} UTC)"


def _broken(path: Path, number: int, record: JournalRecord | None, last: int) -> str:
    if record is None:
        return f"{path.name}, record {number}, is damaged: behind sequence {last} its checksum is wrong"
    return f"{_where(path, number, record)} does not follow sequence {last}: records between are missing"


def _judge_head(folder: Path, verdict: Verdict, last: int) -> None:
    name = folder.name + ".head"
    if verdict.head > last:
        verdict.problems.append(
            f"{verdict.head - last} records are missing at the end: {name} covers sequence {verdict.head}, "
            f"the journal ends with {last}"
        )
    elif not verdict.head and verdict.sealed:
        verdict.problems.append(f"{name} is missing: whether records are missing at the end cannot be told")
