"""The terminal view of one picture: a budget bar, processes, venues, positions, orders, fills.

Words stand beside every colour. Text that came from outside is stripped of control characters.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from control.config import signed_usd, usd
from control.printable import printable
from control.records import Record

BAR = 48
PIPE_WIDTH = 150
TONES = {
    "ACTIVE": "green", "READY": "green", "running": "green", "INIT": "yellow", "REDUCING": "yellow",
    "CANCEL_ONLY": "yellow", "SYNCING": "yellow", "CONNECTING": "yellow", "late": "yellow",
    "starting": "yellow", "recovering": "yellow", "HALTED": "bold red", "STOPPED": "red", "DOWN": "red",
    "dead": "red", "failed": "red", "hung": "red", "paused": "red", "NO_LEDGER": "red",
}  # fmt: skip


def toned(word: str) -> Text:
    """A state word in its colour."""
    return Text(printable(word), style=TONES.get(word, ""))


def scaled(value_e9: int) -> str:
    """An e9 integer as the shortest decimal."""
    whole, part = divmod(abs(value_e9), 1_000_000_000)
    digits = f"{part:09d}".rstrip("0")
    return ("-" if value_e9 < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def render(picture: Record) -> RenderableType:
    """The whole view."""
    parts: list[RenderableType] = [headline(picture), *alarms(picture)]
    parts += [_budget(picture["budget"], picture["state"]), today(picture)]
    for title, columns, rows in tables(picture):
        if rows:
            parts += [Text(""), Fitting(title, columns, rows)]
    parts += [Text(""), *_footer(picture)]
    return Group(*parts)


def alarms(picture: Record) -> list[Text]:
    """Why trading is halted, and what else is wrong."""
    said = [f"PROBLEM: {printable(text)}" for text in picture.get("problems", [])]
    if picture.get("halt"):
        why = printable(picture["halt"]).removeprefix("halted")
        said.insert(0, f"HALTED{why}. `control resume` lifts it.")
    return [Text(text, style="bold red") for text in said]


def headline(picture: Record) -> Text:
    """Mode, state, and since when."""
    line = Text()
    mode = str(picture["mode"]).upper()
    line.append(f" {mode} ", style="black on cyan" if mode == "PAPER" else "bold white on red")
    line.append("  ")
    line.append_text(toned(picture["state"]))
    if picture["running"]:
        line.append(f"  up {picture['uptime_s']} s")
    elif picture["problems"]:
        line.append("  without a supervisor", style="bold red")
    else:
        line.append(f"  not running{as_of(picture)}")
    return line


def as_of(picture: Record) -> str:
    """Of a picture of what ran last: when it was so. Empty while something runs."""
    wall_ns = picture.get("as_of_wall_ns")
    if wall_ns is None:
        return ""
    seen = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(wall_ns / 1e9))
    return f"; as of {seen} UTC, before the stop"


def budget_bar(budget: Record, width: int) -> Text:
    """The limit as a bar: used by positions and today's loss, by resting orders, free."""
    limit = max(1, budget["limit_micros"])
    held = min(width, width * budget["positions_micros"] // limit)
    resting = min(width - held, -(-width * budget["orders_micros"] // limit))
    line = Text("[")
    line.append("█" * held, style="red")
    line.append("▒" * resting, style="yellow")
    line.append("·" * (width - held - resting), style="dim")
    line.append(f"] ${usd(budget['limit_micros'])}")
    return line


def over_words(budget: Record, state: str) -> Text:
    """The word beside the bar when only reducing orders go out; empty otherwise."""
    if budget["used_micros"] > budget["limit_micros"]:
        return Text("  OVER LIMIT, reducing only", style="bold yellow")
    return Text("  REDUCING only" if state == "REDUCING" else "", style="yellow")


def _budget(budget: Record, state: str) -> Text:
    line = Text("\nBudget  ")
    line.append_text(budget_bar(budget, BAR))
    line.append(
        f": positions and today's loss "
        f"{signed_usd(budget['positions_micros'])}, resting orders {signed_usd(budget['orders_micros'])}, "
        f"free {signed_usd(budget['free_micros'])}"
    )
    line.append_text(over_words(budget, state))
    for row in budget["participants"]:
        line.append(
            f"\n        {row['name']}: {signed_usd(row['used_micros'])} used of "
            f"{signed_usd(row['alloc_micros'])} drawn, {row['open_orders']} orders"
        )
    return line


def today(picture: Record) -> Text:
    """Today's profit or loss and its parts."""
    pnl = picture["pnl"]
    day = pnl["day_micros"]
    line = Text("Today   ")
    line.append(signed_usd(abs(day)), style="green" if day >= 0 else "red")
    line.append(" profit" if day >= 0 else " LOSS")
    line.append(
        f"  (realized {signed_usd(pnl['realized_micros'])}, unrealized "
        f"{signed_usd(pnl['unrealized_micros'])}, fees {signed_usd(pnl['fees_micros'])}"
    )
    if cash := pnl.get("cash_micros"):
        line.append(f", funding and other cash {signed_usd(cash)}")
    line.append(")")
    return line


def age_text(age_ms: int | None) -> str:
    """An age for a table, short also when it is long."""
    if age_ms is None:
        return "-"
    for least_ms, unit_ms, unit in (
        (7_200_000, 3_600_000, "h"),
        (600_000, 60_000, "min"),
        (10_000, 1000, "s"),
    ):
        if age_ms >= least_ms:
            return f"{age_ms // unit_ms} {unit}"
    return f"{age_ms} ms"


def tables(picture: Record) -> Iterable[tuple[str, tuple[str, ...], list[list[Any]]]]:
    """The tables of the whole view: title, columns, rows."""
    yield (
        "Processes",
        ("name", "pid", "state", "heartbeat", "restarts", "MiB"),
        [
            [
                r["name"],
                r["pid"],
                toned(r["state"]),
                age_text(r["heartbeat_age_ms"]),
                r["restarts"],
                r["resident_bytes"] >> 20,
            ]
            for r in picture["processes"]
        ],
    )
    yield ("Venues", VENUE_COLUMNS, venue_rows(picture))
    yield ("Positions", POSITION_COLUMNS, position_rows(picture))
    yield ("Open orders", ORDER_COLUMNS, order_rows(picture["orders"][:12]))
    yield ("Last fills", FILL_COLUMNS, fill_rows(picture["fills"][-6:]))
    yield ("Refused", REFUSAL_COLUMNS, refusal_rows(picture["refusals"][:6]))


VENUE_COLUMNS = ("name", "state", "feed age", "dead-man switch", "orders", "fills", "note")
POSITION_COLUMNS = ("venue", "symbol", "quantity", "mark", "realized", "unrealized", "fees")
REFUSAL_COLUMNS = ("reason", "count", "meaning")


def venue_rows(picture: Record) -> list[list[Any]]:
    """Rows of venues as their owners see them."""
    return [
        [r["name"], toned(r["state"]), age_text(r["feed_age_ms"]), _dead_man(r["dead_man"]),
         r["open_orders"], r["fills"], r["text"]]
        for r in picture["venues"]
    ]  # fmt: skip


def refusal_rows(refusals: list[Record]) -> list[list[Any]]:
    """Rows of refusals, the most frequent reason first."""
    return [[r["reason"], r["count"], r["text"]] for r in refusals]


def _dead_man(switch: Record) -> str:
    return f"armed, {switch['expires_in_s']} s left" if switch["armed"] else "not armed"


def position_rows(picture: Record) -> list[list[Any]]:
    """Rows of positions; a flat one that traded today is shown too."""
    return [
        [r["venue"], r["symbol"], scaled(r["quantity_e9"]), scaled(r["mark_e9"]),
         signed_usd(r["realized_micros"]), signed_usd(r["unrealized_micros"]),
         signed_usd(-(-r["fees_e8"] // 100))]
        for r in picture["positions"]
    ]  # fmt: skip


ORDER_COLUMNS = ("participant", "venue", "symbol", "side", "quantity", "price", "filled", "state")
FILL_COLUMNS = ("time", "venue", "symbol", "side", "quantity", "price", "fee", "role", "strategy")


def order_rows(orders: list[Record]) -> list[list[Any]]:
    """Rows of open orders."""
    return [
        [r["participant"], r["venue"], r["symbol"], r["side"], scaled(r["quantity_e9"]),
         scaled(r["price_e9"]), scaled(r["filled_e9"]), r["state"]]
        for r in orders
    ]  # fmt: skip


def fill_rows(fills: list[Record]) -> list[list[Any]]:
    """Rows of fills."""
    return [
        [time.strftime("%H:%M:%S", time.gmtime(r["wall_ns"] / 1e9)), r["venue"], r["symbol"],
         r["side"] + (" reversed" if r["reversed"] else ""), scaled(r["quantity_e9"]), scaled(r["price_e9"]),
         f"{r['fee_e8'] / 1e8:.6f}", "maker" if r["maker"] else "taker", r["strategy"]]
        for r in fills
    ]  # fmt: skip


# What a narrow terminal does without, the least important first. A cut number or state would be worse
# than none.
DISPENSABLE = (
    "meaning", "note", "strategy", "MiB", "restarts", "role", "fees", "fee", "participant", "mark",
    "realized", "filled", "feed age", "pid", "time", "fills", "venue", "heartbeat",
)  # fmt: skip


class Fitting:
    """A table that leaves out columns until it fits. Cells may come from outside: whatever moves a
    cursor or hides text is made visible here, for every table."""

    def __init__(
        self, title: str, columns: tuple[str, ...], rows: list[list[Any]], *, dense: bool = False
    ) -> None:
        self._title, self._columns, self._rows = title, columns, rows
        self._dense = dense  # the title in place of the first column's name: a line saved

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        gone: set[str] = set()
        for column in ("", *(name for name in DISPENSABLE if name in self._columns)):
            gone.add(column)
            table = self._without(gone)
            if Measurement.get(console, options.update(width=1000), table).maximum <= options.max_width:
                break
        yield table

    def _without(self, gone: set[str]) -> Table:
        title = None if self._dense else self._title
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        shown = [index for index, name in enumerate(self._columns) if name not in gone]
        for index in shown:
            named = self._dense and index == shown[0]
            header = Text(self._title, style="bold not dim") if named else self._columns[index]
            table.add_column(header, no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            cells = [row[index] for index in shown]
            table.add_row(*(cell if isinstance(cell, Text) else Text(printable(str(cell))) for cell in cells))
        return table


def latency_text(picture: Record) -> str:
    """Tick to order, empty before the first order."""
    latency = picture["latency"]["tick_to_order_ns"]
    if not latency["count"]:
        return ""
    return f"p50 {latency['p50'] / 1000:.0f} µs, p99 {latency['p99'] / 1000:.0f} µs"


def _footer(picture: Record) -> list[RenderableType]:
    lines: list[RenderableType] = []
    if text := latency_text(picture):
        count = picture["latency"]["tick_to_order_ns"]["count"]
        lines.append(Text(f"Tick to order: {text} ({count} orders)"))
    for symbol, signal in picture["signals"].items():
        lines.append(
            Text(
                f"Signal {printable(symbol)}: mid {scaled(signal['mid_e9'])}, volatility "
                f"{signal['volatility_e9'] / 1e7:.1f} %/year, {age_text(signal['age_ms'])} old"
            )
        )
    return lines


def print_table(title: str, columns: tuple[str, ...], rows: list[list[Any]], empty: str) -> None:
    """One table on stdout, or a sentence when it has no rows."""
    console = console_of_stdout()
    console.print(Fitting(title, columns, rows) if rows else empty)


def console_of_stdout() -> Console:
    """stdout; in a pipe wide enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_once(picture: Record) -> None:
    """The view, once."""
    console_of_stdout().print(render(picture))
