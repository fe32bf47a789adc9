"""Where the venue is and who we are there: from the configuration, a ready line, or a keys file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from bridge.access import Access
from bridge.ledger import Amounts
from bridge.paths import Paths
from polymarket_bot.api.decimals import parse_scaled
from polymarket_bot.api.polymarket import Credentials, Endpoints
from polymarket_bot.errors import ConfigurationError, CredentialsError, VenueError
from polymarket_bot.settings import KEYS_EXAMPLE, Mode, Settings, read_private

GEOBLOCK_URL = "https://polymarket.com/api/geoblock"
READY_LINE = "the simulator's ready line (start it with `control start --paper`)"


def connection_details(settings: Settings, mode: Mode, paths: Paths) -> tuple[Endpoints, Credentials | None]:
    """Endpoints, and credentials except for a dry run. Raises ConfigurationError or CredentialsError."""
    environment = "live" if mode == "live" else "paper"
    if mode != "dry-run" and settings.environment != environment:
        raise ConfigurationError(
            f'--mode {mode} needs a configuration whose environment is "{environment}"; '
            f'this one says "{settings.environment}".'
        )
    endpoints = _endpoints(settings, paths)
    if mode == "dry-run":
        return endpoints, None
    chosen = settings.credentials
    if chosen.simulator is not None:
        data = _ready_line(paths, chosen.simulator).get("credentials")
        return endpoints, _credentials(data, chosen.simulator)
    path = paths.home / str(chosen.file)
    return endpoints, _credentials(read_private(path, "Polymarket keys", KEYS_EXAMPLE), str(path))


def _ready_line(paths: Paths, name: str) -> dict[str, Any]:
    return read_private(paths.runtime / name, "simulator", READY_LINE)


def _endpoints(settings: Settings, paths: Paths) -> Endpoints:
    chosen = settings.endpoints
    source: dict[str, Any] = chosen.model_dump()
    if chosen.simulator is not None:
        source = _ready_line(paths, chosen.simulator)
    names = ("clob", "ws", "gamma", "data", "relayer", "rpc")
    missing = [name for name in names if not isinstance(source.get(name), str)]
    if missing:
        raise ConfigurationError(f"{chosen.simulator}: the ready line lacks {', '.join(missing)}.")
    urls = {name: str(source[name]) for name in names}
    return Endpoints(**urls, ca=str(source.get("ca") or ""))


def access_of(
    settings: Settings, mode: Mode, paths: Paths, endpoints: Endpoints, credentials: Credentials
) -> Access:
    """What is recorded of these connection details: everything but the secrets."""
    chosen, key = settings.endpoints, settings.credentials
    return Access(
        participant="polymarket_bot",
        venue="polymarket",
        mode=mode,
        environment=settings.environment,
        endpoints=asdict(endpoints),
        api_key=credentials.api_key,
        ready=str(paths.runtime / chosen.simulator) if chosen.simulator is not None else "",
        key_ready=str(paths.runtime / key.simulator) if key.simulator is not None else "",
        key_file=str(paths.home / key.file) if key.file is not None else "",
    )


def budget_limit(path: Path) -> Amounts:
    """The budget file's limit, for a run without a supervisor."""
    try:
        data = json.loads(path.read_text())
        return Amounts(parse_scaled(data["limit_usd"]), parse_scaled(data["notional_limit_usd"]))
    except (OSError, ValueError, KeyError, TypeError, VenueError) as error:
        raise ConfigurationError(
            f"the budget file {path} needs limit_usd and notional_limit_usd in quotes."
        ) from error


def _credentials(data: Any, source: str) -> Credentials:
    if not isinstance(data, dict):
        raise CredentialsError(f"{source} holds no credentials: it must hold {KEYS_EXAMPLE}.")
    wallet = data.get("wallet") or data.get("address")
    values = (
        data.get("private_key"),
        wallet,
        data.get("api_key"),
        data.get("api_secret"),
        data.get("passphrase"),
    )
    if not all(isinstance(value, str) and value for value in values):
        raise CredentialsError(f"{source} is incomplete: it must hold {KEYS_EXAMPLE}.")
    return Credentials(*(str(value) for value in values))


async def check_geoblock() -> None:
    """Polymarket refuses some countries; trading from there is not attempted (docs, geoblocking)."""
    try:
        async with httpx.AsyncClient(timeout=5.0) as client:
            answer = (await client.get(GEOBLOCK_URL)).json()
    except (httpx.HTTPError, ValueError) as error:
        raise ConfigurationError(f"whether Polymarket may be used from here is unknown: {error}.") from error
    if not isinstance(answer, dict) or answer.get("blocked") is not False:
        raise ConfigurationError("Polymarket does not accept orders from this country: use --mode dry-run.")
