"""The command line of a simulator, parsed: the same switches for every venue."""

from __future__ import annotations

import argparse
import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VENUES = ("binance", "polymarket")
EXIT_USAGE = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What one simulator process was asked to do. Ports of 0 let the kernel choose."""

    venue: str
    port: int
    admin_port: int
    state: Path
    seed: int
    feed: Path | None
    speed: float
    plain: bool
    profile: str
    faults: str
    reference: Path | None


def options_parser(venue: str, faults: Mapping[str, str], profiles: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of one venue; `faults` maps a switch to the sentence that explains it."""
    lines = "\n".join(f"  {name:<24} {text}" for name, text in sorted(faults.items()))
    parser = argparse.ArgumentParser(
        prog=f"python -m simulators {venue}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serves the venue's wire protocol on 127.0.0.1. When ready it prints one line of JSON.",
        epilog="fault switches, for --faults NAME=VALUE,... and for POST /faults on the admin port"
        f" (true means 1, 0 or false turns a switch off):\n{lines}",
    )
    parser.add_argument("--port", type=int, default=0, help="port of the venue; 0: a free one")
    parser.add_argument("--admin-port", type=int, default=0, help="port of the referee's view; 0: a free one")
    parser.add_argument(
        "--state",
        type=Path,
        default=None,
        help="folder that keeps the account across restarts; without it one that is removed at the end",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic market")
    parser.add_argument("--feed", type=Path, default=None, help="recorded capture to replay (.gz or text)")
    parser.add_argument("--speed", type=float, default=None, help="of the replay: 1 (default) as recorded")
    parser.add_argument("--plain", action="store_true", help="no TLS, for clients that cannot be given a CA")
    parser.add_argument("--profile", choices=list(profiles), default=profiles[0], help="flavour of the venue")
    parser.add_argument("--faults", default="", help="faults switched on from the start")
    parser.add_argument(
        "--reference", type=Path, default=None, help="file with the ready line of the venue to follow"
    )
    return parser


def options_from(parser: argparse.ArgumentParser, venue: str, arguments: Sequence[str]) -> Options:
    """Parse and check; a wrong command line ends the process with EXIT_USAGE and a sentence."""
    parsed = parser.parse_args(list(arguments))
    if parsed.feed is not None and not parsed.feed.is_file():
        parser.error(f"the feed {parsed.feed} is not a readable file: give the path of a recorded capture")
    if parsed.feed is not None and venue != "binance":
        parser.error("--feed is a recording of Binance: give it to the simulator of binance")
    if parsed.reference is not None and venue == "binance":
        parser.error("--reference is for a venue that follows another: binance follows none")
    if parsed.speed is not None and parsed.feed is None:
        parser.error("--speed is the speed of a replay: give --feed too")
    if parsed.speed is not None and parsed.speed <= 0:
        parser.error("--speed must be above 0: 1 replays as recorded, 10 ten times as fast")
    state: Path | None = parsed.state
    if state is None:
        state = Path(tempfile.mkdtemp(prefix=f"simulator-{venue}-"))
        atexit.register(shutil.rmtree, state, ignore_errors=True)
    return Options(
        venue=venue,
        port=parsed.port,
        admin_port=parsed.admin_port,
        state=state,
        seed=parsed.seed,
        feed=parsed.feed,
        speed=1.0 if parsed.speed is None else parsed.speed,
        plain=parsed.plain,
        profile=parsed.profile,
        faults=parsed.faults,
        reference=parsed.reference,
    )
