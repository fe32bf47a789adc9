"""The Polymarket simulator's REST answers, asked over plain HTTP, and the limits of a key."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.polymarket_limits import Heartbeats, KeyLimits
from simulators.polymarket_signing import request_signature

ROOT = Path(__file__).resolve().parents[2]


class Venue:
    """A running simulator without TLS, whose other traders keep still: answers can be compared."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        pause = urllib.request.Request(ready["admin"] + "/market", b'{"pause": true}')
        urllib.request.urlopen(pause, timeout=60).close()
        self.market = self.ask("/sampling-markets")[1]["data"][1]
        self.token = self.market["tokens"][0]["token_id"]

    def ask(self, path: str, body: Any = None, method: str = "", signed: bool = False,
            wrong: str = "", age_s: int = 0) -> tuple[int, Any, dict[str, str]]:  # fmt: skip
        """(status, body, headers) of one request; `wrong` names a header to spoil, `age_s` is how long ago
        it was signed."""
        data = None if body is None else json.dumps(body).encode()
        method = method or ("GET" if data is None else "POST")
        headers = {"Content-Type": "application/json"}
        if signed:
            given, stamp = self.ready["credentials"], str(int(time.time()) - age_s)
            pure = urllib.parse.urlsplit(path).path
            made = request_signature(given["api_secret"], stamp, method, pure, data or b"")
            headers |= {"POLY_ADDRESS": given["address"], "POLY_API_KEY": given["api_key"],
                        "POLY_PASSPHRASE": given["passphrase"], "POLY_TIMESTAMP": stamp,
                        "POLY_SIGNATURE": made}  # fmt: skip
            if wrong:
                headers[wrong] = "!" + headers[wrong][1:]
        request = urllib.request.Request(self.ready["clob"] + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error), dict(error.headers)


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    """One simulator for all the questions here."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "polymarket", "--plain", "--state",
         str(tmp_path_factory.mktemp("state"))],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    yield Venue(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process.stdout.close()


def test_market_data_answers(venue: Venue) -> None:
    """Every public read has the venue's shape and agrees with the book."""
    query = f"?token_id={venue.token}"
    book = venue.ask("/book" + query)[1]
    assert book["bids"][-1]["price"] > book["bids"][0]["price"]
    assert book["asks"][-1]["price"] < book["asks"][0]["price"]
    assert venue.ask("/ok")[1] == "OK" and venue.ask("/version")[1] == {"version": 2}
    assert abs(venue.ask("/time")[1] - time.time()) < 60
    assert venue.ask("/tick-size" + query)[1] == {"minimum_tick_size": 0.01}
    assert venue.ask("/neg-risk" + query)[1] == {"neg_risk": False}
    assert venue.ask("/fee-rate" + query)[0] == 200
    bid, ask = (float(venue.ask(f"/price{query}&side={side}")[1]["price"]) for side in ("SELL", "BUY"))
    assert 0 < bid < ask < 1
    assert bid < float(venue.ask("/midpoint" + query)[1]["mid"]) < ask
    assert float(venue.ask("/spread" + query)[1]["spread"]) > 0
    assert set(venue.ask("/last-trade-price" + query)[1]) == {"price", "side"}
    asked = [{"token_id": venue.token, "side": "BUY"}]
    assert venue.ask("/books", asked)[1][0]["asset_id"] == venue.token
    assert venue.token in venue.ask("/midpoints", asked)[1]
    assert "BUY" in venue.ask("/prices", asked)[1][venue.token]
    found = venue.ask(f"/markets-by-token/{venue.token}")[1]["condition_id"]
    info = venue.ask(f"/clob-markets/{found}")[1]
    assert (info["mos"], info["mts"], info["fd"]) == (5, 0.01, {"r": 0.07, "e": 1, "to": True})
    assert venue.ask(f"/markets/{found}")[1]["market_slug"] == venue.market["market_slug"]


def test_gamma_pages_and_filters(venue: Venue) -> None:
    """Keyset pages end without a cursor, filters select, and an unknown filter is refused."""
    first = venue.ask("/markets/keyset?closed=false&limit=3")[1]
    rest = venue.ask(f"/markets/keyset?closed=false&limit=3&after_cursor={first['next_cursor']}")[1]
    assert (len(first["markets"]), len(rest["markets"]), "next_cursor" in rest) == (3, 1, False)
    slug = first["markets"][1]["slug"]
    assert venue.ask(f"/markets/slug/{slug}")[1]["slug"] == slug
    assert [row["slug"] for row in venue.ask(f"/markets?slug={slug}")[1]] == [slug]
    assert venue.ask(f"/markets/keyset?clob_token_ids={venue.token}")[1]["markets"][0]["slug"] == slug
    assert venue.ask("/markets/keyset?closed=true")[1] == {"markets": []}
    events = venue.ask("/events/keyset?closed=false&tag_slug=bitcoin")[1]["events"]
    assert sorted(len(event["markets"]) for event in events) == [1, 3]
    assert len(venue.ask("/public-search?q=bitcoin%20above")[1]["events"]) == 1
    assert venue.ask("/markets/keyset?liquidity_num_min=5")[0] == 422
    assert venue.ask("/markets/slug/nothing")[0] == 404
    assert json.loads(first["markets"][0]["clobTokenIds"])[0].isdecimal()


def test_what_is_not_there_says_so(venue: Venue) -> None:
    """Unknown tokens are 404, paths that are not modelled are 501."""
    status, body, _ = venue.ask("/book?token_id=5")
    assert (status, body) == (404, {"error": "No orderbook exists for the requested token id"})
    assert venue.ask("/rewards/user")[0] == 501
    assert venue.ask("/", {"jsonrpc": "2.0", "method": "eth_chainId", "id": 1})[0] == 501


@pytest.mark.parametrize("wrong", ["POLY_SIGNATURE", "POLY_API_KEY", "POLY_PASSPHRASE", "POLY_TIMESTAMP",
                                   "POLY_ADDRESS"])  # fmt: skip
def test_wrong_credentials_are_refused(venue: Venue, wrong: str) -> None:
    """Each header of L2 is checked, and the query string is not part of the signature."""
    assert venue.ask("/data/orders?market=0x1", signed=True)[0] == 200
    unauthorized = (401, {"error": "Unauthorized/Invalid api key"})
    assert venue.ask("/data/orders", signed=True, wrong=wrong)[:2] == unauthorized
    for age_s in (-120, 120):
        assert venue.ask("/data/orders", signed=True, age_s=age_s)[:2] == unauthorized
    assert venue.ask("/data/orders")[:2] == unauthorized
    assert venue.ask("/auth/api-key", {})[:2] == (401, {"error": "Invalid L1 Request headers"})


def test_cancels_heartbeats_and_headers(venue: Venue) -> None:
    """Cancel answers carry the bucket's headers; an unknown heartbeat id gets the expected one."""
    nothing = "0x" + "0" * 64
    status, body, headers = venue.ask("/order", {"orderID": nothing}, "DELETE", signed=True)
    assert (status, body) == (200, {"canceled": [], "not_canceled": {nothing: "order not found"}})
    assert int(headers["Poly-RateLimit-Remaining"]) > 0 and headers["Poly-RateLimit-Tier"] == "gold"
    assert venue.ask("/order", {"orderID": "5"}, "DELETE", signed=True)[0] == 400
    assert venue.ask("/order", {"order": 5}, signed=True)[:2] == (400, {"error": "Invalid order payload"})
    legs = venue.ask("/orders", [{"order": 5}], signed=True)[1]
    assert (legs[0]["orderID"], legs[0]["errorMsg"]) == ("", "Invalid order payload")
    assert "max allowed: 15" in venue.ask("/orders", [{}] * 16, signed=True)[1]["error"]
    status, body, _ = venue.ask("/v1/heartbeats", {"heartbeat_id": "x"}, signed=True)
    assert (status, body) == (400, {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": ""})
    assert venue.ask("/auth/ban-status/closed-only", signed=True)[1] == {"closed_only": False}
    balance = venue.ask("/balance-allowance?asset_type=COLLATERAL&signature_type=0", signed=True)[1]
    assert balance["balance"] == "10000000000" and len(balance["allowances"]) == 2


def test_order_bucket_refuses_whole_and_refills() -> None:
    """A request costs its orders; what does not fit is refused whole, and time refills the bucket."""
    limits = KeyLimits("standard", 0)
    assert limits.orders.take(60, 0) and not limits.orders.take(1, 0)
    assert not limits.orders.take(61, 100_000)
    assert limits.orders.take(40, 101_000) and limits.orders.remaining == 20
    assert limits.orders.wait_s(60) == 1


def test_cancel_bucket_may_owe_once() -> None:
    """A cancel may go below zero; the next waits until the debt is paid."""
    limits = KeyLimits("standard", 0)
    assert limits.cancels.take(119, 0) and limits.cancels.take(50, 0)
    assert limits.cancels.remaining == -49 and not limits.cancels.take(1, 0)
    assert limits.cancels.take(1, 1_000)


def test_heartbeats_are_chained() -> None:
    """Each id is good once; silence of ten seconds removes the registration."""
    beats = Heartbeats()
    _, first = beats.beat("key", "", 0)
    _, second = beats.beat("key", first, 5_000)
    assert beats.beat("key", first, 6_000) == (False, second)
    assert beats.expired(14_999) == [] and beats.expired(15_000) == ["key"]
    assert beats.beat("key", second, 15_001) == (False, "")


def test_price_history_in_both_hosts_forms(venue: Venue) -> None:
    """The CLOB's points and the Data API's: the middle of the book, the other token the rest of a dollar."""
    now, other = int(time.time()), venue.market["tokens"][1]["token_id"]
    deadline = time.monotonic() + 60
    while not (
        points := venue.ask(f"/prices-history?market={venue.token}&startTs={now - 600}")[1]["history"]
    ):
        assert time.monotonic() < deadline, "no price was noted"
    mid = float(venue.ask(f"/midpoint?token_id={venue.token}")[1]["mid"])
    assert 0 < points[0]["p"] < 1 and points[0]["t"] % 60 == 0 and abs(points[-1]["p"] - mid) < 0.2
    as_of = venue.ask(f"/v2/prices-history?token_id={venue.token}&as_of={now + 3600}")[1]
    assert as_of["pagination"]["has_more"] is False and as_of["data"][0]["resolution_seconds"] == 0
    yes = as_of["data"][0]["price"]
    no = venue.ask(f"/v2/prices-history?token_id={other}&as_of={now + 3600}")[1]["data"][0]["price"]
    assert abs(yes + no - 1) < 0.02
    assert venue.ask(f"/v2/prices-history?token_id={venue.token}&as_of=1000")[1]["data"] == []
    window = venue.ask(f"/v2/prices-history?token_id={venue.token}&start={now - 600}&end={now + 60}")[1][
        "data"
    ]
    assert window[0]["price"] == points[0]["p"]
    assert venue.ask(f"/v2/prices-history?token_id={venue.token}")[0] == 400
    assert venue.ask(f"/prices-history?market={venue.token}&startTs=1&endTs=9999999")[0] == 400


def test_the_data_api_lists_what_a_wallet_holds(venue: Venue) -> None:
    """Rows as the official client reads them, in pages; nothing for another wallet; a filter that is not
    modelled, or a question without a wallet, is refused."""
    address = venue.ready["credentials"]["address"]
    answer = venue.ask(f"/v2/positions?user={address}")[1]
    assert answer == {"data": [], "pagination": {"has_more": False, "next_cursor": None}}
    assert venue.ask("/v2/positions")[0] == 400
    assert venue.ask(f"/v2/positions?user={address}&title=x")[0] == 400
    assert venue.ask(f"/v2/positions?user={address}&limit=1001")[0] == 400
    assert venue.ask("/v2/positions?user=0x" + "1" * 40)[1]["data"] == []
