"""Settings of the supervisor: amounts, unknown keys, and schemas that are current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.config import DEFAULT_FOLDER, FILES, Budget, Paper, load, micros, schema, schema_name, usd
from control.errors import ControlError, Exit


@given(st.integers(min_value=0, max_value=10**15))
def test_amounts_survive_text(value: int) -> None:
    """An amount written as text and read again is the same integer."""
    assert micros(usd(value)) == value


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1.0000001", "nan", "1,000", "0x10", "99999999999"])
def test_odd_amounts_are_refused(text: str) -> None:
    """Exponents, signs, separators and too many digits are not amounts."""
    with pytest.raises(ValueError):
        micros(text)


def test_unknown_key_gets_a_suggestion(tmp_path: Path) -> None:
    """A misspelt limit is an error of configuration that names the right key."""
    file = tmp_path / "budget.json"
    file.write_text(json.dumps({"limit_usdd": "10", "notional_limit_usd": "10"}))
    with pytest.raises(ControlError) as caught:
        load(Budget, file)
    assert caught.value.code == Exit.CONFIGURATION
    assert "did you mean 'limit_usd'?" in str(caught.value)


def test_unknown_nested_key_gets_a_suggestion(tmp_path: Path) -> None:
    """The suggestion also works inside a nested object."""
    file = tmp_path / "paper.json"
    file.write_text(json.dumps({"binance": {"prot": 5}}))
    with pytest.raises(ControlError, match="did you mean 'port'"):
        load(Paper, file)


@pytest.mark.parametrize(
    "content", ['{"limit_usd": 10}', "[]", "{", '{"limit_usd": "0", "notional_limit_usd": "1"}']
)
def test_wrong_files_are_configuration_errors(tmp_path: Path, content: str) -> None:
    """A number instead of text, a list, broken JSON and a limit of zero are refused with exit code 4."""
    file = tmp_path / "budget.json"
    file.write_text(content)
    with pytest.raises(ControlError) as caught:
        load(Budget, file)
    assert caught.value.code == Exit.CONFIGURATION


@pytest.mark.parametrize("name", sorted(FILES))
def test_committed_files_and_schemas_are_current(name: str) -> None:
    """The files in config/ are valid and their schemas are those of the models."""
    load(FILES[name], DEFAULT_FOLDER / name)
    written = json.loads((DEFAULT_FOLDER / schema_name(name)).read_text())
    assert written == schema(FILES[name])


def test_headroom_is_rounded_up() -> None:
    """The part kept from new orders is never less than its percentage."""
    budget = Budget(limit_usd="0.000001", notional_limit_usd="100", headroom_percent="2")
    assert budget.headrooms_micros == (1, 2_000_000)
