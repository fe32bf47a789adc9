"""The configuration file and the command line: clear errors, right exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polymarket_bot.errors import ConfigurationError, CredentialsError
from polymarket_bot.settings import json_schema, load_settings, read_private

CONFIG = Path(__file__).resolve().parents[2] / "config"


def write(folder: Path, change: dict[str, Any]) -> Path:
    data = json.loads((CONFIG / "polymarket_sim.json").read_text())
    for dotted, value in change.items():
        target, *_ = [data]
        *parents, last = dotted.split(".")
        for name in parents:
            target = target[name]
        target[last] = value
    path = folder / "bot.json"
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("name", ["polymarket_sim.json", "polymarket.example.json"])
def test_shipped_files_are_valid(name: str) -> None:
    """Every configuration in the repository loads, and its units arrive as integers."""
    settings = load_settings(CONFIG / name)
    assert settings.strategy.quotes().size >= 5_000_000


def test_schema_beside_the_files_is_current() -> None:
    """config/polymarket.schema.json is what the code says."""
    assert (CONFIG / "polymarket.schema.json").read_text() == json_schema()


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("strategy.quote_sise", "10", 'did you mean "quote_size"'),
        ("riks", {}, 'did you mean "risk"'),
        ("strategy.quote_size", 10, "in quotes"),
        ("strategy.quote_size", "1e3", "plain decimal"),
        ("endpoints", {"clob": "https://example"}, "none is guessed"),
        ("credentials", {}, 'either "simulator" or "file"'),
    ],
)
def test_wrong_keys_and_values_say_what_to_do(tmp_path: Path, key: str, value: object, text: str) -> None:
    """A mistake is named with its place and a suggestion."""
    with pytest.raises(ConfigurationError, match=text):
        load_settings(write(tmp_path, {key: value}))


def test_unreadable_and_broken_files(tmp_path: Path) -> None:
    """A missing file and broken JSON are configuration errors, exit code 4."""
    with pytest.raises(ConfigurationError, match="cannot be read") as missing:
        load_settings(tmp_path / "none.json")
    assert missing.value.exit_code == 4
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not JSON"):
        load_settings(tmp_path / "broken.json")


def test_secrets_need_a_private_file(tmp_path: Path) -> None:
    """A missing, open or linked keys file is refused, and the message names it."""
    path = tmp_path / "keys.json"
    with pytest.raises(CredentialsError, match=str(path)):
        read_private(path, "keys", "{}")
    path.write_text('{"api_key": "x"}')
    path.chmod(0o644)
    with pytest.raises(CredentialsError, match="chmod 600"):
        read_private(path, "keys", "{}")
    path.chmod(0o600)
    assert read_private(path, "keys", "{}") == {"api_key": "x"}
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(CredentialsError):
        read_private(link, "keys", "{}")
