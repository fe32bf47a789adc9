"""The instance id of a home: kept where it is, new in a copy, the same for all who ask at once."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.instance import Fate, InstanceError, read_instance

ASK = "import sys; from pathlib import Path; from bridge.instance import read_instance\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return folder


def test_the_first_start_makes_an_id_and_the_next_ones_keep_it(home: Path) -> None:
    """The id is made once, is never zero, and its file is for this user alone."""
    made = read_instance(home)
    assert made.fate is Fate.MADE and made.id != 0 and len(made.name) == 8
    assert [read_instance(home) for _ in range(3)] == [(made.id, Fate.KEPT)] * 3
    assert stat.S_IMODE((home / "instance").stat().st_mode) == 0o600
    assert os.listdir(home) == ["instance"]  # nothing half made is left


def test_two_homes_have_two_ids(tmp_path: Path) -> None:
    """Two hundred homes, two hundred ids."""
    homes = [tmp_path / str(n) for n in range(200)]
    for folder in homes:
        folder.mkdir()
    assert len({read_instance(folder).id for folder in homes}) == len(homes)


@pytest.mark.parametrize("how", ["cp -a", "tar", "python"])
def test_a_copied_home_gets_a_new_id_and_the_original_keeps_its_own(
    home: Path, tmp_path: Path, how: str
) -> None:
    """However faithful the copy is, it counts as another Purser; asked again it keeps its new id."""
    first, copy = read_instance(home), tmp_path / "copy"
    if how == "cp -a":
        subprocess.run(["cp", "-a", home, copy], check=True)
    elif how == "tar":
        copy.mkdir()
        subprocess.run(["tar", "-C", home, "-cpf", tmp_path / "home.tar", "."], check=True)
        subprocess.run(["tar", "-C", copy, "-xpf", tmp_path / "home.tar"], check=True)
    else:
        shutil.copytree(home, copy)
    other = read_instance(copy)
    assert other.fate is Fate.COPIED and other.id != first.id
    assert read_instance(copy) == (other.id, Fate.KEPT)
    assert read_instance(home) == (first.id, Fate.KEPT)


def test_a_moved_home_keeps_its_id(home: Path, tmp_path: Path) -> None:
    """`mv` on one file system changes nothing, nor does a link to the folder."""
    first = read_instance(home)
    home.rename(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert read_instance(tmp_path / "elsewhere") == (first.id, Fate.KEPT)
    assert read_instance(tmp_path / "link") == (first.id, Fate.KEPT)


def test_a_file_that_is_put_back_into_its_own_home_keeps_the_id(home: Path) -> None:
    """A backup restored into the folder that it was made of is still the same Purser."""
    first = read_instance(home)
    text = (home / "instance").read_text()
    (home / "instance").unlink()
    (home / "instance").write_text(text)
    (home / "instance").chmod(0o600)
    assert read_instance(home) == (first.id, Fate.KEPT)


def test_every_damage_of_the_file_gives_a_new_id(home: Path) -> None:
    """Bytes changed, cut off or added, and nothing at all: a new id each time, and it is kept."""
    first = read_instance(home)
    path, whole = home / "instance", (home / "instance").read_bytes()
    damaged = [whole[:n] for n in range(0, len(whole), 7)] + [whole + b"x", b"", bytes(300), b"\xff" * 256]
    damaged += [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(0, len(whole), 3)]
    for content in damaged:
        path.write_bytes(content)
        found = read_instance(home)
        assert found.fate is Fate.DAMAGED and found.id != first.id
        assert read_instance(home) == (found.id, Fate.KEPT)


@pytest.mark.parametrize("kind", ["link", "folder", "writable", "fifo"])
def test_what_is_no_file_of_ours_is_refused_in_words(home: Path, tmp_path: Path, kind: str) -> None:
    """A link is not followed, and what others may write is not believed; the sentence says what to do."""
    path = home / "instance"
    if kind == "link":
        (tmp_path / "target").write_text("x")
        path.symlink_to(tmp_path / "target")
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    else:
        read_instance(home)
        path.chmod(0o666)
    with pytest.raises(InstanceError, match=r"instance: .*; (it is a link|it is no file|it must belong)"):
        read_instance(home)


def test_a_home_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """Without a file and without a way to make one there is no start; the sentence names both."""
    with pytest.raises(InstanceError, match=r"instance: .*; the folder must be writable"):
        read_instance(Path("/proc/self/fd/.."))
    with pytest.raises(InstanceError, match="instance"):
        read_instance(tmp_path / "missing")


def test_processes_that_start_at_the_same_time_agree(home: Path) -> None:
    """Eight processes ask a home without an id, and a copy, at once: one answer each."""
    for folder in (home, home.parent / "copy"):
        if folder != home:
            shutil.copytree(home, folder)
        script = ASK + "sys.stdin.read(); print(read_instance(Path(sys.argv[1])).id)"
        asking = [
            subprocess.Popen(
                [sys.executable, "-c", script, folder],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(8)
        ]  # fmt: skip
        for process in asking:
            assert process.stdin is not None
            process.stdin.close()  # all wait for this word
        answers = set()
        for process in asking:
            assert process.stdout is not None
            answers.add(process.stdout.read())
            assert process.wait(60) == 0
        assert len(answers) == 1
