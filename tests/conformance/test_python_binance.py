"""python-binance, unchanged and in its own environment, drives the Binance simulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_environment import client_python

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("python_binance_client.py")


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A running simulator; gives its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "binance", "--state", str(tmp_path / "state")],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


@pytest.mark.timeout(900)  # the environment may have to be made
def test_python_binance_trades_unchanged(venue: dict[str, Any]) -> None:
    """It logs in, reads the book, places, sees the order on the user stream, cancels, and is refused
    with the venue's code when its signature is wrong."""
    environment = os.environ | {"SSL_CERT_FILE": venue["ca"], "PYTHONPATH": ""}
    done = subprocess.run(
        [client_python("python-binance", "binance"), CLIENT, json.dumps(venue)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=CLIENT.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "symbols": ["BTCUSDT"],
        "balance": "100000.00000000",
        "book": [5, 5],
        "placed": "NEW",
        "event_new": True,
        "open": ["conformance-1"],
        "cancelled": "CANCELED",
        "event_cancelled": "CANCELED",
        "filled": ["FILLED", "0.003", [False]],
        "ws_placed": "conformance-3",
        "ws_event": "NEW",
        "ws_cancelled": "CANCELED",
        "position": ["0.003"],
        "trades": True,
        "streams": ["bookTicker", "depthUpdate"],
        "wrong_signature": -1022,
    }
