"""What every request must pass before it is obeyed: key, signature, clock, and the rate limits.

Sources: Binance USD-M futures docs, "General Info" (signature over query string + body exactly as sent;
`timestamp < serverTime + 1000 && serverTime - timestamp <= recvWindow`) and "WebSocket API General
Info" (signature over the parameters sorted by name).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Any
from urllib.parse import parse_qsl, unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from simulators.binance_account import Key
from simulators.binance_params import is_whole
from simulators.binance_rules import ORDERS_1M, ORDERS_10S, Profile, VenueError
from simulators.clock import Clock
from simulators.faults import Faults

RECV_WINDOW_DEFAULT = 5000
RECV_WINDOW_MAX = 60000
AHEAD_MAX_MS = 1000
REQUESTS_BEFORE_BAN = 200
BAN_MS = 120_000
_SIGNATURE = re.compile(r"(^|&)signature=([^&]*)")


def key_of(keys: dict[str, Key], api_key: str | None) -> Key:
    """The key that a request names."""
    if not api_key or not re.fullmatch(r"[A-Za-z0-9]{20,128}", api_key):
        raise VenueError(-2014)
    key = keys.get(api_key)
    if key is None:
        raise VenueError(-2015)
    return key


def check_signature(key: Key, prehash: str, signature: str) -> None:
    """HMAC-SHA256 in hex, or Ed25519 in base64."""
    if not signature:
        raise VenueError(-1102, "signature")
    if key.secret:
        good = hmac.new(key.secret.encode(), prehash.encode(), hashlib.sha256).hexdigest()
        if hmac.compare_digest(good.encode(), signature.lower().encode()):
            return
    else:
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public_hex))
            public.verify(base64.b64decode(signature, validate=True), prehash.encode())
            return
        except (InvalidSignature, binascii.Error, ValueError):
            pass
    raise VenueError(-1022)


def check_clock(params: dict[str, str], clock: Clock) -> None:
    """The gateway's clock check."""
    text = params.get("timestamp", "")
    if not is_whole(text):
        raise VenueError(-1102, "timestamp")
    window_text = params.get("recvWindow", str(RECV_WINDOW_DEFAULT))
    if not is_whole(window_text) or int(window_text) > RECV_WINDOW_MAX:
        raise VenueError(-1130, "recvWindow")
    timestamp, now = int(text), clock.now_ms()
    if timestamp >= now + AHEAD_MAX_MS:
        raise VenueError(-1021, text="Timestamp for this request was 1000ms ahead of the server's time.")
    if now - timestamp > int(window_text):
        raise VenueError(-1021)


def split_signature(query: str, body: str) -> tuple[str, str]:
    """(prehash, signature): the literal query and body without the signature parameter."""
    found = _SIGNATURE.search(body) or _SIGNATURE.search(query)
    prehash = _SIGNATURE.sub("", query) + _SIGNATURE.sub("", body)
    return prehash, unquote(found.group(2)) if found else ""


def rest_params(query: str, body: str) -> dict[str, str]:
    """All parameters; the query wins over the body."""
    try:
        params = dict(parse_qsl(body, keep_blank_values=True, strict_parsing=bool(body)))
        params.update(parse_qsl(query, keep_blank_values=True))
    except ValueError as error:
        raise VenueError(-1102, "body") from error
    return params


def ws_prehash(params: dict[str, str]) -> str:
    """The parameters without the signature, sorted by name."""
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")


class RateLimits:
    """Request weight per minute, new orders per 10 s and per minute; fixed windows as at the venue."""

    def __init__(self, profile: Profile, clock: Clock, faults: Faults) -> None:
        self._limit = profile.weight_limit
        self._clock = clock
        self._faults = faults
        self._weight = self._orders_1m = self._orders_10s = 0
        self._minute = self._ten_seconds = 0
        self._refused = 0
        self._banned_until = 0

    def charge(self, weight: int) -> None:
        """Count request weight; -1003 over the limit, a ban when that is ignored."""
        self._roll()
        now = self._clock.now_ms()
        if self._faults.take("ban_418"):
            self._banned_until = now + 1000 * max(1, self._faults.value("ban_seconds"))
        if now < self._banned_until:
            text = f"Way too many requests; IP(127.0.0.1) banned until {self._banned_until}. "
            raise VenueError(
                -1003, status=418, text=text + "Please use the websocket for live updates to avoid bans."
            )
        self._weight += weight
        if self._weight > self._limit or self._faults.take("rate_limit_429"):
            self._refused += 1
            if self._refused > REQUESTS_BEFORE_BAN:
                self._banned_until = now + BAN_MS
            raise VenueError(-1003, self._limit)

    def charge_orders(self, ten_seconds: int = 1, minute: int = 1) -> None:
        """Count new orders; -1015 over either limit."""
        self._roll()
        if self._orders_10s + ten_seconds > ORDERS_10S:
            raise VenueError(-1015, ORDERS_10S, "TEN_SECONDS")
        if self._orders_1m + minute > ORDERS_1M:
            raise VenueError(-1015, ORDERS_1M, "MINUTE")
        self._orders_10s += ten_seconds
        self._orders_1m += minute

    def headers(self, orders: bool) -> dict[str, str]:
        """Response headers of a REST call."""
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight)}
        if orders:
            headers["X-MBX-ORDER-COUNT-10S"] = str(self._orders_10s)
            headers["X-MBX-ORDER-COUNT-1M"] = str(self._orders_1m)
        return headers

    def ws_view(self, orders: bool) -> list[dict[str, Any]]:
        """The `rateLimits` of a WS API answer."""
        self._roll()
        minute = {"interval": "MINUTE", "intervalNum": 1}
        view: list[dict[str, Any]] = []
        if orders:
            view.append({"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10,
                         "limit": ORDERS_10S, "count": self._orders_10s})  # fmt: skip
            view.append({"rateLimitType": "ORDERS"} | minute | {"limit": ORDERS_1M, "count": self._orders_1m})
        view.append(
            {"rateLimitType": "REQUEST_WEIGHT"} | minute | {"limit": self._limit, "count": self._weight}
        )
        return view

    def _roll(self) -> None:
        now = self._clock.now_ms()
        if now // 60_000 != self._minute:
            self._minute, self._weight, self._orders_1m, self._refused = now // 60_000, 0, 0, 0
        if now // 10_000 != self._ten_seconds:
            self._ten_seconds, self._orders_10s = now // 10_000, 0
