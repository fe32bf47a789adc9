"""Settings of the supervisor: config/budget.json and config/paper.json.

Money is a decimal string in the files and integer micro-USD inside; a binary float never exists in
between. An unknown key is an error with a suggestion, so that a misspelt limit cannot be ignored.
The JSON Schemas beside the files are written from these models (`control config schema`).
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from control.errors import ControlError, Exit
from control.records import read_plain

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_FOLDER = ROOT / "config"
MAX_MICROS = 10**15  # one thousand million dollars: far above any use, far below overflow in C

_DECIMAL = re.compile(r"(\d{1,10})(?:\.(\d{1,6}))?")
Decimal = Annotated[str, Field(pattern=r"^\d{1,10}(\.\d{1,6})?$")]
Port = Annotated[int, Field(ge=0, le=65535)]


def micros(text: str) -> int:
    """ "12.5" to 12500000. ValueError when it is not a plain decimal with at most six places."""
    match = _DECIMAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount like 1000 or 12.50")
    value = int(match[1]) * 1_000_000 + int((match[2] or "").ljust(6, "0"))
    if value > MAX_MICROS:
        raise ValueError(f"{text!r} is too large")
    return value


def usd(value_micros: int) -> str:
    """12500000 to "12.50": the shortest decimal with at least two places."""
    sign = "-" if value_micros < 0 else ""
    whole, part = divmod(abs(value_micros), 1_000_000)
    digits = f"{part:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def signed_usd(value_micros: int) -> str:
    """-1500000 to "-$1.50": to the cent, for views; files and JSON carry all digits."""
    cents = (abs(value_micros) + 5_000) // 10_000
    return f"{'-' if value_micros < 0 and cents else ''}${cents // 100}.{cents % 100:02d}"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Budget(_Model):
    """config/budget.json: the one number, and the second dimension beside it."""

    limit_usd: Decimal = Field(description="the most that may be lost today, in USD")
    notional_limit_usd: Decimal = Field(description="the most gross notional held or on order, in USD")
    headroom_percent: Decimal = Field(
        default="2",
        description="part of each limit kept from new orders, so that moving marks can be charged",
    )

    @model_validator(mode="after")
    def _sensible(self) -> Budget:
        if not 0 < micros(self.limit_usd) <= MAX_MICROS or micros(self.notional_limit_usd) <= 0:
            raise ValueError("limit_usd and notional_limit_usd must be above zero")
        if micros(self.headroom_percent) > 50_000_000:
            raise ValueError("headroom_percent must be 50 or less")
        return self

    @property
    def limits_micros(self) -> tuple[int, int]:
        """The limit of each dimension: loss, notional."""
        return micros(self.limit_usd), micros(self.notional_limit_usd)

    @property
    def headrooms_micros(self) -> tuple[int, int]:
        """The headroom of each dimension, rounded up."""
        loss, notional = (
            -(-limit * micros(self.headroom_percent) // 100_000_000) for limit in self.limits_micros
        )
        return loss, notional


class Simulator(_Model):
    """How one local venue is started. Port 0 lets the system choose a free one."""

    port: Port = 0
    admin_port: Port = 0
    profile: str | None = None
    seed: int | None = Field(default=None, ge=0)
    faults: str | None = None


class Paper(_Model):
    """config/paper.json: what `control start --paper` starts, and when the supervisor steps in."""

    engine_config: str = Field(default="binance_sim.json", description="the engine's file, beside this one")
    bot_config: str = Field(default="polymarket_sim.json", description="the bot's file, beside this one")
    seed: int = Field(default=1, ge=0, description="seed of both simulated markets")
    binance: Simulator = Simulator(profile="prod-strict")
    polymarket: Simulator = Simulator()
    daily_loss_usd: Decimal = Field(default="500", description="a loss of this much today halts everything")
    over_budget_readings: int = Field(
        default=5, ge=2, le=100, description="so many readings in a row, 100 ms apart, above 105 % halt"
    )
    hung_after_s: int = Field(
        default=10, ge=2, le=120, description="a process without a heartbeat for this long is replaced"
    )
    start_timeout_s: int = Field(default=30, ge=5, le=300, description="how long `start` waits for healthy")

    @model_validator(mode="after")
    def _sensible(self) -> Paper:
        if micros(self.daily_loss_usd) <= 0:
            raise ValueError("daily_loss_usd must be above zero")
        return self


ModelT = TypeVar("ModelT", bound=BaseModel)


def load(model: type[ModelT], path: Path) -> ModelT:
    """Read one file. ControlError(CONFIGURATION) names the file, the key, and what to write instead."""
    try:
        content = json.loads(read_plain(path))
    except FileNotFoundError:
        raise ControlError(
            f"{path} is missing; restore it or name another folder with --config.", Exit.CONFIGURATION
        ) from None
    except OSError as error:
        raise ControlError(f"{path} cannot be read: {error.strerror}.", Exit.CONFIGURATION) from None
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{path} is not JSON: {error}. Correct it there.", Exit.CONFIGURATION) from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = [_sentence(model, detail) for detail in error.errors()]
        raise ControlError(f"{path}: " + "; ".join(lines) + ".", Exit.CONFIGURATION) from None


def _sentence(model: type[BaseModel], detail: ErrorDetails) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}" if where else str(detail["msg"])
    known = _known_keys(model, detail["loc"][:-1])
    close = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "known keys: " + ", ".join(known)
    return f"unknown key {where!r} ({hint})"


def _known_keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    current: Any = model
    for part in path:
        field = current.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type):
            return []
        current = field.annotation
    return sorted(current.model_fields) if issubclass(current, BaseModel) else []


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a file, as committed beside it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


FILES: dict[str, type[BaseModel]] = {"budget.json": Budget, "paper.json": Paper}


def schema_name(file_name: str) -> str:
    """budget.json to budget.schema.json."""
    return file_name.removesuffix(".json") + ".schema.json"
