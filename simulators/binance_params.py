"""Request parameters: text from a query, a form or JSON, read with the venue's refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from simulators.binance_rules import VenueError
from simulators.matching import BUY, SELL

Params = Mapping[str, str]


def required(params: Params, name: str) -> str:
    """The value of a mandatory parameter."""
    value = params.get(name, "")
    if not value:
        raise VenueError(-1102, name)
    return value


def whole(params: Params, name: str, default: int) -> int:
    """A whole number, or `default` when it was not sent."""
    text = params.get(name)
    if text is None:
        return default
    if not is_whole(text):
        raise VenueError(-1102, name)
    return int(text)


def is_whole(text: str) -> bool:
    """Whether a text is up to 18 of the digits 0 to 9."""
    return text.isascii() and text.isdigit() and len(text) <= 18


def ws_text(raw: Any) -> dict[str, str]:
    """JSON parameters as text: numbers as written, booleans in lower case."""
    if not isinstance(raw, dict):
        raise VenueError(-1102, "params")
    params: dict[str, str] = {}
    for name, value in raw.items():
        if isinstance(value, bool):
            params[name] = "true" if value else "false"
        elif isinstance(value, str | int | float):
            params[name] = str(value)
        else:
            raise VenueError(-1102, name)
    return params


def json_list(params: Params, name: str, most: int) -> list[Any]:
    try:
        values = msgspec.json.decode(required(params, name).encode())
    except msgspec.DecodeError as error:
        raise VenueError(-1130, name) from error
    if not isinstance(values, list) or not 1 <= len(values) <= most:
        raise VenueError(-1130, name)
    return values


def flag(params: Params, name: str) -> bool:
    """ "true" or "false" in any case."""
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise VenueError(-1130, name)
    return text == "true"


def side_of(params: Params) -> int:
    """BUY or SELL."""
    text = required(params, "side")
    if text not in ("BUY", "SELL"):
        raise VenueError(-1117)
    return BUY if text == "BUY" else SELL
