"""Binance USD-M futures: instruments, filters, number texts and error texts.

Source of codes and texts: Binance USD-M futures docs, "Error Codes" and "Common Definition".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

CLIENT_ID_TEXT = "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"
CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}\Z")
NOT_MODELLED = -9999
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,16})?\Z")

TEXTS = {
    -1000: "An unknown error occurred while processing the request.",
    -1003: "Too many requests; current limit of IP(127.0.0.1) is {} requests per minute. "
    "Please use the websocket for live updates to avoid polling the API.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Server is currently overloaded with other requests. Please try again in a few minutes.",
    -1013: "Invalid message.",
    -1015: "Too many new orders; current limit is {} orders per {}.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1100: "Illegal characters found in parameter '{}'; legal range is '{}'.",
    -1102: "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
    -1104: "Not all sent parameters were read; read '{}' parameter(s) but was sent '{}'.",
    -1106: "Parameter '{}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1120: "Invalid interval.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -1128: "Combination of optional parameters invalid.",
    -1130: "Data sent for parameter '{}' is not valid.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2022: "ReduceOnly Order is rejected.",
    -2025: "Reach max open order limit.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id length should not be more than 36 chars",
    -4016: "Limit price can't be higher than {}.",
    -4023: "Quantity not increased by step size.",
    -4024: "Limit price can't be lower than {}.",
    -4028: "Leverage {} is not valid",
    -4046: "No need to change margin type.",
    -4059: "No need to change position side.",
    -4061: "Order's position side does not match user's setting.",
    -4116: "ClientOrderId is duplicated.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
    -4164: "Order's notional must be no smaller than {} (unless you choose reduce only).",
    -4165: "Maximum time interval is {} days",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    # The docs give the code ("Modify Order": reduceOnly is for validation only) and no text.
    -5047: "The order's reduceOnly is another one.",
    -5028: "Timestamp for this request is outside of the ME recvWindow.",
}
_STATUS = {-1003: 429, -1015: 429, -2014: 401, -2015: 401, -1000: 500, -1007: 408, -1008: 503}


class VenueError(Exception):
    """A refusal as the venue words it: HTTP status, code and message."""

    def __init__(self, code: int, *details: object, status: int = 0, text: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.status = status or _STATUS.get(code, 400)
        self.text = text or TEXTS[code].format(*details)

    def body(self) -> dict[str, Any]:
        """The JSON that a client gets."""
        return {"code": self.code, "msg": self.text}


def not_modelled(what: str) -> VenueError:
    """The loud refusal of something that the venue knows and this simulator does not."""
    return VenueError(NOT_MODELLED, status=501, text=f"the simulator does not model {what}")


@dataclass(frozen=True, slots=True)
class Profile:
    """What differs between production, the testnet and older software."""

    name: str
    weight_limit: int
    lot_decimals: int
    min_notional: int
    unrouted_public_only: bool
    rpi: bool


PROFILES = {
    "prod-strict": Profile("prod-strict", 2400, 3, 100, True, True),
    "testnet": Profile("testnet", 6000, 4, 50, False, False),
    "legacy": Profile("legacy", 2400, 3, 100, False, False),
}
ORDERS_10S = 300
ORDERS_1M = 1200


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol: ticks of 0.10 USDT, lots of 10^-lot_decimals BTC."""

    symbol: str
    lot_decimals: int
    min_notional: int
    min_price: int = 2_611
    max_price: int = 8_094_840
    max_modifications: int = 10_000
    max_open_orders: int = 200

    @property
    def lots_per_unit(self) -> int:
        """Lots in one BTC."""
        return int(10**self.lot_decimals)

    @property
    def micros(self) -> int:
        """Micro-dollars of one tick times one lot; always a whole number."""
        return int(10 ** (6 - 1 - self.lot_decimals))

    @property
    def e9_per_lot(self) -> int:
        """Quantity of one lot in units of 10^-9."""
        return int(10 ** (9 - self.lot_decimals))

    def max_quantity(self, market: bool) -> int:
        """Largest order in lots."""
        return (120 if market else 1000) * self.lots_per_unit

    def price_text(self, ticks: int) -> str:
        """61800.2 USDT is written 61800.20."""
        return f"{ticks // 10}.{ticks % 10}0"

    def quantity_text(self, lots: int) -> str:
        """With all decimals of the lot; signed for positions."""
        whole, part = divmod(abs(lots), self.lots_per_unit)
        return f"{'-' if lots < 0 else ''}{whole}.{part:0{self.lot_decimals}d}"

    def price(self, text: str) -> int:
        """Text to ticks, or the error of the filter that it breaks."""
        value, decimals = number(text, "price")
        if decimals > 2:
            raise VenueError(-1111)
        cents = value * int(10 ** (2 - decimals))
        if cents <= 0:
            raise VenueError(-4001)
        if cents % 10:
            raise VenueError(-4014)
        ticks = cents // 10
        if ticks < self.min_price:
            raise VenueError(-4013)
        if ticks > self.max_price:
            raise VenueError(-4002)
        return ticks

    def quantity(self, text: str, market: bool) -> int:
        """Text to lots, or the error of the filter that it breaks."""
        value, decimals = number(text, "quantity")
        if decimals > self.lot_decimals:
            raise VenueError(-1111)
        lots = value * int(10 ** (self.lot_decimals - decimals))
        if lots <= 0:
            raise VenueError(-4003)
        if lots > self.max_quantity(market):
            raise VenueError(-4005)
        return lots


def number(text: str, name: str) -> tuple[int, int]:
    """A decimal text as (digits, decimals) with trailing zeros removed: "1.50" gives (15, 1)."""
    if not _NUMBER.match(text):
        if text.startswith("-") and _NUMBER.match(text[1:]):
            raise VenueError(-4001 if name == "price" else -4003)
        raise VenueError(-1102 if not text else -1130, name)
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    return int(whole + part), len(part)


def scaled_text(value: int, decimals: int) -> str:
    """An integer of 10^-decimals as text."""
    whole, part = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{decimals}d}"


def exchange_info(profile: Profile, instrument: Instrument, now_ms: int) -> dict[str, Any]:
    """`GET /fapi/v1/exchangeInfo`; field names as in the venue's answer of 2026."""
    step = scaled_text(1, profile.lot_decimals)
    time_in_force = ["GTC", "IOC", "FOK", "GTX", "GTD"] + (["RPI"] if profile.rpi else [])
    symbol = {
        "symbol": instrument.symbol, "pair": instrument.symbol, "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000, "onboardDate": 1569398400000, "status": "TRADING",
        "maintMarginPercent": "2.5000", "requiredMarginPercent": "5.0000", "baseAsset": "BTC",
        "quoteAsset": "USDT", "marginAsset": "USDT", "pricePrecision": 2,
        "quantityPrecision": profile.lot_decimals, "baseAssetPrecision": 8, "quotePrecision": 8,
        "underlyingType": "COIN", "underlyingSubType": ["PoW"], "triggerProtect": "0.0500",
        "liquidationFee": "0.012500", "marketTakeBound": "0.05",
        "maxMoveOrderLimit": instrument.max_modifications,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": instrument.price_text(instrument.min_price),
             "maxPrice": instrument.price_text(instrument.max_price), "tickSize": "0.10"},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "1000", "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": step, "maxQty": "120", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": instrument.max_open_orders},
            {"filterType": "MIN_NOTIONAL", "notional": str(profile.min_notional)},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
        ],
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
                       "TRAILING_STOP_MARKET"],
        "timeInForce": time_in_force, "permissionSets": ["GRID", "COPY"],
    }  # fmt: skip
    return {
        "timezone": "UTC", "serverTime": now_ms, "futuresType": "U_MARGINED",
        "rateLimits": rate_limits(profile), "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [symbol],
    }  # fmt: skip


def rate_limits(profile: Profile) -> list[dict[str, Any]]:
    """The limits as exchangeInfo lists them."""
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
         "limit": profile.weight_limit},
        {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": ORDERS_1M},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_10S},
    ]  # fmt: skip
