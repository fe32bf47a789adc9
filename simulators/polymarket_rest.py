"""The CLOB's REST interface.

Each request is checked (mode, L1 or L2 signature, token bucket), handed to the venue and answered with
the venue's own texts. A path that is not served answers 501, so that nothing unmodelled looks accepted.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from typing import Any

import msgspec
from aiohttp import web
from eth_utils.address import to_checksum_address

from simulators.admin import RequestLog
from simulators.polymarket_account import ALLOWANCE_MAX, ApiKey
from simulators.polymarket_activity import ActivityFeed
from simulators.polymarket_gamma import Gamma
from simulators.polymarket_limits import KeyLimits, TokenBucket
from simulators.polymarket_orders import Refusal, Submission, parse_submission
from simulators.polymarket_prices import PriceHistory
from simulators.polymarket_public import Handler, PublicReads, cursor_page
from simulators.polymarket_signing import (
    EXCHANGE_NEG_RISK,
    EXCHANGE_STANDARD,
    SignatureRefused,
    auth_digest,
    hex_bytes,
    recover,
    request_signature,
)
from simulators.polymarket_streams import Streams
from simulators.polymarket_venue import Venue
from simulators.polymarket_wire import order_row, trade_row

CLOCK_SKEW_S = 60
ORDERS_MAX, CANCELS_MAX = 15, 1000
LOGGED_BODY = 1000
LATE_MS = 1000
MICROS_PER_LOT = 10_000
_ORDER_PATHS = ("/order", "/orders", "/cancel-all", "/cancel-market-orders")
_HASH = re.compile(r"0x[0-9a-f]{64}\Z")


class Answer:
    """A successful answer with headers of its own."""

    def __init__(self, body: Any, headers: dict[str, str]) -> None:
        self.body, self.headers = body, headers


class Rest:
    """Handlers of the CLOB, and the application that serves them with Gamma and the streams."""

    def __init__(self, venue: Venue, log: RequestLog, tier: str, prices: PriceHistory) -> None:
        self._venue, self._log, self._tier, self._prices = venue, log, tier, prices
        self._faults, self._clock = venue.faults, venue.clock
        self._limits: dict[str, KeyLimits] = {}

    def application(self, streams: Streams) -> web.Application:
        """Everything on one port."""
        public = PublicReads(self._venue)
        app = web.Application(middlewares=[self._answer], client_max_size=4 << 20)
        get, post, delete = app.router.add_get, app.router.add_post, app.router.add_delete
        for path, handler in public.routes(Gamma(self._venue)).items():
            get(path, handler)
        for path, handler in public.batch_routes().items():
            post(path, handler)
        for path, handler in self._private_routes().items():
            get(path, handler)
        get("/v2/activity", ActivityFeed(self._venue).activity)
        post("/auth/api-key", self._create_key)
        delete("/auth/api-key", self._delete_key)
        post("/v1/heartbeats", self._heartbeat)
        post("/order", self._post_order)
        post("/orders", self._post_orders)
        delete("/order", self._cancel_order)
        delete("/orders", self._cancel_orders)
        delete("/cancel-all", self._cancel_all)
        delete("/cancel-market-orders", self._cancel_market)
        get("/prices-history", self._prices.clob)
        get("/v2/prices-history", self._prices.data)
        get("/ws/market", streams.market_socket)
        get("/ws/user", streams.user_socket)
        app.router.add_route("*", "/{path:.*}", self._unmodelled)
        return app

    def _private_routes(self) -> dict[str, Any]:
        return {
            "/auth/derive-api-key": self._derive_key, "/auth/api-keys": self._api_keys,
            "/auth/ban-status/closed-only": self._closed_only, "/data/orders": self._data_orders,
            "/data/order/{id}": self._data_order, "/data/trades": self._data_trades,
            "/balance-allowance": self._balance, "/balance-allowance/update": self._balance_update,
            "/v1/user/rate-limit-tier": self._rate_tier,
        }  # fmt: skip

    # -- the frame around every answer ----------------------------------------------------------

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read() if request.can_read_body else b""
        try:
            self._check_mode(request)
            await self._lose(request)
            result = await handler(request)
        except Refusal as refusal:
            response = _json(refusal.body, refusal.status, refusal.headers)
        except msgspec.DecodeError:
            response = _json({"error": "Invalid payload"}, 400)
        else:
            if isinstance(result, web.StreamResponse):
                return result
            headers = result.headers if isinstance(result, Answer) else {}
            response = _json(result.body if isinstance(result, Answer) else result, 200, headers)
            response = await self._spoil(request, response)
        told = {}
        if request.method == "POST" and request.path in _ORDER_PATHS and isinstance(response, web.Response):
            told = {"answer": (response.text or "")[:LOGGED_BODY]}
        self._log.add("rest", request.method, request.path_qs, response.status,
                      body=body.decode(errors="replace")[:LOGGED_BODY], **told)  # fmt: skip
        return response

    def _check_mode(self, request: web.Request) -> None:
        if request.path not in _ORDER_PATHS:
            return
        if self._faults.value("restart_425"):
            raise Refusal(425, "")
        if self._faults.value("disabled"):
            raise Refusal(503, "Trading is currently disabled. Check polymarket.com for updates")
        if request.method == "POST" and self._faults.value("cancel_only"):
            raise Refusal(503, "Trading is currently cancel-only. New orders are not accepted, but cancels "
                               "are allowed.")  # fmt: skip

    async def _lose(self, request: web.Request) -> None:
        """On the way to the venue: the call is lost, or arrives when its caller has long given it up."""
        if request.path not in _ORDER_PATHS:
            return
        lost = self._faults.take("request_lost")
        late = not lost and request.method == "POST" and self._faults.take("late_order")
        if (lost or late) and request.transport is not None:
            request.transport.abort()
        if lost:
            raise Refusal(500, "lost on the way")
        if late:
            await asyncio.sleep((self._faults.value("late_ms") or LATE_MS) / 1000)

    async def _spoil(self, request: web.Request, response: web.Response) -> web.Response:
        """After the venue did its work: lose, delay or falsify the answer, when the referee asked."""
        if request.path not in _ORDER_PATHS:
            return response
        if self._faults.value("answer_delay_ms"):
            await asyncio.sleep(self._faults.value("answer_delay_ms") / 1000)
        if self._faults.take("response_lost"):
            if request.transport is not None:
                request.transport.abort()
            return _json({"error": "lost"}, 500)
        if self._faults.take("unknown_500"):
            return _json({"error": "there are no matching orders"}, 500)
        if self._faults.take("context_canceled"):
            return _json({"error": "context canceled"}, 400)
        return response

    async def _unmodelled(self, request: web.Request) -> Any:
        raise Refusal(501, f"{request.method} {request.path} is not modelled by this simulator")

    # -- authentication -------------------------------------------------------------------------

    def _level_one(self, request: web.Request) -> tuple[str, int]:
        """Check the wallet's signature; gives its checksummed address and the nonce."""
        refusal = Refusal(401, "Invalid L1 Request headers")
        headers = request.headers
        stamp, nonce = headers.get("POLY_TIMESTAMP", ""), headers.get("POLY_NONCE", "0")
        if not stamp.isdecimal() or not nonce.isdecimal() or not self._is_now(stamp):
            raise refusal
        try:
            address = str(to_checksum_address(headers.get("POLY_ADDRESS", "")))
            signature = hex_bytes(headers.get("POLY_SIGNATURE", ""))
            if recover(auth_digest(address, stamp, int(nonce)), signature) != address:
                raise refusal
        except (SignatureRefused, ValueError) as error:
            raise refusal from error
        return address, int(nonce)

    async def _level_two(self, request: web.Request) -> ApiKey:
        """Check the HMAC of a request; gives its key."""
        refusal = Refusal(401, "Unauthorized/Invalid api key")
        headers = request.headers
        key = self._venue.accounts.keys.get(headers.get("POLY_API_KEY", ""))
        stamp = headers.get("POLY_TIMESTAMP", "")
        if key is None or headers.get("POLY_ADDRESS", "").lower() != key.address.lower():
            raise refusal
        if headers.get("POLY_PASSPHRASE") != key.passphrase:
            raise refusal
        if not stamp.isdecimal() or not self._is_now(stamp):
            raise refusal
        path, body = request.rel_url.raw_path, await request.read()
        wanted = request_signature(key.secret, stamp, request.method, path, body)
        if not hmac.compare_digest(wanted.encode(), headers.get("POLY_SIGNATURE", "").encode()):
            raise refusal
        return key

    def _is_now(self, stamp: str) -> bool:
        return abs(int(stamp) - self._clock.now_ms() // 1000) <= CLOCK_SKEW_S

    async def _create_key(self, request: web.Request) -> Any:
        return _credentials(self._venue.create_key(*self._level_one(request)))

    async def _derive_key(self, request: web.Request) -> Any:
        key = self._venue.accounts.by_identity.get(self._level_one(request))
        if key is None:
            raise Refusal(400, "Could not derive api key!")
        return _credentials(key)

    async def _api_keys(self, request: web.Request) -> Any:
        address = (await self._level_two(request)).address
        return {"apiKeys": [key.key for key in self._venue.accounts.keys.values() if key.address == address]}

    async def _delete_key(self, request: web.Request) -> Any:
        self._venue.delete_key(await self._level_two(request))
        return "OK"

    async def _closed_only(self, request: web.Request) -> Any:
        await self._level_two(request)
        return {"closed_only": bool(self._faults.value("closed_only"))}

    # -- orders ---------------------------------------------------------------------------------

    def _limits_of(self, key: ApiKey) -> KeyLimits:
        return self._limits.setdefault(key.key, KeyLimits(self._tier, self._clock.now_ms()))

    def _pay(self, key: ApiKey, bucket: TokenBucket, cost: int) -> dict[str, str]:
        """Take tokens or refuse the request as a whole; gives the headers of the answer."""
        now_ms = self._clock.now_ms()
        paid = bucket.take(cost, now_ms) and not self._faults.take("rate_limited")
        headers = self._limits_of(key).headers(bucket, now_ms)
        if not paid:
            headers["Retry-After"] = str(bucket.wait_s(cost))
            raise Refusal(429, "Too Many Requests", headers=headers)
        return headers

    def _submission(self, body: Any, key: ApiKey) -> Submission:
        if self._faults.value("closed_only"):
            raise Refusal(400, f"'{key.address}' address in closed only mode")
        if self._faults.take("market_not_ready"):
            raise Refusal(400, "the market is not yet ready to process new orders")
        return parse_submission(body, key, self._venue.by_token)

    def _place(self, body: Any, key: ApiKey) -> dict[str, Any]:
        post_only_mode = bool(self._faults.value("post_only_mode"))
        return self._venue.place(key, self._submission(body, key), post_only_mode)

    async def _post_order(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        headers = self._pay(key, self._limits_of(key).orders, 1)
        try:
            return Answer(self._place(msgspec.json.decode(await request.read()), key), headers)
        except Refusal as refusal:
            refusal.headers.update(headers)
            raise

    async def _post_orders(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        bodies = msgspec.json.decode(await request.read())
        if not isinstance(bodies, list) or not bodies:
            raise Refusal(400, "Invalid order payload")
        if len(bodies) > ORDERS_MAX:
            raise Refusal(400, f"Too many orders in payload: {len(bodies)}, max allowed: {ORDERS_MAX}")
        headers = self._pay(key, self._limits_of(key).orders, len(bodies))
        return Answer([self._leg(body, key) for body in bodies], headers)

    def _leg(self, body: Any, key: ApiKey) -> dict[str, Any]:
        """A refused leg of a batch says so in errorMsg, and may still claim success."""
        try:
            return self._place(body, key)
        except Refusal as refusal:
            success = bool(self._faults.value("leg_success_true"))
            return {"success": success, "errorMsg": refusal.text, "orderID": "", "status": "",
                    "makingAmount": "", "takingAmount": ""}  # fmt: skip

    async def _cancel_order(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        headers = self._pay(key, self._limits_of(key).cancels, 1)
        body = msgspec.json.decode(await request.read())
        if not isinstance(body, dict) or not _is_hash(body.get("orderID")):
            raise Refusal(400, "Invalid order payload", headers=headers)
        return Answer(self._venue.cancel_many([body["orderID"]], key.key), headers)

    async def _cancel_orders(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        ids = msgspec.json.decode(await request.read())
        if not isinstance(ids, list) or not ids or not all(_is_hash(order_id) for order_id in ids):
            raise Refusal(400, "Invalid order payload")
        if len(ids) > CANCELS_MAX:
            raise Refusal(400, f"Too many orders in payload: {len(ids)}, max allowed: {CANCELS_MAX}")
        headers = self._pay(key, self._limits_of(key).cancels, len(ids))
        return Answer(self._venue.cancel_many(ids, key.key), headers)

    async def _cancel_all(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        return self._cancel_where(key, "", "")

    async def _cancel_market(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        body = msgspec.json.decode(await request.read() or b"{}")
        if not isinstance(body, dict):
            raise Refusal(400, "Invalid order payload")
        return self._cancel_where(key, body.get("market") or "", body.get("asset_id") or "")

    def _cancel_where(self, key: ApiKey, condition: str, asset: str) -> Answer:
        cancels = self._limits_of(key).cancels
        headers = self._pay(key, cancels, 1)
        ids = [order.order_id for order in self._venue.open_orders(key.key)
               if condition in ("", order.market.condition_id)
               and asset in ("", order.market.tokens[order.book.outcome])]  # fmt: skip
        result = self._venue.cancel_many(ids, key.key)
        cancels.charge(len(result["canceled"]))
        return Answer(result, headers)

    async def _heartbeat(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        body = msgspec.json.decode(await request.read())
        sent = body.get("heartbeat_id") if isinstance(body, dict) else None
        accepted, following = self._venue.heartbeats.beat(key.key, sent or "", self._venue.steady_ms())
        if not accepted:
            refusal = Refusal(400, "Invalid Heartbeat ID")
            refusal.body = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": following}
            raise refusal
        return {"heartbeat_id": following}

    # -- reads of an account --------------------------------------------------------------------

    async def _data_orders(self, request: web.Request) -> Any:
        key, query = await self._level_two(request), request.query
        rows = [order_row(order) for order in self._venue.open_orders(key.key)]
        for name in ("id", "market", "asset_id"):
            if name in query:
                rows = [row for row in rows if row[name] == query[name]]
        if self._faults.value("status_prefix"):
            rows = [row | {"status": f"ORDER_STATUS_{row['status']}"} for row in rows]
        return cursor_page(rows, query.get("next_cursor", ""))

    async def _data_order(self, request: web.Request) -> Any:
        key = await self._level_two(request)
        order = self._venue.open.get(request.match_info["id"])
        if order is None or order.book.owner != key.key:
            raise Refusal(404, "order not found")
        return order_row(order)

    async def _data_trades(self, request: web.Request) -> Any:
        key, query = await self._level_two(request), request.query
        seen = dict.fromkeys(trade for trade, _ in self._venue.accounts.fills.get(key.key, []))
        after, before = _seconds(query.get("after", "0")), _seconds(query.get("before", "99999999999"))
        rows = [trade_row(trade, key.key) for trade in reversed(seen)
                if after <= trade.match_ms // 1000 <= before]  # fmt: skip
        if "id" in query:
            rows = [row for row in rows if row["id"] == query["id"]]
        if "market" in query:
            rows = [row for row in rows if row["market"] == query["market"]]
        for name in ("asset_id", "maker_address"):
            if name in query:
                rows = [row for row in rows if query[name] == row[name]
                        or any(leg[name] == query[name] for leg in row["maker_orders"])]  # fmt: skip
        return cursor_page(rows, query.get("next_cursor", ""))

    async def _balance(self, request: web.Request) -> Any:
        key, query = await self._level_two(request), request.query
        wallet = self._venue.accounts.wallet(self._wallet_address(key, query.get("signature_type", "0")))
        token = query.get("token_id", "")
        if query.get("asset_type") == "COLLATERAL":
            balance = wallet.cash - wallet.unseen_cash
        elif query.get("asset_type") == "CONDITIONAL":
            lots = wallet.tokens.get(token, 0) - wallet.unseen_tokens.get(token, 0)
            balance = lots * MICROS_PER_LOT
        else:
            raise Refusal(400, "Invalid asset type")
        allowances = {exchange: str(ALLOWANCE_MAX) for exchange in (EXCHANGE_STANDARD, EXCHANGE_NEG_RISK)}
        return {"balance": str(max(0, balance)), "allowances": allowances}

    def _wallet_address(self, key: ApiKey, signature_type: str) -> str:
        """The wallet that this key trades for under a signature type: its own address for type 0, else
        the one its orders named."""
        if signature_type in ("0", ""):
            return key.address
        accounts = self._venue.accounts
        owned = [address for address, owner in accounts.wallet_owner.items() if owner == key.address]
        for address in accounts.wallets:
            if address.lower() in owned:
                return address
        return key.address

    async def _balance_update(self, request: web.Request) -> Any:
        """Read the chain: what did not go through the order book is seen from now on."""
        key, query = await self._level_two(request), request.query
        wallet = self._venue.accounts.wallet(self._wallet_address(key, query.get("signature_type", "0")))
        if query.get("asset_type") == "COLLATERAL":
            wallet.unseen_cash = 0
        else:
            wallet.unseen_tokens.pop(query.get("token_id", ""), None)
        return {}

    async def _rate_tier(self, request: web.Request) -> Any:
        return {"tier": self._limits_of(await self._level_two(request)).tier}


def _seconds(text: str) -> int:
    if not text.isdecimal():
        raise Refusal(400, f"{text!r} is not a time in seconds")
    return int(text)


def _credentials(key: ApiKey) -> dict[str, str]:
    return {"apiKey": key.key, "secret": key.secret, "passphrase": key.passphrase}


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, headers=headers,
                        content_type="application/json")  # fmt: skip


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and bool(_HASH.match(value))
