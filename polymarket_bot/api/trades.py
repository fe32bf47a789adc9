"""Which legs of a trade are ours.

As taker, the trade's own fields are ours. As maker, every entry of maker_orders that carries our API key
or our wallet is ours, with that entry's token, side and price: the taker may have traded the other token
of the pair (Polymarket docs, user channel).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polymarket_bot.api.decimals import parse_scaled, parse_wall_ns
from polymarket_bot.errors import VenueError
from polymarket_bot.model import Fee, Fill, Price, Side, Size, TradeUpdate, fee_e8

STATUS_PREFIX = "TRADE_STATUS_"


class TradeReader:
    """Reads trades for one account. `fee_of` gives a token's fee schedule."""

    def __init__(self, owner: str, wallet: str, fee_of: Callable[[str], Fee]) -> None:
        self._owner = owner
        self._wallet = wallet.lower()
        self._fee_of = fee_of

    def read(self, trade: Mapping[str, Any]) -> TradeUpdate:
        """Raises VenueError when a field that decides about money is missing or malformed."""
        try:
            status = str(trade["status"]).removeprefix(STATUS_PREFIX)
            matched = parse_wall_ns(
                trade.get("match_time") or trade.get("matchtime") or trade.get("timestamp")
            )
            makers = trade.get("maker_orders") or []
            fills = [self._maker_leg(trade, leg, matched) for leg in makers if self._is_ours(leg)]
            if self._is_taker(trade):
                fills.append(self._taker_leg(trade, matched))
        except (KeyError, TypeError, ValueError) as error:
            raise VenueError(f"the venue sent a trade without a usable {error}") from error
        return TradeUpdate(status, tuple(fills))

    def _is_ours(self, leg: Mapping[str, Any]) -> bool:
        if leg.get("owner") == self._owner:
            return True
        return str(leg.get("maker_address", "")).lower() == self._wallet

    def _is_taker(self, trade: Mapping[str, Any]) -> bool:
        if str(trade.get("trader_side", "")).upper() == "MAKER":
            return False
        taker = trade.get("trade_owner") or trade.get("owner")
        return taker == self._owner or str(trade.get("maker_address", "")).lower() == self._wallet

    def _taker_leg(self, trade: Mapping[str, Any], matched: int) -> Fill:
        token, price, size = str(trade["asset_id"]), parse_scaled(trade["price"]), parse_scaled(trade["size"])
        return Fill(
            str(trade["id"]),
            str(trade["taker_order_id"]),
            str(trade["market"]),
            token,
            Side[trade["side"]],
            Price(price),
            Size(size),
            False,
            fee_e8(self._fee_of(token), price, size),
            matched,
        )

    def _maker_leg(self, trade: Mapping[str, Any], leg: Mapping[str, Any], matched: int) -> Fill:
        token = str(leg["asset_id"])
        if leg.get("side"):
            side = Side[leg["side"]]
        else:
            taker = Side[trade["side"]]
            side = taker.opposite if token == trade["asset_id"] else taker
        return Fill(
            str(trade["id"]),
            str(leg["order_id"]),
            str(trade["market"]),
            token,
            side,
            Price(parse_scaled(leg["price"])),
            Size(parse_scaled(leg["matched_amount"])),
            True,
            0,
            matched,
        )
