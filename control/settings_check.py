"""`control config check`: every file in the folder, by its owner's model or its JSON Schema's keys.

The engine's and the bot's own files are validated by the engine and the bot, which refuse a wrong
one at start; here they are compared with the JSON Schema beside them, so that a misspelt key is
found without starting anything.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

from control.config import FILES, load
from control.errors import ControlError
from control.records import read_json


def check_folder(folder: Path) -> list[tuple[bool, str]]:
    """(ok, sentence) for each file."""
    findings: list[tuple[bool, str]] = []
    for name, model in FILES.items():
        try:
            load(model, folder / name)
            findings.append((True, f"{name} is valid"))
        except ControlError as error:
            findings.append((False, str(error)))
    for file in sorted(folder.glob("*.json")):
        if file.name in FILES or file.name.endswith(".schema.json"):
            continue
        findings.append(_check_other(file))
    return findings


def _check_other(file: Path) -> tuple[bool, str]:
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
