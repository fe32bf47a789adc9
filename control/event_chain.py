"""The hash chain over events.jsonl, which holds what operators commanded and what became of it.

Each line carries `n`, its number since the file began, and `chain`, the SHA-256 of the line before it, so
that a line that was changed, left out or put in shows at the line behind it. The newest line is remembered
in `events.head`, so that an end that was cut off shows as well. Lines of 0.1.0 have neither; the first line
behind them holds the hash of the last of them.

Several processes write. Each takes the file's lock for the moment of its line; one that is stopped while it
holds the lock must not stop a kill, so after a short while a line is written without it. Two lines may then
follow the same one, which is no break.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control.records import Record, RecordFile, read_json, rotated, write_atomically

KEPT = 3
NUMBER_END = 1 << 62
FIELDS = ("n", "chain")
_LOCK_TRIES, _LOCK_PAUSE_S = 20, 0.002
_LINES_BACK = 64  # how far back a line may point that was written without the lock
_TAIL = 65_536


def digest_of(line: bytes) -> str:
    """Of a line without its newline."""
    return hashlib.sha256(line).hexdigest()


class ChainedFile(RecordFile):
    """A record file whose lines are chained."""

    def append(self, record: Record) -> None:
        """Append one record with its number and the hash of the line before it."""
        self._open_current()
        with _locked(self._descriptor):
            number, before = self._last()
            chained = {**record, "n": number + 1, "chain": before}
            super().append(chained)
            line = json.dumps(chained, separators=(",", ":")).encode()
            with contextlib.suppress(OSError):  # without room the head stays an older one
                write_atomically(head_path(self.path), {"n": number + 1, "digest": digest_of(line)})

    def _open_current(self) -> None:
        """Another process may have rotated the file since this one opened it."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                    return
            self.close()
        self.open()

    def _last(self) -> tuple[int, str]:
        """Number and digest of the newest line; (0, "") when there is none. When the head remembers a later
        one, the end was cut off, and the next line shows it."""
        line = _last_line(self._descriptor)
        if line is None:
            with contextlib.suppress(OSError), rotated(self.path, 1).open("rb") as older:
                line = _last_line(older.fileno())
        record = _parsed(line) if line is not None else None
        number = _number(record.get("n")) if record is not None else 0
        head = _head(self.path)
        if head is not None and head[0] > number:
            return head
        return number, digest_of(line) if line is not None else ""


@contextlib.contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    held = False
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            held = True
            break
    try:
        yield
    finally:
        if held:
            with contextlib.suppress(OSError):  # closed by a rotation: given back with it
                fcntl.flock(descriptor, fcntl.LOCK_UN)


def _last_line(descriptor: int) -> bytes | None:
    size = os.fstat(descriptor).st_size
    at = max(0, size - _TAIL)
    lines = os.pread(descriptor, size - at, at).splitlines()
    return lines[-1] if lines else None


def head_path(path: Path) -> Path:
    """Where the newest line is remembered."""
    return path.with_name(f"{path.stem}.head")


def _head(path: Path) -> tuple[int, str] | None:
    content = read_json(head_path(path)) or {}
    number, digest = _number(content.get("n")), content.get("digest")
    return (number, digest) if number and isinstance(digest, str) else None


def _number(value: object) -> int:
    """A line's number; 0 for what is none, as anybody may have written it."""
    return value if type(value) is int and 0 < value < NUMBER_END else 0


def plain(record: Record) -> Record:
    """The event without its place in the chain."""
    return {key: value for key, value in record.items() if key not in FIELDS}


# ---- checking ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Verdict:
    """What was found. `problems` is empty when all is well."""

    lines: int = 0
    chained: int = 0
    newest: int = 0
    head: int = 0
    problems: list[str] = field(default_factory=list)


def verify_events(path: Path) -> Verdict:
    """Checks every kept line, oldest first, rotated files included."""
    head = _head(path)
    verdict = Verdict(head=head[0] if head is not None else 0)
    recent: list[str] = []
    for file, number, line in _lines(path):
        verdict.lines += 1
        record = _parsed(line)
        if record is None:
            verdict.problems.append(f"{file.name}, line {number}, is damaged: it is no event")
        else:
            _check(verdict, path, file, number, record, recent)
            if head is not None and record.get("n") == head[0] and digest_of(line) != head[1]:
                verdict.problems.append(
                    f"{_where(file, number, record)} is not the line that {head_path(path).name} remembers"
                )
        recent = [*recent[-_LINES_BACK:], digest_of(line)]
    _judge_head(verdict, path)
    return verdict


def _check(verdict: Verdict, path: Path, file: Path, number: int, record: Record, recent: list[str]) -> None:
    if not _number(record.get("n")) or not isinstance(record.get("chain"), str):
        if verdict.chained:
            verdict.problems.append(f"{_where(file, number, record)} is in no chain: it was put in later")
        return
    first = verdict.chained == 0 and not recent
    retired = first and rotated(path, KEPT).exists()  # older lines went with their file
    if first and not retired and record["n"] > 1:
        verdict.problems.append(
            f"the {record['n'] - 1} lines before {_where(file, number, record)} are missing"
        )
    elif not first and record["chain"] not in recent:
        verdict.problems.append(
            f"{_where(file, number, record)} does not follow the line before it: "
            "that one was changed, or lines between them are missing"
        )
    elif verdict.chained and record["n"] > verdict.newest + 1:
        verdict.problems.append(
            f"{_where(file, number, record)}: {record['n'] - verdict.newest - 1} lines are missing before it"
        )
    verdict.chained += 1
    verdict.newest = max(verdict.newest, record["n"])


def _judge_head(verdict: Verdict, path: Path) -> None:
    name = head_path(path).name
    if verdict.head > verdict.newest:
        verdict.problems.append(
            f"{verdict.head - verdict.newest} lines are missing at the end of {path.name}: "
            f"{name} remembers {verdict.head}"
        )
    elif verdict.chained and not verdict.head:
        verdict.problems.append(f"{name} is missing: whether lines are missing at the end cannot be told")


def _lines(path: Path) -> Iterator[tuple[Path, int, bytes]]:
    for index in range(KEPT, -1, -1):
        file = rotated(path, index)
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            yield file, number, line


def _parsed(line: bytes) -> Record | None:
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _where(file: Path, number: int, record: Record) -> str:
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(record["wall_ns"]) // 1_000_000_000))
    except (KeyError, TypeError, ValueError, OverflowError):
        when = "no time"
    return f"{file.name}, line {number} ({record.get('name', '?')}, {when})"
