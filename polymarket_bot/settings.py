"""The configuration file, checked: an unknown key is an error that names the nearest known one.

Money, prices and sizes are decimal text in the file and integers in here, in the units of model.py.
"""

from __future__ import annotations

import difflib
import json
import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from polymarket_bot.api.decimals import parse_scaled
from polymarket_bot.errors import BotError, ConfigurationError, CredentialsError
from polymarket_bot.model import Price, Size
from polymarket_bot.risk.manager import RiskLimits
from polymarket_bot.strategy.market_maker import QuoteSettings

Mode = Literal["dry-run", "paper", "live"]
MODES: tuple[str, ...] = get_args(Mode)
SECOND_NS = 1_000_000_000


def _decimal(decimals: int) -> BeforeValidator:
    def parse(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError('write it as text in quotes, for example "10.5"')
        try:
            return parse_scaled(value, decimals)
        except BotError as error:
            raise ValueError('write a plain decimal in quotes, for example "10.5"') from error

    return BeforeValidator(parse)


_TEXT = WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"})
Six = Annotated[int, _decimal(6), _TEXT]  # USD, prices, shares
Nine = Annotated[int, _decimal(9), _TEXT]  # quantities of the reference


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointSettings(Section):
    """Either the name of a simulator's ready line in the runtime folder, or every URL."""

    simulator: str | None = None
    clob: str | None = None
    ws: str | None = None
    gamma: str | None = None
    data: str | None = None
    relayer: str | None = None
    rpc: str | None = None
    ca: str = ""

    @model_validator(mode="after")
    def _complete(self) -> EndpointSettings:
        urls = (self.clob, self.ws, self.gamma, self.data, self.relayer, self.rpc)
        if (self.simulator is None) == all(url is None for url in urls):
            raise ValueError('give either "simulator" or all of clob, ws, gamma, data, relayer, rpc')
        if self.simulator is None and not all(urls):
            raise ValueError("give all of clob, ws, gamma, data, relayer, rpc: none is guessed")
        return self


class CredentialSettings(Section):
    """Either the simulator's ready line, or a file below PURSER_HOME with mode 0600."""

    simulator: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> CredentialSettings:
        if (self.simulator is None) == (self.file is None):
            raise ValueError('give either "simulator" or "file"')
        return self


class MarketSettings(Section):
    discover: Literal["btc"] = Field("btc", description="which reference the markets must be about")
    limit: int = Field(3, ge=1, le=20)
    reference: str = "BTCUSDT"
    min_remaining_s: int = Field(300, ge=0)
    max_remaining_s: int = Field(86_400, ge=60)
    tag_id: int | None = Field(None, description="Gamma tag to search in; none: all open markets")
    refresh_s: int = Field(60, ge=5)


class StrategySettings(Section):
    quote_size: Six
    half_spread_ticks: int = Field(2, ge=1, le=50)
    min_edge: Six
    max_position: Six
    skew_ticks: int = Field(4, ge=0, le=100)
    max_divergence: Six
    lowest: Six
    highest: Six
    deviation_percent: int = Field(0, ge=0, le=1000)
    stop_before_expiry_s: int = Field(120, ge=0)
    tolerance_ticks: int = Field(1, ge=0, le=20)
    requote_interval_ms: int = Field(500, ge=50)

    def quotes(self) -> QuoteSettings:
        return QuoteSettings(
            size=Size(self.quote_size),
            half_spread_ticks=self.half_spread_ticks,
            min_edge=Price(self.min_edge),
            max_position=Size(self.max_position),
            skew_ticks=self.skew_ticks,
            max_divergence=Price(self.max_divergence),
            lowest=Price(self.lowest),
            highest=Price(self.highest),
            deviation_percent=self.deviation_percent,
            stop_before_expiry_ns=self.stop_before_expiry_s * SECOND_NS,
        )


class RiskSettings(Section):
    max_order_size: Six
    max_order_notional_usd: Six
    max_position: Six
    max_open_orders: int = Field(ge=1, le=100)
    price_collar: Six
    orders_per_10s: int = Field(ge=1, le=600)
    signal_stale_ms: int = Field(3000, ge=100)
    daily_loss_usd: Six

    def limits(self) -> RiskLimits:
        return RiskLimits(
            max_order_size=Size(self.max_order_size),
            max_order_notional_micros=self.max_order_notional_usd,
            max_position=Size(self.max_position),
            max_open_orders=self.max_open_orders,
            price_collar=Price(self.price_collar),
            orders_per_10s=self.orders_per_10s,
            daily_loss_micros=self.daily_loss_usd,
        )


class HedgeSettings(Section):
    enabled: bool = True
    threshold: Nine
    max: Nine
    price_limit_ppm: int = Field(500, ge=1, le=50_000)
    interval_s: int = Field(0, ge=0, le=600, description="least time between two changes of the target")


class StorageSettings(Section):
    file: str | None = Field(None, description="SQLite file; default: bot.db of the mode. DATABASE_URL wins")


class CashSettings(Section):
    every_s: int = Field(60, ge=1, le=60, description="how often wallet, tokens and activity are compared")


class Settings(Section):
    schema_file: str | None = Field(None, alias="$schema")
    venue: Literal["polymarket"]
    environment: Literal["paper", "live"]
    endpoints: EndpointSettings
    credentials: CredentialSettings
    markets: MarketSettings
    strategy: StrategySettings
    risk: RiskSettings
    hedge: HedgeSettings
    storage: StorageSettings = StorageSettings(file=None)
    cash: CashSettings = CashSettings(every_s=60)


def load_settings(path: Path) -> Settings:
    """Read and check; raises ConfigurationError with one line per problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the configuration {path} cannot be read ({error.strerror}).") from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}:{error.lineno}: not JSON: {error.msg}.") from error
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: the file must hold one JSON object.")
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        lines = [_problem(problem) for problem in error.errors()]
        raise ConfigurationError(f"{path}:\n  " + "\n  ".join(lines)) from error


def _problem(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys(Settings, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field is not None else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def json_schema() -> str:
    """The schema that stands beside the configuration files."""
    schema = Settings.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Purser Polymarket bot"
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


# --- files with secrets --------------------------------------------------------------------------

KEYS_EXAMPLE = '{"private_key": "0x…", "wallet": "0x…", "api_key": "…", "api_secret": "…", "passphrase": "…"}'


def read_private(path: Path, what: str, example: str) -> dict[str, Any]:
    """A JSON object from a file that only we can read; refuses links, other owners and wide modes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CredentialsError(
            f"{what}: {path} cannot be opened ({error.strerror}). Put {example} there with mode 0600."
        ) from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise CredentialsError(f"{what}: {path} must be yours and have mode 0600: chmod 600 {path}")
        try:
            data = json.load(file)
        except ValueError as error:
            raise CredentialsError(f"{what}: {path} is not JSON. It must hold {example}.") from error
    if not isinstance(data, dict):
        raise CredentialsError(f"{what}: {path} must hold {example}.")
    return data
