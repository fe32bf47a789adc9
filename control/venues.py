"""The supervisor's and the kill command's own connection to each venue: cancel all, query, verify.

These clients share no code and no connection with the engine or the bot, so that whatever went
wrong there does not stand in the way here. They know only what an emergency needs. Every call has a
timeout; a venue that cannot be reached raises VenueError, which callers report as UNVERIFIED.

Sources: Binance USD-M futures documentation (signed endpoints: HMAC-SHA256 over the parameters as
sent; DELETE /fapi/v1/allOpenOrders per symbol; openOrders without symbol costs weight 40) and
docs.polymarket.com (L2 headers: urlsafe base64 HMAC over timestamp + method + path + body, the
query string is not signed; DELETE /cancel-all answers canceled and not_canceled; /data/orders is
paged with MA== … LTE=).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlencode

import httpx

from control.printable import printable
from control.records import read_json
from control.shapes import READY

if TYPE_CHECKING:
    from control.flight import Order

VENUES = ("binance", "polymarket")
TRADES_PAGE, WEEK_MS = 1000, 7 * 24 * 3600 * 1000

# A fifth of what an address may ask Binance for in a minute (exchangeInfo, REQUEST_WEIGHT 2400): the rest is
# the trading process's. The bucket holds what the first looks of an emergency cost, then fills slowly, so
# that no minute sees more than their sum.
WEIGHT_SHARE = 480
WEIGHT_AT_ONCE = 200
WEIGHT_ALL_SYMBOLS = 40


class VenueError(Exception):
    """The venue could not be reached, or its answer could not be used. `code`: the venue's own number."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Throttled(VenueError):
    """429 or 418: the venue wants to be left alone for `pause_s`."""

    def __init__(self, text: str, pause_s: float) -> None:
        super().__init__(text)
        self.pause_s = pause_s


class Pace:
    """How much weight may still be spent; whoever looks again and again asks here first."""

    def __init__(self) -> None:
        self._left = float(WEIGHT_AT_ONCE)
        self._at = time.monotonic()

    def spend(self, weight: float) -> float:
        """It is spent. Gives the seconds until what was spent too much has come in again."""
        now = time.monotonic()
        rate = (WEIGHT_SHARE - WEIGHT_AT_ONCE) / 60
        self._left = min(WEIGHT_AT_ONCE, self._left + (now - self._at) * rate) - weight
        self._at = now
        return max(0.0, -self._left / rate)


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """One order resting at a venue, in the venue's own words."""

    order_id: str
    client_order_id: str
    symbol: str
    side: str
    price: str
    quantity: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What an answer to cancel-all told: the ids that it names, and the orders seen open meanwhile."""

    ids: set[str]
    seen: list[OpenOrder]


@dataclass(frozen=True, slots=True)
class Holding:
    """What the venue says we hold: signed quantity as text."""

    symbol: str
    quantity: str


class Venue(Protocol):
    """What an emergency needs from a venue."""

    name: str
    names_cancelled: bool  # its answer to cancel-all says which
    fate_weight: float  # of asking for one order
    pace: Pace

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def open_orders(self, symbols: Iterable[str] = ()) -> list[OpenOrder]: ...
    async def fates(self, orders: Sequence[Order], since_s: float) -> dict[Order, str]: ...
    def pass_weight(self, symbols: int, everywhere: bool) -> float: ...
    async def cancel_all(self, symbols: Iterable[str], everywhere: bool = True) -> Cancelled: ...
    async def fills_since(self, wall_s: float, symbols: Iterable[str]) -> int: ...
    async def ping(self) -> float: ...


def tls_context(ca: str | None) -> ssl.SSLContext:
    """Verified TLS 1.2 or newer; a simulator's own certificate authority when one is named."""
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Http:
    """One keep-alive connection pool to one base address."""

    def __init__(self, base: str, ca: str | None, timeout_s: float) -> None:
        verify: ssl.SSLContext | bool = tls_context(ca) if base.startswith("https") else False
        self._client = httpx.AsyncClient(
            base_url=base, verify=verify, timeout=timeout_s, trust_env=False, http1=True, http2=False
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def send(
        self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Any]:
        """Status and parsed JSON. VenueError when there is no answer or no JSON in it."""
        try:
            answer = await self._client.request(method, url, headers=headers, content=body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reason = str(error) or type(error).__name__
            raise VenueError(f"no answer: {reason}") from None
        try:
            content = answer.json()
        except (ValueError, RecursionError):
            content = None
        if answer.status_code in (418, 429):
            pause_s = _pause_s(answer.headers.get("retry-after"), content)
            raise Throttled(f"HTTP {answer.status_code}: {_message(content)}", pause_s)
        if content is None and answer.text.strip() != "null":
            raise VenueError(f"HTTP {answer.status_code} without JSON")
        return answer.status_code, content


def _pause_s(retry_after: str | None, content: Any) -> float:
    """How long to leave a venue alone: as it says, be it in the words of a ban, else one second."""
    if retry_after is not None and retry_after.isdigit():
        return float(retry_after)
    told = re.search(r"banned until (\d{13})", _message(content))
    return max(1.0, int(told[1]) / 1000 - time.time()) if told else 1.0


class BinanceVenue:
    """Binance USD-M futures by REST and HMAC."""

    name = "binance"
    names_cancelled = False
    fate_weight = 1.0

    def __init__(self, ready: dict[str, Any], timeout_s: float) -> None:
        keys = ready["credentials"]
        self._key: str = keys["api_key"]
        self._secret: bytes = keys["api_secret"].encode()
        self._http = _Http(ready["rest"], ready.get("ca"), timeout_s)
        self._offset_ms = 0
        self.pace = Pace()

    def __repr__(self) -> str:
        return "BinanceVenue(***)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def ping(self) -> float:
        """The venue's clock minus ours, in seconds."""
        sent = time.time()
        status, answer = await self._http.send("GET", "/fapi/v1/time")
        if status != 200:
            raise VenueError(f"HTTP {status}: {_message(answer)}")
        offset_s: float = answer["serverTime"] / 1000 - (sent + time.time()) / 2
        self._offset_ms = round(offset_s * 1000)
        return offset_s

    async def open_orders(self, symbols: Iterable[str] = ()) -> list[OpenOrder]:
        """Every open order of the account: in these symbols, or when none is named in all."""
        named: list[dict[str, str]] = [{"symbol": symbol} for symbol in symbols] or [{}]
        answers = await asyncio.gather(
            *(self._signed("GET", "/fapi/v1/openOrders", parameters) for parameters in named)
        )
        return [
            OpenOrder(
                str(order["orderId"]),
                order["clientOrderId"],
                order["symbol"],
                order["side"],
                order["price"],
                order["origQty"],
            )
            for answer in answers
            for order in answer
        ]

    async def fates(self, orders: Sequence[Order], since_s: float) -> dict[Order, str]:
        """What the venue says of each order that it knows by our id: NEW, FILLED, CANCELED … Throttled when
        it wants no questions now: those that were not asked yet are not asked."""
        try:
            async with asyncio.TaskGroup() as group:
                asked = {order: group.create_task(self._fate(order)) for order in orders}
        except ExceptionGroup as refused:
            raise refused.exceptions[0] from None
        return {order: task.result() for order, task in asked.items() if task.result()}

    async def _fate(self, order: Order) -> str:
        """ "" when nothing is known of it: the venue does not know it, or did not say."""
        if not order.query_id:
            return ""
        parameters = {"symbol": order.symbol, "origClientOrderId": order.query_id}
        try:
            answer = await self._signed("GET", "/fapi/v1/order", parameters)
            return str(answer["status"])
        except Throttled:
            raise
        except (VenueError, TimeoutError, LookupError, TypeError, ValueError):
            return ""

    def pass_weight(self, symbols: int, everywhere: bool) -> float:
        """What one cancel-all in so many symbols costs, with the lists before and after it."""
        lists = (everywhere or not symbols) + (not symbols)
        return 3 * symbols + lists * WEIGHT_ALL_SYMBOLS

    async def cancel_all(self, symbols: Iterable[str], everywhere: bool = True) -> Cancelled:
        """Cancel everything in the symbols named, and everywhere: in those with open orders too. The answer
        names no orders; those seen open are told."""
        wanted = set(symbols)
        listing = self.open_orders(() if everywhere else wanted)
        *done, seen = await asyncio.gather(
            *(self._cancel_symbol(symbol) for symbol in wanted), listing, return_exceptions=True
        )
        for outcome in (*done, seen):
            if isinstance(outcome, BaseException):
                raise outcome
        assert isinstance(seen, list)
        left = {order.symbol for order in seen} - wanted
        await asyncio.gather(*(self._cancel_symbol(symbol) for symbol in left))
        return Cancelled(set(), seen)

    async def _cancel_symbol(self, symbol: str) -> None:
        await self._signed("DELETE", "/fapi/v1/allOpenOrders", {"symbol": symbol})

    async def fills_since(self, wall_s: float, symbols: Iterable[str]) -> int:
        """How many executions the account has had since then (up to 1000 a symbol)."""
        start = str(round(wall_s * 1000) + self._offset_ms)
        answers = await asyncio.gather(
            *(
                self._signed("GET", "/fapi/v1/userTrades", {"symbol": symbol, "startTime": start})
                for symbol in set(symbols)
            )
        )
        return sum(len(answer) for answer in answers)

    async def positions(self) -> list[Holding]:
        """Every position that is not flat."""
        rows = await self._signed("GET", "/fapi/v3/positionRisk", {})
        return [
            Holding(row["symbol"], row["positionAmt"])
            for row in rows
            if row["positionAmt"].strip("-0.") != ""
        ]

    async def trades(self, symbol: str, since_ms: int) -> list[dict[str, Any]]:
        """Every execution of the account in a symbol since then, oldest first, all pages. A question by time
        shows seven days at most (userTrades), and from an id everything."""
        start, rows = since_ms, list[dict[str, Any]]()
        while not rows and start <= time.time() * 1000 + self._offset_ms:
            asked = {"symbol": symbol, "startTime": str(start), "limit": str(TRADES_PAGE)}
            rows = await self._signed("GET", "/fapi/v1/userTrades", asked)
            start += WEEK_MS
        page = rows
        while len(page) == TRADES_PAGE:
            after = {"symbol": symbol, "fromId": str(page[-1]["id"] + 1), "limit": str(TRADES_PAGE)}
            page = await self._signed("GET", "/fapi/v1/userTrades", after)
            rows = rows + page
        return rows

    async def top(self, symbol: str) -> tuple[str, str]:
        """Best bid and best ask, as text."""
        status, answer = await self._http.send("GET", f"/fapi/v1/ticker/bookTicker?symbol={symbol}")
        if status == 200:
            return answer["bidPrice"], answer["askPrice"]
        status, answer = await self._http.send("GET", f"/fapi/v1/depth?symbol={symbol}&limit=5")
        if status != 200 or not answer["bids"] or not answer["asks"]:
            raise VenueError(f"no price for {symbol}: HTTP {status} {_message(answer)}")
        return answer["bids"][0][0], answer["asks"][0][0]

    async def filters(self, symbol: str) -> dict[str, dict[str, str]]:
        """The symbol's exchangeInfo filters by type."""
        status, answer = await self._http.send("GET", "/fapi/v1/exchangeInfo")
        if status != 200:
            raise VenueError(f"HTTP {status}: {_message(answer)}")
        for row in answer["symbols"]:
            if row["symbol"] == symbol:
                return {entry["filterType"]: entry for entry in row["filters"]}
        raise VenueError(f"{symbol} is not listed")

    async def reduce(self, symbol: str, side: str, quantity: str, price: str, client_id: str) -> None:
        """One reduce-only IOC limit order: it can only make the position smaller."""
        await self._signed(
            "POST",
            "/fapi/v1/order",
            {
                "symbol": symbol,
                "side": side,
                "type": "LIMIT",
                "timeInForce": "IOC",
                "quantity": quantity,
                "price": price,
                "reduceOnly": "true",
                "newClientOrderId": client_id,
            },
        )

    async def _signed(self, method: str, path: str, parameters: dict[str, str]) -> Any:
        for attempt in range(2):
            stamped = {
                **parameters,
                "recvWindow": "1500",
                "timestamp": str(round(time.time() * 1000) + self._offset_ms),
            }
            query = urlencode(stamped)
            signature = hmac.new(self._secret, query.encode(), hashlib.sha256).hexdigest()
            status, answer = await self._http.send(
                method, f"{path}?{query}&signature={signature}", {"X-MBX-APIKEY": self._key}
            )
            if status == 200:
                return answer
            # -1021: the timestamp is outside the window; measure the venue's clock and sign again.
            if attempt == 0 and isinstance(answer, dict) and answer.get("code") in (-1021, -5028):
                await self.ping()
                continue
            break
        code = answer.get("code") if isinstance(answer, dict) else 0
        raise VenueError(f"HTTP {status}: {_message(answer)}", code if isinstance(code, int) else 0)


class PolymarketVenue:
    """The Polymarket CLOB by REST and L2 headers."""

    name = "polymarket"
    names_cancelled = True
    fate_weight = 1 / 16

    def __init__(self, ready: dict[str, Any], timeout_s: float) -> None:
        keys = ready["credentials"]
        self._address: str = keys["address"] if "address" in keys else _address_of(keys["private_key"])
        self.wallet: dict[str, Any] = {**keys, "address": self._address}  # with the private key, for flatten
        self._key: str = keys["api_key"]
        self._secret: bytes = base64.urlsafe_b64decode(keys["api_secret"])
        self._passphrase: str = keys["passphrase"]
        self._http = _Http(ready["clob"], ready.get("ca"), timeout_s)
        self._data = _Http(ready["data"], ready.get("ca"), timeout_s) if ready.get("data") else None
        self.pace = Pace()

    def __repr__(self) -> str:
        return "PolymarketVenue(***)"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()
        if self._data is not None:
            await self._data.close()

    async def ping(self) -> float:
        """The venue's clock minus ours, in seconds (the venue tells whole seconds)."""
        sent = time.time()
        status, answer = await self._http.send("GET", "/time")
        if status != 200:
            raise VenueError(f"HTTP {status}: {_message(answer)}")
        return float(answer) - (sent + time.time()) / 2

    async def open_orders(self, symbols: Iterable[str] = ()) -> list[OpenOrder]:
        """Every active order of the key, all pages, in all markets."""
        return [
            OpenOrder(
                row["id"],
                row["id"],
                row["asset_id"],
                row["side"],
                str(row["price"]),
                str(row["original_size"]),
            )
            for row in await self._pages("/data/orders", "")
        ]

    async def fates(self, orders: Sequence[Order], since_s: float) -> dict[Order, str]:
        """What the venue says of each order that it knows by its hash: a single one is told of only while it
        is active (docs, GET /data/order), so that trades tell of the others. What was cancelled before it
        was asked for shows in neither."""
        wanted = {order.query_id.lower(): order for order in orders if order.query_id}
        if not wanted:
            return {}
        listed, trades = await asyncio.gather(
            asyncio.gather(*(self._active(name) for name in wanted)),
            self._pages("/data/trades", f"after={max(0, int(since_s))}"),
        )
        found = {order: "LIVE" for order, there in zip(wanted.values(), listed, strict=True) if there}
        for trade in trades:
            legs = [trade.get("taker_order_id")] + [
                leg.get("order_id") for leg in trade.get("maker_orders") or []
            ]
            for name in legs:
                if isinstance(name, str) and name.lower() in wanted:
                    found[wanted[name.lower()]] = "MATCHED"
        return found

    async def _active(self, order_id: str) -> bool:
        try:
            answer = await self._signed("GET", f"/data/order/{order_id}")
        except VenueError as error:
            if error.code == 404:
                return False
            raise
        return isinstance(answer, dict) and str(answer.get("id", "")).lower() == order_id

    def pass_weight(self, symbols: int, everywhere: bool) -> float:
        """In the same measure as the other venue's: counted against the scarcest limit, 250 cancel-alls in
        10 s (docs, rate limits), two looks a second are a twelfth."""
        return 2.0

    async def cancel_all(self, symbols: Iterable[str], everywhere: bool = True) -> Cancelled:
        """Cancel everything of the key, in all markets. The answer names what was cancelled."""
        answer = await self._signed("DELETE", "/cancel-all")
        if not isinstance(answer, dict):
            raise VenueError("an unexpected answer to cancel-all")
        return Cancelled({str(name).lower() for name in answer.get("canceled") or []}, [])

    async def fills_since(self, wall_s: float, symbols: Iterable[str]) -> int:
        """How many trades the account has had since then."""
        return len(await self._pages("/data/trades", f"after={int(wall_s)}"))

    async def token_balance(self, token: str) -> int:
        """What the wallet holds of an outcome token, in millionths of a share."""
        query = urlencode({"asset_type": "CONDITIONAL", "token_id": token, "signature_type": "0"})
        answer = await self._signed("GET", "/balance-allowance", query)
        return int(answer["balance"])

    async def trades(self, since_s: int) -> list[dict[str, Any]]:
        """Every trade of the account since then, by the venue's clock, all pages."""
        return await self._pages("/data/trades", f"after={max(0, since_s)}")

    async def listed_tokens(self) -> set[str]:
        """The outcome tokens that the Data API says the wallet holds. It reads the chain and lags behind
        the matching engine, so it tells where to look and never how much there is."""
        if self._data is None:
            raise VenueError("the address of its Data API is not known")
        tokens: set[str] = set()
        cursor = ""
        for _ in range(100):
            query = {"user": self._address, "limit": "1000", **({"cursor": cursor} if cursor else {})}
            status, answer = await self._data.send("GET", f"/v2/positions?{urlencode(query)}")
            if status != 200:
                raise VenueError(f"HTTP {status}: {_message(answer)}")
            tokens |= {str(row["token_id"]) for row in answer["data"]}
            cursor = answer["pagination"]["next_cursor"] or ""
            if not cursor:
                return tokens
        raise VenueError("the pages of positions do not end")

    async def fee_terms(self, condition: str) -> tuple[str, int]:
        """A market's taker fee: rate and exponent of the schedule (`fd` of /clob-markets)."""
        status, answer = await self._http.send("GET", f"/clob-markets/{condition}")
        if status != 200 or not isinstance(answer, dict):
            raise VenueError(f"HTTP {status}: {_message(answer)}")
        terms = answer.get("fd") or {}
        return str(terms.get("r") or 0), int(terms.get("e") or 1)

    def is_ours(self, leg: dict[str, Any]) -> bool:
        """Whether this side of a trade belongs to our key or our wallet."""
        return leg.get("owner") == self._key or str(leg.get("maker_address")).lower() == self._address.lower()

    async def book(self, token: str) -> dict[str, Any]:
        """The token's order book with its tick and minimum size."""
        status, answer = await self._http.send("GET", f"/book?token_id={token}")
        if status != 200 or not isinstance(answer, dict):
            raise VenueError(f"HTTP {status}: {_message(answer)}")
        return answer

    async def submit(self, body: bytes) -> None:
        """POST one signed order; VenueError when the venue refuses it."""
        answer = await self._signed("POST", "/order", body=body)
        if not answer.get("success") or answer.get("errorMsg"):
            raise VenueError(_message(answer))

    async def _pages(self, path: str, query: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        cursor = "MA=="
        for _ in range(100):
            joined = "&".join(part for part in (query, urlencode({"next_cursor": cursor})) if part)
            answer = await self._signed("GET", path, joined)
            if isinstance(answer, list):
                return rows + answer
            rows += answer.get("data") or []
            cursor = answer.get("next_cursor") or "LTE="
            if cursor == "LTE=":
                return rows
        raise VenueError("the venue's pages do not end")

    async def _signed(self, method: str, path: str, query: str = "", body: bytes = b"") -> Any:
        stamp = str(int(time.time()))
        signed = f"{stamp}{method}{path}".encode() + body
        digest = hmac.new(self._secret, signed, hashlib.sha256).digest()
        headers = {
            "POLY_ADDRESS": self._address,
            "POLY_API_KEY": self._key,
            "POLY_PASSPHRASE": self._passphrase,
            "POLY_TIMESTAMP": stamp,
            "POLY_SIGNATURE": base64.urlsafe_b64encode(digest).decode(),
        }
        url = f"{path}?{query}" if query else path
        status, answer = await self._http.send(method, url, headers, body or None)
        if status != 200:
            raise VenueError(f"HTTP {status}: {_message(answer)}", status)
        return answer


def _address_of(private_key: str) -> str:
    """The signer's address, which the headers name; a key file need not tell it."""
    from eth_account import Account

    return str(Account.from_key(private_key).address)


def _message(answer: Any) -> str:
    if isinstance(answer, dict):
        text = answer.get("msg") or answer.get("error") or answer.get("errorMsg") or answer
        return printable(str(text))[:160]
    return printable(str(answer))[:160]


def open_venue(name: str, ready: dict[str, Any], timeout_s: float) -> BinanceVenue | PolymarketVenue:
    """The client of a venue from its ready line. VenueError when the line lacks something."""
    try:
        return BinanceVenue(ready, timeout_s) if name == "binance" else PolymarketVenue(ready, timeout_s)
    except (KeyError, ValueError, TypeError, AttributeError, OSError, httpx.InvalidURL) as error:
        raise VenueError(f"its address or key is incomplete ({type(error).__name__}: {error})") from None


def read_ready(path: Path) -> dict[str, Any] | None:
    """A venue's ready line as the supervisor kept it, or None."""
    return read_json(path, READY)
