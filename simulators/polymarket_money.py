"""Money and tokens that move at Polymarket without a trade, and the referee's hand on them.

Rewards, rebates, deposits and withdrawals move collateral; a split turns a dollar into one token of each
outcome and a merge turns them back; a redemption turns the tokens of a resolved market into dollars. All
of these have a row in the account's activity (docs.polymarket.com, "List account activity"). Two things
have none: tokens that somebody sends by hand, and dollars that vanish; a client must find those by its
balances. Each act is one record of the journal and is done again when the journal is read back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eth_utils.crypto import keccak

from simulators.polymarket_account import Entry
from simulators.polymarket_matching import BUY, PRICE_ONE, SELL

if TYPE_CHECKING:
    from simulators.polymarket_account import Payout, Wallet
    from simulators.polymarket_markets import Market
    from simulators.polymarket_venue import Venue

PAID_IN = ("REWARD", "MAKER_REBATE", "TAKER_REBATE", "REFERRAL_REWARD", "YIELD", "MIGRATION", "DEPOSIT")
WITHDRAWAL, TIP, SPLIT, MERGE, REDEEM = "WITHDRAWAL", "TIP", "SPLIT", "MERGE", "REDEEM"
# A type that the clients of today have never heard of: what they make of it is theirs to decide.
NOVELTY = "NOVELTY"
TYPES = ("TRADE", SPLIT, MERGE, REDEEM, "CONVERSION", WITHDRAWAL, TIP, *PAID_IN)
MICROS_PER_LOT = 10_000
HALF = PRICE_ONE // 2
BY_HAND = "by hand"
UNBACKED = "CANCELED_NOT_ENOUGH_BALANCE"


class MoneyError(ValueError):
    """The account has not what was to be moved; the text says what to give instead."""


@dataclass(frozen=True, slots=True)
class Movement:
    """One row of an account's activity that is no trade. `amount` is in micro-dollars, as the venue writes
    it: without a sign where the type gives the direction, below zero only where `side` is OUT."""

    number: int
    kind: str
    wallet: str
    amount: int
    time_ms: int
    condition: str = ""
    lots: int = 0

    @property
    def hash(self) -> str:
        """The transaction's."""
        return "0x" + keccak(f"{self.kind}{self.number}{self.time_ms}".encode()).hex()


class Money:
    """Moves what the referee asks to be moved, writes it down, and takes what is no longer backed off the
    books."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._paid_ms = venue.clock.now_ms()

    def credit(self, kind: str, wallet: str, micros: int) -> None:
        """Pay in or out: a reward, a rebate, a deposit, a withdrawal, a tip (below zero: given)."""
        if kind not in (*PAID_IN, WITHDRAWAL, TIP, NOVELTY):
            known = ", ".join((*PAID_IN, WITHDRAWAL, TIP, SPLIT, MERGE, NOVELTY))
            raise MoneyError(f"{kind!r} is not paid by hand; give one of {known}")
        if micros <= 0 and kind not in (TIP, NOVELTY):
            raise MoneyError("give an amount above 0: the type says whether it comes or goes")
        self._check_cash(wallet, -micros if kind == WITHDRAWAL else micros)
        self._do({"what": "credit", "kind": kind, "wallet": wallet, "micros": micros})

    def exchange(self, kind: str, wallet: str, market: Market, lots: int) -> None:
        """Split dollars into pairs of tokens, or merge pairs into dollars."""
        if lots <= 0:
            raise MoneyError("give a size above 0")
        if kind == SPLIT:
            self._check_cash(wallet, -lots * PRICE_ONE)
        else:
            for token in market.tokens:
                self._check_tokens(wallet, token, -lots)
        self._do({"what": "exchange", "kind": kind, "wallet": wallet, "market": market.condition_id,
                  "lots": lots, "price": HALF})  # fmt: skip

    def adjust(self, wallet: str, token: str, lots: int, price: int) -> None:
        """Tokens come (above 0) or go (below) without any row in the activity."""
        self._check_tokens(wallet, token, lots)
        self._do({"what": "adjust", "wallet": wallet, "token": token, "lots": lots, "price": price})

    def vanish(self, wallet: str, micros: int) -> None:
        """Dollars come (above 0) or go (below) without any row in the activity."""
        self._check_cash(wallet, micros)
        self._do({"what": "vanish", "wallet": wallet, "micros": micros})

    def redeem(self, market: Market) -> int:
        """Pay what is still held of a resolved market; gives how many wallets were paid."""
        if market.winner is None:
            raise MoneyError(f"{market.slug} is not resolved yet")
        wallets = [address for address, wallet in self._venue.accounts.wallets.items()
                   if any(wallet.tokens.get(token) for token in market.tokens)]  # fmt: skip
        if wallets:
            self._do({"what": "redeem", "market": market.condition_id})
        return len(wallets)

    def tick(self) -> None:
        """The schedule: a reward of one dollar for everybody each `reward_every_s`."""
        every_ms, now_ms = self._venue.faults.value("reward_every_s") * 1000, self._venue.clock.now_ms()
        if not every_ms or now_ms - self._paid_ms < every_ms:
            return
        self._paid_ms = now_ms
        for address in {key.address for key in self._venue.accounts.keys.values()}:
            self.credit("REWARD", address, 1_000_000)

    def _check_cash(self, wallet: str, micros: int) -> None:
        held = self._venue.accounts.wallet(wallet).cash
        if held + micros < 0:
            raise MoneyError(f"the wallet holds {held / 1e6:.6f} dollars: give at most that")

    def _check_tokens(self, wallet: str, token: str, lots: int) -> None:
        held = self._venue.accounts.wallet(wallet).tokens.get(token, 0)
        if lots == 0 or held + lots < 0:
            raise MoneyError(f"the wallet holds {held / 100:.2f} of the token: give at most that, and not 0")

    def _do(self, record: dict[str, Any]) -> None:
        record |= {"event": "money", "time_ms": self._venue.clock.now_ms(),
                   "cached": bool(self._venue.faults.value("balance_cache"))}  # fmt: skip
        self._venue.note(record)
        move(self._venue, record)
        self._venue.end_unbacked(UNBACKED)
        self._venue.commit()


def move(venue: Venue, record: dict[str, Any]) -> None:
    """Do what a record says, now or when the journal is read back."""
    what = record["what"]
    if what == "redeem":
        _redeem(venue, record)
        return
    wallet = venue.accounts.wallet(record["wallet"])
    before, tokens = wallet.cash, dict(wallet.tokens)
    if what == "credit":
        wallet.cash += -record["micros"] if record["kind"] == WITHDRAWAL else record["micros"]
        _note(venue, record, record["kind"], record["wallet"], record["micros"])
    elif what == "vanish":
        wallet.cash += record["micros"]
    elif what == "adjust":
        market, outcome = venue.by_token[record["token"]]
        # Tokens that go leave nothing behind; tokens that come are worth what the market says.
        price = record["price"] if record["lots"] > 0 else 0
        _hand(venue, record["wallet"], market.tokens[outcome], record["lots"], price)
    else:
        sign = 1 if record["kind"] == SPLIT else -1
        wallet.cash -= sign * record["lots"] * PRICE_ONE
        for token in venue.markets[record["market"]].tokens:
            _hand(venue, record["wallet"], token, sign * record["lots"], record["price"])
        _note(venue, record, record["kind"], record["wallet"], record["lots"] * PRICE_ONE)
    if record["cached"]:
        _hide(wallet, before, tokens)


def note_redemptions(venue: Venue, payouts: list[Payout], record: dict[str, Any]) -> None:
    """A row for each wallet that was paid for the tokens of a resolved market."""
    for payout in payouts:
        lots = {"lots": sum(payout.lots.values())}
        _note(venue, record | lots, REDEEM, payout.wallet, payout.paid)
        if record.get("cached"):
            wallet = venue.accounts.wallet(payout.wallet)
            _hide(wallet, wallet.cash - payout.paid, wallet.tokens | payout.lots)


def _redeem(venue: Venue, record: dict[str, Any]) -> None:
    market = venue.markets[record["market"]]
    if market.winner is None:
        raise MoneyError(f"{market.slug} is not resolved yet")
    note_redemptions(venue, venue.accounts.redeem(market, market.winner), record)


def _hand(venue: Venue, address: str, token: str, lots: int, price: int) -> None:
    """Tokens change hands without a trade: the wallet, and the position of the key that owns it."""
    accounts = venue.accounts
    wallet = accounts.wallet(address)
    wallet.tokens[token] = wallet.tokens.get(token, 0) + lots
    owner = accounts.wallet_owner.get(address.lower(), address)
    key = next((key.key for key in accounts.keys.values() if key.address == owner), None)
    if key is None:
        return
    entry = Entry(BY_HAND, BUY if lots > 0 else SELL, price, abs(lots), 0)
    accounts.history.setdefault((key, token), []).append(entry)
    accounts.position(key, token).apply(entry.side, entry.price, entry.lots, 0)


def _note(venue: Venue, record: dict[str, Any], kind: str, wallet: str, amount: int) -> None:
    movements = venue.accounts.movements
    movements.append(
        Movement(
            len(movements) + 1,
            kind,
            wallet,
            amount,
            record["time_ms"],
            record.get("market", ""),
            record.get("lots", 0),
        )
    )


def _hide(wallet: Wallet, cash: int, tokens: dict[str, int]) -> None:
    """The order book's cache of the balances does not see what did not go through it, until it is told to
    look (docs.polymarket.com, "update balance allowance")."""
    wallet.unseen_cash += wallet.cash - cash
    for token in {*tokens, *wallet.tokens}:
        change = wallet.tokens.get(token, 0) - tokens.get(token, 0)
        if change:
            wallet.unseen_tokens[token] = wallet.unseen_tokens.get(token, 0) + change
