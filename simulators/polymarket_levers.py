"""The referee's levers on money and tokens, as POST /market takes them: checked words and exact numbers.

{"pay": {"type", "usd"}}             a reward, a rebate, a deposit, a withdrawal, a tip, something new
{"exchange": {"type", "slug", "size"}}  SPLIT dollars into pairs of tokens, or MERGE pairs into dollars
{"adjust": {"asset_id", "size"}}     tokens come or go by hand, with no trace in the activity
{"vanish": {"usd"}}                  dollars go (or, below zero, come) with no trace in the activity
{"redeem": slug}                     pay what is held of a resolved market
"wallet" may name whose, in all but the last; otherwise the first key's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from simulators.admin import RefereeError
from simulators.polymarket_markets import Market
from simulators.polymarket_matching import LOTS_PER_SHARE
from simulators.polymarket_money import MERGE, SPLIT, Money, MoneyError
from simulators.polymarket_venue import Venue, mid_price

MICROS = 1_000_000


class MoneyLevers:
    """Reads one lever and pulls it."""

    def __init__(self, venue: Venue, money: Money) -> None:
        self._venue, self._money = venue, money
        self.names: dict[str, Callable[[Any], None]] = {
            "pay": self._pay, "exchange": self._exchange, "adjust": self._adjust, "vanish": self._vanish,
            "redeem": self._redeem,
        }  # fmt: skip

    def pull(self, name: str, body: Any) -> None:
        """Raises RefereeError with a sentence that says what to give."""
        try:
            self.names[name](body)
        except MoneyError as error:
            raise RefereeError(f"{name}: {error}") from error
        except (KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise RefereeError(f'"{name}" is not written like that; {__doc__}') from error

    def _wallet(self, body: dict[str, Any]) -> str:
        accounts = self._venue.accounts
        wanted = body.get("wallet")
        if wanted is None:
            key = next(iter(accounts.keys.values()), None)
            if key is None:
                raise MoneyError("no key trades here yet")
            return key.address
        found = next((address for address in accounts.wallets if address.lower() == wanted.lower()), None)
        if found is None:
            raise MoneyError(f"no wallet {wanted} is known")
        return found

    def _market(self, slug: Any) -> Market:
        found = next((market for market in self._venue.markets.values() if market.slug == slug), None)
        if found is None:
            raise MoneyError(f"no market has the slug {slug!r}; GET /orders lists those that are open")
        return found

    def _pay(self, body: dict[str, Any]) -> None:
        self._money.credit(body["type"], self._wallet(body), _scaled(body["usd"], MICROS))

    def _exchange(self, body: dict[str, Any]) -> None:
        kind = body["type"]
        if kind not in (SPLIT, MERGE):
            raise MoneyError(f"{kind!r} is no exchange; give {SPLIT} or {MERGE}")
        lots = _scaled(body["size"], LOTS_PER_SHARE)
        self._money.exchange(kind, self._wallet(body), self._market(body["slug"]), lots)

    def _adjust(self, body: dict[str, Any]) -> None:
        token = body["asset_id"]
        if token not in self._venue.by_token:
            raise MoneyError(f"no market has the token {token!r}; GET /orders lists them")
        mark = mid_price(*self._venue.by_token[token])
        self._money.adjust(self._wallet(body), token, _scaled(body["size"], LOTS_PER_SHARE), mark)

    def _vanish(self, body: dict[str, Any]) -> None:
        self._money.vanish(self._wallet(body), -_scaled(body["usd"], MICROS))

    def _redeem(self, body: Any) -> None:
        if not self._money.redeem(self._market(body)):
            raise MoneyError("nobody holds anything of it any more")


def _scaled(text: Any, scale: int) -> int:
    """A number or its text as an exact multiple of 1/scale."""
    value = Decimal(str(text)) * scale
    if value != value.to_integral_value():
        raise MoneyError(f"{text} has too many decimals: at most {len(str(scale)) - 1} are kept here")
    return int(value)
