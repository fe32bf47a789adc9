"""What Polymarket signs and how the venue checks it, written from the documentation.

Three layers (docs.polymarket.com, "Authentication"; CTF Exchange V2): L1 is an EIP-712 message that
proves a wallet and buys an API key; L2 is an HMAC over each request; every order carries an EIP-712
signature of its own, and the hash that was signed is the order's id.

Only the primitives come from libraries: keccak (eth_utils) and secp256k1 recovery (coincurve).
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import hmac
from dataclasses import dataclass

from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

CHAIN_ID = 137
EXCHANGE_STANDARD = "0xE111180000d2663C0091e4f400237545B87B996B"
EXCHANGE_NEG_RISK = "0xe2222d279d744050d28e00520010520000310F59"

TYPE_EOA, TYPE_PROXY, TYPE_SAFE, TYPE_DEPOSIT_WALLET = 0, 1, 2, 3

_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_AUTH_DOMAIN_TYPE = "EIP712Domain(string name,string version,uint256 chainId)"
_AUTH_TYPE = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_AUTH_MESSAGE = "This message attests that I control the given wallet"
ORDER_TYPE = (
    "Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    "uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
# EIP-712 encodes the type of a struct followed by the types it refers to.
_NESTED_TYPE = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,"
    "address verifyingContract,bytes32 salt)" + ORDER_TYPE
)


class SignatureRefused(ValueError):
    """The signature does not have the form that its type demands."""


@dataclass(frozen=True, slots=True)
class OrderMessage:
    """The signed part of an order. Amounts are integers with 6 decimals; side 0 buys, 1 sells."""

    salt: int
    maker: str
    signer: str
    token_id: int
    maker_amount: int
    taker_amount: int
    side: int
    signature_type: int
    timestamp: int
    metadata: bytes
    builder: bytes


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address_word(address: str) -> bytes:
    raw = bytes.fromhex(address[2:])
    if len(raw) != 20:
        raise SignatureRefused(f"{address} is not an address")
    return raw.rjust(32, b"\0")


def _hash_text(text: str) -> bytes:
    return bytes(keccak(text.encode()))


_ORDER_TYPE_HASH = _hash_text(ORDER_TYPE)
_NESTED_TYPE_HASH = _hash_text(_NESTED_TYPE)


@functools.cache
def domain_separator(exchange: str, version: str = "2") -> bytes:
    """The EIP-712 domain of one exchange contract on Polygon."""
    parts = (_hash_text(_DOMAIN_TYPE), _hash_text("Polymarket CTF Exchange"), _hash_text(version),
             _word(CHAIN_ID), _address_word(exchange))  # fmt: skip
    return bytes(keccak(b"".join(parts)))


def exchange_of(neg_risk: bool) -> str:
    """The contract under whose domain orders of such a market are signed."""
    return EXCHANGE_NEG_RISK if neg_risk else EXCHANGE_STANDARD


def order_struct_hash(order: OrderMessage) -> bytes:
    """hashStruct(Order)."""
    parts = (_ORDER_TYPE_HASH, _word(order.salt), _address_word(order.maker), _address_word(order.signer),
             _word(order.token_id), _word(order.maker_amount), _word(order.taker_amount), _word(order.side),
             _word(order.signature_type), _word(order.timestamp), order.metadata, order.builder)  # fmt: skip
    return bytes(keccak(b"".join(parts)))


def order_hash(order: OrderMessage, exchange: str) -> bytes:
    """The digest that types 0 to 2 sign, and the venue's id of the order for every type."""
    return bytes(keccak(b"\x19\x01" + domain_separator(exchange) + order_struct_hash(order)))


def recover(digest: bytes, signature: bytes) -> str:
    """The checksummed address whose key made this 65-byte signature over the digest."""
    if len(signature) != 65 or signature[64] not in (0, 1, 27, 28):
        raise SignatureRefused("a signature is 65 bytes: r, s and v of 27 or 28")
    recovery = signature[64] - 27 if signature[64] >= 27 else signature[64]
    try:
        key = PublicKey.from_signature_and_message(signature[:64] + bytes([recovery]), digest, hasher=None)
    except Exception as error:
        raise SignatureRefused("the signature is not a point of the curve") from error
    return str(to_checksum_address(keccak(key.format(compressed=False)[1:])[12:]))


def recover_order_signer(order: OrderMessage, exchange: str, signature: bytes) -> str:
    """The address that signed the order, whichever of the four types it uses."""
    if order.signature_type in (TYPE_EOA, TYPE_PROXY, TYPE_SAFE):
        return recover(order_hash(order, exchange), signature)
    if order.signature_type == TYPE_DEPOSIT_WALLET:
        return _recover_deposit_wallet(order, exchange, signature)
    raise SignatureRefused(f"signature type {order.signature_type} does not exist")


def _recover_deposit_wallet(order: OrderMessage, exchange: str, signature: bytes) -> str:
    """ERC-7739: the owner signs the order nested in the wallet's own domain, and the wire carries
    65-byte signature, exchange domain, order struct hash, order type and the type's length."""
    contents, domain = order_struct_hash(order), domain_separator(exchange)
    trailer = domain + contents + ORDER_TYPE.encode() + len(ORDER_TYPE).to_bytes(2, "big")
    if len(signature) != 65 + len(trailer) or signature[65:] != trailer:
        raise SignatureRefused("the ERC-7739 trailer does not describe this order")
    nested = (_NESTED_TYPE_HASH, contents, _hash_text("DepositWallet"), _hash_text("1"), _word(CHAIN_ID),
              _address_word(order.signer), bytes(32))  # fmt: skip
    digest = bytes(keccak(b"\x19\x01" + domain + keccak(b"".join(nested))))
    return recover(digest, signature[:65])


def auth_digest(address: str, timestamp: str, nonce: int) -> bytes:
    """The digest of the L1 message ClobAuth."""
    domain = keccak(
        _hash_text(_AUTH_DOMAIN_TYPE) + _hash_text("ClobAuthDomain") + _hash_text("1") + _word(CHAIN_ID)
    )
    parts = (_hash_text(_AUTH_TYPE), _address_word(address), _hash_text(timestamp), _word(nonce),
             _hash_text(_AUTH_MESSAGE))  # fmt: skip
    return bytes(keccak(b"\x19\x01" + domain + keccak(b"".join(parts))))


def request_signature(secret: str, timestamp: str, method: str, path: str, body: bytes) -> str:
    """The L2 signature of one request. The query string is not part of it; the body is, byte for byte."""
    prehash = f"{timestamp}{method}{path}".encode() + body
    digest = hmac.new(base64.urlsafe_b64decode(secret), prehash, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode()


def hex_bytes(text: object, length: int | None = None) -> bytes:
    """Bytes of an 0x string; SignatureRefused when it is none, or not of this length."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise SignatureRefused("expected a text that begins with 0x")
    try:
        raw = binascii.unhexlify(text[2:])
    except binascii.Error as error:
        raise SignatureRefused("expected hexadecimal digits after 0x") from error
    if length is not None and len(raw) != length:
        raise SignatureRefused(f"expected {length} bytes")
    return raw
