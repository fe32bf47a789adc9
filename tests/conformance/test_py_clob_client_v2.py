"""py-clob-client-v2, unchanged and in its own environment, drives the Polymarket simulator."""

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

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-py-clob-client-v2"
REQUIREMENTS = Path(__file__).with_name("requirements-py-clob-client-v2.txt")
CLIENT = Path(__file__).with_name("py_clob_client_v2_client.py")


@pytest.fixture(scope="module")
def client_python() -> Path:
    """The interpreter of the client's environment, made on first use from hashed requirements."""
    python = ENVIRONMENT / "bin" / "python"
    probe = [str(python), "-c", "import py_clob_client_v2"]
    if not python.exists() or subprocess.run(probe, capture_output=True).returncode:
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(REQUIREMENTS)]
        subprocess.run(install, check=True, timeout=300)
    return python


@pytest.fixture(params=["standard", "neg-risk"])
def venue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A running simulator of each profile; gives its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulators", "polymarket", "--state", str(tmp_path / "state"),
         "--profile", request.param],
        stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline()) | {"neg_risk": request.param == "neg-risk"}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        process.stdout.close()


@pytest.mark.timeout(400)
def test_py_clob_client_v2_trades_unchanged(client_python: Path, venue: dict[str, Any]) -> None:
    """It makes a key, reads the book, places, queries, cancels and trades; wrong signatures, the old
    order struct and a repeated order are refused with the venue's texts."""
    environment = os.environ | {"SSL_CERT_FILE": venue["ca"], "PYTHONPATH": ""}
    done = subprocess.run(
        [client_python, CLIENT, json.dumps(venue)],
        capture_output=True, text=True, timeout=90, env=environment, cwd=CLIENT.parent,
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
