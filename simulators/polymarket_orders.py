"""An order as it arrives: its form, its signature and its terms, checked in the venue's order.

The texts of the refusals are the venue's (docs.polymarket.com, "Errors"); what this simulator does
not model is refused with a text that says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from simulators.polymarket_account import ApiKey
from simulators.polymarket_markets import ORDER_MIN_LOTS, Market
from simulators.polymarket_matching import (
    BUY,
    LOTS_PER_SHARE,
    PRICE_ONE,
    SELL,
    SIDE_NAMES,
    BookOrder,
    price_text,
    size_text,
)
from simulators.polymarket_signing import (
    TYPE_DEPOSIT_WALLET,
    TYPE_EOA,
    TYPE_SAFE,
    OrderMessage,
    SignatureRefused,
    exchange_of,
    hex_bytes,
    order_hash,
    recover_order_signer,
)

ORDER_TYPES = ("GTC", "GTD", "FOK", "FAK")
MICROS_PER_LOT = 1_000_000 // LOTS_PER_SHARE
SALT_LIMIT = 1 << 53
UINT_LIMIT = 1 << 256
GTD_LEAD_S = 60
_V1_FIELDS = ("taker", "nonce", "feeRateBps")
_SIGNED_FIELDS = ("salt", "maker", "signer", "tokenId", "makerAmount", "takerAmount", "side", "signatureType",
                  "timestamp", "metadata", "builder")  # fmt: skip
_V2_FIELDS = frozenset((*_SIGNED_FIELDS, "expiration", "signature"))
_DIGITS = re.compile(r"[0-9]{1,78}\Z")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")


class Refusal(Exception):
    """An answer other than success: HTTP status, body, headers."""

    def __init__(self, status: int, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers or {}
        self.body: dict[str, Any] = {"error": text, **more}


@dataclass(slots=True, eq=False)
class ClientOrder:
    """An order of an API key from its acceptance on. `budget` is what a market buy may spend."""

    market: Market
    book: BookOrder
    wallet: str
    order_type: str
    post_only: bool
    expiration_s: int
    created_ms: int
    budget: int = 0
    status: str = "LIVE"
    trades: list[str] = field(default_factory=list)
    matched: int = 0
    matched_micros: int = 0

    @property
    def order_id(self) -> str:
        """The EIP-712 hash of the order."""
        return self.book.order_id

    @property
    def original_text(self) -> str:
        """original_size on the wire: shares, for a market buy dollars."""
        if self.budget:
            return f"{self.budget / 1e6:g}"
        return size_text(self.book.lots)


@dataclass(frozen=True, slots=True)
class Submission:
    """A well-formed order with a good signature, not yet checked against the book."""

    message: OrderMessage
    order_id: str
    order_type: str
    post_only: bool
    expiration_s: int
    outcome: int


def parse_submission(body: Any, key: ApiKey, by_token: dict[str, tuple[Market, int]]) -> Submission:
    """Check form, owner, signer and signature of one element of POST /order."""
    if not isinstance(body, dict) or not isinstance(body.get("order"), dict):
        raise Refusal(400, "Invalid order payload")
    raw = body["order"]
    if any(name in raw for name in _V1_FIELDS) or "timestamp" not in raw:
        raise Refusal(400, "order_version_mismatch")
    if set(raw) != _V2_FIELDS:
        raise Refusal(400, "Invalid order payload")
    if body.get("deferExec"):
        raise Refusal(400, "deferExec is not modelled by this simulator: send false")
    order_type, post_only = body.get("orderType"), body.get("postOnly", False)
    if order_type not in ORDER_TYPES or not isinstance(post_only, bool):
        raise Refusal(400, "Invalid order payload")
    if post_only and order_type not in ("GTC", "GTD"):
        raise Refusal(400, "invalid post-only order: only GTC and GTD orders can be post-only")
    message = _message(raw)
    if body.get("owner") != key.key:
        raise Refusal(400, "the order owner has to be the owner of the API KEY")
    found = by_token.get(str(message.token_id))
    if found is None:
        raise Refusal(400, "the market is not yet ready to process new orders")
    market, outcome = found
    if message.builder != bytes(32):
        raise Refusal(400, "builder codes are not modelled by this simulator")
    exchange = exchange_of(market.neg_risk)
    _check_signature(message, exchange, raw["signature"], key)
    order_id = "0x" + order_hash(message, exchange).hex()
    return Submission(message, order_id, order_type, post_only, _integer(raw["expiration"]), outcome)


def _message(raw: dict[str, Any]) -> OrderMessage:
    salt, kind = raw["salt"], raw["signatureType"]
    if raw["side"] not in SIDE_NAMES or type(kind) is not int or kind not in (0, 1, 2, 3):
        raise Refusal(400, "Invalid order payload")
    if type(salt) is not int or not 0 <= salt < SALT_LIMIT:
        raise Refusal(400, "Invalid order payload")
    for name in ("maker", "signer"):
        if not isinstance(raw[name], str) or not _ADDRESS.match(raw[name]):
            raise Refusal(400, "Invalid order payload")
    try:
        metadata, builder = hex_bytes(raw["metadata"], 32), hex_bytes(raw["builder"], 32)
    except SignatureRefused as error:
        raise Refusal(400, "Invalid order payload") from error
    message = OrderMessage(
        salt, raw["maker"], raw["signer"], _integer(raw["tokenId"]), _integer(raw["makerAmount"]),
        _integer(raw["takerAmount"]), SIDE_NAMES.index(raw["side"]), raw["signatureType"],
        _integer(raw["timestamp"]), metadata, builder,
    )  # fmt: skip
    if message.maker_amount <= 0 or message.taker_amount <= 0:
        raise Refusal(400, "Invalid order payload")
    return message


def _integer(value: object) -> int:
    if not isinstance(value, str) or not _DIGITS.match(value) or int(value) >= UINT_LIMIT:
        raise Refusal(400, "Invalid order payload")
    return int(value)


def _check_signature(message: OrderMessage, exchange: str, signature: object, key: ApiKey) -> None:
    deposit = message.signature_type == TYPE_DEPOSIT_WALLET
    maker, signer = message.maker.lower(), message.signer.lower()
    if not deposit and signer != key.address.lower():
        raise Refusal(400, "the order signer address has to be the address of the API KEY")
    if (message.signature_type == TYPE_EOA or deposit) and maker != signer:
        raise Refusal(400, "invalid maker address: it has to be the signer for this signature type")
    if message.signature_type in (1, TYPE_SAFE) and maker == signer:
        raise Refusal(400, "invalid maker address: it has to be the wallet for this signature type")
    try:
        recovered = recover_order_signer(message, exchange, hex_bytes(signature))
    except SignatureRefused as error:
        raise Refusal(400, f"invalid signature: {error}") from error
    if recovered != key.address:
        raise Refusal(400, "invalid signature")


def client_order(
    submission: Submission, market: Market, key: ApiKey, wallet: str, now_ms: int
) -> ClientOrder:
    """The order in the book's units, after the checks of grid, size and precision."""
    message, order_id = submission.message, submission.order_id
    _check_expiration(submission, now_ms)
    immediate = submission.order_type in ("FOK", "FAK")
    dollars, shares = message.maker_amount, message.taker_amount
    if message.side == SELL:
        dollars, shares = shares, dollars
    budget = 0
    if immediate:
        _check_precision(message)
        price = (dollars * PRICE_ONE + shares // 2) // shares
        budget = dollars if message.side == BUY else 0
        lots = shares // MICROS_PER_LOT
    else:
        price, rest = divmod(dollars * PRICE_ONE, shares)
        lots, odd = divmod(shares, MICROS_PER_LOT)
        if rest or odd:
            raise Refusal(400, f"order {order_id} is invalid. The amounts have too many decimals")
    if price % market.tick or not market.tick <= price <= PRICE_ONE - market.tick:
        text = f"order {order_id} is invalid. Price ({price_text(price)}) breaks minimum tick size rule: "
        raise Refusal(400, text + price_text(market.tick))
    if lots < ORDER_MIN_LOTS and not budget:
        text = f"order {order_id} is invalid. Size ({size_text(lots)}) lower than the minimum: "
        raise Refusal(400, text + size_text(ORDER_MIN_LOTS))
    book = BookOrder(order_id, key.key, submission.outcome, message.side, price, lots, lots)
    return ClientOrder(market, book, wallet, submission.order_type, submission.post_only,
                       submission.expiration_s, now_ms, budget)  # fmt: skip


def _check_expiration(submission: Submission, now_ms: int) -> None:
    """GTD ends about 60 seconds before its expiration, so it must lie further ahead than that."""
    if submission.order_type == "GTD":
        if submission.expiration_s <= now_ms // 1000 + GTD_LEAD_S:
            raise Refusal(400, "invalid expiration")
    elif submission.expiration_s:
        raise Refusal(400, "invalid expiration")


def _check_precision(message: OrderMessage) -> None:
    """Market orders: what is given has at most 2 decimals, what is taken at most 4."""
    if message.maker_amount % 10_000 or (message.side == SELL and message.taker_amount % 100):
        raise Refusal(400, "invalid amounts, a market order's maker amount supports a max accuracy of 2 "
                           "decimals, taker amount a max of 4 decimals")  # fmt: skip
