"""`trader --replay-check` compares the engine's book with the best bid and ask of a recorded capture."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRADER = ROOT / os.environ.get("BIN", "bin") / "trader"
DATA = Path(os.environ.get("PURSER_DATA", ROOT.parent / "shared" / "data"))
CAPTURE = DATA / "binance" / "btcusdt_20240808.gz"

DEPTH = (
    '{{"stream":"btcusdt@depth@0ms","data":{{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT",'
    '"U":{first},"u":{last},"pu":{previous},"b":[["{bid}","{quantity}"]],"a":[]}}}}'
)
TICKER = (
    '{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{last},"s":"BTCUSDT",'
    '"b":"{bid}","B":"{quantity}","a":"60010.00","A":"2.000","T":1,"E":1}}}}'
)
SNAPSHOT = '{"lastUpdateId":15,"E":1,"T":1,"bids":[["60000.00","1.000"]],"asks":[["60010.00","2.000"]]}'


def depth(previous: int, first: int, last: int, bid: str, quantity: str) -> str:
    """A depth event that sets one bid."""
    return DEPTH.format(previous=previous, first=first, last=last, bid=bid, quantity=quantity)


def ticker(last: int, bid: str, quantity: str) -> str:
    """The best bid after update `last`; the ask never changes here."""
    return TICKER.format(last=last, bid=bid, quantity=quantity)


# The first delta is older than the snapshot, the second links it, and each ticker that belongs to a delta
# arrives after it.
LINES = [
    depth(1, 2, 10, "60000.00", "1.000"),
    depth(10, 11, 20, "60000.10", "3.000"),
    SNAPSHOT,
    ticker(20, "60000.10", "3.000"),
    depth(20, 21, 30, "60000.10", "0.000"),
    ticker(30, "60000.00", "1.000"),
    ticker(31, "60000.00", "7.000"),
    depth(30, 31, 40, "60000.00", "9.000"),
    ticker(40, "60000.00", "9.000"),
]


def write_capture(path: Path, lines: list[str]) -> Path:
    """Writes lines in the recorder's form."""
    path.write_bytes(gzip.compress("".join(f"{1000 + n} {line}\n" for n, line in enumerate(lines)).encode()))
    return path


def replay(path: Path) -> subprocess.CompletedProcess[str]:
    """Runs the documented command."""
    return subprocess.run([TRADER, "--replay-check", path], capture_output=True, text=True, timeout=300)


@pytest.mark.skipif(not CAPTURE.exists(), reason=f"no recorded capture at {CAPTURE}; set PURSER_DATA")
def test_recorded_production_capture_is_equal_throughout() -> None:
    """345 s of production: every checkable event equals the recorded best bid and ask."""
    done = replay(CAPTURE)
    assert done.returncode == 0, done.stderr
    assert "dropped 4, applied 6547, gaps 0, crossed 0" in done.stdout
    assert "final levels 5018 bids, 4578 asks" in done.stdout
    assert "6547 of 6547" in done.stdout


def test_small_capture_is_equal(tmp_path: Path) -> None:
    """Old deltas are dropped, the linking one applied, and late tickers still compared."""
    done = replay(write_capture(tmp_path / "a.gz", LINES))
    assert done.returncode == 0, done.stderr
    assert "dropped 1, applied 3, gaps 0, crossed 0" in done.stdout
    assert "3 of 3" in done.stdout


def test_difference_is_found_and_located(tmp_path: Path) -> None:
    """A recorded quantity that the book does not have fails the command and names the line."""
    lines = [*LINES[:-1], ticker(40, "60000.00", "9.001")]
    done = replay(write_capture(tmp_path / "a.gz", lines))
    assert done.returncode == 1
    assert "2 of 3" in done.stdout
    assert "first difference at line 8" in done.stdout


def test_missing_delta_is_a_gap(tmp_path: Path) -> None:
    """After a lost event nothing is compared any more until another snapshot comes."""
    lines = [*LINES[:4], *LINES[5:]]
    done = replay(write_capture(tmp_path / "a.gz", lines))
    assert "applied 1, gaps 1" in done.stdout
    assert "1 of 1" in done.stdout


@pytest.mark.parametrize(
    "spoiled",
    ['{"stream":"x","data":{"e":"depthUpdate"', "no json at all", depth(40, 41, 50, "60000.05", "1.000")],
)
def test_malformed_line_is_refused_with_its_place(tmp_path: Path, spoiled: str) -> None:
    """Broken JSON, and a price off the grid, end the replay with file and line."""
    done = replay(write_capture(tmp_path / "a.gz", [*LINES, spoiled]))
    assert done.returncode == 1
    assert "a.gz:10" in done.stderr


def test_truncated_or_missing_file_is_refused(tmp_path: Path) -> None:
    """A torn gzip file and an absent one are errors in words."""
    whole = write_capture(tmp_path / "a.gz", LINES).read_bytes()
    torn = tmp_path / "torn.gz"
    torn.write_bytes(whole[:-20])
    for path in (torn, tmp_path / "absent.gz"):
        done = replay(path)
        assert done.returncode == 1
        assert path.name in done.stderr
