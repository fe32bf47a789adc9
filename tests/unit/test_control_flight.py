"""What the ledger's bytes tell of orders that can still land, damaged or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bridge._bridge import ffi
from bridge.ledger import ZERO, Amounts, Ledger, Order, client_order_id, now_ns
from bridge.messages import LedgerState, OrderSide, ParticipantRole, SlotState, VenueId
from control import flight

LIMIT = Amounts(1_000_000_000, 2_000_000_000)
HASH = bytes(range(32))
WINDOW_NS = 2_500_000_000
HEADER = int(ffi.sizeof("struct ledger_header"))
SLOTS = int(ffi.offsetof("struct ledger_participant", "slots"))
LINE = int(ffi.sizeof("struct ledger_participant"))
SLOT = int(ffi.sizeof("struct ledger_slot"))


class Sender:
    """A ledger with an engine's line in it, held by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger.create(path, LIMIT)
        self.ledger.heartbeat(10**12)
        self.ledger.set_state(LedgerState.ACTIVE)
        self._sequence = 0
        self.join(ParticipantRole.ENGINE)

    def join(self, role: ParticipantRole) -> None:
        """Take a line, with nothing used yet."""
        self.role = role
        self.ledger.join(role)
        self.ledger.rebuild(ZERO, ZERO)

    def send(self, venue: VenueId, query_id: bytes, window_ns: int) -> tuple[int, int]:
        """An order past its gate; its slot and the instant."""
        self._sequence += 1
        name = client_order_id(self.role, self.ledger.generation, self._sequence)
        order = Order(
            name, venue, "BTCUSDT", OrderSide.BUY, 10**9, 10**9, window_ns=window_ns, query_id=query_id
        )
        at = now_ns()
        _, slot = self.ledger.reserve(order, ZERO, at)
        assert self.ledger.gate(slot, ZERO, at) == 0
        return slot, at

    def read(self) -> flight.Flight:
        """What another process would read."""
        return flight.parse(self.path.read_bytes())

    def damaged(self, at: int, bit: int) -> flight.Flight:
        """The same after one bit was flipped."""
        data = bytearray(self.path.read_bytes())
        data[at] ^= 1 << bit
        return flight.parse(bytes(data))


@pytest.fixture
def sender(tmp_path: Path) -> Sender:
    """A fresh one."""
    return Sender(tmp_path / "ledger")


def test_an_order_s_deadline_and_id_stand_in_its_slot(sender: Sender) -> None:
    """The last instant at which it can land is that of its gate and its window; the id is the venue's."""
    _, at = sender.send(VenueId.BINANCE, b"pspd77f-0100000100000001", WINDOW_NS)
    (order,) = sender.read().in_flight("binance")
    assert order.query_id == "pspd77f-0100000100000001"
    assert order.until_ns(seen_ns=0) == at + WINDOW_NS
    assert flight.longest_s(sender.read(), "binance", now_ns()) == pytest.approx(2.5, abs=0.5)
    assert flight.longest_s(sender.read(), "binance", now_ns(), [order.key]) == 0


def test_an_order_without_a_window_is_looked_for_a_minute(sender: Sender) -> None:
    """A Polymarket order has 32 raw bytes as its id, and no window: a minute after it was sent."""
    _, at = sender.send(VenueId.POLYMARKET, HASH, 0)
    (order,) = sender.read().in_flight("polymarket")
    assert order.query_id == "0x" + HASH.hex()
    assert order.lands_until_ns is None and order.until_ns(seen_ns=0) == at + 60 * 10**9


def test_what_has_landed_is_not_on_its_way_again(sender: Sender) -> None:
    """Once the venue has told of it, a later doubt, or its owner's death, is about its end only. One of
    which nothing was heard stays on its way, with all that is known of it."""
    heard, _ = sender.send(VenueId.BINANCE, b"a", WINDOW_NS)
    sender.send(VenueId.BINANCE, b"b", WINDOW_NS)
    sender.ledger.live(heard)
    assert [order.query_id for order in sender.read().in_flight("binance")] == ["b"]
    sender.ledger.unknown(heard)
    assert [order.query_id for order in sender.read().in_flight("binance")] == ["b"]
    before = sender.read().in_flight("binance")[0].lands_until_ns
    assert sender.ledger.reclaim(ParticipantRole.ENGINE) == 2
    (order,) = sender.read().in_flight("binance")
    assert (order.query_id, order.state, order.lands_until_ns) == ("b", SlotState.UNKNOWN, before)


def test_the_slots_are_read_despite_any_flipped_bit_before_them(sender: Sender) -> None:
    """A bit of each byte of the header and of the participant's words before its slots: what is on its way
    is known to the instant all the same."""
    _, at = sender.send(VenueId.BINANCE, b"a", WINDOW_NS)
    line = HEADER + LINE
    for place in (*range(HEADER), *range(line, line + SLOTS)):
        found = sender.damaged(place, place % 8)
        assert [order.until_ns(0) for order in found.in_flight("binance")] == [at + WINDOW_NS], place
        assert not found.unreadable("binance"), place


@pytest.mark.parametrize("field", ["client_order_id", "venue", "price_e9", "query_id", "symbol", "crc"])
def test_a_damaged_slot_counts_as_unreadable(sender: Sender, field: str) -> None:
    """The longest time that its owner's venue allows is waited then, from when nobody could send."""
    sender.send(VenueId.BINANCE, b"a", WINDOW_NS)
    at = HEADER + LINE + SLOTS + int(ffi.offsetof("struct ledger_slot", field))
    found = sender.damaged(at, 3)
    assert found.unreadable("binance") and not found.unreadable("polymarket")
    assert 5.5 < flight.longest_s(found, "binance", now_ns()) <= flight.LOOK_MAX_S["binance"]


@pytest.mark.parametrize("field", ["sent_ns", "lands_until_ns", "sent_crc"])
def test_a_deadline_that_cannot_be_believed_is_the_longest(sender: Sender, field: str) -> None:
    """The order itself is still known and asked for."""
    sender.send(VenueId.BINANCE, b"a", WINDOW_NS)
    at = HEADER + LINE + SLOTS + int(ffi.offsetof("struct ledger_slot", field))
    (order,) = sender.damaged(at, 3).in_flight("binance")
    assert order.query_id == "a" and order.until_ns(seen_ns=7) == 7 + 6 * 10**9


@pytest.mark.parametrize(
    "spoil",
    [lambda data: b"", lambda data: data[:4096], lambda data: bytes(len(data)), lambda data: data + b"x"],
    ids=["empty", "cut", "zeros", "longer"],
)
def test_what_is_no_ledger_tells_nothing(sender: Sender, spoil: Callable[[bytes], bytes]) -> None:
    """A file that was emptied, cut or zeroed is not a ledger without orders: the longest time counts."""
    found = flight.parse(spoil(sender.path.read_bytes()))
    assert found.problem
    assert 59 < flight.longest_s(found, "polymarket", now_ns()) <= 60


def test_a_missing_ledger_is_said_to_be_missing(sender: Sender) -> None:
    """So is one that is no file of ours to read."""
    from bridge.paths import Paths

    paths = Paths(sender.path.parent, sender.path.parent, "paper")
    assert flight.read(paths).problem == ""
    sender.path.unlink()
    assert flight.read(paths).problem == "no ledger"
    sender.path.symlink_to("/dev/null")
    assert "cannot be read" in flight.read(paths).problem
