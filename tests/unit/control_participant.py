"""A participant for tests of control: joins the real ledger, beats, obeys halts, publishes a page.

python tests/unit/control_participant.py engine|polymarket_bot [--access FILE] [--sent FILE]

--access  records where it trades, as a real participant does: JSON of what bridge.access.Access takes
--sent    orders that it says to have sent: a JSON list of {query_id, window_ms, sent_ms_ago, symbol}
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path

from bridge import access
from bridge.ledger import Amounts, Ledger, Order, client_order_id, now_ns
from bridge.messages import LedgerState, OrderSide, PageVenue, ParticipantRole, SessionState, VenueId
from bridge.page import PageWriter
from bridge.paths import Paths

USED, POSITIONS = Amounts(1_000_000, 2_000_000), Amounts(600_000, 2_000_000)


def send(ledger: Ledger, role: ParticipantRole, venue: VenueId, path: Path) -> None:
    """Reserve and pass the gate for each order; no byte leaves."""
    for number, row in enumerate(json.loads(path.read_text()), start=1):
        name = row["query_id"]
        raw = bytes.fromhex(name[2:]) if venue == VenueId.POLYMARKET else name.encode()
        order = Order(
            client_order_id(role, ledger.generation, number), venue, row["symbol"], OrderSide.BUY,
            50_000 * 10**9, 10**7, window_ns=row.get("window_ms", 0) * 1_000_000, query_id=raw,
        )  # fmt: skip
        at = now_ns() - row.get("sent_ms_ago", 0) * 1_000_000
        _, slot = ledger.reserve(order, USED, at)
        ledger.gate(slot, USED, at)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--config")
    parser.add_argument("--access", type=Path)
    parser.add_argument("--sent", type=Path)
    chosen = parser.parse_args()
    role = ParticipantRole.ENGINE if chosen.name == "engine" else ParticipantRole.BOT
    venue = VenueId.BINANCE if role == ParticipantRole.ENGINE else VenueId.POLYMARKET
    paths = Paths.from_environment("paper")
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    ledger = Ledger.open(paths.ledger)
    generation = ledger.join(role)
    if chosen.access is not None:
        where = access.Access(**json.loads(chosen.access.read_text()))
        ledger.set_access(access.write(paths, where, generation, time.time_ns()))
    path = paths.engine_page if role == ParticipantRole.ENGINE else paths.bot_page
    page = PageWriter(path, role, "paper", os.getpid(), time.time_ns())
    ledger.rebuild(USED, POSITIONS)
    sent = chosen.sent is None
    while not ended:
        roll = ledger.roll()
        ledger.roll_ack(roll, roll.day)  # it has no order that could be left, and no books to close
        if not sent and ledger.state == LedgerState.ACTIVE:
            send(ledger, role, venue, chosen.sent)
            sent = True
        ledger.beat(ledger.state == LedgerState.HALTED)
        state = PageVenue(venue=venue, state=SessionState.READY, feed_ns=now_ns(), open_orders=1)
        page.publish(updated_ns=now_ns(), venues=[state], day_micros=-5, realized_micros=-5)
        time.sleep(0.01)
    ledger.leave()
    ledger.close()


if __name__ == "__main__":
    main()
