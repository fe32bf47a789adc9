"""Append-only JSON-lines files: the events and the fills, one object a line.

A line is written with one write(2) on an O_APPEND descriptor, so several processes may append, and
a process killed in the middle leaves at most one torn last line, which the next writer cuts off.
Files are bounded: at `limit_bytes` the file becomes `.1`, `.1` becomes `.2`, and so on.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from control.shapes import INT64, Shape, has_shape

Record = dict[str, Any]
READ_MAX = 64 << 20
_BLOCK = 65536


class RecordFile:
    """One JSON-lines file with rotation. `kept` rotated files stay beside the current one."""

    def __init__(self, path: Path, limit_bytes: int = 16 << 20, kept: int = 3) -> None:
        self.path = path
        self._limit = limit_bytes
        self._kept = kept
        self._descriptor = -1

    def open(self) -> None:
        """Open for appending, cutting off a torn last line. OSError passes through."""
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _cut_torn_line(self._descriptor)

    def close(self) -> None:
        """Close; harmless when not open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def append(self, record: Record) -> None:
        """Append one record; opens and rotates as needed. OSError passes through (a full disk)."""
        if self._descriptor < 0:
            self.open()
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if os.fstat(self._descriptor).st_size + len(line) > self._limit:
            self._rotate()
        written = os.write(self._descriptor, line)
        if written != len(line):
            _cut_torn_line(self._descriptor)
            raise OSError(errno.ENOSPC, f"only a part of a record could be written to {self.path}")

    def sync(self) -> None:
        """Make everything appended so far durable."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def _rotate(self) -> None:
        os.fsync(self._descriptor)
        self.close()
        for number in range(self._kept - 1, 0, -1):
            older = rotated(self.path, number)
            if older.exists():
                older.replace(rotated(self.path, number + 1))
        self.path.replace(rotated(self.path, 1))
        self.open()


def rotated(path: Path, number: int) -> Path:
    """The name of the n-th rotated file: events.jsonl, events.jsonl.1, events.jsonl.2 …"""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def _cut_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    keep = size
    while keep > 0:
        step = min(4096, keep)
        block = os.pread(descriptor, step, keep - step)
        newline = block.rfind(b"\n")
        if newline >= 0:
            keep = keep - step + newline + 1
            break
        keep -= step
    os.ftruncate(descriptor, keep)


def read_records(path: Path, kept: int = 3) -> Iterator[Record]:
    """Every whole record, oldest first, rotated files included; damaged lines are passed over."""
    for number in range(kept, -1, -1):
        try:
            with rotated(path, number).open("rb") as file:
                for line in file:
                    record = _parsed(line, None)
                    if record is not None:
                        yield record
        except FileNotFoundError:
            continue


def last_records(path: Path, count: int, kept: int = 3, shape: Shape = None) -> list[Record]:
    """The newest `count` records, oldest first. Reads from the end, so the size of the files does not
    matter. Lines of another shape are passed over, as damaged ones are."""
    found: list[Record] = []
    for number in range(kept + 1):
        if len(found) < count:
            try:
                found = _tail(rotated(path, number), count - len(found), shape) + found
            except OSError:  # a view shows what it can
                continue
    return found


def _tail(path: Path, count: int, shape: Shape) -> list[Record]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        at = os.fstat(descriptor).st_size
        data = b""
        # One newline more than lines wanted: the first piece of the block may be half a line.
        while at > 0 and data.count(b"\n") <= count:
            step = min(_BLOCK, at)
            at -= step
            data = os.pread(descriptor, step, at) + data
    finally:
        os.close(descriptor)
    lines = data.splitlines(keepends=True)
    if at > 0:
        del lines[0]
    return [record for line in lines if (record := _parsed(line, shape)) is not None][-count:]


def _parsed(line: bytes, shape: Shape) -> Record | None:
    if not line.endswith(b"\n"):
        return None
    record = parsed_json(line)
    if not isinstance(record, dict) or (shape is not None and not has_shape(record, shape)):
        return None
    return record


def parsed_json(text: str | bytes) -> Any:
    """The value, or None when it is not JSON, nested without end, or has a number that is none of ours."""
    try:
        return json.loads(text, parse_int=_int64, parse_float=_finite, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None


def _int64(text: str) -> int:
    number = int(text)
    if not -INT64 <= number < INT64:
        raise ValueError("a number beyond 64 bits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond all bounds")
    return number


def _refused(text: str) -> float:
    raise ValueError(f"{text} is no number")


def write_atomically(path: Path, content: Record, *, durable: bool = False) -> None:
    """Replace a small JSON file whole: readers see the old or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    data = json.dumps(content, indent=1).encode() + b"\n"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, f"only a part of {path} could be written")
        if durable:
            os.fsync(descriptor)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    temporary.replace(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename or creation in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, shape: Shape = None) -> Record | None:
    """A JSON object from a file, or None when it is missing, not one, or not of the shape."""
    try:
        content = parsed_json(read_plain(path))
    except (OSError, ValueError):  # a name that is none, as of one with a NUL in it, is that of no file
        return None
    if not isinstance(content, dict) or (shape is not None and not has_shape(content, shape)):
        return None
    return content


def read_plain(path: Path, *, private: bool = False) -> bytes:
    """What a plain file holds, up to a bound. OSError when it is none: nothing here waits for a pipe, or
    reads a device without end. private: it must be ours, 0600, and no link, else PermissionError."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if private else 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, f"{path} is no plain file")
        if private and (info.st_uid != os.geteuid() or info.st_mode & 0o077):
            raise PermissionError(errno.EPERM, f"{path} is not ours alone")
        return file.read(READ_MAX)
