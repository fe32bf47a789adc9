"""The chaos driver itself, and a short run of one seed; `make soak` runs it long."""

from __future__ import annotations

import itertools

from chaos import parse, plan, soak

SEED = 1166
SECONDS = 1.0


def test_a_run_of_a_seed_keeps_every_oracle() -> None:
    """Faults of one seed: never above the limit, what is open is charged, trading resumes, books equal."""
    report = soak(plan(SEED), SECONDS, "300", print)
    assert report.rounds and report.outages and report.fills


def test_a_seed_and_the_list_that_it_prints_are_the_same_run() -> None:
    """The one-line repro of a failed run parses back to the very faults of its seed."""
    drawn = list(itertools.islice(plan(SEED), 400))
    assert parse("; ".join(map(str, drawn))) == drawn
    assert {fault.what.split()[0] for fault in drawn} >= {
        "kill",
        "stop",
        "halt",
        "limit",
        "binance",
        "settle",
    }
