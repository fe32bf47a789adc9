"""The engine's journal checked by a second hand: whatever was changed in it is named with its place."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bridge._bridge import ffi, lib
from bridge.journal import read_journal, segments
from bridge.journal_chain import SIZE, read_head, verify_journal

ROOT = Path(__file__).resolve().parents[2]
WRITER = ROOT / os.environ.get("BUILD", "build") / "tests" / "test_journal"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal of four segments, written and sealed by the engine's own code."""
    made = tmp_path / "engine"
    made.mkdir(mode=0o700)
    subprocess.run([WRITER, str(made)], check=True, timeout=60)
    return made


def rewrite(path: Path, number: int, at: int, bit: int) -> None:
    """One bit of a record changed, and its checksum made good again."""
    content = bytearray(path.read_bytes())
    begin = number * SIZE
    content[begin + at] ^= bit
    content[begin : begin + 4] = bytes(4)
    crc = int(lib.crc32c(ffi.from_buffer(content[begin : begin + SIZE]), SIZE))
    content[begin : begin + 4] = crc.to_bytes(4, "little")
    path.write_bytes(content)


def _count(path: Path) -> int:
    content = path.read_bytes()
    return sum(1 for at in range(0, len(content), SIZE) if content[at : at + SIZE].strip(b"\0"))


def test_an_untouched_journal_is_whole(folder: Path) -> None:
    """Both readers see the same records, the chain fits to the last of them, and the head covers it."""
    verdict = verify_journal(folder)
    assert verdict.problems == [] and verdict.unsealed == 0
    assert verdict.records == len(read_journal(folder).records) > 150
    assert verdict.head == verdict.sealed == verdict.records and verdict.first == 1


def test_any_rewritten_byte_is_named(folder: Path) -> None:
    """Any bit of any record, with the checksum redone: the segment, record and time of the break are said."""
    rng = random.Random(20261128)
    paths = segments(folder)
    whole = {path: path.read_bytes() for path in paths}
    for _ in range(80):
        path = rng.choice(paths)
        number = rng.randrange(_count(path))
        rewrite(path, number, rng.randrange(4, SIZE), 1 << rng.randrange(8))
        problems = verify_journal(folder).problems
        assert problems and ("record " in problems[0] and "journal-0000000" in problems[0]), (path, number)
        path.write_bytes(whole[path])
    assert verify_journal(folder).problems == []


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (0, "the segments before it are missing"),
        (1, "does not follow sequence"),
        (-1, "records are missing at the end"),
    ],
)
def test_a_lost_segment_is_named(folder: Path, lost: int, words: str) -> None:
    """The first, a middle and the last segment deleted."""
    segments(folder)[lost].unlink()
    assert any(words in problem for problem in verify_journal(folder).problems)


def test_a_lost_folder_or_head_is_told(folder: Path) -> None:
    """Without the segments the head says how many records there were; without the head that is said."""
    count = verify_journal(folder).records
    head = folder.with_name("engine.head")
    kept = head.read_bytes()
    head.unlink()
    assert read_head(folder) is None
    assert verify_journal(folder).problems == [
        "engine.head is missing: whether records are missing at the end cannot be told"
    ]
    head.write_bytes(kept)
    for path in segments(folder):
        path.unlink()
    assert f"{count} records are missing at the end" in verify_journal(folder).problems[0]


def test_another_newest_seal_is_told(folder: Path) -> None:
    """A journal whose newest seal is not the one of the head is another journal."""
    last = segments(folder)[-1]
    rewrite(last, _count(last) - 1, SIZE - 20, 1)  # not even the newest seal may be another one
    assert any("head remembers" in problem for problem in verify_journal(folder).problems)


def test_links_and_folders_are_named(folder: Path) -> None:
    """A segment that is a link or a folder gets a sentence, not a traceback."""
    last = segments(folder)[-1]
    last.rename(folder / "kept")
    last.symlink_to("kept")
    assert any("is a symbolic link" in problem for problem in verify_journal(folder).problems)
    last.unlink()
    last.mkdir()
    assert any("is a folder" in problem for problem in verify_journal(folder).problems)


def test_the_command_says_it_and_ends_with_one(folder: Path, tmp_path: Path) -> None:
    """`control events --verify`: 0 and ✓ for a whole journal, 1 and the place for a broken one."""
    home = tmp_path / "home"
    (home / "paper").mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    folder.rename(home / "paper" / "engine")
    (tmp_path / "engine.head").rename(home / "paper" / "engine.head")
    environment = {**os.environ, "PURSER_HOME": str(home), "PURSER_RUNTIME": str(tmp_path / "run")}

    def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control", "events", "--verify", *arguments],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    done = verify()
    assert done.returncode == 0 and "✓ The engine's journal" in done.stdout, done.stderr
    rewrite(home / "paper" / "engine" / "journal-00000002.bin", 7, 180, 4)
    done = verify()
    assert done.returncode == 1 and "✗ The engine's journal: journal-00000002.bin, record" in done.stdout
    result = json.loads(verify("--json").stdout)
    assert result["whole"] is False and "was rewritten" in result["journal"]["problems"][0]
