"""Listening on loopback, the ready line, and the wait for the end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import sys
from typing import Any

from aiohttp import web


class ListenError(Exception):
    """A port could not be taken; the text says what to do."""


async def listen(
    app: web.Application, port: int, context: ssl.SSLContext | None = None
) -> tuple[web.AppRunner, int]:
    """Serve `app` on 127.0.0.1; gives the runner (to clean up) and the port in use."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, keepalive_timeout=600)
    await runner.setup()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError as error:
        sock.close()
        await runner.cleanup()
        raise ListenError(f"port {port} on 127.0.0.1 is taken: stop its owner, or give another") from error
    site = web.SockSite(runner, sock, ssl_context=context, shutdown_timeout=0.2)
    await site.start()
    return runner, int(sock.getsockname()[1])


def announce(fields: dict[str, Any]) -> None:
    """Print the ready line, the only thing a simulator ever writes to stdout."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def stop_event() -> asyncio.Event:
    """Set when SIGTERM or SIGINT arrives. Called before the ready line is out, for whoever reads it may
    end the venue at once."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
