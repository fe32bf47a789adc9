"""The one file that knows polymarket-client: CLOB REST, Gamma discovery, signing, order hashes.

The client is pinned exactly. Its place_* methods and its wallet-less create() are never called, because
they send on-chain transactions by themselves. Every URL of its environment is set, because what is left
alone points at production. The client makes its own HTTP connections and can be given no TLS context;
httpx reads SSL_CERT_FILE when it makes one, so a venue with its own CA is trusted through that.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import structlog
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from polymarket import ApiKeyCreds, AsyncPublicClient, AsyncSecureClient
from polymarket._internal.actions.account import build_update_balance_allowance_request
from polymarket._internal.environment import PRODUCTION_CONFIG, create_environment
from polymarket._internal.wallet import signature_type_for
from polymarket.environments import Environment
from polymarket.errors import (
    OrderHeartbeatMismatchError,
    PolymarketError,
    RateLimitError,
    RequestRejectedError,
    UserInputError,
)
from polymarket.models.clob.cancel import CancelOrdersResponse
from polymarket.models.clob.order_response import AcceptedOrder, OrderResponse
from polymarket.models.clob.orders import SignedOrder
from polymarket.models.gamma.market import Market as GammaMarket

from bridge.messages import RejectReason
from polymarket_bot.api.activity import Movement, read_movements
from polymarket_bot.api.decimals import format_scaled, parse_scaled
from polymarket_bot.api.errors_table import SubmitResult, Verdict, classify
from polymarket_bot.api.trades import TradeReader
from polymarket_bot.errors import (
    ConfigurationError,
    CredentialsError,
    HeartbeatTakenError,
    VenueAccountError,
    VenueError,
)
from polymarket_bot.model import (
    Direction,
    Fee,
    Intent,
    Market,
    OrderUpdate,
    Price,
    Side,
    Size,
    TradeUpdate,
)

log = structlog.get_logger("polymarket")

READ_TIMEOUT_S = 5.0
SUBMIT_TIMEOUT_S = 5.0
HISTORY_TIMEOUT_S = 120.0  # all trades of an account, a hundred a page
MAX_BATCH = 15
ACTIVITY_PAGE = 500


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where one Polymarket is; `ca` is a PEM file to trust instead of the system's, or empty."""

    clob: str
    ws: str
    gamma: str
    data: str
    relayer: str
    rpc: str
    ca: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Secrets of one account; the repr shows none of them."""

    private_key: str
    wallet: str
    api_key: str
    api_secret: str
    passphrase: str

    def __repr__(self) -> str:
        return "Credentials(***)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole book of one token: levels as (price, size)."""

    token: str
    condition_id: str
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    tick: int
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A signed order and the id that it will have at the venue."""

    intent: Intent
    order_id: str
    signed: Any


@dataclass(frozen=True, slots=True)
class CancelResult:
    canceled: frozenset[str]
    not_canceled: dict[str, str]


class Exchange(Protocol):
    """What the execution engine needs of a venue. Reads raise VenueError; submit never raises."""

    async def discover(self, choice: MarketChoice, now_wall_ns: int) -> list[Market]: ...
    async def market(self, condition_id: str) -> Market | None: ...
    async def winner(self, market: Market) -> int | None: ...
    async def resolved_s(self, market: Market) -> int | None: ...
    async def price_at(self, token: str, wall_s: int) -> Price | None: ...
    async def books(self, tokens: Sequence[str]) -> list[Snapshot]: ...
    async def prepare(self, intent: Intent, market: Market) -> Prepared: ...
    async def submit(self, orders: Sequence[Prepared]) -> list[SubmitResult]: ...
    async def cancel(self, order_ids: Sequence[str]) -> CancelResult: ...
    async def cancel_all(self) -> CancelResult: ...
    async def open_orders(self) -> list[OrderUpdate]: ...
    async def trades(self, after_s: int) -> list[TradeUpdate]: ...
    async def balance(self, token: str | None) -> int: ...
    async def refresh_balance(self, token: str | None) -> None: ...
    async def heartbeat(self, heartbeat_id: str) -> str: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class MarketChoice:
    """Which markets to trade: those whose title has one of the words, nearest expiries first."""

    words: tuple[str, ...]
    limit: int
    min_remaining_ns: int
    max_remaining_ns: int
    reference: str
    tag_id: int | None = None


# --- order hash (EIP-712), computed before an order is sent --------------------------------------

_ORDER_TYPE_HASH = keccak(
    b"Order(uint256 salt,address maker,address signer,uint256 tokenId,uint256 makerAmount,"
    b"uint256 takerAmount,uint8 side,uint8 signatureType,uint256 timestamp,bytes32 metadata,bytes32 builder)"
)
_DOMAIN_TYPE_HASH = keccak(
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_NAME_HASH = keccak(b"Polymarket CTF Exchange")
_ORDER_TYPES = (
    "bytes32", "uint256", "address", "address", "uint256", "uint256", "uint256", "uint8", "uint8",
    "uint256", "bytes32", "bytes32",
)  # fmt: skip


def domain_separator(version: str, chain_id: int, contract: str) -> bytes:
    return keccak(
        abi_encode(
            ("bytes32", "bytes32", "bytes32", "uint256", "address"),
            (_DOMAIN_TYPE_HASH, _NAME_HASH, keccak(version.encode()), chain_id, contract),
        )
    )


def order_hash(separator: bytes, order: SignedOrder) -> str:
    """The EIP-712 hash of the order, which is its id at the venue."""
    fields = (
        _ORDER_TYPE_HASH, order.salt, order.maker, order.signer, int(order.token_id), order.maker_amount,
        order.taker_amount, 0 if order.side == "BUY" else 1, order.signature_type, order.timestamp,
        bytes.fromhex(order.metadata[2:]), bytes.fromhex(order.builder[2:]),
    )  # fmt: skip
    return "0x" + keccak(b"\x19\x01" + separator + keccak(abi_encode(_ORDER_TYPES, fields))).hex()


def is_protocol_v2(token: str) -> bool:
    """Position ids of protocol V2 have bits 40 to 103 all zero."""
    return (int(token) >> 40) & ((1 << 64) - 1) == 0


# --- the adapter ---------------------------------------------------------------------------------


def make_environment(endpoints: Endpoints) -> Environment:
    """An environment of the client in which no URL is left at production's."""
    clob, data, ws = endpoints.clob, endpoints.data, endpoints.ws
    config = dataclasses.replace(
        PRODUCTION_CONFIG,
        clob_url=clob,
        clob_market_ws_url=ws + "/ws/market",
        clob_user_ws_url=ws + "/ws/user",
        gamma_url=endpoints.gamma,
        data_url=data,
        relayer_url=endpoints.relayer,
        rpc_url=endpoints.rpc,
        rfq_url=clob,
        perps_url=clob,
        collateral_return_url=clob,
        builder_gateway_url=clob,
        rtds_ws_url=ws,
        sports_ws_url=ws,
        realtime_ws_url=ws,
        perps_ws_url=ws,
        rfq_quoter_ws_url=ws,
    )
    return create_environment(name="purser", config=config)


def trust(ca: str) -> None:
    """Make this process's HTTP clients trust the given CA and reach loopback without a proxy."""
    if not ca:
        return
    if not os.access(ca, os.R_OK):
        raise ConfigurationError(f"the CA file {ca} cannot be read: start the venue simulator again.")
    os.environ["SSL_CERT_FILE"] = ca
    os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost")))


class Polymarket:
    """The real venue, live or simulated. Without credentials only public reads work."""

    def __init__(self, endpoints: Endpoints, credentials: Credentials | None) -> None:
        self._endpoints = endpoints
        self._credentials = credentials
        self._environment = make_environment(endpoints)
        self._public: AsyncPublicClient | None = None
        self._secure: AsyncSecureClient | None = None
        self._markets: dict[str, Market] = {}
        self._reference = "BTCUSDT"
        self._separators: dict[tuple[str, str], bytes] = {}
        owner = credentials.api_key if credentials else ""
        wallet = credentials.wallet if credentials else ""
        self.reader = TradeReader(owner, wallet, self._fee_of)

    @classmethod
    async def connect(cls, endpoints: Endpoints, credentials: Credentials | None) -> Polymarket:
        trust(endpoints.ca)
        venue = cls(endpoints, credentials)
        if credentials is None:
            venue._public = AsyncPublicClient(environment=venue._environment)
            return venue
        keys = ApiKeyCreds(
            key=credentials.api_key, secret=credentials.api_secret, passphrase=credentials.passphrase
        )
        try:
            async with asyncio.timeout(READ_TIMEOUT_S * 2):
                # The public create() would derive another API key when ours is refused, and deploy a
                # deposit wallet when there is none: neither is ours to do by surprise.
                venue._secure = await AsyncSecureClient._create(
                    private_key=credentials.private_key,
                    wallet=credentials.wallet,
                    environment=venue._environment,
                    credentials=keys,
                    validate_credentials=False,
                )
                closed_only = await venue._secure.get_closed_only_mode()
        except UserInputError as error:
            raise CredentialsError(f"the Polymarket credentials cannot be used: {error}") from error
        except RequestRejectedError as error:
            await venue.close()
            if error.status in (400, 401, 403):
                raise CredentialsError(
                    f"Polymarket refused the credentials ({error}): check the keys file."
                ) from error
            raise VenueError(f"Polymarket did not answer: {error}") from error
        except (PolymarketError, TimeoutError) as error:
            await venue.close()
            raise VenueError(f"Polymarket cannot be reached at {endpoints.clob}: {error}") from error
        if closed_only:
            await venue.close()
            raise CredentialsError("Polymarket has put this account into close-only mode: ask the venue why.")
        return venue

    async def close(self) -> None:
        for client in (self._secure, self._public):
            if client is not None:
                await client.close()

    def _fee_of(self, token: str) -> Fee:
        market = self._markets.get(token)
        return market.fee if market else Fee()

    @property
    def _client(self) -> AsyncSecureClient:
        if self._secure is None:
            raise VenueError("this mode has no credentials")
        return self._secure

    @property
    def _reading(self) -> AsyncSecureClient | AsyncPublicClient:
        client = self._secure or self._public
        if client is None:
            raise VenueError("the venue is not connected")
        return client

    # --- public reads ---

    async def discover(self, choice: MarketChoice, now_wall_ns: int) -> list[Market]:
        """Open binary markets on the reference, nearest expiry first, at most choice.limit."""
        found: list[Market] = []
        self._reference = choice.reference
        async with _asking("markets", READ_TIMEOUT_S * 4):
            pages = 0
            paginator = self._reading.list_markets(closed=False, tag_id=choice.tag_id, page_size=100)
            async for page in paginator:
                found += [
                    m for item in page.items if (m := read_market(item, choice, now_wall_ns)) is not None
                ]
                pages += 1
                if pages >= 20:
                    break
        found.sort(key=lambda market: (market.expiry_ns, market.condition_id))
        for market in found:
            self.know(market)
        return found

    def know(self, market: Market) -> None:
        """The fee of a trade is computed from its market's terms, also those of an earlier run."""
        for token in market.tokens:
            self._markets[token] = market

    async def market(self, condition_id: str) -> Market | None:
        """The terms of one market, open or closed; None when it is none that we can price."""
        async with _asking("market", READ_TIMEOUT_S * 2):
            for closed in (False, True):
                pages = self._reading.list_markets(condition_ids=condition_id, closed=closed, page_size=20)
                async for page in pages:
                    for item in page.items:
                        if item.condition_id == condition_id:
                            return read_terms(item, self._reference)
        return None

    async def winner(self, market: Market) -> int | None:
        """0 when YES won, 1 when NO won, None while the market is not resolved."""
        async with _asking("resolution", READ_TIMEOUT_S):
            items = [
                item
                async for page in self._reading.list_markets(
                    condition_ids=market.condition_id, closed=True, page_size=20
                )
                for item in page.items
            ]
        for item in items:
            if item.condition_id == market.condition_id and item.state.closed:
                prices = (item.outcomes.yes.price, item.outcomes.no.price)
                if prices in ((Decimal(1), Decimal(0)), (Decimal(0), Decimal(1))):
                    return 0 if prices[0] == 1 else 1
        return None

    async def resolved_s(self, market: Market) -> int | None:
        """When trading in a resolved market ended, in seconds; None while it is not resolved. One of which
        the venue keeps no time counts as ended when it expired."""
        if await self.winner(market) is None:
            return None
        async with _asking("resolution", READ_TIMEOUT_S):
            pages = self._reading.list_markets(condition_ids=market.condition_id, closed=True, page_size=20)
            async for page in pages:
                for item in page.items:
                    if item.condition_id == market.condition_id and item.state.closed_time is not None:
                        return int(item.state.closed_time.timestamp())
        return market.expiry_ns // 1_000_000_000

    async def price_at(self, token: str, wall_s: int) -> Price | None:
        """The last price of a token known at this second; None when the venue has none to tell."""
        try:
            async with _asking("price history", READ_TIMEOUT_S):
                pages = self._reading.list_price_history(asset_id=token, as_of=wall_s)
                points = [point async for page in pages for point in page.items]
        except VenueError as error:
            refused = error.__cause__
            if isinstance(refused, RequestRejectedError) and refused.status in (400, 404, 501):
                return None
            raise
        return Price(parse_scaled(points[-1].price)) if points else None

    async def books(self, tokens: Sequence[str]) -> list[Snapshot]:
        async with _asking("books", READ_TIMEOUT_S):
            books = await self._reading.get_order_books(asset_ids=list(tokens))
        return [
            Snapshot(
                str(book.asset_id),
                str(book.condition_id),
                tuple((parse_scaled(level.price), parse_scaled(level.size)) for level in book.bids),
                tuple((parse_scaled(level.price), parse_scaled(level.size)) for level in book.asks),
                parse_scaled(book.tick_size),
                int(book.timestamp.timestamp() * 1000) if book.timestamp else 0,
            )
            for book in books
        ]

    # --- orders ---

    async def prepare(self, intent: Intent, market: Market) -> Prepared:
        """Sign the order and compute its id. Nothing is sent, except a first read of the market's rules."""
        async with _asking("order rules", READ_TIMEOUT_S):
            signed = await self._client.create_limit_order(
                asset_id=intent.token,
                price=Decimal(format_scaled(intent.price)),
                size=Decimal(format_scaled(intent.size)),
                side="BUY" if intent.side is Side.BUY else "SELL",
                post_only=intent.post_only,
            )
        return Prepared(intent, order_hash(self._separator(intent.token, market), signed), signed)

    def _separator(self, token: str, market: Market) -> bytes:
        config = PRODUCTION_CONFIG
        if is_protocol_v2(token):
            version, contract = "3", config.exchange_v3
        else:
            version = "2"
            contract = config.neg_risk_exchange if market.negative_risk else config.standard_exchange
        key = (version, contract)
        if key not in self._separators:
            self._separators[key] = domain_separator(version, config.chain_id, contract)
        return self._separators[key]

    async def submit(self, orders: Sequence[Prepared]) -> list[SubmitResult]:
        """Send up to MAX_BATCH orders; one result an order, in order. Never raises but CancelledError."""
        try:
            async with asyncio.timeout(SUBMIT_TIMEOUT_S):
                if len(orders) == 1:
                    answers: Sequence[OrderResponse] = (await self._client.post_order(orders[0].signed),)
                else:
                    answers = await self._client.post_orders([order.signed for order in orders])
        except (PolymarketError, TimeoutError) as error:
            return [submit_error(error)] * len(orders)
        if len(answers) != len(orders):
            return [SubmitResult(Verdict.UNKNOWN, text="the answer has another number of orders")] * len(
                orders
            )
        return [submit_answer(answer) for answer in answers]

    async def cancel(self, order_ids: Sequence[str]) -> CancelResult:
        async with _asking("cancel", SUBMIT_TIMEOUT_S):
            if len(order_ids) == 1:
                answer = await self._client.cancel_order(order_id=order_ids[0])
            else:
                answer = await self._client.cancel_orders(order_ids=list(order_ids))
        return _cancel_result(answer)

    async def cancel_all(self) -> CancelResult:
        async with _asking("cancel-all", SUBMIT_TIMEOUT_S):
            answer = await self._client.cancel_all()
        return _cancel_result(answer)

    # --- private reads ---

    async def open_orders(self) -> list[OrderUpdate]:
        async with _asking("open orders", READ_TIMEOUT_S):
            return [
                _order_update(item) async for page in self._client.list_open_orders() for item in page.items
            ]

    async def trades(self, after_s: int) -> list[TradeUpdate]:
        """All trades of the account matched at or after the given second, oldest first."""
        patience_s = READ_TIMEOUT_S * 2 if after_s > 0 else HISTORY_TIMEOUT_S
        async with _asking("trades", patience_s):
            items = [
                item
                async for page in self._client.list_account_trades(after=str(max(0, after_s)))
                for item in page.items
            ]
        items.reverse()  # the venue lists the newest first; those of one second keep their order
        items.sort(key=lambda item: item.matched_at)
        return [self.reader.read(_trade_fields(item)) for item in items]

    async def balance(self, token: str | None) -> int:
        """Base units (1e-6) of pUSD, or of a token."""
        kind = "COLLATERAL" if token is None else "CONDITIONAL-V2" if is_protocol_v2(token) else "CONDITIONAL"
        async with _asking("balance", READ_TIMEOUT_S):
            answer = await self._client.get_balance_allowance(asset_type=kind, asset_id=token)  # type: ignore[arg-type]
        return answer.balance

    async def refresh_balance(self, token: str | None) -> None:
        """Make the CLOB read its cached balance again from the chain."""
        kind = "COLLATERAL" if token is None else "CONDITIONAL-V2" if is_protocol_v2(token) else "CONDITIONAL"
        context = self._client._ctx
        path, params = build_update_balance_allowance_request(
            asset_type=kind,  # type: ignore[arg-type]
            asset_id=token,
            signature_type=signature_type_for(context.wallet_type),
        )
        async with _asking("balance refresh", READ_TIMEOUT_S):
            await context.secure_clob.get_bytes(path, params=params)

    async def activity(self, after_s: int) -> list[Movement]:
        """Everything that moved money without a trade at or after the given second, oldest first, paged to
        its end. Tips are shown only to those who name them."""
        items: list[Any] = []
        async with _asking("activity", READ_TIMEOUT_S * 4):
            for types in (None, ["TIP"]):
                pages = self._client.list_activity(
                    activity_types=types,  # type: ignore[arg-type]
                    start=max(1, after_s),
                    sort_direction="ASC",
                    page_size=ACTIVITY_PAGE,
                )
                async for page in pages:
                    items += page.items
        return read_movements(items)

    async def heartbeat(self, heartbeat_id: str) -> str:
        """Renew the dead-man switch; gives the id for the next time. HeartbeatTakenError when the venue
        expects another one: then nothing was renewed."""
        async with _asking("heartbeat", READ_TIMEOUT_S):
            try:
                return (await self._client.send_order_heartbeat(heartbeat_id=heartbeat_id)).heartbeat_id
            except OrderHeartbeatMismatchError as mismatch:
                raise HeartbeatTakenError(mismatch.heartbeat_id or "") from mismatch


@asynccontextmanager
async def _asking(what: str, timeout_s: float) -> AsyncIterator[None]:
    """Every wait on the venue has an end; the client's errors become ours."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except RequestRejectedError as error:
        if error.status == 401:
            raise VenueAccountError(f"Polymarket refuses the API key ({what}): check the keys.") from error
        raise VenueError(f"{what}: {error.status} {error}") from error
    except (PolymarketError, TimeoutError) as error:
        raise VenueError(f"{what}: {type(error).__name__} {error}") from error


def submit_error(error: Exception) -> SubmitResult:
    """The meaning of an exception of the client, raised while orders were being sent."""
    if isinstance(error, RateLimitError):
        limited = error.retry_after is not None or error.rate_limit is not None
        return classify(429, str(error), limited=limited, retry_after_s=int(error.retry_after or 1))
    if isinstance(error, RequestRejectedError):
        retry = int(error.retry_after or 0)
        text = f"{error.code}: {error}" if error.code else str(error)
        return classify(error.status, text, retry_after_s=retry)
    if isinstance(error, UserInputError):  # refused by the client itself, before anything was sent
        return SubmitResult(Verdict.REJECTED, RejectReason.BAD_ORDER, str(error)[:120])
    return SubmitResult(Verdict.UNKNOWN, text=f"{type(error).__name__}: {error}"[:120])


def submit_answer(answer: OrderResponse) -> SubmitResult:
    """The meaning of one order's part of a 200 answer."""
    if isinstance(answer, AcceptedOrder):
        return SubmitResult(
            Verdict.ACCEPTED,
            order_id=str(answer.order_id),
            matched=answer.status != "live",
            text=answer.status,
        )
    return classify(200, answer.message)


def _cancel_result(answer: CancelOrdersResponse) -> CancelResult:
    kept = {str(order_id): reason for order_id, reason in answer.not_canceled.items()}
    return CancelResult(frozenset(map(str, answer.canceled)), kept)


def _order_update(item: Any) -> OrderUpdate:
    return OrderUpdate(
        str(item.id),
        str(item.condition_id),
        str(item.asset_id),
        Side[item.side],
        Price(parse_scaled(item.price)),
        Size(parse_scaled(item.original_size)),
        Size(parse_scaled(item.size_matched)),
        True,
        str(item.status),
    )


def _trade_fields(item: Any) -> dict[str, Any]:
    """A trade of the client's model, in the wire's words."""
    return {
        "id": item.id,
        "status": item.status,
        "market": str(item.condition_id),
        "asset_id": str(item.asset_id),
        "side": item.side,
        "price": item.price,
        "size": item.size,
        "owner": item.owner,
        "maker_address": item.maker_address,
        "taker_order_id": item.taker_order_id,
        "trader_side": item.trader_side,
        "match_time": int(item.matched_at.timestamp() * 1000),
        "maker_orders": [
            {
                "order_id": leg.order_id,
                "owner": leg.owner,
                "maker_address": leg.maker_address,
                "asset_id": str(leg.asset_id),
                "side": leg.side,
                "price": leg.price,
                "matched_amount": leg.matched_amount,
            }
            for leg in item.maker_orders
        ],
    }


# --- what a market is about ----------------------------------------------------------------------

_STRIKE = re.compile(r"(above|below)\s+\$?\s*([0-9][0-9,]*(?:\.[0-9]+)?)", re.IGNORECASE)
_PRICE_TO_BEAT = re.compile(r"price to beat[^0-9]{0,12}([0-9][0-9,]*(?:\.[0-9]+)?)", re.IGNORECASE)


def read_strike(question: str, description: str) -> tuple[int, Direction] | None:
    """The strike in micros and the direction, from a market's title or, for "up or down" markets, from
    the price to beat in its description."""
    match = _STRIKE.search(question)
    if match is not None:
        return parse_scaled(match[2].replace(",", "")), Direction(match[1].lower())
    if "up or down" in question.lower():
        beat = _PRICE_TO_BEAT.search(description)
        if beat is not None:
            return parse_scaled(beat[1].replace(",", "").rstrip(".")), Direction.ABOVE
    return None


def read_market(item: GammaMarket, choice: MarketChoice, now_wall_ns: int) -> Market | None:
    """Our view of a Gamma market, or None when it is not one that we want to trade now."""
    state = item.state
    folded = (item.question or "").lower()
    if not any(word in folded for word in choice.words):
        return None
    if state.closed or not state.accepting_orders or not state.enable_order_book:
        return None
    market = read_terms(item, choice.reference)
    if market is None:
        return None
    remaining_ns = market.expiry_ns - now_wall_ns
    return market if choice.min_remaining_ns <= remaining_ns <= choice.max_remaining_ns else None


def read_terms(item: GammaMarket, reference: str) -> Market | None:
    """What a Gamma market is about, open or not; None when it is not one that we can price."""
    question, state, trading = item.question or "", item.state, item.trading
    yes, no = item.outcomes.yes, item.outcomes.no
    tokens = (yes.token_id or yes.position_id, no.token_id or no.position_id)
    strike = read_strike(question, item.description or "")
    if strike is None or item.condition_id is None or not all(tokens):
        return None
    if trading.minimum_tick_size is None or state.end_date is None:
        return None
    expiry_ns = int(state.end_date.timestamp()) * 1_000_000_000
    fee = Fee()
    if trading.fee_schedule is not None and trading.fees_enabled:
        fee = Fee(parse_scaled(trading.fee_schedule.rate), int(trading.fee_schedule.exponent))
    end = time.strftime("%m%dT%H%M", time.gmtime(expiry_ns // 1_000_000_000))
    letter = "U" if "up or down" in question.lower() else ">" if strike[1] is Direction.ABOVE else "<"
    name = f"BTC{letter}{format_scaled(strike[0])}@{end}"
    return Market(
        condition_id=str(item.condition_id),
        slug=item.slug or "",
        question="".join(c for c in question if c.isprintable())[:120],
        tokens=(str(tokens[0]), str(tokens[1])),
        symbols=(f"{name}-YES"[:31], f"{name}-NO"[:31]),
        tick=Price(parse_scaled(trading.minimum_tick_size)),
        minimum_size=Size(parse_scaled(trading.minimum_order_size or 5)),
        negative_risk=bool(state.neg_risk),
        fee=fee,
        strike_micros=strike[0],
        direction=strike[1],
        expiry_ns=expiry_ns,
        reference=reference,
    )
