"""The venue itself: markets, books, accounts and the life of orders and trades, without any I/O.

Every change is first put into a batch; `commit` hands the batch to the journal with one write and only
then lets the streams speak. A killed venue therefore comes back with all that anybody was told.
Only what concerns API keys is kept; the other traders quote afresh after a restart.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from eth_utils.crypto import keccak

from simulators.clock import Clock
from simulators.faults import Faults
from simulators.polymarket_account import (
    CONFIRMED,
    FAILED,
    FINAL,
    MATCHED,
    MINED,
    OTHERS_WALLET,
    RETRYING,
    Accounts,
    ApiKey,
    Leg,
    Trade,
    new_api_key,
    taker_fee_e8,
)
from simulators.polymarket_journal import (
    key_record,
    order_record,
    restore,
    trade_record,
)
from simulators.polymarket_limits import Heartbeats
from simulators.polymarket_markets import (
    FINE_ABOVE,
    FINE_BELOW,
    TICK_COARSE,
    TICK_FINE,
    Market,
)
from simulators.polymarket_matching import (
    BUY,
    PRICE_ONE,
    SELL,
    SIDE_NAMES,
    BookOrder,
    dollars_text,
    price_for,
)
from simulators.polymarket_money import note_redemptions
from simulators.polymarket_orders import GTD_LEAD_S, ClientOrder, Refusal, Submission, client_order
from simulators.state import StateFolder

MARKETABLE_MIN_MICROS = 1_000_000
SETTLEMENT_STEP_MS = 1_000
SWEEP_LOTS = 10_000_000


class Publisher(Protocol):
    """Who is told what happened, after it is durable."""

    def order_event(self, order: ClientOrder, kind: str) -> None:
        """An order of a key was placed, updated or cancelled."""

    def trade_event(self, trade: Trade) -> None:
        """A trade of a key was matched or changed its status."""

    def trade_print(self, trade: Trade) -> None:
        """A trade happened; the market channel prints it."""

    def book_changed(self, market: Market, traded: bool) -> None:
        """Levels changed; after a trade the whole book is shown again."""

    def tick_changed(self, market: Market, old: int) -> None:
        """A market got another price grid."""

    def listed(self, market: Market) -> None:
        """A new market opened."""

    def resolved(self, market: Market) -> None:
        """A market has a winner."""


class Venue:
    """All state of the simulated exchange."""

    def __init__(self, clock: Clock, faults: Faults, state: StateFolder, publisher: Publisher) -> None:
        self.clock, self.faults, self.accounts = clock, faults, Accounts()
        self.markets: dict[str, Market] = {}
        self.by_token: dict[str, tuple[Market, int]] = {}
        self.orders: dict[str, ClientOrder] = {}
        self.open: dict[str, ClientOrder] = {}
        self.trades: dict[str, Trade] = {}
        self.heartbeats = Heartbeats()
        self._state, self._publisher = state, publisher
        self._records: list[dict[str, Any]] = []
        self._news: list[tuple[Any, ...]] = []
        self._due: list[tuple[int, int, str, str]] = []
        self._touched: dict[str, bool] = {}
        self._other_orders = 0

    # -- keys -----------------------------------------------------------------------------------

    def create_key(self, address: str, nonce: int) -> ApiKey:
        """A new key for this address and nonce; Refusal when there is one already."""
        if (address, nonce) in self.accounts.by_identity:
            raise Refusal(400, "Could not create api key")
        key = new_api_key(address, nonce)
        self.accounts.add_key(key)
        self._records.append(key_record(key))
        self.commit()
        return key

    def delete_key(self, key: ApiKey) -> None:
        """Revoke a key and cancel its orders."""
        self.cancel_many([order.order_id for order in self.open_orders(key.key)], key.key)
        self.accounts.remove_key(key)
        self._records.append({"event": "key_deleted", "key": key.key})
        self.commit()

    # -- markets --------------------------------------------------------------------------------

    def list_market(self, market: Market) -> None:
        """Open a market."""
        self.add_market(market)
        self._records.append({"event": "market", **market.record()})
        self._news.append(("listed", market))
        self.commit()

    def close_market(self, market: Market, reference: int) -> None:
        """Stop trading at this reference price and take every order off the book."""
        market.closed, market.closed_ms, market.final = True, self.clock.now_ms(), reference
        for order in [order for order in self.open.values() if order.market is market]:
            self._end(order, "CANCELED_MARKET_RESOLVED")
        for resting in market.book.orders():
            market.book.remove(resting.order_id)
        self._touch(market)
        self._records.append({"event": "closed", "market": market.condition_id, "final": reference,
                              "time_ms": market.closed_ms})  # fmt: skip
        self.commit()

    def resolve_market(self, market: Market, winner: int) -> bool:
        """Name the winner and, unless everybody has to redeem by hand, pay; False while a trade of the
        market is not final."""
        if any(trade.market is market for trade in self.trades.values() if trade.status not in FINAL):
            return False
        now_ms = self.clock.now_ms()
        market.winner = winner
        record: dict[str, Any] = {
            "event": "resolved", "market": market.condition_id, "winner": winner, "time_ms": now_ms,
            "paid": not self.faults.value("manual_redeem"),
            "cached": bool(self.faults.value("balance_cache")),
        }  # fmt: skip
        note_redemptions(self, self.accounts.settle(market, winner, now_ms, record["paid"]), record)
        self._records.append(record)
        self._news.append(("resolved", market))
        self.commit()
        return True

    def refresh_tick(self, market: Market) -> None:
        """Give a market near 0 or 1 the finer grid, once."""
        if market.tick == TICK_COARSE and not FINE_BELOW <= market.mid() <= FINE_ABOVE:
            market.tick = TICK_FINE
            self._records.append({"event": "tick", "market": market.condition_id, "tick": TICK_FINE})
            self._news.append(("tick", market, TICK_COARSE))
            self._touch(market, traded=True)

    def add_market(self, market: Market) -> None:
        """Make a market and its tokens known."""
        self.markets[market.condition_id] = market
        for outcome, token in enumerate(market.tokens):
            self.by_token[token] = (market, outcome)

    # -- orders of keys -------------------------------------------------------------------------

    def open_orders(self, key: str) -> list[ClientOrder]:
        """The open orders of a key, oldest first."""
        return [order for order in self.open.values() if order.book.owner == key]

    def place(self, key: ApiKey, submission: Submission, post_only_mode: bool) -> dict[str, Any]:
        """Accept an order and match it, or raise Refusal. The answer is the body of POST /order."""
        if submission.order_id in self.orders:
            raise Refusal(400, f"order {submission.order_id} is invalid. Duplicated.")
        if post_only_mode and not submission.post_only:
            raise post_only_refusal(self.faults)
        market = self.by_token[str(submission.message.token_id)][0]
        if market.closed:
            raise Refusal(400, "the market is not yet ready to process new orders")
        wallet = self._wallet_of(submission, key)
        order = client_order(submission, market, key, wallet, self.clock.now_ms())
        self._check_book(order)
        self._check_own_quotes(order)
        self._check_balance(order)
        self.orders[order.order_id] = self.open[order.order_id] = order
        self._records.append(order_record(order))
        trades = self._match(order.book, order.wallet, market, order)
        self._finish_placement(order)
        self.commit()
        return _placement_answer(order, trades)

    def _wallet_of(self, submission: Submission, key: ApiKey) -> str:
        """The wallet whose money the order spends. A proxy, safe or deposit wallet belongs to the
        first key address that trades for it."""
        maker = submission.message.maker
        wallet = next((known for known in self.accounts.wallets if known.lower() == maker.lower()), maker)
        if wallet.lower() == key.address.lower():
            if self.faults.value("eoa_refused"):
                raise Refusal(400, "maker address not allowed, please use the deposit wallet flow")
            return key.address
        if self.accounts.wallet_owner.setdefault(wallet.lower(), key.address) != key.address:
            raise Refusal(400, "maker address not allowed, please use the deposit wallet flow")
        return wallet

    def _check_book(self, order: ClientOrder) -> None:
        crosses = order.market.book.crosses(order.book)
        if order.post_only and crosses:
            raise Refusal(400, "invalid post-only order: order crosses book")
        worth = order.budget or order.book.price * order.book.lots
        if order.book.side == BUY and worth < MARKETABLE_MIN_MICROS and (crosses or order.budget):
            text = f"invalid amount for a marketable BUY order (${dollars_text(worth)}), min size: $1"
            raise Refusal(400, text)
        if order.order_type == "FAK" and not crosses:
            raise Refusal(400, "no orders found to match with FAK order. FAK orders are partially filled "
                               "or killed if no match is found.")  # fmt: skip
        if order.order_type == "FOK" and not self._can_fill(order):
            raise Refusal(400, "order couldn't be fully filled. FOK orders are fully filled or killed.")

    def _check_own_quotes(self, order: ClientOrder) -> None:
        """What the venue does with an order that meets its owner's quotes is not documented."""
        lots = order.book.lots
        for match in order.market.book.walk(order.book):
            if match.maker.owner and self.orders[match.maker.order_id].wallet == order.wallet:
                raise Refusal(400, "a trade with one's own order is not modelled by this simulator")
            lots -= match.lots
            if lots <= 0 and not order.budget:
                return

    def _can_fill(self, order: ClientOrder) -> bool:
        lots, budget = order.book.lots, order.budget
        for match in order.market.book.walk(order.book):
            price = price_for(order.book.outcome, match.yes_price)
            if order.budget:
                budget -= price * match.lots
                if budget < price:
                    return True
            else:
                lots -= match.lots
                if lots <= 0:
                    return True
        return False

    def _check_balance(self, order: ClientOrder) -> None:
        mine = [other for other in self.open.values() if other.wallet == order.wallet]
        book, token = order.book, order.market.tokens[order.book.outcome]
        if book.side == BUY:
            held = self.accounts.free_cash(order.wallet) - sum(
                o.book.price * o.book.left for o in mine if o.book.side == BUY
            )
            needed, unit = order.budget or book.price * book.lots, 1
        else:
            held = self.accounts.free_tokens(order.wallet, token) - sum(
                o.book.left for o in mine
                if o.book.side != BUY and o.market is order.market and o.book.outcome == book.outcome
            )  # fmt: skip
            needed, unit = book.lots, 10_000
        if held < needed:
            raise Refusal(400, "not enough balance / allowance: the balance is not enough -> balance: "
                               f"{held * unit}, order amount: {needed * unit}")  # fmt: skip

    def _finish_placement(self, order: ClientOrder) -> None:
        done = order.book.left == 0 or order.budget > 0
        if done:
            order.status = "MATCHED"
            self.open.pop(order.order_id, None)
        elif order.order_type in ("GTC", "GTD"):
            order.market.book.rest(order.book)
            self._touch(order.market)
        self._news.insert(0, ("order", order, "PLACEMENT"))
        if not done and order.order_type in ("FOK", "FAK"):
            self._end(order, "CANCELED")

    def cancel_many(self, order_ids: Iterable[str], key: str, status: str = "CANCELED") -> dict[str, Any]:
        """Cancel orders of a key; the answer is the body of the cancel calls."""
        canceled: list[str] = []
        refused: dict[str, str] = {}
        for order_id in order_ids:
            order = self.open.get(order_id)
            if order is not None and self.faults.take("fill_before_cancel"):
                self._sweep_through(order)
                order = self.open.get(order_id)
            if order is not None and order.book.owner == key:
                self._end(order, status)
                canceled.append(order_id)
            elif (known := self.orders.get(order_id)) is not None and known.book.owner == key:
                refused[order_id] = "already canceled or matched"
            else:
                refused[order_id] = "order not found"
        self.commit()
        return {"canceled": canceled, "not_canceled": refused}

    def _sweep_through(self, order: ClientOrder) -> None:
        """Another trader takes everything up to this order's price."""
        book = order.book
        self.other_order(order.market, book.outcome, SELL if book.side == BUY else BUY, book.price,
                         SWEEP_LOTS, rest=False)  # fmt: skip

    def _end(self, order: ClientOrder, status: str) -> None:
        order.market.book.remove(order.order_id)
        self.open.pop(order.order_id, None)
        order.status = status
        self._records.append({"event": "end", "order": order.order_id, "status": status})
        self._news.append(("order", order, "CANCELLATION"))
        self._touch(order.market)

    # -- the other traders ----------------------------------------------------------------------

    def other_order(self, market: Market, outcome: int, side: int, price: int, lots: int,
                    rest: bool = True) -> str:  # fmt: skip
        """Another trader's order: it trades with what it crosses, and its rest stays on the book if
        asked. Call `commit` afterwards. Gives its id."""
        self._other_orders += 1
        order = BookOrder(f"other-{self._other_orders}", "", outcome, side, price, lots, lots)
        self._match(order, OTHERS_WALLET, market, None)
        if rest and order.left:
            market.book.rest(order)
            self._touch(market)
        return order.order_id

    def remove_other(self, market: Market, order_id: str) -> None:
        """Take another trader's order off the book. Call `commit` afterwards."""
        if market.book.remove(order_id) is not None:
            self._touch(market)

    # -- matching -------------------------------------------------------------------------------

    def _match(
        self, order: BookOrder, wallet: str, market: Market, client: ClientOrder | None
    ) -> list[Trade]:
        """Trade the order with what it crosses: one trade for each price level."""
        levels: dict[int, list[Leg]] = {}
        budget = client.budget if client else 0
        spend = budget
        for match in market.book.walk(order):
            price = price_for(order.outcome, match.yes_price)
            lots = min(match.lots, spend // price if budget else order.left)
            if lots == 0:
                break
            market.book.take(match.maker, lots)
            order.left -= min(lots, order.left)
            spend -= price * lots if budget else 0
            levels.setdefault(match.yes_price, []).append(self._maker_leg(market, match.maker, lots))
        return [self._trade(order, wallet, market, client, price, legs) for price, legs in levels.items()]

    def _maker_leg(self, market: Market, maker: BookOrder, lots: int) -> Leg:
        known = self.orders.get(maker.order_id)
        wallet = known.wallet if known else OTHERS_WALLET
        shown = maker.order_id if known else "0x" + keccak(maker.order_id.encode()).hex()
        return Leg(shown, maker.owner, wallet, maker.outcome, maker.side, maker.price, lots)

    def _trade(self, order: BookOrder, wallet: str, market: Market, client: ClientOrder | None,
               yes_price: int, makers: list[Leg]) -> Trade:  # fmt: skip
        lots = sum(leg.lots for leg in makers)
        price = price_for(order.outcome, yes_price)
        shown = order.order_id if client else "0x" + keccak(order.order_id.encode()).hex()
        fee_e8 = taker_fee_e8(price, lots) if client else 0
        taker = Leg(shown, order.owner, wallet, order.outcome, order.side, price, lots, fee_e8)
        now_ms = self.clock.now_ms()
        trade = Trade(str(uuid.uuid4()), market, taker, makers, now_ms, update_ms=now_ms)
        trade.moved = not self.faults.value("unmined_tokens")
        market.last_price, market.last_side = yes_price, SIDE_NAMES[order.side]
        market.volume_micros += price * lots
        self._news.append(("print", trade))
        self._touch(market, traded=True)
        if trade.legs():
            self.book_trade(trade)
            self._records.append(trade_record(trade))
            self._news.append(("trade", trade))
        return trade

    def book_trade(self, trade: Trade) -> None:
        """Book a trade of keys and start its settlement."""
        self.trades[trade.trade_id] = trade
        trade.number = len(self.trades)
        self.accounts.book(trade)
        self.settle_later(trade.match_ms, trade, MINED)
        for leg in trade.legs():
            order = self.orders[leg.order_id]
            order.matched += leg.lots
            order.matched_micros += leg.price * leg.lots
            order.trades.append(trade.trade_id)
            if leg is not trade.taker:
                if order.book.left == 0:
                    order.status = "MATCHED"
                    self.open.pop(order.order_id, None)
                self._news.append(("order", order, "UPDATE"))

    # -- time -----------------------------------------------------------------------------------

    def steady_ms(self) -> int:
        """A time that a shift of the venue's clock does not move, for how long somebody was silent."""
        return self.clock.true_ms()

    def tick(self) -> None:
        """Do what time demands: settlement steps, expiries, heartbeats that stopped."""
        now_ms = self.clock.now_ms()
        while self._due and self._due[0][0] <= now_ms:
            _, _, trade_id, status = heapq.heappop(self._due)
            self._advance(self.trades[trade_id], status, now_ms)
            self.commit()
        for order in list(self.open.values()):
            if order.expiration_s and now_ms // 1000 >= order.expiration_s - GTD_LEAD_S:
                self._end(order, "CANCELED")
        for key in self.heartbeats.expired(self.steady_ms()):
            self.cancel_many([order.order_id for order in self.open_orders(key)], key)
        self.commit()

    def _advance(self, trade: Trade, status: str, now_ms: int) -> None:
        """One step of the settlement: MATCHED, MINED, CONFIRMED, with the failures that the referee
        asked for."""
        if trade.status in FINAL or (status == MINED and trade.status == MINED):
            return
        if status == MINED and trade.status == MATCHED:
            if self.faults.take("fail_trade"):
                status, follow = RETRYING, FAILED
            elif self.faults.take("retry_trade"):
                status, follow = RETRYING, MINED
            else:
                follow = FAILED if self.faults.take("fail_after_mined") else CONFIRMED
        else:
            follow = CONFIRMED
        self._set_status(trade, status, now_ms)
        if status == FAILED:
            self._fail_unbacked(trade, now_ms)
        elif status not in FINAL:
            self.settle_later(now_ms, trade, follow)

    def _set_status(self, trade: Trade, status: str, now_ms: int) -> None:
        trade.status, trade.update_ms = status, now_ms
        if status == MINED or (status == CONFIRMED and self.faults.take("replace_hash")):
            trade.hash = "0x" + keccak(f"{trade.trade_id}{now_ms}".encode()).hex()
        if status == MINED:
            trade.mined_ms = now_ms
        if status in (MINED, CONFIRMED):
            self.accounts.mine(trade)
        if status == FAILED:
            trade.hash = ""
            self.accounts.take_back(trade)
        self._records.append({"event": "status", "trade": trade.trade_id, "status": status,
                              "hash": trade.hash, "time_ms": now_ms})  # fmt: skip
        self._news.append(("trade", trade))

    def _fail_unbacked(self, failed: Trade, now_ms: int) -> None:
        """A failed purchase brought no tokens: later trades that gave them cannot settle either, nor can
        quotes that offer them be filled."""
        for leg in failed.legs():
            token = failed.market.tokens[leg.outcome]
            for trade in reversed(self.trades.values()):
                if self.accounts.free_tokens(leg.wallet, token) >= 0 or trade is failed:
                    break
                if trade.status not in FINAL and _gives(trade, leg.wallet, token):
                    self._set_status(trade, FAILED, now_ms)
                    self._fail_unbacked(trade, now_ms)
        self.end_unbacked("CANCELED", SELL)

    def end_unbacked(self, status: str, side: int | None = None) -> None:
        """Take orders whose tokens or dollars are no longer there off the books, the newest first."""
        offers: dict[tuple[str, str], list[ClientOrder]] = {}
        for order in self.open.values():
            token = "" if order.book.side == BUY else order.market.tokens[order.book.outcome]
            if side in (None, order.book.side):
                offers.setdefault((order.wallet, token), []).append(order)
        for (wallet, token), orders in offers.items():
            held = self.accounts.free_tokens(wallet, token) if token else self.accounts.free_cash(wallet)
            while sum(_needs(order) for order in orders) > max(0, held):
                self._end(orders.pop(), status)

    def note(self, record: dict[str, Any]) -> None:
        """Something for the journal, written with the next commit."""
        self._records.append(record)

    def settle_later(self, since_ms: int, trade: Trade, status: str) -> None:
        """Let a trade reach a status when its step has taken its time."""
        step_ms = self.faults.value("mined_ms" if status == MINED else "confirmed_ms") or SETTLEMENT_STEP_MS
        heapq.heappush(self._due, (since_ms + step_ms, trade.number, trade.trade_id, status))

    # -- durability -----------------------------------------------------------------------------

    def _touch(self, market: Market, traded: bool = False) -> None:
        self._touched[market.condition_id] = self._touched.get(market.condition_id, False) or traded

    def commit(self) -> None:
        """Write what happened, then tell the streams."""
        if self._records:
            self._state.append({"batch": self._records})
            self._records = []
        news, self._news = self._news, []
        touched, self._touched = self._touched, {}
        for what, *about in news:
            self._tell(what, about)
        for condition, traded in touched.items():
            self._publisher.book_changed(self.markets[condition], traded)

    def _tell(self, what: str, about: list[Any]) -> None:
        tell: dict[str, Callable[..., None]] = {
            "order": self._publisher.order_event, "trade": self._publisher.trade_event,
            "print": self._publisher.trade_print, "tick": self._publisher.tick_changed,
            "listed": self._publisher.listed, "resolved": self._publisher.resolved,
        }  # fmt: skip
        tell[what](*about)

    def restore(self) -> None:
        """Read the journal back. Orders that were open rest again, trades go on settling."""
        for line in self._state.replay():
            for record in line["batch"]:
                restore(self, record)
        for order in self.open.values():
            if order.order_type in ("GTC", "GTD") and not order.market.closed:
                order.market.book.rest(order.book)
        self._news.clear()
        self._touched.clear()


def post_only_refusal(faults: Faults) -> Refusal:
    """What every order that may trade at once is told during the minutes after a restart."""
    wait_s = max(1, faults.value("post_only_mode"))
    return Refusal(503, "post-only mode: only post-only orders and cancels are allowed",
                   headers={"Retry-After": str(wait_s)}, code="post_only_mode",
                   retry_after_seconds=wait_s)  # fmt: skip


def _placement_answer(order: ClientOrder, trades: list[Trade]) -> dict[str, Any]:
    shares = sum(trade.taker.lots for trade in trades) * 10_000
    dollars = sum(trade.taker.lots * trade.taker.price for trade in trades)
    making, taking = (dollars, shares) if order.book.side == BUY else (shares, dollars)
    return {
        "success": True, "errorMsg": "", "orderID": order.order_id,
        "status": "matched" if trades else "live",
        "makingAmount": dollars_text(making) if trades else "",
        "takingAmount": dollars_text(taking) if trades else "",
        "transactionsHashes": [], "tradeIDs": [trade.trade_id for trade in trades],
    }  # fmt: skip


def _gives(trade: Trade, wallet: str, token: str) -> bool:
    return any(leg.wallet == wallet and leg.side == SELL and trade.market.tokens[leg.outcome] == token
               for leg in trade.legs())  # fmt: skip


def _needs(order: ClientOrder) -> int:
    """What an open order may still take of its wallet: micro-dollars of a buyer, lots of a seller."""
    return order.book.left * (order.book.price if order.book.side == BUY else 1)


def mid_price(market: Market, outcome: int) -> int:
    """The mark of an outcome token."""
    if market.winner is not None:
        return PRICE_ONE if market.winner == outcome else 0
    return price_for(outcome, market.mid())
