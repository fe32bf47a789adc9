"""The wallet against the books, at the start and every minute, and the activity that explains both.

    activity, to its end  ->  tokens against positions  ->  trades, activity, wallet against the books
                                                             |
      equal: trade on      differs, seen twice: only what reduces      differs at the next look: halt

A reading counts only when the books did not change while it was made. While trades are not final the
wallet may lie between what it holds without them and with them, and only what is outside is a difference.
The activity may lag behind the wallet, so that a difference need not be a loss: until the next look the
bot only reduces. After the halt a person's `control resume` lets exactly this difference pass: it is
booked, as a loss when dollars are missing, and trading goes on from there.

Nothing here is on an order's path, and each wait on the venue has its timeout in the adapter.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

import structlog

from bridge.messages import CashKind, HaltReason, LedgerState
from polymarket_bot.api.activity import Movement
from polymarket_bot.api.decimals import format_scaled
from polymarket_bot.errors import BotError, VenueError
from polymarket_bot.execution.cash import ACCEPTED, EXCHANGES, CashRow
from polymarket_bot.execution.engine import ExecutionEngine
from polymarket_bot.execution.ports import Budget, Clock, Reporter
from polymarket_bot.execution.settlement import DAY_NS, day_of
from polymarket_bot.model import Market
from polymarket_bot.settings import SECOND_NS
from polymarket_bot.storage.cash import BASELINE, BASELINE_S, HALTED, READ_S, SINCE_S
from polymarket_bot.venue_watch import VenueWatch

log = structlog.get_logger("bot")

OVERLAP_S = 600  # the feed may show a row so much later than its time
LONG_OVERLAP_S = 86_400  # at the start, and when something is missing
TOLERANCE_MICROS = 1  # one unit of pUSD
ATTEMPTS = 8
ATTEMPT_PAUSE_S = 1.0
SOON_S = 5.0  # until the next look when this one could not compare
LOOK_PAUSE_S = 1.0
SAME_READINGS, ANY_READINGS = 2, 3
UNREAD_LIMIT_NS = 300 * SECOND_NS


class CashVenue(Protocol):
    """What is asked of the venue. Every call raises VenueError, and none waits for ever."""

    async def balance(self, token: str | None) -> int: ...
    async def refresh_balance(self, token: str | None) -> None: ...
    async def activity(self, after_s: int) -> list[Movement]: ...
    async def market(self, condition_id: str) -> Market | None: ...


class CashStore(Protocol):
    """Durable memory; writes are queued in order."""

    def save(self, row: CashRow) -> None: ...
    def note(self, name: str, value: int | None) -> None: ...
    async def load(self) -> list[CashRow]: ...
    async def fact(self, name: str) -> int | None: ...
    async def flush(self) -> None: ...


class CashWatch:
    """Owner of the account's cash book: the only one that books rows into it."""

    def __init__(
        self,
        venue: CashVenue,
        engine: ExecutionEngine,
        tokens: VenueWatch,
        store: CashStore,
        budget: Budget,
        reporter: Reporter,
        clock: Clock,
        every_s: int,
    ) -> None:
        self._venue = venue
        self._engine = engine
        self._account = engine.account
        self._settlement = engine.account.settlement
        self._book = engine.account.cash
        self._tokens = tokens
        self._store = store
        self._budget = budget
        self._report = reporter
        self._clock = clock
        self._every_s = every_s
        self._since_s = 0  # from where the activity is ours to read: the first day's begin
        self._read_s = 0  # up to where it was read
        self._baseline_s = 0  # what happened before is part of the baseline
        self._halted_micros: int | None = None  # for which trading was halted, by this run or the last
        self._strikes = self._first_ns = 0  # looks in a row with a difference, and when the first was
        self._conclusive = False  # the last look could compare
        self._compared_ns = clock.now_ns()
        self.wanted = asyncio.Event()
        self.doubt = ""  # why only reducing orders are placed, for people
        self.wallet_micros = self.books_micros = self.read_ns = self._trade_cash_read = 0

    # --- life ---

    async def load(self) -> None:
        """What storage remembers, before anything is asked of the venue."""
        self._book.load(await self._store.load(), await self._store.fact(BASELINE))
        self._since_s = await self._store.fact(SINCE_S) or 0
        self._read_s = await self._store.fact(READ_S) or 0
        self._baseline_s = await self._store.fact(BASELINE_S) or 0
        self._halted_micros = await self._store.fact(HALTED)

    async def start(self) -> None:
        """The first look. Until one has succeeded, only orders that reduce are placed."""
        self._set_doubt("the cash at the venue is not read yet: reducing only")
        await self.look(LONG_OVERLAP_S)

    async def run(self) -> None:
        """A look every minute; sooner when the last one could not compare, and at once when the venue says
        that tokens or dollars of ours are not there."""
        while True:
            settled = self._conclusive and not self._tokens.skipped
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s if settled else min(SOON_S, self._every_s)):
                    await self.wanted.wait()
            self.wanted.clear()
            await self.look(OVERLAP_S)
            await asyncio.sleep(LOOK_PAUSE_S)  # refusals in a row are one doubt

    async def look(self, overlap_s: int) -> None:
        """Activity, then tokens, then the wallet: what explains comes before what is explained."""
        self._conclusive = False
        if await self.read_activity(overlap_s):
            await self._tokens.compare_balances()
            if self._book.baseline_micros is None:
                await self._set_baseline()
            else:
                await self._judge()
        if self._clock.now_ns() - self._compared_ns > UNREAD_LIMIT_NS and not self.doubt:
            self._report.event(1, "cash_unread", "the wallet could not be compared for 5 minutes")
            self._set_doubt("the cash cannot be compared: reducing only")

    def _set_doubt(self, text: str) -> None:
        self.doubt = text
        self._account.risk.cash_differs = bool(text)

    # --- activity ---

    async def read_activity(self, overlap_s: int = OVERLAP_S) -> bool:
        """Every row up to now is booked. False when the venue could not be asked."""
        wall_ns = self._clock.wall_ns()
        if not self._since_s:
            self._since_s = day_of(wall_ns) * DAY_NS // SECOND_NS
            self._store.note(SINCE_S, self._since_s)
        try:
            for movement in await self._venue.activity(max(self._since_s, self._read_s - overlap_s)):
                if not self._book.known(movement.key):
                    await self._take(movement)
        except VenueError as error:
            log.warning("activity_unread", error=str(error)[:160])
            return False
        self._read_s = wall_ns // SECOND_NS
        self._store.note(READ_S, self._read_s)
        self._account.recount_cash()
        return True

    async def _take(self, movement: Movement) -> None:
        exchanged = None
        if movement.type in EXCHANGES:
            exchanged = await self._exchange(movement)
            if self._book.known(movement.key):
                return  # booked by another reading while we asked for the market
        row = self._book.take(movement, self._settlement.day, day_of(movement.wall_ns), exchanged)
        self._store.save(row)
        if self._book.baseline_micros is not None and movement.wall_ns < self._baseline_s * SECOND_NS:
            # The feed was late: the wallet had moved before it was read for the first time.
            self._keep_baseline(self._book.baseline_micros - movement.amount_micros)
        self._account.dirty = True
        level = 1 if row.kind is CashKind.OTHER else 0
        self._report.event(level, "cash_moved", f"{row.type} {dollars(row.amount_micros)}, "
                           f"{dollars(row.result_micros)} of it in the day's result")  # fmt: skip

    async def _exchange(self, movement: Movement) -> int | None:
        """What the tokens of a split or merge are booked at; None in a market whose terms we cannot read.
        One from before the first reading is no matter of ours: its tokens are adopted with the rest."""
        if self._book.baseline_micros is None or movement.wall_ns < self._baseline_s * SECOND_NS:
            return -movement.amount_micros
        market = self._account.known.get(movement.condition_id)
        if market is None:
            market = await self._venue.market(movement.condition_id)
            if market is None:
                return None
            market = self._account.remember(market)
            self._tokens.save_market(market)
        transaction = f"{movement.type}:{movement.transaction}"
        return self._engine.reconciler.exchange(market, transaction, movement.amount_micros, movement.wall_ns)

    # --- the wallet ---

    def _changes(self) -> tuple[int, int]:
        return self._settlement.changes, self._book.changes

    async def _wallet(self) -> int:
        """The order book caches balances: it must be told to look."""
        await self._venue.refresh_balance(None)
        return await self._venue.balance(None)

    async def _set_baseline(self) -> None:
        """Once in the life of a database: two readings with nothing in between say what was there before.
        Not while a trade is on its way: it would be unknown whether the wallet has moved with it."""
        if self._settlement.provisional():
            return
        before, began_s = self._changes(), self._clock.wall_ns() // SECOND_NS
        try:
            first = await self._wallet()
            if not await self.read_activity(LONG_OVERLAP_S) or await self._wallet() != first:
                return
        except VenueError as error:
            log.warning("wallet_unread", error=str(error)[:160])
            return
        if self._changes() != before:
            return
        baseline = first - self._settlement.trade_cash_micros - self._book.flow_micros
        self._baseline_s = began_s
        self._store.note(BASELINE_S, began_s)
        self._keep_baseline(baseline)
        self._show(first, first)
        self._agrees()

    def _keep_baseline(self, micros: int) -> None:
        self._book.baseline_micros = micros
        self._store.note(BASELINE, micros)

    async def _difference(self) -> int | None:
        """What the wallet holds beyond what the books allow; None when they changed meanwhile."""
        before = self._changes()
        wallet = await self._wallet()
        if self._changes() != before:
            return None
        books = self._book.expected_micros(self._settlement.trade_cash_micros)
        self._show(wallet, books)
        below, above = self._settlement.pending_cash()
        difference = wallet - books
        if -below - TOLERANCE_MICROS <= difference <= above + TOLERANCE_MICROS:
            return 0
        return difference + below if difference < 0 else difference - above

    def _show(self, wallet: int, books: int) -> None:
        self.wallet_micros, self.books_micros, self.read_ns = wallet, books, self._clock.now_ns()
        self._trade_cash_read = self._settlement.trade_cash_micros

    def shown(self) -> tuple[int, int]:
        """Wallet and books for people: the books as they are now, so that they are right when this process
        dies before its next reading, and the wallet as it was read, with the trades since."""
        if self._book.baseline_micros is None or not self.read_ns:
            return 0, 0
        trades = self._settlement.trade_cash_micros
        return self.wallet_micros + trades - self._trade_cash_read, self._book.expected_micros(trades)

    async def _judge(self) -> None:
        """A fill between the reading of trades and of the wallet makes a difference that is gone at the next
        try; the same one twice, or any three times, is one."""
        seen: list[int] = []
        for _ in range(ATTEMPTS):
            if not await self._engine.reconciler.reconcile():
                return
            if not await self.read_activity(LONG_OVERLAP_S if seen else OVERLAP_S):
                return
            try:
                difference = await self._difference()
            except VenueError as error:
                log.warning("wallet_unread", error=str(error)[:160])
                return
            if difference == 0:
                self._agrees()
                return
            if difference is not None:
                seen.append(difference)
                if seen.count(difference) >= SAME_READINGS or len(seen) >= ANY_READINGS:
                    await self._differs(difference)
                    return
            await asyncio.sleep(ATTEMPT_PAUSE_S)

    def _agrees(self) -> None:
        self._compared_ns, self._conclusive = self._clock.now_ns(), True
        if self._strikes:
            self._report.event(1, "cash_explained", "the wallet equals the books again: trading goes on")
        self._strikes = 0
        self._set_doubt("")
        self._forget_halt()

    def _forget_halt(self) -> None:
        if self._halted_micros is not None:
            self._halted_micros = None
            self._store.note(HALTED, None)

    async def _differs(self, difference: int) -> None:
        self._compared_ns, self._conclusive = self._clock.now_ns(), True
        if self._budget.state() is LedgerState.HALTED:
            return  # a person has it before them; what they let pass is what was found at the halt
        if difference == self._halted_micros:
            self._accept(difference)
            return
        if self._halted_micros is not None:
            self._forget_halt()
            self._strikes = 0  # another one than the person has seen
        now = self._clock.now_ns()
        if self._strikes and now - self._first_ns < self._every_s * SECOND_NS * 9 // 10:
            return  # a look out of turn: the activity has not had its minute yet
        self._first_ns = self._first_ns if self._strikes else now
        self._strikes += 1
        missing = "missing" if difference < 0 else "too many"
        amount = f"{format_scaled(abs(difference))} USD"
        self._set_doubt(f"{amount} {missing} in the wallet: reducing only")
        if self._strikes == 1:
            text = f"{amount} {missing} in the wallet, and neither a fill nor the activity explains it"
            self._report.event(2, "cash_differs", f"{text}: only orders that reduce, until the next look")
            return
        self._halted_micros = difference
        self._store.note(HALTED, difference)
        with contextlib.suppress(BotError, TimeoutError):
            await self._store.flush()
        text = f"{amount} {missing} in Polymarket's wallet at two looks, and nothing explains it"
        self._report.event(2, "cash_unexplained", text)
        self._budget.halt(HaltReason.CASH)

    def _accept(self, difference: int) -> None:
        """A person has seen it and resumed: dollars that are missing are lost, more of them are nobody's
        gain; the books follow."""
        wall_ns = self._clock.wall_ns()
        movement = Movement(f"{ACCEPTED}:{wall_ns}", ACCEPTED, str(wall_ns), "", difference, wall_ns)
        row = self._book.take(movement, self._settlement.day, self._settlement.day)
        self._store.save(row)
        self._account.dirty = True
        self._report.event(1, "cash_accepted", f"{dollars(difference)} unexplained, let pass by a person")
        self._agrees()


def dollars(micros: int) -> str:
    """An amount with its sign, for people."""
    return f"{'-' if micros < 0 else '+'}{format_scaled(abs(micros))} USD"
