"""Another system, or a person, on the bot's account: what halts it, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from bridge.ledger import Amounts, Ledger
from bridge.ledger import Order as LedgerOrder
from bridge.messages import HaltReason, LedgerState, OrderSide, VenueId
from polymarket_bot.dead_man import DeadMan
from polymarket_bot.errors import BotError, HeartbeatTakenError, VenueError
from polymarket_bot.execution.budget import LedgerBudget
from polymarket_bot.execution.foreign import ForeignOrders
from polymarket_bot.model import Fill, Intent, Order, OrderState, Outcome, Price, Side, Size, TradeUpdate
from polymarket_bot.storage.database import Database
from simulators.polymarket_limits import HEARTBEAT_TIMEOUT_MS, Heartbeats

SECOND_NS = 1_000_000_000
INTENT = Intent(2 << 56 | 1, "0xc", "111", Outcome.YES, Side.BUY, Price(450_000), Size(10_000_000), True, 4)
START_NS = 1_800_000_000 * SECOND_NS


class World:
    """The ledger of one system, what it says, and a venue whose answers can be lost."""

    def __init__(self, folder: Path, venue: Heartbeats) -> None:
        folder.mkdir(mode=0o700)
        self.ledger = Ledger.create(folder / "ledger", Amounts(10**9, 10**9))
        self.budget = LedgerBudget(self.ledger, lambda token: token, own_lease=True)
        self.said: list[str] = []
        self.venue = venue
        self.lose_answer = False
        self.accepted = asyncio.Event()
        self.stored: set[str] = set()
        self.unreadable = False
        self.time_ns = START_NS
        script: Any = self
        self.dead_man = DeadMan(script, self.budget, script, lambda: 0)
        self.foreign = ForeignOrders(self.budget, script, script, script)

    async def heartbeat(self, heartbeat_id: str) -> str:
        accepted, following = self.venue.beat("key", heartbeat_id, self.time_ns // 1_000_000)
        if self.lose_answer:
            self.lose_answer = False
            raise VenueError("heartbeat: TimeoutError")
        if not accepted:
            raise HeartbeatTakenError(following)
        self.accepted.set()
        return following

    async def known_orders(self, order_ids: Iterable[str]) -> set[str]:
        if self.unreadable:
            raise BotError("the database cannot be read.")
        return set(order_ids) & self.stored

    def wall_ns(self) -> int:
        return self.time_ns

    def event(self, level: int, name: str, text: str, order_id: int = 0) -> None:
        self.said.append(f"{name}: {text}")

    async def beat(self) -> bool:
        """One beat; True while the system trades on."""
        await self.dead_man.beat(self.time_ns)
        return self.ledger.state is not LedgerState.HALTED

    @property
    def reason(self) -> HaltReason:
        return self.ledger.snapshot().reason


@pytest.fixture
def worlds(tmp_path: Path) -> Callable[[int], list[World]]:
    """So many systems on one account."""

    def make(count: int) -> list[World]:
        venue = Heartbeats()
        return [World(tmp_path / str(n), venue) for n in range(count)]

    return make


def run(story: Awaitable[None]) -> None:
    async def main() -> None:
        await story

    asyncio.run(main())


def fill(order_id: str, wall_ns: int) -> TradeUpdate:
    return TradeUpdate(
        "CONFIRMED",
        (Fill("t", order_id, "0xc", "111", Side.BUY, Price(450_000), Size(1_000_000), True, 0, wall_ns),),
    )


def test_two_systems_that_beat_with_one_key_both_halt(worlds: Callable[[int], list[World]]) -> None:
    """The first sees the second's beat at its own next one, takes the chain back and halts; the second sees
    that at its next. Both name the heartbeat."""
    first, second = worlds(2)

    async def story() -> None:
        assert await first.beat() and await first.beat()
        assert await second.beat()  # takes over: it could be a restart
        assert not await first.beat() and not await second.beat()

    run(story())
    for world in (first, second):
        assert world.reason is HaltReason.FOREIGN
        assert any("another system beats with this account's key" in text for text in world.said)


@pytest.mark.parametrize("why", ["lost answer", "restart", "ran out", "venue restarted"])
def test_a_chain_that_breaks_by_itself_halts_nobody(worlds: Callable[[int], list[World]], why: str) -> None:
    """A lost answer that was accepted, our own restart, ten silent seconds, a venue without memory."""
    (world,) = worlds(1)
    script: Any = world

    async def story() -> None:
        assert await world.beat() and await world.beat()
        if why == "lost answer":
            world.lose_answer = True
            assert await world.dead_man._try(world.time_ns) is False
        elif why == "restart":
            world.dead_man = DeadMan(script, world.budget, script, lambda: 0)
        elif why == "ran out":
            world.time_ns += HEARTBEAT_TIMEOUT_MS * 1_000_000
            assert world.venue.expired(world.time_ns // 1_000_000) == ["key"]
        else:
            world.venue = Heartbeats()
        assert await world.beat() and await world.beat()

    run(story())
    assert world.said == []


def test_who_finds_another_system_makes_itself_seen(worlds: Callable[[int], list[World]]) -> None:
    """One that halts before its first beat beats once all the same: so the other one halts too."""
    first, second = worlds(2)

    async def story() -> None:
        assert await first.beat()
        second.foreign.seen = second.dead_man.announce
        assert await second.foreign.judge_open(["0xab"]) == []
        beating = asyncio.create_task(second.dead_man.run())
        await asyncio.wait_for(second.accepted.wait(), 60)
        beating.cancel()
        assert not await first.beat()

    run(story())
    assert first.reason is HaltReason.FOREIGN and second.reason is HaltReason.FOREIGN


def test_an_order_that_nobody_here_placed_halts_with_its_name(worlds: Callable[[int], list[World]]) -> None:
    """Storage and ledger know theirs; the third is told once, and is not ours to cancel."""
    (world,) = worlds(1)
    hashes = ["0x" + f"{n:064x}" for n in (1, 2, 3)]
    world.stored = {hashes[0]}
    order = LedgerOrder(
        1, VenueId.POLYMARKET, "X", OrderSide.BUY, 1, 1, query_id=bytes.fromhex(hashes[1][2:])
    )

    async def story() -> None:
        world.budget.beat(False, world.ledger.snapshot().taken_ns)
        world.budget.rebuild((0, 0), (0, 0), [], world.ledger.snapshot().taken_ns)
        reason, _slot = world.ledger.reserve(order, Amounts(1, 1))
        assert reason == 0
        assert await world.foreign.judge_open(hashes[:2]) == hashes[:2]
        assert world.ledger.state is LedgerState.ACTIVE
        for _ in range(2):
            assert await world.foreign.judge_open(hashes) == hashes[:2]

    run(story())
    assert world.reason is HaltReason.FOREIGN
    assert len(world.said) == 1 and hashes[2][:18] in world.said[0] and "control resume" in world.said[0]


def test_fills_of_before_our_start_are_history(worlds: Callable[[int], list[World]]) -> None:
    """A fill of an unknown order halts when it is of now, and once only; an earlier one never does."""
    (world,) = worlds(1)

    async def story() -> None:
        await world.foreign.judge_trades([fill("0xab", START_NS - SECOND_NS)])
        assert world.said == [] and world.ledger.state is not LedgerState.HALTED
        await world.foreign.judge_trades([fill("0xab", START_NS + 3 * SECOND_NS)])
        assert world.reason is HaltReason.FOREIGN and "0xab" in world.said[0]
        world.ledger.set_state(LedgerState.ACTIVE, by_person=True)
        await world.foreign.judge_trades([fill("0xab", START_NS + 3 * SECOND_NS)])
        assert world.ledger.state is LedgerState.ACTIVE
        await world.foreign.judge_open(["0xab"])
        assert world.reason is HaltReason.FOREIGN  # and it rests: that halts each time

    run(story())


def test_nobody_is_accused_while_storage_cannot_be_read(worlds: Callable[[int], list[World]]) -> None:
    """Without its database the bot does not know whose an order is."""
    (world,) = worlds(1)
    world.unreadable = True

    async def story() -> None:
        with pytest.raises(BotError):
            await world.foreign.judge_open(["0xab"])

    run(story())
    assert world.ledger.state is not LedgerState.HALTED


def test_storage_knows_every_order_that_was_written(tmp_path: Path) -> None:
    """Ended or not, of any process: by the venue's id, whatever else is asked with it."""

    async def story() -> None:
        database = await Database.open(tmp_path / "bot.db")
        writer = asyncio.create_task(database.writer())
        for name, state in (("0x1", OrderState.WORKING), ("0x2", OrderState.CANCELED)):
            database.save_order(Order(INTENT, name, state, 1, 1))
        await database.flush()
        asked = ["0x1", "0x2", *(f"0x{n:x}" for n in range(3, 600))]
        assert await database.known_orders(asked) == {"0x1", "0x2"}
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        await database.close()

    run(story())
