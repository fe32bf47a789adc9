"""Books from frames: what makes them stale, what makes them whole again. Bytes in, no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymarket_bot.api.polymarket import Snapshot
from polymarket_bot.api.stream import Book, BookState, MarketStream, as_events, read_order
from polymarket_bot.errors import BookError, VenueError
from polymarket_bot.model import Side

YES, NO = "111", "222"


class Reader:
    async def books(self, tokens: Sequence[str]) -> list[Snapshot]:
        raise VenueError("not asked in these tests")


class Feed:
    """A market stream that is fed by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.changed: list[str] = []
        self.resolved: list[tuple[str, str]] = []
        self.stream = MarketStream(
            "ws://unused", None, Reader(), self.changed.append, lambda: self.now, lambda: 10**18,
            lambda condition, token: self.resolved.append((condition, token)),
        )  # fmt: skip
        self.stream.books = {token: Book(token, 10_000) for token in (YES, NO)}
        self.stream.connected_ns = self.stream._pong_ns = self.now

    def frame(self, *events: dict[str, Any]) -> None:
        self.stream._receive(json.dumps(events[0] if len(events) == 1 else list(events)))

    def state(self, token: str = YES) -> BookState:
        return self.stream.books[token].state


def book(
    token: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], ms: int = 1_000_000_000_000
) -> dict[str, Any]:
    def levels(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"price": price, "size": size} for price, size in rows]

    return {
        "event_type": "book", "market": "0xc", "asset_id": token, "timestamp": str(ms), "hash": "x",
        "bids": levels(bids), "asks": levels(asks), "tick_size": "0.01",
    }  # fmt: skip


def change(
    token: str, side: str, price: str, size: str, bid: str, ask: str, ms: int = 1_000_000_000_001
) -> dict[str, Any]:
    row = {"asset_id": token, "price": price, "size": size, "side": side, "best_bid": bid, "best_ask": ask}
    return {"event_type": "price_change", "market": "0xc", "timestamp": str(ms), "price_changes": [row]}


def synced() -> Feed:
    feed = Feed()
    feed.frame(
        book(YES, [("0.01", "5"), ("0.45", "10")], [("0.99", "5"), ("0.47", "7.5")]),
        book(NO, [("0.53", "7.5")], [("0.55", "10")]),
    )
    return feed


def test_snapshot_in_an_array_and_order_of_levels() -> None:
    """Two books in one frame; the best is found wherever it stands."""
    feed = synced()
    top = feed.stream.books[YES].top()
    assert (top.bid, top.bid_size, top.ask, top.ask_size) == (450_000, 10_000_000, 470_000, 7_500_000)
    assert feed.stream.fresh(YES) and feed.stream.fresh(NO)


def test_changes_overwrite_and_remove() -> None:
    """A change is the new total at its level; zero removes it."""
    feed = synced()
    feed.frame(change(YES, "BUY", "0.46", "50", "0.46", "0.47"))
    assert feed.stream.books[YES].top().bid == 460_000
    feed.frame(change(YES, "BUY", "0.46", "0", "0.45", "0.47"))
    assert feed.stream.books[YES].top().bid == 450_000
    assert feed.state() is BookState.SYNCED


def test_a_lost_change_shows_in_the_best_prices() -> None:
    """Our best differs from the venue's: stale until fetched again, and no longer changed by deltas."""
    feed = synced()
    feed.frame(change(YES, "SELL", "0.50", "1", "0.46", "0.47"))
    assert feed.state() is BookState.STALE and not feed.stream.fresh(YES)
    feed.frame(change(YES, "BUY", "0.44", "1", "0.45", "0.47"))
    assert 44 not in feed.stream.books[YES].bids
    feed.frame(book(YES, [("0.46", "1")], [("0.47", "1")]))
    assert feed.stream.fresh(YES)


def test_crossed_book_and_best_bid_ask() -> None:
    """A crossed book is stale, and so is one that best_bid_ask contradicts."""
    feed = synced()
    feed.frame(change(YES, "BUY", "0.48", "1", "0.48", "0.47"))
    assert feed.state() is BookState.STALE
    feed = synced()
    feed.frame({"event_type": "best_bid_ask", "asset_id": YES, "best_bid": "0.44", "best_ask": "0.47"})
    assert feed.state() is BookState.STALE


def test_early_and_old_changes_are_ignored() -> None:
    """Before the first snapshot, and older than it, changes mean nothing."""
    feed = Feed()
    feed.frame(change(YES, "BUY", "0.46", "50", "0.46", "0.47"))
    assert feed.state() is BookState.EMPTY
    feed = synced()
    feed.frame(change(YES, "BUY", "0.46", "50", "0.46", "0.47", ms=999_999_999_999))
    assert feed.stream.books[YES].top().bid == 450_000


def test_new_tick_size_is_a_new_book() -> None:
    """Nothing of the old grid survives; deltas wait for the next snapshot."""
    feed = synced()
    feed.frame(
        {"event_type": "tick_size_change", "asset_id": YES, "old_tick_size": "0.01", "new_tick_size": "0.001"}
    )
    assert feed.state() is BookState.EMPTY and feed.stream.books[YES].tick == 1_000


def test_empty_sides() -> None:
    """An empty side is "0", "1" or nothing on the wire, and None in the top."""
    feed = Feed()
    feed.frame(book(YES, [], [("0.47", "1")]))
    feed.frame(change(YES, "SELL", "0.48", "1", "0", "0.47"))
    assert feed.state() is BookState.SYNCED and feed.stream.books[YES].top().bid is None
    feed.frame(change(YES, "SELL", "0.48", "0", "", "0.47"))
    assert feed.state() is BookState.SYNCED


@pytest.mark.parametrize(
    "frame",
    ["", "{", "5", '["x"]', '{"event_type":"book"}', '{"event_type":"price_change","price_changes":5}',
     '{"event_type":"book","asset_id":"111","bids":[{"price":"1e5","size":"1"}],"asks":[]}', "\x00"],
)  # fmt: skip
def test_malformed_frames_make_every_book_doubtful(frame: str) -> None:
    """A frame that cannot be used may have said anything: every book is fetched again."""
    feed = synced()
    feed.stream._receive(frame)
    assert feed.stream.malformed == 1
    assert feed.state(YES) is BookState.STALE and feed.state(NO) is BookState.STALE


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_can_break_the_parser(data: bytes) -> None:
    """Whatever arrives is events or a BookError."""
    try:
        assert all(isinstance(event, dict) for event in as_events(data))
    except BookError:
        pass


def test_silence_and_loss_of_the_connection() -> None:
    """No PONG for 30 s, or a lost socket: not fresh."""
    feed = synced()
    feed.now += 31_000_000_000
    assert not feed.stream.fresh(YES)
    feed = synced()
    feed.stream.lost("cut")
    assert feed.state() is BookState.STALE


def test_resolution_is_passed_on() -> None:
    """market_resolved is a hint for whoever asks the venue."""
    feed = synced()
    feed.frame({"event_type": "market_resolved", "market": "0xc", "winning_asset_id": YES})
    assert feed.resolved == [("0xc", YES)]


@pytest.mark.parametrize(
    ("kind", "status", "matched", "live"),
    [
        ("PLACEMENT", "LIVE", "0", True),
        ("UPDATE", "ORDER_STATUS_LIVE", "4", True),
        ("UPDATE", "MATCHED", "10", False),
        ("CANCELLATION", "CANCELED", "4", False),
        ("CANCELLATION", "order couldn't be fully filled. FOK orders …", "", False),
    ],
)
def test_order_events(kind: str, status: str, matched: str, live: bool) -> None:
    """Whether an order can still match is read from type and status together."""
    update = read_order(
        {"event_type": "order", "type": kind, "status": status, "id": "0x1", "market": "0xc", "asset_id": YES,
         "side": "SELL", "price": "0.45", "original_size": "10", "size_matched": matched}
    )  # fmt: skip
    assert (update.live, update.side, update.size) == (live, Side.SELL, 10_000_000)
    assert update.matched == int(float(matched or 0) * 1_000_000)
