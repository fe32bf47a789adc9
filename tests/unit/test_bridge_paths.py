"""Where files live, and which folders are refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from bridge.paths import Paths, PathsError, private_folder


def test_folders_are_made_private(tmp_path: Path) -> None:
    """Every folder is made with mode 0700 below PURSER_HOME and PURSER_RUNTIME."""
    environment = {"PURSER_HOME": str(tmp_path / "home"), "PURSER_RUNTIME": str(tmp_path / "run")}
    paths = Paths.from_environment("paper", environment)
    for folder in (paths.home, paths.runtime, paths.mode_home, paths.engine_journal, paths.logs):
        assert folder.stat().st_mode & 0o777 == 0o700
    assert paths.latch == tmp_path / "home" / "HALTED"
    assert paths.ledger == tmp_path / "run" / "ledger"
    assert paths.command == f"ipc://{tmp_path}/run/supervisor.cmd"
    assert paths.sim_state("binance") == tmp_path / "home" / "paper" / "sim" / "binance"
    assert paths.sim_ready("binance") == tmp_path / "run" / "sim-binance.json"
    assert paths.bot_db == tmp_path / "home" / "paper" / "bot.db"


def test_runtime_follows_home(tmp_path: Path) -> None:
    """Without PURSER_RUNTIME each PURSER_HOME, by its real path, has its own folder on tmpfs."""
    (tmp_path / "link").symlink_to(tmp_path)
    name = hashlib.sha256(str(tmp_path.resolve()).encode()).hexdigest()[:8]
    for home in (tmp_path, tmp_path / "link"):
        paths = Paths.from_environment("live", {"PURSER_HOME": str(home)}, create=False)
        assert paths.runtime == Path(f"/dev/shm/purser-{os.geteuid()}-{name}")
    default = Paths.from_environment("live", {}, create=False)
    assert default.runtime == Path(f"/dev/shm/purser-{os.geteuid()}")
    assert default.home == Path.home() / ".local/state/purser"


def test_untrusted_folders_are_refused(tmp_path: Path) -> None:
    """A folder that others may write into, a file and a symbolic link are refused with advice."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o770)
    with pytest.raises(PathsError, match="chmod 700"):
        private_folder(shared)
    shared.chmod(0o700)
    assert private_folder(shared) == shared
    (tmp_path / "link").symlink_to(shared)
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "link", tmp_path / "file"):
        with pytest.raises(PathsError, match="PURSER_HOME"):
            private_folder(path)
    with pytest.raises(PathsError, match="choose one of"):
        Paths.from_environment("production", {})
