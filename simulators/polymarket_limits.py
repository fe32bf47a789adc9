"""Two limits that a Polymarket key lives under: token buckets and the heartbeat.

Buckets (docs.polymarket.com, "Rate limits", 2026-08): orders and cancels have one each; a request is
admitted whole or refused whole. Heartbeats are chained: every answer names the id that the next send
must carry, and a key that stays silent for 10 seconds loses all its orders.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

HEARTBEAT_TIMEOUT_MS = 10_000
# tier -> (order tokens/s, burst, cancel tokens/s, burst)
TIERS = {"standard": (40, 60, 80, 120), "gold": (400, 600, 800, 1200), "elite": (1200, 1800, 2400, 3600)}


@dataclass(slots=True)
class TokenBucket:
    """Tokens in thousandths, so that the arithmetic stays whole."""

    rate: int
    burst: int
    may_owe: bool
    updated_ms: int
    level: int = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.burst * 1000

    def take(self, cost: int, now_ms: int) -> bool:
        """Pay for one request. An owing bucket lets a cancel through once and blocks the next."""
        self.level = min(self.burst * 1000, self.level + max(0, now_ms - self.updated_ms) * self.rate)
        self.updated_ms = now_ms
        if cost > self.burst or (self.level <= 0 if self.may_owe else self.level < cost * 1000):
            return False
        self.level -= cost * 1000
        return True

    def charge(self, cost: int) -> None:
        """Pay for what a request turned out to cost, even into debt."""
        self.level -= cost * 1000

    @property
    def remaining(self) -> int:
        """Whole tokens left; negative when owing."""
        return self.level // 1000

    def full_at_s(self, now_ms: int) -> int:
        """When the bucket is full again, in seconds since 1970."""
        return (now_ms + (self.burst * 1000 - self.level) // self.rate) // 1000 + 1

    def wait_s(self, cost: int) -> int:
        """Seconds until such a request can be paid for."""
        return max(1, -(-(cost * 1000 - self.level) // (self.rate * 1000)))


class KeyLimits:
    """The two buckets of one key."""

    def __init__(self, tier: str, now_ms: int) -> None:
        order_rate, order_burst, cancel_rate, cancel_burst = TIERS[tier]
        self.tier = tier
        self.orders = TokenBucket(order_rate, order_burst, False, now_ms)
        self.cancels = TokenBucket(cancel_rate, cancel_burst, True, now_ms)

    def headers(self, bucket: TokenBucket, now_ms: int) -> dict[str, str]:
        """The headers that every order and cancel answer carries."""
        return {"Poly-RateLimit-Remaining": str(bucket.remaining),
                "Poly-RateLimit-Reset": str(bucket.full_at_s(now_ms)),
                "Poly-RateLimit-Tier": self.tier}  # fmt: skip


class Heartbeats:
    """The dead-man switch of every key that ever sent a heartbeat and has not expired."""

    def __init__(self) -> None:
        self._expected: dict[str, str] = {}
        self._deadline_ms: dict[str, int] = {}

    def beat(self, key: str, heartbeat_id: str, now_ms: int) -> tuple[bool, str]:
        """(accepted, id of the next send). A refused send does not refresh."""
        expected = self._expected.get(key, "")
        if heartbeat_id != expected:
            return False, expected
        self._expected[key] = str(uuid.uuid4())
        self._deadline_ms[key] = now_ms + HEARTBEAT_TIMEOUT_MS
        return True, self._expected[key]

    def expired(self, now_ms: int) -> list[str]:
        """Keys whose time ran out; they are no longer registered."""
        gone = [key for key, deadline in self._deadline_ms.items() if now_ms >= deadline]
        for key in gone:
            del self._deadline_ms[key], self._expected[key]
        return gone

    def deadline_ms(self, key: str) -> int | None:
        """When the key's orders will be cancelled, or None when it never sent a heartbeat."""
        return self._deadline_ms.get(key)
