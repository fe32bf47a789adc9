"""Which orders can still land, read straight from the ledger's bytes: works with every process dead, with a
damaged header, and without mapping or changing anything.

    FREE, RESERVED   its bytes never left, or its end is known
    LIVE             it has landed
    SENT, UNKNOWN    on its way, unless the venue has told of it before (landed): then only its end is unknown

An order that can still land is awaited until its deadline (CLOCK_BOOTTIME, kept in the slot since before the
send), or where the venue has no window until LOOK_MAX_S after it was sent; that is also how long is looked
where a slot cannot be read. A slot counts as read when its checksums hold. A file counts as a ledger when
most of what its header never changes is right: one damaged word must not make all that it holds unknown, and
a file of zeros is not one that holds no order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bridge import messages
from bridge._bridge import ffi, lib
from bridge.ledger import now_ns
from bridge.messages import SlotState
from control import words
from control.latch import boot_id

if TYPE_CHECKING:
    from bridge.paths import Paths

# How long an order can be on its way at most. Binance: the largest recvWindow that a configuration may name
# (5 s) and 1 s, since it accepts timestamps up to 1 s ahead (USD-M docs, "Timing security"). Polymarket: its
# orders carry no window; an order is looked for this long.
LOOK_MAX_S = {"binance": 6.0, "polymarket": 60.0}
WINDOWLESS = frozenset({"polymarket"})
NO_LEDGER = "no ledger"
TRIES = 5  # a participant that still runs may be writing the slot that is copied
SECOND_NS = 1_000_000_000

_SIZE: int = ffi.sizeof("struct ledger_shared")


@dataclass(frozen=True, slots=True)
class Order:
    """One order that holds a reservation."""

    participant: str
    venue: str
    symbol: str
    client_order_id: int
    query_id: str  # as the venue is asked for it; "" when there is none
    state: int
    landed: bool
    sent_ns: int
    lands_until_ns: int | None  # None: no window, or it cannot be read

    @property
    def in_flight(self) -> bool:
        """It may still be on its way to the venue."""
        return self.state in (SlotState.SENT, SlotState.UNKNOWN) and not self.landed

    def until_ns(self, seen_ns: int) -> int:
        """When no more has to be looked for it, on CLOCK_BOOTTIME. seen_ns: when nobody could send it any
        more, for what the slot does not tell."""
        longest = int(LOOK_MAX_S.get(self.venue, max(LOOK_MAX_S.values())) * SECOND_NS)
        if self.lands_until_ns is not None and self.venue not in WINDOWLESS:
            return self.lands_until_ns
        return (self.sent_ns or seen_ns) + longest

    @property
    def key(self) -> tuple[str, int]:
        """Names the order among all."""
        return self.participant, self.client_order_id


@dataclass(slots=True)
class Line:
    """One participant's part of the ledger."""

    participant: str
    fingerprint: int = 0  # of its access record; 0: not said
    generation: int = 0
    orders: list[Order] = field(default_factory=list)
    unreadable: int = 0  # slots in use whose checksums do not hold


@dataclass(slots=True)
class Flight:
    """What the ledger says of orders; `problem` when it could not be read as a whole."""

    lines: list[Line] = field(default_factory=list)
    problem: str = ""

    def line(self, participant: str) -> Line:
        """That participant's part, empty when nothing could be read."""
        return next((line for line in self.lines if line.participant == participant), Line(participant))

    def in_flight(self, venue: str) -> list[Order]:
        """What may still land at a venue."""
        return [
            order for line in self.lines for order in line.orders if order.venue == venue and order.in_flight
        ]

    def at(self, venue: str) -> list[Order]:
        """Everything that holds a reservation at a venue."""
        return [order for line in self.lines for order in line.orders if order.venue == venue]

    def unreadable(self, venue: str) -> bool:
        """Whether there may be orders at the venue that this does not tell of."""
        owner = words.OWNERS[venue]
        return bool(self.problem) or any(
            line.unreadable for line in self.lines if line.participant in (owner, "supervisor", "spare")
        )

    def may_land(self, venue: str) -> bool:
        """Whether an order of ours may be on its way to the venue, as far as this tells."""
        return bool(self.in_flight(venue)) or self.unreadable(venue)

    def without_doubt(self) -> Flight:
        """Only what it tells for certain: for a place that was seen empty when all of it could be read, and
        whose owner has not run since, so that what is damaged now holds no order more."""
        return Flight([replace(line, unreadable=0) for line in self.lines])


def read(paths: Paths) -> Flight:
    """The ledger's orders now; tried again while a slot is being written. Never raises."""
    found = Flight(problem=NO_LEDGER)
    for attempt in range(TRIES):
        try:
            descriptor = os.open(paths.ledger, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return Flight(problem=NO_LEDGER)
        except OSError as error:
            return Flight(problem=f"the ledger cannot be read ({error.strerror})")
        with os.fdopen(descriptor, "rb") as file:
            try:
                found = parse(file.read(_SIZE + 1))
            except OSError as error:
                return Flight(problem=f"the ledger cannot be read ({error.strerror})")
        if not found.problem and not any(line.unreadable for line in found.lines):
            break
        if attempt + 1 < TRIES:
            time.sleep(0.002)
    return found


def parse(data: bytes) -> Flight:
    """The same of bytes that were copied."""
    if len(data) != _SIZE:
        return Flight(problem="the ledger has another size than it is made with")
    buffer = ffi.new("struct ledger_shared *")  # aligned as C reads it, which the bytes need not be
    ffi.memmove(buffer, data, _SIZE)
    flight = Flight(problem="" if _is_ledger(buffer.header) else "the ledger is damaged")
    names = (*words.PARTICIPANTS, "spare")
    for index, name in enumerate(names):
        flight.lines.append(_line(name, buffer.participants[index]))
    return flight


def _is_ledger(header: Any) -> bool:
    """Most of the words that never change are right."""
    signs = (
        header.magic == messages.PROTOCOL_LEDGER_MAGIC,
        header.version == messages.PROTOCOL_VERSION,
        header.size == _SIZE,
        header.layout_hash == messages.LAYOUT_HASH,
        boot_id() in (None, bytes(ffi.string(header.boot_id))),
    )
    return sum(map(bool, signs)) >= 3


def _line(name: str, line: Any) -> Line:
    found = Line(name, int(line.access_fingerprint), int(line.generation))
    for slot in line.slots:
        if slot.state in (SlotState.FREE, SlotState.RESERVED):
            continue
        if not lib.ledger_slot_is_whole(ffi.addressof(slot)):
            found.unreadable += 1
            continue
        found.orders.append(_order(name, slot))
    return found


def _order(name: str, slot: Any) -> Order:
    venue = words.word(words.VENUES, slot.venue)
    raw = bytes(ffi.buffer(slot.query_id))
    told = lib.ledger_slot_landing_is_whole(ffi.addressof(slot))
    until = int(slot.lands_until_ns) if told and slot.lands_until_ns != messages.LANDS_UNTIL_NONE else None
    return Order(
        participant=name,
        venue=venue,
        symbol=bytes(ffi.buffer(slot.symbol)).split(b"\0", 1)[0].decode(errors="replace"),
        client_order_id=int(slot.client_order_id),
        query_id=_query_id(venue, raw),
        state=int(slot.state),
        landed=bool(told and slot.sent_ns and slot.landed_ns == slot.sent_ns),
        sent_ns=int(slot.sent_ns) if told else 0,
        lands_until_ns=until,
    )


def _query_id(venue: str, raw: bytes) -> str:
    if not raw.strip(b"\0"):
        return ""
    if venue == "polymarket":
        return "0x" + raw.hex()
    return raw.split(b"\0", 1)[0].decode(errors="replace")


def longest_s(flight: Flight, venue: str, seen_ns: int, known: Iterable[tuple[str, int]] = ()) -> float:
    """How many seconds from now on an order of ours can still land at the venue; 0 when none can.
    `known`: orders that were found since."""
    done = set(known)
    ends = [order.until_ns(seen_ns) for order in flight.in_flight(venue) if order.key not in done]
    if flight.unreadable(venue):
        ends.append(seen_ns + int(LOOK_MAX_S[venue] * SECOND_NS))
    return max(0.0, (max(ends, default=0) - now_ns()) / SECOND_NS)
