"""What the journal keeps of the venue, and how the venue is built again from it.

Each record is one event in the life of a key, a market, an order or a trade, in the order in which it
happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulators.polymarket_account import CONFIRMED, FAILED, MINED, ApiKey, Leg, Trade
from simulators.polymarket_markets import make_market
from simulators.polymarket_matching import BookOrder
from simulators.polymarket_money import move, note_redemptions
from simulators.polymarket_orders import ClientOrder

if TYPE_CHECKING:
    from simulators.polymarket_venue import Venue


def key_record(key: ApiKey) -> dict[str, Any]:
    """A key was made."""
    return {"event": "key", "key": key.key, "secret": key.secret, "nonce": key.nonce,
            "passphrase": key.passphrase, "address": key.address}  # fmt: skip


def order_record(order: ClientOrder) -> dict[str, Any]:
    """An order was accepted."""
    book = order.book
    return {"event": "order", "order": book.order_id, "market": order.market.condition_id,
            "owner": book.owner, "wallet": order.wallet, "outcome": book.outcome, "side": book.side,
            "price": book.price, "lots": book.lots, "type": order.order_type,
            "post_only": order.post_only, "budget": order.budget, "expiration_s": order.expiration_s,
            "time_ms": order.created_ms}  # fmt: skip


def trade_record(trade: Trade) -> dict[str, Any]:
    """A trade with legs of keys was matched."""
    legs = [[leg.order_id, leg.owner, leg.wallet, leg.outcome, leg.side, leg.price, leg.lots, leg.fee_e8]
            for leg in (trade.taker, *trade.makers)]  # fmt: skip
    return {"event": "trade", "trade": trade.trade_id, "market": trade.market.condition_id, "legs": legs,
            "time_ms": trade.match_ms, "moved": trade.moved}  # fmt: skip


def restore(venue: Venue, record: dict[str, Any]) -> None:
    """Do again what a record says was done."""
    _RESTORE[record["event"]](venue, record)


def _restore_key(venue: Venue, record: dict[str, Any]) -> None:
    venue.accounts.add_key(ApiKey(record["key"], record["secret"], record["passphrase"],
                                 record["address"], record["nonce"]))  # fmt: skip


def _restore_key_deleted(venue: Venue, record: dict[str, Any]) -> None:
    venue.accounts.remove_key(venue.accounts.keys[record["key"]])


def _restore_market(venue: Venue, record: dict[str, Any]) -> None:
    fields = {name: value for name, value in record.items() if name != "event"}
    venue.add_market(make_market(**fields))


def _restore_closed(venue: Venue, record: dict[str, Any]) -> None:
    market = venue.markets[record["market"]]
    market.closed, market.closed_ms, market.final = True, record["time_ms"], record.get("final", 0)


def _restore_resolved(venue: Venue, record: dict[str, Any]) -> None:
    market = venue.markets[record["market"]]
    market.winner = record["winner"]
    paid = record.get("paid", True)
    payouts = venue.accounts.settle(market, record["winner"], record["time_ms"], paid)
    note_redemptions(venue, payouts, record)


def _restore_tick(venue: Venue, record: dict[str, Any]) -> None:
    venue.markets[record["market"]].tick = record["tick"]


def _restore_order(venue: Venue, record: dict[str, Any]) -> None:
    market = venue.markets[record["market"]]
    book = BookOrder(record["order"], record["owner"], record["outcome"], record["side"], record["price"],
                     record["lots"], record["lots"])  # fmt: skip
    order = ClientOrder(market, book, record["wallet"], record["type"], record["post_only"],
                        record["expiration_s"], record["time_ms"], record["budget"])  # fmt: skip
    venue.orders[order.order_id] = venue.open[order.order_id] = order
    venue.accounts.wallet(order.wallet)
    if order.wallet != venue.accounts.keys[book.owner].address:
        venue.accounts.wallet_owner[order.wallet.lower()] = venue.accounts.keys[book.owner].address


def _restore_end(venue: Venue, record: dict[str, Any]) -> None:
    venue.orders[record["order"]].status = record["status"]
    venue.open.pop(record["order"], None)


def _restore_trade(venue: Venue, record: dict[str, Any]) -> None:
    market = venue.markets[record["market"]]
    legs = [Leg(*fields) for fields in record["legs"]]
    time_ms = record["time_ms"]
    trade = Trade(record["trade"], market, legs[0], legs[1:], time_ms, update_ms=time_ms,
                  moved=record.get("moved", True))  # fmt: skip
    for leg in trade.legs():
        order = venue.orders[leg.order_id]
        order.book.left -= min(leg.lots, order.book.left)
        if order.book.left == 0 or (order.budget and leg is trade.taker):
            order.status = "MATCHED"
            venue.open.pop(order.order_id, None)
    venue.book_trade(trade)


def _restore_status(venue: Venue, record: dict[str, Any]) -> None:
    trade = venue.trades[record["trade"]]
    trade.status, trade.hash, trade.update_ms = record["status"], record["hash"], record["time_ms"]
    if trade.status == MINED:
        trade.mined_ms = trade.update_ms
    if trade.status in (MINED, CONFIRMED):
        venue.accounts.mine(trade)
    if trade.status == FAILED:
        venue.accounts.take_back(trade)
    elif trade.status != CONFIRMED:
        venue.settle_later(trade.update_ms, trade, CONFIRMED)


_RESTORE: dict[str, Callable[[Venue, dict[str, Any]], None]] = {
    "key": _restore_key, "key_deleted": _restore_key_deleted, "market": _restore_market,
    "closed": _restore_closed, "resolved": _restore_resolved, "tick": _restore_tick,
    "order": _restore_order, "end": _restore_end, "trade": _restore_trade,
    "status": _restore_status, "money": move,
}  # fmt: skip
