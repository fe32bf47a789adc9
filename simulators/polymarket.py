"""The Polymarket simulator: CLOB, Gamma and both streams on one port, settled by the clock.

Run it with `python -m simulators polymarket [--reference FILE]`. The markets are about the price of
the reference venue's bookTicker. The profile decides whether the markets are signed for the standard
or for the neg-risk exchange.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from coincurve import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from simulators.admin import RefereeError, RequestLog, admin_application
from simulators.candles import Candles
from simulators.clock import Clock
from simulators.faults import Faults
from simulators.options import Options
from simulators.polymarket_account import ApiKey
from simulators.polymarket_flow import STEP_S, Flow
from simulators.polymarket_levers import MoneyLevers
from simulators.polymarket_matching import PRICE_ONE, SIDE_NAMES
from simulators.polymarket_money import Money
from simulators.polymarket_prices import PriceHistory
from simulators.polymarket_referee import account_view, books_view
from simulators.polymarket_reference import Reference
from simulators.polymarket_rest import Rest
from simulators.polymarket_streams import Streams
from simulators.polymarket_venue import Venue
from simulators.server import announce, listen, stop_event
from simulators.state import StateFolder
from simulators.tls import Certificates, certificates_in, server_context

PROFILES = ("standard", "neg-risk")
RATE_TIER = "gold"
TICK_S = 0.05
NOTE_S = 1.0
FIRST_PRICE_S = 5.0
FAULTS = {
    "activity_lag_ms": "a row of the activity appears this much later than what it tells of",
    "answer_delay_ms": "every order and cancel answer comes this much later",
    "array_frames": "market events come as arrays of one",
    "balance_cache": "balances miss what did not go through the order book until an update is asked for",
    "cancel_only": "503 for new orders; cancels work",
    "clock_offset_ms": "the venue's clock is shifted by this much",
    "close_mid_frame": "once: every socket is closed in the middle of a frame",
    "closed_only": "the account may not open positions",
    "confirmed_ms": "time from MINED to CONFIRMED or FAILED, 1000 when 0",
    "context_canceled": "the next N order calls are done and answered 400 context canceled",
    "disabled": "503 for orders and cancels",
    "drop_price_change": "the next N price_change frames are not sent",
    "drop_user_event": "the next N order or trade events are not sent",
    "duplicate_trade_event": "the next N trade events are sent twice",
    "eoa_refused": "orders of a plain wallet are refused, as a new account's are",
    "fail_after_mined": "the next N trades fail after they were MINED",
    "fail_trade": "the next N trades go RETRYING and then FAILED",
    "fill_before_cancel": "the next N cancels arrive just after the book was swept through their order",
    "hold_trade_event": "the next N trade events come after the event that follows them",
    "late_ms": "how late those of late_order arrive, 1000 when 0",
    "late_order": "the next N order calls are cut off, and arrive late_ms later",
    "leg_success_true": "refused legs of a batch claim success: true",
    "malformed_frame": "the next N market frames are cut in half",
    "manual_redeem": "the tokens of a resolved market are not paid until the referee redeems them",
    "market_not_ready": "the next N orders are refused: market not yet ready",
    "mined_ms": "time from MATCHED or RETRYING to MINED, 1000 when 0",
    "missing_leg_side": "the next N trade events have maker legs without side",
    "no_book_on_subscribe": "the next N market subscriptions get no snapshot",
    "post_only_mode": "only post-only orders are taken; the value is retry_after_seconds",
    "reward_every_s": "each account is paid a reward of 1 dollar every so many seconds",
    "rate_limited": "the next N order or cancel calls get 429",
    "replace_hash": "the next N trades are CONFIRMED under another transaction hash",
    "request_lost": "the next N order or cancel calls are cut off and never arrive",
    "response_lost": "the next N order or cancel calls are done; the connection is cut before the answer",
    "restart_425": "order endpoints answer 425",
    "retry_trade": "the next N trades go RETRYING before they are MINED",
    "seconds_timestamps": "trade events carry seconds instead of milliseconds",
    "silent_socket": "market sockets answer PING and carry nothing else",
    "silent_user_socket": "user sockets answer PING and carry nothing else",
    "status_prefix": "orders read by REST have the ORDER_STATUS_ prefix",
    "unmined_tokens": "what was matched changes hands when it is MINED; before that it cannot be offered",
    "unknown_500": "the next N order or cancel calls are done and answered 500",
}


class Referee:
    """The admin port's view of this venue."""

    def __init__(
        self, venue: Venue, flow: Flow, reference: Reference, streams: Streams, log: RequestLog, money: Money
    ) -> None:
        self.faults, self.log = venue.faults, log
        self._levers = MoneyLevers(venue, money)
        self._venue, self._flow, self._reference, self._streams = venue, flow, reference, streams
        self.faults_changed()

    def account(self) -> dict[str, Any]:
        """Orders, fills, positions and cash of every key."""
        return account_view(self._venue)

    def clock_view(self) -> dict[str, Any]:
        """The venue's time, the reference price and the fair values."""
        fair = {market.slug: round(self._flow.fair(market), 4)
                for market in self._venue.markets.values() if not market.closed}  # fmt: skip
        return {"time_ms": self._venue.clock.now_ms(), "reference_dollars": self._reference.dollars,
                "reference_connects": self._reference.connects, "fair": fair}  # fmt: skip

    def book_view(self) -> dict[str, Any]:
        """Every book on its YES ladder."""
        return books_view(self._venue)

    def faults_changed(self) -> None:
        """Apply the switches that act at once."""
        self._venue.clock.offset_ms = self.faults.value("clock_offset_ms")
        self._streams.faults_changed()

    def move_market(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"shift": dollars added to the reference, "takers_per_s": x, "pause": bool, "expire": slug} and the
        levers on money, any of them."""
        unknown = set(body) - {"shift", "takers_per_s", "pause", "expire", *self._levers.names}
        if unknown or not body:
            raise RefereeError('give any of "shift" (dollars), "takers_per_s", "pause", "expire" (a slug), '
                               + ", ".join(f'"{name}"' for name in self._levers.names))  # fmt: skip
        if "shift" in body:
            self._reference.shift = float(body["shift"])
        if "takers_per_s" in body:
            self._flow.takers_per_s = float(body["takers_per_s"])
        if "pause" in body:
            self._flow.paused = bool(body["pause"])
        if "expire" in body:
            found = [market for market in self._venue.markets.values()
                     if market.slug == body["expire"] and not market.closed]  # fmt: skip
            if not found:
                raise RefereeError(f"no open market has the slug {body['expire']!r}; GET /orders lists them")
            self._flow.expire(found[0])
        for name in [name for name in self._levers.names if name in body]:
            self._levers.pull(name, body[name])
        return self.clock_view()

    def act_as_trader(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"asset_id", "side", "price", "size", "rest": bool} places, {"slug", "cancel": id} cancels."""
        try:
            market, outcome = self._venue.by_token[body["asset_id"]]
            if "cancel" in body:
                self._venue.remove_other(market, body["cancel"])
                self._venue.commit()
                return {"canceled": body["cancel"]}
            price, lots = round(float(body["price"]) * PRICE_ONE), round(float(body["size"]) * 100)
            side, rest = SIDE_NAMES.index(body["side"]), bool(body.get("rest", False))
        except (KeyError, ValueError, TypeError) as error:
            raise RefereeError('give "asset_id", "side" (BUY or SELL), "price", "size" and optionally '
                               '"rest": true, or "asset_id" and "cancel"') from error  # fmt: skip
        if market.closed or lots <= 0 or price % market.tick or not 0 < price < PRICE_ONE:
            grid = market.tick / PRICE_ONE
            raise RefereeError(f"the market is closed, or the price is not on its grid of {grid}")
        before = market.volume_micros
        order_id = self._venue.other_order(market, outcome, side, price, lots, rest)
        self._venue.commit()
        return {"order": order_id, "traded_micros": market.volume_micros - before}


def _credentials(state: StateFolder, venue: Venue) -> tuple[str, ApiKey]:
    """The test wallet's private key and its API key, made once per state folder."""
    document = state.read_document("wallet.json")
    if document is None:
        document = {"private_key": "0x" + secrets.token_hex(32)}
        state.write_document("wallet.json", document)
        (state.folder / "wallet.json").chmod(0o600)
    private_key = str(document["private_key"])
    public = PrivateKey(bytes.fromhex(private_key[2:])).public_key.format(compressed=False)
    address = str(to_checksum_address(keccak(public[1:])[12:]))
    key = venue.accounts.by_identity.get((address, 0)) or venue.create_key(address, 0)
    return private_key, key


async def _settle_and_trade(venue: Venue, flow: Flow, money: Money) -> None:
    """The venue's own time: settlement every TICK_S, the other traders every STEP_S."""
    loop = asyncio.get_running_loop()
    last = loop.time()
    while True:
        await asyncio.sleep(TICK_S)
        venue.tick()
        money.tick()
        now = loop.time()
        if now - last >= STEP_S:
            flow.step(min(now - last, 1.0))
            last = now


async def _note_prices(prices: PriceHistory) -> None:
    """What is asked about later."""
    while True:
        prices.note()
        await asyncio.sleep(NOTE_S)


async def run(options: Options) -> None:
    """Serve until SIGTERM, then write account.json."""
    stopped = asyncio.create_task(stop_event().wait())
    clock, faults = Clock(), Faults(FAULTS, options.faults)
    state = StateFolder(options.state)
    state.forget_document("account.json")  # of the last end: it would pass for the present account
    log = RequestLog(clock.now_ms)
    streams = Streams(clock, faults, log)
    venue = Venue(clock, faults, state, streams)
    venue.restore()
    streams.attach(venue.accounts, venue.by_token)
    private_key, key = _credentials(state, venue)
    reference = Reference(options.reference, options.seed)
    flow = Flow(venue, reference, options.seed, options.profile == "neg-risk")
    money = Money(venue)
    referee = Referee(venue, flow, reference, streams, log, money)
    certificates = None if options.plain else certificates_in(options.state)
    following = asyncio.create_task(reference.run())
    first = asyncio.create_task(reference.first.wait())
    await asyncio.wait((first, stopped), timeout=FIRST_PRICE_S, return_when=asyncio.FIRST_COMPLETED)
    first.cancel()
    flow.step(0.0)
    prices = PriceHistory(venue, Candles(state.folder))
    app = Rest(venue, log, RATE_TIER, prices).application(streams)
    runner, port = await listen(app, options.port, server_context(certificates) if certificates else None)
    admin, admin_port = await listen(admin_application(referee), options.admin_port)
    living = asyncio.create_task(_settle_and_trade(venue, flow, money))
    noting = asyncio.create_task(_note_prices(prices))
    announce(_ready_line(port, admin_port, certificates, private_key, key))
    try:
        await asyncio.wait((stopped, living, following), return_when=asyncio.FIRST_COMPLETED)
        for task in (living, following):
            if task.done():
                # A task that ended of itself had a bug: end with its error.
                task.result()
    finally:
        stopped.cancel()
        for task in (living, following, noting):
            task.cancel()
        state.write_document("account.json", referee.account())
        await streams.close()
        await runner.cleanup()
        await admin.cleanup()
        # Once more, with what was still asked while the sockets closed.
        state.write_document("account.json", referee.account())


def _ready_line(port: int, admin_port: int, certificates: Certificates | None, private_key: str,
                key: ApiKey) -> dict[str, Any]:  # fmt: skip
    secure = "" if certificates is None else "s"
    http, socket = f"http{secure}://127.0.0.1:{port}", f"ws{secure}://127.0.0.1:{port}"
    return {
        "venue": "polymarket", "clob": http, "ws": socket, "gamma": http, "data": http, "relayer": http,
        "rpc": http, "ca": str(certificates.ca) if certificates else None,
        "credentials": {"private_key": private_key, "address": key.address, "api_key": key.key,
                        "api_secret": key.secret, "passphrase": key.passphrase},
        "admin": f"http://127.0.0.1:{admin_port}",
    }  # fmt: skip
