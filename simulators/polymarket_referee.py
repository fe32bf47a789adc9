"""The referee's account of the venue: integers only, per API key, for comparison with a client's own."""

from __future__ import annotations

import itertools
from typing import Any

from simulators.polymarket_account import FINAL, Leg, Position, Trade, symbol_of
from simulators.polymarket_matching import NO, SIDE_NAMES, YES, price_text, size_text
from simulators.polymarket_money import Movement
from simulators.polymarket_orders import ClientOrder
from simulators.polymarket_venue import Venue, mid_price

PRICE_E9, LOT_E9 = 100_000, 10_000_000
ACCEPTED_SHOWN = 200


def account_view(venue: Venue) -> dict[str, Any]:
    """Everything that belongs to each key."""
    accounts = venue.accounts
    keys = dict.fromkeys((*accounts.keys, *accounts.fills))
    return {"venue": "polymarket", "time_ms": venue.clock.now_ms(),
            "accounts": {key: _key_view(venue, key) for key in keys}}  # fmt: skip


def _key_view(venue: Venue, key: str) -> dict[str, Any]:
    accounts = venue.accounts
    known = accounts.keys.get(key)
    address = known.address if known else ""
    wallets = {address} | {order.wallet for order in venue.orders.values() if order.book.owner == key}
    fills = accounts.fills.get(key, [])
    folded = {wallet.lower() for wallet in wallets}
    return {
        "address": address,
        "cash_micros": sum(accounts.wallets[wallet].cash for wallet in wallets if wallet in accounts.wallets),
        "open_orders": [_order_view(order) for order in venue.open_orders(key)],
        "accepted": _accepted(venue, key),
        "fills": [_fill_view(trade, leg, trade.taker is leg) for trade, leg in fills],
        "movements": [_movement_view(movement) for movement in accounts.movements
                      if movement.wallet.lower() in folded],
        "settlements": accounts.settlements.get(key, []),
        "positions": [_position_view(venue, token, position)
                      for (owner, token), position in accounts.positions.items() if owner == key],
        "heartbeat_deadline_ms": venue.heartbeats.deadline_ms(key),
    }  # fmt: skip


def _accepted(venue: Venue, key: str) -> list[dict[str, Any]]:
    """The newest orders that were ever accepted, ended ones included: when each came, and what it is now."""
    newest = itertools.islice(
        (o for o in reversed(venue.orders.values()) if o.book.owner == key), ACCEPTED_SHOWN
    )
    return [{"order_id": order.order_id, "time_ms": order.created_ms, "status": order.status}
            for order in newest]  # fmt: skip


def _movement_view(movement: Movement) -> dict[str, Any]:
    return {"type": movement.kind, "amount_micros": movement.amount, "condition_id": movement.condition,
            "transaction_hash": movement.hash, "time_ms": movement.time_ms}  # fmt: skip


def _order_view(order: ClientOrder) -> dict[str, Any]:
    book, market = order.book, order.market
    return {"order_id": book.order_id, "asset_id": market.tokens[book.outcome],
            "symbol": symbol_of(market, book.outcome), "side": SIDE_NAMES[book.side],
            "price_e9": book.price * PRICE_E9, "quantity_e9": book.lots * LOT_E9,
            "left_e9": book.left * LOT_E9, "status": order.status, "order_type": order.order_type,
            "post_only": order.post_only, "created_ms": order.created_ms}  # fmt: skip


def _fill_view(trade: Trade, leg: Leg, taker: bool) -> dict[str, Any]:
    return {"trade_id": trade.trade_id, "order_id": leg.order_id, "condition_id": trade.market.condition_id,
            "asset_id": trade.market.tokens[leg.outcome], "symbol": symbol_of(trade.market, leg.outcome),
            "side": SIDE_NAMES[leg.side], "price_e9": leg.price * PRICE_E9, "quantity_e9": leg.lots * LOT_E9,
            "fee_e8": leg.fee_e8, "role": "TAKER" if taker else "MAKER", "status": trade.status,
            "final": trade.status in FINAL, "time_ms": trade.match_ms}  # fmt: skip


def _position_view(venue: Venue, token: str, position: Position) -> dict[str, Any]:
    market, outcome = venue.by_token[token]
    mark = mid_price(market, outcome)
    return {"asset_id": token, "symbol": symbol_of(market, outcome), "condition_id": market.condition_id,
            "quantity_e9": position.quantity * LOT_E9, "cost_micros": position.cost,
            "realized_micros": position.realized, "fees_e8": position.fees_e8,
            "cash_flow_micros": position.cash_flow, "mark_e9": mark * PRICE_E9,
            "unrealized_micros": position.quantity * mark - position.cost,
            "closed": market.closed}  # fmt: skip


def books_view(venue: Venue) -> dict[str, Any]:
    """Every open market with its book on the YES ladder, best levels first."""
    rows = []
    for market in venue.markets.values():
        if market.closed:
            continue
        sides = {name: [[price_text(price), size_text(lots)] for price, lots in market.book.levels(is_bid)]
                 for name, is_bid in (("bids", True), ("asks", False))}  # fmt: skip
        rows.append({"slug": market.slug, "question": market.question, "condition_id": market.condition_id,
                     "yes": market.tokens[YES], "no": market.tokens[NO], "strike": market.strike / 10,
                     "end_ms": market.end_ms, **sides})  # fmt: skip
    return {"markets": rows}
