"""The chain over events.jsonl: every change of a kept line shows, and says where."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
from pathlib import Path

import pytest

from control.event_chain import ChainedFile, head_path, verify_events
from control.recorder import EventLog, recorded_events, write_event


def written(folder: Path, count: int) -> Path:
    """So many events in one file."""
    log = EventLog(folder)
    for number in range(count):
        log.write("supervisor", "budget_set", value=number)
    log.close()
    return folder / "events.jsonl"


def problems(path: Path) -> str:
    """All sentences in one."""
    return " | ".join(verify_events(path).problems)


def test_untouched_events_are_whole_and_shown_without_their_place_in_the_chain(tmp_path: Path) -> None:
    """Twenty events of two writers verify; readers see the fields that were written."""
    path = written(tmp_path, 10)
    for number in range(10):
        write_event(tmp_path, "operator", "kill_requested", reason=str(number))
    verdict = verify_events(path)
    assert (verdict.problems, verdict.lines, verdict.chained, verdict.head) == ([], 20, 20, 20)
    assert set(recorded_events(tmp_path, 1)[0]) == {"wall_ns", "source", "level", "name", "reason"}


def test_any_changed_byte_is_named_with_its_line(tmp_path: Path) -> None:
    """One byte of any line changed: the line itself, the one behind it, or the head's sentence names it."""
    path = written(tmp_path, 12)
    content, rng = path.read_bytes(), random.Random(20261128)
    for _ in range(200):
        at = rng.randrange(len(content))
        if content[at : at + 1] == b"\n":
            continue
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(7)
        if changed[at] == 0x0A:
            continue
        path.write_bytes(changed)
        line = content[:at].count(b"\n") + 1
        said = problems(path)
        assert f"line {line}" in said or f"line {line + 1}" in said, (at, said)
    path.write_bytes(content)
    assert problems(path) == ""


@pytest.mark.parametrize(
    ("cut", "words"), [(1, "1 lines are missing at the end"), (5, "5 lines are missing")]
)
def test_a_cut_end_is_told_by_the_head(tmp_path: Path, cut: int, words: str) -> None:
    """Lines missing at the end are counted; the next line that is written does not hide it."""
    path = written(tmp_path, 12)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-cut]))
    assert words in problems(path)
    write_event(tmp_path, "operator", "resumed")
    assert f"line {13 - cut}" in problems(path)


def test_a_line_left_out_and_one_put_in_are_told(tmp_path: Path) -> None:
    """A missing line in the middle, and a foreign one, break the chain where they are."""
    path = written(tmp_path, 9)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4] + lines[5:]))
    assert "line 5" in problems(path)
    path.write_bytes(b"".join([*lines[:4], b'{"wall_ns":1,"name":"limit_raised"}\n', *lines[4:]]))
    assert "line 5 (limit_raised" in problems(path)


def test_a_deleted_file_or_head_is_told(tmp_path: Path) -> None:
    """Events that begin again after a loss say how many are missing; without the head that is said."""
    path = written(tmp_path, 7)
    path.unlink()
    assert "7 lines are missing at the end" in problems(path)
    write_event(tmp_path, "operator", "resumed")
    assert "the 7 lines before" in problems(path)
    other = tmp_path / "other"
    other.mkdir()
    path = written(other, 3)
    head_path(path).unlink()
    assert "events.head is missing" in problems(path)


def test_events_of_an_older_version_are_accepted_and_chained_on(tmp_path: Path) -> None:
    """Lines without a chain are kept as they are; what is written next covers the last of them."""
    path = tmp_path / "events.jsonl"
    path.write_text("".join(json.dumps({"wall_ns": n, "name": "started"}) + "\n" for n in range(5)))
    assert problems(path) == ""
    write_event(tmp_path, "operator", "resumed")
    write_event(tmp_path, "operator", "killed")
    assert problems(path) == ""
    path.write_bytes(path.read_bytes().replace(b'"wall_ns": 4', b'"wall_ns": 5'))
    assert "line 6" in problems(path)


def test_the_chain_goes_over_rotated_files_and_their_retirement(tmp_path: Path) -> None:
    """Rotation carries the chain into the next file; what was retired is not missed."""
    path = tmp_path / "events.jsonl"
    file = ChainedFile(path, limit_bytes=2000)
    for number in range(20):
        file.append({"wall_ns": number, "name": "started"})
    assert path.with_name("events.jsonl.1").exists() and problems(path) == ""
    for number in range(200):
        file.append({"wall_ns": number, "name": "started"})
    file.close()
    assert problems(path) == "" and verify_events(path).head == 220
    path.with_name("events.jsonl.1").unlink()
    assert "does not follow" in problems(path)


def _write_many(folder: Path) -> None:
    log = EventLog(folder)
    for number in range(100):
        log.write("child", "noted", number=number)
    log.close()


def test_several_writers_keep_one_chain(tmp_path: Path) -> None:
    """Four processes write at once: every line is there and the chain holds."""
    children = [
        multiprocessing.get_context("spawn").Process(target=_write_many, args=(tmp_path,)) for _ in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    verdict = verify_events(tmp_path / "events.jsonl")
    assert verdict.problems == [] and verdict.lines == 400


def test_a_writer_that_holds_the_lock_for_good_stops_nobody(tmp_path: Path) -> None:
    """With the lock held by another, an event is written all the same, and the chain holds."""
    path = written(tmp_path, 3)
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    write_event(tmp_path, "operator", "kill_requested")
    os.close(holder)
    write_event(tmp_path, "operator", "resumed")
    assert verify_events(path).lines == 5 and problems(path) == ""


@pytest.mark.parametrize(
    "number", ['"x"', "true", "null", "1.5", "[]", "-1", "1e400", "9" * 30, "9" * 4300, "[" * 50_000]
)
@pytest.mark.parametrize("head", ["kept", "lost", "spoilt"])
def test_a_last_line_with_any_number_ends_no_write(tmp_path: Path, number: str, head: str) -> None:
    """Whatever somebody wrote in place of the newest line's number, the next event is written and read."""
    path = written(tmp_path, 1)
    with path.open("a") as file:
        file.write(f'{{"wall_ns":1,"source":"x","level":"info","name":"x","n":{number},"chain":1}}\n')
    if head == "lost":
        head_path(path).unlink()
    if head == "spoilt":
        head_path(path).write_text(f'{{"n":{number},"digest":"x"}}')
    write_event(tmp_path, "control", "kill_finished", text="done")
    assert recorded_events(tmp_path, 1)[0]["text"] == "done"
    assert problems(path)
