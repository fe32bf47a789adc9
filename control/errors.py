"""The command line's exit codes, and the one exception that carries one of them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command's exit code means; the numbers are part of the product and never change."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_RUNNING = 3
    CONFIGURATION = 4
    TIMEOUT = 5
    KILL_PARTLY = 6
    KILL_UNVERIFIED = 7
    HALTED = 8


class ControlError(Exception):
    """A command cannot go on. The text is a sentence that says what to do next."""

    def __init__(self, text: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(text)
        self.code = code
