"""Dollars and tokens that move at Polymarket without a fill, seen by the whole running system."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from conftest import ROOT, System

from bridge.messages import VenueId
from bridge.page import Page, PageReader

USD = 1_000_000
EVERY_S = 2


def looking_often(system: System) -> Path:
    """A copy of config/ in which the bot compares its wallet every two seconds."""
    folder = system.home / "config"
    shutil.copytree(ROOT / "config", folder)
    path = folder / "polymarket_sim.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cash": {"every_s": EVERY_S}}))
    return folder


def page(system: System) -> Page:
    """The bot's own figures."""
    return PageReader(system.home / "run" / "bot.page").read()


def lever(system: System, **body: Any) -> None:
    """The referee moves money."""
    system.admin("polymarket", "/market", body)


def wallet_is_the_books(system: System) -> bool:
    """What the bot last read, what its books expected there, and what the venue says now, are one."""
    (venue,) = [v for v in page(system).venues if v.venue == VenueId.POLYMARKET]
    return venue.wallet_e8 == venue.books_e8 == system.account("polymarket")["cash_micros"] * 100


def names(system: System) -> list[str]:
    """What has happened, by name."""
    return [row["name"] for row in system.json_lines("events", "--count", "1000")]


def test_dollars_and_tokens_that_move_without_a_fill(system: System) -> None:
    """A reward of 5 is in the day's result, a withdrawal of 100 is not, and the wallet equals the books;
    tokens that go by hand are charged; 7 dollars that vanish halt the system with a sentence, and are lost
    once a person has resumed."""
    config = str(looking_often(system))
    system.start("--config", config)
    # As the venue has it: the activity is late, and balances are cached until somebody asks anew.
    system.admin("polymarket", "/faults", {"balance_cache": 1, "activity_lag_ms": 700})

    def held() -> dict[str, Any] | None:
        rows = system.account("polymarket")["positions"]
        return next((p for p in rows if p["quantity_e9"] >= 5 * 10**9 and not p["closed"]), None)

    def held_and_still() -> dict[str, Any] | None:
        """From here on nobody but us trades, so that what is held stays."""
        if held() is None:
            return None
        lever(system, pause=True)
        position = held()
        lever(system, pause=position is not None)
        return position

    position = system.wait("a position", held_and_still)
    assert "cash_differs" not in names(system)  # it traded, and the wallet was compared all the while
    system.wait("the wallet equals the books", lambda: wallet_is_the_books(system))
    lever(system, pay={"type": "REWARD", "usd": "5"})
    lever(system, pay={"type": "WITHDRAWAL", "usd": "100"})
    seen = system.wait(
        "both are booked", lambda: now if (now := page(system)).transfers_micros == -100 * USD else None
    )
    assert seen.cash_micros == 5 * USD or system.day_ended()
    parts = seen.realized_micros + seen.unrealized_micros - seen.fees_micros
    assert seen.day_micros == parts + seen.cash_micros
    system.wait("the wallet equals the books again", lambda: wallet_is_the_books(system))

    lever(system, adjust={"asset_id": position["asset_id"], "size": -(position["quantity_e9"] // 10**9)})

    def charged() -> bool:
        rows = system.json_lines("events", "--count", "1000")
        return any("charged as lost" in r["text"] for r in rows if r["name"] == "position_differed")

    system.wait("the tokens that went are charged", charged)
    ours = {p["asset_id"]: p for p in system.json("positions")["positions"]}
    theirs = {p["asset_id"]: p for p in system.account("polymarket")["positions"]}
    assert ours[position["asset_id"]]["quantity_e9"] == theirs[position["asset_id"]]["quantity_e9"]
    assert system.status()["state"] == "ACTIVE"

    lever(system, vanish={"usd": "7"})
    system.wait_status("halted", lambda s: s["state"] == "HALTED")
    told = names(system)
    assert told.index("cash_differs") < told.index("cash_unexplained")
    status = system.control("status", expect=None).stdout
    assert "7 USD missing in Polymarket's wallet" in " ".join(status.split()), status
    system.wait("nothing is open", lambda: not system.account("polymarket")["open_orders"])

    system.kill()
    system.control("resume", "--yes")
    system.start("--config", config)
    system.wait("the difference is booked", lambda: "cash_accepted" in names(system))
    system.wait("the loss is shown", lambda: page(system).cash_micros == -2 * USD or system.day_ended())
    system.wait("the wallet equals the books once more", lambda: wallet_is_the_books(system))
    assert system.status()["state"] == "ACTIVE"
