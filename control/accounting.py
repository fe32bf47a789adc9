"""Positions and P&L in the integers in which the venues' own accounts can be compared with them.

`positions` and `pnl` are ours, from the participants' pages; `account` is what each venue itself
says. Field names and units are the same on both sides: quantity_e9, cost_micros, realized_micros,
fees_e8, cash_flow_micros.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from control import access, venues
from control.records import Record, read_json
from control.sqlite_look import looked_at
from control.status import snapshot

if TYPE_CHECKING:
    from bridge.paths import Paths

COMPARED = ("quantity_e9", "cost_micros", "realized_micros", "fees_e8", "cash_flow_micros")
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
    picture = snapshot(paths)
    return {
        "schema_version": 1,
        "as_of_wall_ns": picture["as_of_wall_ns"],
        "positions": with_assets(paths, picture["positions"]),
    }


def with_assets(paths: Paths, rows: list[Record]) -> list[Record]:
    """The rows with the venue's own name of the thing held: the outcome token's id on Polymarket,
    which is too long for the status page, and the symbol elsewhere."""
    tokens = outcome_tokens(paths)
    return [{**row, "asset_id": tokens.get(row["symbol"], row["symbol"])} for row in rows]


def outcome_tokens(paths: Paths) -> dict[str, str]:
    """Outcome symbol to token id, from the bot's table of markets; empty without one."""
    if not paths.bot_db.exists():
        return {}
    try:
        with looked_at(paths.bot_db) as database:
            rows = database.execute(
                "SELECT yes_symbol, yes_token, no_symbol, no_token FROM markets"
            ).fetchall()
    except sqlite3.Error:
        return {}
    return {symbol: token for row in rows for symbol, token in (row[:2], row[2:])}


def pnl(paths: Paths) -> Record:
    """Today's P&L: in total as the participants publish it, and summed per venue and symbol."""
    picture = snapshot(paths)
    rows = with_assets(paths, picture["positions"])
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
        "as_of_wall_ns": picture["as_of_wall_ns"],
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
        place = access.at(paths, name)
        ready, account = place.ready, None
        if ready is not None and place.simulator and not place.problem:
            try:
                account = httpx.get(f"{ready['admin']}/account", timeout=5.0, trust_env=False).json()
            except (httpx.HTTPError, KeyError, ValueError):
                account = None
        source = "the running venue"
        if account is None:
            kept = paths.sim_state(name) / "account.json"
            account, source = read_json(kept), str(kept)
        if account is not None:
            result[name] = {"source": source, **_summary(account), "account": account}
    return {"schema_version": 1, "venues": result}


def _summary(account: Record) -> Record:
    """Open orders, fills and positions over all keys of one venue's account."""
    keys = list((account.get("keys") or account.get("accounts") or {}).values())
    return {
        "open_orders": sum(len(key.get("open_orders") or []) for key in keys),
        "fills": sum(len(key.get("fills") or []) for key in keys),
        "positions": [
            {**row, "asset_id": row.get("asset_id") or row["symbol"]}
            for key in keys
            for row in key.get("positions") or []
        ],
    }


def compare(paths: Paths) -> tuple[bool, list[Record]]:
    """Ours beside the venues', per symbol, every integer that both keep. True when all money is equal.

    Ours is today's and theirs is since the account began, so they differ after a midnight UTC."""
    ours = {(row["venue"], row["asset_id"]): row for row in positions(paths)["positions"]}
    theirs = {
        (venue, row["asset_id"]): row
        for venue, book in accounts(paths)["venues"].items()
        for row in book["positions"]
    }
    rows = []
    for venue, asset in sorted(ours.keys() | theirs.keys()):
        mine, its = ours.get((venue, asset), {}), theirs.get((venue, asset), {})
        differences = {
            key: {"ours": mine.get(key, 0), "venue": its.get(key, 0)}
            for key in COMPARED
            if mine.get(key, 0) != its.get(key, 0)
        }
        symbol = mine.get("symbol") or its.get("symbol") or asset
        rows.append({"venue": venue, "symbol": symbol, "asset_id": asset, "differences": differences})
    return bool(theirs) and all(is_same_money(row["differences"]) for row in rows), rows


def is_same_money(differences: Record) -> bool:
    """No difference, or the only one that no money is behind: a fill whose event was lost is booked when it
    is found, after later ones, and by another order of fills the same sum is parted otherwise into what
    is realized and what the open quantity cost."""
    apart = {key: values["ours"] - values["venue"] for key, values in differences.items()}
    return apart.pop("cost_micros", 0) == apart.pop("realized_micros", 0) and not apart
