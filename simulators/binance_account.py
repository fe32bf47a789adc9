"""One futures account: orders, fills, position and cash, every change on disk before it is told.

Money rule: a fill that enlarges the position adds price x quantity to its cost; one that reduces it
releases the same share of the cost, rounded toward zero; one that flips it closes all first. Prices
times quantities are whole micro-dollars, fees whole 10^-8 dollars.
"""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec

from simulators.binance_rules import Instrument
from simulators.matching import BUY
from simulators.state import StateFolder

LISTEN_KEY_VALID_MS = 3_600_000
WALLET_START_E8 = 100_000 * 10**8
ENDED_ORDERS_KEPT = 20_000
ACCEPTED_SHOWN = 200  # to the referee
MAKER_FEE_E4 = 2
TAKER_FEE_E4 = 5
BNB_PRICE = 600  # dollars; what a commission paid in BNB is converted at
BNB_START_E8 = 10 * 10**8
OPEN_STATES = ("NEW", "PARTIALLY_FILLED")


class Order(msgspec.Struct):
    """One order. Price in ticks (0 for MARKET), quantities in lots, times in ms."""

    order_id: int
    client_id: str
    side: int
    type: str
    time_in_force: str
    price: int
    quantity: int
    reduce_only: bool
    stp: str
    good_till: int
    time: int
    updated: int
    executed: int = 0
    quote_micros: int = 0
    status: str = "NEW"
    expiry_reason: int = 0
    modifications: int = 0

    @property
    def remaining(self) -> int:
        """Lots that are not executed yet."""
        return self.quantity - self.executed


class Fill(msgspec.Struct):
    """One execution of one of our orders."""

    trade_id: int
    order_id: int
    client_id: str
    side: int
    price: int
    quantity: int
    maker: bool
    fee_e8: int
    realized_micros: int
    time: int
    fee_asset: str = "USDT"

    def commission_e8(self) -> int:
        """The commission in the coin that paid it; fee_e8 is what it was worth in dollars."""
        return self.fee_e8 if self.fee_asset == "USDT" else -(-self.fee_e8 // BNB_PRICE)


class Movement(msgspec.Struct):
    """Money that moved without a fill: a row of the income history, seen from `shown` on."""

    type: str
    asset: str
    amount_e8: int
    time: int
    tran_id: int
    symbol: str
    shown: int


class Adjustment(msgspec.Struct):
    """The venue set the position by hand, after so many fills; lots that it added cost `price`."""

    after_fills: int
    quantity: int
    price: int
    time: int


@dataclass(slots=True)
class Position:
    """The net position; cost is the signed value of the open quantity."""

    quantity: int = 0
    cost_micros: int = 0
    realized_micros: int = 0
    fees_e8: int = 0
    cash_flow_micros: int = 0
    coin_fees_e8: int = 0  # the part of fees_e8 that another coin than USDT paid

    def adjust(self, quantity: int, value_per_lot: int) -> None:
        """Set the quantity without a fill: no profit is realised and no fee taken."""
        held = self.quantity
        if held * quantity > 0 and abs(quantity) < abs(held):
            released = abs(self.cost_micros) * (abs(held) - abs(quantity)) // abs(held)
            self.cost_micros -= released if held > 0 else -released
        elif held * quantity > 0:
            self.cost_micros += (quantity - held) * value_per_lot
        else:
            self.cost_micros = quantity * value_per_lot
        self.quantity = quantity

    def apply(self, side: int, quantity: int, value_micros: int, fee_e8: int) -> int:
        """Book one fill of `value_micros` = price x quantity; gives the realised profit of it."""
        signed = side * quantity
        self.fees_e8 += fee_e8
        self.cash_flow_micros -= side * value_micros
        realized = 0
        if self.quantity * signed < 0:
            closed = min(quantity, abs(self.quantity))
            value_closed = value_micros * closed // quantity
            open_cost = abs(self.cost_micros)
            released = open_cost * closed // abs(self.quantity)
            long = 1 if self.quantity > 0 else -1
            realized = long * (value_closed - released)
            self.cost_micros -= long * released
            self.quantity += side * closed
            quantity -= closed
            value_micros -= value_closed
        self.cost_micros += side * value_micros
        self.quantity += side * quantity
        self.realized_micros += realized
        return realized


@dataclass(slots=True)
class Key:
    """One API key: `secret` signs by HMAC, or `public` (32 bytes) checks Ed25519."""

    api_key: str
    secret: str = ""
    public_hex: str = ""


@dataclass(slots=True)
class Settings:
    """What the account holder may change."""

    leverage: int = 20
    margin_type: str = "CROSSED"
    listen_key: str = ""
    listen_key_until: int = 0
    countdown_at: int = 0
    deposits_e8: int = 0  # what changed the balance and nothing tells of
    fee_asset: str = "USDT"
    funding_rate_e8: int = 0
    next_funding: int = 0


@dataclass(slots=True)
class Account:
    """The whole account. Only the methods below change it, and each writes the change first."""

    instrument: Instrument
    folder: StateFolder
    keys: dict[str, Key]
    settings: Settings = field(default_factory=Settings)
    position: Position = field(default_factory=Position)
    orders: dict[int, Order] = field(default_factory=dict)
    open: dict[int, Order] = field(default_factory=dict)
    open_by_client: dict[str, Order] = field(default_factory=dict)
    latest_by_client: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    adjustments: list[Adjustment] = field(default_factory=list)
    _ended_unfilled: dict[int, None] = field(default_factory=dict)
    _moved: dict[str, int] = field(default_factory=dict)
    _bnb_paid_e8: int = 0
    last_order_id: int = 0
    last_trade_id: int = 0
    last_tran_id: int = 0

    def restore(self) -> None:
        """Rebuild everything from the state folder."""
        for record in self.folder.replay():
            if "settings" in record:
                self.settings = Settings(**record["settings"])
            if "order" in record:
                self._index(msgspec.convert(record["order"], Order))
            if "fill" in record:
                self._book(msgspec.convert(record["fill"], Fill))
            if "movement" in record:
                self._move(msgspec.convert(record["movement"], Movement))
            if "adjustment" in record:
                self._adjust(msgspec.convert(record["adjustment"], Adjustment))
        self.compact()

    def compact(self) -> None:
        """Rewrite the state file when most of its records are superseded."""
        kept = len(self.orders) + len(self.fills) + len(self.movements) + len(self.adjustments)
        if self.folder.records > 4 * kept + 10_000:
            orders: list[dict[str, Any]] = [{"order": order} for order in self.orders.values()]
            moves: list[dict[str, Any]] = [{"movement": move} for move in self.movements]
            settings = {"settings": _settings_fields(self.settings)}
            self.folder.rewrite([settings, *orders, *moves, *self._position_history()])

    def _position_history(self) -> list[dict[str, Any]]:
        """Fills and adjustments in the order in which they changed the position."""
        history: list[dict[str, Any]] = []
        waiting = list(self.adjustments)
        for number, fill in enumerate(self.fills):
            while waiting and waiting[0].after_fills <= number:
                history.append({"adjustment": waiting.pop(0)})
            history.append({"fill": fill})
        return history + [{"adjustment": adjustment} for adjustment in waiting]

    def save_settings(self, **changes: int | str) -> None:
        """Change settings."""
        updated = Settings(**{**_settings_fields(self.settings), **changes})  # type: ignore[arg-type]
        self.folder.append({"settings": _settings_fields(updated)})
        self.settings = updated

    def save_order(self, order: Order) -> None:
        """A new or changed order."""
        self.folder.append({"order": order})
        self._index(order)

    def save_fill(
        self, order: Order, price: int, quantity: int, maker: bool, trade_id: int, now: int
    ) -> Fill:
        """One execution: order, fill and position change together."""
        value = price * quantity * self.instrument.micros
        rate = MAKER_FEE_E4 if maker else TAKER_FEE_E4
        fee_e8 = (value * 100 * rate + 5_000) // 10_000
        order.executed += quantity
        order.quote_micros += value
        order.status = "FILLED" if order.remaining == 0 else "PARTIALLY_FILLED"
        order.updated = now
        fill = Fill(
            trade_id, order.order_id, order.client_id, order.side, price, quantity, maker, fee_e8, 0, now,
            self.settings.fee_asset,
        )  # fmt: skip
        self.folder.append({"order": order, "fill": fill})
        self._index(order)
        self._book(fill)
        return fill

    def save_movement(self, movement: Movement) -> None:
        """Money that moved without a fill."""
        self.folder.append({"movement": movement})
        self._move(movement)

    def save_adjustment(self, adjustment: Adjustment) -> None:
        """A position that the venue set by hand."""
        self.folder.append({"adjustment": adjustment})
        self._adjust(adjustment)

    def find(self, order_id: int | None, client_id: str | None) -> Order | None:
        """An order by the venue's id, else the latest one with this client id."""
        if order_id is not None:
            return self.orders.get(order_id)
        return self.latest_by_client.get(client_id or "")

    def wallet_e8(self) -> int:
        """Cash in USDT: what moved without a fill, plus realised profit, minus fees paid in USDT."""
        return self.coin_e8("USDT")

    def coin_e8(self, asset: str) -> int:
        """The wallet balance of one coin."""
        moved = self._moved.get(asset, 0)
        position = self.position
        if asset == "USDT":
            fees_e8 = position.fees_e8 - position.coin_fees_e8
            deposits_e8 = WALLET_START_E8 + self.settings.deposits_e8
            return deposits_e8 + moved + position.realized_micros * 100 - fees_e8
        return moved + (BNB_START_E8 - self._bnb_paid_e8 if asset == "BNB" else 0)

    def coins(self) -> list[str]:
        """The coins of the wallet, USDT first."""
        others = {asset for asset in self._moved if asset != "USDT"}
        if self._bnb_paid_e8 or self.settings.fee_asset == "BNB":
            others.add("BNB")
        return ["USDT", *sorted(others)]

    def unrealized_micros(self, mark: int) -> int:
        """Profit of the open position at this mark price in ticks."""
        return self.position.quantity * mark * self.instrument.micros - self.position.cost_micros

    def margin_micros(self, mark: int, side: int = BUY, extra: int = 0) -> int:
        """Initial margin of the position with all open orders of the worse side, and `extra` lots more."""
        bought = sum(
            order.remaining for order in self.open.values() if order.side == BUY and not order.reduce_only
        )
        sold = sum(
            order.remaining for order in self.open.values() if order.side != BUY and not order.reduce_only
        )
        if side == BUY:
            bought += extra
        else:
            sold += extra
        worst = max(abs(self.position.quantity + bought), abs(self.position.quantity - sold))
        return worst * mark * self.instrument.micros // self.settings.leverage

    def referee_view(self, mark: int) -> dict[str, Any]:
        """Everything as integers, for comparison with a client's own books."""
        instrument, position = self.instrument, self.position
        e9 = instrument.e9_per_lot
        return {
            "open_orders": [self._order_view(order) for order in self.open.values()],
            "orders_total": len(self.orders),
            "accepted": [
                {"order_id": order.order_id, "client_order_id": order.client_id, "time_ms": order.time,
                 "status": order.status}
                for order in itertools.islice(reversed(self.orders.values()), ACCEPTED_SHOWN)
            ],
            "fills": [
                {"trade_id": fill.trade_id, "order_id": fill.order_id, "client_order_id": fill.client_id,
                 "symbol": instrument.symbol, "side": "BUY" if fill.side == BUY else "SELL",
                 "price_e9": fill.price * 10**8, "quantity_e9": fill.quantity * e9, "maker": fill.maker,
                 "fee_e8": fill.fee_e8, "realized_micros": fill.realized_micros, "time_ms": fill.time}
                for fill in self.fills
            ],
            "positions": [
                {"symbol": instrument.symbol, "quantity_e9": position.quantity * e9,
                 "cost_micros": position.cost_micros, "realized_micros": position.realized_micros,
                 "fees_e8": position.fees_e8, "cash_flow_micros": position.cash_flow_micros,
                 "mark_e9": mark * 10**8, "unrealized_micros": self.unrealized_micros(mark)}
            ],
            "cash_e8": self.wallet_e8(),
            "coins_e8": {asset: self.coin_e8(asset) for asset in self.coins()},
            "income": [msgspec.to_builtins(movement) for movement in self.movements],
            "adjustments": [msgspec.to_builtins(adjustment) for adjustment in self.adjustments],
            "fees_e8": position.fees_e8,
            "leverage": self.settings.leverage,
            "countdown_at_ms": self.settings.countdown_at,
        }  # fmt: skip

    def _order_view(self, order: Order) -> dict[str, Any]:
        e9 = self.instrument.e9_per_lot
        return {"order_id": order.order_id, "client_order_id": order.client_id,
                "symbol": self.instrument.symbol, "side": "BUY" if order.side == BUY else "SELL",
                "price_e9": order.price * 10**8, "quantity_e9": order.quantity * e9,
                "executed_e9": order.executed * e9, "status": order.status, "type": order.type,
                "time_in_force": order.time_in_force, "reduce_only": order.reduce_only}  # fmt: skip

    def _index(self, order: Order) -> None:
        known = self.orders.get(order.order_id)
        if known is not None and known is not order:
            for name in Order.__struct_fields__:
                setattr(known, name, getattr(order, name))
            order = known
        self.orders[order.order_id] = order
        self.latest_by_client[order.client_id] = order
        self.last_order_id = max(self.last_order_id, order.order_id)
        if order.status in OPEN_STATES:
            self.open[order.order_id] = order
            self.open_by_client[order.client_id] = order
        else:
            self.open.pop(order.order_id, None)
            if order.executed == 0:
                self._forget_oldest(order)
            if self.open_by_client.get(order.client_id) is order:
                del self.open_by_client[order.client_id]

    def _forget_oldest(self, order: Order) -> None:
        """Orders that ended without a fill are aged out, as at the venue (there after three days)."""
        self._ended_unfilled[order.order_id] = None
        if len(self._ended_unfilled) > ENDED_ORDERS_KEPT:
            oldest = self.orders.pop(next(iter(self._ended_unfilled)))
            del self._ended_unfilled[oldest.order_id]
            if self.latest_by_client.get(oldest.client_id) is oldest:
                del self.latest_by_client[oldest.client_id]

    def _book(self, fill: Fill) -> None:
        value = fill.price * fill.quantity * self.instrument.micros
        fill.realized_micros = self.position.apply(fill.side, fill.quantity, value, fill.fee_e8)
        if fill.fee_asset != "USDT":
            self.position.coin_fees_e8 += fill.fee_e8
            self._bnb_paid_e8 += fill.commission_e8()
        self.fills.append(fill)
        self.last_trade_id = max(self.last_trade_id, fill.trade_id)

    def _move(self, movement: Movement) -> None:
        self.movements.append(movement)
        self._moved[movement.asset] = self._moved.get(movement.asset, 0) + movement.amount_e8
        self.last_tran_id = max(self.last_tran_id, movement.tran_id)

    def _adjust(self, adjustment: Adjustment) -> None:
        self.adjustments.append(adjustment)
        self.position.adjust(adjustment.quantity, adjustment.price * self.instrument.micros)


def _settings_fields(settings: Settings) -> dict[str, int | str]:
    return {name: getattr(settings, name) for name in Settings.__slots__}


def account_keys(folder: StateFolder, ed25519_public_hex: str) -> dict[str, Key]:
    """The keys of this state folder: one that signs by HMAC, one by Ed25519; made on first use."""
    document = folder.read_document("keys.json")
    if document is None:
        document = {"api_key": secrets.token_hex(32), "api_secret": secrets.token_hex(32),
                    "ed25519_api_key": secrets.token_hex(32)}  # fmt: skip
        folder.write_document("keys.json", document)
        (folder.folder / "keys.json").chmod(0o600)
    hmac_key = Key(document["api_key"], secret=document["api_secret"])
    ed25519_key = Key(document["ed25519_api_key"], public_hex=ed25519_public_hex)
    return {hmac_key.api_key: hmac_key, ed25519_key.api_key: ed25519_key}
