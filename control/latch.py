"""The latch: a file whose presence means "do not start trading". Only `control resume` removes it.

It is durable before `halt` returns: the file and its folder are fsynced. A folder that cannot be
read counts as latched, because the file could be in it.
"""

from __future__ import annotations

import getpass
import os
import time
from pathlib import Path
from typing import Any

from bridge.ledger import now_ns
from control.printable import printable
from control.records import read_json, sync_folder, write_atomically


def is_latched(latch: Path) -> bool:
    """True when the latch is there, be it a link to nothing, or when its folder cannot be looked into."""
    try:
        os.lstat(latch)
    except FileNotFoundError:
        return _folder_unreadable(latch.parent)
    except OSError:
        return True
    return True


def _folder_unreadable(folder: Path) -> bool:
    try:
        os.listdir(folder)
    except FileNotFoundError:
        return False  # nothing was ever started from this home
    except OSError:
        return True
    return False


def set_latch(latch: Path, reason: str, text: str, epoch: int) -> bool:
    """Write the latch, keeping an earlier one (the first reason is the one to look into).

    False when only its presence could be made sure, without a reason in it: on a full disk there is
    still room for an empty file. OSError when not even that."""
    made = not latch.parent.exists()
    latch.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if made:
        sync_folder(latch.parent.parent)
    if read_json(latch) is not None:
        sync_folder(latch.parent)  # its writer may not have come so far
        return True
    content: dict[str, Any] = {
        "reason": reason,
        "text": text,
        "epoch": epoch,
        "actor": actor(),
        "pid": os.getpid(),
        "wall_ns": time.time_ns(),
        "boot_ns": now_ns(),
        "boot_id": (boot_id() or b"").decode(),
    }
    try:
        write_atomically(latch, content, durable=True)
    except OSError:
        descriptor = os.open(latch, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_folder(latch.parent)
        return False
    return True


def boot_id() -> bytes | None:
    """What tells this boot of the machine from every other."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip()
    except OSError:
        return None


def held_for_ns(latch: Path) -> int:
    """For how long the latch has been there at least, whatever was done to the wall clock since: by
    CLOCK_BOOTTIME, and after a reboot since that. A latch without these stamps (of an earlier release, or
    made by hand) tells it by the wall, and not to be older than this boot. 0 when it tells nothing."""
    content = read_json(latch) or {}
    at, since, now = content.get("boot_ns"), content.get("wall_ns"), now_ns()
    if isinstance(at, int) and content.get("boot_id"):
        return max(0, now - at) if content["boot_id"] == (boot_id() or b"").decode() else now
    return max(0, min(now, time.time_ns() - since)) if isinstance(since, int) else 0


def actor() -> str:
    """Who runs this command, for the latch and the journal."""
    try:
        return f"{getpass.getuser()} (uid {os.getuid()})"
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def describe(latch: Path) -> str:
    """Why trading is halted, in one sentence."""
    content = read_json(latch)
    if content is None:
        return f"halted; {latch} cannot be read or tells no reason (made on a full disk, or by hand)"
    reason = str(content.get("reason", "unknown"))
    text = str(content.get("text") or "")
    when = ""
    if isinstance(content.get("wall_ns"), int):
        when = time.strftime(" at %Y-%m-%d %H:%M:%S UTC", time.gmtime(content["wall_ns"] / 1e9))
    detail = f": {text}" if text else ""
    sentence = f"halted{when} by {content.get('actor', 'an unknown actor')}, reason {reason}{detail}"
    return printable(sentence)


def clear_latch(latch: Path) -> None:
    """Remove the latch durably; harmless when there is none."""
    try:
        latch.unlink()
    except FileNotFoundError:
        return
    sync_folder(latch.parent)
