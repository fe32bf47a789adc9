"""Text from outside (market titles, a venue's errors, a log's lines), made harmless for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """One line: what would move the cursor, colour, hide or turn text around becomes '?'."""
    return "".join(char if char.isprintable() else "?" for char in text)


def printable_text(text: str) -> str:
    """The same for several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
