"""The shared risk ledger from Python: the same C functions that the engine calls, with typed arguments.

Amounts are pairs of micro-USD (loss, notional). Times are CLOCK_BOOTTIME nanoseconds; where a call takes
at_ns, None means now. As in ledger.h, one thread of a participant sends orders, and only that thread calls
reserve, gate, live, unknown, filled, release and reprice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from bridge._bridge import ffi, lib
from bridge.messages import (
    LANDS_UNTIL_NONE,
    PROTOCOL_PARTICIPANTS,
    PROTOCOL_SLOTS,
    PROTOCOL_SYMBOL,
    HaltReason,
    LedgerSlot,
    LedgerState,
    OrderSide,
    ParticipantRole,
    RejectReason,
    SlotState,
    StrategyId,
    VenueId,
)

PARTICIPANT_NAMES = ("supervisor", "engine", "polymarket_bot", "spare")
_EPERM, _ENOENT, _EBUSY, _EEXIST, _ENOSPC, _ESTALE, _EPROTO, _EBADMSG = 1, 2, 16, 17, 28, 116, 71, 74
_ADVICE = {
    _EPERM: "it must be a file of this user with mode 0600, and the step must be allowed",
    _ENOENT: "start the supervisor first",
    _EBUSY: "another live process holds it; stop that one first",
    _EEXIST: "another supervisor is running; stop it first",
    _ENOSPC: "free some space on tmpfs",
    _ESTALE: "a newer process has taken this participant's line; end this one",
    _EPROTO: "it was made by another version or before the last boot, or is damaged; stop all processes and "
    "start again",
    _EBADMSG: "its memory is damaged and it is halted; stop all processes and start again",
}


class LedgerOrigin(IntEnum):
    """Where the ledger that create() returns comes from; as in ledger.h."""

    NEW = 0
    ADOPTED = 1  # an intact one of this boot
    RESCUED = 2  # made from a damaged one, which is kept aside
    SUPERSEDED = 3  # beside one of an older layout that may hold orders


class LedgerError(Exception):
    """The ledger could not be made, opened or changed; errno says why."""

    def __init__(self, what: str, code: int) -> None:
        self.errno = -code
        advice = _ADVICE.get(self.errno, "see the errno")
        super().__init__(f"{what}: {os.strerror(self.errno)}; {advice}")


class Amounts(NamedTuple):
    """One value per budget dimension, in micro-USD."""

    loss: int
    notional: int


ZERO = Amounts(0, 0)
_STATES = frozenset(int(state) for state in LedgerState)
_HALTS = frozenset(int(reason) for reason in HaltReason)
_REASONS = tuple(RejectReason)  # by number: a lookup costs a tenth of the enum's constructor


def client_order_id(role: int, generation: int, sequence: int) -> int:
    """role:8 | generation:24 | sequence:32, the id of an order everywhere."""
    if not 0 < sequence < 1 << 32:
        raise ValueError("the sequence of a client order id must be between 1 and 2^32 - 1; restart to go on")
    return (role & 0xFF) << 56 | (generation & 0xFFFFFF) << 32 | sequence


@dataclass(frozen=True, slots=True)
class Order:
    """What an order is, for its slot; reducing means that the worst case does not grow. window_ns: how long
    after the gate it can still land, 0 where the venue has no such window. query_id: at most 32 bytes by
    which the venue can be asked for it."""

    client_order_id: int
    venue: VenueId
    symbol: str
    side: OrderSide
    price_e9: int
    quantity_e9: int
    strategy: StrategyId = StrategyId.NONE
    reducing: bool = False
    window_ns: int = 0
    query_id: bytes = b""


@dataclass(frozen=True, slots=True)
class UnseenSlot:
    """A reservation whose order the venue has never told of."""

    order: Order
    sent_ns: int
    charged_micros: tuple[int, int]


@dataclass(frozen=True, slots=True)
class ParticipantView:
    """One participant's line at the time of a snapshot."""

    index: int
    used_micros: Amounts
    positions_micros: Amounts
    alloc_micros: Amounts
    want_micros: Amounts
    heartbeat_ns: int
    progress: int
    pid: int
    start_time: int
    reconciled_ns: int
    halt_ack: int
    state: LedgerState
    generation: int
    open_orders: int

    @property
    def name(self) -> str:
        """supervisor, engine, polymarket_bot or spare."""
        return PARTICIPANT_NAMES[self.index]


@dataclass(frozen=True, slots=True)
class LedgerView:
    """One picture of the ledger; add up its amounts only when it is consistent."""

    limit_micros: Amounts
    headroom_micros: Amounts
    supervisor_heartbeat_ns: int
    lease_deadline_ns: int
    taken_ns: int
    epoch: int
    reason: int  # a HaltReason, or the number that stands there
    state: LedgerState
    consistent: bool
    participants: tuple[ParticipantView, ...]

    @property
    def used_micros(self) -> Amounts:
        """Sum over all participants."""
        return Amounts(*(sum(p.used_micros[d] for p in self.participants) for d in range(2)))

    @property
    def positions_micros(self) -> Amounts:
        """The part of used_micros that is loss so far and positions."""
        return Amounts(*(sum(p.positions_micros[d] for p in self.participants) for d in range(2)))

    @property
    def alloc_micros(self) -> Amounts:
        """Sum over all participants."""
        return Amounts(*(sum(p.alloc_micros[d] for p in self.participants) for d in range(2)))


@dataclass(frozen=True, slots=True)
class Roll:
    """The words of the header about the day and the clock; see ledger.h."""

    day: int
    sequence: int
    phase: int  # enum roll_phase; a damaged ledger may hold any number
    began_ns: int
    began_wall_ns: int
    clock_doubt_ns: int


def now_ns() -> int:
    """CLOCK_BOOTTIME in nanoseconds, the clock of the ledger and of the channel."""
    return int(lib.ledger_now_ns())


def _checked(what: str, code: int) -> int:
    if code < 0:
        raise LedgerError(what, code)
    return code


def _amounts(pair: Any) -> Amounts:
    return Amounts(pair[0], pair[1])


def ledger_state(number: int) -> LedgerState:
    """The state of a number in shared memory. One that is no state is damage, and counts as HALTED, as it
    does in ledger.h: nobody who looks may fail over it, least of all a kill."""
    return LedgerState(number) if number in _STATES else LedgerState.HALTED


def halt_reason(number: int) -> int:
    """The reason of a number in shared memory, or the number itself."""
    return HaltReason(number) if number in _HALTS else number


def _participant(index: int, view: Any) -> ParticipantView:
    return ParticipantView(
        index=index,
        used_micros=_amounts(view.used_micros),
        positions_micros=_amounts(view.positions_micros),
        alloc_micros=_amounts(view.alloc_micros),
        want_micros=_amounts(view.want_micros),
        heartbeat_ns=view.heartbeat_ns,
        progress=view.progress,
        pid=view.pid,
        start_time=view.start_time,
        reconciled_ns=view.reconciled_ns,
        halt_ack=view.halt_ack,
        state=ledger_state(view.state),
        generation=view.generation,
        open_orders=view.open_orders,
    )


class Ledger:
    """One process's mapping of the ledger; see ledger.h for what each call promises."""

    def __init__(self, handle: Any, path: Path, origin: LedgerOrigin = LedgerOrigin.ADOPTED) -> None:
        self._ledger: Any = handle  # None once closed, which cffi refuses to pass on
        self.path = path
        self.origin = origin  # what create() found
        self.adopted = origin in (
            LedgerOrigin.ADOPTED,
            LedgerOrigin.RESCUED,
        )  # with charges of an earlier run
        self.participant: int | None = None
        # The sending thread's own arguments, made once: an order then costs no allocation in C.
        self._used: Any = ffi.new("int64_t[2]")
        self._positions: Any = ffi.new("int64_t[2]")
        self._order: Any = ffi.new("struct ledger_order *")
        self._slot: Any = ffi.new("uint32_t *")
        self._roll: Any = ffi.new("struct ledger_roll *")
        self._watch: Any = None  # of the wall clock, for who leads the day alone

    @classmethod
    def create(
        cls, path: Path, limit_micros: Amounts, headroom_micros: Amounts = ZERO, at_ns: int | None = None
    ) -> Ledger:
        """The supervisor's: makes the file, or takes over an intact one with every charge in it. One that is
        damaged is kept aside, and the new one is HALTED with its orders in it (`origin` tells)."""
        out, origin = ffi.new("struct ledger **"), ffi.new("int *")
        at = now_ns() if at_ns is None else at_ns
        code = lib.ledger_create(out, origin, os.fsencode(path), limit_micros, headroom_micros, at)
        _checked(f"cannot create the ledger {path}", code)
        return cls(out[0], path, LedgerOrigin(origin[0]))

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """Maps the file that a supervisor has made."""
        out = ffi.new("struct ledger **")
        _checked(f"cannot open the ledger {path}", lib.ledger_open(out, os.fsencode(path)))
        return cls(out[0], path)

    @classmethod
    def open_damaged(cls, path: Path) -> Ledger:
        """The same whatever stands in the file, to halt it and to read its orders; `damage()` tells what is
        wrong. LedgerError when it is not ours, or too short for anything."""
        out = ffi.new("struct ledger **")
        _checked(f"cannot open the ledger {path}", lib.ledger_open_damaged(out, os.fsencode(path)))
        return cls(out[0], path)

    def close(self) -> None:
        """Unmaps it; a participant calls leave() first. Idempotent."""
        handle, self._ledger = self._ledger, None
        self.participant = None
        if handle is not None:
            lib.ledger_close(handle)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- supervisor ----------------------------------------------------------------------------

    def heartbeat(self, lease_ns: int, at_ns: int | None = None) -> None:
        """Participants may add risk for lease_ns from now on."""
        at = now_ns() if at_ns is None else at_ns
        lib.ledger_heartbeat_supervisor(self._ledger, at, at + lease_ns)

    def set_limit(self, limit_micros: Amounts, headroom_micros: Amounts) -> None:
        """A lower limit stops grants until the rights fit; it takes nothing back."""
        _checked("cannot set the limit", lib.ledger_set_limit(self._ledger, limit_micros, headroom_micros))

    def set_state(
        self, state: LedgerState, reason: HaltReason = HaltReason.NONE, *, by_person: bool = False
    ) -> int:
        """Returns the epoch; a way down without a person raises LedgerError (EPERM)."""
        code = lib.ledger_set_state(self._ledger, state, reason, by_person)
        return _checked(f"cannot set the ledger's state to {state.name}", code)

    def reclaim(self, participant: ParticipantRole) -> int:
        """After the process is certainly dead; how many slots are still charged."""
        code = lib.ledger_reclaim(self._ledger, participant)
        return _checked(f"cannot reclaim {PARTICIPANT_NAMES[participant]}", code)

    def first_day(self, day: int) -> bool:
        """Name the day before anybody trades; False when the ledger's day is not earlier."""
        return int(lib.ledger_first_day(self._ledger, day)) == 0

    def roll_pause(self, at_ns: int | None = None) -> int:
        """All participants cancel and acknowledge; the number of the roll."""
        at = now_ns() if at_ns is None else at_ns
        return _checked("cannot pause for the day's end", lib.ledger_roll_pause(self._ledger, at))

    def roll_begin(self, wall_ns: int, at_ns: int | None = None) -> None:
        """From the pause: the day of this instant begins, for all."""
        at = now_ns() if at_ns is None else at_ns
        _checked("cannot begin the day", lib.ledger_roll_begin(self._ledger, wall_ns, at))

    def mend_day(self, day: int) -> None:
        """The leader's own words again, outside of a roll."""
        lib.ledger_mend_day(self._ledger, day)

    def roll_end(self) -> None:
        """Trading goes on."""
        lib.ledger_roll_end(self._ledger)

    def roll_acked(self, participant: int) -> bool:
        """True when it has acknowledged the phase of now, or no living process holds its line."""
        return bool(lib.ledger_roll_acked(self._ledger, participant))

    def doubt_clock(self, since_ns: int) -> None:
        """No new risk while since_ns is not 0."""
        lib.ledger_doubt_clock(self._ledger, since_ns)

    # ---- anyone --------------------------------------------------------------------------------

    def roll(self) -> Roll:
        """The header's day, phase and doubt, read now."""
        lib.ledger_roll_now(self._ledger, self._roll)
        word = self._roll
        return Roll(
            word.day, word.sequence, word.phase, word.began_ns, word.began_wall_ns, word.clock_doubt_ns
        )

    def day_of(self, participant: int) -> int:
        """The day that the participant counts."""
        return int(lib.ledger_day_of(self._ledger, participant))

    def halt(self, reason: HaltReason) -> int:
        """Stops trading with one compare-and-swap; the epoch of the halt."""
        return _checked("cannot halt the ledger", int(lib.ledger_halt(self._ledger, reason)))

    def damage(self) -> str | None:
        """None when header, limit, rights and lock are as they were last written, else the first finding."""
        text = ffi.new("char[]", 512)
        if lib.ledger_damage(self._ledger, text, 512) == 0:
            return None
        return str(ffi.string(text).decode(errors="replace"))

    def snapshot(self, at_ns: int | None = None) -> LedgerView:
        """One picture, without a lock."""
        view = ffi.new("struct ledger_view *")
        lib.ledger_snapshot(self._ledger, view, now_ns() if at_ns is None else at_ns)
        return LedgerView(
            limit_micros=_amounts(view.limit_micros),
            headroom_micros=_amounts(view.headroom_micros),
            supervisor_heartbeat_ns=view.supervisor_heartbeat_ns,
            lease_deadline_ns=view.lease_deadline_ns,
            taken_ns=view.taken_ns,
            epoch=view.epoch,
            reason=halt_reason(view.reason),
            state=ledger_state(view.state),
            consistent=bool(view.consistent),
            participants=tuple(_participant(i, view.participants[i]) for i in range(PROTOCOL_PARTICIPANTS)),
        )

    def slots(self, participant: int) -> list[LedgerSlot]:
        """Every reservation of the participant that is not FREE."""
        slots = ffi.new("struct ledger_slot[]", PROTOCOL_SLOTS)
        count = lib.ledger_slots(self._ledger, participant, slots, PROTOCOL_SLOTS)
        data = bytes(ffi.buffer(slots, count * LedgerSlot.SIZE)) if count else b""
        size = LedgerSlot.SIZE
        return [LedgerSlot.unpack(data[i : i + size]) for i in range(0, len(data), size)]

    def unseen(self, participant: int) -> list[UnseenSlot]:
        """The participant's orders that were sent, that no window ends, and of which the venue has never
        told. One whose times cannot be trusted was sent at 0; a damaged slot is left out (`damage`)."""
        slots = ffi.new("struct ledger_slot[]", PROTOCOL_SLOTS)
        found = []
        for slot in slots[0 : lib.ledger_slots(self._ledger, participant, slots, PROTOCOL_SLOTS)]:
            if slot.state not in (SlotState.SENT, SlotState.UNKNOWN) or not lib.ledger_slot_is_whole(
                ffi.addressof(slot)
            ):
                continue
            timed = bool(lib.ledger_slot_landing_is_whole(ffi.addressof(slot)))
            if timed and (slot.landed_ns == slot.sent_ns or slot.lands_until_ns != LANDS_UNTIL_NONE):
                continue
            order = Order(
                slot.client_order_id,
                VenueId(slot.venue),
                ffi.string(slot.symbol, PROTOCOL_SYMBOL).decode(errors="replace"),
                OrderSide(slot.side),
                slot.price_e9,
                slot.quantity_e9,
                StrategyId(slot.strategy),
                query_id=bytes(ffi.buffer(slot.query_id)),
            )
            charged = slot.delta_micros[0], slot.delta_micros[1]
            found.append(UnseenSlot(order, slot.sent_ns if timed else 0, charged))
        return found

    def query_ids(self, venue: VenueId) -> set[bytes]:
        """The 32 bytes by which the venue is asked for an order, of every reservation of every process."""
        found: set[bytes] = set()
        slots = ffi.new("struct ledger_slot[]", PROTOCOL_SLOTS)
        for participant in range(PROTOCOL_PARTICIPANTS):
            count = lib.ledger_slots(self._ledger, participant, slots, PROTOCOL_SLOTS)
            here = (slots[n] for n in range(count))
            found |= {bytes(ffi.buffer(slot.query_id)) for slot in here if slot.venue == venue}
        return found - {bytes(32)}

    def audit(self) -> str | None:
        """None when every invariant holds, else the first violation's sentence."""
        text = ffi.new("char[]", 512)
        if lib.ledger_audit(self._ledger, text, 512) == 0:
            return None
        sentence: bytes = ffi.string(text)
        return sentence.decode()

    @property
    def state(self) -> LedgerState:
        """The control word's state, read now."""
        return ledger_state(lib.ledger_state_now(self._ledger))

    @property
    def epoch(self) -> int:
        """The control word's epoch, read now."""
        return int(lib.ledger_epoch_now(self._ledger))

    # ---- participant ---------------------------------------------------------------------------

    def join(self, participant: ParticipantRole, at_ns: int | None = None) -> int:
        """Takes the line for this process; returns its new generation."""
        at = now_ns() if at_ns is None else at_ns
        code = lib.ledger_join(self._ledger, participant, at)
        _checked(f"cannot join the ledger as {PARTICIPANT_NAMES[participant]}", code)
        self.participant = int(participant)
        return self.generation

    @property
    def generation(self) -> int:
        """Of this handle, since join()."""
        return int(lib.ledger_generation(self._ledger))

    def set_access(self, fingerprint: int) -> None:
        """Which record on disk tells where this participant trades; see bridge/access.py."""
        lib.ledger_set_access(self._ledger, fingerprint)

    def leave(self) -> None:
        """Gives back unused rights; charges stay, for positions outlive the process."""
        lib.ledger_leave(self._ledger)
        self.participant = None

    def rebuild(
        self,
        used_micros: Amounts,
        positions_micros: Amounts,
        keep: Iterable[int] = (),
        at_ns: int | None = None,
    ) -> bool:
        """After reconcile: frees the slots of orders not in keep and sets the truth. False: over rights."""
        ids = list(keep)
        at = now_ns() if at_ns is None else at_ns
        code = lib.ledger_rebuild(self._ledger, used_micros, positions_micros, ids, len(ids), at)
        if code == -_ENOSPC:
            return False
        _checked("cannot rebuild the ledger's line", code)
        return True

    def find(self, client_order_id: int) -> int | None:
        """The index of the slot that holds the order."""
        slot = ffi.new("uint32_t *")
        return int(slot[0]) if lib.ledger_find(self._ledger, client_order_id, slot) == 0 else None

    def reserve(
        self, order: Order, used_after_micros: Amounts, at_ns: int | None = None
    ) -> tuple[RejectReason, int]:
        """(NONE, slot), or the reason for the refusal and -1."""
        to = self._order[0]
        to.client_order_id = order.client_order_id
        to.venue = order.venue
        to.side = order.side
        to.strategy = order.strategy
        to.reducing = order.reducing
        to.price_e9 = order.price_e9
        to.quantity_e9 = order.quantity_e9
        to.window_ns = order.window_ns
        to.symbol = order.symbol.encode()[:32]
        ffi.memmove(to.query_id, order.query_id.ljust(32, b"\0"), 32)
        self._used[0], self._used[1] = used_after_micros
        at = lib.ledger_now_ns() if at_ns is None else at_ns
        reason: int = lib.ledger_reserve(self._ledger, self._slot, self._order, self._used, at)
        return _REASONS[reason], self._slot[0] if reason == 0 else -1

    def gate(self, slot: int, used_before_micros: Amounts, at_ns: int | None = None) -> RejectReason:
        """The last look before the bytes leave; NONE means they may."""
        self._used[0], self._used[1] = used_before_micros
        at = lib.ledger_now_ns() if at_ns is None else at_ns
        reason: int = lib.ledger_gate(self._ledger, slot, self._used, at)
        return _REASONS[reason]

    def live(self, slot: int) -> None:
        """The venue has accepted the order."""
        lib.ledger_live(self._ledger, slot)

    def unknown(self, slot: int) -> None:
        """The venue's answer is missing or unclear; the charge stays until it has spoken."""
        lib.ledger_unknown(self._ledger, slot)

    def filled(
        self,
        slot: int,
        filled_e9: int,
        used_micros: Amounts,
        positions_micros: Amounts,
        at_ns: int | None = None,
    ) -> None:
        """Cumulative filled quantity and the new totals."""
        self._set(used_micros, positions_micros)
        at = lib.ledger_now_ns() if at_ns is None else at_ns
        lib.ledger_filled(self._ledger, slot, filled_e9, self._used, self._positions, at)

    def release(
        self, slot: int, used_after_micros: Amounts, positions_micros: Amounts, at_ns: int | None = None
    ) -> None:
        """The venue has confirmed the order's end."""
        self._set(used_after_micros, positions_micros)
        at = lib.ledger_now_ns() if at_ns is None else at_ns
        lib.ledger_release(self._ledger, slot, self._used, self._positions, at)

    def reprice(self, used_micros: Amounts, positions_micros: Amounts, at_ns: int | None = None) -> bool:
        """Marks moved. False: used is above the rights, and only reducing orders are accepted."""
        self._set(used_micros, positions_micros)
        at = lib.ledger_now_ns() if at_ns is None else at_ns
        code = lib.ledger_reprice(self._ledger, self._used, self._positions, at)
        if code == -_ENOSPC:
            return False
        _checked("cannot reprice", code)
        return True

    def beat(self, halted: bool = False, at_ns: int | None = None) -> None:
        """The heartbeat of a duty cycle; halted acknowledges a halt."""
        lib.ledger_beat(self._ledger, lib.ledger_now_ns() if at_ns is None else at_ns, halted)

    def roll_ack(self, roll: Roll, day: int) -> None:
        """This participant has done what the phase asks, and counts this day."""
        lib.ledger_roll_ack(self._ledger, roll.sequence, roll.phase & 3, day)

    def lead_alone(self, wall_ns: int, at_ns: int | None = None) -> None:
        """One step of the day's leader, for a process that trades without a supervisor."""
        if self._watch is None:
            self._watch = ffi.new("struct wall_watch *")
        at = now_ns() if at_ns is None else at_ns
        lib.ledger_lead_alone(self._ledger, self._watch, wall_ns, at, lib.steady_clock_ns())

    def _set(self, used_micros: Amounts, positions_micros: Amounts) -> None:
        self._used[0], self._used[1] = used_micros
        self._positions[0], self._positions[1] = positions_micros
