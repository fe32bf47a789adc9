"""The words of protocol.h as every view spells them, by number.

The numbers are the wire's; this table only gives them the text that people read.
"""

from __future__ import annotations

PARTICIPANTS = ("supervisor", "engine", "polymarket_bot")
ROLE_SUPERVISOR, ROLE_ENGINE, ROLE_BOT = 0, 1, 2

VENUES = ("none", "binance", "polymarket", "ibkr", "coinbase", "kraken", "alpaca", "dydx")
OWNERS = {"binance": "engine", "polymarket": "polymarket_bot"}  # who trades where
SESSION_STATES = ("DOWN", "CONNECTING", "SYNCING", "READY", "DRAINING")
LEDGER_STATES = ("INIT", "ACTIVE", "REDUCING", "CANCEL_ONLY", "HALTED")

SIDES = ("BUY", "SELL")
STRATEGIES = ("none", "quoter", "hedger", "manual", "market_maker")
SLOT_STATES = ("FREE", "RESERVED", "SENT", "LIVE", "UNKNOWN")
MODES = ("dry-run", "paper", "live")
EVENT_LEVELS = ("info", "warning", "error")

HALT_REASONS = (
    "none", "operator", "daily_loss", "over_budget", "bug", "latch", "venue", "restarts",
    "cash", "foreign", "ledger", "clock", "journal",
)  # fmt: skip

HALT_TEXTS = {
    "operator": "somebody ran control kill",
    "daily_loss": "today's loss reached its limit",
    "over_budget": "the risk in use stayed above 105 % of the limit",
    "bug": "a check inside a process failed",
    "latch": "the halt of an earlier run was not lifted",
    "venue": "a venue refused our credentials, forced an order on us, or differs from our books",
    "restarts": "a process died too often",
    "cash": "the cash at a venue differs from our books and nothing explains it",
    "foreign": "another Purser trades on the same account",
    "ledger": "the ledger in shared memory is damaged, or its limit is not the one that was chosen",
    "clock": "the wall clock jumped and was not confirmed",
    "journal": "a day that traded has no journal, or its chain is broken",
}


def word(table: tuple[str, ...], number: int) -> str:
    """The word for a number; an unknown number is shown as itself."""
    return table[number] if 0 <= number < len(table) else str(number)
