"""The shared risk ledger from Python: random interleavings, deaths at random points, two processes."""

from __future__ import annotations

import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.ledger import Amounts, Ledger, LedgerError, LedgerView, Order, client_order_id, now_ns
from bridge.messages import (
    HaltReason,
    LedgerState,
    OrderSide,
    ParticipantRole,
    RejectReason,
    SlotState,
    VenueId,
)

USD = 1_000_000
LIMIT = Amounts(1000 * USD, 20_000 * USD)
HEADROOM = Amounts(20 * USD, 400 * USD)
ZERO = Amounts(0, 0)
SECOND_NS = 1_000_000_000
TRADERS = (ParticipantRole.ENGINE, ParticipantRole.BOT, ParticipantRole.TOOL)


def make(path: Path) -> Ledger:
    """A new ACTIVE ledger with a long lease; the handle is the supervisor's."""
    path.unlink(missing_ok=True)
    supervisor = Ledger.create(path, LIMIT, HEADROOM)
    supervisor.heartbeat(600 * SECOND_NS)
    supervisor.set_state(LedgerState.ACTIVE)
    return supervisor


def join(path: Path, role: ParticipantRole) -> Ledger:
    """A participant that has reconciled to nothing."""
    ledger = Ledger.open(path)
    ledger.join(role)
    assert ledger.rebuild(ZERO, ZERO)
    return ledger


def order(identity: int, reducing: bool = False) -> Order:
    """Some order under this id."""
    price_e9 = 60_000 * 10**9
    return Order(identity, VenueId.BINANCE, "BTCUSDT", OrderSide.BUY, price_e9, 10**6, reducing=reducing)


def both(amount: int) -> Amounts:
    """The same risk in both dimensions, ten times as much notional."""
    return Amounts(amount, amount * 10)


def check(view: LedgerView) -> None:
    """I1, and used within rights for whoever is not REDUCING."""
    assert view.consistent
    for d in range(2):
        assert view.alloc_micros[d] <= view.limit_micros[d]
        for line in view.participants:
            assert line.used_micros[d] <= line.alloc_micros[d] or line.state == LedgerState.REDUCING


@pytest.fixture
def ledger_path() -> Iterator[Path]:
    """A place on tmpfs, where the real one lives."""
    folder = Path(f"/dev/shm/test-bridge-ledger-{os.getpid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    yield folder / "ledger"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


@dataclass
class Trader:
    """What the owner of a line knows: the model that the ledger must agree with."""

    role: ParticipantRole
    ledger: Ledger
    positions: int = 0
    orders: dict[int, tuple[int, int, bool]] = field(default_factory=dict)  # id: slot, amount, sent
    sequence: int = 0

    def used(self) -> int:
        """Positions and every open order."""
        return self.positions + sum(amount for _, amount, _ in self.orders.values())

    def totals(self) -> tuple[Amounts, Amounts]:
        """used and positions as the ledger wants them."""
        return both(self.used()), both(self.positions)

    def reserve(self, amount: int) -> None:
        """A new order, sent at once or held back at the gate."""
        before = self.used()
        self.sequence += 1
        identity = client_order_id(self.role, self.ledger.generation, self.sequence)
        reason, slot = self.ledger.reserve(order(identity), both(before + amount))
        allowed = (RejectReason.NONE, RejectReason.BUDGET, RejectReason.REDUCING, RejectReason.NO_SLOT)
        assert reason in allowed
        if reason == RejectReason.NONE:
            self.orders[identity] = (slot, amount, False)

    def send(self) -> None:
        """The gate for the oldest order that has not passed it."""
        for identity, (slot, amount, sent) in self.orders.items():
            if not sent:
                reason = self.ledger.gate(slot, both(self.used() - amount))
                if reason == RejectReason.NONE:
                    self.orders[identity] = (slot, amount, True)
                else:
                    assert reason == RejectReason.REDUCING
                    del self.orders[identity]
                return

    def end(self, filled: bool) -> None:
        """The venue ends the oldest sent order: its risk becomes position, or goes."""
        for identity, (slot, amount, sent) in self.orders.items():
            if sent:
                del self.orders[identity]
                self.positions += amount if filled else 0
                self.ledger.release(slot, *self.totals())
                return

    def move_mark(self, amount: int) -> None:
        """Positions become worth more or less risk."""
        self.positions = max(0, self.positions + amount)
        self.ledger.reprice(*self.totals())

    def crash(self, supervisor: Ledger, path: Path) -> None:
        """Dies; the supervisor reclaims; a successor reconciles: at the venue, sent orders live on."""
        charged = supervisor.reclaim(self.role)
        sent = {i: o for i, o in self.orders.items() if o[2]}
        assert charged == len(sent)
        assert all(slot.state == SlotState.UNKNOWN for slot in supervisor.slots(self.role))
        self.ledger.close()
        self.ledger = Ledger.open(path)
        self.ledger.join(self.role)
        reason, _ = self.ledger.reserve(order(1), ZERO)
        assert reason == RejectReason.NOT_RECONCILED
        self.orders = {}
        self.sequence = 0
        for identity, (_, amount, _) in sent.items():
            slot = self.ledger.find(identity)
            assert slot is not None
            self.orders[identity] = (slot, amount, True)
        self.ledger.rebuild(*self.totals(), keep=sent)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["reserve", "reserve", "send", "send", "fill", "cancel", "mark", "reprice", "crash"]),
        st.integers(-300 * USD, 600 * USD),
    ),
    max_size=60,
)


def play(trader: Trader, action: str, amount: int, supervisor: Ledger, path: Path) -> None:
    """One step of one trader."""
    if action == "reserve":
        trader.reserve(abs(amount))
    elif action == "send":
        trader.send()
    elif action in ("fill", "cancel"):
        trader.end(action == "fill")
    elif action == "mark":
        trader.move_mark(amount // 4)
    elif action == "reprice":
        trader.ledger.reprice(*trader.totals())
    else:
        trader.crash(supervisor, path)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
@given(STEPS)
def test_any_interleaving_keeps_the_invariants(ledger_path: Path, steps: list[tuple[int, str, int]]) -> None:
    """After every step of three traders the rights fit the limit, and used is what the owners know."""
    with make(ledger_path) as supervisor:
        traders = [Trader(role, join(ledger_path, role)) for role in TRADERS]
        for who, action, amount in steps:
            play(traders[who], action, amount, supervisor, ledger_path)
            view = supervisor.snapshot()
            check(view)
            assert supervisor.audit() is None
            for trader in traders:
                line = view.participants[trader.role]
                assert line.used_micros == both(trader.used())
                assert line.open_orders == len(trader.orders)
        assert supervisor.state == LedgerState.ACTIVE
        for trader in traders:
            trader.ledger.close()


class Venue:
    """Shared memory that survives its client: what the venue holds open, and how many steps were done."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    def read(self) -> tuple[int, int]:
        """(open risk, steps)."""
        at_risk, steps = struct.unpack("qq", self._memory[:])
        return at_risk, steps

    def write(self, at_risk: int, steps: int) -> None:
        """Each half is one aligned store, made in this order."""
        self._memory[0:8] = struct.pack("q", at_risk)
        self._memory[8:16] = struct.pack("q", steps)


def forked(work: Callable[[], None]) -> int:
    """Runs work in a child; its exit code is 0 unless work raises."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def trade_forever(path: Path, role: ParticipantRole, venue: Venue, seed: int, already: int) -> None:
    """Sends and ends orders until it is killed; the venue learns of an order only after the gate."""
    chance = random.Random(seed)
    ledger = Ledger.open(path)
    ledger.join(role)
    ledger.rebuild(both(already), ZERO)
    open_orders: list[tuple[int, int]] = []
    used = already
    steps = 0
    while True:
        steps += 1
        amount = chance.randrange(1, 40) * USD
        if chance.random() < 0.55:
            identity = client_order_id(role, ledger.generation, steps)
            reason, slot = ledger.reserve(order(identity), both(used + amount))
            if reason == RejectReason.NONE:
                assert ledger.gate(slot, both(used)) == RejectReason.NONE
                used += amount
                open_orders.append((slot, amount))
                venue.write(used, steps)
        elif open_orders:
            slot, gone = open_orders.pop(chance.randrange(len(open_orders)))
            venue.write(used - gone, steps)
            used -= gone
            ledger.release(slot, both(used), ZERO)
        else:
            venue.write(used, steps)
        if steps % 5 == 0:
            ledger.reprice(both(used), ZERO)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Polls, for at most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        os.sched_yield()


def kill_and_compare(supervisor: Ledger, role: ParticipantRole, child: int, venue: Venue, steps: int) -> None:
    """Kills the trader once it has done so many steps; what it had at the venue must still be charged."""
    wait_until(lambda: venue.read()[1] >= steps, "steps")
    check(supervisor.snapshot())
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    supervisor.reclaim(role)
    line = supervisor.snapshot().participants[role]
    assert line.used_micros.loss >= venue.read()[0]
    assert line.alloc_micros == line.used_micros
    assert supervisor.audit() is None


@pytest.mark.parametrize("seed", range(6))
def test_killed_at_random_points_nothing_is_undercounted(ledger_path: Path, seed: int) -> None:
    """Two traders die by SIGKILL again and again: the ledger never holds less than the venue does."""
    chance = random.Random(seed)
    with make(ledger_path) as supervisor:
        for _ in range(4):
            running: list[tuple[ParticipantRole, int, Venue]] = []
            for role in (ParticipantRole.ENGINE, ParticipantRole.BOT):
                venue = Venue()
                known = supervisor.snapshot().participants[role].used_micros.loss // 2
                work = partial(trade_forever, ledger_path, role, venue, chance.randrange(10**6), known)
                running.append((role, forked(work), venue))
            for role, child, venue in running:
                kill_and_compare(supervisor, role, child, venue, chance.randrange(1, 400))
        assert supervisor.state == LedgerState.ACTIVE


def trade_until_refused(path: Path, role: ParticipantRole, orders: int) -> None:
    """Fills its line as far as it goes, empties it, and again; fails when it was never refused."""
    ledger = join(path, role)
    chance = random.Random(int(role))
    refused = used = 0
    slots: list[tuple[int, int]] = []
    for sequence in range(1, orders):
        amount = chance.randrange(1, 120) * USD
        identity = client_order_id(role, ledger.generation, sequence)
        reason, slot = ledger.reserve(order(identity), both(used + amount))
        if reason == RejectReason.NONE:
            used += amount
            slots.append((slot, amount))
        else:
            assert reason in (RejectReason.BUDGET, RejectReason.LEDGER_BUSY)
            refused += 1
            while slots:
                slot, amount = slots.pop()
                used -= amount
                ledger.release(slot, both(used), ZERO)
        ledger.reprice(both(used), ZERO)
        ledger.beat()
    assert refused > 0
    ledger.leave()


def test_two_processes_share_one_limit(ledger_path: Path) -> None:
    """While two processes hammer the ledger, every consistent snapshot keeps used <= alloc <= limit."""
    with make(ledger_path) as supervisor:
        roles = (ParticipantRole.ENGINE, ParticipantRole.BOT)
        children = [forked(partial(trade_until_refused, ledger_path, role, 6000)) for role in roles]
        seen = 0
        while children:
            view = supervisor.snapshot()
            if view.consistent:
                check(view)
                seen += 1
            done, status = os.waitpid(children[0], os.WNOHANG)
            if done:
                assert status == 0
                children.pop(0)
        assert seen > 100
        assert supervisor.audit() is None
        view = supervisor.snapshot()
        assert view.alloc_micros == view.used_micros


def test_halt_stops_at_the_gate_and_needs_a_person(ledger_path: Path) -> None:
    """A halt after reserve is obeyed at the gate, acknowledged by beat, and only a person lifts it."""
    with make(ledger_path) as supervisor, join(ledger_path, ParticipantRole.ENGINE) as engine:
        reason, slot = engine.reserve(order(1), both(USD))
        assert reason == RejectReason.NONE
        epoch = supervisor.halt(HaltReason.OPERATOR)
        assert engine.gate(slot, ZERO) == RejectReason.HALTED
        engine.beat(halted=True)
        line = supervisor.snapshot().participants[ParticipantRole.ENGINE]
        assert line.halt_ack == epoch and line.used_micros == ZERO
        with pytest.raises(LedgerError, match="state to ACTIVE"):
            supervisor.set_state(LedgerState.ACTIVE)
        assert supervisor.set_state(LedgerState.ACTIVE, by_person=True) == epoch + 1


def test_silent_supervisor_denies_new_risk_only(ledger_path: Path) -> None:
    """An expired lease refuses orders that add risk and lets reducing ones through."""
    with make(ledger_path) as supervisor, join(ledger_path, ParticipantRole.BOT) as bot:
        supervisor.heartbeat(0, at_ns=now_ns() - 1)
        assert bot.reserve(order(1), both(USD))[0] == RejectReason.LEASE_EXPIRED
        assert bot.reserve(order(1, reducing=True), ZERO)[0] == RejectReason.NONE


def test_errors_say_what_to_do(ledger_path: Path) -> None:
    """A missing ledger, one that others may read and a second live owner are refused with advice."""
    with pytest.raises(LedgerError, match="start the supervisor first"):
        Ledger.open(ledger_path)
    with make(ledger_path), join(ledger_path, ParticipantRole.ENGINE):

        def second() -> None:
            with pytest.raises(LedgerError, match="stop that one first"):
                Ledger.open(ledger_path).join(ParticipantRole.ENGINE)
            with pytest.raises(LedgerError, match="another supervisor"):
                Ledger.create(ledger_path, LIMIT)

        assert os.waitpid(forked(second), 0)[1] == 0
    ledger_path.chmod(0o644)
    with pytest.raises(LedgerError, match="0600"):
        Ledger.open(ledger_path)


def test_full_tmpfs_is_reported(tmp_path: Path) -> None:
    """A ledger that does not fit is an error at creation, and leaves no file behind."""

    def limited() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with pytest.raises(LedgerError):
            Ledger.create(tmp_path / "ledger", LIMIT)

    assert os.waitpid(forked(limited), 0)[1] == 0
    assert list(tmp_path.iterdir()) == []
