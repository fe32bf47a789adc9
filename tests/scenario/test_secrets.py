"""Secrets stay where they belong: a full run with a crash, broken frames and a kill leaves them nowhere else.

The simulators' own keys are the canaries: both processes sign with them, as they would with real ones.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

from conftest import System
from test_crashes import trading

# Where a secret may be: the venue's own files and the ready lines made of them, all of them 0600.
HOLDERS = {
    "home/paper/sim/binance/keys.json", "home/paper/sim/polymarket/wallet.json",
    "home/paper/sim/polymarket/events.jsonl",  # the venue's memory of the keys that it gave out
    "run/sim-binance.json",
    "run/sim-binance.out", "run/sim-polymarket.json", "run/sim-polymarket.out",
}  # fmt: skip


def canaries(system: System) -> dict[str, set[bytes]]:
    """Every secret of both venues, in each form in which it could be written down."""
    found: dict[str, set[bytes]] = {}
    for venue in ("binance", "polymarket"):
        for name, text in system.ready_line(venue)["credentials"].items():
            if name in ("api_key", "address"):  # identities: they go over the wire in the open
                continue
            raw = text.removeprefix("0x").encode()
            forms = {raw, raw.upper(), base64.b64encode(raw), raw[2:-2]}
            with contextlib.suppress(binascii.Error, ValueError):
                forms.add(bytes.fromhex(raw.decode()))
            with contextlib.suppress(binascii.Error, ValueError):
                forms.add(base64.urlsafe_b64decode(raw))
            found[f"{venue} {name}"] = {form for form in forms if len(form) >= 16}
    return found


def holders_of(forms: set[bytes], contents: dict[str, bytes]) -> set[str]:
    """Whose content has one of the forms in it."""
    return {name for name, content in contents.items() if any(form in content for form in forms)}


def files(system: System) -> Iterator[Path]:
    """Every regular file of the durable and of the runtime folder."""
    return (path for path in system.home.rglob("*") if path.is_file())


def said_and_passed_on(system: System) -> dict[str, bytes]:
    """Command line and environment of each process, and what every view prints."""
    seen: dict[str, bytes] = {}
    for row in system.status()["processes"]:
        for part in ("cmdline", "environ"):
            seen[f"{row['name']} {part}"] = Path(f"/proc/{row['pid']}/{part}").read_bytes()
    for view in (
        "status --json",
        "events --json -n 1000",
        "logs -n 1000",
        "account",
        "doctor",
        "config show",
    ):
        shown = system.control(*view.split(), expect=None)
        seen[f"control {view}"] = (shown.stdout + shown.stderr).encode()
    return seen


def test_secrets_are_in_no_log_journal_database_argument_or_environment(system: System) -> None:
    """After trading, a crash, broken frames and a kill each secret is in the venue's own key files alone,
    which are private, and no process may leave a core."""
    system.start()
    trading(system)
    secrets = canaries(system)
    assert len(secrets) >= 4
    for venue in ("binance", "polymarket"):
        system.admin(venue, "/faults", {"malformed_frame": 1, "close_mid_frame": True})
    system.admin("binance", "/faults", {"clock_offset_ms": 5000})
    system.wait("the clock is noticed", lambda: "clock" in system.control("events", "-n", "200").stdout)
    system.admin("binance", "/faults", {"clock_offset_ms": 0})
    engine = system.signal("engine", signal.SIGSEGV)
    system.wait_status("a new engine", lambda s: system.pid("engine") != engine and s["venues"][0]["fills"])
    contents = said_and_passed_on(system)
    for row in system.status()["processes"]:
        assert resource.prlimit(row["pid"], resource.RLIMIT_CORE) in ((1, 1), (0, 0)), row["name"]
    contents["control kill"] = system.control("kill", "--flatten", expect=None).stdout.encode()
    contents |= {str(path.relative_to(system.home)): path.read_bytes() for path in files(system)}
    for name, forms in secrets.items():
        found = holders_of(forms, contents)
        assert found, f"the search does not find {name} even where it is"
        assert found <= HOLDERS, f"{name} leaked"
    for name in HOLDERS:
        mode = stat.S_IMODE((system.home / name).stat().st_mode)
        assert mode == 0o600, f"{name} is {mode:04o}"
