"""The price that the markets are about: the middle of the reference venue's best bid and ask.

Given the ready line of the Binance simulator, its public `bookTicker` stream is followed and joined
again whenever it breaks; without one the price walks at random from 60,000 dollars.
"""

from __future__ import annotations

import asyncio
import math
import random
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from simulators.polymarket_fair_value import SECONDS_PER_YEAR, VOLATILITY

START_PRICE = 60_000.0
STEP_S = 0.25
RETRY_S = 0.5
SILENCE_S = 10.0
STREAM = "/public/ws/btcusdt@bookTicker"


class _Ticker(msgspec.Struct):
    b: str
    a: str


class Reference:
    """The last price seen, in dollars; 0 before the first. `shift` is the referee's."""

    def __init__(self, ready_line: Path | None, seed: int) -> None:
        self.price = 0.0
        self.shift = 0.0
        self.connects = 0
        self._path = ready_line
        self._random = random.Random(seed)
        self.first = asyncio.Event()

    @property
    def dollars(self) -> float:
        """The price that the markets use: what was seen plus the referee's shift."""
        return self.price + self.shift if self.price else 0.0

    @property
    def tenths(self) -> int:
        """The same in 0.1 dollar."""
        return round(self.dollars * 10)

    async def run(self) -> None:
        """Follow or make the price until cancelled."""
        if self._path is None:
            await self._walk()
        while True:
            try:
                await self._follow(self._path)
            except (OSError, aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, KeyError):
                pass
            await asyncio.sleep(RETRY_S)

    def _seen(self, price: float) -> None:
        self.price = price
        self.first.set()

    async def _walk(self) -> None:
        step = VOLATILITY * math.sqrt(STEP_S / SECONDS_PER_YEAR)
        self._seen(START_PRICE)
        while True:
            await asyncio.sleep(STEP_S)
            self._seen(self.price * math.exp(step * self._random.gauss(0.0, 1.0)))

    async def _follow(self, path: Path | None) -> None:
        if path is None:
            return
        ready = _ready_line(path)
        context: ssl.SSLContext | bool = True
        if ready["ws"].startswith("wss"):
            context = ssl.create_default_context(cafile=ready["ca"])
        decoder = msgspec.json.Decoder(_Ticker)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(ready["ws"] + STREAM, ssl=context, autoping=True, compress=0) as socket,
        ):
            self.connects += 1
            while True:
                message = await socket.receive(timeout=SILENCE_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                ticker = decoder.decode(message.data)
                self._seen((float(ticker.b) + float(ticker.a)) / 2)


def _ready_line(path: Path) -> dict[str, Any]:
    ready: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    return ready
