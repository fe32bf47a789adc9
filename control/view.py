"""The terminal view of one picture: a budget bar, processes, venues, positions, orders, fills.

Words stand beside every colour. Text that came from outside is stripped of control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from control.config import signed_usd, usd
from control.records import Record
from control.venues import printable

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
    return Text(word, style=TONES.get(word, ""))


def scaled(value_e9: int) -> str:
    """An e9 integer as the shortest decimal."""
    whole, part = divmod(abs(value_e9), 1_000_000_000)
    digits = f"{part:09d}".rstrip("0")
    return ("-" if value_e9 < 0 else "") + str(whole) + (f".{digits}" if digits else "")


def render(picture: Record) -> RenderableType:
    """The whole view."""
    parts: list[RenderableType] = [_headline(picture)]
    if picture.get("halt"):
        parts.append(
            Text(
                f"HALTED{printable(picture['halt']).removeprefix('halted')}. `control resume` lifts it.",
                style="bold red",
            )
        )
    parts += [Text(f"PROBLEM: {printable(text)}", style="bold red") for text in picture.get("problems", [])]
    parts += [_budget(picture["budget"], picture["state"]), _pnl(picture)]
    for title, columns, rows in _tables(picture):
        if rows:
            parts += [Text(""), _Fitting(title, columns, rows)]
    parts += [Text(""), *_footer(picture)]
    return Group(*parts)


def _headline(picture: Record) -> Text:
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


def _budget(budget: Record, state: str) -> Text:
    limit = max(1, budget["limit_micros"])
    held = min(BAR, BAR * budget["positions_micros"] // limit)
    resting = min(BAR - held, -(-BAR * budget["orders_micros"] // limit))
    line = Text("\nBudget  [")
    line.append("█" * held, style="red")
    line.append("▒" * resting, style="yellow")
    line.append("·" * (BAR - held - resting), style="dim")
    line.append(
        f"] ${usd(budget['limit_micros'])}: positions and today's loss "
        f"{signed_usd(budget['positions_micros'])}, resting orders {signed_usd(budget['orders_micros'])}, "
        f"free {signed_usd(budget['free_micros'])}"
    )
    if budget["used_micros"] > budget["limit_micros"]:
        line.append("  OVER LIMIT, reducing only", style="bold yellow")
    elif state == "REDUCING":
        line.append("  REDUCING only", style="yellow")
    for row in budget["participants"]:
        line.append(
            f"\n        {row['name']}: {signed_usd(row['used_micros'])} used of "
            f"{signed_usd(row['alloc_micros'])} drawn, {row['open_orders']} orders"
        )
    return line


def _pnl(picture: Record) -> Text:
    pnl = picture["pnl"]
    day = pnl["day_micros"]
    line = Text("Today   ")
    line.append(signed_usd(day), style="green" if day >= 0 else "red")
    line.append(" profit" if day >= 0 else " loss")
    line.append(
        f"  (realized {signed_usd(pnl['realized_micros'])}, unrealized "
        f"{signed_usd(pnl['unrealized_micros'])}, fees {signed_usd(pnl['fees_micros'])})"
    )
    return line


def _age(age_ms: int | None) -> str:
    return "-" if age_ms is None else f"{age_ms} ms"


def _tables(picture: Record) -> Iterable[tuple[str, tuple[str, ...], list[list[Any]]]]:
    yield (
        "Processes",
        ("name", "pid", "state", "heartbeat", "restarts", "MiB"),
        [
            [
                r["name"],
                r["pid"],
                toned(r["state"]),
                _age(r["heartbeat_age_ms"]),
                r["restarts"],
                r["resident_bytes"] >> 20,
            ]
            for r in picture["processes"]
        ],
    )
    yield (
        "Venues",
        ("name", "state", "feed age", "dead-man switch", "orders", "fills", "note"),
        [
            [
                r["name"],
                toned(r["state"]),
                _age(r["feed_age_ms"]),
                _dead_man(r["dead_man"]),
                r["open_orders"],
                r["fills"],
                printable(r["text"]),
            ]
            for r in picture["venues"]
        ],
    )
    yield (
        "Positions",
        ("venue", "symbol", "quantity", "mark", "realized", "unrealized", "fees"),
        position_rows(picture),
    )
    yield ("Open orders", ORDER_COLUMNS, order_rows(picture["orders"][:12]))
    yield ("Last fills", FILL_COLUMNS, fill_rows(picture["fills"][-6:]))
    yield (
        "Refused",
        ("reason", "count", "meaning"),
        [[r["reason"], r["count"], r["text"]] for r in picture["refusals"][:6]],
    )


def _dead_man(switch: Record) -> str:
    return f"armed, {switch['expires_in_s']} s left" if switch["armed"] else "not armed"


def position_rows(picture: Record) -> list[list[Any]]:
    """Rows of positions; a flat one that traded today is shown too."""
    return [
        [r["venue"], printable(r["symbol"]), scaled(r["quantity_e9"]), scaled(r["mark_e9"]),
         signed_usd(r["realized_micros"]), signed_usd(r["unrealized_micros"]),
         signed_usd(-(-r["fees_e8"] // 100))]
        for r in picture["positions"]
    ]  # fmt: skip


ORDER_COLUMNS = ("participant", "venue", "symbol", "side", "quantity", "price", "filled", "state")
FILL_COLUMNS = ("time", "venue", "symbol", "side", "quantity", "price", "fee", "role", "strategy")


def order_rows(orders: list[Record]) -> list[list[Any]]:
    """Rows of open orders."""
    return [
        [r["participant"], r["venue"], printable(r["symbol"]), r["side"], scaled(r["quantity_e9"]),
         scaled(r["price_e9"]), scaled(r["filled_e9"]), r["state"]]
        for r in orders
    ]  # fmt: skip


def fill_rows(fills: list[Record]) -> list[list[Any]]:
    """Rows of fills."""
    return [
        [time.strftime("%H:%M:%S", time.gmtime(r["wall_ns"] / 1e9)), r["venue"], printable(r["symbol"]),
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


class _Fitting:
    """A table that leaves out columns until it fits."""

    def __init__(self, title: str, columns: tuple[str, ...], rows: list[list[Any]]) -> None:
        self._title, self._columns, self._rows = title, columns, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        gone: set[str] = set()
        for column in ("", *(name for name in DISPENSABLE if name in self._columns)):
            gone.add(column)
            table = self._without(gone)
            if Measurement.get(console, options.update(width=1000), table).maximum <= options.max_width:
                break
        yield table

    def _without(self, gone: set[str]) -> Table:
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False, header_style="dim")
        shown = [index for index, name in enumerate(self._columns) if name not in gone]
        for index in shown:
            table.add_column(self._columns[index], no_wrap=True, overflow="ellipsis")
        for row in self._rows:
            cells = [row[index] for index in shown]
            table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells))
        return table


def _footer(picture: Record) -> list[RenderableType]:
    latency = picture["latency"]["tick_to_order_ns"]
    lines: list[RenderableType] = []
    if latency["count"]:
        lines.append(
            Text(
                f"Tick to order: p50 {latency['p50'] / 1000:.0f} µs, p99 {latency['p99'] / 1000:.0f} µs "
                f"({latency['count']} orders)"
            )
        )
    for symbol, signal in picture["signals"].items():
        lines.append(
            Text(
                f"Signal {printable(symbol)}: mid {scaled(signal['mid_e9'])}, volatility "
                f"{signal['volatility_e9'] / 1e7:.1f} %/year, {_age(signal['age_ms'])} old"
            )
        )
    return lines


def print_table(title: str, columns: tuple[str, ...], rows: list[list[Any]], empty: str) -> None:
    """One table on stdout, or a sentence when it has no rows."""
    console = _console()
    console.print(_Fitting(title, columns, rows) if rows else empty)


def _console() -> Console:
    """stdout; in a pipe wide enough that nothing is cut."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_once(picture: Record) -> None:
    """The view, once."""
    _console().print(render(picture))


def watch(take: Callable[[], Record]) -> Record:
    """The view, twice a second, until Ctrl-C or until nothing runs any more. Returns the last picture."""
    picture = take()
    with Live(render(picture), refresh_per_second=4, screen=False, transient=False) as live:
        try:
            while picture["running"]:
                time.sleep(0.5)
                picture = take()
                live.update(render(picture))
        except KeyboardInterrupt:
            pass
    return picture
