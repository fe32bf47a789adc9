"""A session of python-binance against the venue named by the ready line in argv[1].

Runs in python-binance's own environment, imports nothing of the project, and prints one JSON object
with what it saw. Only the documented addresses are replaced (venues' host names by loopback ones).
"""

import asyncio
import json
import ssl
import sys

from binance import AsyncClient, BinanceSocketManager
from binance.exceptions import BinanceAPIException

READY = json.loads(sys.argv[1])
SYMBOL = "BTCUSDT"
DEADLINE_S = 60

AsyncClient.FUTURES_URL = READY["rest"] + "/fapi"
AsyncClient.WS_FUTURES_URL = READY["ws_api"]
BinanceSocketManager.FSTREAM_URL = READY["ws"] + "/"


def sockets(client: AsyncClient) -> BinanceSocketManager:
    manager = BinanceSocketManager(client)
    manager.ws_kwargs = {"ssl": ssl.create_default_context(cafile=READY["ca"])}
    return manager


async def wanted_event(user, client_id: str, execution: str) -> dict:
    """The ORDER_TRADE_UPDATE of one order with this execution type."""
    while True:
        event = await user.recv()
        if event.get("e") == "ORDER_TRADE_UPDATE":
            order = event["o"]
            if order["c"] == client_id and order["x"] == execution:
                return order


async def trade(client: AsyncClient) -> dict:
    """Read the book, place, see the order on the user stream, query it, cancel it, then trade."""
    seen: dict = {}
    info = await client.futures_exchange_info()
    seen["symbols"] = [symbol["symbol"] for symbol in info["symbols"]]
    seen["balance"] = (await client.futures_account_balance())[0]["balance"]
    book = await client.futures_order_book(symbol=SYMBOL, limit=5)
    seen["book"] = [len(book["bids"]), len(book["asks"])]
    price = f"{float(book['bids'][0][0]) - 500:.1f}"
    async with sockets(client).futures_user_socket() as user:
        order = await client.futures_create_order(
            symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTX", quantity="0.002", price=price,
            newClientOrderId="conformance-1",
        )  # fmt: skip
        seen["placed"] = order["status"]
        seen["event_new"] = (await wanted_event(user, "conformance-1", "NEW"))["i"] == order["orderId"]
        resting = await client.futures_get_open_orders(symbol=SYMBOL)
        seen["open"] = [entry["clientOrderId"] for entry in resting]
        cancelled = await client.futures_cancel_order(symbol=SYMBOL, origClientOrderId="conformance-1")
        seen["cancelled"] = cancelled["status"]
        seen["event_cancelled"] = (await wanted_event(user, "conformance-1", "CANCELED"))["X"]
        await client.futures_create_order(
            symbol=SYMBOL, side="BUY", type="MARKET", quantity="0.003", newClientOrderId="conformance-2"
        )
        fills = [await wanted_event(user, "conformance-2", "TRADE")]
        while fills[-1]["X"] != "FILLED":  # the best level may hold less than the order
            fills.append(await wanted_event(user, "conformance-2", "TRADE"))
        seen["filled"] = [fills[-1]["X"], fills[-1]["z"], sorted({fill["m"] for fill in fills})]
        placed = await client.ws_futures_create_order(
            symbol=SYMBOL, side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.002",
            price=f"{float(book['asks'][0][0]) + 500:.1f}", newClientOrderId="conformance-3",
        )  # fmt: skip
        seen["ws_placed"] = placed["clientOrderId"]
        seen["ws_event"] = (await wanted_event(user, "conformance-3", "NEW"))["X"]
        stopped = await client.ws_futures_cancel_order(symbol=SYMBOL, origClientOrderId="conformance-3")
        seen["ws_cancelled"] = stopped["status"]
    positions = await client.futures_position_information(symbol=SYMBOL)
    seen["position"] = [entry["positionAmt"] for entry in positions]
    listed = await client.futures_account_trades(symbol=SYMBOL)
    seen["trades"] = [trade["id"] for trade in listed] == [fill["t"] for fill in fills]
    return seen


async def market(client: AsyncClient) -> dict:
    """One book ticker and one depth event from the routed public streams."""
    names = ["btcusdt@bookTicker", "btcusdt@depth@100ms"]
    async with sockets(client).futures_multiplex_socket(names, category="public") as feed:
        kinds: set = set()
        while len(kinds) < 2:
            kinds.add((await feed.recv())["data"]["e"])
    return {"streams": sorted(kinds)}


async def refused(secret: str) -> int:
    """The code with which a wrong signature is refused."""
    client = AsyncClient(READY["credentials"]["api_key"], secret)
    try:
        await client.futures_account_balance()
    except BinanceAPIException as error:
        return error.code
    finally:
        await client.close_connection()
    return 0


async def main() -> None:
    credentials = READY["credentials"]
    client = AsyncClient(credentials["api_key"], credentials["api_secret"])
    try:
        async with asyncio.timeout(DEADLINE_S):
            seen = await trade(client)
            seen |= await market(client)
            seen["wrong_signature"] = await refused("0" * 64)
    finally:
        await client.close_connection()
    print(json.dumps(seen))


asyncio.run(main())
