"""The bot's errors. `exit_code` is the process's when the error ends it; `retryable` says whether the
same call may be tried again unchanged."""

from __future__ import annotations

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 4
EXIT_HALTED = 8


class BotError(Exception):
    """Base of all errors that are ours. The text is a sentence that says what to do next."""

    retryable = False
    exit_code = EXIT_ERROR


class UsageError(BotError):
    exit_code = EXIT_USAGE


class ConfigurationError(BotError):
    exit_code = EXIT_CONFIGURATION


class CredentialsError(ConfigurationError):
    pass


class HaltedError(BotError):
    exit_code = EXIT_HALTED


class LedgerError(BotError):
    pass


class VenueError(BotError):
    """The venue could not be asked, or answered something that is not an answer."""

    retryable = True


class VenueAccountError(VenueError):
    """The venue refuses the account itself: a person must look."""

    retryable = False


class HeartbeatTakenError(VenueError):
    """The venue expected another heartbeat id than ours; `expected` is "" when it knows of none."""

    def __init__(self, expected: str) -> None:
        super().__init__("the venue expected another heartbeat id")
        self.expected = expected


class BookError(BotError):
    """A stream message that does not fit the book: the book must be fetched again."""

    retryable = True
