"""Fills that no participant has booked: what a flatten sold, and what filled while nobody was left to see it.

Engine and bot are dead by then, so their pages and journals do not know these fills. They are kept in
late_fills.jsonl, durably, and every view adds them to what the pages say. At the next start the
participants find the same executions at the venues and book them themselves; from then on a fill of this
file counts no longer. So each counts exactly once:

    with a page of a run that began before the fill was recorded: here
    with a page of a later run: there, once that run has reconciled with its venue
    with nothing but the last picture that was kept: here, when it was recorded after the picture was taken
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from bridge.ledger import LedgerView
from control import shared, words
from control.recorder import recorded_fills
from control.records import Record, RecordFile, read_json, read_records

if TYPE_CHECKING:
    from bridge.paths import Paths

FILE = "late_fills.jsonl"
KNOWN_FILLS = 20_000  # of fills.jsonl, as far back as a flatten looks for what is booked
OVERLAP_NS = 120_000_000_000  # a page's last word may be older than this before its last fills were seen
MICROS = 10**12  # price in 1e-9 times quantity in 1e-9, to micro-dollars
Key = tuple[str, str, str, str]
_NUMBERS = ("recorded_wall_ns", "occurrence", "price_e9", "quantity_e9", "fee_e8", "wall_ns")
_WORDS = ("participant", "venue", "symbol", "execution_id", "side", "reversed")


def key_of(fill: Record) -> Key:
    """What tells two executions apart; two orders of ours in one trade share it and are counted."""
    venue, symbol, execution, side = (
        str(fill.get(name, "")) for name in ("venue", "symbol", "execution_id", "side")
    )
    return venue, symbol, execution, side


def unbooked_since_ns(paths: Paths, venue: str) -> int | None:
    """From when (wall clock) our books may lack a fill of the venue. None: we have no books of it."""
    page = shared.read_page(paths, words.OWNERS[venue])
    if page is None:
        kept = (read_json(paths.mode_home / "last.json") or {}).get("taken_wall_ns")
        return kept - OVERLAP_NS if isinstance(kept, int) else None
    written_ns = time.time_ns() - max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - page.updated_ns)
    # What was executed before this run began, its start has booked or taken over.
    return max(written_ns - OVERLAP_NS, page.started_wall_ns)


def record_unbooked(paths: Paths, executions: Iterable[Record]) -> int:
    """Keep those of the venue's executions that neither a page nor the kept fills nor this file knows.
    Returns how many. OSError passes."""
    known: Counter[Key] = Counter()
    for source in (*_booked(paths), recorded(paths)):
        known |= Counter(key_of(fill) for fill in source if not fill.get("reversed"))
    file = RecordFile(paths.mode_home / FILE)
    seen: Counter[Key] = Counter()
    added = 0
    for fill in executions:
        key = key_of(fill)
        seen[key] += 1
        if known[key] > 0:
            known[key] -= 1
            continue
        file.append({**fill, "occurrence": seen[key], "recorded_wall_ns": time.time_ns()})
        added += 1
    if added:
        file.sync()
    file.close()
    return added


def _booked(paths: Paths) -> list[list[Record]]:
    """The fills that are in our books already, each list with one entry a fill."""
    pages = [page for name in words.PARTICIPANTS[1:] if (page := shared.read_page(paths, name))]
    kept = recorded_fills(paths.mode_home, KNOWN_FILLS)
    if pages:
        return [[fill for page in pages for fill in page.fills], kept]
    # Our books are then the last picture, which is a little older than the last fills that were kept: it
    # names the newest that it has in it.
    shown = (read_json(paths.mode_home / "last.json") or {}).get("fills") or []
    newest = {key_of(fill) for fill in shown}
    oldest_ns = min((int(fill.get("wall_ns", 0)) for fill in shown), default=0)
    return [[fill for fill in kept if key_of(fill) in newest or int(fill.get("wall_ns", 0)) < oldest_ns]]


def recorded(paths: Paths) -> list[Record]:
    """Every whole line, once: two flattens at the same time may both have found a fill."""
    found: dict[tuple[Key, int], Record] = {}
    for fill in read_records(paths.mode_home / FILE):
        if all(isinstance(fill.get(name), int) for name in _NUMBERS) and set(_WORDS) <= set(fill):
            found.setdefault((key_of(fill), fill["occurrence"]), fill)
    return list(found.values())


def beside_pages(paths: Paths, pages: dict[str, Any], view: LedgerView | None) -> list[Record]:
    """Those that count beside these pages."""
    return [fill for fill in recorded(paths) if _counts(fill, pages.get(str(fill["participant"])), view)]


def _counts(fill: Record, page: Any, view: LedgerView | None) -> bool:
    if page is None or any(key_of(known) == key_of(fill) for known in page.fills):
        return False
    if page.started_wall_ns < fill["recorded_wall_ns"]:
        return True
    # A later run, which has its books from its journal until the venue has told it the rest.
    line = view.participants[words.PARTICIPANTS.index(fill["participant"])] if view is not None else None
    has_books = any(row["symbol"] == fill["symbol"] and row["quantity_e9"] for row in page.positions)
    return line is not None and line.pid == page.pid and not line.reconciled_ns and has_books


def since(paths: Paths, taken_wall_ns: Any) -> list[Record]:
    """Those that count beside a picture that was taken then."""
    return [
        fill
        for fill in recorded(paths)
        if isinstance(taken_wall_ns, int) and fill["recorded_wall_ns"] > taken_wall_ns
    ]


def with_fills(picture: Record, fills: list[Record]) -> Record:
    """The picture with these fills in its positions and in its profit and loss."""
    if not fills:
        return picture
    before = picture["positions"]
    rows = {(row["venue"], row["symbol"]): dict(row) for row in before}
    for fill in sorted(fills, key=lambda record: int(record["wall_ns"])):
        at = (str(fill["venue"]), str(fill["symbol"]))
        row = rows.setdefault(at, _empty(fill))
        short = fill["side"] == "SELL" and row["quantity_e9"] < fill["quantity_e9"]
        if short and fill["venue"] == "polymarket":
            continue  # tokens that our books never had: an outcome cannot be held short
        _book(row, fill)
    after = [row for row in rows.values() if row["quantity_e9"] or row["volume_micros"]]
    pnl = dict(picture["pnl"])
    for name in ("realized_micros", "unrealized_micros"):
        pnl[name] += sum(row[name] for row in after) - sum(row[name] for row in before)
    pnl["fees_micros"] += _fees_micros(after) - _fees_micros(before)
    pnl["day_micros"] += sum(pnl[n] - picture["pnl"][n] for n in ("realized_micros", "unrealized_micros"))
    pnl["day_micros"] -= pnl["fees_micros"] - picture["pnl"]["fees_micros"]
    venues = [_with_cash(row, fills) for row in picture.get("venues", [])]
    return {**picture, "positions": after, "pnl": pnl, "venues": venues}


def _with_cash(row: Record, fills: list[Record]) -> Record:
    """A venue's row, whose wallet our books expect to hold what the venue said that these fills changed it
    by. Where a venue tells no such number (`wallet_e8`), the books stay those of the last reading."""
    cash = row.get("cash")
    changes = [fill["wallet_e8"] for fill in fills if fill["venue"] == row["name"] and "wallet_e8" in fill]
    if not cash or not cash.get("known") or not changes:
        return row
    return {**row, "cash": {**cash, "books_e8": cash["books_e8"] + sum(changes)}}


def _empty(fill: Record) -> Record:
    numbers = dict.fromkeys(
        ("quantity_e9", "cost_micros", "realized_micros", "unrealized_micros", "fees_e8", "volume_micros",
         "cash_flow_micros"), 0,
    )  # fmt: skip
    return {
        "participant": fill["participant"], "venue": fill["venue"], "symbol": fill["symbol"],
        "mark_e9": fill["price_e9"], **numbers,
    }  # fmt: skip


def _fees_micros(rows: list[Record]) -> int:
    """Each participant rounds its fees up to whole micro-dollars."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[str(row["participant"])] += row["fees_e8"]
    return sum(-(-fees // 100) for fees in sums.values())


def _book(row: Record, fill: Record) -> None:
    """The rule that all of Purser shares: what grows a position adds to its cost; what shrinks it releases
    cost in proportion, truncated toward zero, and realizes the difference."""
    sign = 1 if fill["side"] == "BUY" else -1
    quantity, price = int(fill["quantity_e9"]), int(fill["price_e9"])
    value, held = price * quantity // MICROS, int(row["quantity_e9"])
    closed = min(quantity, abs(held)) if held * sign < 0 else 0
    closing_value = price * closed // MICROS
    if closed:
        share = abs(row["cost_micros"]) * closed // abs(held)
        released = share if row["cost_micros"] >= 0 else -share
        row["realized_micros"] += -sign * closing_value - released
        row["cost_micros"] -= released
    row["cost_micros"] += sign * (value - closing_value)
    row["quantity_e9"] = held + sign * quantity
    row["cash_flow_micros"] -= sign * value
    row["volume_micros"] += value
    row["fees_e8"] += int(fill["fee_e8"])
    worth = row["quantity_e9"] * row["mark_e9"] // MICROS
    row["unrealized_micros"] = worth - row["cost_micros"] if row["mark_e9"] else 0
