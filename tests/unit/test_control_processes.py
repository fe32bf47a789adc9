"""Processes by pid and start time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.paths import Paths
from control import processes, start
from control.errors import ControlError
from control.latch import clear_latch, describe, held_for_ns, is_latched, set_latch
from control.processes import ProcessId


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A child that sleeps."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    yield child
    child.kill()
    child.wait()


def identity(child: subprocess.Popen[bytes]) -> ProcessId:
    """The child's identity."""
    found = processes.identify(child.pid)
    assert found is not None
    return found


def test_another_start_time_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    """A reused pid is never signalled: the start time must match."""
    real = identity(sleeper)
    stranger = ProcessId(real.pid, real.start_time + 1)
    assert processes.is_alive(real)
    assert not processes.is_alive(stranger)
    assert not processes.send_signal(stranger, signal.SIGKILL)
    assert processes.is_alive(real)


def test_stopped_process_is_killed_without_waiting(sleeper: subprocess.Popen[bytes]) -> None:
    """SIGTERM cannot end a stopped process, so no grace is spent on it."""
    process = identity(sleeper)
    processes.send_signal(process, signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while not processes.is_stopped(process):
        assert time.monotonic() < deadline
    assert processes.terminate([process], grace_s=3600.0) == []  # any wait for it would end this test


def test_zombie_counts_as_gone(sleeper: subprocess.Popen[bytes]) -> None:
    """A process that ended but was not waited for is not alive."""
    process = identity(sleeper)
    sleeper.kill()
    assert processes.wait_gone([process], 60.0) == []
    assert not processes.is_alive(process)


def test_processes_are_found_by_environment_and_command_line(tmp_path: Path) -> None:
    """Ours is what runs one of our programs with this runtime folder, whoever started it."""
    trader = tmp_path / "trader"
    trader.symlink_to("/bin/sleep")
    environment = {**os.environ, "PURSER_RUNTIME": str(tmp_path)}
    children = [
        subprocess.Popen([str(trader), "3600"], env=environment),
        subprocess.Popen([str(trader), "3600"]),
        subprocess.Popen(["/bin/sleep", "3600"], env=environment),
    ]
    try:
        found = [(entry.name, entry.process.pid) for entry in processes.find_ours(tmp_path)]
        assert found == [("engine", children[0].pid)]
    finally:
        for child in children:
            child.kill()
            child.wait()


def test_latch_keeps_its_first_reason(tmp_path: Path) -> None:
    """Halting twice keeps the reason that has to be looked into; only clearing removes the latch."""
    latch = tmp_path / "home" / "HALTED"
    assert not is_latched(latch)
    set_latch(latch, "operator", "first", 3)
    set_latch(latch, "bug", "second", 4)
    assert is_latched(latch)
    assert "first" in describe(latch)
    clear_latch(latch)
    clear_latch(latch)
    assert not is_latched(latch)


def test_latch_is_durable_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are on the disk before it gets its name, and its folder after: a power cut right behind
    the kill finds it."""
    latch = tmp_path / "home" / "HALTED"
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append((os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")), latch.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    assert set_latch(latch, "operator", "", 1)
    assert synced[-2:] == [(f".HALTED.{os.getpid()}", False), ("home", True)]
    assert (tmp_path.name, False) in synced  # the folder itself is new


def test_a_latch_does_not_grow_older_with_the_wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall that is set ahead by hours shortens no wait of a resume; also of a latch without the stamps of
    CLOCK_BOOTTIME; one of an earlier boot is as old as this boot at least."""
    latch = tmp_path / "HALTED"
    assert set_latch(latch, "operator", "", 1)
    content, hours = json.loads(latch.read_text()), 5 * 3600 * 10**9
    ahead = time.time_ns() + hours
    monkeypatch.setattr(time, "time_ns", lambda: ahead)
    assert 0 <= held_for_ns(latch) < 60 * 10**9
    uptime = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    latch.write_text(json.dumps({**content, "boot_id": "another"}))
    assert held_for_ns(latch) >= uptime
    latch.write_text(json.dumps({"wall_ns": ahead - 7 * 10**9}))
    assert held_for_ns(latch) == 7 * 10**9
    latch.write_text(json.dumps({"wall_ns": 1}))
    assert uptime <= held_for_ns(latch) < uptime + 60 * 10**9
    latch.write_text("{}")
    assert held_for_ns(latch) == 0


def test_unreadable_latch_counts_as_latched(tmp_path: Path) -> None:
    """A path that cannot be looked into may hide a latch, and a link to nothing has its name."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert is_latched(in_the_way / "HALTED")
    (tmp_path / "HALTED").symlink_to(tmp_path / "nowhere")
    assert is_latched(tmp_path / "HALTED")


def test_a_start_without_room_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the folder and what it has, instead of failing in the middle with an empty log."""
    environment = {"PURSER_HOME": str(tmp_path / "home"), "PURSER_RUNTIME": str(tmp_path / "run")}
    paths = Paths.from_environment("paper", environment, create=False)
    start.refuse_full_disk(paths)
    monkeypatch.setattr(start, "DISK_MIN_BYTES", 1 << 62)
    with pytest.raises(ControlError, match=f"{tmp_path}/home has room for .* free space there"):
        start.refuse_full_disk(paths)


def test_a_runtime_folder_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    """Its name can be guessed and taken by anyone. Files in it that call some process of ours "engine" must
    not get that process ended; a kill latches all the same."""
    paths = Paths.from_environment(
        "paper", {"PURSER_HOME": str(tmp_path / "home"), "PURSER_RUNTIME": str(tmp_path / "run")}
    )
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        about = {"pid": bystander.pid, "start_time": processes.start_time_of(bystander.pid)}
        child = {**about, "name": "engine", "state": "running"}
        paths.supervisor_json.write_text(json.dumps({**about, "children": [child]}))
        paths.runtime.chmod(0o777)
        for command, said in (("stop", "Others may write into"), ("status", "run: chmod 700"),
                              ("kill", "what is in it is not believed")):  # fmt: skip
            argv = [sys.executable, "-m", "control", command]
            environment = {**os.environ, "PURSER_HOME": str(paths.home), "PURSER_RUNTIME": str(paths.runtime)}
            done = subprocess.run(
                argv, env=environment, capture_output=True, text=True, timeout=60, check=False
            )
            assert said in done.stdout + done.stderr, (command, done.stdout, done.stderr)
            assert done.returncode == (0 if command == "kill" else 1)
            assert bystander.poll() is None, command
        assert is_latched(paths.latch)
    finally:
        bystander.kill()
        bystander.wait()
