"""Polymarket's objects as they travel: books, orders, trades, markets and events.

The CLOB writes numbers as text without superfluous zeros and levels with the best last; Gamma writes
numbers as numbers and lists as JSON inside text (docs.polymarket.com, "CLOB API", "Gamma API").
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from eth_utils.crypto import keccak

from simulators.polymarket_account import OTHERS_KEY, Trade
from simulators.polymarket_markets import (
    ABOVE,
    FEE_RATE_E4,
    HOUR_MS,
    ORDER_MIN_LOTS,
    REBATE_RATE,
    TAGS,
    UP_DOWN,
    Market,
    moment_text,
    slug_moment,
    strike_text,
)  # fmt: skip
from simulators.polymarket_matching import (
    BUY,
    LOTS_PER_SHARE,
    NO,
    PRICE_ONE,
    SELL,
    SIDE_NAMES,
    YES,
    dollars_text,
    price_for,
    price_text,
    size_text,
)
from simulators.polymarket_orders import ClientOrder


def iso_time(ms: int) -> str:
    """Gamma's form of a time."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def book_hash(book: dict[str, Any]) -> str:
    """SHA-1 over the compact JSON of a book with an empty hash, in the venue's key order."""
    level = [{"price": row["price"], "size": row["size"]} for row in book["bids"]]
    asks = [{"price": row["price"], "size": row["size"]} for row in book["asks"]]
    document = {
        "market": book["market"], "asset_id": book["asset_id"], "timestamp": book["timestamp"], "hash": "",
        "bids": level, "asks": asks, "min_order_size": book["min_order_size"],
        "tick_size": book["tick_size"], "neg_risk": book["neg_risk"],
        "last_trade_price": book["last_trade_price"],
    }  # fmt: skip
    return hashlib.sha1(msgspec.json.encode(document), usedforsecurity=False).hexdigest()


def gamma_market(market: Market, with_event: bool = True) -> dict[str, Any]:
    """The market as Gamma shows it: lists are JSON inside strings, numbers are numbers."""
    bid, ask = market.book.best_bid(), market.book.best_ask()
    mid = market.mid()
    prices = [price_text(mid), price_text(PRICE_ONE - mid)]
    if market.winner is not None:
        prices = ["1", "0"] if market.winner == YES else ["0", "1"]
    view: dict[str, Any] = {
        "id": str(market.number), "version": "v1", "question": market.question,
        "conditionId": market.condition_id, "slug": market.slug,
        "questionID": "0x" + keccak(market.slug.encode()).hex(), "category": "Crypto",
        "resolutionSource": "Binance BTCUSDT", "description": _description(market),
        "startDate": iso_time(market.start_ms), "endDate": iso_time(market.end_ms),
        "outcomes": json.dumps(list(market.outcomes)), "outcomePrices": json.dumps(prices),
        "clobTokenIds": json.dumps(list(market.tokens)), "positionIds": [],
        "groupItemTitle": strike_text(market.strike), "groupItemThreshold": _number(market.strike),
        "active": True, "closed": market.closed, "archived": False, "restricted": True,
        "acceptingOrders": not market.closed, "enableOrderBook": True, "negRisk": market.neg_risk,
        "orderPriceMinTickSize": market.tick / PRICE_ONE, "orderMinSize": ORDER_MIN_LOTS // LOTS_PER_SHARE,
        "rewardsMinSize": 20, "rewardsMaxSpread": 3.5, "feesEnabled": True, "feeType": "crypto_fees",
        "feeSchedule": {"exponent": 1, "rate": FEE_RATE_E4 / 10_000, "takerOnly": True,
                        "rebateRate": REBATE_RATE},
        "secondsDelay": 0, "volumeNum": market.volume_micros / 1e6,
        "volume": dollars_text(market.volume_micros),
        "umaResolutionStatus": "resolved" if market.closed else "",
    }  # fmt: skip
    if bid is not None and ask is not None:
        view |= {"bestBid": bid / PRICE_ONE, "bestAsk": ask / PRICE_ONE, "spread": (ask - bid) / PRICE_ONE}
    if market.last_price is not None:
        view["lastTradePrice"] = market.last_price / PRICE_ONE
    if market.closed:
        view["closedTime"] = iso_time(market.closed_ms)
    if with_event:
        view["events"] = [{key: value for key, value in event_head(market).items() if key != "markets"}]
        view["tags"] = list(TAGS)
    return view


def event_key(market: Market) -> tuple[str, int]:
    """Markets with the same key belong to one event."""
    return market.kind, market.end_ms


def event_head(market: Market) -> dict[str, Any]:
    """The event that a market belongs to, without its markets."""
    if market.kind == ABOVE:
        title = f"Bitcoin above ___ on {moment_text(market.end_ms)} UTC?"
        slug = f"bitcoin-above-on-{slug_moment(market.end_ms)}-utc"
    else:
        title, slug = market.question, market.slug
    number = market.end_ms // HOUR_MS * 2 + (market.kind == UP_DOWN)
    return {"id": str(number), "slug": slug, "title": title, "startDate": iso_time(market.start_ms),
            "endDate": iso_time(market.end_ms), "active": True, "closed": market.closed, "archived": False,
            "enableOrderBook": True, "negRisk": market.neg_risk, "tags": list(TAGS),
            "markets": []}  # fmt: skip


def gamma_event(markets: list[Market]) -> dict[str, Any]:
    """The event of these markets, which share one event key."""
    view = event_head(markets[0])
    view["closed"] = all(market.closed for market in markets)
    view["markets"] = [gamma_market(market, with_event=False) for market in markets]
    return view


def _number(strike: int) -> str:
    whole, tenth = divmod(strike, 10)
    return str(whole) if tenth == 0 else f"{whole}.{tenth}"


def _description(market: Market) -> str:
    if market.kind == ABOVE:
        return (f"Resolves to Yes if the reference price of Bitcoin is above {strike_text(market.strike)} "
                f"dollars at {iso_time(market.end_ms)}, else to No.")  # fmt: skip
    return (f"Resolves to Up if the reference price of Bitcoin at {iso_time(market.end_ms)} is at or above "
            f"the price to beat, {strike_text(market.strike)}, else to Down.")  # fmt: skip


def clob_market(market: Market) -> dict[str, Any]:
    """The answer of /clob-markets/{condition}, in its short names."""
    tokens = [{"t": token, "o": name} for token, name in zip(market.tokens, market.outcomes, strict=True)]
    return {"gst": None, "r": {}, "c": market.condition_id, "t": tokens,
            "mos": ORDER_MIN_LOTS // LOTS_PER_SHARE, "mts": market.tick / PRICE_ONE, "mbf": 0, "tbf": 0,
            "rfqe": False, "ibce": False, "fd": {"r": FEE_RATE_E4 / 10_000, "e": 1, "to": True},
            "nr": market.neg_risk, "oas": 0}  # fmt: skip


def sampling_market(market: Market) -> dict[str, Any]:
    """A market in the long form of /sampling-markets and /markets/{condition}."""
    yes = market.mid()
    return {
        "enable_order_book": True, "active": True, "closed": market.closed, "archived": False,
        "accepting_orders": not market.closed, "minimum_order_size": ORDER_MIN_LOTS // LOTS_PER_SHARE,
        "minimum_tick_size": market.tick / PRICE_ONE, "condition_id": market.condition_id,
        "question_id": "0x" + keccak(market.slug.encode()).hex(), "question": market.question,
        "description": _description(market), "market_slug": market.slug,
        "end_date_iso": iso_time(market.end_ms), "game_start_time": None, "seconds_delay": 0,
        "maker_base_fee": 0, "taker_base_fee": 0, "neg_risk": market.neg_risk,
        "rewards": {"rates": None, "min_size": 20, "max_spread": 3.5},
        "tokens": [{"token_id": token, "outcome": market.outcomes[index],
                    "price": price_for(index, yes) / PRICE_ONE, "winner": market.winner == index}
                   for index, token in enumerate(market.tokens)],
        "tags": ["Crypto", "Bitcoin"],
    }  # fmt: skip


def book_view(market: Market, outcome: int, now_ms: int) -> dict[str, Any]:
    """The book of one outcome as REST shows it, with its hash. The best levels come last."""
    yes_is_bid = outcome == YES
    bids = [(price_for(outcome, price), lots) for price, lots in market.book.levels(yes_is_bid)]
    asks = [(price_for(outcome, price), lots) for price, lots in market.book.levels(not yes_is_bid)]
    last = "" if market.last_price is None else price_text(price_for(outcome, market.last_price))
    view = {
        "market": market.condition_id, "asset_id": market.tokens[outcome], "timestamp": str(now_ms),
        "hash": "",
        "bids": [{"price": price_text(p), "size": size_text(s)} for p, s in reversed(bids)],
        "asks": [{"price": price_text(p), "size": size_text(s)} for p, s in reversed(asks)],
        "min_order_size": size_text(ORDER_MIN_LOTS), "tick_size": price_text(market.tick),
        "neg_risk": market.neg_risk, "last_trade_price": last,
    }  # fmt: skip
    view["hash"] = book_hash(view)
    return view


def order_event(order: ClientOrder, kind: str, now_ms: int) -> dict[str, Any]:
    """An `order` event of the user channel."""
    book = order.book
    return {
        "event_type": "order", "id": order.order_id, "owner": book.owner, "order_owner": book.owner,
        "market": order.market.condition_id, "asset_id": order.market.tokens[book.outcome],
        "side": SIDE_NAMES[book.side], "price": price_text(book.price),
        "original_size": order.original_text, "size_matched": size_text(order.matched),
        "outcome": order.market.outcomes[book.outcome], "order_type": order.order_type,
        "status": order.status, "type": kind, "associate_trades": list(order.trades) or None,
        "maker_address": order.wallet, "created_at": str(order.created_ms // 1000),
        "expiration": str(order.expiration_s), "timestamp": str(now_ms),
    }  # fmt: skip


def order_row(order: ClientOrder) -> dict[str, Any]:
    """An order of /data/orders."""
    event = order_event(order, "", 0)
    names = ("id", "status", "owner", "maker_address", "market", "asset_id", "side", "original_size",
             "size_matched", "price", "outcome", "order_type", "expiration")  # fmt: skip
    row = {name: event[name] for name in names}
    return row | {"associate_trades": list(order.trades), "created_at": order.created_ms // 1000}


def trade_row(trade: Trade, viewer: str, prefix: str = "TRADE_STATUS_") -> dict[str, Any]:
    """A trade as one of its keys sees it: the fields are the taker's, the makers are in a list."""
    market, taker = trade.market, trade.taker
    makers = [
        {"order_id": leg.order_id, "owner": leg.owner or OTHERS_KEY, "maker_address": leg.wallet,
         "matched_amount": size_text(leg.lots), "price": price_text(leg.price), "fee_rate_bps": "0",
         "asset_id": market.tokens[leg.outcome], "outcome": market.outcomes[leg.outcome],
         "side": SIDE_NAMES[leg.side]}
        for leg in trade.makers
    ]  # fmt: skip
    return {
        "id": trade.trade_id, "taker_order_id": taker.order_id, "market": market.condition_id,
        "asset_id": market.tokens[taker.outcome], "side": SIDE_NAMES[taker.side],
        "size": size_text(taker.lots), "price": price_text(taker.price), "fee_rate_bps": "0",
        "status": prefix + trade.status, "match_time": str(trade.match_ms // 1000),
        "last_update": str(trade.update_ms // 1000), "outcome": market.outcomes[taker.outcome],
        "bucket_index": 0, "owner": viewer, "maker_address": taker.wallet,
        "transaction_hash": trade.hash, "trader_side": "TAKER" if taker.owner == viewer else "MAKER",
        "maker_orders": makers,
    }  # fmt: skip


def trade_event(trade: Trade, viewer: str, now_ms: int) -> dict[str, Any]:
    """A `trade` event of the user channel."""
    row = trade_row(trade, viewer, prefix="")
    return {"event_type": "trade", "type": "TRADE", **row, "trade_owner": trade.taker.owner or OTHERS_KEY,
            "timestamp": str(now_ms)}  # fmt: skip


def print_event(trade: Trade, now_ms: int) -> dict[str, Any]:
    """A `last_trade_price` event of the market channel."""
    taker = trade.taker
    return {"event_type": "last_trade_price", "asset_id": trade.market.tokens[taker.outcome],
            "market": trade.market.condition_id, "price": price_text(taker.price),
            "size": size_text(taker.lots), "side": SIDE_NAMES[taker.side], "fee_rate_bps": "0",
            "timestamp": str(now_ms)}  # fmt: skip


def change_event(market: Market, levels: list[tuple[bool, int, int]], now_ms: int) -> dict[str, Any]:
    """A `price_change` event: each level as both outcomes see it."""
    best = (market.book.best_bid(), market.book.best_ask())
    changes = [_change(market, outcome, *level, best) for level in levels for outcome in (YES, NO)]
    return {"event_type": "price_change", "market": market.condition_id, "timestamp": str(now_ms),
            "price_changes": changes}  # fmt: skip


def _change(market: Market, outcome: int, is_bid: bool, yes_price: int, lots: int,
            best: tuple[int | None, int | None]) -> dict[str, Any]:  # fmt: skip
    side = SIDE_NAMES[BUY if is_bid == (outcome == YES) else SELL]
    price = price_text(price_for(outcome, yes_price))
    size = size_text(lots)
    digest = hashlib.sha1(f"{market.tokens[outcome]}{side}{price}{size}".encode(), usedforsecurity=False)
    change = {"asset_id": market.tokens[outcome], "price": price, "size": size, "side": side,
              "hash": digest.hexdigest()}  # fmt: skip
    bid, ask = best_of(outcome, best)
    if bid is not None:
        change["best_bid"] = price_text(bid)
    if ask is not None:
        change["best_ask"] = price_text(ask)
    return change


def best_of(outcome: int, best: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """(best bid, best ask) of an outcome, from those of the YES ladder."""
    bid, ask = best if outcome == YES else best[::-1]
    return (
        None if bid is None else price_for(outcome, bid),
        None if ask is None else price_for(outcome, ask),
    )


def best_event(market: Market, outcome: int, now_ms: int) -> dict[str, Any] | None:
    """A `best_bid_ask` event, or None while a side is empty."""
    bid, ask = best_of(outcome, (market.book.best_bid(), market.book.best_ask()))
    if bid is None or ask is None:
        return None
    return {"event_type": "best_bid_ask", "market": market.condition_id, "asset_id": market.tokens[outcome],
            "best_bid": price_text(bid), "best_ask": price_text(ask), "spread": price_text(ask - bid),
            "timestamp": str(now_ms)}  # fmt: skip


def tick_event(market: Market, outcome: int, old: int, now_ms: int) -> dict[str, Any]:
    """A `tick_size_change` event."""
    return {"event_type": "tick_size_change", "asset_id": market.tokens[outcome],
            "market": market.condition_id, "old_tick_size": price_text(old),
            "new_tick_size": price_text(market.tick), "timestamp": str(now_ms)}  # fmt: skip


def new_market_event(market: Market, now_ms: int) -> dict[str, Any]:
    """A `new_market` event."""
    return {
        "event_type": "new_market", "id": str(market.number), "question": market.question,
        "market": market.condition_id, "slug": market.slug, "description": "",
        "assets_ids": list(market.tokens), "outcomes": list(market.outcomes),
        "condition_id": market.condition_id, "clob_token_ids": list(market.tokens), "active": True,
        "order_price_min_tick_size": price_text(market.tick), "fees_enabled": True,
        "group_item_title": strike_text(market.strike), "tags": ["crypto", "bitcoin"],
        "timestamp": str(now_ms),
    }  # fmt: skip


def resolved_event(market: Market, winner: int, now_ms: int) -> dict[str, Any]:
    """A `market_resolved` event."""
    return {"event_type": "market_resolved", "id": str(market.number), "market": market.condition_id,
            "assets_ids": list(market.tokens), "winning_asset_id": market.tokens[winner],
            "winning_outcome": market.outcomes[winner], "timestamp": str(now_ms),
            "tags": ["crypto", "bitcoin"]}  # fmt: skip
