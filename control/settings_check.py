"""`control config check`, and the same check at each start: every file by the program that reads it.

budget.json and paper.json are the supervisor's own. The engine's and the bot's files are read by the
engine and the bot themselves (`--check-config`, `--check`), which end at once and touch nothing, so
that what is said here is what a start would say. Without a built engine its file is compared with the
JSON Schema beside it.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control.children import trader_path
from control.config import FILES, ROOT, Paper, Simulator, load
from control.endings import ending
from control.errors import ControlError
from control.records import read_json

CHECK_TIMEOUT_S = 20.0
Finding = tuple[bool, str]  # ok, sentence


def check_folder(folder: Path) -> list[Finding]:
    """One finding for each file of the folder and for each that paper.json names."""
    findings: list[Finding] = []
    for name, model in FILES.items():
        try:
            load(model, folder / name)
            findings.append((True, f"{name} is valid"))
        except ControlError as error:
            findings.append((False, str(error)))
    others = [
        file
        for file in sorted(folder.glob("*.json"))
        if file.name not in FILES and not file.name.endswith(".schema.json")
    ]
    try:
        settings = load(Paper, folder / "paper.json")
    except ControlError:
        return findings + _check_others(others)
    engine, bot = folder / settings.engine_config, folder / settings.bot_config
    others = [file for file in others if file not in (engine, bot)]
    return findings + check_start(settings, engine, bot) + _check_others(others)


def check_start(settings: Paper, engine_config: Path, bot_config: Path) -> list[Finding]:
    """What a start would read besides the supervisor's own files: the engine's and the bot's file, and
    the simulators' profiles."""
    checks = [_engine_check(engine_config), _bot_check(bot_config)]
    for venue, chosen in (("binance", settings.binance), ("polymarket", settings.polymarket)):
        if chosen.profile is not None:
            checks.append(_profile_check(venue, chosen))
    return _check_all(checks)


@dataclass(frozen=True, slots=True)
class Check:
    """One program that looks at one file or setting and ends."""

    argv: list[str]
    subject: str
    right: str  # what is said when it is right
    file: Path | None = None


def _engine_check(file: Path) -> Check:
    argv = [str(trader_path()), "--check-config", "--config", str(file)]
    return Check(argv, file.name, "is valid for the engine", file)


def _bot_check(file: Path) -> Check:
    argv = [sys.executable, "-m", "polymarket_bot", "--check", "--config", str(file)]
    return Check(argv, file.name, "is valid for the bot", file)


def _profile_check(venue: str, chosen: Simulator) -> Check:
    # --help ends the simulator before it serves, and after it has looked at its options.
    argv = [sys.executable, "-m", "simulators", venue, "--profile", str(chosen.profile), "--help"]
    return Check(argv, f"paper.json: {venue}.profile", f"{chosen.profile!r} is known")


def _check_others(files: list[Path]) -> list[Finding]:
    """Files that no setting names: by the program of their venue; any other is looked at for JSON only."""
    checks, findings = [], []
    for file in files:
        venue = (read_json(file) or {}).get("venue") or file.stem.split("_")[0].split(".")[0]
        if venue == "polymarket":
            checks.append(_bot_check(file))
        elif venue == "binance":
            checks.append(_engine_check(file))
        else:
            findings.append(_check_keys(file))
    return _check_all(checks) + findings


def _check_all(checks: list[Check]) -> list[Finding]:
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(_check, checks))


def _check(check: Check) -> Finding:
    program = check.argv[0]
    if check.file is not None and not check.file.is_file():
        return False, f"{check.file} is missing; restore it or name another file"
    if check.file is not None and program == str(trader_path()) and not os.access(program, os.X_OK):
        return _check_keys(check.file)
    try:
        done = subprocess.run(
            check.argv, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=CHECK_TIMEOUT_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"{check.subject}: its check did not end: {error}"
    if done.returncode == 0:
        return True, f"{check.subject} {check.right}"
    said = done.stderr.strip() or done.stdout.strip() or f"its check {ending(done.returncode)}"
    if check.file is not None:
        return False, said
    return False, f"{check.subject}: {said.splitlines()[-1].rpartition('error: ')[2]}"


def _check_keys(file: Path) -> Finding:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        return False, f"{file} is not JSON: {error}. Correct it there."
    schema = read_json(file.with_name(file.stem.split("_")[0] + ".schema.json"))
    if schema is None:
        return True, f"{file.name} is JSON (no schema beside it)"
    problems = list(_unknown_keys(content, schema, schema, ""))
    return (
        not problems,
        f"{file.name}: " + "; ".join(problems) if problems else f"{file.name} has known keys only",
    )


def _unknown_keys(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> list[str]:
    schema = _resolved(schema, root)
    if isinstance(value, list):
        items = schema.get("items", {})
        return [
            text
            for i, entry in enumerate(value)
            for text in _unknown_keys(entry, items, root, f"{where}[{i}]")
        ]
    known = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(known, dict):
        return []
    problems = []
    for key, entry in value.items():
        path = f"{where}.{key}" if where else key
        if key in known:
            problems += _unknown_keys(entry, known[key], root, path)
        elif schema.get("additionalProperties") is False:
            close = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)
            problems.append(f"unknown key {path!r} ({hint})")
    return problems


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for part in reference[2:].split("/"):
        found = found.get(part, {})
    return found if isinstance(found, dict) else {}
