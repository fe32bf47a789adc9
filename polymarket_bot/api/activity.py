"""The account's activity as the Data API tells it, reduced to what moved money without a trade of ours.

The venue writes amounts without a sign and lets the type tell the direction (docs.polymarket.com, "List
account activity"). A row has no id: it is known by its type, its transaction, its market and its
amount, and only rows that are equal in all of them are numbered. So its name does not depend on what else
an answer holds, and a sibling that the feed shows a read later renames nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from polymarket_bot.errors import VenueError
from polymarket_bot.model import ONE

AMOUNT_MAX = Decimal(10) ** 12
OUTWARD = frozenset({"WITHDRAWAL", "SPLIT"})
KEY_TEXT_MAX = 70  # a hash has 66; the whole key fits its column


@dataclass(frozen=True, slots=True)
class Movement:
    """One row. `amount_micros` is what it does to the wallet: below zero it is taken."""

    key: str
    type: str
    transaction: str
    condition_id: str
    amount_micros: int
    wall_ns: int


def read_movements(items: Iterable[Any]) -> list[Movement]:
    """Rows of the client, oldest first, without the trades, which are read from the order book. Raises
    VenueError when one cannot be understood: what is not read would be missing from the books."""
    found = [movement for item in items if (movement := _read(item)) is not None]
    found.sort(key=lambda movement: (movement.wall_ns, movement.key))
    seen: Counter[str] = Counter()
    numbered = []
    for movement in found:
        seen[movement.key] += 1
        number = seen[movement.key]
        numbered.append(movement if number == 1 else _numbered(movement, number))
    return numbered


def _numbered(movement: Movement, number: int) -> Movement:
    return Movement(
        f"{movement.key}#{number}",
        movement.type,
        f"{movement.transaction}#{number}",
        movement.condition_id,
        movement.amount_micros,
        movement.wall_ns,
    )


def _read(item: Any) -> Movement | None:
    kind = _text(item.type)
    raw: dict[str, Any] = getattr(item, "raw", None) or {}
    if kind == "TRADE":
        if not getattr(item, "is_combo", False):
            return None
        kind = "COMBO_TRADE"  # a basket is no market of ours
    if item.timestamp is None:
        raise VenueError(f"activity: a row of type {kind[:20]!r} has no time")
    amount = _micros(_amount(item, raw), kind)
    side = _text(getattr(item, "side", None) or raw.get("side", ""))
    if kind in OUTWARD or side in ("OUT", "BUY"):
        amount = -abs(amount)
    transaction = _text(getattr(item, "transaction_hash", None) or "")
    condition = _text(getattr(item, "condition_id", None) or raw.get("condition_id", "") or "")
    wall_ns = int(item.timestamp.timestamp()) * 1_000_000_000
    place = transaction or str(wall_ns)
    key = f"{kind[:20]}:{place}:{condition}={amount}"
    return Movement(key, kind[:20], f"{place}={amount}", condition, amount, wall_ns)


def keys_of_rows(rows: Iterable[tuple[str, str, int]]) -> list[str]:
    """The names of stored rows (key, type, amount) as they are given now. Older ones had no amount and were
    numbered by their place in an answer."""
    seen: Counter[str] = Counter()
    keys = []
    for key, kind, amount in rows:
        if "=" in key or key.count(":") < 2 or not key.startswith(f"{kind}:"):
            keys.append(key)
            continue
        base = f"{key.partition('#')[0]}={amount}"
        seen[base] += 1
        keys.append(base if seen[base] == 1 else f"{base}#{seen[base]}")
    return keys


def _amount(item: Any, raw: dict[str, Any]) -> object:
    for value in (getattr(item, "amount", None), raw.get("usdc_size"), raw.get("size")):
        if value is not None:
            return value
    return None


def _micros(value: object, kind: str) -> int:
    try:
        amount = Decimal(str(value))
    except ArithmeticError as error:
        raise VenueError(f"activity: a row of type {kind[:20]!r} has no amount") from error
    if not amount.is_finite() or abs(amount) > AMOUNT_MAX:
        raise VenueError(f"activity: a row of type {kind[:20]!r} has no usable amount")
    return int((amount * ONE).to_integral_value())


def _text(value: object) -> str:
    """A short printable text, whatever the venue wrote."""
    return "".join(c for c in str(value) if c.isprintable())[:KEY_TEXT_MAX]
