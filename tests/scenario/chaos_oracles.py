"""What must hold at every moment of a chaos run, watched by two threads.

`LedgerWatch` reads the shared ledger many times a second: its own audit (used <= alloc unless the
participant is REDUCING, sum of alloc <= what the limit allows, slots whole), and that used stays below the
limit while the limit stands and nobody is REDUCING.

`VenueWatch` compares the venues' own accounts with the ledger: account, ledger, account again. An order that
is open in both accounts was open at the moment between them, so its charge must be in the ledger; and where
the two accounts are the same, so is the worst case of what the account holds. A charge that belongs to no
order at the venue is noted with its age, because it has to go once the faults are over.
"""

from __future__ import annotations

import abc
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conftest import System, our_account

from bridge.ledger import Ledger, LedgerError, LedgerView
from bridge.messages import LedgerSlot, LedgerState

Json = dict[str, Any]
ENGINE, BOT = 1, 2
SHOCK_PERCENT = 10  # config/binance_sim.json
MARK_PERCENT = {"binance": 2, "polymarket": 12}  # how far apart their mark and ours may be
MARK_FLOOR_MICROS = {"binance": 1_000_000, "polymarket": 4_000_000}


class LedgerReader:
    """The ledger of a system, opened again when another one has taken its place."""

    def __init__(self, system: System) -> None:
        self._path = system.home / "run" / "ledger"
        self._ledger: Ledger | None = None
        self._inode = 0

    def ledger(self) -> Ledger | None:
        """The present one, None while there is none."""
        try:
            inode = self._path.stat().st_ino
            if self._ledger is None or inode != self._inode:
                if self._ledger is not None:
                    self._ledger.close()
                self._ledger, self._inode = None, inode
                self._ledger = Ledger.open(self._path)
        except (OSError, LedgerError):
            return None
        return self._ledger


class Watch(threading.Thread, abc.ABC):
    """A thread that looks again and again and keeps what it found wrong."""

    def __init__(self, system: System, every_s: float) -> None:
        super().__init__(daemon=True)
        self._system = system
        self._every_s = every_s
        self._ended = threading.Event()
        self.violations: list[str] = []
        self.looks = 0

    def run(self) -> None:
        """Look until ended. What goes wrong in the looking is a finding too."""
        while not self._ended.wait(self._every_s):
            try:
                self.look()
            except Exception as error:
                self.violations.append(f"{type(self).__name__} cannot look: {type(error).__name__}: {error}")
                return

    @abc.abstractmethod
    def look(self) -> None:
        """One look."""

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()
        self.join()


class LedgerWatch(Watch):
    """The ledger's own invariants, about a hundred times a second."""

    def __init__(self, system: System) -> None:
        super().__init__(system, 0.005)
        self._reader = LedgerReader(system)
        self._limit: tuple[int, ...] = ()
        self._lowered = False

    def look(self) -> None:
        """The audit, and used <= limit unless a person lowered it or somebody may only reduce."""
        ledger = self._reader.ledger()
        if ledger is None:
            return
        self.looks += 1
        if (text := ledger.audit()) is not None:
            self.violations.append(f"audit: {text}")
        view = ledger.snapshot()
        if view.consistent:
            self._check(view)

    def _check(self, view: LedgerView) -> None:
        if self._limit and any(new < old for new, old in zip(view.limit_micros, self._limit, strict=True)):
            self._lowered = True
        self._limit = tuple(view.limit_micros)
        above = [d for d in (0, 1) if view.alloc_micros[d] > view.limit_micros[d]]
        self._lowered = self._lowered and bool(above)
        if above and not self._lowered:
            self.violations.append(f"sum(alloc) above the limit: {view}")
        for line in view.participants:
            over = any(line.used_micros[d] > line.alloc_micros[d] for d in (0, 1))
            if over and line.state != LedgerState.REDUCING and self._stands(line.index):
                self.violations.append(f"used above alloc and not REDUCING: {view}")

    def _stands(self, index: int) -> bool:
        """A finding counts when it is there again: amounts and state are not read in one instant."""
        ledger = self._reader.ledger()
        for _ in range(3):
            line = ledger.snapshot().participants[index] if ledger is not None else None
            if line is None or line.state == LedgerState.REDUCING:
                return False
            if all(line.used_micros[d] <= line.alloc_micros[d] for d in (0, 1)):
                return False
        return True


@dataclass(slots=True)
class Truth:
    """What a venue's account can cost at worst, from below: loss and gross notional, in micros."""

    loss: int = 0
    notional: int = 0


@dataclass(slots=True)
class Stale:
    """Charges without an order at the venue, and since when each is seen so."""

    since: dict[tuple[int, int, int], float] = field(default_factory=dict)

    def note(self, absent: set[tuple[int, int, int]]) -> None:
        """The charges that have no order now."""
        now = time.monotonic()
        self.since = {key: self.since.get(key, now) for key in absent}

    def oldest_s(self) -> float:
        """Age of the oldest."""
        return max((time.monotonic() - at for at in self.since.values()), default=0.0)


class VenueWatch(Watch):
    """One venue's account against the ledger, a few times a second."""

    def __init__(self, system: System, venue: str, forgotten: Callable[[], bool]) -> None:
        super().__init__(system, 0.4)
        self._venue = venue
        self._role = {"binance": ENGINE, "polymarket": BOT}[venue]
        self._reader = LedgerReader(system)
        self._forgotten = forgotten  # the ledger was lost with the machine and is not rebuilt yet
        self.compared = 0
        self.stale = Stale()

    def look(self) -> None:
        """Account, ledger, account."""
        ledger = self._reader.ledger()
        first = self._account()
        if ledger is None or first is None:
            return
        forgotten = self._forgotten()
        slots, view = ledger.slots(self._role), ledger.snapshot()
        second = self._account()
        if second is None or forgotten or self._reader.ledger() is not ledger:
            return
        self.looks += 1
        stood = [o for o in first["open_orders"] if o["order_id"] in _ids(second)]
        charged = Counter(_charge(slot, self._venue) for slot in slots)
        missing = Counter(_order(order, self._venue) for order in stood) - charged
        if missing:
            self.violations.append(f"{self._venue}: open at the venue and not charged: {dict(missing)}; "
                                   f"charged: {dict(charged)}")  # fmt: skip
        seen = {_order(order, self._venue) for order in (*first["open_orders"], *second["open_orders"])}
        self.stale.note({(s.client_order_id, s.slot_generation, s.participant_generation) for s in slots
                         if _charge(s, self._venue) not in seen})  # fmt: skip
        if _same(first, second) and view.consistent:
            self._compare(second, view)

    def _account(self) -> Json | None:
        try:
            return our_account(self._system.admin(self._venue, "/account"))
        except (OSError, ValueError, AssertionError):
            return None  # stopped, killed or not there yet; what it left behind is not how things stand

    def _compare(self, account: Json, view: LedgerView) -> None:
        line = view.participants[self._role]
        if line.reconciled_ns == 0 and not line.used_micros[0]:
            return  # a new ledger's line
        truth = (binance_truth if self._venue == "binance" else polymarket_truth)(account)
        self.compared += 1
        slack = truth.notional * MARK_PERCENT[self._venue] // 100 + MARK_FLOOR_MICROS[self._venue]
        for name, used, least in (
            ("loss", line.used_micros[0], truth.loss), ("notional", line.used_micros[1], truth.notional),
        ):  # fmt: skip
            if used + slack < least:
                self.violations.append(f"{self._venue}: {name} charged {used}, at the venue {least}: {line}")


def _ids(account: Json) -> set[Any]:
    return {order["order_id"] for order in account["open_orders"]}


def _same(first: Json, second: Json) -> bool:
    return bool(first["open_orders"] == second["open_orders"] and len(first["fills"]) == len(second["fills"]))


def _order(order: Json, venue: str) -> tuple[Any, ...]:
    """What identifies an order on both sides: its id where the venue carries ours, else its terms."""
    if venue == "binance":
        return (int(order["client_order_id"].rpartition("-")[2], 16),)
    return order["side"], order["price_e9"], order["quantity_e9"]


def _charge(slot: LedgerSlot, venue: str) -> tuple[Any, ...]:
    if venue == "binance":
        return (slot.client_order_id,)
    return ("BUY", "SELL")[slot.side], slot.price_e9, slot.quantity_e9


def _lost_micros(account: Json) -> int:
    """What the account has lost so far at its marks."""
    rows = account["positions"]
    day: int = sum(p["realized_micros"] + p["unrealized_micros"] - p["fees_e8"] // 100 for p in rows)
    return max(0, -day)


def binance_truth(account: Json) -> Truth:
    """The worse of: every buy fills and the price falls, every sell fills and it rises."""
    (position,) = account["positions"]
    mark = position["mark_e9"]
    sums = {"BUY": 0, "SELL": 0}
    for order in account["open_orders"]:
        if not order["reduce_only"]:
            sums[order["side"]] += order["quantity_e9"] - order["executed_e9"]
    held = position["quantity_e9"]
    most = max(abs(held + sums["BUY"]), abs(held - sums["SELL"])) * mark // 10**12
    return Truth(_lost_micros(account) + most * SHOCK_PERCENT // 100, most)


def polymarket_truth(account: Json) -> Truth:
    """Per market the outcome against us, with every order filled that loses under it."""
    one = 10**9
    loss = {0: Counter[str](), 1: Counter[str]()}  # by winner (1: the asset's own outcome), by market
    notional = 0
    first: dict[str, str] = {}  # market to the asset that counts as its first outcome
    market_of = {row["asset_id"]: row["symbol"].rpartition(":")[0] for row in
                 (*account["positions"], *account["open_orders"])}  # fmt: skip
    for row in account["positions"]:
        if row["closed"] or not row["quantity_e9"]:
            continue
        market, mark, held = market_of[row["asset_id"]], row["mark_e9"], row["quantity_e9"]
        own = int(first.setdefault(market, row["asset_id"]) == row["asset_id"])
        loss[own][market] -= held * (one - mark) // 10**12
        loss[1 - own][market] += held * mark // 10**12
        notional += held * mark // 10**12
    for order in account["open_orders"]:
        market, price, left = market_of[order["asset_id"]], order["price_e9"], order["left_e9"]
        own = int(first.setdefault(market, order["asset_id"]) == order["asset_id"])
        if order["side"] == "BUY":
            loss[1 - own][market] += left * price // 10**12
            notional += left * price // 10**12
        else:
            loss[own][market] += left * (one - price) // 10**12
    worst = sum(max(0, loss[0][market], loss[1][market]) for market in first)
    return Truth(_lost_micros(account) + worst, notional)
