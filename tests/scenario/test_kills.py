"""Eight of the seeded kills; `make kills` runs two hundred."""

from __future__ import annotations

from kills import HELD_MAX_MS, OURS, STATES, VENUES, WINDOW_MS, draw, kills

# Every process is met alive, paused and dead, both venues' orders are held; even ones quote far from the fair
# value, so that what comes late is seen and the eight do not each take a minute.
SEEDS = [102, 104, 108, 110, 112, 114, 1002, 1004]
SYSTEMS = 4


def test_a_confirmed_kill_leaves_nothing_that_opens_or_fills() -> None:
    """Orders are held in the network while the command runs, processes are alive, paused or dead: after exit
    0 the referee sees nothing of ours any more, and each 6 is of orders that the venue never had."""
    outcomes, wrong = kills(SEEDS, SYSTEMS, print)
    assert not wrong, "\n".join(wrong)
    assert len(outcomes) == len(SEEDS)
    assert sum(sum(outcome.caught.values()) for outcome in outcomes) >= len(SEEDS)
    assert sum(outcome.code == 0 for outcome in outcomes) > len(SEEDS) // 2


def test_the_seeds_draw_what_they_are_meant_to() -> None:
    """Windows, times and states over the whole of what may happen."""
    cases = [draw(seed) for seed in range(200)]
    for name in OURS:
        assert {case.states[name] for case in cases} == set(STATES)
        assert {draw(seed).states[name] for seed in SEEDS} == set(STATES)
    windows = [case.window_ms for case in cases]
    assert WINDOW_MS[0] <= min(windows) < 400 and 4800 < max(windows) <= WINDOW_MS[1]
    for venue in VENUES:
        held = [case.held_ms[venue] for case in cases]
        assert min(held) < 300 and max(held) > HELD_MAX_MS - 300
        assert any(case.held[venue] for case in cases)
