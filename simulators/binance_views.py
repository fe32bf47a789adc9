"""Answers about the account, the market and the rules that are the same for REST and the WS API."""

from __future__ import annotations

from typing import Any

from simulators.binance_account import MAKER_FEE_E4, TAKER_FEE_E4
from simulators.binance_cash import Cash
from simulators.binance_exchange import Exchange
from simulators.binance_params import Params, required, whole
from simulators.binance_rules import ORDERS_1M, ORDERS_10S, VenueError, not_modelled, scaled_text
from simulators.clock import Clock

DEPTH_LIMITS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}


class Views:
    """Read-only answers, and the few settings of the account."""

    def __init__(self, exchange: Exchange, cash: Cash, clock: Clock) -> None:
        self._exchange = exchange
        self._cash = cash
        self._account = exchange.account
        self._instrument = exchange.instrument
        self._clock = clock

    def depth(self, params: Params) -> dict[str, Any]:
        """`GET /fapi/v1/depth`."""
        self._exchange.check_symbol(params)
        limit = whole(params, "limit", 500)
        if limit not in DEPTH_LIMITS:
            raise VenueError(-1130, "limit")
        last_id, bids, asks = self._exchange.market.snapshot(limit)
        now = self._clock.now_ms()
        return {"lastUpdateId": last_id, "E": now, "T": now, "bids": self.level_texts(bids),
                "asks": self.level_texts(asks)}  # fmt: skip

    def level_texts(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        """Levels as the venue writes them."""
        price, quantity = self._instrument.price_text, self._instrument.quantity_text
        return [[price(ticks), quantity(lots)] for ticks, lots in levels]

    def book_ticker(self, params: Params) -> Any:
        """`GET /fapi/v1/ticker/bookTicker`."""
        if "symbol" in params:
            self._exchange.check_symbol(params)
        last_id, bids, asks = self._exchange.market.snapshot(1)
        (bid, bid_lots), (ask, ask_lots) = (bids or [(0, 0)])[0], (asks or [(0, 0)])[0]
        price, quantity = self._instrument.price_text, self._instrument.quantity_text
        view = {"symbol": self._instrument.symbol, "bidPrice": price(bid), "bidQty": quantity(bid_lots),
                "askPrice": price(ask), "askQty": quantity(ask_lots), "time": self._clock.now_ms(),
                "lastUpdateId": last_id}  # fmt: skip
        return view if "symbol" in params else [view]

    def price(self, params: Params) -> dict[str, Any]:
        """`ticker.price`: the mark stands in for the last price."""
        self._exchange.check_symbol(params)
        mark = self._instrument.price_text(self._exchange.market.mark())
        return {"symbol": self._instrument.symbol, "price": mark, "time": self._clock.now_ms()}

    def premium_index(self, params: Params) -> Any:
        """`GET /fapi/v1/premiumIndex`."""
        if "symbol" in params:
            self._exchange.check_symbol(params)
        mark = self.mark_e8_text()
        now = self._clock.now_ms()
        view = {"symbol": self._instrument.symbol, "markPrice": mark, "indexPrice": mark,
                "estimatedSettlePrice": mark, "lastFundingRate": self._cash.funding_rate_text(),
                "interestRate": "0.00010000", "nextFundingTime": self._cash.next_funding_ms(),
                "time": now}  # fmt: skip
        return view if "symbol" in params else [view]

    def mark_e8_text(self) -> str:
        """The mark price with eight decimals."""
        return scaled_text(self._exchange.market.mark() * 10**7, 8)

    def position_risk(self, version: int, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v2|v3/positionRisk`; v3 lists a symbol only with a position or orders."""
        if "symbol" in params:
            self._exchange.check_symbol(params)
        position, settings = self._account.position, self._account.settings
        if version == 3 and position.quantity == 0 and not self._account.open:
            return []
        view = self._position_view() | {
            "markPrice": self.mark_e8_text(), "liquidationPrice": "0", "marginAsset": "USDT", "adl": 1,
            "bidNotional": "0", "askNotional": "0",
        }  # fmt: skip
        if version == 2:
            view |= {"leverage": str(settings.leverage), "marginType": settings.margin_type.lower(),
                     "maxNotionalValue": "40000000", "isAutoAddMargin": "false"}  # fmt: skip
        return [view]

    def _position_view(self) -> dict[str, Any]:
        position, micros = self._account.position, self._instrument.micros
        mark = self._exchange.market.mark()
        unrealized = scaled_text(self._account.unrealized_micros(mark) * 100, 8)
        initial = scaled_text(
            abs(position.quantity) * mark * micros * 100 // self._account.settings.leverage, 8
        )
        maintenance = scaled_text(abs(position.quantity) * mark * micros * 100 * 4 // 1000, 8)
        return {
            "symbol": self._instrument.symbol, "positionSide": "BOTH",
            "positionAmt": self._instrument.quantity_text(position.quantity),
            "entryPrice": self._exchange.entry_price(), "breakEvenPrice": self._exchange.entry_price(),
            "unRealizedProfit": unrealized, "unrealizedProfit": unrealized,
            "notional": scaled_text(position.quantity * mark * micros * 100, 8), "isolatedMargin": "0",
            "isolatedWallet": "0", "initialMargin": initial, "maintMargin": maintenance,
            "positionInitialMargin": initial, "openOrderInitialMargin": "0",
            "updateTime": self._account.fills[-1].time if self._account.fills else 0,
        }  # fmt: skip

    def balance(self, _: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v2|v3/balance`."""
        wallet, unrealized, available = self._cash_texts()
        rows = [{
            "accountAlias": "SgsR", "asset": "USDT", "balance": wallet, "crossWalletBalance": wallet,
            "crossUnPnl": unrealized, "availableBalance": available, "maxWithdrawAmount": available,
            "marginAvailable": True, "updateTime": self._clock.now_ms(),
        }]  # fmt: skip
        for asset in self._account.coins()[1:]:
            coin = scaled_text(self._account.coin_e8(asset), 8)
            rows.append({
                "accountAlias": "SgsR", "asset": asset, "balance": coin, "crossWalletBalance": coin,
                "crossUnPnl": "0.00000000", "availableBalance": coin, "maxWithdrawAmount": coin,
                "marginAvailable": True, "updateTime": self._clock.now_ms(),
            })  # fmt: skip
        return rows

    def income(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/income`."""
        return self._cash.income(params)

    def account(self, version: int, _: Params) -> dict[str, Any]:
        """`GET /fapi/v2|v3/account`."""
        wallet, unrealized, available = self._cash_texts()
        mark = self._exchange.market.mark()
        total = scaled_text(self._account.wallet_e8() + self._account.unrealized_micros(mark) * 100, 8)
        initial = scaled_text(self._account.margin_micros(mark) * 100, 8)
        position = self._position_view()
        sums = {
            "totalInitialMargin": initial, "totalMaintMargin": position["maintMargin"],
            "totalWalletBalance": wallet, "totalUnrealizedProfit": unrealized, "totalMarginBalance": total,
            "totalPositionInitialMargin": position["positionInitialMargin"],
            "totalOpenOrderInitialMargin": "0.00000000", "totalCrossWalletBalance": wallet,
            "totalCrossUnPnl": unrealized, "availableBalance": available, "maxWithdrawAmount": available,
        }  # fmt: skip
        asset = {
            "asset": "USDT", "walletBalance": wallet, "unrealizedProfit": unrealized, "marginBalance": total,
            "maintMargin": position["maintMargin"], "initialMargin": initial,
            "positionInitialMargin": position["positionInitialMargin"],
            "openOrderInitialMargin": "0.00000000",
            "crossWalletBalance": wallet, "crossUnPnl": unrealized, "availableBalance": available,
            "maxWithdrawAmount": available, "marginAvailable": True, "updateTime": self._clock.now_ms(),
        }  # fmt: skip
        shown = [position] if version == 2 or self._account.position.quantity or self._account.open else []
        others = [self._other_asset(name) for name in self._account.coins()[1:]]
        view: dict[str, Any] = sums | {"assets": [asset, *others], "positions": shown}
        if version == 2:
            position |= {"leverage": str(self._account.settings.leverage), "isolated": False}
            view |= {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
                     "multiAssetsMargin": False, "tradeGroupId": -1, "updateTime": 0}  # fmt: skip
        return view

    def _other_asset(self, name: str) -> dict[str, Any]:
        coin = scaled_text(self._account.coin_e8(name), 8)
        zeros = dict.fromkeys(("unrealizedProfit", "maintMargin", "initialMargin", "positionInitialMargin",
                               "openOrderInitialMargin", "crossUnPnl"), "0.00000000")  # fmt: skip
        return {"asset": name, "walletBalance": coin, "marginBalance": coin, "crossWalletBalance": coin,
                "availableBalance": coin, "maxWithdrawAmount": coin, "marginAvailable": True,
                "updateTime": self._clock.now_ms()} | zeros  # fmt: skip

    def _cash_texts(self) -> tuple[str, str, str]:
        mark = self._exchange.market.mark()
        wallet, unrealized = self._account.wallet_e8(), self._account.unrealized_micros(mark) * 100
        available = max(0, wallet + unrealized - self._account.margin_micros(mark) * 100)
        return scaled_text(wallet, 8), scaled_text(unrealized, 8), scaled_text(available, 8)

    def symbol_config(self, params: Params) -> list[dict[str, Any]]:
        """`GET /fapi/v1/symbolConfig`."""
        if "symbol" in params:
            self._exchange.check_symbol(params)
        settings = self._account.settings
        return [{"symbol": self._instrument.symbol, "marginType": settings.margin_type,
                 "isAutoAddMargin": False, "leverage": settings.leverage,
                 "maxNotionalValue": "40000000"}]  # fmt: skip

    def account_config(self) -> dict[str, Any]:
        """`GET /fapi/v1/accountConfig`."""
        return {"feeTier": 0, "canTrade": True, "canDeposit": True, "canWithdraw": True,
                "dualSidePosition": False, "updateTime": 0, "multiAssetsMargin": False,
                "tradeGroupId": -1}  # fmt: skip

    def commission_rate(self, params: Params) -> dict[str, Any]:
        """`GET /fapi/v1/commissionRate`."""
        self._exchange.check_symbol(params)
        return {"symbol": self._instrument.symbol, "makerCommissionRate": scaled_text(MAKER_FEE_E4, 4),
                "takerCommissionRate": scaled_text(TAKER_FEE_E4, 4),
                "rpiCommissionRate": "0.0000"}  # fmt: skip

    def leverage_bracket(self, params: Params) -> Any:
        """`GET /fapi/v1/leverageBracket`: one bracket."""
        if "symbol" in params:
            self._exchange.check_symbol(params)
        bracket = {"bracket": 1, "initialLeverage": 125, "notionalCap": 40_000_000, "notionalFloor": 0,
                   "maintMarginRatio": 0.004, "cum": 0.0}  # fmt: skip
        view = {"symbol": self._instrument.symbol, "brackets": [bracket]}
        return [view]

    def order_rate_limits(self) -> list[dict[str, Any]]:
        """`GET /fapi/v1/rateLimit/order`."""
        return [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_10S},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_1M},
        ]  # fmt: skip

    def set_leverage(self, params: Params) -> dict[str, Any]:
        """`POST /fapi/v1/leverage`."""
        self._exchange.check_symbol(params)
        leverage = whole(params, "leverage", 0)
        if not 1 <= leverage <= 125:
            raise VenueError(-4028, leverage)
        self._account.save_settings(leverage=leverage)
        now, change = self._clock.now_ms(), {"s": self._instrument.symbol, "l": leverage}
        self._exchange.emit({"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": change})
        return {"leverage": leverage, "maxNotionalValue": "40000000", "symbol": self._instrument.symbol}

    def set_margin_type(self, params: Params) -> dict[str, Any]:
        """`POST /fapi/v1/marginType`: crossed only."""
        self._exchange.check_symbol(params)
        if required(params, "marginType") == self._account.settings.margin_type:
            raise VenueError(-4046)
        raise not_modelled("marginType ISOLATED")

    def set_position_mode(self, params: Params) -> dict[str, Any]:
        """`POST /fapi/v1/positionSide/dual`: one-way only."""
        if required(params, "dualSidePosition").lower() == "false":
            raise VenueError(-4059)
        raise not_modelled("hedge mode")
