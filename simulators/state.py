"""A simulator's memory on disk: one append-only file of JSON lines.

A record is handed to the kernel with one write before the client is answered, so a killed simulator
comes back with everything it ever confirmed. A machine crash is not covered (no fsync).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec


class StateError(Exception):
    """The state folder cannot be used; the text says what to do."""


class StateFolder:
    """A locked folder with `events.jsonl` in it; one process owns it at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StateError(
                f"another simulator uses {folder}: stop it, or give --state another folder"
            ) from error
        self.records = 0
        self._path = folder / "events.jsonl"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def replay(self) -> Iterator[dict[str, Any]]:
        """Every record in order. A torn last line (killed while writing) is cut off the file."""
        good = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                try:
                    record = msgspec.json.decode(line)
                except msgspec.DecodeError as error:
                    raise StateError(f"{self._path} is damaged at byte {good}: delete the folder") from error
                good += len(line)
                self.records += 1
                yield record
        os.ftruncate(self._file, good)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record; returns after the kernel has it."""
        line = msgspec.json.encode(record) + b"\n"
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, line)
        except OSError:
            written = 0
        if written != len(line):
            os.ftruncate(self._file, before)
            raise StateError(f"{self._path} could not be written: make room on the disk")
        self.records += 1

    def rewrite(self, records: Iterable[dict[str, Any]]) -> None:
        """Replace the whole file by these records, atomically."""
        partial = self.folder / "events.jsonl.new"
        lines = [msgspec.json.encode(record) + b"\n" for record in records]
        with partial.open("wb") as file:
            file.writelines(lines)
        os.replace(partial, self._path)
        os.close(self._file)
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self.records = len(lines)

    def forget_document(self, name: str) -> None:
        """Remove `<folder>/<name>` when it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def write_document(self, name: str, document: Any) -> None:
        """Replace `<folder>/<name>` by this JSON document, atomically."""
        partial = self.folder / f"{name}.new"
        partial.write_text(json.dumps(document, indent=1) + "\n")
        os.replace(partial, self.folder / name)

    def read_document(self, name: str) -> Any:
        """The document written before, or None."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads((self.folder / name).read_text())
        return None
