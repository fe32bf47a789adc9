"""The referee's port, the same for every venue: what happened, and the levers to make it happen.

GET  /account  {"accounts": {key: orders, fills, positions, cash and fees}}, all as integers
GET  /log      every request in order (the newest 30,000); ?since=N: only later ones
GET  /clock    the venue's time and the state of its market
GET  /orders   the book
GET  /faults   the switches;     POST /faults  change them
POST /market   move the market;  POST /orders  act as another trader
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from aiohttp import web

from simulators.faults import FaultError, Faults

LOG_ENTRIES_MAX = 30_000


class RefereeError(ValueError):
    """A lever was pulled wrongly; the text says how to pull it."""


class Referee(Protocol):
    """What a venue shows to, and accepts from, the referee."""

    faults: Faults
    log: RequestLog

    def account(self) -> dict[str, Any]:
        """Orders, fills, positions, cash and fees per key."""

    def clock_view(self) -> dict[str, Any]:
        """The venue's time and the state of its market."""

    def book_view(self) -> dict[str, Any]:
        """The book or books."""

    def faults_changed(self) -> None:
        """Called after the switches changed, to act at once where a switch is an action."""

    def move_market(self, body: dict[str, Any]) -> dict[str, Any]:
        """Move the market as described in the body; gives what was done."""

    def act_as_trader(self, body: dict[str, Any]) -> dict[str, Any]:
        """Place or cancel an order of another trader; gives what became of it."""


class RequestLog:
    """Requests in the order in which the venue took them."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._entries: collections.deque[dict[str, Any]] = collections.deque(maxlen=LOG_ENTRIES_MAX)
        self._count = 0

    def add(self, channel: str, method: str, target: str, status: int, **detail: Any) -> None:
        """Note one request: channel (rest, ws_api, stream), what was asked, how it was answered."""
        self._count += 1
        entry = {"n": self._count, "time_ms": self._now_ms(), "channel": channel, "method": method,
                 "target": target, "status": status}  # fmt: skip
        entry.update(detail)
        self._entries.append(entry)

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """The entries whose number is above `since`."""
        return [entry for entry in self._entries if entry["n"] > since]


def admin_application(referee: Referee) -> web.Application:
    """The aiohttp application of the admin port."""

    async def account(_: web.Request) -> web.Response:
        return _json(referee.account())

    async def log(request: web.Request) -> web.Response:
        return _json({"requests": referee.log.entries(int(request.query.get("since", "0")))})

    async def clock(_: web.Request) -> web.Response:
        return _json(referee.clock_view())

    async def book(_: web.Request) -> web.Response:
        return _json(referee.book_view())

    async def faults(_: web.Request) -> web.Response:
        return _json(referee.faults.table())

    async def change_faults(request: web.Request) -> web.Response:
        referee.faults.set(await _body(request))
        referee.faults_changed()
        return _json(referee.faults.table())

    async def market(request: web.Request) -> web.Response:
        return _json(referee.move_market(await _body(request)))

    async def trade(request: web.Request) -> web.Response:
        return _json(referee.act_as_trader(await _body(request)))

    app = web.Application(middlewares=[_errors])
    app.add_routes([
        web.get("/account", account), web.get("/log", log), web.get("/clock", clock),
        web.get("/orders", book), web.get("/faults", faults), web.post("/faults", change_faults),
        web.post("/market", market), web.post("/orders", trade),
    ])  # fmt: skip
    return app


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except (FaultError, RefereeError, msgspec.DecodeError) as error:
        return _json({"error": str(error)}, status=400)
    return response


def _json(document: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")


async def _body(request: web.Request) -> dict[str, Any]:
    body = msgspec.json.decode(await request.read() or b"{}")
    if not isinstance(body, dict):
        raise RefereeError("the body must be a JSON object")
    return body
