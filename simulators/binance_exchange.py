"""The matching engine's rules of Binance USD-M futures for one symbol: place, modify, cancel, query.

Requests come in as text parameters (REST and WS API alike), answers go out as dictionaries, events for
the user stream through `emit`. Sources: Binance USD-M futures docs, "New Order", "Modify Order",
"User Data Streams", "Filters".
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from simulators.binance_account import LISTEN_KEY_VALID_MS, Account, Fill, Order
from simulators.binance_params import Params, flag, json_list, required, side_of, whole, ws_text
from simulators.binance_rules import CLIENT_ID, CLIENT_ID_TEXT, Profile, VenueError, not_modelled, scaled_text
from simulators.clock import Clock
from simulators.faults import Faults
from simulators.market import Market
from simulators.matching import BUY, SELL, Book, Resting

CONDITIONAL = {"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"}
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "GTX", "GTD")
STP_MODES = ("EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH")
GTD_MARGIN_MS = 600_000
HISTORY_MS = 7 * 86_400_000
HISTORY_ROWS_MAX = 1000
PLACE_PARAMS = frozenset((
    "symbol", "side", "positionSide", "type", "timeInForce", "quantity", "reduceOnly", "price",
    "newClientOrderId", "newOrderRespType", "priceMatch", "selfTradePreventionMode", "goodTillDate",
    "recvWindow", "timestamp", "signature", "apiKey", "stopPrice", "closePosition", "activationPrice",
    "callbackRate", "workingType", "priceProtect",
))  # fmt: skip
MODIFY_PARAMS = frozenset((
    "symbol", "orderId", "origClientOrderId", "side", "quantity", "price", "priceMatch", "modifyId",
    "reduceOnly", "positionSide", "recvWindow", "timestamp", "signature", "apiKey",
))  # fmt: skip
ER_STP, ER_IOC, ER_REDUCE_ONLY, ER_MARKET = 1, 2, 4, 9


class Exchange:
    """Matches one account's orders in one book. `market` must be set before the first request."""

    market: Market

    def __init__(self, account: Account, book: Book, clock: Clock, faults: Faults, profile: Profile) -> None:
        self.account = account
        self.instrument = account.instrument
        self.profile = profile
        self.faults = faults
        self.book = book
        self._clock = clock
        self._entries: dict[int, Resting] = {}
        self.emit: Callable[[dict[str, Any]], None] = lambda _: None
        self.stop_stream: Callable[[str], None] = lambda _: None

    def restore_book(self) -> None:
        """Put the open orders of a former run back, oldest first.

        An order that the end of that run interrupted while it was taking has no rest to place: it expires.
        """
        for order in sorted(self.account.open.values(), key=lambda order: (order.updated, order.order_id)):
            rests = 0 if order.type == "MARKET" else self._takeable(order)
            if rests == 0 or order.time_in_force in ("IOC", "FOK"):
                order.status, order.updated = "EXPIRED", self._clock.now_ms()
                self.account.save_order(order)
            else:
                self._entries[order.order_id] = self.book.add(order.side, order.price, rests, order)

    # --- order entry ---------------------------------------------------------------------------------

    def place(self, params: Params, test: bool = False) -> dict[str, Any]:
        """`POST /fapi/v1/order`; with `test` everything is checked and nothing done."""
        order = self._checked_order(params)
        if not order.reduce_only:
            self._check_margin(order.side, order.price, order.quantity)
        if order.time_in_force == "GTX" and self._would_take(order):
            raise VenueError(-5022)
        if order.time_in_force == "FOK" and not self._can_fill(order):
            raise VenueError(-5021)
        if order.type == "MARKET" and self.book.front(-order.side, self._limit(order)) is None:
            raise VenueError(-4131)
        if test:
            return self.order_view(order)
        self.account.save_order(order)
        acknowledged = self.order_view(order)
        self._emit_order(order, "NEW")
        self._execute(order)
        self.market.client_acted()
        return self.order_view(order) if params.get("newOrderRespType") == "RESULT" else acknowledged

    def modify(self, params: Params) -> dict[str, Any]:
        """`PUT /fapi/v1/order`: new price and quantity, priority lost. Docs, "Modify Order"."""
        _check_read(params, MODIFY_PARAMS)
        order = self._named(params, -2013)
        if order.status not in ("NEW", "PARTIALLY_FILLED"):
            raise VenueError(-2013)
        if side_of(params) != order.side:
            raise VenueError(-1117)
        price = self.instrument.price(required(params, "price"))
        quantity = self.instrument.quantity(required(params, "quantity"), market=False)
        if "reduceOnly" in params and flag(params, "reduceOnly") != order.reduce_only:
            raise VenueError(-5047)
        if (price, quantity) == (order.price, order.quantity):
            raise VenueError(-5027)
        if order.modifications >= self.instrument.max_modifications:
            raise VenueError(-5026)
        self._check_price(order.side, price)
        self._check_notional(price, quantity, order.reduce_only)
        if not order.reduce_only:
            self._check_margin(order.side, price, quantity - order.quantity)
        if quantity <= order.executed:
            self._finish(order, "CANCELED", "CANCELED")
            return self.order_view(order)
        self._take_out(order)
        before = (order.price, order.quantity, order.modifications)
        order.price, order.quantity, order.modifications = price, quantity, order.modifications + 1
        if order.time_in_force == "GTX" and self._would_take(order):
            order.price, order.quantity, order.modifications = before
            self._finish(order, "CANCELED", "CANCELED")
            return self.order_view(order)
        order.updated = self._clock.now_ms()
        self.account.save_order(order)
        self._emit_order(order, "AMENDMENT", modify_id=params.get("modifyId"))
        self._execute(order)
        self.market.client_acted()
        return self.order_view(order)

    def cancel(self, params: Params) -> dict[str, Any]:
        """`DELETE /fapi/v1/order`."""
        order = self._named(params, -2011)
        if self.faults.take("fill_before_cancel"):
            self._taken(order, order.remaining)
        elif self.faults.take("part_fill_before_cancel"):
            self._taken(order, order.remaining // 2)
        if order.order_id not in self.account.open:
            raise VenueError(-2011)
        self._finish(order, "CANCELED", "CANCELED")
        self.market.client_acted()
        return self.order_view(order)

    def cancel_all(self, params: Params) -> dict[str, Any]:
        """`DELETE /fapi/v1/allOpenOrders`."""
        self.check_symbol(params)
        self._cancel_every_order()
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def place_batch(self, params: Params) -> list[dict[str, Any]]:
        """`POST /fapi/v1/batchOrders`: up to five, each answered by an order or an error."""
        orders = json_list(params, "batchOrders", 5)
        return [self._each(lambda leg: self.place(ws_text(leg)), order) for order in orders]

    def cancel_batch(self, params: Params) -> list[dict[str, Any]]:
        """`DELETE /fapi/v1/batchOrders`: up to ten, by orderIdList or origClientOrderIdList."""
        name = "orderIdList" if "orderIdList" in params else "origClientOrderIdList"
        single = "orderId" if name == "orderIdList" else "origClientOrderId"
        symbol = required(params, "symbol")
        named = json_list(params, name, 10)
        return [self._each(self.cancel, {"symbol": symbol, single: str(value)}) for value in named]

    def _each(self, act: Callable[[Any], dict[str, Any]], leg: Any) -> dict[str, Any]:
        try:
            return act(leg)
        except VenueError as error:
            return error.body()

    def query(self, params: Params) -> dict[str, Any]:
        """`GET /fapi/v1/order`."""
        order = self._named(params, -2013)
        if self.faults.take("fresh_2013"):
            raise VenueError(-2013)
        return self.full_view(order)

    def open_order(self, params: Params) -> dict[str, Any]:
        """`GET /fapi/v1/openOrder`."""
        order = self._named(params, -2013)
        if order.order_id not in self.account.open:
            raise VenueError(-2013)
        return self.full_view(order)

    def open_orders(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/openOrders`."""
        if "symbol" in params:
            self.check_symbol(params)
        return [self.full_view(order) for order in self.account.open.values()]

    def all_orders(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/allOrders`: by orderId, startTime, endTime, limit."""
        self.check_symbol(params)
        first, limit = whole(params, "orderId", 0), _rows(params)
        start, end = self._window(params, everything=first > 0)
        orders = [order for order in self.account.orders.values()
                  if order.order_id >= first and start <= order.time <= end]  # fmt: skip
        chosen = orders[:limit] if first or "startTime" in params else orders[-limit:]
        return [self.full_view(order) for order in chosen]

    def user_trades(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/userTrades`: by fromId or startTime and endTime, orderId, limit."""
        self.check_symbol(params)
        if "fromId" in params and ("startTime" in params or "endTime" in params):
            raise VenueError(-1128)
        first, limit = whole(params, "fromId", 0), _rows(params)
        start, end = self._window(params, everything="fromId" in params)
        order_id = whole(params, "orderId", 0)
        fills = [
            fill
            for fill in self.account.fills
            if fill.trade_id >= first and start <= fill.time <= end and order_id in (0, fill.order_id)
        ]
        chosen = fills[:limit] if "fromId" in params or "startTime" in params else fills[-limit:]
        return [self._trade_view(fill) for fill in chosen]

    def _window(self, params: Params, everything: bool) -> tuple[int, int]:
        """The first and last ms that a history shows: seven days at most, the last ones unless asked."""
        if everything:
            return 0, 1 << 62
        if "startTime" in params:
            start = whole(params, "startTime", 0)
            end = whole(params, "endTime", start + HISTORY_MS)
            if end - start > HISTORY_MS:
                raise VenueError(-4165, 7)
            return start, end
        if "endTime" in params:
            end = whole(params, "endTime", 0)
            return end - HISTORY_MS, end
        return self._clock.now_ms() - HISTORY_MS, 1 << 62

    # --- the account's other requests ----------------------------------------------------------------

    def countdown(self, params: Params) -> dict[str, Any]:
        """`POST /fapi/v1/countdownCancelAll`; 0 disarms."""
        self.check_symbol(params)
        wait = whole(params, "countdownTime", -1)
        if wait < 0:
            raise VenueError(-1102, "countdownTime")
        self.account.save_settings(countdown_at=self._clock.now_ms() + wait if wait else 0)
        return {"symbol": self.instrument.symbol, "countdownTime": str(wait)}

    def check_timers(self) -> None:
        """Called every few ms: dead-man switch, good-till dates, age of the listenKey."""
        now, settings = self._clock.now_ms(), self.account.settings
        if settings.countdown_at and now >= settings.countdown_at:
            self.account.save_settings(countdown_at=0)
            self._cancel_every_order()
        if settings.listen_key and now >= settings.listen_key_until:
            self.expire_listen_key()
        for order in list(self.account.open.values()):
            if order.good_till and now >= order.good_till:
                self._finish(order, "EXPIRED", "EXPIRED")
                self.market.client_acted()

    def start_listen_key(self) -> str:
        """The existing key, extended, or a new one."""
        key = self.account.settings.listen_key or secrets.token_hex(32)
        self.account.save_settings(
            listen_key=key, listen_key_until=self._clock.now_ms() + LISTEN_KEY_VALID_MS
        )
        return key

    def keep_listen_key(self) -> str:
        """Extend the key; -1125 when there is none."""
        if not self.account.settings.listen_key:
            raise VenueError(-1125)
        return self.start_listen_key()

    def close_listen_key(self) -> dict[str, Any]:
        """Forget the key: its streams fall silent."""
        if not self.account.settings.listen_key:
            raise VenueError(-1125)
        self.expire_listen_key()
        return {}

    def expire_listen_key(self) -> None:
        """The key dies, its sockets stay open."""
        key = self.account.settings.listen_key
        if key:
            self.emit({"e": "listenKeyExpired", "E": self._clock.now_ms(), "listenKey": key})
            self.account.save_settings(listen_key="", listen_key_until=0)
            self.stop_stream(key)

    # --- executions ----------------------------------------------------------------------------------

    def maker_filled(self, entry: Resting, price: int, quantity: int, trade_id: int) -> None:
        """The background traded with one of the account's resting orders."""
        order = entry.owner
        if not isinstance(order, Order):
            return
        self._filled(order, price, quantity, True, trade_id)
        if entry.quantity == 0:
            self._entries.pop(order.order_id, None)
            if order.remaining:
                self._finish(order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY)

    def _taken(self, order: Order, lots: int) -> None:
        """Somebody takes this much of a resting order, whatever stands before it in the queue."""
        entry = self._entries.get(order.order_id)
        part = min(lots, entry.quantity) if entry is not None else 0
        if entry is not None and part > 0:
            trade_id = self.market.trade_printed(entry.price, part, order.side == BUY)
            self.book.fill(entry, part)
            self.maker_filled(entry, entry.price, part, trade_id)
            self.market.client_acted()

    def _execute(self, order: Order) -> None:
        """Match as taker; what is left rests, expires or is cancelled as its time in force says."""
        limit = self._limit(order)
        while (wanted := self._takeable(order)) > 0:
            entry = self.book.front(-order.side, limit)
            if entry is None:
                break
            if isinstance(entry.owner, Order):
                if order.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
                    self._finish(entry.owner, "EXPIRED", "EXPIRED_IN_MATCH", ER_STP)
                if order.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                    self._finish(order, "EXPIRED", "EXPIRED_IN_MATCH", ER_STP)
                    return
                continue
            part = min(wanted, entry.quantity)
            trade_id = self.market.trade_printed(entry.price, part, order.side == SELL)
            price = entry.price
            self.book.fill(entry, part)
            self._filled(order, price, part, False, trade_id)
        if order.remaining == 0:
            return
        if order.reduce_only and self._takeable(order) == 0:
            self._finish(order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY)
        elif order.type == "MARKET":
            self._finish(order, "EXPIRED", "EXPIRED", ER_MARKET)
        elif order.time_in_force in ("IOC", "FOK"):
            self._finish(order, "EXPIRED", "EXPIRED", ER_IOC)
        else:
            rests = self._takeable(order)
            self._entries[order.order_id] = self.book.add(order.side, order.price, rests, order)

    def _filled(self, order: Order, price: int, quantity: int, maker: bool, trade_id: int) -> None:
        fill = self.account.save_fill(order, price, quantity, maker, trade_id, self._clock.now_ms())
        if order.remaining == 0:
            self._entries.pop(order.order_id, None)
        self._emit_fill(order, fill)
        self._clamp_reduce_only()

    def _takeable(self, order: Order) -> int:
        """Lots that may still execute: a reduce-only order never passes through zero."""
        if not order.reduce_only:
            return order.remaining
        position = self.account.position.quantity
        return min(order.remaining, max(0, -position * order.side))

    def position_changed(self) -> None:
        """The position changed without a fill: resting reduce-only orders follow it."""
        self._clamp_reduce_only()

    def _clamp_reduce_only(self) -> None:
        for order in list(self.account.open.values()):
            entry = self._entries.get(order.order_id) if order.reduce_only else None
            if entry is None or entry.quantity == 0:
                continue
            allowed = self._takeable(order)
            if allowed == 0:
                self._finish(order, "EXPIRED", "EXPIRED", ER_REDUCE_ONLY)
            elif entry.quantity > allowed:
                self.book.fill(entry, entry.quantity - allowed)

    def _finish(self, order: Order, execution: str, status: str, reason: int = 0) -> None:
        self._take_out(order)
        order.status, order.expiry_reason, order.updated = status, reason, self._clock.now_ms()
        self.account.save_order(order)
        self._emit_order(order, execution)

    def _take_out(self, order: Order) -> None:
        entry = self._entries.pop(order.order_id, None)
        if entry is not None:
            self.book.remove(entry)

    def _cancel_every_order(self) -> None:
        for order in list(self.account.open.values()):
            self._finish(order, "CANCELED", "CANCELED")
        self.market.client_acted()

    # --- checks --------------------------------------------------------------------------------------

    def check_symbol(self, params: Params) -> None:
        """-1121 unless `symbol` names the one that is listed."""
        if required(params, "symbol") != self.instrument.symbol:
            raise VenueError(-1121)

    def _checked_order(self, params: Params) -> Order:
        self.check_symbol(params)
        self._check_shape(params)
        kind, side = params["type"], side_of(params)
        market = kind == "MARKET"
        time_in_force = "GTC" if market else required(params, "timeInForce")
        quantity = self.instrument.quantity(required(params, "quantity"), market)
        price = 0 if market else self.instrument.price(required(params, "price"))
        reduce_only = flag(params, "reduceOnly")
        self._check_notional(price or self.market.mark(), quantity, reduce_only)
        if not market:
            self._check_price(side, price)
        if reduce_only and self.account.position.quantity * side >= 0:
            raise VenueError(-2022)
        if len(self.account.open) >= self.instrument.max_open_orders:
            raise VenueError(-2025)
        now = self._clock.now_ms()
        order_id = max(self.account.last_order_id + 1, now * 8)
        return Order(
            order_id=order_id,
            client_id=self._client_id(params, order_id),
            side=side,
            type=kind,
            time_in_force=time_in_force,
            price=price,
            quantity=quantity,
            reduce_only=reduce_only,
            stp=params.get("selfTradePreventionMode", "EXPIRE_MAKER"),
            good_till=self._good_till(params, time_in_force, now),
            time=now,
            updated=now,
        )

    def _check_shape(self, params: Params) -> None:
        side_of(params)
        kind = required(params, "type")
        if kind in CONDITIONAL:
            raise VenueError(-4120)
        if kind not in ("LIMIT", "MARKET"):
            raise VenueError(-1116)
        _check_read(params, PLACE_PARAMS)
        for name in ("stopPrice", "activationPrice", "callbackRate"):
            if name in params:
                raise VenueError(-1106, name)
        if flag(params, "closePosition") or flag(params, "priceProtect"):
            raise VenueError(-1106, "closePosition")
        if kind == "MARKET":
            for name in ("timeInForce", "price"):
                if name in params:
                    raise VenueError(-1106, name)
        elif params.get("timeInForce") == "RPI" and self.profile.rpi:
            raise not_modelled("timeInForce RPI")
        elif required(params, "timeInForce") not in TIMES_IN_FORCE:
            raise VenueError(-1115)
        if params.get("selfTradePreventionMode", "EXPIRE_MAKER") not in STP_MODES:
            raise VenueError(-1130, "selfTradePreventionMode")
        if params.get("newOrderRespType", "ACK") not in ("ACK", "RESULT"):
            raise VenueError(-1130, "newOrderRespType")

    def _client_id(self, params: Params, order_id: int) -> str:
        given = params.get("newClientOrderId")
        if given is None:
            return f"web_{order_id}"
        if len(given) > 36:
            raise VenueError(-4015)
        if not CLIENT_ID.match(given):
            raise VenueError(-1100, "newClientOrderId", CLIENT_ID_TEXT)
        if given in self.account.open_by_client:
            raise VenueError(-4116)
        return given

    def _good_till(self, params: Params, time_in_force: str, now: int) -> int:
        if time_in_force != "GTD":
            return 0
        until = whole(params, "goodTillDate", 0) // 1000 * 1000
        if until <= now + GTD_MARGIN_MS:
            raise VenueError(-1102, "goodTillDate")
        return until

    def _check_notional(self, price: int, quantity: int, reduce_only: bool) -> None:
        minimum = self.instrument.min_notional
        if not reduce_only and price * quantity * self.instrument.micros < minimum * 1_000_000:
            raise VenueError(-4164, minimum)

    def _check_price(self, side: int, price: int) -> None:
        """PERCENT_PRICE against the mark price: 5 % up for buyers, 5 % down for sellers."""
        lowest, highest = self._band()
        if side == BUY and price > highest:
            raise VenueError(-4016, self.instrument.price_text(highest))
        if side == SELL and price < lowest:
            raise VenueError(-4024, self.instrument.price_text(lowest))

    def _band(self) -> tuple[int, int]:
        mark = self.market.mark()
        return -(-mark * 95 // 100), mark * 105 // 100

    def _limit(self, order: Order) -> int:
        """The worst price that an order may trade at; of a MARKET order marketTakeBound, 5 % off the mark."""
        if order.type != "MARKET":
            return order.price
        lowest, highest = self._band()
        return highest if order.side == BUY else lowest

    def _check_margin(self, side: int, price: int, more: int) -> None:
        """-2019 when the account cannot carry `more` lots of this side."""
        mark = max(self.market.mark(), price)
        account = self.account
        needed = account.margin_micros(mark, side, more)
        owned = account.wallet_e8() // 100 + account.unrealized_micros(self.market.mark())
        if needed > owned and needed > account.margin_micros(mark):
            raise VenueError(-2019)

    def _would_take(self, order: Order) -> bool:
        return self.book.front(-order.side, order.price) is not None

    def _can_fill(self, order: Order) -> bool:
        wanted = self._takeable(order)
        return wanted > 0 and self.book.available(-order.side, order.price, wanted) >= wanted

    def _named(self, params: Params, code: int) -> Order:
        self.check_symbol(params)
        if "orderId" not in params and "origClientOrderId" not in params:
            raise VenueError(-1102, "orderId")
        order_id = whole(params, "orderId", 0) if "orderId" in params else None
        order = self.account.find(order_id, params.get("origClientOrderId"))
        if order is None:
            raise VenueError(code)
        return order

    # --- what the client sees ------------------------------------------------------------------------

    def order_view(self, order: Order) -> dict[str, Any]:
        """Answer to place, modify and cancel: no avgPrice and no cumQuote since 2026-07-15."""
        text = self.instrument.quantity_text
        view = {
            "clientOrderId": order.client_id, "cumQty": text(order.executed),
            "executedQty": text(order.executed), "orderId": order.order_id, "origQty": text(order.quantity),
            "price": self.instrument.price_text(order.price), "reduceOnly": order.reduce_only,
            "side": "BUY" if order.side == BUY else "SELL", "positionSide": "BOTH", "status": order.status,
            "stopPrice": "0.00", "closePosition": False, "symbol": self.instrument.symbol,
            "timeInForce": order.time_in_force, "type": order.type, "origType": order.type,
            "updateTime": order.updated, "workingType": "CONTRACT_PRICE", "priceProtect": False,
            "priceMatch": "NONE", "selfTradePreventionMode": order.stp, "goodTillDate": order.good_till,
        }  # fmt: skip
        if self.profile.name == "legacy":
            view |= {"avgPrice": self._average(order), "cumQuote": scaled_text(order.quote_micros, 6)}
        return view

    def full_view(self, order: Order) -> dict[str, Any]:
        """Answer to a query."""
        return self.order_view(order) | {
            "avgPrice": self._average(order), "cumQuote": scaled_text(order.quote_micros, 6),
            "time": order.time,
        }  # fmt: skip

    def _average(self, order: Order) -> str:
        if order.executed == 0:
            return "0.00000"
        return scaled_text(order.quote_micros * self.instrument.lots_per_unit // (order.executed * 10), 5)

    def _trade_view(self, fill: Fill) -> dict[str, Any]:
        value = fill.price * fill.quantity * self.instrument.micros
        return {
            "symbol": self.instrument.symbol, "id": fill.trade_id, "orderId": fill.order_id,
            "side": "BUY" if fill.side == BUY else "SELL", "price": self.instrument.price_text(fill.price),
            "qty": self.instrument.quantity_text(fill.quantity),
            "realizedPnl": scaled_text(fill.realized_micros, 6),
            "quoteQty": scaled_text(value, 6), "commission": scaled_text(fill.commission_e8(), 8),
            "commissionAsset": fill.fee_asset, "time": fill.time, "positionSide": "BOTH",
            "buyer": fill.side == BUY, "maker": fill.maker,
        }  # fmt: skip

    def _emit_order(
        self, order: Order, execution: str, fill: Fill | None = None, modify_id: str | None = None
    ) -> None:
        text, price_text = self.instrument.quantity_text, self.instrument.price_text
        now = self._clock.now_ms()
        view: dict[str, Any] = {
            "s": self.instrument.symbol, "c": order.client_id, "S": "BUY" if order.side == BUY else "SELL",
            "o": order.type, "f": order.time_in_force, "q": text(order.quantity),
            "p": price_text(order.price),
            "ap": self._average(order), "sp": "0", "x": execution, "X": order.status, "i": order.order_id,
            "l": text(fill.quantity) if fill else "0", "z": text(order.executed),
            "L": price_text(fill.price) if fill else "0", "T": order.updated,
            "t": fill.trade_id if fill else 0, "b": "0", "a": "0", "m": bool(fill and fill.maker),
            "R": order.reduce_only, "wt": "CONTRACT_PRICE",
            "ot": order.type, "ps": "BOTH", "cp": False, "pP": False, "si": 0, "ss": 0,
            "rp": scaled_text(fill.realized_micros, 6) if fill else "0", "V": order.stp, "pm": "NONE",
            "gtd": order.good_till, "er": str(order.expiry_reason),
        }  # fmt: skip
        if modify_id is not None:
            view["M"] = int(modify_id) if modify_id.isdigit() else modify_id
        if fill:
            view |= {"N": fill.fee_asset, "n": scaled_text(fill.commission_e8(), 8)}
        self.emit({"e": "ORDER_TRADE_UPDATE", "T": order.updated, "E": now, "o": view})

    def _emit_fill(self, order: Order, fill: Fill) -> None:
        instrument, now = self.instrument, self._clock.now_ms()
        self.emit({
            "e": "TRADE_LITE", "E": now, "T": fill.time, "s": instrument.symbol,
            "q": instrument.quantity_text(order.quantity),
            "p": instrument.price_text(order.price) if order.price else "0.0000", "m": fill.maker,
            "c": order.client_id, "S": "BUY" if order.side == BUY else "SELL",
            "L": instrument.price_text(fill.price), "l": instrument.quantity_text(fill.quantity),
            "t": fill.trade_id, "i": order.order_id,
        })  # fmt: skip
        paid = dict.fromkeys(("USDT", fill.fee_asset))
        wallets = [(asset, scaled_text(self.account.coin_e8(asset), 8)) for asset in paid]
        self.emit({
            "e": "ACCOUNT_UPDATE", "T": fill.time, "E": now,
            "a": {"B": [{"a": asset, "wb": wallet, "cw": wallet, "bc": "0"} for asset, wallet in wallets],
                  "P": [self.position_event()], "m": "ORDER"},
        })  # fmt: skip
        self._emit_order(order, "TRADE", fill)

    def position_event(self) -> dict[str, Any]:
        """The row of ACCOUNT_UPDATE's P."""
        position = self.account.position
        entry = self.entry_price()
        return {
            "s": self.instrument.symbol, "pa": self.instrument.quantity_text(position.quantity), "ep": entry,
            "cr": scaled_text(position.realized_micros, 6),
            "up": scaled_text(self.account.unrealized_micros(self.market.mark()), 6), "mt": "cross",
            "iw": "0", "ps": "BOTH", "ma": "USDT", "bep": entry,
        }  # fmt: skip

    def entry_price(self) -> str:
        """Average price of the open position."""
        position = self.account.position
        if position.quantity == 0:
            return "0"
        return scaled_text(
            position.cost_micros * self.instrument.lots_per_unit // (position.quantity * 10), 5
        )


def _check_read(params: Params, read: frozenset[str]) -> None:
    """Refuse what an order or its modification sends and nobody here reads, or models."""
    unread = set(params) - read
    if unread:
        raise VenueError(-1104, len(params) - len(unread), len(params))
    if params.get("positionSide", "BOTH") != "BOTH":
        raise VenueError(-4061)
    if params.get("priceMatch", "NONE") != "NONE":
        raise not_modelled("priceMatch")


def _rows(params: Params) -> int:
    """The limit of a history request."""
    limit = whole(params, "limit", 500)
    if not 1 <= limit <= HISTORY_ROWS_MAX:
        raise VenueError(-1130, "limit")
    return limit
