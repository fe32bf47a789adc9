"""Positions and P&L in the integers in which the venues' own accounts can be compared with them.

`positions` and `pnl` are ours, from the participants' pages; `account` is what each venue itself
says. Field names and units are the same on both sides: quantity_e9, cost_micros, realized_micros,
fees_e8, cash_flow_micros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control import venues
from control.records import Record, read_json
from control.status import snapshot

if TYPE_CHECKING:
    from bridge.paths import Paths

SUMMED = (
    "cost_micros",
    "realized_micros",
    "unrealized_micros",
    "fees_e8",
    "volume_micros",
    "cash_flow_micros",
)


def positions(paths: Paths) -> Record:
    """Every position that was held today, ours, one object a symbol."""
    return {"schema_version": 1, "positions": snapshot(paths)["positions"]}


def pnl(paths: Paths) -> Record:
    """Today's P&L: in total as the participants publish it, and summed per venue and symbol."""
    picture = snapshot(paths)
    rows: list[Record] = picture["positions"]
    by_venue: dict[str, Record] = {}
    for row in rows:
        sums = by_venue.setdefault(row["venue"], {"venue": row["venue"], **dict.fromkeys(SUMMED, 0)})
        for key in SUMMED:
            sums[key] += row[key]
    for sums in by_venue.values():
        sums["fees_micros"] = -(-sums["fees_e8"] // 100)
        sums["day_micros"] = sums["realized_micros"] + sums["unrealized_micros"] - sums["fees_micros"]
    total = {key: sum(row[key] for row in rows) for key in SUMMED}
    return {
        "schema_version": 1,
        "state": picture["state"],
        **picture["pnl"],
        "total": total,
        "venues": list(by_venue.values()),
        "positions": rows,
    }


def accounts(paths: Paths) -> Record:
    """What each venue's own books say, asked while it runs, else from the file that it left."""
    import httpx

    result: Record = {}
    for name in venues.VENUES:
        ready = venues.read_ready(paths.sim_ready(name))
        account: Any = None
        if ready is not None:
            try:
                account = httpx.get(f"{ready['admin']}/account", timeout=5.0, trust_env=False).json()
            except (httpx.HTTPError, KeyError, ValueError):
                account = None
        source = "the running venue"
        if account is None:
            kept = paths.sim_state(name) / "account.json"
            account, source = read_json(kept), str(kept)
        if account is not None:
            result[name] = {"source": source, "account": account}
    return {"schema_version": 1, "venues": result}
