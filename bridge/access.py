"""Where a participant trades, in which environment and with which key: a record that outlives it.

Each participant writes one JSON object when it starts, 0600 and whole, into the home of its mode and into
the runtime folder, and puts the fingerprint of those bytes into its line of the ledger. So it is known with
everything else dead, and with either folder gone, which venue has to be asked about its orders. The engine
writes the same in C (access_record.h).

No secret is in it: the key is told by the path of its file, or of the ready line that carries it, and by a
fingerprint of its public half. Written by each run anew (generation, pid and time differ), so that equal
fingerprints also mean that the participant has not run since.

    participant, venue, mode, environment
    endpoints   as they stand in the venue's ready line: rest, ws, ws_api; clob, ws, …; ca
    ready       the ready line that the endpoints came from; "" when they were configured
    key         ready: the ready line that holds the key, or file: the key file; fingerprint
    symbols     what it trades, where the venue's cancel-all needs names
    run         generation, pid, started_wall_ns

The record before it stays as NAME.before.json: a participant that died between its two steps (record, then
ledger) has sent nothing yet, and the ledger still names the one before. One that traded elsewhere, not at
a simulator of this machine, is kept for good as NAME.<fingerprint>.json: orders and positions may rest
there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.paths import Paths, PathsError, private_folder

Record = dict[str, Any]
FOLDER = "access"
BYTES_MAX = 16_384


def fingerprint(content: bytes) -> int:
    """The first 64 bits of SHA-256, as they stand in the ledger; never 0, which means "not said"."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") or 1


def key_fingerprint(api_key: str) -> str:
    """Tells one key from another without telling the key."""
    return hashlib.sha256(api_key.encode(errors="surrogatepass")).hexdigest()[:16]


def folders(paths: Paths) -> tuple[Path, Path]:
    """Where records lie: durable, and beside the ledger."""
    return paths.mode_home / FOLDER, paths.runtime / FOLDER


def place_of(record: Record) -> str:
    """The account at a venue, as one text: a simulator by its ready line, whose port changes; anything
    else by address and key."""
    if record.get("ready"):
        return f"{record.get('venue')} simulator {record['ready']}"
    endpoints, key = record.get("endpoints") or {}, record.get("key") or {}
    address = endpoints.get("rest") or endpoints.get("clob")
    return f"{record.get('venue')} {address} key {key.get('fingerprint')}"


@dataclass(frozen=True, slots=True)
class Access:
    """What a participant knows of its own way to a venue."""

    participant: str
    venue: str
    mode: str
    environment: str
    endpoints: dict[str, str]
    api_key: str
    ready: str = ""
    key_ready: str = ""
    key_file: str = ""
    symbols: tuple[str, ...] = field(default=())


def write(paths: Paths, access: Access, generation: int, wall_ns: int) -> int:
    """Record it in both folders; the fingerprint for the ledger. OSError when neither could be written."""
    record: Record = {
        "schema_version": 1,
        "participant": access.participant,
        "venue": access.venue,
        "mode": access.mode,
        "environment": access.environment,
        "endpoints": access.endpoints,
        "ready": access.ready,
        "key": {
            "ready": access.key_ready,
            "file": access.key_file,
            "fingerprint": key_fingerprint(access.api_key),
        },
        "symbols": list(access.symbols),
        "run": {"generation": generation, "pid": os.getpid(), "started_wall_ns": wall_ns},
    }
    content = json.dumps(record, sort_keys=True, indent=1).encode() + b"\n"
    failures: list[OSError] = []
    for folder, durable in zip(folders(paths), (True, False), strict=True):
        try:
            private_folder(folder)
            _keep_before(folder, access.participant, place_of(record))
            _replace(folder / f"{access.participant}.json", content, durable)
        except PathsError as error:
            failures.append(OSError(str(error)))
        except OSError as error:
            failures.append(error)
    if len(failures) == 2:
        raise failures[0]
    return fingerprint(content)


def _keep_before(folder: Path, participant: str, place: str) -> None:
    """The record that is about to be replaced stays as the one before; for good when it is elsewhere."""
    path = folder / f"{participant}.json"
    with contextlib.suppress(FileNotFoundError):
        content = read_bytes(path)
        before = parsed(content)
        if before is not None and not before.get("ready") and place_of(before) != place:
            _replace(folder / f"{participant}.{fingerprint(content):016x}.json", content, durable=True)
        path.replace(folder / f"{participant}.before.json")


def _replace(path: Path, content: bytes, durable: bool) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_bytes(path: Path) -> bytes:
    """A record's bytes: a file of ours, no link, of a sane size. OSError; FileNotFoundError when missing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        plain = stat.S_ISREG(info.st_mode)
        if not plain or info.st_uid != os.geteuid() or info.st_mode & 0o022 or info.st_size > BYTES_MAX:
            raise PermissionError(1, "it is not a file of ours alone", str(path))
        return file.read(BYTES_MAX)


def parsed(content: bytes) -> Record | None:
    """The record in the bytes, or None when they are none: whoever reads one may rely on each field."""
    try:
        record = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _is_record(record) else None


def _is_record(record: Record) -> bool:
    endpoints, key, run = record.get("endpoints"), record.get("key"), record.get("run", {})
    symbols = record.get("symbols", [])
    if not (isinstance(endpoints, dict) and isinstance(key, dict) and isinstance(run, dict)):
        return False
    if not isinstance(symbols, list) or not isinstance(record.get("venue"), str):
        return False
    texts = [*symbols, *(key.get(name, "") for name in ("ready", "file", "fingerprint"))]
    texts += [record.get(name, "") for name in ("participant", "mode", "environment", "ready")]
    numbers = [run.get(name, 0) for name in ("generation", "pid", "started_wall_ns")]
    return all(map(_is_text, texts)) and all(type(number) is int for number in numbers)


def _is_text(value: object) -> bool:
    """A string that can be a path and can be written down: no NUL in it, and no half of a character."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
