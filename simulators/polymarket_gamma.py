"""Gamma, the venue's catalogue of markets and events, as far as clients use it to find markets.

Filters that this simulator does not know are refused with 422, so that no client believes it filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from simulators.polymarket_markets import TAGS, Market
from simulators.polymarket_orders import Refusal
from simulators.polymarket_venue import Venue
from simulators.polymarket_wire import event_key, gamma_event, gamma_market, iso_time

PAGE_MAX = 100
_PAGING = {"limit", "after_cursor", "offset", "order", "ascending", "locale"}
_IGNORED = {"include_tag", "related_tags", "include_chat", "include_template", "include_children",
            "include_best_lines", "decimalized", "tag_match"}  # fmt: skip
_FILTERS = {"active", "archived", "closed", "slug", "id", "condition_ids", "clob_token_ids", "end_date_min",
            "end_date_max", "start_date_min", "start_date_max", "tag_id", "tag_slug", "version",
            "title_search"}  # fmt: skip
_ORDERS: dict[str, Callable[[Market], int]] = {
    "id": lambda market: market.number, "endDate": lambda market: market.end_ms,
    "end_date": lambda market: market.end_ms, "startDate": lambda market: market.start_ms,
    "start_date": lambda market: market.start_ms, "volumeNum": lambda market: market.volume_micros,
    "volume_num": lambda market: market.volume_micros, "volume": lambda market: market.volume_micros,
    "volume24hr": lambda market: market.volume_micros,
}  # fmt: skip


class Gamma:
    """The catalogue's handlers."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    async def markets_keyset(self, request: web.Request) -> Any:
        """GET /markets/keyset"""
        markets = self._select(request.query)
        return _page("markets", [gamma_market(market) for market in markets], request.query)

    async def events_keyset(self, request: web.Request) -> Any:
        """GET /events/keyset"""
        return _page("events", self._events(request.query), request.query)

    async def markets(self, request: web.Request) -> Any:
        """GET /markets"""
        return _window([gamma_market(market) for market in self._select(request.query)], request.query)

    async def events(self, request: web.Request) -> Any:
        """GET /events"""
        return _window(self._events(request.query), request.query)

    async def market_by_slug(self, request: web.Request) -> Any:
        """GET /markets/slug/{slug}"""
        for market in self._venue.markets.values():
            if market.slug == request.match_info["slug"]:
                return gamma_market(market)
        raise Refusal(404, "not found", type="not found error")

    async def event_by_slug(self, request: web.Request) -> Any:
        """GET /events/slug/{slug}"""
        for event in self._group(self._venue.markets.values()):
            if event["slug"] == request.match_info["slug"]:
                return event
        raise Refusal(404, "not found", type="not found error")

    async def search(self, request: web.Request) -> Any:
        """GET /public-search?q="""
        text = request.query.get("q", "").lower()
        events = self._group(self._venue.markets.values())
        found = [event for event in events if text in event["title"].lower()]
        limit = _whole(request.query.get("limit_per_type", "20"))
        return {"events": found[:limit], "tags": [], "profiles": [],
                "pagination": {"hasMore": len(found) > limit, "totalResults": len(found)}}  # fmt: skip

    def _events(self, query: MultiMapping[str]) -> list[dict[str, Any]]:
        if "slug" in query or "id" in query:
            wanted = {*query.getall("slug", []), *query.getall("id", [])}
            return [event for event in self._group(self._venue.markets.values())
                    if event["slug"] in wanted or event["id"] in wanted]  # fmt: skip
        title = query.get("title_search", "").lower()
        return [event for event in self._group(self._select(query)) if title in event["title"].lower()]

    def _group(self, markets: Iterable[Market]) -> list[dict[str, Any]]:
        groups: dict[tuple[str, int], list[Market]] = {}
        for market in markets:
            groups.setdefault(event_key(market), []).append(market)
        return [gamma_event(group) for group in groups.values()]

    def _select(self, query: MultiMapping[str]) -> list[Market]:
        for name in query:
            if name not in _FILTERS | _PAGING | _IGNORED:
                raise Refusal(422, f"the filter {name} is not modelled by this simulator")
        markets = [market for market in self._venue.markets.values() if _fits(market, query)]
        order = query.get("order", "id").split(",")[0]
        if order not in _ORDERS:
            raise Refusal(422, f"the order {order} is not modelled by this simulator")
        descending = query.get("ascending", "true").lower() == "false"
        return sorted(markets, key=_ORDERS[order], reverse=descending)


def _fits(market: Market, query: MultiMapping[str]) -> bool:
    tags = {tag["id"] for tag in TAGS} | {tag["slug"] for tag in TAGS}
    end, start = iso_time(market.end_ms), iso_time(market.start_ms)
    choices: tuple[tuple[str, bool], ...] = (
        ("closed", str(market.closed).lower() == query.get("closed", "").lower()),
        ("active", query.get("active", "").lower() == "true"),
        ("archived", query.get("archived", "").lower() == "false"),
        ("slug", market.slug in query.getall("slug", [])),
        ("id", str(market.number) in query.getall("id", [])),
        ("condition_ids", market.condition_id in _listed(query, "condition_ids")),
        ("clob_token_ids", bool(set(market.tokens) & _listed(query, "clob_token_ids"))),
        ("end_date_min", end >= _instant(query.get("end_date_min", ""))),
        ("end_date_max", end <= _instant(query.get("end_date_max", ""))),
        ("start_date_min", start >= _instant(query.get("start_date_min", ""))),
        ("start_date_max", start <= _instant(query.get("start_date_max", ""))),
        ("tag_id", query.get("tag_id", "") in tags),
        ("tag_slug", query.get("tag_slug", "") in tags),
        ("version", "v1" in query.getall("version", [])),
    )  # fmt: skip
    return all(fits for name, fits in choices if name in query)


def _instant(text: str) -> str:
    """Any ISO time cut to the comparable form 2026-11-25T15:00:00Z."""
    return text if len(text) == 10 else text[:19] + "Z"


def _listed(query: MultiMapping[str], name: str) -> set[str]:
    return {part for value in query.getall(name, []) for part in value.split(",")}


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise Refusal(422, f"{text!r} is not a number")
    return int(text)


def _page(name: str, rows: list[dict[str, Any]], query: MultiMapping[str]) -> dict[str, Any]:
    """One page; the last has no next_cursor. The cursor is the number of rows before the page."""
    start = _whole(query.get("after_cursor", "0") or "0")
    limit = min(_whole(query.get("limit", "20")), PAGE_MAX)
    page: dict[str, Any] = {name: rows[start : start + limit]}
    if start + limit < len(rows):
        page["next_cursor"] = str(start + limit)
    return page


def _window(rows: list[dict[str, Any]], query: MultiMapping[str]) -> list[dict[str, Any]]:
    start = _whole(query.get("offset", "0"))
    return rows[start : start + min(_whole(query.get("limit", "20")), PAGE_MAX)]
