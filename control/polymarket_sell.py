"""Selling outcome tokens in an emergency: the signed order and the slices, without the bot.

An order carries an EIP-712 signature of the wallet (docs.polymarket.com, "Create order"; CTF Exchange
V2: domain "Polymarket CTF Exchange", version "2"). Loaded only for `control kill --flatten`, so that
a plain kill does not wait for cryptography. Only wallets that sign for themselves (type 0) are known
here; another kind keeps its tokens, and the report says so.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from coincurve import PrivateKey
from eth_utils.crypto import keccak

CHAIN_ID = 137
EXCHANGE = "0xE111180000d2663C0091e4f400237545B87B996B"
EXCHANGE_NEG_RISK = "0xe2222d279d744050d28e00520010520000310F59"
SELL = 1
MICROS = 1_000_000

_DOMAIN_TYPE = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ORDER_TYPE = (
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    b"uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)


@dataclass(frozen=True, slots=True)
class SellOrder:
    """A sale: shares given, dollars asked, both with six decimals."""

    salt: int
    address: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: int
    timestamp_ms: int


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address(text: str) -> bytes:
    return bytes(12) + bytes.fromhex(text.removeprefix("0x"))


def order_digest(order: SellOrder, exchange: str) -> bytes:
    """The hash that is signed, and by which the venue knows the order."""
    domain = keccak(
        keccak(_DOMAIN_TYPE)
        + keccak(b"Polymarket CTF Exchange")
        + keccak(b"2")
        + _word(CHAIN_ID)
        + _address(exchange)
    )
    contents = keccak(
        keccak(_ORDER_TYPE)
        + _word(order.salt)
        + _address(order.address) * 2
        + _word(order.token_id)
        + _word(order.maker_amount)
        + _word(order.taker_amount)
        + _word(order.side)
        + _word(0)
        + _word(order.timestamp_ms)
        + bytes(64)
    )
    return bytes(keccak(b"\x19\x01" + domain + contents))


def sign(digest: bytes, private_key: str) -> str:
    """The 65-byte signature, v of 27 or 28."""
    raw = PrivateKey.from_hex(private_key.removeprefix("0x")).sign_recoverable(digest, hasher=None)
    return "0x" + raw[:64].hex() + f"{raw[64] + 27:02x}"


def sale(
    book: dict[str, Any],
    token_id: str,
    held_micros: int,
    keys: dict[str, Any],
    collar: Decimal,
    cap_usd: Decimal,
) -> tuple[bytes | None, str, str]:
    """The body of one fill-and-kill sale against the book's bids; else None, and why there is none now, or
    why there can be none: then it is dust.

    The limit price lies the collar below the best bid, the size is capped and on the venue's grid:
    a market order gives at most 2 decimals and takes at most 4."""
    tick, least = Decimal(str(book["tick_size"])), Decimal(str(book["min_order_size"]))
    if held_micros < least * MICROS:
        return None, "", f"below the minimum of {least.normalize():f}"
    bids = [Decimal(str(level["price"])) for level in book.get("bids") or []]
    if not bids:
        return None, "nobody bids", ""
    floor = (max(bids) * (1 - collar) / tick).to_integral_value(ROUND_FLOOR) * tick
    price = max(floor, tick)
    cap = max(least, (cap_usd / price).to_integral_value(ROUND_FLOOR))
    # Whole shares where possible: then no product has too many decimals.
    held = Decimal(held_micros) / MICROS
    shares = min(held, cap).to_integral_value(ROUND_FLOOR)
    if shares < least:  # a minimum that is no whole number of shares
        return None, "", f"below the minimum of {least.normalize():f} in whole shares"
    taker = (shares * price * MICROS / 100).to_integral_value(ROUND_CEILING) * 100
    order = SellOrder(
        salt=secrets.randbelow(1 << 52),
        address=keys["address"],
        token_id=int(token_id),
        maker_amount=int(shares * MICROS),
        taker_amount=int(taker),
        side=SELL,
        timestamp_ms=time.time_ns() // 1_000_000,
    )
    exchange = EXCHANGE_NEG_RISK if book.get("neg_risk") else EXCHANGE
    return _body(order, sign(order_digest(order, exchange), keys["private_key"]), keys["api_key"]), "", ""


def _body(order: SellOrder, signature: str, owner: str) -> bytes:
    zero = "0x" + "0" * 64
    signed = {
        "builder": zero, "expiration": "0", "maker": order.address, "makerAmount": str(order.maker_amount),
        "metadata": zero, "salt": order.salt, "side": "SELL", "signature": signature, "signatureType": 0,
        "signer": order.address, "takerAmount": str(order.taker_amount), "timestamp": str(order.timestamp_ms),
        "tokenId": str(order.token_id),
    }  # fmt: skip
    content = {"deferExec": False, "order": signed, "orderType": "FAK", "owner": owner}
    return json.dumps(content, separators=(",", ":")).encode()
