"""What each answer of the CLOB means for the order that was sent.

Everything that is not listed as a definite refusal leaves the order UNKNOWN: its reservation stays until
the venue has said what became of it (Polymarket docs, error codes and matching engine pages).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bridge.messages import RejectReason


class Verdict(Enum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"  # definite: the order does not exist
    ACCOUNT = "account"  # definite, and nothing else will be accepted either: halt
    MODE = "mode"  # definite, the venue takes no such orders now
    RATE = "rate"  # definite, the same signed order may be sent again later
    LANDED = "landed"  # an earlier send of the same order arrived
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SubmitResult:
    verdict: Verdict
    reason: RejectReason = RejectReason.NONE
    text: str = ""
    retry_after_s: int = 0
    order_id: str = ""
    matched: bool = False


_REJECTS: tuple[tuple[str, RejectReason], ...] = (
    ("invalid post-only order", RejectReason.POST_ONLY_CROSS),
    ("crosses the book", RejectReason.POST_ONLY_CROSS),
    ("breaks minimum tick size rule", RejectReason.TICK_SIZE),
    ("lower than the minimum", RejectReason.LOT_SIZE),
    ("invalid amount for a marketable", RejectReason.MIN_NOTIONAL),
    ("not enough balance / allowance", RejectReason.INSUFFICIENT_BALANCE),
    ("allowance is not enough", RejectReason.INSUFFICIENT_BALANCE),
    ("invalid expiration", RejectReason.BAD_ORDER),
    ("couldn't be fully filled. fok orders", RejectReason.VENUE_REJECT),
    ("no orders found to match with fak order", RejectReason.VENUE_REJECT),
    ("the market is not yet ready", RejectReason.VENUE_MODE),
    ("invalid order payload", RejectReason.BAD_ORDER),
    ("order_version_mismatch", RejectReason.BAD_ORDER),
    ("too many orders in payload", RejectReason.BAD_ORDER),
    ("no orderbook exists for the requested token", RejectReason.UNKNOWN_INSTRUMENT),
)

_ACCOUNT: tuple[str, ...] = (
    "the order owner has to be the owner of the api key",
    "the order signer address has to be the address of the api key",
    "maker address not allowed",
    "address banned",
    "closed only mode",
    "unauthorized/invalid api key",
    "invalid l1 request headers",
    "invalid signature",
)

_MODE: tuple[str, ...] = (
    "post-only mode",
    "post_only_mode",
    "currently cancel-only",
    "currently disabled",
)


def classify(status: int, text: str, *, limited: bool = False, retry_after_s: int = 0) -> SubmitResult:
    """status: HTTP status (200 for a leg of a batch). limited: a 429 that carries Retry-After or
    Poly-RateLimit headers, which means it was refused before the matching engine."""
    folded = text.lower()
    clean = "".join(c for c in text if c.isprintable())[:120]
    if status == 429:
        if limited:
            return SubmitResult(Verdict.RATE, RejectReason.RATE_LIMITED, clean, retry_after_s)
        return SubmitResult(Verdict.UNKNOWN, text=clean)
    if "is invalid. duplicated" in folded:
        return SubmitResult(Verdict.LANDED, text=clean)
    if any(mark in folded for mark in _ACCOUNT) and status in (200, 400, 401, 403):
        return SubmitResult(Verdict.ACCOUNT, RejectReason.VENUE_AUTH, clean)
    if status == 401:
        return SubmitResult(Verdict.ACCOUNT, RejectReason.VENUE_AUTH, clean)
    if any(mark in folded for mark in _MODE) and status in (200, 400, 503):
        return SubmitResult(Verdict.MODE, RejectReason.VENUE_MODE, clean, retry_after_s)
    if status in (200, 400, 404):
        for mark, reason in _REJECTS:
            if mark in folded:
                return SubmitResult(Verdict.REJECTED, reason, clean)
    return SubmitResult(Verdict.UNKNOWN, text=clean)
