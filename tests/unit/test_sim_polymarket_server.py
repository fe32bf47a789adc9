"""The Polymarket simulator as a process: TLS, polymarket-client 0.14.0, both streams, kill -9, faults."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from polymarket import AsyncSecureClient
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment
from polymarket._internal.wallet import derive_proxy_wallet_address, derive_safe_wallet_address
from polymarket.errors import RequestRejectedError
from polymarket.models.clob import ApiKeyCreds
from polymarket.models.gamma.market import Market

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90.0  # bounds a hang


class Simulator:
    """One simulator process on a state folder; started again it takes the same ports."""

    def __init__(self, state: Path, *more: str) -> None:
        self.state, self.more = state, more
        self.ports = ("0", "0")
        self.ready: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        """Start and wait for the ready line."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "simulators", "polymarket", "--state", str(self.state), "--seed", "5",
             "--port", self.ports[0], "--admin-port", self.ports[1], *self.more],
            stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.ready = json.loads(self.process.stdout.readline())
        self.ports = (self.ready["clob"].rsplit(":", 1)[1], self.ready["admin"].rsplit(":", 1)[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; gives the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def admin(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the referee."""
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.ready["admin"] + path, data=data, timeout=60) as answer:
            return json.load(answer)

    def account(self) -> dict[str, Any]:
        """The account of the ready line's key."""
        view: dict[str, Any] = self.admin("/account")["accounts"][self.ready["credentials"]["api_key"]]
        return view

    @asynccontextmanager
    async def client(self, wallet: str | None = "EOA") -> AsyncIterator[AsyncSecureClient]:
        """polymarket-client with every address replaced; without a wallet it uses its deposit wallet."""
        http, socket, given = self.ready["clob"], self.ready["ws"], self.ready["credentials"]
        names = [field.name for field in dataclasses.fields(PRODUCTION_CONFIG) if field.name.endswith("_url")]
        urls = {name: socket + "/none" if name.endswith("ws_url") else http for name in names}
        urls |= {"clob_market_ws_url": socket + "/ws/market", "clob_user_ws_url": socket + "/ws/user"}
        environment = create_environment(name="local", config=dataclasses.replace(PRODUCTION_CONFIG, **urls))
        client = await AsyncSecureClient.create(
            private_key=given["private_key"], wallet=given["address"] if wallet == "EOA" else wallet,
            environment=environment,
            credentials=ApiKeyCreds(key=given["api_key"], secret=given["api_secret"],
                                    passphrase=given["passphrase"]),
        )  # fmt: skip
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def socket(
        self, path: str, frame: dict[str, Any]
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A subscribed socket."""
        context = ssl.create_default_context(cafile=self.ready["ca"])
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(self.ready["ws"] + path, ssl=context) as socket:
                await socket.send_json(frame)
                yield socket

    def user_frame(self) -> dict[str, Any]:
        """The subscription of the user channel."""
        given = self.ready["credentials"]
        return {"type": "user", "auth": {"apiKey": given["api_key"], "secret": given["api_secret"],
                                         "passphrase": given["passphrase"]}}  # fmt: skip


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A running simulator whose authority this process trusts."""
    made = Simulator(tmp_path / "state")
    monkeypatch.setenv("SSL_CERT_FILE", made.ready["ca"])
    yield made
    if made.process.poll() is None:
        made.stop()


async def middle_market(client: AsyncSecureClient) -> Market:
    """The market whose strike is next to the price."""
    page = await client.list_markets(closed=False).first_page()
    return next(market for market in page.items if "60,000" in (market.question or ""))


async def inside_bid(client: AsyncSecureClient, market: Market) -> str:
    """A price two ticks better than the best bid for YES, well below the best ask."""
    book = await client.get_order_book(asset_id=market.outcomes.yes.token_id)
    return str(max(level.price for level in book.bids) + Decimal("0.02"))


async def quote(client: AsyncSecureClient, market: Market, price: str) -> str:
    """Place a post-only bid for 20 YES; gives its id."""
    token = market.outcomes.yes.token_id
    signed = await client.create_limit_order(asset_id=token, price=price, size=20, side="BUY", post_only=True)
    answer = await client.post_order(signed)
    assert answer.ok and answer.status == "live"
    return str(answer.order_id)


async def ids(client: AsyncSecureClient) -> list[str]:
    """The ids of the open orders."""
    return [str(order.id) async for order in client.list_open_orders().iter_items()]


def test_unified_client_trades(simulator: Simulator) -> None:
    """polymarket-client logs in, finds a market, places a post-only order, lists it, beats, cancels it;
    the user stream tells of the placement, the fill's three steps and the cancellation."""

    simulator.admin("/market", {"pause": True})
    price = ""

    async def story() -> None:
        nonlocal price
        async with simulator.client() as client, simulator.socket("/ws/user", simulator.user_frame()) as user:
            market = await middle_market(client)
            assert market.trading.fee_schedule is not None and market.state.end_date is not None
            price = await inside_bid(client, market)
            order_id = await quote(client, market, price)
            assert await ids(client) == [order_id]
            beat = await client.send_order_heartbeat()
            assert (await client.send_order_heartbeat(heartbeat_id=beat.heartbeat_id)).heartbeat_id
            no = {"asset_id": market.outcomes.no.token_id, "side": "BUY", "size": "7.5"}
            no["price"] = str(1 - Decimal(price))
            await asyncio.to_thread(simulator.admin, "/orders", no)
            seen: list[tuple[str, str]] = []
            while ("trade", "CONFIRMED") not in seen:
                event = await user.receive_json(timeout=DEADLINE_S)
                seen.append((event["event_type"], event.get("status", "")))
                if event["event_type"] == "trade":
                    leg = event["maker_orders"][0]
                    assert (event["trader_side"], leg["order_id"]) == ("MAKER", order_id)
                    assert (leg["price"], leg["matched_amount"], leg["side"]) == (price, "7.5", "BUY")
            assert [status for kind, status in seen if kind == "trade"] == ["MATCHED", "MINED", "CONFIRMED"]
            assert (await client.cancel_order(order_id=order_id)).canceled == (order_id,)
            event = await user.receive_json(timeout=DEADLINE_S)
            assert (event["type"], event["status"]) == ("CANCELLATION", "CANCELED")
            assert event["size_matched"] == "7.5"
            with pytest.raises(RequestRejectedError):
                await client.get_order(order_id=order_id)

    asyncio.run(story())
    assert simulator.stop() == 0
    written = json.loads((simulator.state / "account.json").read_text())
    account = written["accounts"][simulator.ready["credentials"]["api_key"]]
    paid = int(Decimal(price) * Decimal("7.5") * 1_000_000)
    assert (account["cash_micros"], account["open_orders"]) == (10_000_000_000 - paid, [])


def test_every_wallet_type_can_quote(simulator: Simulator) -> None:
    """Deposit wallets (ERC-7739), safes and proxies trade with their own cash under the owner's key."""
    owner, derivation = simulator.ready["credentials"]["address"], PRODUCTION_CONFIG.wallet_derivation
    safe = derive_safe_wallet_address(owner, derivation)
    proxy = derive_proxy_wallet_address(owner, derivation)

    async def story(wallet: str | None) -> None:
        async with simulator.client(wallet) as client:
            order_id = await quote(client, await middle_market(client), "0.05")
            assert await ids(client) == [order_id]
            balance = await client.get_balance_allowance(asset_type="COLLATERAL")
            assert balance.balance == 10_000_000_000
            assert (await client.cancel_order(order_id=order_id)).canceled == (order_id,)

    for wallet in (None, safe, proxy):
        asyncio.run(story(wallet))


def test_killed_venue_comes_back_the_same(simulator: Simulator) -> None:
    """After kill -9 the ports, keys, authority, markets, open orders and cash are as before."""

    async def place() -> str:
        async with simulator.client() as client:
            return await quote(client, await middle_market(client), "0.05")

    order_id = asyncio.run(place())
    before, ready = simulator.account(), simulator.ready
    simulator.stop(signal.SIGKILL)
    simulator.start()
    assert simulator.ready == ready
    assert simulator.account() == before | {"heartbeat_deadline_ms": None}

    async def cancel() -> None:
        async with simulator.client() as client:
            assert await ids(client) == [order_id]
            assert (await client.cancel_all()).canceled == (order_id,)

    asyncio.run(cancel())


def test_market_stream_keeps_a_book_exact(simulator: Simulator) -> None:
    """Snapshot plus changes give the best prices that each change names, for both outcomes."""
    simulator.admin("/market", {"takers_per_s": 20})
    book = simulator.admin("/orders")["markets"][1]
    tokens = [book["yes"], book["no"]]
    frame = {"type": "market", "assets_ids": tokens, "custom_feature_enabled": True}
    sides: dict[tuple[str, str], dict[str, str]] = {}
    kinds: set[str] = set()
    changes = 0

    def apply(event: dict[str, Any]) -> int:
        kinds.add(event["event_type"])
        if event["event_type"] == "book":
            for side, rows in (("BUY", event["bids"]), ("SELL", event["asks"])):
                sides[(event["asset_id"], side)] = {row["price"]: row["size"] for row in rows}
        if event["event_type"] != "price_change":
            return 0
        for change in event["price_changes"]:
            level = sides[(change["asset_id"], change["side"])]
            level[change["price"]] = change["size"]
            if change["size"] == "0":
                del level[change["price"]]
        for change in event["price_changes"]:
            bids, asks = (sides[(change["asset_id"], side)] for side in ("BUY", "SELL"))
            assert max(map(Decimal, bids)) == Decimal(change["best_bid"])
            assert min(map(Decimal, asks)) == Decimal(change["best_ask"])
        return 1

    async def story() -> None:
        nonlocal changes
        async with simulator.socket("/ws/market", frame) as socket:
            await socket.send_str("PING")
            while changes < 10 or not {"last_trade_price", "best_bid_ask", "PONG"} <= kinds:
                message = await socket.receive(timeout=DEADLINE_S)
                if message.data == "PONG":
                    kinds.add("PONG")
                    continue
                events = json.loads(message.data)
                for event in events if isinstance(events, list) else [events]:
                    changes += apply(event)

    asyncio.run(story())
    assert kinds == {"PONG", "book", "price_change", "last_trade_price", "best_bid_ask"}


def test_faults_lose_answers_and_cut_frames(simulator: Simulator) -> None:
    """A lost answer leaves the order on the book, a 500 hides a success, 425 and modes refuse, and a
    socket can end inside a frame."""

    async def story() -> None:
        async with simulator.client() as client:
            market = await middle_market(client)

            async def quietly(fault: dict[str, Any], price: str) -> None:
                await asyncio.to_thread(simulator.admin, "/faults", fault)
                with pytest.raises(Exception):  # noqa: B017
                    await quote(client, market, price)

            await quietly({"response_lost": 1}, "0.05")
            await quietly({"unknown_500": 1}, "0.04")
            assert len(await ids(client)) == 2
            await quietly({"restart_425": 1}, "0.03")
            await quietly({"restart_425": 0, "cancel_only": 1}, "0.03")
            assert len((await client.cancel_all()).canceled) == 2
            await asyncio.to_thread(simulator.admin, "/faults", {"cancel_only": 0})
            frame = {"type": "market", "assets_ids": [market.outcomes.yes.token_id]}
            async with simulator.socket("/ws/market", frame) as socket:
                assert json.loads((await socket.receive()).data)[0]["event_type"] == "book"
                await asyncio.to_thread(simulator.admin, "/faults", {"close_mid_frame": True})
                async with asyncio.timeout(DEADLINE_S):
                    while not socket.closed:
                        message = await socket.receive()
                        if message.type is aiohttp.WSMsgType.TEXT:
                            json.loads(message.data)

    asyncio.run(story())
    logged = simulator.admin("/log")["requests"]
    assert [row["status"] for row in logged if row["method"] == "POST" and row["target"] == "/order"] \
        == [500, 500, 425, 503]  # fmt: skip


def test_requests_that_are_lost_late_or_overtaken_by_a_fill(simulator: Simulator) -> None:
    """An order may never arrive, or land when its caller has given up; a cancel may come after its order
    was filled; a user event may be lost without a word."""

    async def story() -> None:
        async with simulator.client() as client:
            market = await middle_market(client)
            for fault, price in (({"request_lost": 1}, "0.05"), ({"late_order": 1, "late_ms": 300}, "0.04")):
                await asyncio.to_thread(simulator.admin, "/faults", fault)
                with pytest.raises(Exception):  # noqa: B017
                    await quote(client, market, price)
            async with asyncio.timeout(DEADLINE_S):
                while not (landed := await ids(client)):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert len(landed) == 1, "the late one"
            (accepted,) = simulator.account()["accepted"]
            assert accepted["order_id"] == landed[0] and accepted["status"] == "LIVE"
            absent = "0x" + "5a" * 32  # as one that has not arrived
            unknown = await client.cancel_order(order_id=absent)
            assert not unknown.canceled and list(unknown.not_canceled) == [absent]
            with pytest.raises(RequestRejectedError) as refused:
                await client.get_order(order_id=absent)
            assert refused.value.status == 404
            await asyncio.to_thread(simulator.admin, "/faults", {"fill_before_cancel": 1})
            assert not (await client.cancel_all()).canceled
            async with simulator.socket("/ws/user", simulator.user_frame()) as user:
                await user.send_str("PING")
                assert (await user.receive(timeout=DEADLINE_S)).data == "PONG"
                await asyncio.to_thread(simulator.admin, "/faults", {"drop_user_event": 1})
                await quote(client, market, "0.03")
                await client.cancel_all()
                while True:
                    event = json.loads((await user.receive(timeout=DEADLINE_S)).data)
                    if event["event_type"] == "order":
                        break
                assert event["type"] == "CANCELLATION", "the event of the placement was lost"

    asyncio.run(story())
    account = simulator.account()
    assert [(fill["price_e9"], fill["role"]) for fill in account["fills"]] == [(40_000_000, "MAKER")]
    assert account["open_orders"] == []


def test_what_an_earlier_end_left_does_not_pass_for_the_present_account(simulator: Simulator) -> None:
    """account.json of the last SIGTERM is gone once the venue runs again."""
    simulator.stop()
    assert (simulator.state / "account.json").exists()
    simulator.start()
    assert not (simulator.state / "account.json").exists()


def test_help_names_every_fault() -> None:
    """--help explains the switches, and an unknown one is refused with the names that exist."""
    run = [sys.executable, "-m", "simulators", "polymarket"]
    shown = subprocess.run([*run, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert "fail_trade" in shown.stdout and "response_lost" in shown.stdout
    wrong = subprocess.run([*run, "--faults", "explode"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode == 2 and "fail_trade" in wrong.stderr


def test_resolution_reaches_the_streams_and_gamma(simulator: Simulator) -> None:
    """When a market ends its winner is announced on the market stream and shown closed by Gamma."""
    book = simulator.admin("/orders")["markets"][0]
    frame = {"type": "market", "assets_ids": [book["yes"]], "custom_feature_enabled": True}

    async def story() -> None:
        async with simulator.client() as client, simulator.socket("/ws/market", frame) as socket:
            await asyncio.to_thread(simulator.admin, "/market", {"expire": book["slug"]})
            event: dict[str, Any] = {}
            while event.get("event_type") != "market_resolved":
                read = json.loads((await socket.receive(timeout=DEADLINE_S)).data)
                event = read if isinstance(read, dict) else {}
            assert (event["market"], event["winning_asset_id"]) == (book["condition_id"], book["yes"])
            closed = (await client.list_markets(closed=True).first_page()).items[0]
            assert closed.slug == book["slug"] and closed.outcomes.yes.price == 1
            with pytest.raises(RequestRejectedError):
                await client.get_order_book(asset_id=book["yes"])

    asyncio.run(story())


def test_reference_is_followed_and_joined_again(tmp_path: Path) -> None:
    """The markets are about the reference venue's price, and a restart of that venue is survived."""
    line, ports = tmp_path / "ready.json", ("0", "0")

    def reference() -> subprocess.Popen[str]:
        nonlocal ports
        command = [sys.executable, "-m", "simulators", "binance", "--state", str(tmp_path / "binance"),
                   "--port", ports[0], "--admin-port", ports[1]]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert process.stdout is not None
        line.write_text(process.stdout.readline())
        process.stdout.close()
        ready = json.loads(line.read_text())
        ports = (ready["rest"].rsplit(":", 1)[1], ready["admin"].rsplit(":", 1)[1])
        return process

    binance = reference()
    simulator: Simulator | None = None
    try:
        simulator = Simulator(tmp_path / "state", "--reference", str(line))
        first = simulator.admin("/clock")
        assert 50_000 < first["reference_dollars"] < 70_000
        assert len(first["fair"]) == 4 and all(0 < fair < 1 for fair in first["fair"].values())
        binance.kill()
        binance.wait(60)
        binance = reference()
        deadline = time.monotonic() + DEADLINE_S
        while simulator.admin("/clock")["reference_connects"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        binance.kill()
        binance.wait(60)
        code = simulator.stop() if simulator else None
    assert code == 0
