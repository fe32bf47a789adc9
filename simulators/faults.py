"""Switches that make a venue misbehave, each named and explained where the venue defines it.

A venue owns one `Faults` over its table of names. Counted switches are used up by `take`; the others
hold a value until they are set to 0. `--faults a=1,b=5000` sets them at the start, POST /faults later.
"""

from __future__ import annotations

from collections.abc import Mapping

WORDS = {"": 1, "true": 1, "false": 0}


class FaultError(ValueError):
    """An unknown switch or a value that is not a number."""


class Faults:
    """The current value of every switch; 0 means off."""

    def __init__(self, table: Mapping[str, str], spec: str = "") -> None:
        self._values = dict.fromkeys(table, 0)
        for part in filter(None, spec.split(",")):
            name, _, text = part.partition("=")
            try:
                self.set({name.strip(): WORDS[text] if text in WORDS else int(text)})
            except ValueError as error:
                raise FaultError(f"--faults {part}: {error}") from error

    def set(self, changes: Mapping[str, object]) -> None:
        """Change switches, all or none. True counts as 1, False and None as 0."""
        checked: dict[str, int] = {}
        for name, value in changes.items():
            if name not in self._values:
                known = ", ".join(sorted(self._values))
                raise FaultError(f"unknown fault {name!r}; this venue knows: {known}")
            if value is None:
                value = 0
            if not isinstance(value, int):
                raise FaultError(f"fault {name!r} takes a whole number or true/false")
            checked[name] = int(value)
        self._values.update(checked)

    def take(self, name: str) -> bool:
        """Use up one of a counted switch; true when there was one. -1 never runs out."""
        left = self._values[name]
        if left > 0:
            self._values[name] = left - 1
        return left != 0

    def value(self, name: str) -> int:
        """The value of a switch without using it up."""
        return self._values[name]

    def table(self) -> dict[str, int]:
        """All values, for the referee."""
        return dict(self._values)
