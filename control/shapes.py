"""What a file of ours looks like. Whatever reads one asks here first, so that a file of another shape, by
damage or by somebody's hand, is a file that says nothing, and no command fails in the middle over it.

    a type or a tuple of types    a value of it; a bool is no int, and an int fits into 64 bits
    [shape]                       a list whose every entry has the shape
    {key: shape}                  an object with these keys; "key?" may be missing; others do not matter
"""

from __future__ import annotations

from typing import Any

Shape = Any

INT64 = 1 << 63

PROCESS: Shape = {
    "name": str, "pid": int, "start_time": int, "state?": str, "restarts?": int, "argv?": [str],
}  # fmt: skip
SUPERVISOR: Shape = {
    "pid": int, "start_time": int, "children": [PROCESS], "mode?": str, "started_wall_ns?": int,
    "healthy?": bool, "budget?": dict, "options?": dict, "problems?": [str], "unverified?": [str],
}  # fmt: skip
EVENT: Shape = {"wall_ns": int, "source": str, "level": str, "name": str}
FILL: Shape = {
    "participant": str, "sequence": int, "wall_ns": int, "venue": str, "symbol": str, "side": str,
    "price_e9": int, "quantity_e9": int, "fee_e8": int, "maker": bool, "reversed": bool, "strategy": str,
}  # fmt: skip
READY: Shape = {
    "rest?": str, "clob?": str, "admin?": str, "ws?": str, "ws_api?": str, "ca?": (str, type(None)),
    "credentials?": dict,
}  # fmt: skip
ACCOUNT_KEY: Shape = {"open_orders?": list, "fills?": list, "positions?": [{"symbol": str}]}

_DIMENSION: Shape = dict.fromkeys(
    ("limit_micros", "used_micros", "positions_micros", "orders_micros", "free_micros"), int
)
_LATENCY: Shape = {"p50": int, "p99": int, "p999": int, "count": int}
PICTURE: Shape = {
    "schema_version": int,
    "mode": str,
    "taken_wall_ns?": (int, type(None)),
    "budget": {
        **_DIMENSION,
        "headroom_micros": int,
        "notional": _DIMENSION,
        "participants": [{"name": str, "used_micros": int, "alloc_micros": int, "open_orders": int}],
    },
    "pnl": dict.fromkeys(("day_micros", "realized_micros", "unrealized_micros", "fees_micros"), int),
    "venues": [
        {
            "name": str, "state": str, "feed_age_ms": (int, type(None)), "open_orders": int, "fills": int,
            "text": str, "dead_man": {"armed": bool, "expires_in_s": (int, float)},
        }
    ],
    "positions": [
        {
            "venue": str, "symbol": str, "quantity_e9": int, "mark_e9": int, "realized_micros": int,
            "unrealized_micros": int, "fees_e8": int, "cost_micros": int, "volume_micros": int,
            "cash_flow_micros": int,
        }
    ],
    "orders": [
        {
            "participant": str, "venue": str, "symbol": str, "side": str, "quantity_e9": int,
            "price_e9": int, "filled_e9": int, "state": str,
        }
    ],
    "fills": [FILL],
    "refusals": [{"reason": str, "count": int, "text": str}],
    "signals": dict,
    "latency": {"tick_to_order_ns": _LATENCY},
}  # fmt: skip
SIGNAL: Shape = {"mid_e9": int, "volatility_e9": int, "age_ms": (int, type(None))}


def has_shape(value: Any, shape: Shape) -> bool:
    """Whether the value looks like that."""
    if isinstance(shape, list):
        return isinstance(value, list) and all(has_shape(entry, shape[0]) for entry in value)
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(_has_entry(value, key, part) for key, part in shape.items())
    kinds = shape if isinstance(shape, tuple) else (shape,)
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int):
        return int in kinds and -INT64 <= value < INT64
    return isinstance(value, kinds)


def _has_entry(value: dict[str, Any], key: str, part: Shape) -> bool:
    if key.endswith("?"):
        name = key[:-1]
        return name not in value or has_shape(value[name], part)
    return key in value and has_shape(value[key], part)


def is_picture(value: Any) -> bool:
    """The last picture that a supervisor kept."""
    return has_shape(value, PICTURE) and all(has_shape(row, SIGNAL) for row in value["signals"].values())
