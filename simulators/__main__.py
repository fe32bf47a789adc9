"""`python -m simulators VENUE [...]`: dispatch to the venue's module.

A venue's module offers `FAULTS` (switch -> sentence), `PROFILES` (the first is the default) and
`async def run(options)`, which serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import importlib
import sys

import uvloop

from simulators.faults import FaultError
from simulators.options import EXIT_USAGE, VENUES, options_from, options_parser
from simulators.server import ListenError
from simulators.state import StateError


def main() -> int:
    """Run one simulator; the exit code follows the project's table (0 ok, 1 error, 2 usage)."""
    if len(sys.argv) < 2 or sys.argv[1] not in VENUES:
        usage = "usage: python -m simulators {} [--port N] [--state DIR] ... (--help explains)"
        print(usage.format("|".join(VENUES)), file=sys.stderr)
        return EXIT_USAGE
    venue = sys.argv[1]
    module = importlib.import_module(f"simulators.{venue}")
    parser = options_parser(venue, module.FAULTS, module.PROFILES)
    options = options_from(parser, venue, sys.argv[2:])
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(module.run(options))
    except FaultError as error:
        parser.error(str(error))
    except (ListenError, StateError) as error:
        print(f"simulator {venue}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
