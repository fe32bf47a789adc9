"""The Polymarket simulator's own hashing and signature checks against known answers and eth-account."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from simulators import polymarket_signing as signing
from simulators.polymarket_wire import book_hash

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("PURSER_DATA", SHARED)) / "polymarket"
needs_vectors = pytest.mark.skipif(not DATA.is_dir(), reason=f"no vectors in {DATA}; set PURSER_DATA")
KEY = "0x" + "42" * 32
WALLET = "0x" + "ab" * 20


def vectors(name: str) -> Any:
    """One file of known answers."""
    return json.loads((DATA / name).read_text())


def message_of(fields: dict[str, Any]) -> signing.OrderMessage:
    """The simulator's form of an order message."""
    return signing.OrderMessage(
        fields["salt"], fields["maker"], fields["signer"], int(fields["tokenId"]), fields["makerAmount"],
        fields["takerAmount"], fields["side"], fields["signatureType"], fields["timestamp"],
        signing.hex_bytes(fields["metadata"], 32), signing.hex_bytes(fields["builder"], 32),
    )  # fmt: skip


@needs_vectors
def test_order_vectors() -> None:
    """Domain, struct hash, order hash, signer and the L2 signature of a whole POST agree with the vectors."""
    for vector in vectors("signing_orders.json")["orders"]:
        message, exchange = message_of(vector["message"]), vector["domain"]["verifyingContract"]
        assert "0x" + signing.domain_separator(exchange).hex() == vector["domain_separator"]
        assert "0x" + signing.order_struct_hash(message).hex() == vector["struct_hash"]
        assert "0x" + signing.order_hash(message, exchange).hex() == vector["order_hash"]
        signature = signing.hex_bytes(vector["signature"])
        assert signing.recover_order_signer(message, exchange, signature) == message.signer
        post = vector["post_order_l2_signature"]
        body = vector["post_order_body_compact"].encode()
        made = signing.request_signature(post["secret"], str(post["timestamp"]), "POST", "/order", body)
        assert made == post["hmac"]


@needs_vectors
def test_level_one_and_two_vectors() -> None:
    """ClobAuth recovers the wallet, and every HMAC vector is reproduced."""
    level_one = vectors("signing_l1.json")["l1"]
    said = level_one["message"]
    digest = signing.auth_digest(said["address"], said["timestamp"], said["nonce"])
    assert "0x" + digest.hex() == level_one["digest"]
    assert signing.recover(digest, signing.hex_bytes(level_one["signature"])) == said["address"]
    for vector in vectors("signing_l2_hmac.json")["vectors"]:
        body = (vector["body"] or "").encode()
        stamp, method, path = str(vector["timestamp"]), vector["method"], vector["path"]
        assert signing.request_signature(vector["secret"], stamp, method, path, body) == vector["hmac"]


@needs_vectors
def test_book_hash_vectors() -> None:
    """The hash of a book is the SHA-1 of its compact JSON."""
    for vector in vectors("book_hash.json")["vectors"]:
        assert book_hash(vector["book"]) == vector["sha1"]


def typed_order(signature_type: int, maker: str, signer: str) -> dict[str, Any]:
    """The typed data of an order, as a wallet would be asked to sign it."""
    fields = [part.split(" ") for part in signing.ORDER_TYPE[len("Order(") : -1].split(",")]
    return {
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                             {"name": "chainId", "type": "uint256"},
                             {"name": "verifyingContract", "type": "address"}],
            "Order": [{"name": name, "type": kind} for kind, name in fields],
        },
        "primaryType": "Order",
        "domain": {"name": "Polymarket CTF Exchange", "version": "2", "chainId": 137,
                   "verifyingContract": signing.EXCHANGE_STANDARD},
        "message": {"salt": 7, "maker": maker, "signer": signer, "tokenId": 12345, "makerAmount": 4_500_000,
                    "takerAmount": 10_000_000, "side": 0, "signatureType": signature_type,
                    "timestamp": 1763900000000, "metadata": "0x" + "00" * 32, "builder": "0x" + "00" * 32},
    }  # fmt: skip


@pytest.mark.parametrize("signature_type", [0, 1, 2])
def test_plain_signatures_recover(signature_type: int) -> None:
    """An order signed by eth-account recovers to its key, and not for the other exchange."""
    account = Account.from_key(KEY)
    maker = account.address if signature_type == 0 else WALLET
    typed = typed_order(signature_type, maker, account.address)
    signature = bytes(account.sign_message(encode_typed_data(full_message=typed)).signature)
    message = message_of(typed["message"])
    assert signing.recover_order_signer(message, signing.EXCHANGE_STANDARD, signature) == account.address
    assert signing.recover_order_signer(message, signing.EXCHANGE_NEG_RISK, signature) != account.address


def test_deposit_wallet_signature_recovers() -> None:
    """A nested ERC-7739 signature recovers to the owner; a trailer of another order is refused."""
    account = Account.from_key(KEY)
    typed = typed_order(3, WALLET, WALLET)
    nested = typed | {
        "types": typed["types"] | {
            "TypedDataSign": [{"name": "contents", "type": "Order"}, {"name": "name", "type": "string"},
                              {"name": "version", "type": "string"}, {"name": "chainId", "type": "uint256"},
                              {"name": "verifyingContract", "type": "address"},
                              {"name": "salt", "type": "bytes32"}],
        },
        "primaryType": "TypedDataSign",
        "message": {"contents": typed["message"], "name": "DepositWallet", "version": "1", "chainId": 137,
                    "verifyingContract": WALLET, "salt": "0x" + "00" * 32},
    }  # fmt: skip
    inner = bytes(account.sign_message(encode_typed_data(full_message=nested)).signature)
    message, exchange = message_of(typed["message"]), signing.EXCHANGE_STANDARD
    order_type = signing.ORDER_TYPE.encode()
    wire = (inner + signing.domain_separator(exchange) + signing.order_struct_hash(message) + order_type
            + len(order_type).to_bytes(2, "big"))  # fmt: skip
    assert len(wire) == 317
    assert signing.recover_order_signer(message, exchange, wire) == account.address
    other = message_of(typed["message"] | {"salt": 8})
    with pytest.raises(signing.SignatureRefused):
        signing.recover_order_signer(other, exchange, wire)


MALFORMED = [b"", b"\1" * 64, b"\1" * 64 + b"\x05", bytes(65), b"\xff" * 64 + b"\x1b"]


@pytest.mark.parametrize("signature", MALFORMED)
def test_malformed_signatures_are_refused(signature: bytes) -> None:
    """A signature that is not r, s, v of a point of the curve is refused, never an exception of a library."""
    message = message_of(typed_order(0, WALLET, WALLET)["message"])
    with pytest.raises(signing.SignatureRefused):
        signing.recover_order_signer(message, signing.EXCHANGE_STANDARD, signature)
