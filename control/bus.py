"""The supervisor's two ZeroMQ sockets: it drains the participants' telemetry, and answers commands.

Both are ipc:// in the 0700 runtime folder. Telemetry is lossy by design (a bounded queue at both
ends); what must not be lost, the fills, comes from the status pages instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq
import zmq.asyncio

from bridge.ledger import LedgerError
from control import shared
from control.config import Budget, usd
from control.errors import ControlError, Exit
from control.latch import is_latched

if TYPE_CHECKING:
    from bridge.paths import Paths
    from control.recorder import EventLog
    from control.supervisor import Supervisor

QUEUE = 4096
COMMAND_MAX = 4096
SET_BUDGET_S = 2.5  # less than its asker waits for the answer


class BusReader:
    """Subscribes to both participants and keeps their events."""

    def __init__(self, paths: Paths, events: EventLog) -> None:
        self._events = events
        self._endpoints = {"engine": paths.engine_pub, "polymarket_bot": paths.bot_pub}

    async def run(self) -> None:
        """Drain until cancelled. ZeroMQ reconnects by itself when a participant is replaced."""
        context = zmq.asyncio.Context()
        try:
            async with asyncio.TaskGroup() as group:
                for source, endpoint in self._endpoints.items():
                    group.create_task(self._drain(context, source, endpoint))
        finally:
            context.destroy(linger=0)

    async def _drain(self, context: zmq.asyncio.Context, source: str, endpoint: str) -> None:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, QUEUE)
        socket.setsockopt(zmq.MAXMSGSIZE, COMMAND_MAX)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.setsockopt(zmq.SUBSCRIBE, b"event")
        socket.connect(endpoint)
        while True:
            self._keep(source, (await socket.recv_multipart())[-1])

    def _keep(self, source: str, payload: bytes) -> None:
        try:
            record = shared.decode_event(payload)
        except ValueError as error:
            self._events.write(source, "telemetry_malformed", level="warning", text=str(error))
            return
        if record is not None:
            name, level = record.pop("name"), record.pop("level")
            self._events.write(source, name, level=level, **record)


class CommandServer:
    """Answers `control` commands: JSON in, JSON out."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._loop: asyncio.AbstractEventLoop | None = None
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "ping": self._ping,
            "snapshot": self._snapshot,
            "stop": self._stop,
            "budget_set": self._budget_set,
            "resume": self._resume,
            "clock": self._clock,
            "clock_confirm": self._clock_confirm,
        }

    async def run(self) -> None:
        """Serve until cancelled."""
        self._loop = asyncio.get_running_loop()
        context = zmq.asyncio.Context()
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 200)
        socket.setsockopt(zmq.MAXMSGSIZE, COMMAND_MAX)
        socket.setsockopt(zmq.RCVHWM, 64)
        endpoint = self._supervisor.paths.command
        try:
            socket.bind(endpoint)
            os.chmod(endpoint.removeprefix("ipc://"), 0o600)
            while True:
                frames = await socket.recv_multipart()
                answer = await asyncio.to_thread(self._answer, frames[-1])
                await socket.send_multipart([*frames[:-1], json.dumps(answer).encode()])
                if answer.pop("stopping", False):
                    self._supervisor.stopping.set()
        finally:
            socket.close()
            context.term()

    def _answer(self, payload: bytes) -> dict[str, Any]:
        try:
            request = json.loads(payload)
            if not isinstance(request, dict):
                raise ValueError("not an object")
            until_ns = request.get("until_ns")
            if isinstance(until_ns, int) and boottime_ns() > until_ns:
                # Its sender has long told somebody that nothing was done.
                return _refusal("the command came too late and was not carried out", Exit.TIMEOUT)
            handler = self._commands.get(str(request.get("command")))
            if handler is None:
                known = ", ".join(self._commands)
                return _refusal(f"unknown command {request.get('command')!r}; known: {known}", Exit.USAGE)
            return {"ok": True, **handler(request)}
        except ControlError as error:
            return _refusal(str(error), error.code)
        except ValueError as error:
            return _refusal(f"not a command: {error}", Exit.USAGE)
        except Exception as error:  # the asker gets an answer, whatever it is
            return _refusal(f"{type(error).__name__}: {error}", Exit.ERROR)

    def _ping(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"healthy": self._supervisor.healthy}

    def _snapshot(self, request: dict[str, Any]) -> dict[str, Any]:
        from control.status import snapshot

        return {"snapshot": snapshot(self._supervisor.paths)}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        keep = request.get("keep_venues") is True
        actor = str(request.get("actor", ""))[:64]
        self._supervisor.events.write("control", "stop_requested", actor=actor, keep_venues=keep)
        self._supervisor.keep_venues = keep
        return {"stopping": True}

    def _budget_set(self, request: dict[str, Any]) -> dict[str, Any]:
        budget = Budget.model_validate(request.get("budget"))
        if self._loop is None:
            raise ControlError("The supervisor is not up yet; try again in a moment.")
        # On the loop, where the guard looks: it must never see the one number without the other.
        asyncio.run_coroutine_threadsafe(self._set_budget(budget), self._loop).result(SET_BUDGET_S)
        return {"limit": usd(budget.limits_micros[0])}

    def _clock(self, request: dict[str, Any]) -> dict[str, Any]:
        offsets = asyncio.run(self._supervisor.day.offsets())
        return {"clock": {**self._supervisor.day.record(), "offsets_s": offsets}}

    def _clock_confirm(self, request: dict[str, Any]) -> dict[str, Any]:
        self._supervisor.day.confirm(str(request.get("actor", "a person"))[:64])
        return {"clock": self._supervisor.day.record()}

    async def _set_budget(self, budget: Budget) -> None:
        try:
            self._supervisor.set_budget(budget)
        except LedgerError as error:
            raise ControlError(f"The limit was not changed: {error}.") from None

    def _resume(self, request: dict[str, Any]) -> dict[str, Any]:
        from control.resume import resume

        if not is_latched(self._supervisor.paths.latch):
            raise ControlError("Trading is not halted.")
        return {"lines": resume(self._supervisor.paths)}


def _refusal(text: str, code: Exit) -> dict[str, Any]:
    return {"ok": False, "error": text, "exit_code": int(code)}


def boottime_ns() -> int:
    """The clock that all processes of this machine share, and that nobody can set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def ask(paths: Paths, request: dict[str, Any], timeout_s: float = 3.0) -> dict[str, Any]:
    """Send one command to the running supervisor. ControlError(TIMEOUT) when it does not answer."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    try:
        socket.connect(paths.command)
        dated = {**request, "until_ns": boottime_ns() + round(timeout_s * 1e9)}
        socket.send_multipart([b"", json.dumps(dated).encode()])
        if not socket.poll(round(timeout_s * 1000)):
            raise ControlError(
                "The supervisor does not answer; `control status` shows its state, "
                "`control kill` works without it.",
                Exit.TIMEOUT,
            )
        answer = json.loads(socket.recv_multipart()[-1])
    finally:
        socket.close()
        context.term()
    if not isinstance(answer, dict) or not answer.get("ok"):
        error = answer if isinstance(answer, dict) else {}
        raise ControlError(str(error.get("error", "no answer")), Exit(int(error.get("exit_code", 1))))
    return answer
