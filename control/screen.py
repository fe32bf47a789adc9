"""The live view: one picture on a terminal of any size, without scrolling.

When the whole view has room, it is shown. Otherwise a dense one: what must never be missing (mode,
state, alarms, budget, today, processes, venues with their dead-man switches, counts) in as few lines
as it takes, and as many fills, refusals, positions and orders below as there is room for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.text import Text

from control import view
from control.config import signed_usd
from control.records import Record

PERIOD_S = 0.5
ROOMY = 30  # from this height on, blank lines set the parts apart


class Screen:
    """One picture, as much of it as fits below the lines to be left free."""

    def __init__(self, picture: Record, free_lines: int = 1) -> None:
        self._picture = picture
        self._free_lines = free_lines  # one at least: a line feed after the last one would scroll

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = (options.height or console.height) - self._free_lines
        options = options.update(height=None)
        if sum(len(rows) for _, _, rows in view.tables(self._picture)) < room:
            whole = view.render(self._picture)
            if _lines(console, options, whole) <= room:
                yield whole
                return
        gap = [Text("")] if room >= ROOMY - 1 else []
        head = Group(*_head(self._picture, options.max_width, gap))
        yield head
        sections = _shared_out(_sections(self._picture), room - _lines(console, options, head), len(gap))
        for title, columns, rows, total in sections:
            shown = title if len(rows) == total else f"{title} {len(rows)}/{total}"
            yield from gap
            yield view.Fitting(shown, columns, rows, dense=True)


def _lines(console: Console, options: ConsoleOptions, content: RenderableType) -> int:
    return len(console.render_lines(content, options, pad=False))


def _head(picture: Record, width: int, gap: list[Text]) -> list[RenderableType]:
    budget = picture["budget"]
    first = view.headline(picture)
    if text := view.latency_text(picture):
        first.append(f"  tick to order {text}")
    bar = Text("Budget  ")
    bar.append_text(view.budget_bar(budget, max(8, min(view.BAR, width - 30))))
    bar.append_text(view.over_words(budget, picture["state"]))
    split = (
        f"        positions and loss {signed_usd(budget['positions_micros'])}, resting orders "
        f"{signed_usd(budget['orders_micros'])}, free {signed_usd(budget['free_micros'])}"
    )
    used = ", ".join(
        f"{row['name']} {signed_usd(row['used_micros'])} of {signed_usd(row['alloc_micros'])} drawn"
        for row in budget["participants"]
    )
    lines: list[RenderableType] = [first, *view.alarms(picture), *gap, bar, Text(split)]
    if used:
        lines.append(Text(f"        {used}"))
    lines += [view.today(picture), Text(_counts(picture)), *gap]
    lines.append(Columns([_process(row) for row in picture["processes"]], padding=(0, 3)))
    if picture["venues"]:
        lines += [*gap, view.Fitting("Venues", view.VENUE_COLUMNS, view.venue_rows(picture), dense=True)]
    return lines


def _process(row: Record) -> Text:
    text = Text(f"{row['name']} ", no_wrap=True)
    text.append_text(view.toned(row["state"]))
    if row["heartbeat_age_ms"] is not None:
        text.append(f" {view.age_text(row['heartbeat_age_ms'])}")
    if row["restarts"]:
        text.append(f", restarted {row['restarts']}x", style="yellow")
    return text


def _counts(picture: Record) -> str:
    held = sum(1 for row in picture["positions"] if row["quantity_e9"])
    fills = sum(row["fills"] for row in picture["venues"])
    refused = sum(row["count"] for row in picture["refusals"])
    return f"Open    {len(picture['orders'])} orders, {held} positions; {fills} fills, {refused} refused"


Section = tuple[str, tuple[str, ...], list[list[Any]], bool, int]  # title, columns, rows, newest last, least


def _sections(picture: Record) -> list[Section]:
    """The parts that take what room is left, the most wanted first, each with its least rows."""
    held = sorted(picture["positions"], key=lambda row: row["quantity_e9"] == 0)
    positions = view.position_rows({"positions": held})
    return [
        ("Fills", view.FILL_COLUMNS, view.fill_rows(picture["fills"]), True, 3),
        ("Refused", view.REFUSAL_COLUMNS, view.refusal_rows(picture["refusals"]), False, 1),
        ("Positions", view.POSITION_COLUMNS, positions, False, 3),
        ("Orders", view.ORDER_COLUMNS, view.order_rows(picture["orders"]), False, 3),
    ]


def _shared_out(
    sections: list[Section], room: int, gap: int
) -> list[tuple[str, tuple[str, ...], list[list[Any]], int]]:
    """Each section with the rows that it gets, and how many it has. First the least of each, in order,
    then one more row to each in turn while there is room."""
    given = [0] * len(sections)
    for index, (_, _, rows, _, least) in enumerate(sections):
        wanted = min(least, len(rows), room - 1 - gap)
        if wanted > 0:
            given[index] = wanted
            room -= wanted + 1 + gap
    while room > 0:
        growing = [i for i, s in enumerate(sections) if 0 < given[i] < len(s[2])]
        if not growing:
            break
        for index in growing[:room]:
            given[index] += 1
            room -= 1
    return [
        (title, columns, rows[-count:] if newest_last else rows[:count], len(rows))
        for (title, columns, rows, newest_last, _), count in zip(sections, given, strict=True)
        if count
    ]


def watch(take: Callable[[], Record]) -> Record:
    """The view, twice a second, until Ctrl-C or until nothing runs any more. It takes the terminal's
    other screen, so that a change of size leaves no rests; the last picture stays on the usual one."""
    console = view.console_of_stdout()
    picture = take()
    if picture["running"]:
        with Live(Screen(picture), console=console, screen=True, auto_refresh=False) as live:
            try:
                while picture["running"]:
                    live.update(Screen(picture), refresh=True)
                    time.sleep(PERIOD_S)
                    picture = take()
            except KeyboardInterrupt:
                pass
    console.print(Screen(picture, free_lines=4))
    return picture
