"""Money that moves without a fill: each row of the venue's activity once, and what the wallet should hold.

    wallet = baseline + what trades brought and cost + what the rows of the activity brought and took

Trades move the wallet through the settlement (`Settlement.trade_cash_micros`). Tokens that were settled,
adopted, split or merged move only the position there: their dollars come and go with a row of the activity
(REDEEM, SPLIT, MERGE) or not at all. The baseline is set once, from the first reading, so that whatever
the wallet held before is nobody's result.

What a row makes of the day's result:

    reward, rebate, yield          all of it
    deposit, withdrawal, tip       none: the owner's money came or went, the baseline moves
    split, merge                   nothing but rounding: a dollar is a pair of tokens
    redemption                     what it brings beyond the resolution that was booked (`recount`)
    anything else                  only a loss: an unknown gain does not enlarge the budget
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from bridge.messages import CashKind
from polymarket_bot.api.activity import Movement, keys_of_rows

RESULTS = {
    "REWARD": CashKind.REWARD,
    "REFERRAL_REWARD": CashKind.REWARD,
    "YIELD": CashKind.REWARD,
    "MAKER_REBATE": CashKind.COMMISSION,
    "TAKER_REBATE": CashKind.COMMISSION,
}
TRANSFERS = frozenset({"DEPOSIT", "WITHDRAWAL", "TIP", "MIGRATION"})
EXCHANGES = frozenset({"SPLIT", "MERGE"})
REDEEM = "REDEEM"
ACCEPTED = "ACCEPTED"  # a difference that a person let pass


@dataclass(frozen=True, slots=True)
class CashRow:
    """One movement, booked: what it did to the wallet and to the result of the day that it counts in."""

    key: str
    day: int
    kind: CashKind
    type: str
    amount_micros: int
    result_micros: int
    condition_id: str
    wall_ns: int


class CashBook:
    """Every row ever booked. Synchronous; the caller persists what `take` returns."""

    def __init__(self) -> None:
        self.baseline_micros: int | None = None
        self.flow_micros = 0
        self.changes = 0  # grows with each row: whether two readings have the same books behind them
        self._keys: set[str] = set()
        self._results: dict[int, int] = {}
        self._transfers: dict[int, int] = {}
        self._redeemed: dict[str, tuple[int, int]] = {}  # by market: dollars, day of the newest row
        self._beyond: dict[int, int] = {}  # by day: redemptions beyond the booked resolutions

    def load(self, rows: Iterable[CashRow], baseline_micros: int | None) -> None:
        """What storage remembers."""
        stored = list(rows)
        keys = keys_of_rows((row.key, row.type, row.amount_micros) for row in stored)
        for row, key in zip(stored, keys, strict=True):
            self._add(replace(row, key=key))
        self.baseline_micros = baseline_micros

    def known(self, key: str) -> bool:
        return key in self._keys

    def take(self, movement: Movement, today: int, day: int, exchanged_micros: int | None = None) -> CashRow:
        """Book a movement of this day. A loss that is learnt after its day has closed counts today.
        `exchanged_micros`: what the tokens of a split or merge were booked at, None when they were not."""
        if self.known(movement.key):
            raise ValueError(f"the row {movement.key} is booked already")
        kind, result = self._judge(movement, exchanged_micros)
        counted = today if result < 0 else min(day, today)
        row = CashRow(
            movement.key,
            counted,
            kind,
            movement.type,
            movement.amount_micros,
            result,
            movement.condition_id,
            movement.wall_ns,
        )
        self._add(row)
        return row

    def _judge(self, movement: Movement, exchanged_micros: int | None) -> tuple[CashKind, int]:
        amount = movement.amount_micros
        if movement.type in RESULTS:
            return RESULTS[movement.type], amount
        if movement.type in TRANSFERS:
            return CashKind.TRANSFER, 0
        if movement.type == REDEEM:
            return CashKind.REDEMPTION, 0
        if movement.type in EXCHANGES and exchanged_micros is not None:
            return CashKind.ADJUSTMENT, amount + exchanged_micros
        return CashKind.ADJUSTMENT if movement.type == ACCEPTED else CashKind.OTHER, min(0, amount)

    def _add(self, row: CashRow) -> None:
        self._keys.add(row.key)
        self.flow_micros += row.amount_micros
        self.changes += 1
        self._results[row.day] = self._results.get(row.day, 0) + row.result_micros
        if row.kind is CashKind.TRANSFER:
            self._transfers[row.day] = self._transfers.get(row.day, 0) + row.amount_micros
        if row.kind is CashKind.REDEMPTION:
            dollars, day = self._redeemed.get(row.condition_id, (0, 0))
            self._redeemed[row.condition_id] = (dollars + row.amount_micros, max(day, row.day))

    def recount(
        self, resolved_micros: Mapping[str, int], held: frozenset[str], known: frozenset[str]
    ) -> None:
        """What was redeemed beyond the resolutions in our books: a result as soon as nothing is held that
        a later booking could still explain it with, in markets that we have traded."""
        self._beyond = {}
        for condition, (dollars, day) in self._redeemed.items():
            beyond = dollars - resolved_micros.get(condition, 0)
            if beyond > 0 and condition in known and condition not in held:
                self._beyond[day] = self._beyond.get(day, 0) + beyond

    def day_micros(self, day: int) -> int:
        """The day's result of all rows."""
        return self._results.get(day, 0) + self._beyond.get(day, 0)

    def transfers_micros(self, day: int) -> int:
        """Deposits less withdrawals of the day."""
        return self._transfers.get(day, 0)

    def expected_micros(self, trade_cash_micros: int) -> int:
        """What the wallet holds when everything in the books has reached it."""
        if self.baseline_micros is None:
            raise ValueError("the baseline is not known before the first reading")
        return self.baseline_micros + trade_cash_micros + self.flow_micros
