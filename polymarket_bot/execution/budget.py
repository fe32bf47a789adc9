"""The shared ledger, as the execution engine uses it: the bot's line, in the bot's units."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from bridge.access import Access
from bridge.access import write as write_access
from bridge.ledger import Amounts, Ledger, LedgerView, Roll, client_order_id, now_ns
from bridge.ledger import Order as LedgerOrder
from bridge.messages import (
    HaltReason,
    LedgerState,
    OrderSide,
    ParticipantRole,
    RejectReason,
    StrategyId,
    VenueId,
)
from bridge.paths import Paths
from bridge.wall_clock import WallWatch
from polymarket_bot.model import Intent, UnseenOrder
from polymarket_bot.risk.manager import Used

E9 = 1_000
LEASE_NS = 2_000_000_000
JUMP_AFTERMATH_NS = 15_000_000_000  # so long an answer to an old stamp may be on its way

log = structlog.get_logger("bot")


def _raw(order_id: str) -> bytes:
    """The 32 bytes of an order's hash; none for what is no hash."""
    try:
        return bytes.fromhex(order_id.removeprefix("0x"))[:32]
    except ValueError:
        return b""


class LedgerBudget:
    """One participant's view. `symbol_of` names a token as every view shows it. `own_lease`: there is no
    supervisor, and this process renews its own permission; with `wall_ns` it leads its own day, too."""

    def __init__(
        self,
        ledger: Ledger,
        symbol_of: Callable[[str], str],
        own_lease: bool,
        wall_ns: Callable[[], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._symbol_of = symbol_of
        self._own_lease = own_lease
        self._wall_ns = wall_ns if own_lease else None
        self._sequence = 0
        self._watch = WallWatch()
        self._jumped_ns = 0
        self._generation = ledger.join(ParticipantRole.BOT)
        if self._wall_ns is not None:
            ledger.lead_alone(self._wall_ns())
        self.fits = True

    def record_access(self, paths: Paths, access: Access, wall_ns: int) -> None:
        """Record where we trade, then name the record in the ledger. OSError when it cannot be written."""
        self._ledger.set_access(write_access(paths, access, self._generation, wall_ns))

    def next_client_order_id(self) -> int:
        self._sequence += 1
        return client_order_id(ParticipantRole.BOT, self._generation, self._sequence)

    def state(self) -> LedgerState:
        return self._ledger.state

    def snapshot(self) -> LedgerView:
        return self._ledger.snapshot()

    def lease_fresh(self, now_ns: int) -> bool:
        return now_ns <= self._ledger.snapshot(now_ns).lease_deadline_ns

    def reserve(
        self, intent: Intent, reducing: bool, used: Used, now_ns: int, order_id: str = ""
    ) -> tuple[RejectReason, int]:
        """order_id: the order's hash, "0x…", by which the venue can be asked for it. There is no window
        after which it could not land any more (window_ns 0)."""
        order = LedgerOrder(
            intent.client_order_id,
            VenueId.POLYMARKET,
            self._symbol_of(intent.token),
            OrderSide(intent.side),
            intent.price * E9,
            intent.size * E9,
            StrategyId(intent.strategy),
            reducing,
            window_ns=0,
            query_id=_raw(order_id),
        )
        return self._ledger.reserve(order, Amounts(*used), now_ns)

    def gate(self, slot: int, used_before: Used, now_ns: int) -> RejectReason:
        return self._ledger.gate(slot, Amounts(*used_before), now_ns)

    def find(self, client_order_id: int) -> int:
        """The slot of an order of an earlier process; -1 when the ledger does not hold it."""
        slot = self._ledger.find(client_order_id)
        return -1 if slot is None else slot

    def live(self, slot: int) -> None:
        if slot >= 0:
            self._ledger.live(slot)

    def unknown(self, slot: int) -> None:
        if slot >= 0:
            self._ledger.unknown(slot)

    def filled(self, slot: int, filled: int, used: Used, positions: Used, now_ns: int) -> None:
        if slot < 0:
            self.reprice(used, positions, now_ns)
            return
        self._ledger.filled(slot, filled * E9, Amounts(*used), Amounts(*positions), now_ns)

    def release(self, slot: int, used: Used, positions: Used, now_ns: int) -> None:
        self._ledger.release(slot, Amounts(*used), Amounts(*positions), now_ns)

    def reprice(self, used: Used, positions: Used, now_ns: int) -> bool:
        self.fits = self._ledger.reprice(Amounts(*used), Amounts(*positions), now_ns)
        return self.fits

    def rebuild(self, used: Used, positions: Used, keep: Sequence[int], now_ns: int) -> bool:
        fits = self._ledger.rebuild(Amounts(*used), Amounts(*positions), keep, now_ns)
        if self._own_lease and self._ledger.state is LedgerState.INIT:
            self._ledger.set_state(LedgerState.ACTIVE)
        return fits

    def beat(self, halted: bool, now_ns: int) -> None:
        if self._own_lease:
            self._ledger.heartbeat(LEASE_NS, now_ns)
        if self._wall_ns is not None:
            self._ledger.lead_alone(self._wall_ns(), now_ns)
        self._ledger.beat(halted, now_ns)
        if self._watch.look().jumped_ns:
            self._jumped_ns = now_ns

    def roll(self) -> Roll:
        return self._ledger.roll()

    def roll_ack(self, roll: Roll, day: int) -> None:
        self._ledger.roll_ack(roll, day)

    def halt(self, reason: HaltReason) -> None:
        """A venue that refuses a stamp of a clock that has just been set does not refuse our key: then there
        is no halt, and the ledger's doubt keeps new risk away. It halts when it is refused again later."""
        if reason is HaltReason.VENUE and self._clock_moved(now_ns()):
            log.warning("refusal_during_clock_jump", reason=reason.name)
            return
        self._ledger.halt(reason)

    def _clock_moved(self, now: int) -> bool:
        if self._watch.look().jumped_ns:
            self._jumped_ns = now
        lately = self._jumped_ns and now - self._jumped_ns < JUMP_AFTERMATH_NS
        return bool(lately or self._ledger.roll().clock_doubt_ns)

    def slot_ids(self) -> set[str]:
        """By the venue's name: every order of this venue that the ledger holds, of any process."""
        return {"0x" + raw.hex() for raw in self._ledger.query_ids(VenueId.POLYMARKET)}

    def unseen(self) -> list[UnseenOrder]:
        """Orders on our line that were sent, that no window ends, and of which the venue has never told."""
        return [
            UnseenOrder(
                slot.order.client_order_id,
                "0x" + slot.order.query_id.hex(),
                slot.order.symbol,
                int(slot.order.side),
                slot.order.price_e9 // E9,
                slot.order.quantity_e9 // E9,
                int(slot.order.strategy),
                slot.sent_ns or now_ns(),
                slot.charged_micros,
            )
            for slot in self._ledger.unseen(ParticipantRole.BOT)
        ]

    def leave(self) -> None:
        self._ledger.leave()
        self._ledger.close()
