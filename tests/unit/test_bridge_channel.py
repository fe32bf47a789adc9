"""The asyncio side of the channel, against itself, against the C side, and against hostile bytes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from bridge._bridge import ffi, lib
from bridge.channel import Channel, ChannelError, ChannelServer, connect
from bridge.ledger import now_ns
from bridge.messages import (
    LAYOUT_HASH,
    PROTOCOL_VERSION,
    Message,
    MessageEvent,
    MessageHeader,
    MessageHedge,
    MessageHello,
    MessageKind,
    MessageSignal,
    ParticipantRole,
)


class Recorder:
    """Notes what a channel says."""

    def __init__(self) -> None:
        self.opened: list[Channel] = []
        self.received: list[tuple[MessageHeader, Message]] = []
        self.closed: list[str] = []

    def channel_opened(self, channel: Channel) -> None:
        """Notes it."""
        self.opened.append(channel)

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        """Notes it."""
        self.received.append((header, message))

    def channel_closed(self, channel: Channel, reason: str) -> None:
        """Notes it."""
        self.closed.append(reason)


async def until(condition: Callable[[], Any]) -> None:
    """Gives the loop turns until the condition holds, for at most a minute."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the conditions are of several objects
            await asyncio.sleep(0.001)


Test = Callable[[Path, Recorder, ChannelServer], Awaitable[None]]


async def with_server(path: Path, test: Test) -> None:
    """Runs the test beside a bot's server."""
    recorder = Recorder()
    server = ChannelServer(recorder, ParticipantRole.BOT, "paper", "bot")
    await server.start(path)
    try:
        await test(path, recorder, server)
    finally:
        await server.stop()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Test], None]]:
    """Runs a test on both event loops."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield lambda test: runner.run(with_server(tmp_path / "bridge.sock", test))


def test_both_directions(run: Callable[[Test], None]) -> None:
    """After HELLO each side's messages arrive in order, and a close is told with its reason."""

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        client_side = Recorder()
        client = await connect(path, client_side, ParticipantRole.ENGINE, "paper", "engine")
        await until(lambda: client_side.opened and server_side.opened)
        assert client.peer is not None and client.peer.role == ParticipantRole.BOT
        for number in range(1, 301):
            client.send(MessageSignal(symbol="BTCUSDT", mid_e9=number))
        server.broadcast(MessageHedge(request_id=9, target_e9=-5))
        await until(lambda: len(server_side.received) == 300 and client_side.received)
        first = server_side.received[0][0].sequence  # a heartbeat may have gone before, never between
        assert [h.sequence for h, _ in server_side.received] == list(range(first, first + 300))
        assert client_side.received[0][1] == MessageHedge(request_id=9, target_e9=-5)
        client.close("enough")
        await until(lambda: client_side.closed and server_side.closed)
        assert client_side.closed == ["enough"] and server_side.closed == ["the peer closed the connection"]
        with pytest.raises(ChannelError, match="enough"):
            client.send(MessageSignal())

    run(body)


def test_the_c_side_speaks_the_same(run: Callable[[Test], None]) -> None:
    """A channel of channel.c greets, sends and receives through the Python server."""

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        channel = ffi.gc(lib.channel_new(ParticipantRole.ENGINE, 1, b"engine"), lib.channel_free)
        assert lib.channel_connect(channel, str(path).encode(), now_ns()) == 0
        header, frame = ffi.new("struct message_header *"), ffi.new("char[512]")

        def step() -> bool:
            lib.channel_flush(channel)
            return int(lib.channel_receive(channel, header, frame, now_ns())) == 1

        await until(lambda: step() or server_side.opened)
        await until(lambda: step() or lib.channel_state_now(channel) == lib.CHANNEL_OPEN)
        signal = MessageSignal(venue=1, symbol="BTCUSDT", mid_e9=60_000 * 10**9)
        assert lib.channel_send(channel, MessageKind.SIGNAL, signal.pack(), MessageSignal.SIZE, now_ns()) == 0
        await until(lambda: step() or server_side.received)
        assert server_side.received[0][1] == signal
        server.broadcast(MessageHedge(request_id=3, symbol="BTCUSDT"))
        await until(step)
        assert header.kind == MessageKind.HEDGE
        assert MessageHedge.unpack(bytes(ffi.buffer(frame, MessageHedge.SIZE))).request_id == 3

    run(body)


def frame(kind: int, body: bytes, sequence: int, **changes: int) -> bytes:
    """One message, right but for the changes."""
    fields = {"length": MessageHeader.SIZE + len(body), "kind": kind, "version": PROTOCOL_VERSION}
    return MessageHeader(**{**fields, "sequence": sequence, **changes}).pack() + body


HELLO = frame(MessageKind.HELLO, MessageHello(LAYOUT_HASH, ParticipantRole.TOOL).pack(), 1)
SIGNAL = MessageSignal().pack()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(MessageKind.SIGNAL, SIGNAL, 1), "HELLO must be the first"),
        (HELLO + HELLO, "gap"),
        (HELLO + frame(MessageKind.HELLO, HELLO[24:], 2), "HELLO must be the first"),
        (HELLO + frame(MessageKind.SIGNAL, SIGNAL, 3), "gap"),
        (HELLO + frame(MessageKind.SIGNAL, SIGNAL, 2, length=5), "impossible"),
        (HELLO + frame(MessageKind.SIGNAL, SIGNAL, 2, length=2**32 - 1), "impossible"),
        (HELLO + frame(MessageKind.SIGNAL, SIGNAL, 2, length=100), "not its kind's"),
        (HELLO + frame(200, SIGNAL, 2), "unknown kind"),
        (frame(MessageKind.HELLO, MessageHello(1, 1).pack(), 1), "another protocol.h"),
        (frame(MessageKind.HELLO, MessageHello(LAYOUT_HASH, ParticipantRole.TOOL, 2).pack(), 1), "paper"),
        (frame(MessageKind.HELLO, HELLO[24:], 1, version=9), "another protocol version"),
        (HELLO[:-1], "middle of a message"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "impossible"),
    ],
)
def test_hostile_frames_end_the_connection(run: Callable[[Test], None], data: bytes, reason: str) -> None:
    """Each malformed frame ends its connection with a reason, and leaves the server and others alone."""

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        friend = Recorder()
        channel = await connect(path, friend, ParticipantRole.ENGINE, "paper", "engine")
        await until(lambda: friend.opened)
        with socket.socket(socket.AF_UNIX) as hostile:
            hostile.connect(str(path))
            hostile.sendall(data)
            hostile.shutdown(socket.SHUT_WR)
            await until(lambda: server_side.closed)
        assert reason in server_side.closed[0]
        channel.send(MessageSignal(mid_e9=1))
        await until(lambda: server_side.received)
        assert not friend.closed

    run(body)


def test_stalled_peer_is_dropped(run: Callable[[Test], None]) -> None:
    """A peer that does not read loses its connection instead of growing our memory."""

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        with socket.socket(socket.AF_UNIX) as sleeper:
            sleeper.connect(str(path))
            sleeper.sendall(HELLO)
            await until(lambda: server.open_channels)
            for _ in range(10_000):
                server.broadcast(MessageEvent(text="x" * 100))
            await until(lambda: server_side.closed)
            assert "too slowly" in server_side.closed[0]
            assert server.open_channels == ()

    run(body)


def test_silent_peer_is_dropped(run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that sends nothing, not even heartbeats, loses its connection."""
    monkeypatch.setattr("bridge.channel.SILENCE_NS", 200_000_000)

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(path))
            await until(lambda: server_side.closed)
        assert "silent" in server_side.closed[0]

    run(body)


def test_only_a_dead_socket_is_replaced(run: Callable[[Test], None], tmp_path: Path) -> None:
    """A listener takes over a dead process's socket file, but not a live one's nor another file."""

    async def body(path: Path, server_side: Recorder, server: ChannelServer) -> None:
        assert os.stat(path).st_mode & 0o777 == 0o600
        second = ChannelServer(Recorder(), ParticipantRole.BOT, "paper", "bot")
        with pytest.raises(ChannelError, match="another process listens"):
            await second.start(path)
        dead = tmp_path / "dead.sock"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(str(dead))
        await second.start(dead)
        await second.stop()
        other = tmp_path / "file"
        other.write_text("keep")
        with pytest.raises(ChannelError, match="not a socket of ours"):
            await second.start(other)
        with pytest.raises(ChannelError, match="start its listener first"):
            await connect(tmp_path / "nobody", Recorder(), ParticipantRole.ENGINE, "paper", "engine")

    run(body)
