"""The Binance simulator, driven over its sockets by plain clients."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).resolve().parents[2]
SYMBOL = "BTCUSDT"
WAIT_S = 60.0  # bounds a hang


class Simulator:
    """One simulator process; `start` may be called again after `kill`, on the same ports and state."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.state = state
        self._arguments = arguments
        self._ports: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.ready: dict[str, Any] = {}

    def start(self) -> None:
        command = [sys.executable, "-m", "simulators", "binance", "--state", str(self.state)]
        self._process = subprocess.Popen(
            [*command, *self._ports, *self._arguments], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        assert self._process.stdout is not None
        self.ready = json.loads(self._process.stdout.readline())
        ports = [self.ready[name].rsplit(":", 1)[1] for name in ("rest", "admin")]
        self._ports = ["--port", ports[0], "--admin-port", ports[1]]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self._process is not None and self._process.stdout is not None
        self._process.send_signal(number)
        self._process.wait(60)
        self._process.stdout.close()


class Client:
    """Signed REST, sockets and the referee's port."""

    def __init__(self, ready: dict[str, Any], session: aiohttp.ClientSession) -> None:
        self.ready = ready
        self.session = session
        self.key = ready["credentials"]["api_key"]
        self._secret = ready["credentials"]["api_secret"].encode()

    def sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()

    async def call(self, method: str, path: str, signed: bool = True, **params: Any) -> tuple[int, Any]:
        query = "&".join(f"{name}={value}" for name, value in params.items())
        if signed:
            query += ("&" if query else "") + f"timestamp={params.get('timestamp', now_ms())}"
            query += f"&signature={self.sign(query)}"
        headers = {"X-MBX-APIKEY": self.key}
        url = f"{self.ready['rest']}{path}?{query}"
        async with self.session.request(method, url, headers=headers) as answer:
            return answer.status, await answer.json()

    async def order(self, side: str, price: str, quantity: str = "0.002", **more: Any) -> tuple[int, Any]:
        params = {"symbol": SYMBOL, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": quantity,
                  "price": price} | more  # fmt: skip
        if params["type"] == "MARKET":
            del params["price"], params["timeInForce"]
        return await self.call("POST", "/fapi/v1/order", **params)

    async def admin(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = self.ready["admin"] + path
        if body is None:
            async with self.session.get(url) as answer:
                return await answer.json()
        async with self.session.post(url, json=body) as answer:
            return await answer.json()

    async def account(self) -> dict[str, Any]:
        view: dict[str, Any] = (await self.admin("/account"))["accounts"][self.key]
        return view

    async def quiet_market(self) -> tuple[float, float]:
        """Stop the flow; gives the best bid and ask."""
        await self.admin("/market", {"pause": True})
        _, book = await self.call("GET", "/fapi/v1/depth", signed=False, symbol=SYMBOL, limit=5)
        return float(book["bids"][0][0]), float(book["asks"][0][0])

    async def listen_key(self) -> str:
        return str((await self.call("POST", "/fapi/v1/listenKey", signed=False))[1]["listenKey"])

    @asynccontextmanager
    async def socket(self, path: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.session.ws_connect(self.ready["ws"] + path) as socket:
            yield socket

    @asynccontextmanager
    async def user(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.socket(f"/private/ws/{await self.listen_key()}") as socket:
            yield socket

    def ws_request(self, method: str, **params: Any) -> dict[str, Any]:
        params = {"apiKey": self.key, "timestamp": now_ms()} | params
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        return {"id": 7, "method": method, "params": params | {"signature": self.sign(text)}}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def receive(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_S):
        document: dict[str, Any] = await socket.receive_json()
        return document


async def order_event(socket: aiohttp.ClientWebSocketResponse, execution: str) -> dict[str, Any]:
    """The next ORDER_TRADE_UPDATE with this execution type."""
    while True:
        event = await receive(socket)
        if event["e"] == "ORDER_TRADE_UPDATE" and event["o"]["x"] == execution:
            order: dict[str, Any] = event["o"]
            return order


async def trades_of_an_order(socket: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    """The fills of an order, until it is FILLED: what rests at the best price may be less than it wants."""
    trades = [await order_event(socket, "TRADE")]
    while trades[-1]["X"] != "FILLED":
        trades.append(await order_event(socket, "TRADE"))
    return trades


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A fresh venue."""
    venue = Simulator(tmp_path / "state")
    venue.start()
    yield venue
    venue.stop()


def drive(simulator: Simulator, act: Callable[[Client], Awaitable[None]]) -> None:
    """Run one coroutine against the venue."""

    async def session() -> None:
        context = ssl.create_default_context(cafile=simulator.ready["ca"])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
            await act(Client(simulator.ready, http))

    asyncio.run(session())


def test_requests_without_a_good_key_signature_or_clock_are_refused(simulator: Simulator) -> None:
    """Each refusal has the venue's own code and status."""

    async def act(client: Client) -> None:
        path = "/fapi/v3/balance"
        assert (await client.call("GET", path))[0] == 200
        assert (await client.call("GET", path, signed=False))[1]["code"] == -1102
        assert (await client.call("GET", path, timestamp=now_ms() - 60_000))[1]["code"] == -1021
        assert (await client.call("GET", path, timestamp=now_ms() + 60_000))[1]["code"] == -1021
        good, client._secret = client._secret, b"wrong"
        assert await client.call("GET", path) == (
            400, {"code": -1022, "msg": "Signature for this request is not valid."}
        )  # fmt: skip
        client._secret, client.key = good, "a" * 64
        assert (await client.call("GET", path))[1]["code"] == -2015
        client.key = "short"
        status, answer = await client.call("GET", path)
        assert (status, answer["code"]) == (401, -2014)

    drive(simulator, act)


def test_signature_covers_query_and_body_as_sent(simulator: Simulator) -> None:
    """Parameters in the body are signed after those of the query, without a separator."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        query = f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC"
        body = f"quantity=0.002&price={bid - 50:.1f}&timestamp={now_ms()}"
        body += f"&signature={client.sign(query + body)}"
        headers = {"X-MBX-APIKEY": client.key, "Content-Type": "application/x-www-form-urlencoded"}
        url = f"{client.ready['rest']}/fapi/v1/order?{query}"
        async with client.session.post(url, data=body, headers=headers) as answer:
            assert (await answer.json())["status"] == "NEW"
            assert answer.headers["X-MBX-ORDER-COUNT-10S"] == "1"

    drive(simulator, act)


def test_filters_refuse_with_the_venues_codes(simulator: Simulator) -> None:
    """Precision, tick, step, notional, price band, client id and type each have their code."""

    async def act(client: Client) -> None:
        bid, ask = await client.quiet_market()
        near = f"{bid - 50:.1f}"
        wanted: list[tuple[int, str, str, dict[str, Any]]] = [
            (-1111, "60000.001", "0.002", {}), (-4014, "60000.05", "0.002", {}),
            (-1111, near, "0.0001", {}), (-4003, near, "0", {}), (-4005, near, "1001", {}),
            (-4164, near, "0.001", {}), (-4016, f"{bid * 1.06:.1f}", "0.002", {}),
            (-5022, f"{ask:.1f}", "0.002", {"timeInForce": "GTX"}),
            (-5021, near, "0.002", {"timeInForce": "FOK"}), (-1115, near, "0.002", {"timeInForce": "XXX"}),
            (-1116, near, "0.002", {"type": "XXX"}), (-4120, near, "0.002", {"type": "STOP"}),
            (-1121, near, "0.002", {"symbol": "DOGEUSDT"}), (-2022, near, "0.002", {"reduceOnly": "true"}),
            (-1100, near, "0.002", {"newClientOrderId": "a b".replace(" ", "%20")}),
            (-4015, near, "0.002", {"newClientOrderId": "a" * 37}),
            (-4061, near, "0.002", {"positionSide": "LONG"}), (-1104, near, "0.002", {"foo": "1"}),
            (-9999, near, "0.002", {"timeInForce": "RPI"}), (-9999, near, "0.002", {"priceMatch": "QUEUE"}),
            (-2019, near, "900", {}),
        ]  # fmt: skip
        for code, price, quantity, more in wanted:
            assert (await client.order("BUY", price, quantity, **more))[1].get("code") == code, (code, more)
        assert (await client.order("BUY", near, newClientOrderId="one"))[0] == 200
        assert (await client.order("BUY", near, newClientOrderId="one"))[1]["code"] == -4116
        assert (await client.account())["orders_total"] == 1

    drive(simulator, act)


def test_unknown_calls_are_refused_loudly(simulator: Simulator) -> None:
    """What is not modelled answers 501 with a code of its own, never success."""

    async def act(client: Client) -> None:
        status, answer = await client.call("GET", "/fapi/v1/klines", signed=False)
        assert (status, answer["code"]) == (501, -9999)
        async with client.socket("/market/ws") as socket:
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 1})
            assert (await receive(socket))["error"]["code"] == -9999
            for params in (None, "btcusdt@aggTrade", {"a": 1}):
                await socket.send_json({"method": "SUBSCRIBE", "params": params, "id": 2})
                assert (await receive(socket))["error"]["code"] == 2
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 3})
            assert (await receive(socket))["result"] == []

    drive(simulator, act)


def test_order_lives_through_events_query_and_cancel(simulator: Simulator) -> None:
    """NEW, query, CANCELED; a second cancel is -2011 and an unknown order -2013."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        async with client.user() as user:
            _, placed = await client.order("BUY", f"{bid - 50:.1f}", newClientOrderId="mine")
            assert "avgPrice" not in placed and placed["status"] == "NEW"
            event = await order_event(user, "NEW")
            assert (event["i"], event["c"], event["t"], event["er"]) == (placed["orderId"], "mine", 0, "0")
            _, found = await client.call("GET", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId="mine")
            assert (found["orderId"], found["avgPrice"]) == (placed["orderId"], "0.00000")
            assert len((await client.call("GET", "/fapi/v1/openOrders"))[1]) == 1
            cancel = {"symbol": SYMBOL, "orderId": placed["orderId"]}
            assert (await client.call("DELETE", "/fapi/v1/order", **cancel))[1]["status"] == "CANCELED"
            assert (await order_event(user, "CANCELED"))["X"] == "CANCELED"
            assert (await client.call("DELETE", "/fapi/v1/order", **cancel))[1]["code"] == -2011
            unknown = {"symbol": SYMBOL, "origClientOrderId": "nobody"}
            assert (await client.call("GET", "/fapi/v1/order", **unknown))[1]["code"] == -2013

    drive(simulator, act)


def test_fills_add_up_in_every_view(simulator: Simulator) -> None:
    """Events, userTrades, positionRisk and the referee's integers tell the same story."""

    async def act(client: Client) -> None:
        bid, ask = await client.quiet_market()
        async with client.user() as user:
            await client.order("BUY", "0", "0.003", type="MARKET")
            taken = await trades_of_an_order(user)
            assert (taken[0]["m"], taken[0]["L"], taken[-1]["z"]) == (False, f"{ask:.2f}", "0.003")
            await client.order("SELL", f"{ask - 0.1:.1f}" if ask - 0.1 > bid else f"{ask:.1f}")
            await client.admin("/orders", {"side": "BUY", "quantity": "100", "price": f"{ask + 5:.1f}"})
            made = await order_event(user, "TRADE")
            assert (made["m"], made["X"], made["N"]) == (True, "FILLED", "USDT")
        account = await client.account()
        position, fills = account["positions"][0], account["fills"]
        cash = sum((-1 if fill["side"] == "BUY" else 1) * fill["price_e9"] * fill["quantity_e9"] // 10**12
                   for fill in fills)  # fmt: skip
        assert position["cash_flow_micros"] == cash
        assert position["quantity_e9"] == 1_000_000
        assert position["cost_micros"] + cash == position["realized_micros"]
        assert position["fees_e8"] == sum(fill["fee_e8"] for fill in fills)
        assert account["cash_e8"] == 10**13 + position["realized_micros"] * 100 - position["fees_e8"]
        _, trades = await client.call("GET", "/fapi/v1/userTrades", symbol=SYMBOL)
        assert [trade["id"] for trade in trades] == [fill["trade_id"] for fill in fills]
        _, risk = await client.call("GET", "/fapi/v3/positionRisk", symbol=SYMBOL)
        assert risk[0]["positionAmt"] == "0.001"
        _, newer = await client.call("GET", "/fapi/v1/userTrades", symbol=SYMBOL, fromId=trades[-1]["id"])
        assert [trade["id"] for trade in newer] == [trades[-1]["id"]]

    drive(simulator, act)


def test_ioc_self_trade_and_reduce_only_expire_with_their_reason(simulator: Simulator) -> None:
    """IOC remainder er 2, self-trade er 1 on the maker, reduce-only clamp er 4."""

    async def act(client: Client) -> None:
        bid, _ask = await client.quiet_market()
        async with client.user() as user:
            await client.order("BUY", f"{bid - 1:.1f}", timeInForce="IOC")
            event = await order_event(user, "EXPIRED")
            assert (event["X"], event["er"]) == ("EXPIRED", "2")
            await client.admin("/market", {"pause": True})
            await client.order("BUY", "0", "0.003", type="MARKET")
            await client.order("SELL", "0", "0.005", type="MARKET", reduceOnly="true")
            event = await order_event(user, "EXPIRED")
            assert (event["z"], event["er"]) == ("0.003", "4")
        assert (await client.account())["positions"][0]["quantity_e9"] == 0

    drive(simulator, act)


def test_self_trade_expires_the_resting_order(simulator: Simulator) -> None:
    """With EXPIRE_MAKER the resting order of the same account ends as EXPIRED_IN_MATCH."""

    async def act(client: Client) -> None:
        _, ask = await client.quiet_market()
        ahead = (await client.admin("/orders"))["asks"][0][1]
        async with client.user() as user:
            await client.order("SELL", f"{ask:.1f}", newClientOrderId="maker")
            queue = {"side": "BUY", "quantity": f"{ahead // 1000}.{ahead % 1000:03d}", "price": f"{ask:.1f}"}
            assert (await client.admin("/orders", queue))["executed_lots"] == ahead
            await client.order("BUY", f"{ask:.1f}", newClientOrderId="taker")
            event = await order_event(user, "EXPIRED")
            assert (event["c"], event["X"], event["er"]) == ("maker", "EXPIRED_IN_MATCH", "1")
        assert [order["client_order_id"] for order in (await client.account())["open_orders"]] == ["taker"]

    drive(simulator, act)


def test_modify_changes_price_and_keeps_the_order(simulator: Simulator) -> None:
    """A modification is an AMENDMENT of the same order; an unchanged one is -5027."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        _, placed = await client.order("BUY", f"{bid - 50:.1f}", newClientOrderId="mine")
        change = {"symbol": SYMBOL, "origClientOrderId": "mine", "side": "BUY", "quantity": "0.003",
                  "price": f"{bid - 60:.1f}", "modifyId": 9}  # fmt: skip
        async with client.user() as user:
            _, changed = await client.call("PUT", "/fapi/v1/order", **change)
            assert (changed["orderId"], changed["origQty"]) == (placed["orderId"], "0.003")
            assert (await order_event(user, "AMENDMENT"))["M"] == 9
            assert (await client.call("PUT", "/fapi/v1/order", **change))[1]["code"] == -5027

    drive(simulator, act)


def test_ws_api_places_cancels_and_reports_limits(simulator: Simulator) -> None:
    """order.place and order.cancel over one socket; a wrong signature and an unknown method are refused."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        async with client.socket("/ws-fapi/v1") as socket:
            place = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTX",
                     "quantity": "0.002", "price": f"{bid - 50:.1f}", "newClientOrderId": "ws-1",
                     "recvWindow": 60000}  # fmt: skip
            await socket.send_json(client.ws_request("order.place", **place))
            answer = await receive(socket)
            assert (answer["id"], answer["status"], answer["result"]["status"]) == (7, 200, "NEW")
            counts = [limit["count"] for limit in answer["rateLimits"] if limit["rateLimitType"] == "ORDERS"]
            assert counts == [1, 1]
            await socket.send_json(client.ws_request("order.place", **place))
            assert (await receive(socket))["error"]["code"] == -4116
            await socket.send_json(client.ws_request("order.cancel", symbol=SYMBOL, origClientOrderId="ws-1"))
            assert (await receive(socket))["result"]["status"] == "CANCELED"
            wrong = client.ws_request("account.balance")
            wrong["params"]["timestamp"] += 1
            await socket.send_json(wrong)
            answer = await receive(socket)
            assert (answer["status"], answer["error"]["code"]) == (400, -1022)
            await socket.send_json(client.ws_request("klines"))
            assert (await receive(socket))["status"] == 501
            await socket.send_str("{not json")
            assert (await receive(socket))["error"]["code"] == -1013

    drive(simulator, act)


def test_session_logon_takes_ed25519_only(simulator: Simulator) -> None:
    """After logon orders need neither key nor signature; an HMAC key cannot log on."""
    pem = Path(simulator.ready["credentials"]["ed25519_private_key_file"]).read_bytes()

    async def act(client: Client) -> None:
        credentials = client.ready["credentials"]
        private = serialization.load_pem_private_key(pem, None)
        assert isinstance(private, Ed25519PrivateKey)
        async with client.socket("/ws-fapi/v1?returnRateLimits=false") as socket:
            await socket.send_json(client.ws_request("session.logon"))
            assert (await receive(socket))["error"]["code"] == -4056
            params: dict[str, Any] = {"apiKey": credentials["ed25519_api_key"], "timestamp": now_ms()}
            text = "&".join(f"{name}={params[name]}" for name in sorted(params))
            params["signature"] = base64.b64encode(private.sign(text.encode())).decode()
            await socket.send_json({"id": 1, "method": "session.logon", "params": params})
            answer = await receive(socket)
            assert answer["result"]["apiKey"] == params["apiKey"] and "rateLimits" not in answer
            await socket.send_json({"id": 2, "method": "account.balance", "params": {"timestamp": now_ms()}})
            assert (await receive(socket))["result"][0]["asset"] == "USDT"

    drive(simulator, act)


def test_streams_speak_only_on_their_route(simulator: Simulator) -> None:
    """A stream on the wrong or missing route is acknowledged and silent; on its route it delivers."""

    async def act(client: Client) -> None:
        async with client.socket("/market/stream") as wrong, client.socket("/public/ws/0") as right:
            for socket in (wrong, right):
                command = {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 5}
                await socket.send_json(command)
                assert await receive(socket) == {"result": None, "id": 5}
            first, second = await receive(right), await receive(right)
            assert second["pu"] == first["u"] and second["st"] == 1
            await wrong.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 6})
            assert (await receive(wrong))["result"] == ["btcusdt@depth@100ms"]
        async with client.socket("/stream?streams=btcusdt@bookTicker") as unrouted:
            assert (await receive(unrouted))["stream"] == "btcusdt@bookTicker"
        async with client.socket("/market/ws/btcusdt@markPrice@1s") as mark:
            assert (await receive(mark))["e"] == "markPriceUpdate"

    drive(simulator, act)


def test_snapshot_and_diffs_build_the_book_of_the_ticker(simulator: Simulator) -> None:
    """The first event after a snapshot L has pu <= L <= u, and the top equals the bookTicker's."""

    async def act(client: Client) -> None:
        async with client.socket("/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker") as socket:
            events: list[dict[str, Any]] = []
            tickers: dict[int, tuple[str, str, str, str]] = {}
            snapshot: dict[str, Any] = {}
            while len(events) < 20:
                data = (await receive(socket))["data"]
                if data["e"] == "bookTicker":
                    tickers[data["u"]] = (data["b"], data["B"], data["a"], data["A"])
                else:
                    events.append(data)
                if len(events) == 3 and not snapshot:
                    deep = {"symbol": SYMBOL, "limit": 1000}
                    snapshot = (await client.call("GET", "/fapi/v1/depth", False, **deep))[1]
        last_id = snapshot["lastUpdateId"]
        book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        chain = [event for event in events if event["u"] >= last_id]
        assert chain[0]["pu"] <= last_id
        for event in chain:
            for side in ("b", "a"):
                for price, quantity in event[side]:
                    book[side][price] = quantity
            live = {side: [price for price in book[side] if float(book[side][price])] for side in book}
            bid, ask = max(live["b"], key=float), min(live["a"], key=float)
            known = [update_id for update_id in tickers if update_id <= event["u"]]
            assert tickers[max(known)] == (bid, book["b"][bid], ask, book["a"][ask])

    drive(simulator, act)


def test_depth_faults_break_the_chain_and_the_frame(simulator: Simulator) -> None:
    """drop_depth leaves a gap in pu; malformed_frame is no JSON; close_mid_frame ends the connection."""

    async def act(client: Client) -> None:
        async with client.socket("/public/ws/btcusdt@depth@100ms") as socket:
            # Frames of before the fault may still be on their way: each loop ends at the one that shows it.
            async with asyncio.timeout(WAIT_S):
                last = (await receive(socket))["u"]
                await client.admin("/faults", {"drop_depth": 1})
                while (event := await receive(socket))["pu"] == last:
                    last = event["u"]
                for _ in range(3):
                    last = event["u"]
                    event = await receive(socket)
                    assert event["pu"] == last
                await client.admin("/faults", {"malformed_frame": 1})
                while valid_json(await socket.receive_str()):
                    pass
                assert valid_json(await socket.receive_str())
                await client.admin("/faults", {"big_frames": 1})
                while len(await socket.receive_str()) <= 26_000:
                    pass
                await client.admin("/faults", {"close_mid_frame": True})
                while (await socket.receive()).type == aiohttp.WSMsgType.TEXT:
                    pass
            assert socket.closed

    drive(simulator, act)


def valid_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_lost_answers_leave_the_order_standing(simulator: Simulator) -> None:
    """503 unknown, -1007 and a closed connection all come after the order was taken."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        await client.admin("/faults", {"unknown_503": 1})
        status, answer = await client.order("BUY", f"{bid - 50:.1f}", newClientOrderId="a")
        assert (status, answer["msg"][:13]) == (503, "Unknown error")
        await client.admin("/faults", {"unknown_1007": 1})
        assert (await client.order("BUY", f"{bid - 51:.1f}", newClientOrderId="b"))[1]["code"] == -1007
        await client.admin("/faults", {"response_lost": 1})
        with pytest.raises(aiohttp.ClientError):
            await client.order("BUY", f"{bid - 52:.1f}", newClientOrderId="c")
        await client.admin("/faults", {"reject_503": 1})
        assert (await client.order("BUY", f"{bid - 53:.1f}", newClientOrderId="d"))[0] == 503
        ids = [order["client_order_id"] for order in (await client.account())["open_orders"]]
        assert ids == ["a", "b", "c"]
        await client.admin("/faults", {"fresh_2013": 1})
        find = {"symbol": SYMBOL, "origClientOrderId": "a"}
        assert (await client.call("GET", "/fapi/v1/order", **find))[1]["code"] == -2013
        assert (await client.call("GET", "/fapi/v1/order", **find))[1]["clientOrderId"] == "a"
        assert "unknown fault" in (await client.admin("/faults", {"nonsense": 1}))["error"]

    drive(simulator, act)


def test_user_stream_faults(simulator: Simulator) -> None:
    """A duplicated execution arrives twice; an expired listenKey is announced, then all is silent."""

    async def act(client: Client) -> None:
        await client.quiet_market()
        async with client.user() as user:
            await client.admin("/faults", {"duplicate_execution": 1})
            await client.order("BUY", "0", type="MARKET")
            first, second = await order_event(user, "TRADE"), await order_event(user, "TRADE")
            assert first == second
            await client.admin("/faults", {"listenkey_expired": 1})
            while (await receive(user))["e"] != "listenKeyExpired":
                pass
            answer = (await client.call("PUT", "/fapi/v1/listenKey", signed=False))[1]
            assert answer["code"] == -1125
            await client.order("BUY", "0", type="MARKET")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await user.receive()
        assert len((await client.account())["fills"]) >= 2

    drive(simulator, act)


def test_an_order_that_has_not_arrived_is_not_known_and_lands_within_its_window(
    simulator: Simulator,
) -> None:
    """Held in the network it is answered like one that never was: -2013 when asked for, -2011 when
    cancelled. Then it lands and rests, and the referee's list tells when; one that comes when its recvWindow
    is over is refused at its arrival."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002"}
        about = {"symbol": SYMBOL, "origClientOrderId": "held"}

        async def hold(name: str, late_ms: int, window_ms: int) -> None:
            await client.admin("/faults", {"late_order": 1, "late_ms": late_ms, "late_cut": 1})
            async with client.socket("/ws-fapi/v1") as api:
                params = order | {"price": f"{bid - 60:.1f}", "newClientOrderId": name}
                await api.send_json(client.ws_request("order.place", **params, recvWindow=window_ms))
                async with asyncio.timeout(WAIT_S):
                    assert (await api.receive()).type is not aiohttp.WSMsgType.TEXT

        await hold("held", 3000, 60_000)
        assert (await client.call("GET", "/fapi/v1/order", **about))[1]["code"] == -2013
        assert (await client.call("DELETE", "/fapi/v1/order", **about))[1]["code"] == -2011
        asked_ms = now_ms()
        async with asyncio.timeout(WAIT_S):
            while not (landed := (await client.account())["accepted"]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert landed[0]["client_order_id"] == "held" and landed[0]["time_ms"] >= asked_ms
        assert (await client.call("GET", "/fapi/v1/order", **about))[1]["status"] == "NEW"

        await hold("expired", 600, 100)
        async with asyncio.timeout(WAIT_S):
            while "recvWindow" not in str((await client.admin("/log"))["requests"][-1]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert len((await client.account())["accepted"]) == 1

    drive(simulator, act)


def test_requests_that_are_lost_late_or_overtaken_by_a_fill(simulator: Simulator) -> None:
    """An order may never arrive, or land after its connection is gone; a cancel may stay unanswered, or
    come after its order was filled; user events may change places."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.002"}

        async def open_ids() -> list[str]:
            return [row["client_order_id"] for row in (await client.account())["open_orders"]]

        async def appears(name: str) -> None:
            async with asyncio.timeout(WAIT_S):
                while name not in await open_ids():  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        await client.admin("/faults", {"request_lost": 1, "late_order": 1, "late_ms": 300})
        async with client.user() as user:
            async with client.socket("/ws-fapi/v1") as api:
                for name, price in (("lost", bid - 60), ("late", bid - 61), ("now", bid - 62)):
                    params = order | {"price": f"{price:.1f}", "newClientOrderId": name}
                    await api.send_json(client.ws_request("order.place", **params))
                assert (await receive(api))["result"]["clientOrderId"] == "now"
            await appears("late")
            await client.admin("/faults", {"late_order": 1, "late_cut": 1})
            async with client.socket("/ws-fapi/v1") as api:
                params = order | {"price": f"{bid - 63:.1f}", "newClientOrderId": "cut"}
                await api.send_json(client.ws_request("order.place", **params))
                async with asyncio.timeout(WAIT_S):
                    assert (await api.receive()).type is not aiohttp.WSMsgType.TEXT
            await appears("cut")
            assert sorted(await open_ids()) == ["cut", "late", "now"]

            async with client.socket("/ws-fapi/v1") as api:
                await client.admin("/faults", {"cancel_withheld": 1})
                for name in ("late", "now"):
                    cancel = client.ws_request("order.cancel", symbol=SYMBOL, origClientOrderId=name)
                    await api.send_json(cancel)
                assert (await receive(api))["result"]["clientOrderId"] == "now"
            assert await open_ids() == ["cut"]

            _, placed = await client.order("BUY", f"{bid - 50:.1f}", "0.004")
            cancel_it = {"symbol": SYMBOL, "orderId": placed["orderId"]}
            await client.admin("/faults", {"part_fill_before_cancel": 1, "swap_user_events": 1})
            assert (await client.call("DELETE", "/fapi/v1/order", **cancel_it))[1]["executedQty"] == "0.002"
            seen = [await receive(user) for _ in range(8)]
            kinds = [
                e["e"] for e in seen if e["T"] >= placed["updateTime"] and e["e"] != "ORDER_TRADE_UPDATE"
            ]
            assert kinds == ["ACCOUNT_UPDATE", "TRADE_LITE"], "the first event came second"
            _, placed = await client.order("BUY", f"{bid - 51:.1f}")
            await client.admin("/faults", {"fill_before_cancel": 1})
            cancel_it = {"symbol": SYMBOL, "orderId": placed["orderId"]}
            assert (await client.call("DELETE", "/fapi/v1/order", **cancel_it))[1]["code"] == -2011
        account = await client.account()
        assert [fill["quantity_e9"] for fill in account["fills"]] == [2_000_000, 2_000_000]
        assert account["positions"][0]["quantity_e9"] == 4_000_000

    drive(simulator, act)


def test_what_an_earlier_end_left_does_not_pass_for_the_present_account(tmp_path: Path) -> None:
    """account.json of the last SIGTERM is gone once the venue runs again, and after a kill -9."""
    venue = Simulator(tmp_path / "state")
    venue.start()
    venue.stop()
    left = tmp_path / "state" / "account.json"
    assert left.exists()
    venue.start()
    assert not left.exists()
    venue.stop(signal.SIGKILL)
    assert not left.exists()


def test_clock_fault_moves_the_venue_away_from_the_client(simulator: Simulator) -> None:
    """With the venue's clock 5 s ahead an honest timestamp is outside a short window."""

    async def act(client: Client) -> None:
        await client.admin("/faults", {"clock_offset_ms": 5000})
        asked = now_ms()
        _, answer = await client.call("GET", "/fapi/v1/time", signed=False)
        assert 5000 <= answer["serverTime"] - asked < 60_000
        assert (await client.call("GET", "/fapi/v3/balance", recvWindow=1500))[1]["code"] == -1021

    drive(simulator, act)


def test_dead_man_switch_cancels_and_events_tell(simulator: Simulator) -> None:
    """countdownCancelAll cancels the open orders when it is not renewed."""

    async def act(client: Client) -> None:
        bid, _ = await client.quiet_market()
        async with client.user() as user:
            await client.order("BUY", f"{bid - 50:.1f}")
            armed = await client.call("POST", "/fapi/v1/countdownCancelAll", symbol=SYMBOL, countdownTime=100)
            assert armed == (200, {"symbol": SYMBOL, "countdownTime": "100"})
            await order_event(user, "CANCELED")
        assert (await client.account())["open_orders"] == []

    drive(simulator, act)


def test_limits_answer_429_with_the_venues_text(simulator: Simulator) -> None:
    """The 301st order within ten seconds is -1015; a forced 429 is -1003."""

    async def act(client: Client) -> None:
        await client.quiet_market()
        await client.admin("/faults", {"rate_limit_429": 1})
        status, answer = await client.call("GET", "/fapi/v1/ping", signed=False)
        assert (status, answer["code"]) == (429, -1003)
        async with client.socket("/ws-fapi/v1") as socket:
            # Windows are fixed: when one ends among these orders, the count begins once more. All are sent
            # at once, so that many fit into one.
            bad = client.ws_request("order.place", symbol=SYMBOL, side="BUY", type="XXX", recvWindow=60000)
            for _ in range(700):
                await socket.send_json(bad)
            codes = [(await receive(socket))["error"]["code"] for _ in range(700)]
        accepted = codes.index(-1015)
        assert set(codes[:accepted]) == {-1116} and accepted >= 300

    drive(simulator, act)


def test_killed_venue_comes_back_with_everything(simulator: Simulator) -> None:
    """After kill -9 and a restart on the same ports: open orders, fills, position and keys are the same."""
    before: dict[str, Any] = {}

    async def trade(client: Client) -> None:
        bid, _ = await client.quiet_market()
        await client.order("BUY", "0", "0.004", type="MARKET")
        await client.order("BUY", f"{bid - 50:.1f}", newClientOrderId="stays")
        await client.order("BUY", f"{bid - 51:.1f}", newClientOrderId="goes")
        await client.call("DELETE", "/fapi/v1/order", symbol=SYMBOL, origClientOrderId="goes")
        before.update(await client.account())

    async def compare(client: Client) -> None:
        after = await client.account()
        for name in ("fills", "cash_e8", "orders_total"):
            assert after[name] == before[name]
        assert after["positions"][0]["cost_micros"] == before["positions"][0]["cost_micros"]
        assert [order["client_order_id"] for order in after["open_orders"]] == ["stays"]
        cancelled = await client.call("DELETE", "/fapi/v1/allOpenOrders", symbol=SYMBOL)
        assert cancelled[1]["code"] == 200

    drive(simulator, trade)
    credentials = simulator.ready["credentials"]
    with (simulator.state / "events.jsonl").open("ab") as torn:
        torn.write(b'{"order":{"order_id":1,')
    simulator.stop(signal.SIGKILL)
    simulator.start()
    assert simulator.ready["credentials"] == credentials
    drive(simulator, compare)


def test_state_file_stays_small(simulator: Simulator) -> None:
    """Superseded records are dropped by a rewrite that changes nothing in the account."""
    key = simulator.ready["credentials"]["api_key"]

    async def trade(client: Client) -> None:
        bid, _ = await client.quiet_market()
        await client.order("BUY", "0", type="MARKET")
        await client.order("BUY", f"{bid - 50:.1f}", newClientOrderId="stays")

    drive(simulator, trade)
    simulator.stop()
    before = json.loads((simulator.state / "account.json").read_text())["accounts"][key]
    events = simulator.state / "events.jsonl"
    lines = events.read_bytes().splitlines(keepends=True)
    settings = b'{"settings":{"leverage":7}}\n'
    events.write_bytes(b"".join(lines) + settings * 11_000)
    simulator.start()
    assert len(events.read_bytes().splitlines()) < 20

    async def compare(client: Client) -> None:
        after = await client.account()
        assert (after["fills"], after["open_orders"]) == (before["fills"], before["open_orders"])
        assert after["leverage"] == 7

    drive(simulator, compare)


def test_sigterm_leaves_the_account_on_disk(tmp_path: Path) -> None:
    """account.json is what GET /account said last."""
    venue, seen = Simulator(tmp_path / "state"), {}
    venue.start()

    async def act(client: Client) -> None:
        await client.quiet_market()
        await client.order("BUY", "0", type="MARKET")
        seen.update(await client.account())

    drive(venue, act)
    venue.stop()
    written = json.loads((venue.state / "account.json").read_text())
    assert written["accounts"][venue.ready["credentials"]["api_key"]] == seen


def test_recorded_feed_is_served_with_its_own_ids(tmp_path: Path) -> None:
    """A capture's frames arrive with the recorded ids and prices, and a crossing quote fills our order."""
    head = '"data":{"e":"depthUpdate","E":10,"T":9,"s":"BTCUSDT"'
    lines = ['{"lastUpdateId":50,"E":9,"T":8,"bids":[["60000.00","1.000"]],"asks":[["60010.00","1.000"]]}']
    lines.append(f'{{"stream":"btcusdt@depth@0ms",{head},"U":45,"u":60,"pu":44,"b":[],"a":[]}}}}')
    for number in range(300):
        ask = "60010.00" if number < 150 else "59990.00"
        lines.append(
            f'{{"stream":"btcusdt@bookTicker","data":{{"e":"bookTicker","u":{61 + number},"s":"BTCUSDT",'
            f'"b":"59980.00","B":"1.000","a":"{ask}","A":"1.000","T":9,"E":10}}}}'
        )
    feed = tmp_path / "capture.txt"
    feed.write_text("".join(f"{10**18 + 10**7 * number} {line}\n" for number, line in enumerate(lines)))
    venue = Simulator(tmp_path / "state", "--feed", str(feed))
    venue.start()

    async def act(client: Client) -> None:
        _, book = await client.call("GET", "/fapi/v1/depth", signed=False, symbol=SYMBOL, limit=5)
        assert book["bids"] == [["60000.00", "1.000"]]
        assert book["lastUpdateId"] >= 50
        opened = now_ms()
        async with client.user() as user, client.socket("/public/ws/btcusdt@bookTicker") as socket:
            while (await client.order("BUY", "59995.0", timeInForce="GTX"))[0] != 200:
                await receive(socket)  # this pass has come to the low ask, which the order would cross
            ticker = await receive(socket)
            assert ticker["u"] >= 61 and ticker["b"] == "59980.00"
            assert opened <= ticker["E"] <= now_ms() and ticker["E"] - ticker["T"] == 1
            fill = await order_event(user, "TRADE")
            assert (fill["L"], fill["m"], fill["X"]) == ("59995.00", True, "FILLED")

    try:
        drive(venue, act)
    finally:
        venue.stop()


def test_taken_port_and_locked_state_are_explained(simulator: Simulator, tmp_path: Path) -> None:
    """Both end with exit code 1 and a sentence that says what to do."""
    port = simulator.ready["rest"].rsplit(":", 1)[1]
    taken = ["--state", str(tmp_path / "other"), "--port", port]
    for arguments in (taken, ["--state", str(simulator.state)]):
        done = subprocess.run(
            [sys.executable, "-m", "simulators", "binance", *arguments],
            capture_output=True, text=True, cwd=ROOT, timeout=120,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert "stop" in done.stderr and "Traceback" not in done.stderr
