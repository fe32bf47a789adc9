"""Drives py-clob-client-v2 as its users do; runs in its own environment and prints what it saw."""

from __future__ import annotations

import json
import sys
from typing import Any

from py_clob_client_v2.client import ClobClient
from py_clob_client_v2.clob_types import (
    ApiCreds,
    AssetType,
    BalanceAllowanceParams,
    BookParams,
    MarketOrderArgsV2,
    OpenOrderParams,
    OrderArgsV2,
    OrderPayload,
    OrderType,
    PartialCreateOrderOptions,
    TradeParams,
)
from py_clob_client_v2.exceptions import PolyApiException


def refused(call: Any) -> list[Any]:
    """The status and text with which the venue refuses a call."""
    try:
        return ["accepted", call()]
    except PolyApiException as error:
        body = error.error_msg
        return [error.status_code, body["error"] if isinstance(body, dict) else body]


def main() -> None:
    """Log in, read, place, query, cancel, trade; then everything that must be refused."""
    ready = json.loads(sys.argv[1])
    host, private_key = ready["clob"], ready["credentials"]["private_key"]
    seen: dict[str, Any] = {}
    client = ClobClient(host=host, chain_id=137, key=private_key)
    derived = client.create_or_derive_api_key()
    seen["derived"] = derived.api_key == ready["credentials"]["api_key"]
    created = client.create_api_key(nonce=7)
    seen["created"] = created.api_key != derived.api_key
    client.set_api_creds(derived)
    seen["keys"] = len(client.get_api_keys()["apiKeys"])

    market = client.get_sampling_markets()["data"][1]
    yes = market["tokens"][0]["token_id"]
    book = client.get_order_book(yes)
    best = float(max(book["bids"], key=lambda level: float(level["price"]))["price"])
    seen["book"] = [len(book["bids"]) > 3, len(book["asks"]) > 3, book["tick_size"], book["neg_risk"]]
    seen["books"] = len(client.get_order_books([BookParams(token_id=yes, side="BUY")]))
    asks, bids = (float(client.get_price(yes, side)["price"]) for side in ("BUY", "SELL"))
    seen["prices"] = 0 < bids < asks < 1

    price = round(best - 0.05, 2)
    order = client.create_order(OrderArgsV2(token_id=yes, price=price, size=20, side="BUY"))
    placed = client.post_order(order, OrderType.GTC, post_only=True)
    seen["placed"] = [placed["success"], placed["status"]]
    seen["again"] = refused(lambda: client.post_order(order, OrderType.GTC, post_only=True))[1][-11:]
    queried = client.get_order(placed["orderID"])
    seen["queried"] = [queried["status"], float(queried["price"]) == price, queried["original_size"]]
    seen["open"] = [row["id"] == placed["orderID"] for row in client.get_open_orders(OpenOrderParams())]
    cancelled = client.cancel_order(OrderPayload(orderID=placed["orderID"]))
    seen["cancelled"] = cancelled["canceled"] == [placed["orderID"]]
    seen["open_after"] = client.get_open_orders(OpenOrderParams())

    bought = client.create_and_post_market_order(
        MarketOrderArgsV2(token_id=yes, amount=10, side="BUY", order_type=OrderType.FAK),
        order_type=OrderType.FAK, defer_exec=False,
    )  # fmt: skip
    seen["bought"] = [bought["status"], len(bought["tradeIDs"]) > 0, len(bought["transactionsHashes"]) > 0]
    trades = client.get_trades(TradeParams(id=bought["tradeIDs"][0]))
    settled = ("TRADE_STATUS_MINED", "TRADE_STATUS_CONFIRMED")
    seen["trades"] = [trades[0]["trader_side"], trades[0]["status"] in settled]
    asked = BalanceAllowanceParams(asset_type=AssetType.CONDITIONAL, token_id=yes)
    held = client.get_balance_allowance(asked)
    seen["held"] = int(held["balance"]) == round(float(bought["takingAmount"]) * 1_000_000)

    beat = client.post_heartbeat("")
    seen["heartbeat"] = bool(client.post_heartbeat(beat["heartbeat_id"])["heartbeat_id"])

    forged = client.create_order(OrderArgsV2(token_id=yes, price=price, size=20, side="BUY"))
    forged.salt = int(forged.salt) + 1
    seen["wrong_order_signature"] = refused(lambda: client.post_order(forged))
    first_version = PartialCreateOrderOptions(tick_size="0.01", neg_risk=False, version=1)
    old = client.create_order(OrderArgsV2(token_id=yes, price=price, size=20, side="BUY"), first_version)
    seen["old_struct"] = refused(lambda: client.post_order(old))
    seen["too_small"] = refused(lambda: client.create_and_post_order(
        OrderArgsV2(token_id=yes, price=price, size=4, side="BUY")))[1][-34:]  # fmt: skip
    wrong = ApiCreds(derived.api_key, "A" * 43 + "=", derived.api_passphrase)
    stranger = ClobClient(host=host, chain_id=137, key=private_key, creds=wrong)
    seen["wrong_hmac"] = refused(lambda: stranger.get_open_orders(OpenOrderParams()))
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
