"""Which venue is asked about whose orders, at which address and with which key: for every command.

Each participant records at its start where it trades (bridge/access.py), and its line of the ledger names
the record by its fingerprint. Everything here follows from that, never from a configuration file that may
have changed since, nor from whatever simulator happens to run:

    the record that the ledger names              that place; the key from the file or ready line named in it
                                                  (also when a few bits of the name were flipped there)
    another record than the ledger names          asked all the same, and said to be unverified
    no record, but reservations at the venue      unverified
    no record and no reservation                  what runs or ran in our own folders: the settings that the
                                                  running process names, else the simulator of this home

A simulator's port changes when it starts again; its account does not. It is known by its ready line and by
the key in it, so its address is read there, and with the runtime folder gone from its own open output.
Nothing of this needs a person: keys are files (0600) or stand in a ready line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import access as records
from bridge.access import Record
from control import flight, processes, words
from control.processes import FoundProcess
from control.records import parsed_json, read_json, read_plain

if TYPE_CHECKING:
    from bridge.paths import Paths

# Two fingerprints differ in about half of their 64 bits; damage to the ledger flips a few.
_BITS_APART = 4
_ADDRESS = {"binance": "rest", "polymarket": "clob"}
_VENUE_OF = {owner: venue for venue, owner in words.OWNERS.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """An account at a venue, as a participant of ours used it."""

    participant: str
    venue: str
    ready: Record | None = None  # for venues.open_venue: endpoints and credentials; None: cannot be asked
    problem: str = ""  # why what it answers does not count as verified
    environment: str = "paper"
    simulator: bool = True
    fingerprint: int = 0  # of the record; 0: there is none. Equal ones: the participant has not run since
    started_wall_ns: int = 0  # of the run that the record is of
    symbols: tuple[str, ...] = ()
    earlier: bool = False  # used by an earlier run, not by the present one

    @property
    def where(self) -> str:
        """What a report says behind the venue's name: nothing for a simulator of ours."""
        if self.simulator:
            return ""
        address = (self.ready or {}).get(_ADDRESS.get(self.venue, ""))
        return f" at {address}" if address else ""


@dataclass(frozen=True, slots=True)
class _Kept:
    """One record file."""

    path: Path
    content: bytes
    record: Record

    @property
    def started(self) -> int:
        return int(self.record.get("run", {}).get("started_wall_ns", 0))


def at(paths: Paths, venue: str) -> Place:
    """Where its owner trades at this venue now, or did last; see Place for what could not be found out."""
    return _present(paths, words.OWNERS[venue], flight.read(paths), processes.find_ours(paths.runtime))


def places(paths: Paths, seen: flight.Flight, found: Iterable[FoundProcess]) -> list[Place]:
    """Every place with orders or positions of ours: the present ones of all participants, then those of
    earlier runs. `seen` and `found`: what the ledger and /proc said at the instant that is asked about."""
    running = list(found)
    there, before = [], []
    for participant, venue in zip(words.OWNERS.values(), words.OWNERS, strict=True):
        try:
            there.append(_present(paths, participant, seen, running))
            before += _earlier(paths, participant)
        except Exception as error:  # whatever its files hold, the other participant's places must be known
            problem = f"where {participant} trades cannot be read ({type(error).__name__}: {error})"
            there = [place for place in there if place.participant != participant]
            there.append(Place(participant, venue, read_json(paths.sim_ready(venue)), problem))
    return there + before


def _present(paths: Paths, participant: str, seen: flight.Flight, found: list[FoundProcess]) -> Place:
    venue = _VENUE_OF[participant]
    named = seen.line(participant).fingerprint
    kept, problem = _read(paths, participant)
    match = _named(kept, named)
    newest = _newest(kept)
    if match is not None:
        return _resolve(paths, participant, match, found, "")
    if seen.problem:  # what it names may be anything
        named = 0
    if newest is not None:
        if named:
            problem = f"the record {newest.path} of where {participant} trades is not the one in the ledger"
        else:
            problem = ""
        return _resolve(paths, participant, newest, found, problem)
    if named or seen.at(venue):
        problem = problem or f"there is no record of where {participant} traded"
    return _without_record(paths, participant, found, problem)


def _read(paths: Paths, participant: str) -> tuple[list[_Kept], str]:
    """The records of the last run and of the one before, in both folders; and what could not be read."""
    found, problem = [], ""
    for folder in records.folders(paths):
        for name in (f"{participant}.json", f"{participant}.before.json"):
            path = folder / name
            try:
                content = records.read_bytes(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                problem = f"{path} cannot be read: {error.strerror}"
                continue
            record = records.parsed(content)
            if record is None or record["venue"] != _VENUE_OF.get(participant):
                problem = f"{path} is damaged"
                continue
            found.append(_Kept(path, content, record))
    return found, problem


def _named(kept: list[_Kept], fingerprint: int) -> _Kept | None:
    """The record of this fingerprint, also when a few bits of it were flipped in the ledger."""
    apart = [(fingerprint ^ records.fingerprint(one.content)).bit_count() for one in kept]
    nearest = min(range(len(kept)), key=apart.__getitem__, default=None)
    return kept[nearest] if nearest is not None and apart[nearest] <= _BITS_APART else None


def _newest(kept: list[_Kept]) -> _Kept | None:
    return max(kept, key=lambda one: one.started, default=None)


def _earlier(paths: Paths, participant: str) -> list[Place]:
    """Accounts elsewhere that earlier runs used; a new run of the participant keeps their records."""
    present = {
        records.place_of(one.record) for one in _read(paths, participant)[0] if "before" not in one.path.name
    }
    found: dict[str, _Kept] = {}
    folder = records.folders(paths)[0]
    for path in sorted(folder.glob(f"{participant}.*.json")):
        try:
            content = records.read_bytes(path)
        except OSError:
            continue
        record = records.parsed(content)
        if record is None or record["venue"] != _VENUE_OF[participant]:
            continue
        if not record.get("ready") and records.place_of(record) not in present:
            found[records.place_of(record)] = _Kept(path, content, record)
    return [_resolve(paths, participant, one, [], "", earlier=True) for one in found.values()]


# ---- from a record to an address and a key ------------------------------------------------------------


def _resolve(
    paths: Paths,
    participant: str,
    kept: _Kept,
    found: list[FoundProcess],
    problem: str,
    *,
    earlier: bool = False,
) -> Place:
    record = kept.record
    venue, key = record["venue"], record["key"]
    endpoints = {name: text for name, text in record["endpoints"].items() if isinstance(text, str) and text}
    simulator = bool(record.get("ready"))
    credentials, why, ready = _credentials(paths, venue, key, found)
    if simulator and ready is not None:
        endpoints = {**endpoints, **{name: text for name, text in ready.items() if isinstance(text, str)}}
    address = {**endpoints, "credentials": credentials} if credentials is not None else None
    return Place(
        participant=participant,
        venue=venue,
        ready=address if address is not None else {**endpoints, "credentials": {}},
        problem=problem or why,
        environment=str(record.get("environment")),
        simulator=simulator,
        fingerprint=records.fingerprint(kept.content),
        started_wall_ns=kept.started,
        symbols=tuple(record.get("symbols", ())),
        earlier=earlier,
    )


def _credentials(
    paths: Paths, venue: str, key: Record, found: list[FoundProcess]
) -> tuple[Record | None, str, Record | None]:
    """The key that was used, why it cannot be had, and the ready line that it stands in."""
    if key.get("file"):
        content = read_private(Path(key["file"]))
        if _is_key(content, key):
            return content, "", None
        return None, f"{key['file']} does not hold the key that was used", None
    lines = [_line(Path(str(key.get("ready")))), *_lines_of_processes(venue, found)]
    for line in lines:
        if line is not None and _is_key(line.get("credentials"), key):
            return line["credentials"], "", line
    if lines[0] is not None:
        return None, f"{key.get('ready')} does not hold the key that was used", None
    return None, "its address is not known", None


def _is_key(credentials: object, key: Record) -> bool:
    api_key = credentials.get("api_key") if isinstance(credentials, dict) else None
    return isinstance(api_key, str) and records.key_fingerprint(api_key) == key.get("fingerprint")


def _line(path: Path) -> Record | None:
    return read_json(path)


def _lines_of_processes(venue: str, found: list[FoundProcess]) -> list[Record | None]:
    """With the runtime folder gone, the ready line is still in the simulator's open stdout."""
    pids = [entry.process.pid for entry in found if entry.name == f"sim-{venue}"]
    return [_line(Path(f"/proc/{pid}/fd/1")) for pid in pids]


def read_private(path: Path) -> Record:
    """A file of keys, as strictly as the engine reads it: ours, 0600, no link. Empty otherwise."""
    try:
        content = parsed_json(read_plain(path, private=True))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# ---- without a record ---------------------------------------------------------------------------------


def _without_record(paths: Paths, participant: str, found: list[FoundProcess], problem: str) -> Place:
    """Nothing was recorded: what runs, or lies, in our own folders. With reservations that is only asked
    in addition: `problem` says so."""
    venue = _VENUE_OF[participant]
    for entry in found:
        if entry.name == participant and (named := _by_settings(paths, entry)) is not None:
            return Place(participant, venue, named, problem, environment="", simulator=False)
    lines = [_line(paths.sim_ready(venue)), *_lines_of_processes(venue, found)]
    ready = next((line for line in lines if line is not None), None)
    return Place(participant, venue, ready, problem)


def _by_settings(paths: Paths, entry: FoundProcess) -> Record | None:
    """Where a running process works, when the settings named in its command line name a venue instead of a
    simulator: as the venue's ready line would tell it, with the key that it uses."""
    arguments = processes.arguments_of(entry.process)
    named = [value for option, value in pairwise(arguments) if option == "--config"]
    settings = read_json(Path(f"/proc/{entry.process.pid}/cwd") / named[-1]) if named else None
    endpoints = (settings or {}).get("endpoints")
    address = _ADDRESS[_VENUE_OF[entry.name]]
    if not isinstance(endpoints, dict) or "simulator" in endpoints or address not in endpoints:
        return None
    credentials = (settings or {}).get("credentials")
    file = credentials.get("file") if isinstance(credentials, dict) else None
    texts = {name: text for name, text in endpoints.items() if isinstance(text, str)}
    return {**texts, "credentials": read_private(paths.home / file) if isinstance(file, str) else {}}
