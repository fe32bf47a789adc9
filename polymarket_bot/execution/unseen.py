"""Orders that the ledger has charged and whose fate nobody knows: sent by an earlier process, never seen at
the venue, and without a window after which they could not land any more.

The ledger alone tells of them for certain: the database may be gone, and its times are the wall's, which may
have been set since. Each is charged until it has been looked for over UNKNOWN_WINDOW_NS since it was sent,
by the clock that never jumps. One whose market is known is adopted like any other order of ours; one whose
market nobody names is charged here at its worst, in no market's account.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polymarket_bot.execution.account import Account
from polymarket_bot.execution.ports import Budget
from polymarket_bot.model import ONE, Intent, Price, Side, Size, UnseenOrder

UNKNOWN_WINDOW_NS = 60_000_000_000  # Polymarket orders carry no validity: look for this long


@dataclass(frozen=True, slots=True)
class Charge:
    """One that belongs to no market we know."""

    order: UnseenOrder
    loss_micros: int
    notional_micros: int


class UnseenOrders:
    """Those of the ledger at the start, and what they are charged at while no market takes them."""

    def __init__(self, account: Account, budget: Budget) -> None:
        self._account = account
        self._budget = budget
        self._charges: dict[int, Charge] = {}

    def intents(self, now: int) -> list[tuple[Intent, UnseenOrder]]:
        """Those to be adopted in a market; the others are charged from now on."""
        found = []
        for order in self._budget.unseen():
            if now - order.sent_ns >= UNKNOWN_WINDOW_NS:
                continue
            if self._account.settlement.has_order(order.order_id):
                continue  # it landed, and the fence has cancelled what was left of it
            intent = self._intent(order)
            if intent is not None:
                found.append((intent, order))
            else:
                self._charges[order.client_order_id] = _worst(order)
        self._count()
        return found

    def _intent(self, order: UnseenOrder) -> Intent | None:
        for market in self._account.known.values():
            for token, symbol in zip(market.tokens, market.symbols, strict=True):
                if order.symbol in (symbol, "TOKEN-" + token[-8:]):
                    return Intent(
                        order.client_order_id,
                        market.condition_id,
                        token,
                        market.outcome_of(token),
                        Side(order.side),
                        Price(order.price),
                        Size(order.size),
                        False,  # not recorded: charged with the fee that it could cost
                        order.strategy,
                    )
        return None

    @property
    def kept(self) -> Iterable[int]:
        """Client order ids whose slots stay charged although no order of ours stands for them."""
        return self._charges

    def expire(self, asked_ns: int, now: int) -> None:
        """The venue was asked at this time: what had its whole window by then never landed, or is booked."""
        risk = self._account.risk
        for client_id, charge in list(self._charges.items()):
            if asked_ns - charge.order.sent_ns < UNKNOWN_WINDOW_NS:
                continue
            del self._charges[client_id]
            self._count()
            slot = self._budget.find(client_id)
            if slot >= 0:
                self._budget.release(slot, risk.used(), risk.positions(), now)

    def _count(self) -> None:
        charges = self._charges.values()
        self._account.risk.unplaced = (
            sum(charge.loss_micros for charge in charges),
            sum(charge.notional_micros for charge in charges),
        )
        self._account.dirty = True


def _worst(order: UnseenOrder) -> Charge:
    """A purchase loses what it costs, a sale the rest of the dollar; what it was charged at when it was
    reserved, the fee included, is never fallen below."""
    buys = order.side == Side.BUY
    cost = -(-order.price * order.size // ONE)
    loss = cost if buys else -(-(ONE - order.price) * order.size // ONE)
    notional = cost if buys else 0
    return Charge(order, max(loss, order.charged_micros[0]), max(notional, order.charged_micros[1]))
