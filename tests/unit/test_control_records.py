"""JSON-lines files, and fills that are kept exactly once."""

from __future__ import annotations

import os
from pathlib import Path

from bridge.ledger import client_order_id
from bridge.messages import PAGE_FILLS, PageFill, ParticipantRole
from bridge.page import PageWriter
from bridge.paths import Paths
from control import shared
from control.recorder import FILLS_FILE, FillRecorder, recorded_fills
from control.records import RecordFile, last_records, read_records, write_atomically


def make_paths(folder: Path) -> Paths:
    """Private folders for one test."""
    environment = {"PURSER_HOME": str(folder / "home"), "PURSER_RUNTIME": str(folder / "run")}
    return Paths.from_environment("paper", environment)


def test_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    """What a killed writer left of a line disappears, and the next record stands on its own line."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2,"text":"' + b"x" * 9000)
    file = RecordFile(path)
    file.append({"n": 3})
    file.close()
    assert [record["n"] for record in read_records(path)] == [1, 3]


def test_rotation_keeps_a_bounded_number_of_files(tmp_path: Path) -> None:
    """Old records go, the newest stay in order, and no file is above its limit."""
    path = tmp_path / "events.jsonl"
    file = RecordFile(path, limit_bytes=200, kept=2)
    for number in range(100):
        file.append({"number": number})
    file.close()
    numbers = [record["number"] for record in read_records(path, kept=2)]
    assert numbers == list(range(numbers[0], 100))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "events.jsonl", "events.jsonl.1", "events.jsonl.2",
    ]  # fmt: skip
    assert all(entry.stat().st_size <= 200 for entry in tmp_path.iterdir())


def test_newest_records_are_read_from_the_end(tmp_path: Path) -> None:
    """Any number of newest records, across blocks, rotated files and a torn last line."""
    path = tmp_path / "events.jsonl"
    file = RecordFile(path, limit_bytes=300_000, kept=3)
    for number in range(3000):
        file.append({"number": number, "text": "x" * (number % 400)})
    file.close()
    with path.open("ab") as torn:
        torn.write(b'{"number": 99')
    every = [record["number"] for record in read_records(path)]
    assert len(every) > 2000
    for count in (1, 2, 10, 777, 2000, len(every), 5000):
        assert [record["number"] for record in last_records(path, count)] == every[-count:]


def test_small_files_are_replaced_whole_and_private(tmp_path: Path) -> None:
    """A rewritten file has the new content, mode 0600, and leaves no temporary file."""
    path = tmp_path / "a.json"
    write_atomically(path, {"a": 1})
    write_atomically(path, {"a": 2}, durable=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o600


def publish_fills(paths: Paths, first: int, last: int) -> None:
    """A participant that publishes the fills first..last, in a page of its own."""
    page = PageWriter(paths.engine_page, ParticipantRole.ENGINE, "paper", os.getpid(), 1)
    for number in range(first, last + 1):
        order = client_order_id(ParticipantRole.ENGINE, 1, number)
        fill = PageFill(
            wall_ns=number, venue=1, client_order_id=order, symbol="BTCUSDT", execution_id=f"e{number}"
        )
        page.add_fill(fill)
        page.publish(updated_ns=number)
    page.close()


def record_all(paths: Paths) -> tuple[int, int]:
    """One round of a supervisor that has just been started."""
    recorder = FillRecorder(paths.mode_home)
    recorder.open()
    page = shared.read_page(paths, "engine")
    assert page is not None
    result = recorder.take("engine", page)
    recorder.close()
    return result


def kept(paths: Paths) -> list[int]:
    """The sequences in the file."""
    return [record["sequence"] for record in recorded_fills(paths.mode_home, 10_000)]


def test_fills_are_kept_once_across_restarts(tmp_path: Path) -> None:
    """New supervisors and new participants neither repeat nor skip a fill."""
    paths = make_paths(tmp_path)
    publish_fills(paths, 1, 40)
    assert record_all(paths) == (40, 0)
    assert record_all(paths) == (0, 0)
    publish_fills(paths, 41, 100)
    assert record_all(paths) == (60, 0)
    assert kept(paths) == list(range(1, 101))


def test_fill_torn_by_a_kill_is_written_again(tmp_path: Path) -> None:
    """When the supervisor dies in the middle of a line, the next one takes that fill again."""
    paths = make_paths(tmp_path)
    publish_fills(paths, 1, 10)
    record_all(paths)
    file = paths.mode_home / FILLS_FILE
    os.truncate(file, file.stat().st_size - 7)
    assert record_all(paths) == (1, 0)
    assert kept(paths) == list(range(1, 11))


def test_lost_fills_are_counted(tmp_path: Path) -> None:
    """When more fills came than the ring holds, the number of missing ones is told."""
    paths = make_paths(tmp_path)
    publish_fills(paths, 1, PAGE_FILLS + 30)
    assert record_all(paths) == (PAGE_FILLS, 30)


def test_page_that_starts_over_repeats_nothing(tmp_path: Path) -> None:
    """After a lost tmpfs the sequence may begin again: known executions are not kept twice."""
    paths = make_paths(tmp_path)
    publish_fills(paths, 1, 20)
    record_all(paths)
    paths.engine_page.unlink()
    publish_fills(paths, 1, 5)
    assert record_all(paths) == (0, 0)
    assert len(kept(paths)) == 20
