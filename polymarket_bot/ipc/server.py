"""The bot's end of the bridge: a Unix socket on which the engine connects.

The channel itself (framing, HELLO, heartbeats, the checks of the peer) is bridge.channel; this file says
who may do what on it, and turns its callbacks into the three things the bot cares about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import structlog

from bridge.channel import Channel, ChannelServer
from bridge.messages import (
    Message,
    MessageCancelOrder,
    MessageHalt,
    MessageHeader,
    MessageNewOrder,
    MessageSignal,
    ParticipantRole,
)

log = structlog.get_logger("bridge")


class Listener(Protocol):
    """Who is told what the engine sends. Must not wait."""

    def on_signal(self, message: MessageSignal) -> None: ...
    def on_new_order(self, message: MessageNewOrder) -> None: ...
    def on_cancel_order(self, message: MessageCancelOrder) -> None: ...
    def on_engine(self, connected: bool) -> None: ...


class BridgeServer:
    """Listens; takes one engine and any number of readers (tools)."""

    def __init__(self, listener: Listener, mode: str) -> None:
        self._listener = listener
        self._server = ChannelServer(self, ParticipantRole.BOT, mode, "polymarket_bot")
        self._engine: Channel | None = None

    @property
    def connected(self) -> bool:
        """Whether an engine is there."""
        return self._engine is not None and self._engine.is_open

    async def start(self, path: Path) -> None:
        await self._server.start(path)

    async def stop(self) -> None:
        await self._server.stop("the bot is stopping")

    def send(self, message: Message) -> None:
        """To every open channel; one that does not read is dropped by the channel."""
        self._server.broadcast(message)

    # --- bridge.channel.Owner ---

    def channel_opened(self, channel: Channel) -> None:
        peer = channel.peer
        if peer is None:
            return
        if peer.role == ParticipantRole.ENGINE:
            if self._engine is not None and self._engine.is_open:
                channel.close("another engine is already connected")
                return
            self._engine = channel
            self._listener.on_engine(True)
        log.info("peer_connected", role=peer.role, pid=peer.pid, name=peer.name)

    def channel_closed(self, channel: Channel, reason: str) -> None:
        log.info("peer_disconnected", reason=reason)
        if channel is self._engine:
            self._engine = None
            self._listener.on_engine(False)

    def message_received(self, channel: Channel, header: MessageHeader, message: Message) -> None:
        if isinstance(message, MessageHalt):
            return  # the ledger is the authority on halts, and it is read every cycle
        if channel is not self._engine:
            channel.close("only the engine may send here")
        elif isinstance(message, MessageSignal):
            self._listener.on_signal(message)
        elif isinstance(message, MessageNewOrder):
            self._listener.on_new_order(message)
        elif isinstance(message, MessageCancelOrder):
            self._listener.on_cancel_order(message)
