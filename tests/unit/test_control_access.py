"""Which venue is asked, and with which key: by the records that participants leave, never by chance."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bridge import access as records
from bridge.access import Access
from bridge.ledger import ZERO, Amounts, Ledger
from bridge.messages import ParticipantRole
from bridge.paths import Paths
from control import access, exposure, flight
from control.records import write_atomically

KEYS = {"api_key": "key-one", "api_secret": "s"}
REST = "https://test.example"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Folders of their own, with a ledger in them that nobody holds."""
    made = Paths(tmp_path / "home", tmp_path / "run", "paper")
    made.create()
    Ledger.create(made.ledger, Amounts(10**9, 10**9)).close()
    return made


def configured(paths: Paths, keys: dict[str, str] = KEYS, rest: str = REST, **changes: Any) -> Access:
    """An engine whose settings name a venue and a key file."""
    file = paths.keys / "binance.json"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(file, keys)
    known = {
        "participant": "engine", "venue": "binance", "mode": "paper", "environment": "testnet",
        "endpoints": {"rest": rest}, "api_key": keys["api_key"], "key_file": str(file),
        "symbols": ("BTCUSDT",),
    }  # fmt: skip
    return Access(**{**known, **changes})


def simulated(paths: Paths, keys: dict[str, str] = KEYS, rest: str = "http://127.0.0.1:1") -> Access:
    """An engine at the simulator of this home, whose ready line lies there."""
    line = str(paths.sim_ready("binance"))
    write_atomically(paths.sim_ready("binance"), {"rest": rest, "credentials": keys, "admin": "http://a"})
    return Access("engine", "binance", "paper", "paper", {"rest": rest}, keys["api_key"], line, line)


def run(paths: Paths, where: Access, wall_ns: int = 1) -> int:
    """What a participant does at its start: join, record, name the record. Its fingerprint."""
    with Ledger.open(paths.ledger) as ledger:
        generation = ledger.join(ParticipantRole.ENGINE)
        fingerprint = records.write(paths, where, generation, wall_ns)
        ledger.set_access(fingerprint)
        ledger.rebuild(ZERO, ZERO)
        ledger.leave()
    return fingerprint


def test_the_recorded_place_is_asked_whatever_a_ready_line_says(paths: Paths) -> None:
    """Settings named a venue: a simulator of this home that happens to run is not asked instead."""
    fingerprint = run(paths, configured(paths))
    write_atomically(paths.sim_ready("binance"), {"rest": "http://127.0.0.1:1", "credentials": KEYS})
    place = access.at(paths, "binance")
    assert not place.problem and place.where == f" at {REST}" and place.environment == "testnet"
    assert place.ready is not None and place.ready["rest"] == REST and place.ready["credentials"] == KEYS
    assert place.fingerprint == fingerprint and place.symbols == ("BTCUSDT",)


@pytest.mark.parametrize("lost", ["home", "runtime"])
def test_either_folder_is_enough(paths: Paths, lost: str) -> None:
    """The record lies in both: with the runtime folder gone, or the one in the home, the place is known."""
    run(paths, configured(paths))
    home, runtime = records.folders(paths)
    (folder := home if lost == "home" else runtime).joinpath("engine.json").unlink()
    folder.rmdir()
    if lost == "runtime":
        paths.ledger.unlink()
    place = access.at(paths, "binance")
    assert not place.problem and place.where == f" at {REST}"


def test_another_record_than_the_ledger_names_is_unverified(paths: Paths) -> None:
    """It is said which one, and it is still told where to cancel."""
    run(paths, configured(paths))
    for folder in records.folders(paths):
        content = json.loads((folder / "engine.json").read_text())
        write_atomically(folder / "engine.json", {**content, "environment": "live"})
    place = access.at(paths, "binance")
    assert "engine.json" in place.problem and "not the one in the ledger" in place.problem
    assert place.ready is not None


@pytest.mark.parametrize("bits", [[0], [37], [5, 6, 7, 63]])
def test_a_few_flipped_bits_of_the_name_in_the_ledger_hide_no_record(paths: Paths, bits: list[int]) -> None:
    """No other record is so near, so that it is verified all the same, and the halt can be lifted."""
    fingerprint = run(paths, configured(paths))
    with Ledger.open(paths.ledger) as ledger:
        ledger.join(ParticipantRole.ENGINE)
        ledger.set_access(fingerprint ^ sum(1 << bit for bit in bits))
        ledger.leave()
    place = access.at(paths, "binance")
    assert not place.problem and place.fingerprint == fingerprint and place.where == f" at {REST}"


def test_reservations_without_a_record_are_unverified(paths: Paths) -> None:
    """A participant with orders at a venue, of which nothing says where it traded."""
    run(paths, simulated(paths))
    for folder in records.folders(paths):
        (folder / "engine.json").unlink()
    assert "no record" in access.at(paths, "binance").problem


def test_a_participant_that_died_before_it_named_its_record_sent_nothing_there(paths: Paths) -> None:
    """Between its two steps the ledger names the record before: that place has the orders."""
    run(paths, simulated(paths))
    records.write(paths, configured(paths), 2, 2)
    place = access.at(paths, "binance")
    assert not place.problem and place.simulator and place.ready is not None
    assert place.ready["rest"] == "http://127.0.0.1:1"


def test_a_simulator_is_known_by_its_key_and_not_by_its_port(paths: Paths) -> None:
    """It comes back at another port with the same account; one with another account is not asked."""
    run(paths, simulated(paths))
    simulated(paths, rest="http://127.0.0.1:2")
    place = access.at(paths, "binance")
    assert place.ready is not None and place.ready["rest"] == "http://127.0.0.1:2" and not place.where
    simulated(paths, {"api_key": "another", "api_secret": "s"}, rest="http://127.0.0.1:3")
    place = access.at(paths, "binance")
    assert "does not hold the key that was used" in place.problem


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_key_file_that_changed_is_unverified(paths: Paths, mode: int) -> None:
    """The key of today would ask another account than the orders went to; so would one that others read."""
    where = configured(paths)
    run(paths, where)
    if mode == 0o600:
        write_atomically(Path(where.key_file), {"api_key": "key-two", "api_secret": "s"})
    Path(where.key_file).chmod(mode)
    assert "does not hold the key that was used" in access.at(paths, "binance").problem


@pytest.mark.parametrize("spoil", ["{", '{"venue": "kraken"}', "[]", "x" * 20_000])
def test_a_damaged_record_is_no_record(paths: Paths, spoil: str) -> None:
    """In one folder it does not matter, in both the ledger knows that there was one."""
    run(paths, configured(paths))
    home, runtime = records.folders(paths)
    (home / "engine.json").write_text(spoil)
    assert not access.at(paths, "binance").problem
    (runtime / "engine.json").write_text(spoil)
    assert "engine.json" in access.at(paths, "binance").problem


def test_an_account_of_an_earlier_run_is_asked_until_it_was_seen_empty(paths: Paths) -> None:
    """Yesterday on a test network, today at the simulator: what may still rest there is not forgotten, over
    any number of runs."""
    run(paths, configured(paths), 1)
    run(paths, simulated(paths), 2)
    run(paths, simulated(paths), 3)
    now, before = (p for p in access.places(paths, flight.read(paths), []) if p.venue == "binance")
    assert now.simulator and before.earlier and before.where == f" at {REST}"
    assert exposure.nothing_there(paths, "binance", before) is None
    exposure.note_empty(paths, "binance", before)
    assert "seen empty" in (exposure.nothing_there(paths, "binance", before) or "")
    assert exposure.nothing_there(paths, "binance", now) is None


def test_what_was_seen_empty_stays_so_until_the_next_run(paths: Paths) -> None:
    """Only a new run's record ends it: a file that was looked at, touched or left empty does not."""
    run(paths, simulated(paths), 1)
    exposure.note_empty(paths, "binance")
    assert "seen empty" in (exposure.nothing_there(paths, "binance") or "")
    (paths.engine_journal / "journal-00000009.bin").write_bytes(b"")
    assert "seen empty" in (exposure.nothing_there(paths, "binance") or "")
    run(paths, simulated(paths), 2)
    assert exposure.nothing_there(paths, "binance") is None


def test_the_record_holds_no_secret(paths: Paths) -> None:
    """Neither the key nor its secret; and nobody else may read it."""
    run(paths, configured(paths, {"api_key": "public-half", "api_secret": "canary-secret"}))
    for folder in records.folders(paths):
        file = folder / "engine.json"
        assert "canary-secret" not in file.read_text() and "public-half" not in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600 and folder.stat().st_mode & 0o777 == 0o700


DEEP = "[" * 4000 + "]" * 4000
BAD_FIELDS: list[dict[str, Any]] = [
    {"symbols": 7}, {"symbols": [1]}, {"symbols": {"a": 1}}, {"key": {"file": "a\0b"}},
    {"key": {"ready": "a\0b"}},
    {"key": {"file": 7}}, {"key": []}, {"endpoints": 7}, {"run": 7}, {"run": {"started_wall_ns": "1"}},
    {"ready": "a\0b"}, {"ready": ["a"]}, {"venue": 7}, {"environment": {}}, {"key": {"ready": "\ud800"}},
]  # fmt: skip


@pytest.mark.parametrize("changed", BAD_FIELDS)
@pytest.mark.parametrize("name", ["engine.json", "engine.00000000000000ff.json"])
def test_a_record_with_a_field_of_another_kind_is_no_record(
    paths: Paths, changed: dict[str, Any], name: str
) -> None:
    """Present or of an earlier run: it says nothing, and both venues' places are told of."""
    run(paths, configured(paths))
    for folder in records.folders(paths):
        content = json.loads((folder / "engine.json").read_text())
        write_atomically(folder / name, {**content, **changed})
    found = access.places(paths, flight.read(paths), [])
    assert {place.venue for place in found} == {"binance", "polymarket"}
    present = next(place for place in found if place.venue == "binance")
    assert bool(present.problem) == (name == "engine.json"), present.problem


@pytest.mark.parametrize("content", ["[" * 100_000, '{"key":' * 2000, DEEP, "7", '{"api_key": "\\ud800"}'])
def test_a_record_or_a_key_nested_without_end_is_none(paths: Paths, content: str) -> None:
    """Neither ends a command: the place is said to be unverified."""
    where = configured(paths)
    run(paths, where)
    Path(where.key_file).write_text(content)
    assert "does not hold the key that was used" in access.at(paths, "binance").problem
    for folder in records.folders(paths):
        (folder / "engine.json").write_text(content[:16_000])
    assert "engine.json" in access.at(paths, "binance").problem


@pytest.mark.parametrize("held", [False, True])
def test_a_pipe_where_a_file_should_be_is_not_waited_for(paths: Paths, held: bool) -> None:
    """In place of the key file, and of the record: with a writer at its other end, and without."""
    where = configured(paths)
    run(paths, where)
    pipe = Path(where.key_file)
    pipe.unlink()
    os.mkfifo(pipe, 0o600)
    writers = [os.open(pipe, os.O_RDWR)] if held else []
    assert "does not hold the key that was used" in access.at(paths, "binance").problem
    for folder in records.folders(paths):
        (folder / "engine.json").unlink()
        os.mkfifo(folder / "engine.json", 0o600)
        writers += [os.open(folder / "engine.json", os.O_RDWR)] if held else []
    assert "engine.json" in access.at(paths, "binance").problem
    for writer in writers:
        os.close(writer)
