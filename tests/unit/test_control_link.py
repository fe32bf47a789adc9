"""setup/command-on-path.sh replaces its own links and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / ".venv/bin/control"
pytestmark = pytest.mark.skipif(not TARGET.exists(), reason="no .venv: run `make trader`")


def linked(home: Path) -> str:
    """Run the script where only this folder of the PATH may be written; what it says."""
    environment = {"HOME": str(home), "PATH": f"{home}/bin:/usr/bin:/bin"}
    done = subprocess.run(
        [ROOT / "setup/command-on-path.sh"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_link_of_an_earlier_folder_is_replaced(tmp_path: Path) -> None:
    """Nothing there, or a link into another .venv, gives a link to this one; again it has nothing to do."""
    command = tmp_path / "bin" / "control"
    command.parent.mkdir()
    assert "control is on the PATH" in linked(tmp_path)
    command.unlink()
    command.symlink_to("/gone/purser/.venv/bin/control")
    linked(tmp_path)
    assert command.readlink() == TARGET
    assert linked(tmp_path) == ""


@pytest.mark.parametrize("kind", ["file", "link"])
def test_another_program_stays(tmp_path: Path, kind: str) -> None:
    """A program of the same name, or a link to one, is left alone; the words say what to type."""
    command = tmp_path / "bin" / "control"
    command.parent.mkdir()
    if kind == "file":
        command.write_text("#!/bin/sh\n")
        command.chmod(0o755)
    else:
        command.symlink_to("/bin/true")
    before = command.lstat().st_ino
    assert "export PATH" in linked(tmp_path)
    assert command.lstat().st_ino == before
