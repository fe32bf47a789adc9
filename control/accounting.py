"""Positions and P&L in the integers in which the venues' own accounts can be compared with them.

`positions` and `pnl` are ours, from the participants' pages; `account` is what each venue itself
says. Field names and units are the same on both sides: quantity_e9, cost_micros, realized_micros,
fees_e8, cash_flow_micros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from control import access, venues
from control.records import Record, read_json
from control.shapes import ACCOUNT_KEY, has_shape
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
MOVED = ("cash_micros", "transfers_micros")  # without a fill: part of the day's result, and not
AT_ONCE = ("engine",)  # participants whose venue moves the cash with each fill, and not when it is mined


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
    return {symbol: token for symbol, token, _ in known_tokens(paths)}


def known_tokens(paths: Paths) -> list[tuple[str, str, int]]:
    """Symbol, token and the end of the market (wall ns) of every outcome in the bot's table. It is a plain
    file, so that neither a dead bot nor its database stands in the way; what cannot be read is left out."""
    rows = (read_json(paths.markets) or {}).get("markets")
    found: list[tuple[str, str, int]] = []
    for row in rows if isinstance(rows, list) else []:
        try:
            expiry_ns = int(row["expiry_ns"])
            found += [(str(s), str(t), expiry_ns) for s, t in zip(row["symbols"], row["tokens"], strict=True)]
        except (KeyError, TypeError, ValueError):
            continue
    return found


def pnl(paths: Paths) -> Record:
    """Today's P&L: in total as the participants publish it, and summed per venue and symbol."""
    picture = snapshot(paths)
    rows = with_assets(paths, picture["positions"])
    by_venue: dict[str, Record] = {}
    for row in rows:
        sums = by_venue.setdefault(row["venue"], _no_sums(row["venue"]))
        for key in SUMMED:
            sums[key] += row[key]
    for venue in picture["venues"]:
        if cash := venue.get("cash"):
            sums = by_venue.setdefault(venue["name"], _no_sums(venue["name"]))
            sums["cash_micros"] += cash["cash_micros"]
            sums["transfers_micros"] += cash["transfers_micros"]
    for sums in by_venue.values():
        sums["fees_micros"] = -(-sums["fees_e8"] // 100)
        result = sums["realized_micros"] + sums["unrealized_micros"] - sums["fees_micros"]
        sums["day_micros"] = result + sums["cash_micros"]
    total = {key: sum(row[key] for row in rows) for key in SUMMED}
    return {
        "schema_version": 1,
        "state": picture["state"],
        "as_of_wall_ns": picture["as_of_wall_ns"],
        **dict.fromkeys(MOVED, 0),
        **picture["pnl"],
        "total": total,
        "venues": list(by_venue.values()),
        "positions": rows,
    }


def _no_sums(venue: str) -> Record:
    return {"venue": venue, **dict.fromkeys(SUMMED + MOVED, 0)}


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
            except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError):
                account = None
        source = "the running venue"
        if account is None:
            kept = paths.sim_state(name) / "account.json"
            account, source = read_json(kept), str(kept)
        if is_account(account):
            result[name] = {"source": source, **_summary(account), "account": account}
    return {"schema_version": 1, "venues": result}


def is_account(account: Record | None) -> TypeGuard[Record]:
    """An account as the simulators write it: by key, and nothing else in the place of its lists."""
    if not isinstance(account, dict):
        return False
    keys = account.get("keys") or account.get("accounts") or {}
    return isinstance(keys, dict) and all(has_shape(key, ACCOUNT_KEY) for key in keys.values())


def _summary(account: Record) -> Record:
    """Open orders, fills and positions over all keys of one venue's account."""
    keys = list((account.get("keys") or account.get("accounts") or {}).values())
    cash = [amount for key in keys if (amount := _cash_e8(key)) is not None]
    return {
        "cash_e8": sum(cash) if keys and len(cash) == len(keys) else None,
        "open_orders": sum(len(key.get("open_orders") or []) for key in keys),
        "fills": sum(len(key.get("fills") or []) for key in keys),
        "positions": [
            {**row, "asset_id": row.get("asset_id") or row["symbol"]}
            for key in keys
            for row in key.get("positions") or []
        ],
    }


def _cash_e8(account: Record) -> int | None:
    """The cash of one key's account in units of 1e-8 USD; None when its venue does not tell it."""
    if "cash_e8" in account:
        return int(account["cash_e8"])
    return int(account["cash_micros"]) * 100 if "cash_micros" in account else None


def compare_cash(paths: Paths) -> list[Record]:
    """Per venue the cash that our books expect there beside what the venue says, in units of 1e-8 USD.

    Where trades are mined later, a living participant's own reading stands in for a cash that differs."""
    theirs = accounts(paths)["venues"]
    picture = snapshot(paths)
    rows = []
    for venue in picture["venues"]:
        cash, book = venue.get("cash"), theirs.get(venue["name"])
        if not cash or not cash["known"] or book is None or book["cash_e8"] is None:
            continue
        rows.append(cash_row(venue, book["cash_e8"], running=picture["running"]))
    return rows


def cash_row(venue: Record, its: int, *, running: bool) -> Record:
    """One venue's row of the picture beside the cash that the venue says. The reading of one that is dead
    tells nothing of what was sold since, so that then only the venue's own word counts."""
    cash = venue["cash"]
    ours, as_of = cash["books_e8"], "now"
    alive = running and venue["state"] != "DOWN" and cash["read_age_ms"] is not None
    if venue["participant"] not in AT_ONCE and alive and abs(ours - its) > 1:
        its, as_of = cash["wallet_e8"], f"the bot's reading {cash['read_age_ms']} ms ago"
    return {
        "venue": venue["name"],
        "ours_e8": ours,
        "venue_e8": its,
        "equal": abs(ours - its) <= 1,
        "as_of": as_of,
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
