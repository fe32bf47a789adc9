"""A PostgreSQL cluster of a test's own in a temporary folder, reached over its Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def binaries() -> Path | None:
    """The newest installed PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Cluster:
    """One server. PostgreSQL refuses to run as root, so root runs it as an unprivileged user."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._account: pwd.struct_passwd | None = None
        if os.getuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            self._account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        account = self._account
        done = subprocess.run(
            [self._programs / program, *arguments],
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(self._folder)},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=300,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def make(self) -> None:
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "purser", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Socket only: no port is taken."""
        options = f"-c listen_addresses='' -k {self._folder} -c shared_buffers=16MB -c max_connections=20"
        log = str(self._folder / "log")
        self._run(
            "pg_ctl", "-D", str(self._folder / "data"), "-t", "240", "-w", "-l", log, "-o", options, "start"
        )

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-t", "240", "-w", "-m", "fast", "stop")

    @property
    def socket(self) -> str:
        return str(self._folder)

    def url(self, database: str) -> str:
        return f"postgresql://purser@/{database}?host={self._folder}"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A running server, stopped and removed at the end; without its programs the test is skipped."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="purser-pg-"))
    folder.chmod(0o755)
    server = Cluster(programs, folder)
    try:
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
