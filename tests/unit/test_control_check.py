"""`control config check` and the same check at a start: values, profiles and files, not keys alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from control.children import trader_path
from control.settings_check import check_folder

ROOT = Path(__file__).resolve().parent.parent.parent
pytestmark = pytest.mark.skipif(not os.access(trader_path(), os.X_OK), reason="bin/trader: run `make trader`")


def edited(folder: Path, name: str, section: str, **changes: Any) -> Path:
    """A copy of config/ in which one section of a file is changed."""
    copy = folder / "config"
    shutil.copytree(ROOT / "config", copy)
    content = json.loads((copy / name).read_text())
    content[section] |= changes
    (copy / name).write_text(json.dumps(content))
    return copy


def wrong(folder: Path) -> str:
    """Everything that the check finds wrong."""
    return "\n".join(text for ok, text in check_folder(folder) if not ok)


def test_the_committed_settings_are_right() -> None:
    """Each file of config/ passes the check by the program that reads it."""
    assert wrong(ROOT / "config") == ""


@pytest.mark.parametrize(
    ("name", "section", "changes", "said"),
    [
        ("binance_sim.json", "risk", {"max_open_orders": -5}, "risk.max_open_orders"),
        ("polymarket_sim.json", "strategy", {"quote_size": "-10"}, "strategy.quote_size"),
        ("paper.json", "binance", {"profile": "bogus"}, "invalid choice: 'bogus'"),
        ("paper.json", "polymarket", {"profile": "bogus"}, "polymarket.profile"),
    ],
)
def test_a_bad_value_is_found_before_anything_starts(
    tmp_path: Path, name: str, section: str, changes: dict[str, Any], said: str
) -> None:
    """A value that its program refuses is named by the check and by a start, both with exit code 4."""
    folder = edited(tmp_path, name, section, **changes)
    assert said in wrong(folder)
    environment = {**os.environ, "PURSER_HOME": f"{tmp_path}/home", "PURSER_RUNTIME": f"{tmp_path}/run"}
    for words in (["config", "check"], ["start", "--paper"]):
        done = subprocess.run(
            [sys.executable, "-m", "control", *words, "--config", str(folder)], cwd=ROOT, env=environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 4 and said in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_a_file_that_paper_json_names_must_be_there(tmp_path: Path) -> None:
    """engine_config names a file that is missing: the check says so."""
    folder = edited(tmp_path, "paper.json", "binance")
    settings = json.loads((folder / "paper.json").read_text())
    (folder / "paper.json").write_text(json.dumps(settings | {"engine_config": "gone.json"}))
    assert "gone.json is missing" in wrong(folder)
