"""Reading a SQLite file of ours, which another process may be writing, without leaving a trace.

A database in WAL mode that is opened to read, be it read-only, makes FILE-wal and FILE-shm when they are not
there, and whoever comes later takes them for a sign that its owner has run. So it is opened in one of three
ways, by what lies beside it:

    no WAL                 immutable: SQLite touches nothing but the file
    WAL and its index      read-only, beside the process that writes it: both are there already
    WAL without an index   its writer died and somebody took the index away: read in a copy
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

WAIT_S = 1.0


@contextlib.contextmanager
def looked_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read. sqlite3.Error when it cannot be read."""
    log, index = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
    with contextlib.ExitStack() as stack:
        if log.exists() and not index.exists():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="purser-look-")))
            try:
                for file in (path, log):
                    shutil.copy(file, folder / file.name)
            except OSError as error:
                raise sqlite3.OperationalError(str(error)) from None
            path = folder / path.name
            query = "mode=rw"
        else:
            query = "mode=ro" if log.exists() else "mode=ro&immutable=1"
        uri = f"{path.absolute().as_uri()}?{query}"
        database = sqlite3.connect(uri, uri=True, timeout=WAIT_S)
        stack.callback(database.close)
        yield database
