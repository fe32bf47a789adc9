"""An environment of its own for a client library, made once, whoever asks first."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3  # a package index may hiccup
ATTEMPT_S = 200


def client_python(name: str, module: str) -> Path:
    """The interpreter of `.venv-<name>`, with what requirements-<name>.txt lists, by its hashes.

    Tests of one file may run in two processes, so that only one at a time may make it."""
    folder = ROOT / f".venv-{name}"
    python = folder / "bin" / "python"
    requirements = Path(__file__).with_name(f"requirements-{name}.txt")
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / f".venv-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (
            python.exists()
            and subprocess.run([python, "-c", f"import {module}"], check=False).returncode == 0
        ):
            return python
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "-q", "--require-hashes", "-r", requirements]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                subprocess.run(install, check=True, timeout=ATTEMPT_S)
                break
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                if attempt == ATTEMPTS:
                    raise
    return python
