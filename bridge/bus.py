"""ZeroMQ between our processes: PUB for telemetry and events, ROUTER for the supervisor's commands.

Endpoints are ipc:// files in a 0700 folder, queues are bounded, and a slow subscriber loses messages rather
than slowing the publisher down.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from bridge.ledger import now_ns
from bridge.messages import BODIES, KINDS, PROTOCOL_VERSION, Message, MessageHeader, MessageKind
from bridge.paths import private_folder

HIGH_WATER_MARK = 10_000
COMMAND_MAX = 1 << 20
Command = dict[str, Any]


class BusError(Exception):
    """A command that got no answer, or a message that breaks the protocol."""


def topic_of(kind: MessageKind) -> str:
    """signal, top_of_book, execution_report, position, event, risk_state."""
    return kind.name.lower()


def decode(payload: bytes) -> tuple[MessageHeader, Message]:
    """A header and its body; BusError when they do not fit together."""
    if len(payload) < MessageHeader.SIZE:
        raise BusError("a message shorter than its header; are both processes of the same version?")
    header = MessageHeader.unpack(payload[: MessageHeader.SIZE])
    body = BODIES.get(header.kind)
    if body is None or header.version != PROTOCOL_VERSION or len(payload) != MessageHeader.SIZE + body.SIZE:
        raise BusError(f"a message of unknown kind or size ({header.kind}); stop and restart all processes")
    return header, body.unpack(payload[MessageHeader.SIZE :])


def _bind(socket: zmq.Socket[Any] | zmq.asyncio.Socket, endpoint: str) -> None:
    """Binds an ipc:// endpoint as a file that only this user can open."""
    if endpoint.startswith("ipc://"):
        private_folder(Path(endpoint.removeprefix("ipc://")).parent)
    before = os.umask(0o177)
    try:
        socket.bind(endpoint)
    finally:
        os.umask(before)


class Publisher:
    """A PUB socket; publish() never waits."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[Any] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.LINGER, 0)
        _bind(self._socket, endpoint)
        self._sequence = 0

    def publish(self, message: Message) -> None:
        """Two frames: the kind's topic, and header + body."""
        kind = KINDS[type(message)]
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        length = MessageHeader.SIZE + message.SIZE
        header = MessageHeader(length, kind, PROTOCOL_VERSION, self._sequence, now_ns())
        self._socket.send_multipart([topic_of(kind).encode(), header.pack() + message.pack()], zmq.DONTWAIT)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class Subscriber:
    """A SUB socket on one or more endpoints; no topics means all."""

    def __init__(self, endpoints: Iterable[str], topics: Iterable[str] = ("",)) -> None:
        self._socket = zmq.asyncio.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.MAXMSGSIZE, 4096)
        self._socket.setsockopt(zmq.LINGER, 0)
        for topic in topics:
            self._socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        for endpoint in endpoints:
            self._socket.connect(endpoint)

    async def receive(self) -> tuple[MessageHeader, Message]:
        """The next message; BusError for one that breaks the protocol."""
        frames: list[bytes] = await self._socket.recv_multipart()
        if len(frames) != 2:
            raise BusError("a telemetry message must have two frames")
        return decode(frames[1])

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


class CommandServer:
    """A ROUTER socket that answers JSON requests, one after the other."""

    def __init__(self, endpoint: str) -> None:
        self._socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.SNDHWM, 100)
        self._socket.setsockopt(zmq.RCVHWM, 100)
        self._socket.setsockopt(zmq.MAXMSGSIZE, COMMAND_MAX)
        self._socket.setsockopt(zmq.LINGER, 500)
        _bind(self._socket, endpoint)

    async def serve(self, answer: Callable[[Command], Awaitable[Command]]) -> None:
        """Runs until cancelled. A malformed request is answered with ok = false."""
        while True:
            frames: list[bytes] = await self._socket.recv_multipart()
            reply = await self._reply(frames[-1], answer)
            try:
                await self._socket.send_multipart([*frames[:-1], json.dumps(reply).encode()], zmq.DONTWAIT)
            except zmq.ZMQError:
                continue  # the asker has gone; a ROUTER has nobody else to tell

    @staticmethod
    async def _reply(request: bytes, answer: Callable[[Command], Awaitable[Command]]) -> Command:
        try:
            command = json.loads(request)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "the request is not JSON; send one object", "exit_code": 2}
        if not isinstance(command, dict) or not isinstance(command.get("command"), str):
            return {"ok": False, "error": 'the request needs a "command"; send one object', "exit_code": 2}
        return await answer(command)

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()


async def request(endpoint: str, command: Command, timeout_s: float = 3.0) -> Command:
    """Asks a CommandServer once, over a DEALER socket of its own, so that no late answer to an earlier
    request can be taken for this one's. BusError when nothing answers in time."""
    socket = zmq.asyncio.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, COMMAND_MAX)
    try:
        socket.connect(endpoint)
        async with asyncio.timeout(timeout_s):
            await socket.send_multipart([b"", json.dumps(command).encode()])
            frames: list[bytes] = await socket.recv_multipart()
    except TimeoutError:
        raise BusError("the supervisor does not answer; is it running? try `control status`") from None
    finally:
        socket.close()
    try:
        answer = json.loads(frames[-1])
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise BusError("the supervisor's answer is not a JSON object; stop and restart it")
    return answer
