"""Money that moves without a fill: funding at its hours, insurance, adjustments, transfers, other coins.

Each movement is one row of the income history (`GET /fapi/v1/income`) and one ACCOUNT_UPDATE on the user
stream. The row is there in any case, a little later than the event, as at the venue; the event may be
lost, late or told twice (faults). Sources: Binance USD-M futures docs, "Get Income History" and "Event:
Balance and Position Update".
"""

from __future__ import annotations

import asyncio
from typing import Any

from simulators.admin import RefereeError
from simulators.binance_account import Account, Adjustment, Movement
from simulators.binance_exchange import Exchange
from simulators.binance_params import Params, required, whole
from simulators.binance_rules import VenueError, scaled_text
from simulators.clock import Clock
from simulators.faults import Faults

FUNDING_EVERY_MS = 8 * 3_600_000  # 00:00, 08:00 and 16:00 UTC
FUNDING_RATE_E8 = 10_000  # 0.01 %, the venue's interest component, until the referee sets another
INCOME_LAG_MS = 1000  # a row is seen this much later than the money moved
INCOME_ROWS = 100
INCOME_ROWS_MAX = 1000
INCOME_WINDOW_MS = 7 * 86_400_000
INCOME_KEPT_MS = 90 * 86_400_000
INCOME_TYPES = frozenset((
    "TRANSFER", "WELCOME_BONUS", "REALIZED_PNL", "FUNDING_FEE", "COMMISSION", "INSURANCE_CLEAR",
    "REFERRAL_KICKBACK", "COMMISSION_REBATE", "API_REBATE", "CONTEST_REWARD", "CROSS_COLLATERAL_TRANSFER",
    "OPTIONS_PREMIUM_FEE", "OPTIONS_SETTLE_PROFIT", "INTERNAL_TRANSFER", "AUTO_EXCHANGE",
    "DELIVERED_SETTELMENT", "COIN_SWAP_DEPOSIT", "COIN_SWAP_WITHDRAW", "POSITION_LIMIT_INCREASE_FEE",
    "STRATEGY_UMFUTURES_TRANSFER", "FEE_RETURN", "BFUSD_REWARD", "ADJUSTMENT",
))  # fmt: skip

# What the referee may ask for: the verb, then the type of the row and the reason of the event.
VERBS = {
    "funding_usdt": ("FUNDING_FEE", "FUNDING_FEE"),
    "adjust_usdt": ("ADJUSTMENT", "ADJUSTMENT"),
    "insurance_usdt": ("INSURANCE_CLEAR", "INSURANCE_CLEAR"),
    "deposit_usdt": ("TRANSFER", "DEPOSIT"),
    "withdraw_usdt": ("TRANSFER", "WITHDRAW"),
    "transfer_usdt": ("TRANSFER", "MARGIN_TRANSFER"),
}
ALSO = ("income", "adjust_position", "funding_rate", "charge_funding", "fee_asset", "silent_usdt")
CASH_VERBS = frozenset(VERBS) | frozenset(ALSO)
HOW = (
    "one of: " + ", ".join(sorted(VERBS)) + ' ("-600.00", signed, except withdraw_usdt: what leaves); '
    'income {"type", "amount", "asset", "reason"}; adjust_position {"quantity": "-0.5", "price": "60000.0"}; '
    'funding_rate "0.0001"; charge_funding true; fee_asset "BNB" or "USDT"; silent_usdt: no row and no event'
)


class Cash:
    """The account's movements of money, as the referee causes them and the clients see them."""

    def __init__(self, exchange: Exchange, clock: Clock, faults: Faults) -> None:
        self._exchange = exchange
        self._account: Account = exchange.account
        self._clock = clock
        self._faults = faults
        if not self._account.settings.next_funding:
            now = clock.now_ms()
            following = (now // FUNDING_EVERY_MS + 1) * FUNDING_EVERY_MS
            self._account.save_settings(next_funding=following, funding_rate_e8=FUNDING_RATE_E8)

    # --- what happens by itself ----------------------------------------------------------------------

    def check_funding(self) -> None:
        """Called every few ms: charges each hour of funding that has come."""
        while self._clock.now_ms() >= self._account.settings.next_funding:
            due = self._account.settings.next_funding
            self._account.save_settings(next_funding=due + FUNDING_EVERY_MS)
            self._charge_funding(due)

    def funding_rate_text(self) -> str:
        """The rate of the next charge, with eight decimals."""
        return scaled_text(self._account.settings.funding_rate_e8, 8)

    def next_funding_ms(self) -> int:
        """When the next charge comes."""
        return self._account.settings.next_funding

    def _charge_funding(self, time_ms: int) -> None:
        """A long position pays mark x quantity x rate, a short one receives it."""
        position, mark = self._account.position.quantity, self._exchange.market.mark()
        value = position * mark * self._account.instrument.micros * self._account.settings.funding_rate_e8
        amount_e8 = -(value // 10**6) if value >= 0 else -value // 10**6
        if amount_e8:
            self._move(
                "FUNDING_FEE", "USDT", amount_e8, "FUNDING_FEE", time_ms, self._account.instrument.symbol
            )

    # --- what the referee causes ---------------------------------------------------------------------

    def act(self, body: dict[str, Any]) -> dict[str, Any]:
        """One verb of CASH_VERBS; gives the wallet afterwards."""
        if len(body) != 1:
            raise RefereeError(f"one thing at a time: {HOW}")
        ((verb, value),) = body.items()
        now = self._clock.now_ms()
        if verb in VERBS:
            amount = _e8(value)
            if verb == "withdraw_usdt":
                amount = -abs(amount)
            kind, reason = VERBS[verb]
            if verb == "deposit_usdt" and amount < 0:
                reason = "WITHDRAW"
            symbol = self._account.instrument.symbol if kind == "FUNDING_FEE" else ""
            self._move(kind, "USDT", amount, reason, now, symbol)
        elif verb == "income":
            self._income_of(value, now)
        elif verb == "adjust_position":
            self._adjust_position(value, now)
        elif verb == "funding_rate":
            self._account.save_settings(funding_rate_e8=_e8(value))
        elif verb == "charge_funding":
            self._charge_funding(now)
        elif verb == "silent_usdt":  # a movement that nothing tells of: only the balance shows it
            self._account.save_settings(deposits_e8=self._account.settings.deposits_e8 + _e8(value))
        elif value in ("BNB", "USDT"):
            self._account.save_settings(fee_asset=value)
        else:
            raise RefereeError(HOW)
        return {"wallet_e8": self._account.wallet_e8(), "rows": len(self._account.movements)}

    def _income_of(self, value: Any, now: int) -> None:
        try:
            kind, asset = str(value["type"]), str(value.get("asset", "USDT"))
            amount, reason = _e8(value["amount"]), str(value.get("reason", value["type"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise RefereeError(HOW) from error
        self._move(kind, asset, amount, reason, now, str(value.get("symbol", "")))

    def _adjust_position(self, value: Any, now: int) -> None:
        instrument = self._account.instrument
        try:
            text = str(value["quantity"])
            sign = -1 if text.startswith("-") else 1
            size = text.removeprefix("-")
            lots = 0 if float(size) == 0 else sign * instrument.quantity(size, market=False)
            price = (
                instrument.price(str(value["price"])) if "price" in value else self._exchange.market.mark()
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RefereeError(HOW) from error
        except VenueError as error:
            raise RefereeError(error.text) from error
        self._account.save_adjustment(Adjustment(len(self._account.fills), lots, price, now))
        self._tell([], [self._exchange.position_event()], "ADJUSTMENT", now)
        self._exchange.position_changed()

    def _move(
        self, kind: str, asset: str, amount_e8: int, reason: str, time_ms: int, symbol: str = ""
    ) -> None:
        shown = self._clock.now_ms() + INCOME_LAG_MS + self._faults.value("income_late_ms")
        number = max(self._account.last_tran_id + 1, self._clock.now_ms() * 1000)
        self._account.save_movement(Movement(kind, asset, amount_e8, time_ms, number, symbol, shown))
        wallet = scaled_text(self._account.coin_e8(asset), 8)
        change = {"a": asset, "wb": wallet, "cw": wallet, "bc": scaled_text(amount_e8, 8)}
        self._tell([change], [], reason, time_ms)

    def _tell(self, balances: list[Any], positions: list[Any], reason: str, time_ms: int) -> None:
        """The event, unless a fault loses it; it may come late, or twice."""
        if self._faults.take("drop_account_update"):
            return
        account = {"B": balances, "P": positions, "m": reason}
        event = {"e": "ACCOUNT_UPDATE", "T": time_ms, "E": self._clock.now_ms(), "a": account}
        times = 2 if self._faults.take("duplicate_account_update") else 1
        late_ms = self._faults.value("late_account_update_ms")
        for _ in range(times):
            if late_ms:
                asyncio.get_running_loop().call_later(late_ms / 1000, self._exchange.emit, event)
            else:
                self._exchange.emit(event)

    # --- what the clients see ------------------------------------------------------------------------

    def income(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/income`: by incomeType, symbol, startTime, endTime, page, limit; oldest first."""
        kind, now = params.get("incomeType"), self._clock.now_ms()
        if kind is not None and kind not in INCOME_TYPES:
            raise VenueError(-1130, "incomeType")
        limit, page = whole(params, "limit", INCOME_ROWS), whole(params, "page", 1)
        if not 1 <= limit <= INCOME_ROWS_MAX:
            raise VenueError(-1130, "limit")
        if page < 1:
            raise VenueError(-1130, "page")
        if "symbol" in params and required(params, "symbol") != self._account.instrument.symbol:
            raise VenueError(-1121)
        start = whole(params, "startTime", now - INCOME_WINDOW_MS)
        end = whole(params, "endTime", now)
        start = max(start, now - INCOME_KEPT_MS)
        rows = [
            row
            for row in self._rows(now)
            if start <= row["time"] <= end
            and kind in (None, row["incomeType"])
            and params.get("symbol") in (None, row["symbol"])
        ]
        if "startTime" not in params and "page" not in params:
            return rows[-limit:]
        return rows[(page - 1) * limit : page * limit]

    def _rows(self, now: int) -> list[dict[str, Any]]:
        """Everything that the venue shows by now, in order of time."""
        late = INCOME_LAG_MS + self._faults.value("income_late_ms")
        symbol = self._account.instrument.symbol
        rows: list[dict[str, Any]] = []
        for fill in self._account.fills:
            if fill.time + late > now:
                continue
            trade = str(fill.trade_id)
            if fill.realized_micros:
                text = scaled_text(fill.realized_micros * 100, 8)
                rows.append(_row(symbol, "REALIZED_PNL", text, "USDT", fill.time, fill.trade_id, trade))
            fee = scaled_text(-fill.commission_e8(), 8)
            rows.append(_row(symbol, "COMMISSION", fee, fill.fee_asset, fill.time, fill.trade_id, trade))
        for move in self._account.movements:
            if move.shown <= now:
                text = scaled_text(move.amount_e8, 8)
                rows.append(_row(move.symbol, move.type, text, move.asset, move.time, move.tran_id, ""))
        rows.sort(key=lambda row: row["time"])
        return rows


def _row(
    symbol: str, kind: str, amount: str, asset: str, time_ms: int, tran_id: int, trade: str
) -> dict[str, Any]:
    return {"symbol": symbol, "incomeType": kind, "income": amount, "asset": asset, "info": trade or kind,
            "time": time_ms, "tranId": tran_id, "tradeId": trade}  # fmt: skip


def _e8(value: Any) -> int:
    """A decimal text or whole number as units of 10^-8."""
    text = str(value)
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    whole_part, _, rest = digits.partition(".")
    if isinstance(value, bool) or not (whole_part + rest).isdigit() or len(rest) > 8 or len(whole_part) > 10:
        raise RefereeError(f"{value!r} is not an amount: {HOW}")
    return sign * (int(whole_part or "0") * 10**8 + int(rest.ljust(8, "0")))
