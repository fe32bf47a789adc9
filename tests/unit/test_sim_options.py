"""The simulators' command line: what it takes, what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.faults import FaultError, Faults
from simulators.options import EXIT_USAGE
from simulators.state import StateError, StateFolder

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("venue", "arguments", "meant"),
    [
        ("polymarket", ["--feed", "pyproject.toml"], "--feed"),
        ("polymarket", ["--speed", "10"], "--speed"),
        ("binance", ["--reference", "pyproject.toml"], "--reference"),
        ("binance", ["--speed", "10"], "--speed"),
        ("binance", ["--speed", "0", "--feed", "pyproject.toml"], "--speed"),
        ("binance", ["--feed", "nowhere"], "nowhere"),
        ("binance", ["--profile", "neg-risk"], "neg-risk"),
    ],
)
def test_a_switch_that_the_venue_would_ignore_is_refused(
    venue: str, arguments: list[str], meant: str, tmp_path: Path
) -> None:
    """A wrong command line ends with 2 and names the switch; nothing is started or left."""
    done = subprocess.run(
        [sys.executable, "-m", "simulators", venue, *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (EXIT_USAGE, "")
    assert meant in done.stderr and list(tmp_path.iterdir()) == []


def test_faults_on_the_command_line_take_words_as_help_says() -> None:
    """`true` is 1, `false` is 0, a number is itself, a name alone is 1, anything else is an error."""
    table = dict.fromkeys(("a", "b", "c", "d", "e"), "")
    faults = Faults(table, "a=true,b=false, c=5,d,e=-1")
    assert faults.table() == {"a": 1, "b": 0, "c": 5, "d": 1, "e": -1}
    for wrong in ("a=yes", "a=1.5", "x=1"):
        with pytest.raises(FaultError, match=wrong):
            Faults(table, wrong)


@pytest.mark.parametrize("venue", ["binance", "polymarket"])
def test_without_a_state_folder_nothing_stays(venue: str, tmp_path: Path) -> None:
    """A simulator that was given no folder removes its own when it ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", venue],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert Path(ready["ca"]).is_relative_to(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_does_not_fit_leaves_the_file_whole(tmp_path: Path) -> None:
    """When the disk takes only a part of a record, the part is cut off: what follows can be read."""
    code = f"""
import pathlib, resource, signal
from simulators.state import StateError, StateFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
state = StateFolder(pathlib.Path({str(tmp_path)!r}))
state.append({{"n": 1}})
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
for _ in range(2):
    try:
        state.append({{"n": "x" * 100}})
    except StateError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
state.append({{"n": 2}})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("make room") == 2
    assert list(StateFolder(tmp_path).replay()) == [{"n": 1}, {"n": 2}]
    with pytest.raises(StateError):
        StateFolder(tmp_path)
