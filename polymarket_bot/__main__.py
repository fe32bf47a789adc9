"""python -m polymarket_bot: arguments, logging, exit codes; nothing else."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

import structlog

from bridge.cores import forbid_core_dumps
from polymarket_bot.errors import EXIT_CONFIGURATION, EXIT_ERROR, BotError
from polymarket_bot.settings import MODES, load_settings

CONFIG = Path(__file__).resolve().parent.parent / "config"

EPILOG = """\
modes:
  dry-run   reads real prices, computes and logs orders, sends nothing; the venue is
            the one of the configuration: a simulator, or the live one, whose prices need no keys
  paper     trades at the local simulator, over its real wire protocol
  live      trades with money; needs keys, a live configuration and a supervisor in live mode, which
            this release does not start

the bot quotes only while the engine sends it the reference price over the bridge, so start both:
  control start --paper                      everything at once
  python -m polymarket_bot --mode paper      the bot alone, beside a running supervisor

files: PURSER_HOME (default ~/.local/state/purser) keeps bot.db and keys; PURSER_RUNTIME holds the
ledger, the bridge socket and the simulators' ready lines. DATABASE_URL=postgresql://… replaces bot.db.

exit codes: 0 stopped as asked, 1 error, 2 usage, 4 configuration or credentials, 8 trading is halted
"""


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m polymarket_bot",
        description="Makes markets on Polymarket around a fair value from the engine's signal.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--mode", choices=MODES, default="paper", help="where orders go (default: paper)")
    result.add_argument(
        "--config", type=Path, default=CONFIG / "polymarket_sim.json", help="configuration file"
    )
    result.add_argument("--budget", type=Path, default=CONFIG / "budget.json", help="limit for --standalone")
    result.add_argument(
        "--standalone", action="store_true", help="no supervisor: make the ledger, own the lease"
    )
    result.add_argument("--check", action="store_true", help="check the configuration and exit")
    result.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    return result


def configure_logging(level: str) -> None:
    """JSON lines on stderr; events are past-tense names with fields."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)


def main(arguments: list[str] | None = None) -> int:
    forbid_core_dumps()
    options = parser().parse_args(arguments)
    if options.standalone and options.mode == "live":
        print(
            "bot: --standalone is not for live: that needs a supervisor in live mode, "
            "which this release does not start.",
            file=sys.stderr,
        )
        return EXIT_CONFIGURATION
    configure_logging(options.log_level)
    try:
        settings = load_settings(options.config)
        if options.check:
            return 0
        return _run(settings, options)
    except BotError as error:
        print(f"bot: {error}", file=sys.stderr)
        return error.exit_code


def _run(settings: Any, options: argparse.Namespace) -> int:
    import uvloop

    from bridge.channel import ChannelError
    from bridge.page import PageError
    from bridge.paths import Paths, PathsError
    from bridge.wall_clock import ClockError, follow_test_clock
    from polymarket_bot.app import App

    try:
        follow_test_clock(options.mode)
        paths = Paths.from_environment(options.mode)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            app = App(settings, options.mode, paths, options.standalone, options.budget)
            return runner.run(app.run())
    except (PathsError, ClockError) as error:
        print(f"bot: {error}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except (ChannelError, PageError) as error:
        print(f"bot: {error}", file=sys.stderr)
        return EXIT_ERROR
    except ExceptionGroup as group:
        first = _first(group)
        if isinstance(first, (ChannelError, PageError)):
            code = EXIT_ERROR
        elif isinstance(first, BotError):
            code = first.exit_code
        else:
            raise
        print(f"bot: {first}", file=sys.stderr)
        return code


def _first(group: BaseException) -> BaseException:
    """The first error inside nested groups of tasks."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


if __name__ == "__main__":
    sys.exit(main())
