"""py-clob-client-v2, unchanged and in its own environment, drives the Polymarket simulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_environment import client_python

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path(__file__).with_name("py_clob_client_v2_client.py")


@pytest.fixture(params=["standard", "neg-risk"])
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A running simulator of each profile, whose other traders keep still; gives its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "polymarket", "--state", str(tmp_path / "state"),
         "--profile", request.param],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline()) | {"neg_risk": request.param == "neg-risk"}
        pause = urllib.request.Request(ready["admin"] + "/market", b'{"pause": true}')
        urllib.request.urlopen(pause, timeout=30).close()
        yield ready
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


@pytest.mark.timeout(900)  # the environment may have to be made
def test_py_clob_client_v2_trades_unchanged(venue: dict[str, Any]) -> None:
    """It makes a key, reads the book, places, queries, cancels and trades; wrong signatures, the old
    order struct and a repeated order are refused with the venue's texts."""
    environment = os.environ | {"SSL_CERT_FILE": venue["ca"], "PYTHONPATH": ""}
    done = subprocess.run(
        [client_python("py-clob-client-v2", "py_clob_client_v2"), CLIENT, json.dumps(venue)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=CLIENT.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "derived": True,
        "created": True,
        "keys": 2,
        "book": [True, True, "0.01", venue["neg_risk"]],
        "books": 1,
        "prices": True,
        "placed": [True, "live"],
        "again": "Duplicated.",
        "queried": ["LIVE", True, "20"],
        "open": [True],
        "cancelled": True,
        "open_after": [],
        "bought": ["matched", True, True],
        "trades": ["TAKER", True],
        "held": True,
        "heartbeat": True,
        "wrong_order_signature": [400, "invalid signature"],
        "old_struct": [400, "order_version_mismatch"],
        "too_small": "Size (4) lower than the minimum: 5",
        "wrong_hmac": [401, "Unauthorized/Invalid api key"],
    }
