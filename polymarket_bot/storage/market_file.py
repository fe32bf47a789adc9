"""Markets and their outcome tokens as a plain file, whatever database the rest is in.

`control kill --flatten` must know which tokens may be held, and the views how they are called, with the bot
dead and the database down. The file is replaced whole, durably, with mode 0600, whenever a market is new.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from polymarket_bot.model import Market

log = structlog.get_logger("bot")

VERSION = 1
KEPT_NS = 30 * 24 * 3600 * 1_000_000_000  # after its end a market is paid out; this bounds the file


class MarketFile:
    """What to write is collected by the event loop and written by another thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._markets: dict[str, Market] = {}
        self._lock = threading.Lock()
        self._changed = False

    def keep(self, markets: Iterable[Market]) -> None:
        """Markets that must be in the file from the next write on."""
        for market in markets:
            known = self._markets.get(market.condition_id)
            if known is None or known.symbols != market.symbols:
                self._markets[market.condition_id] = market
                self._changed = True

    def write_if_changed(self) -> None:
        """A full disk is said and tried again at the next write: the venue's own list is the other source."""
        with self._lock:
            if not self._changed:
                return
            self._changed = False
            try:
                self._write()
            except OSError as error:
                self._changed = True
                log.warning("markets_not_kept", error=f"{self._path}: {error.strerror}")

    def _write(self) -> None:
        oldest = time.time_ns() - KEPT_NS
        rows = [
            {
                "condition_id": market.condition_id,
                "symbols": market.symbols,
                "tokens": market.tokens,
                "expiry_ns": market.expiry_ns,
            }
            for market in list(self._markets.values())
            if market.expiry_ns > oldest
        ]
        data = msgspec.json.encode({"schema_version": VERSION, "markets": rows}) + b"\n"
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
