"""A participant for tests of control: joins the real ledger, beats, obeys halts, publishes a page.

python tests/unit/control_participant.py engine|polymarket_bot
"""

from __future__ import annotations

import os
import signal
import sys
import time

from bridge.ledger import Amounts, Ledger, now_ns
from bridge.messages import LedgerState, PageVenue, ParticipantRole, SessionState, VenueId
from bridge.page import PageWriter
from bridge.paths import Paths


def main() -> None:
    """Run until SIGTERM."""
    role = ParticipantRole.ENGINE if sys.argv[1] == "engine" else ParticipantRole.BOT
    venue = VenueId.BINANCE if role == ParticipantRole.ENGINE else VenueId.POLYMARKET
    paths = Paths.from_environment("paper")
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    ledger = Ledger.open(paths.ledger)
    ledger.join(role)
    path = paths.engine_page if role == ParticipantRole.ENGINE else paths.bot_page
    page = PageWriter(path, role, "paper", os.getpid(), time.time_ns())
    ledger.rebuild(Amounts(1_000_000, 2_000_000), Amounts(600_000, 2_000_000))
    while not ended:
        roll = ledger.roll()
        ledger.roll_ack(roll, roll.day)  # it has no order that could be left, and no books to close
        ledger.beat(ledger.state == LedgerState.HALTED)
        state = PageVenue(venue=venue, state=SessionState.READY, feed_ns=now_ns(), open_orders=1)
        page.publish(updated_ns=now_ns(), venues=[state], day_micros=-5, realized_micros=-5)
        time.sleep(0.01)
    ledger.leave()
    ledger.close()


if __name__ == "__main__":
    main()
