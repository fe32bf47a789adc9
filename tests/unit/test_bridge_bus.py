"""Telemetry and commands over ZeroMQ."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from bridge.bus import BusError, Command, CommandServer, Publisher, Subscriber, decode, request
from bridge.messages import MessageEvent, MessageKind, MessageSignal


def test_subscriber_gets_its_topics(tmp_path: Path) -> None:
    """A subscriber to events gets events alone, typed, with a growing sequence."""

    async def body() -> None:
        endpoint = f"ipc://{tmp_path / 'bus' / 'engine.pub'}"
        publisher = Publisher(endpoint)
        subscriber = Subscriber([endpoint], ["event"])
        got = asyncio.create_task(subscriber.receive())
        sent = 0
        async with asyncio.timeout(60):
            while not got.done():
                sent += 1
                publisher.publish(MessageSignal(mid_e9=sent))
                publisher.publish(MessageEvent(name="book_resynced", text=str(sent)))
                await asyncio.wait([got], timeout=0.01)
        header, message = got.result()
        assert header.kind == MessageKind.EVENT and header.sequence % 2 == 0
        assert isinstance(message, MessageEvent) and message.name == "book_resynced"
        publisher.close()
        subscriber.close()

    asyncio.run(body())
    assert stat.S_IMODE((tmp_path / "bus").stat().st_mode) == 0o700


def test_commands_are_answered(tmp_path: Path) -> None:
    """A request gets its own answer; nonsense is refused; silence is an error with advice."""

    async def answer(command: Command) -> Command:
        return {"ok": True, "echo": command["command"]}

    async def body() -> None:
        endpoint = f"ipc://{tmp_path / 'supervisor.cmd'}"
        server = CommandServer(endpoint)
        serving = asyncio.create_task(server.serve(answer))
        answers = await asyncio.gather(
            *(request(endpoint, {"command": f"c{i}"}, timeout_s=60) for i in range(5))
        )
        assert [reply["echo"] for reply in answers] == [f"c{i}" for i in range(5)]
        refused = await request(endpoint, {"no": "command"}, timeout_s=60)
        assert not refused["ok"] and refused["exit_code"] == 2
        serving.cancel()
        server.close()
        with pytest.raises(BusError, match="is it running"):
            await request(endpoint, {"command": "ping"}, timeout_s=0.05)

    asyncio.run(body())


@pytest.mark.parametrize("payload", [b"", b"x" * 23, b"\0" * 24, b"\xff" * 200])
def test_malformed_telemetry_is_an_error(payload: bytes) -> None:
    """A payload that is no message of ours raises BusError."""
    with pytest.raises(BusError):
        decode(payload)
