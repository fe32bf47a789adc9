"""Who owns what: API keys, wallets, positions, and the fills that made them.

Money is in micro-dollars, fees in 1e-8 dollar, sizes in lots of 0.01 share. A trade is booked when it
is matched; when its settlement fails it is taken back, and the position is what the other fills alone
would have made of it.
"""

from __future__ import annotations

import secrets
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from simulators.polymarket_markets import FEE_RATE_E4, Market
from simulators.polymarket_matching import BUY, LOTS_PER_SHARE, PRICE_ONE, SELL, SIDE_NAMES

if TYPE_CHECKING:
    from simulators.polymarket_money import Movement

INITIAL_CASH_MICROS = 10_000_000_000
ALLOWANCE_MAX = 2**256 - 1
MATCHED, MINED, CONFIRMED, RETRYING, FAILED = "MATCHED", "MINED", "CONFIRMED", "RETRYING", "FAILED"
FINAL = (CONFIRMED, FAILED)
SETTLEMENT = "settlement"
# How the venue's other traders are named on the wire.
OTHERS_WALLET = str(to_checksum_address(keccak(b"the other traders")[12:]))
OTHERS_KEY = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """L2 credentials of one address."""

    key: str
    secret: str
    passphrase: str
    address: str
    nonce: int


def new_api_key(address: str, nonce: int) -> ApiKey:
    """Fresh credentials in the venue's formats."""
    secret = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return ApiKey(str(uuid.uuid4()), secret, secrets.token_hex(32), address, nonce)


@dataclass(slots=True)
class Leg:
    """One order's part of a trade, in terms of its own outcome."""

    order_id: str
    owner: str
    wallet: str
    outcome: int
    side: int
    price: int
    lots: int
    fee_e8: int = 0


@dataclass(slots=True, eq=False)
class Trade:
    """A taker and the makers it met at one price. `owner` is empty in legs of the venue's other traders."""

    trade_id: str
    market: Market
    taker: Leg
    makers: list[Leg]
    match_ms: int
    status: str = MATCHED
    update_ms: int = 0
    hash: str = ""
    number: int = 0  # in the order of matching
    moved: bool = True  # the wallets have exchanged what was traded; where tokens are mined first, only then
    mined_ms: int = 0

    def legs(self) -> list[Leg]:
        """The legs that belong to an API key."""
        return [leg for leg in (self.taker, *self.makers) if leg.owner]


def taker_fee_e8(price: int, lots: int) -> int:
    """shares x rate x p(1-p), rounded half up to 5 decimals of a dollar."""
    numerator = lots * FEE_RATE_E4 * price * (PRICE_ONE - price)
    unit = LOTS_PER_SHARE * 10_000 * PRICE_ONE * PRICE_ONE // 100_000
    return (numerator + unit // 2) // unit * 1_000


@dataclass(slots=True)
class Position:
    """A signed quantity, the exact cost of what is open, and what was made of what is closed."""

    quantity: int = 0
    cost: int = 0
    realized: int = 0
    fees_e8: int = 0
    cash_flow: int = 0

    def apply(self, side: int, price: int, lots: int, fee_e8: int) -> None:
        """Book one fill. Closing releases cost in proportion, rounded towards zero; closing all
        releases it exactly."""
        sign = 1 if side == BUY else -1
        self.cash_flow -= sign * price * lots
        self.fees_e8 += fee_e8
        closed = min(lots, abs(self.quantity)) if self.quantity * sign < 0 else 0
        if closed:
            held = abs(self.quantity)
            share = abs(self.cost) * closed // held
            released = share if self.cost >= 0 else -share
            self.realized += -sign * price * closed - released
            self.cost -= released
            self.quantity += sign * closed
        opened = lots - closed
        self.cost += sign * price * opened
        self.quantity += sign * opened


@dataclass(slots=True)
class Wallet:
    """Cash and outcome tokens of one address."""

    cash: int = INITIAL_CASH_MICROS
    tokens: dict[str, int] = field(default_factory=dict)
    # What the order book's cache of the balances has not seen of both.
    unseen_cash: int = 0
    unseen_tokens: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """A line of a position's history."""

    trade_id: str
    side: int
    price: int
    lots: int
    fee_e8: int
    taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Payout:
    """What a wallet was paid for its tokens of one resolved market."""

    wallet: str
    lots: dict[str, int]
    paid: int


class Accounts:
    """All keys, wallets and positions."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.by_identity: dict[tuple[str, int], ApiKey] = {}
        self.wallets: dict[str, Wallet] = {}
        self.wallet_owner: dict[str, str] = {}
        self.positions: dict[tuple[str, str], Position] = {}
        self.history: dict[tuple[str, str], list[Entry]] = {}
        self.fills: dict[str, list[tuple[Trade, Leg]]] = {}
        self.settlements: dict[str, list[dict[str, Any]]] = {}
        self.movements: list[Movement] = []
        self.unmined: dict[str, Trade] = {}

    def add_key(self, key: ApiKey) -> None:
        """Make a key known. Its address has a wallet from then on."""
        self.keys[key.key] = key
        self.by_identity[(key.address, key.nonce)] = key
        self.wallet(key.address)

    def remove_key(self, key: ApiKey) -> None:
        """Forget a key; its history stays."""
        self.keys.pop(key.key, None)
        self.by_identity.pop((key.address, key.nonce), None)

    def wallet(self, address: str) -> Wallet:
        """The wallet of an address; a new one is funded and has approved the exchanges."""
        return self.wallets.setdefault(address, Wallet())

    def book(self, trade: Trade) -> None:
        """Book every leg that belongs to a key."""
        if not trade.moved:
            self.unmined[trade.trade_id] = trade
        for leg in trade.legs():
            token = trade.market.tokens[leg.outcome]
            if trade.moved:
                self._move(leg, token, 1)
            entry = Entry(trade.trade_id, leg.side, leg.price, leg.lots, leg.fee_e8)
            self.history.setdefault((leg.owner, token), []).append(entry)
            self.position(leg.owner, token).apply(leg.side, leg.price, leg.lots, leg.fee_e8)
            self.fills.setdefault(leg.owner, []).append((trade, leg))

    def position(self, key: str, token: str) -> Position:
        """What a key holds of a token."""
        return self.positions.setdefault((key, token), Position())

    def mine(self, trade: Trade) -> None:
        """The trade is on chain: what was matched changes hands, if it did not at once."""
        if self.unmined.pop(trade.trade_id, None) is None:
            return
        trade.moved = True
        for leg in trade.legs():
            self._move(leg, trade.market.tokens[leg.outcome], 1)

    def free_cash(self, address: str) -> int:
        """What the order book knows that the wallet has, less what matched trades will still take."""
        wallet = self.wallet(address)
        return (
            wallet.cash
            - wallet.unseen_cash
            - sum(
                leg.price * leg.lots + leg.fee_e8 // 100 for leg in self._unmined(address) if leg.side == BUY
            )
        )

    def free_tokens(self, address: str, token: str) -> int:
        """The same of a token, in lots."""
        wallet = self.wallet(address)
        return (
            wallet.tokens.get(token, 0)
            - wallet.unseen_tokens.get(token, 0)
            - sum(leg.lots for leg in self._unmined(address, token) if leg.side == SELL)
        )

    def _unmined(self, address: str, token: str | None = None) -> list[Leg]:
        return [leg for trade in self.unmined.values() for leg in trade.legs()
                if leg.wallet == address and token in (None, trade.market.tokens[leg.outcome])]  # fmt: skip

    def take_back(self, trade: Trade) -> None:
        """Undo a trade whose settlement failed: rebuild the positions from the other fills."""
        self.unmined.pop(trade.trade_id, None)
        for leg in trade.legs():
            token = trade.market.tokens[leg.outcome]
            if trade.moved:
                self._move(leg, token, -1)
            position = Position()
            for entry in self.history[(leg.owner, token)]:
                entry.taken_back |= entry.trade_id == trade.trade_id
                if not entry.taken_back:
                    position.apply(entry.side, entry.price, entry.lots, entry.fee_e8)
            self.positions[(leg.owner, token)] = position

    def redeem(self, market: Market, winner: int) -> list[Payout]:
        """Turn every wallet's tokens of a resolved market into dollars; gives who got what for how much."""
        payouts = []
        for address, wallet in self.wallets.items():
            held = {token: wallet.tokens.pop(token, 0) for token in market.tokens}
            if any(held.values()):
                paid = PRICE_ONE * held[market.tokens[winner]]
                wallet.cash += paid
                payouts.append(Payout(address, held, paid))
        return payouts

    def settle(self, market: Market, winner: int, time_ms: int, pay: bool = True) -> list[Payout]:
        """A winning share is worth one dollar from now on, the others nothing. Gives what was paid for
        them, unless that waits for a redemption by hand."""
        for outcome, token in enumerate(market.tokens):
            price = PRICE_ONE if outcome == winner else 0
            for (owner, held), position in self.positions.items():
                if held != token or position.quantity == 0:
                    continue
                lots, side = abs(position.quantity), SELL if position.quantity > 0 else BUY
                position.apply(side, price, lots, 0)
                self.history[(owner, token)].append(Entry(SETTLEMENT, side, price, lots, 0))
                self.settlements.setdefault(owner, []).append({
                    "asset_id": token, "symbol": symbol_of(market, outcome), "side": SIDE_NAMES[side],
                    "price_e9": price * 100_000, "quantity_e9": lots * 10_000_000, "time_ms": time_ms,
                })  # fmt: skip
        return self.redeem(market, winner) if pay else []

    def _move(self, leg: Leg, token: str, direction: int) -> None:
        wallet = self.wallet(leg.wallet)
        sign = direction if leg.side == BUY else -direction
        wallet.cash -= sign * leg.price * leg.lots + direction * leg.fee_e8 // 100
        wallet.tokens[token] = wallet.tokens.get(token, 0) + sign * leg.lots


def symbol_of(market: Market, outcome: int) -> str:
    """How the referee names a token."""
    return f"{market.slug}:{market.outcomes[outcome].upper()}"
