"""Length-framed messages over a Unix socket, as channel.h describes them, for asyncio and uvloop.

A raw asyncio Protocol: bytes go through one small buffer, and each message is handed to the owner at once.
The connection ends, with a reason, on a peer of another user, another version or layout, a first message that
is not HELLO, an impossible frame, a sequence gap, silence, or a peer that does not read.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Protocol, cast

from bridge.ledger import now_ns
from bridge.messages import (
    BODIES,
    KINDS,
    LAYOUT_HASH,
    PROTOCOL_FRAME_MAX,
    PROTOCOL_VERSION,
    Message,
    MessageHeader,
    MessageHeartbeat,
    MessageHello,
    MessageKind,
    ParticipantRole,
)

HEARTBEAT_NS = 1_000_000_000
SILENCE_NS = 5_000_000_000
BUFFER = 262_144
TICK_S = 0.1
MODES = {"dry-run": 0, "paper": 1, "live": 2}


class ChannelError(Exception):
    """The channel is not open, or could not be made."""


class Owner(Protocol):
    """Whom a channel tells what happens; called inside the event loop, and must not wait."""

    def channel_opened(self, channel: Channel) -> None:
        """Both HELLOs have been exchanged."""

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        """Any message but HELLO and HEARTBEAT."""

    def channel_closed(self, channel: Channel, reason: str) -> None:
        """It was open, or was never going to be; reason is a sentence for people."""


class _Refused(Exception):
    """A frame that this protocol does not allow; the text is the reason."""


class Channel(asyncio.Protocol):
    """One connection, either side."""

    def __init__(self, owner: Owner, role: ParticipantRole, mode: str, name: str) -> None:
        self._owner = owner
        self._hello = MessageHello(LAYOUT_HASH, role, MODES[mode], os.getpid(), name)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pending = bytearray()
        self._sent = 0
        self._received = 0
        self._heard_ns = self._heartbeat_ns = now_ns()
        self._reason: str | None = None
        self.peer: MessageHello | None = None  # set while the channel is open
        self.progress = 0  # shown to the peer in each heartbeat
        self.peer_progress = 0

    @property
    def is_open(self) -> bool:
        """Whether send() works now."""
        return self.peer is not None and self._reason is None

    def send(self, message: Message) -> None:
        """Queues one message; ChannelError when the channel is not, or no longer, open."""
        if not self.is_open:
            why = self._reason or "no HELLO yet"
            raise ChannelError(f"the channel is not open: {why}; wait for it to reopen")
        self._send(message)
        if self._reason is not None:
            raise ChannelError(f"the channel was closed: {self._reason}; wait for it to reopen")

    def close(self, reason: str = "closed by this side") -> None:
        """Ends the connection; the owner hears the reason once."""
        if self._reason is None:
            self._reason = reason
            if self._transport is not None:
                self._transport.abort()

    # ---- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Checks who is there, says HELLO."""
        # uvloop's transports do not inherit from asyncio.Transport, though they keep its interface.
        self._transport = cast(asyncio.Transport, transport)
        if not _peer_is_ours(transport.get_extra_info("socket")):
            self.close("the peer runs as another user")
            return
        self._send(self._hello)
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def data_received(self, data: bytes) -> None:
        """Parses every whole frame; what is left is always shorter than one frame."""
        self._pending += data
        view = memoryview(self._pending)
        at = 0
        try:
            while self._reason is None and (length := self._frame_length(view[at:])):
                self._handle(bytes(view[at : at + length]))
                at += length
        except _Refused as refused:
            self.close(str(refused))
        finally:
            view.release()
        del self._pending[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells the owner why."""
        if self._timer is not None:
            self._timer.cancel()
        if self._reason is None:
            middle = "the peer closed in the middle of a message"
            self._reason = middle if self._pending else "the peer closed the connection"
        self.peer = None
        self._owner.channel_closed(self, self._reason)

    # ---- frames --------------------------------------------------------------------------------

    def _frame_length(self, data: memoryview) -> int:
        """Of the whole frame at the front of data; 0 when it is not whole yet."""
        if len(data) < MessageHeader.SIZE:
            return 0
        header = MessageHeader.unpack(data[: MessageHeader.SIZE])
        if not MessageHeader.SIZE <= header.length <= PROTOCOL_FRAME_MAX:
            raise _Refused("a message's length is impossible")
        if header.version != PROTOCOL_VERSION:
            raise _Refused("the peer speaks another protocol version; rebuild both")
        body = BODIES.get(header.kind)
        if body is None:
            raise _Refused("a message of unknown kind")
        if header.length != MessageHeader.SIZE + body.SIZE:
            raise _Refused("a message's length is not its kind's")
        if header.sequence != self._received + 1:
            raise _Refused("a gap in the peer's sequence")
        if (header.kind == MessageKind.HELLO) != (self.peer is None):
            raise _Refused("HELLO must be the first message and only the first")
        return header.length if len(data) >= header.length else 0

    def _handle(self, frame: bytes) -> None:
        header = MessageHeader.unpack(frame[: MessageHeader.SIZE])
        message = BODIES[header.kind].unpack(frame[MessageHeader.SIZE :])
        self._received = header.sequence
        self._heard_ns = now_ns()
        if isinstance(message, MessageHello):
            if message.layout_hash != LAYOUT_HASH:
                raise _Refused("the peer was built from another protocol.h; rebuild both")
            if message.mode != self._hello.mode and message.mode and self._hello.mode:
                raise _Refused("one side trades on paper and the other live; stop one")
            self.peer = message
            self._owner.channel_opened(self)
        elif isinstance(message, MessageHeartbeat):
            self.peer_progress = message.progress
        else:
            self._owner.message_received(self, header, message)

    def _send(self, message: Message) -> None:
        transport = self._transport
        if transport is None or self._reason is not None:
            return
        kind = KINDS[type(message)]
        length = MessageHeader.SIZE + message.SIZE
        if transport.get_write_buffer_size() + length > BUFFER:
            self.close("the peer reads too slowly: the send buffer is full")
            return
        self._sent += 1
        header = MessageHeader(length, kind, PROTOCOL_VERSION, self._sent, now_ns())
        transport.write(header.pack() + message.pack())

    def _tick(self) -> None:
        at = now_ns()
        if at - self._heard_ns > SILENCE_NS:
            self.close("the peer has been silent for too long")
        elif self.is_open and at - self._heartbeat_ns >= HEARTBEAT_NS:
            self._heartbeat_ns = at
            self._send(MessageHeartbeat(self._received, self.progress))
        if self._reason is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)


def _peer_is_ours(sock: socket.socket) -> bool:
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid == os.geteuid())


class ChannelServer:
    """Listens on a socket file and makes a Channel of each connection."""

    def __init__(self, owner: Owner, role: ParticipantRole, mode: str, name: str) -> None:
        self._owner = owner
        self._identity = (role, mode, name)
        self._server: asyncio.Server | None = None
        self._channels: set[Channel] = set()
        self._empty = asyncio.Event()

    @property
    def open_channels(self) -> tuple[Channel, ...]:
        """Those that have exchanged HELLOs."""
        return tuple(channel for channel in self._channels if channel.is_open)

    async def start(self, path: Path) -> None:
        """Binds the file 0600, replacing the one that a dead process left behind."""
        listener = _listen(path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._make, sock=listener)

    def broadcast(self, message: Message) -> None:
        """Sends to every open channel; one that stalls is dropped, and its owner told."""
        for channel in self.open_channels:
            try:
                channel.send(message)
            except ChannelError:
                continue  # channel_closed tells the owner

    async def stop(self, reason: str = "this side is stopping") -> None:
        """Closes the listener and every connection."""
        if self._server is not None:
            self._server.close()
        for channel in tuple(self._channels):
            channel.close(reason)
        if self._channels:
            await self._empty.wait()
        if self._server is not None:
            await self._server.wait_closed()

    def _make(self) -> Channel:
        channel = Channel(self, *self._identity)
        self._channels.add(channel)
        self._empty.clear()
        return channel

    # ---- Owner: passes everything on and keeps the set of channels ------------------------------

    def channel_opened(self, channel: Channel) -> None:
        """Passed on."""
        self._owner.channel_opened(channel)

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        """Passed on."""
        self._owner.message_received(channel, header, message)

    def channel_closed(self, channel: Channel, reason: str) -> None:
        """Forgets the channel; passed on."""
        self._channels.discard(channel)
        if not self._channels:
            self._empty.set()
        self._owner.channel_closed(channel, reason)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_dead_socket(path)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(16)
    except OSError as error:
        listener.close()
        why = f"cannot listen on {path}: {error.strerror}; is another process running?"
        raise ChannelError(why) from error
    except ChannelError:
        listener.close()
        raise
    return listener


def _remove_dead_socket(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise ChannelError(f"{path} is not a socket of ours; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ChannelError(f"another process listens on {path}; stop it first")


async def connect(path: Path, owner: Owner, role: ParticipantRole, mode: str, name: str) -> Channel:
    """Connects once; the channel is usable when the owner hears channel_opened."""
    loop = asyncio.get_running_loop()
    try:
        _, channel = await loop.create_unix_connection(lambda: Channel(owner, role, mode, name), str(path))
    except OSError as error:
        why = f"cannot connect to {path}: {error.strerror}; start its listener first"
        raise ChannelError(why) from error
    return channel
