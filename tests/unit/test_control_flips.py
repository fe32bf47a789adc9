"""A kill and every view survive any flipped bit of a ledger in use: some of what `make flips` tries."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import control_flips
import pytest

COUNT = 20


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A kill in this process ignores signals; they are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_flipped_bit_stops_no_kill_and_no_view(tmp_path: Path) -> None:
    """After each flip every view answers, the kill ends both processes, and the referees see nothing open.
    Each bit of the control word's state is among them."""
    state_byte = range(8 * 64, 8 * 65)
    bits = sorted({*control_flips.drawn(COUNT - len(state_byte), 1), *state_byte})
    tally = control_flips.run(tmp_path, bits)
    assert tally.faults == []
    assert tally.flips == len(bits)
