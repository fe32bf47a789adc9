"""The markets behind the Binance simulator."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

from simulators.market import SyntheticMarket
from simulators.market_recorded import RecordedMarket
from simulators.matching import BUY, SELL, Book, Resting


class Recorder:
    """A sink that keeps what the market told it."""

    def __init__(self) -> None:
        self.events: list[tuple[int, int, int]] = []
        self.levels: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}
        self.tops: list[tuple[int, tuple[int, int], tuple[int, int]]] = []
        self.top_at_event: list[tuple[int, int | None, int | None]] = []
        self.frames: list[tuple[str, dict[str, object]]] = []
        self.fills: list[tuple[object, int, int]] = []
        self.trades = 0

    def depth(
        self, first: int, last: int, previous: int, bids: list[tuple[int, int]], asks: list[tuple[int, int]]
    ) -> None:
        self.events.append((first, last, previous))
        for side, changes in ((BUY, bids), (SELL, asks)):
            for price, lots in changes:
                self.levels[side][price] = lots
                if lots == 0:
                    del self.levels[side][price]

    def top(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        self.tops.append((update_id, bid, ask))

    def trade(self, price: int, quantity: int, buyer_is_maker: bool) -> int:
        self.trades += 1
        return self.trades

    def next_trade_id(self) -> int:
        self.trades += 1
        return self.trades

    def maker_filled(self, entry: Resting, price: int, quantity: int, trade_id: int) -> None:
        self.fills.append((entry.owner, price, quantity))

    def recorded(self, kind: str, data: bytes) -> None:
        self.frames.append((kind, json.loads(data)))


def synthetic(seed: int, seconds: int) -> tuple[SyntheticMarket, Recorder]:
    """A market that has run for some simulated seconds."""
    sink = Recorder()
    market = SyntheticMarket(Book(), sink, seed, 600_000, 1_000_000, 1000)
    market.start()
    for side in (BUY, SELL):
        sink.levels[side] = dict(market.book.levels(side, 1 << 20))
    for step in range(seconds * 50):
        market.step()
        if step % 5 == 4:
            market.flush_depth()
            top = max(sink.levels[BUY]), min(sink.levels[SELL])
            ticker = sink.tops[-1]
            assert (ticker[1], ticker[2]) == (
                (top[0], sink.levels[BUY][top[0]]), (top[1], sink.levels[SELL][top[1]])
            )  # fmt: skip
    return market, sink


def test_synthetic_depth_chain_has_gaps_but_no_breaks() -> None:
    """Each event names the last id before it, ids leave gaps, and the diffs rebuild book and top."""
    market, sink = synthetic(seed=7, seconds=60)
    for (_, last, _), (first, _, previous) in itertools.pairwise(sink.events):
        assert previous == last < first
    assert any(first > previous + 1 for first, _, previous in sink.events)
    assert sink.levels[BUY] == dict(market.book.levels(BUY, 1 << 20))
    assert sink.levels[SELL] == dict(market.book.levels(SELL, 1 << 20))


def test_synthetic_market_is_alive_and_not_wild() -> None:
    """Rates are those of a busy symbol, the same seed gives the same market, and the price stays sane."""
    market, sink = synthetic(seed=3, seconds=120)
    again, _ = synthetic(seed=3, seconds=120)
    assert market.mark() == again.mark()
    assert 20 * 120 < len(sink.tops) < 150 * 120
    assert abs(market.mark() - 600_000) < 6_000


def test_order_at_the_touch_is_executed_by_the_flow() -> None:
    """A client that waits at the best bid trades within a simulated minute."""
    market, sink = synthetic(seed=5, seconds=1)
    best = market.book.best(BUY)
    assert best is not None
    market.book.add(BUY, best, 2, "mine")
    for _ in range(60 * 50):
        market.step()
    assert ("mine", best, 2) in sink.fills


def capture(path: Path, tickers: list[tuple[int, str, str]], trades: list[tuple[str, str, bool]]) -> Path:
    """A tiny capture: snapshot 100/101, then one depth event, book tickers, trades."""
    lines = ['{"lastUpdateId":50,"E":9,"T":8,"bids":[["100.00","1.000"]],"asks":[["101.00","1.000"]]}']

    def frame(stream: str, data: str) -> None:
        lines.append(f'{{"stream":"btcusdt@{stream}","data":{data}}}')

    head = '{"e":"depthUpdate","E":10,"T":9,"s":"BTCUSDT"'
    frame("depth@0ms", head + ',"U":45,"u":60,"pu":44,"b":[["99.00","3.000"]],"a":[]}')
    for number, (update_id, bid, ask) in enumerate(tickers):
        frame("bookTicker", f'{{"e":"bookTicker","u":{update_id},"s":"BTCUSDT","b":"{bid}","B":"1.000",'
              f'"a":"{ask}","A":"1.000","T":{number},"E":{number}}}')  # fmt: skip
    for number, (price, quantity, seller) in enumerate(trades):
        frame("trade", f'{{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":{number + 1},"p":"{price}",'
              f'"q":"{quantity}","X":"MARKET","m":{json.dumps(seller)}}}')  # fmt: skip
    frame("depth@0ms", head + ',"U":70,"u":80,"pu":60,"b":[["98.00","2.000"]],"a":[["101.00","0.000"]]}')
    with gzip.open(path, "wt") as file:
        file.writelines(f"{1_000 + number} {line}\n" for number, line in enumerate(lines))
    return path


def play(market: RecordedMarket) -> None:
    """Send the whole capture once, without waiting."""
    for _, text in market._lines():
        market._play(text)


def recorded(path: Path, own: tuple[int, int, int]) -> tuple[RecordedMarket, Recorder]:
    """A replay of `path` with one client order (side, price, lots) in the queue."""
    sink, book = Recorder(), Book()
    market = RecordedMarket(book, sink, path, 1.0, lambda: 5_000)
    market.start()
    book.add(*own, "mine")
    play(market)
    return market, sink


def test_trade_consumes_the_queue_ahead_before_the_client(tmp_path: Path) -> None:
    """A recorded trade at the client's price fills it only with what is left after the queue ahead."""
    path = capture(tmp_path / "a.gz", [], [("100.00", "0.990", True), ("100.00", "0.011", True)])
    _, sink = recorded(path, (BUY, 1000, 4))
    assert sink.fills == [("mine", 1000, 1)]


def test_trade_through_the_price_executes_the_client(tmp_path: Path) -> None:
    """A trade at a worse price than the client's can only have happened after the client's order."""
    _, sink = recorded(capture(tmp_path / "a.gz", [], [("99.00", "0.001", True)]), (BUY, 1000, 4))
    assert sink.fills == [("mine", 1000, 4)]


def test_crossing_quote_executes_the_client(tmp_path: Path) -> None:
    """When the recorded best ask falls to the client's bid, the bid is executed at its own price."""
    _, sink = recorded(capture(tmp_path / "a.gz", [(65, "99.00", "99.50")], []), (BUY, 1000, 4))
    assert sink.fills == [("mine", 1000, 4)]


def test_second_pass_continues_the_chain_of_ids(tmp_path: Path) -> None:
    """At the end one event turns the book into the first snapshot, and no link of `pu` is broken."""
    path = capture(tmp_path / "a.gz", [(65, "100.00", "101.00")], [("100.00", "0.001", True)])
    market, sink = recorded(path, (SELL, 2000, 1))
    first_frames = len(sink.frames)
    market._start_again()
    play(market)
    assert [data["u"] for kind, data in sink.frames[:first_frames] if kind == "depth"] == [60, 80]
    links = [(data["pu"], data["u"]) for kind, data in sink.frames if kind == "depth"]
    bridge = sink.events[0]
    links.insert(2, (bridge[2], bridge[1]))
    for (_, last), (previous, _) in itertools.pairwise(links):
        assert previous == last
    ids = [data["t"] for kind, data in sink.frames if kind == "trade"]
    assert ids == [1, 2]
    assert market.snapshot(10)[1] == [(1000, 1000), (990, 3000), (980, 2000)]
