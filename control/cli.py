"""The `control` command. Words go to stderr, data to stdout; every error says what to do next.

Modules are imported inside the commands, so that `kill` and `status` start without loading what
only `start` needs.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cores import forbid_core_dumps
from control.errors import ControlError, Exit
from control.printable import printable, printable_text

if TYPE_CHECKING:
    from bridge.paths import Paths

HELP = """Starts, watches and stops Purser: every process, one limit.

First steps:  control start --paper   then   control status   then   control stop

Emergency:    control kill   stops everything at once and keeps it stopped until `control resume`.

Exit codes: 0 ok, 1 error, 2 usage, 3 not running, 4 configuration or credentials, 5 timeout,
6 kill partly confirmed, 7 kill unverified, 8 refused: halted."""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
budget_app = typer.Typer(help="The one limit: show it, or set it.", no_args_is_help=True)
config_app = typer.Typer(
    help="The files in config/: check them, or show what a start would use.", no_args_is_help=True
)
app.add_typer(budget_app, name="budget")
app.add_typer(config_app, name="config")

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=100000, help="How many, newest last.")]
Yes = Annotated[bool, typer.Option("--yes", help="Confirm without being asked.")]
Config = Annotated[Path | None, typer.Option("--config", help="Folder of the settings (default: config/).")]


def show_version(wanted: bool) -> None:
    """`control --version`, the same as `control version`."""
    if wanted:
        typer.echo(version_text())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """What comes before the command."""


def say(text: str) -> None:
    """A sentence for people. Words of a venue may be in it, so nothing in it moves a cursor."""
    typer.echo(printable_text(text), err=True)


def emit(content: Any) -> None:
    """Data for programs."""
    sys.stdout.write(json.dumps(content, indent=1) + "\n")


def open_paths(*, create: bool = False, trusted: bool = True) -> Paths:
    """The folders of paper mode. The runtime folder has a name that anyone could have taken: what is in one
    that is not ours alone must not tell a command which processes to end or which venue to ask."""
    from bridge.paths import Paths, PathsError, refuse_untrusted

    try:
        paths = Paths.from_environment("paper", create=create)
        if trusted:
            refuse_untrusted(paths.home)
            refuse_untrusted(paths.runtime)
        return paths
    except PathsError as error:
        raise ControlError(f"{str(error)[0].upper()}{str(error)[1:]}.", Exit.ERROR) from None


def open_paths_for_kill() -> Paths:
    """An emergency stop goes on without a runtime folder that is not ours alone: nothing of ours starts
    with such a one."""
    from bridge.paths import PathsError, refuse_untrusted

    paths = open_paths(trusted=False)
    try:
        refuse_untrusted(paths.runtime)
    except PathsError as error:
        _kill_line(f"{error}; what is in it is not believed", "bad")
        return dataclasses.replace(paths, runtime=paths.home / "no-runtime")
    return paths


def config_folder(chosen: Path | None) -> Path:
    """The folder of the settings."""
    from control.config import DEFAULT_FOLDER

    return (chosen or DEFAULT_FOLDER).resolve()


def confirmed(yes: bool, what: str, word: str) -> None:
    """A typed confirmation on a terminal; elsewhere --yes is needed. Nothing is ever asked of a pipe."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ControlError(f"{what} That needs a confirmation: add --yes.", Exit.USAGE)
    if typer.prompt(f"{what} Type {word} to go on", err=True, default="", show_default=False) != word:
        raise ControlError("Not confirmed; nothing was changed.")


# ---- start, stop, kill, resume -------------------------------------------------------------------


@app.command()
def start(
    paper: Annotated[
        bool, typer.Option("--paper", help="Trade against local simulators (the default).")
    ] = False,
    testnet: Annotated[
        bool, typer.Option("--testnet", help="Not in this release: says what can be used instead.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Not in this release: paper only.")] = False,
    feed: Annotated[str | None, typer.Option("--feed", help="Recorded Binance capture to replay.")] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", min=0.01, help="Replay speed, 1 is real time.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Seed of the simulated markets.")] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay here; Ctrl-C stops.")] = False,
    config: Config = None,
    engine_config: Annotated[Path | None, typer.Option("--engine-config", help="The engine's file.")] = None,
    bot_config: Annotated[Path | None, typer.Option("--bot-config", help="The bot's file.")] = None,
    limit_usd: Annotated[
        str | None, typer.Option("--limit-usd", help="The limit for this run; above the kept one it asks.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Bring everything up, wait until it is healthy, then leave it running.

    control start --paper                        a synthetic market

    control start --paper --feed FILE --speed 5  a recorded market, five times as fast
    """
    _refuse_other_modes(testnet, live)
    from control.budget import is_first_start, raise_text, source_line
    from control.config import Paper, load
    from control.start import check_startable, prepare_folders, start_detached, summary

    paths = open_paths()
    options: dict[str, Any] = {
        "config": str(config_folder(config)), "feed": feed, "seed": seed, "limit_usd": limit_usd,
        "speed": None if speed is None else str(speed),
        "engine_config": None if engine_config is None else str(engine_config),
        "bot_config": None if bot_config is None else str(bot_config),
    }  # fmt: skip
    if speed is not None and feed is None:
        raise ControlError("--speed is the speed of a replay: name a capture with --feed too.", Exit.USAGE)
    full = check_startable(paths, options)
    folder = Path(full["config"])
    if (
        limit_usd is not None
        and not is_first_start(paths)
        and (raised := raise_text(paths, folder, limit_usd))
    ):
        confirmed(yes, f"--limit-usd RAISES the limit {raised}.", "raise")
    paths = open_paths(create=True)
    prepare_folders(paths)
    say("Starting in PAPER mode")
    say(f"✓ {source_line(paths, folder, limit_usd)}")
    if foreground:
        from control.supervisor import run_supervisor

        code = run_supervisor(paths, full, lambda kind, text: _foreground_step(paths, kind, text))
        if code == Exit.OK:
            say("✓ Stopped")
        raise typer.Exit(code)
    timeout_s = load(Paper, Path(full["config"]) / "paper.json").start_timeout_s
    start_detached(paths, full, say, timeout_s)
    typer.echo(summary(paths))


def _foreground_step(paths: Paths, kind: str, text: str) -> None:
    from control.start import summary

    say(f"{'✗' if kind == 'failed' else '✓'} {text}")
    if kind == "healthy":
        typer.echo(summary(paths))


def _refuse_other_modes(testnet: bool, live: bool) -> None:
    if testnet:
        raise ControlError(
            "Not in this release, which starts paper mode against local simulators only. The engine by "
            'itself can use the venue\'s test system: put {"api_key": "…", "api_secret": "…"} into '
            f"{open_paths().keys / 'binance-testnet.json'} (mode 0600), then "
            "`bin/trader --mode paper --exchange binance --config config/binance_testnet.json`.",
            Exit.CONFIGURATION,
        )
    if live:
        raise ControlError(
            "Not in this release: it trades on paper only. Use `control start --paper`.", Exit.CONFIGURATION
        )


@app.command()
def stop(
    keep_venues: Annotated[
        bool,
        typer.Option(
            "--keep-venues",
            help="Leave the simulated venues up, as real ones would be: for `control kill --flatten`, which "
            "must be able to ask them, or for the next start. A later `control stop` ends them.",
        ),
    ] = False,
) -> None:
    """Stop gracefully: cancel every order, keep positions, end every process.

    To close positions too: control stop --keep-venues   then   control kill --flatten
    """
    from control.stop import stop as stop_all

    stop_all(open_paths(), say, keep_venues)


KILL_HELP = (
    "EMERGENCY STOP. Never asks, works with everything else dead, may be repeated.\n\n"
    "Halts the ledger, latches, ends engine, bot and supervisor, cancels at each venue by a connection of "
    "its own, and verifies, twice. While an order of ours can still land (up to 6 s at Binance, a minute at "
    "Polymarket) it goes on looking. Ends with 0 when all is confirmed, 6 when partly, 7 when a venue could "
    "not be reached. `control resume` lifts it."
)


@app.command(help=KILL_HELP)
def kill(
    flatten: Annotated[
        bool,
        typer.Option(
            "--flatten",
            help="Close positions too, reduce-only, at every venue that was ever used; works after a stop as "
            "well, as long as the venues can be asked (simulated ones: `control stop --keep-venues`).",
        ),
    ] = False,
    venue: Annotated[
        str | None,
        typer.Option(
            "--venue", help="Cancel and verify at this venue only; the halt is for everything all the same."
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the halt.")] = "",
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="Do not wait for orders on their way: end with 6 and say when."),
    ] = False,
) -> None:
    """The emergency stop; what it does is in control/kill.py."""
    from control.kill import NO_VENUE, Kill
    from control.venues import VENUES

    if venue is not None and venue not in VENUES:
        # An emergency stop never stops at a typing mistake: too much is stopped rather than nothing.
        _kill_line(f"no venue is called {venue!r} ({', '.join(VENUES)}); all of them are emptied", "bad")
        venue = None
    report = Kill(open_paths_for_kill(), reason, flatten, venue, _kill_line, wait=not no_wait).run()
    code = report.exit_code()
    words = {
        Exit.OK: "KILLED: confirmed" if report.venues else f"KILLED: {NO_VENUE}",
        Exit.KILL_PARTLY: "KILLED PARTLY: see above",
        Exit.KILL_UNVERIFIED: "KILL UNVERIFIED: see above",
    }[code]
    _kill_line(f"{words} ({report.seconds:.1f} s)", "good" if code == Exit.OK else "bad")
    raise typer.Exit(int(code))


HELP_WORDS = ("-h", "-?", "help")


def understood(words: list[str]) -> tuple[list[str], list[str]]:
    """The arguments of a kill that make sense, and the others. In an emergency a typing mistake must not
    be what keeps everything running: what is not understood is said, and everything is stopped. Only
    whoever seems to look for help gets help."""
    kept: list[str] = []
    misread: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        option = word.partition("=")[0]
        if word in ("--flatten", "--no-wait") or (option in ("--venue", "--reason") and "=" in word):
            kept.append(word)
        elif option in ("--venue", "--reason") and left and not left[0].startswith("--"):
            kept.append(f"{option}={left.pop(0)}")
        elif word in HELP_WORDS or word.startswith("--h"):
            return ["--help"], []
        else:
            misread.append(word)
    return kept, misread


def _kill_line(text: str, tone: str) -> None:
    mark = {"good": "✓ ", "bad": "✗ "}.get(tone, "· ")
    colour = {"good": "green", "bad": "red"}.get(tone)
    if "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb":
        colour = None
    try:
        typer.secho(mark + printable(text), fg=colour)
    except OSError:
        # Nobody reads any more. What is still buffered goes nowhere, so that the exit code stays ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())


@app.command()
def resume(yes: Yes = False) -> None:
    """Lift a halt, after every venue confirmed that no order is open there."""
    from control.latch import describe, is_latched
    from control.resume import is_halted
    from control.resume import resume as lift

    paths = open_paths()
    if not is_halted(paths):
        raise ControlError("Trading is not halted; nothing to resume.")
    if is_latched(paths.latch):
        say(f"Trading is {describe(paths.latch)}.")
    confirmed(yes, "This lifts the halt: is its cause understood?", "resume")
    for line in lift(paths):
        say(f"✓ {line}")
    say("Resumed. Start again with `control start --paper` (a running supervisor goes on by itself).")


# ---- views ---------------------------------------------------------------------------------------


@app.command()
def status(
    once: Annotated[bool, typer.Option("--once", help="Print once, even on a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Everything in one view: live on a terminal, once in a pipe. Ends with 3 when nothing runs."""
    from control.status import snapshot

    paths = open_paths()
    if as_json:
        picture = snapshot(paths)
        emit(picture)
    else:
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not once:
            from control.screen import watch

            picture = watch(lambda: snapshot(paths))
        else:
            from control.view import print_once

            picture = snapshot(paths)
            print_once(picture)
    if not picture["running"]:
        say(_why_not_running(picture))
        raise typer.Exit(int(Exit.NOT_RUNNING))


def _why_not_running(picture: dict[str, Any]) -> str:
    problems = [f"{text[0].upper()}{text[1:]}." for text in picture["problems"]]
    if picture["state"] == "HALTED":
        lift = "Halted: `control resume` lifts it when the cause is understood, then `control start --paper`."
        return "\n".join([*problems, lift])
    return problems[0] if problems else "Not running. `control start --paper` starts it."


@app.command()
def orders(as_json: Json = False) -> None:
    """Open orders: everything that the ledger holds a reservation for."""
    from control.status import snapshot

    rows = snapshot(open_paths())["orders"]
    if as_json:
        emit({"schema_version": 1, "orders": rows})
        return
    from control.view import ORDER_COLUMNS, order_rows, print_table

    print_table("Open orders", ORDER_COLUMNS, order_rows(rows), "No open orders.")


@app.command()
def positions(as_json: Json = False) -> None:
    """Positions by our own books; also after a stop. `control account` shows the venues' books."""
    from control.accounting import positions as take

    content = take(open_paths())
    if as_json:
        emit(content)
        return
    from control.view import POSITION_COLUMNS, position_rows, print_table

    _say_when(content)
    print_table("Positions", POSITION_COLUMNS, position_rows(content), "No positions.")


def _say_when(content: dict[str, Any]) -> None:
    """Numbers of a run that ended say so."""
    from control.view import as_of

    if text := as_of(content):
        say(f"Not running{text}.")


@app.command()
def fills(count: Count = 20, as_json: Json = False) -> None:
    """Fills, newest last; also after a stop."""
    from control.status import newest_fills

    rows = newest_fills(open_paths(), count)
    if as_json:
        emit({"schema_version": 1, "fills": rows})
        return
    from control.view import FILL_COLUMNS, fill_rows, print_table

    print_table("Fills", FILL_COLUMNS, fill_rows(rows), "No fills yet.")


@app.command()
def pnl(as_json: Json = False) -> None:
    """Today's profit and loss, in total and per venue; also after a stop."""
    from control.accounting import pnl as take

    content = take(open_paths())
    if as_json:
        emit(content)
        return
    from control.config import signed_usd
    from control.view import print_table

    keys = ("realized_micros", "unrealized_micros", "fees_micros", "cash_micros", "day_micros")
    rows = [[row["venue"], *(signed_usd(row[key]) for key in keys)] for row in content["venues"]]
    _say_when(content)
    rows.append(["all", *(signed_usd(content[key]) for key in keys)])
    columns = ("venue", "realized", "unrealized", "fees", "funding and other cash", "day")
    print_table("Today", columns, rows, "")
    if content["transfers_micros"]:
        say(f"Deposits less withdrawals: {signed_usd(content['transfers_micros'])}, no part of the result.")


ACCOUNT_HELP = (
    "What each venue's own books say (JSON): to compare with `positions --json` and `pnl --json`.\n\n"
    "--compare sets our books beside the venues' per symbol: quantity, cost, realized, fees and cash flow, "
    "to the last integer, and per venue the cash that our books expect there. "
    "Marks and unrealized are not compared: each side marks by its own latest price. "
    "Ours are today's and theirs since the account began, so after midnight UTC the sums differ. "
    "A fill that was found late is booked after later ones: realized and cost then differ by the same "
    "amount, and that alone counts as equal."
)


@app.command()
def clock(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Say that the wall clock is right: new risk is allowed again.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Which day is counted, and whether the wall clock is believed."""
    from control.bus import ask
    from control.latch import actor

    paths = open_paths()
    content = ask(paths, {"command": "clock"}, timeout_s=5.0)["clock"]
    if confirm:
        confirmed(yes, f"This machine's time is {_utc(content['wall_ns'])}.", "confirm")
        content.update(ask(paths, {"command": "clock_confirm", "actor": actor()})["clock"])
    if as_json:
        emit(content)
        return
    say(f"This machine's time is {_utc(content['wall_ns'])}; day {content['day']} is counted.")
    for name, offset in content["offsets_s"].items():
        say(f"{name}: {'its clock cannot be asked' if offset is None else f'{offset:+.2f} s from ours'}")
    say(f"No new risk: {content['doubted']}." if content["doubted"] else "The clock is believed.")


def _utc(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_ns / 1e9))


@app.command(help=ACCOUNT_HELP)
def account(
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare with our books; ends with 1 when they differ.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON, which is also the default.")] = True,
) -> None:
    """The venues' own books, alone or beside ours."""
    from control.accounting import COMPARED, accounts, compare_cash
    from control.accounting import compare as compare_books

    paths = open_paths()
    content = accounts(paths)
    if not content["venues"]:
        say("No venue runs and none left an account. `control start --paper` starts them.")
        raise typer.Exit(int(Exit.NOT_RUNNING))
    if not compare:
        emit(content)
        return
    equal, rows = compare_books(paths)
    cash = compare_cash(paths)
    equal = equal and all(row["equal"] for row in cash)
    emit({"schema_version": 1, "equal": equal, "compared": COMPARED, "symbols": rows, "cash": cash})
    say("✓ Our books equal the venues'." if equal else "✗ Our books differ from the venues'.")
    say("Not compared: marks and unrealized. Ours are today's: after midnight UTC the sums differ.")
    if not equal:
        raise typer.Exit(int(Exit.ERROR))


@app.command()
def events(
    count: Count = 30,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new ones.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Check the chains of the journals; ends with 1 when one is broken."),
    ] = False,
    as_json: Json = False,
) -> None:
    """What happened, newest last: starts, deaths, refusals, halts, limit changes."""
    from control.status import newest_events

    paths = open_paths()
    if verify:
        _verify(paths, as_json)
        return
    show = (lambda row: sys.stdout.write(json.dumps(row) + "\n")) if as_json else _event_line
    rows = newest_events(paths, count)
    for row in rows:
        show(row)
    if not (rows or as_json):
        say("No events yet.")
    if not follow:
        return
    last = rows[-1]["wall_ns"] if rows else 0
    try:
        while True:
            sys.stdout.flush()
            time.sleep(0.3)
            for row in newest_events(paths, 1000):
                if row["wall_ns"] > last:
                    show(row)
                    last = row["wall_ns"]
    except KeyboardInterrupt:
        return


def _verify(paths: Paths, as_json: bool) -> None:
    from control.verify import sentences
    from control.verify import verify as check

    result = check(paths)
    if as_json:
        emit(result)
    else:
        for sentence in sentences(result):
            typer.echo(printable(sentence))
    if not result["whole"]:
        raise typer.Exit(int(Exit.ERROR))


def _event_line(row: dict[str, Any]) -> None:
    fixed = ("wall_ns", "source", "level", "name")
    rest = " ".join(
        f"{key}={value}" for key, value in row.items() if key not in fixed and value not in (None, "")
    )
    when = time.strftime("%H:%M:%S", time.gmtime(row["wall_ns"] / 1e9))
    typer.echo(printable(f"{when} {row['level']:<7} {row['source']:<14} {row['name']} {rest}"))


@app.command()
def logs(
    name: Annotated[
        str, typer.Argument(help="engine, bot, supervisor, sim-binance or sim-polymarket; or all.")
    ] = "all",
    count: Count = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines.")] = False,
    as_json: Json = False,
) -> None:
    """The processes' own logs."""
    from control.logs import show_logs

    show_logs(open_paths(), name, count, follow, as_json)


# ---- budget, config, doctor, version -------------------------------------------------------------


@budget_app.command("show")
def budget_show(config: Config = None, as_json: Json = False) -> None:
    """The limit, where it comes from, and how much of it is in use."""
    from control.budget import show
    from control.config import signed_usd, usd

    content = show(open_paths(), config_folder(config))
    if as_json:
        emit(content)
        return
    typer.echo(f"Limit     ${usd(content['limit_micros'])} (from {content['source']})")
    typer.echo(f"Notional  ${usd(content['notional_limit_micros'])}")
    used, notional = signed_usd(content["used_micros"]), signed_usd(content["notional_used_micros"])
    typer.echo(f"In use    {used}, notional {notional}")


@budget_app.command("set")
def budget_set(
    limit_usd: Annotated[str, typer.Option("--limit-usd", help="The most that may be lost today.")],
    config: Config = None,
    yes: Yes = False,
) -> None:
    """Set the limit for this and later runs. Lowering acts at once; raising asks."""
    from control.budget import raise_text, set_limit

    paths, folder = open_paths(create=True), config_folder(config)
    if raised := raise_text(paths, folder, limit_usd):
        confirmed(yes, f"This RAISES the limit {raised}.", "raise")
    say(f"✓ {set_limit(paths, folder, limit_usd)}")


@config_app.command("check")
def config_check(config: Config = None) -> None:
    """Check every file that a start would read; ends with 4 when one is wrong."""
    from control.settings_check import check_folder

    findings = check_folder(config_folder(config))
    for ok, text in findings:
        say(f"{'✓' if ok else '✗'} {text}")
    if not all(ok for ok, _ in findings):
        raise typer.Exit(int(Exit.CONFIGURATION))


@config_app.command("show")
def config_show(config: Config = None) -> None:
    """The settings that a start would use, defaults filled in (JSON)."""
    from control.budget import effective_budget
    from control.config import Paper, load

    paths, folder = open_paths(), config_folder(config)
    budget, source = effective_budget(paths, folder)
    emit({
        "schema_version": 1, "folder": str(folder), "home": str(paths.home), "runtime": str(paths.runtime),
        "budget": {**budget.model_dump(), "source": source},
        "paper": load(Paper, folder / "paper.json").model_dump(),
    })  # fmt: skip


@config_app.command("schema", hidden=True)
def config_schema(config: Config = None) -> None:
    """Write the JSON Schemas of budget.json and paper.json beside them."""
    from control.config import FILES, schema, schema_name

    folder = config_folder(config)
    for name, model in FILES.items():
        (folder / schema_name(name)).write_text(json.dumps(schema(model), indent=2) + "\n")
        say(f"✓ {folder / schema_name(name)}")


@app.command()
def doctor(config: Config = None, as_json: Json = False) -> None:
    """Check build, settings, folders, ledger, processes and venues. Changes nothing."""
    from control.doctor import examine

    findings = examine(open_paths(trusted=False), config_folder(config))
    if as_json:
        emit(
            {
                "schema_version": 1,
                "findings": [{"name": f.name, "ok": f.ok, "text": f.text} for f in findings],
            }
        )
    for finding in findings:
        if not as_json:
            say(f"{'✓' if finding.ok else '✗'} {finding.name}: {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(int(Exit.ERROR))


@app.command()
def version() -> None:
    """The version of this program."""
    typer.echo(version_text())


def version_text() -> str:
    """The version in pyproject.toml."""
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    line = next((row for row in text.splitlines() if row.startswith("version")), 'version = "unknown"')
    return "purser " + line.partition("=")[2].strip().strip('"')


def _follow_test_clock() -> None:
    """A test on paper may shift all clocks; `kill` stops everything, whatever the time is."""
    if not os.environ.get("PURSER_TEST_CLOCK"):
        return
    from bridge.wall_clock import ClockError, follow_test_clock

    try:
        follow_test_clock("paper")
    except ClockError as error:
        say(f"{error}.")
        if sys.argv[1:2] != ["kill"]:
            sys.exit(int(Exit.CONFIGURATION))


def main() -> None:
    """The console script: every ControlError becomes a sentence on stderr and its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ shows ? instead of an error
    forbid_core_dumps()  # and so for the supervisor and everything that it starts
    _follow_test_clock()
    if sys.argv[1:2] == ["kill"]:
        sys.argv[2:], misread = understood(sys.argv[2:])
        for word in misread:
            _kill_line(f"{word!r} is not understood; everything is stopped all the same", "bad")
    try:
        app(standalone_mode=True)
    except ControlError as error:
        say(str(error))
        sys.exit(int(error.code))
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        say(f"{what}. `control doctor` looks at folders and disks.")
        sys.exit(int(Exit.ERROR))


if __name__ == "__main__":
    main()
