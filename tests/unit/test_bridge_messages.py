"""messages.py: the same bytes as C, and never stale."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import messages
from bridge._bridge import ffi, lib
from bridge.messages import BODIES, MessageExecutionReport, MessageKind, MessageSignal, RejectReason

BRIDGE = Path(messages.__file__).parent


def generate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs gen.py of that folder."""
    command = [sys.executable, str(folder / "gen.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The generator, its input and its output, to be changed freely."""
    names = ("gen.py", "protocol.h", "reasons.h", "layout.h", "layout.lock", "messages.py")
    for name in names:
        shutil.copy(BRIDGE / name, tmp_path / name)
    return tmp_path


def test_generated_files_are_current() -> None:
    """What is committed is what gen.py would write now."""
    done = generate(BRIDGE, "--check")
    assert done.returncode == 0, done.stderr


def test_stale_file_is_reported(copy: Path) -> None:
    """A reason added without running gen.py fails the check, and running it heals."""
    header = copy / "reasons.h"
    number = len(messages.RejectReason)
    last = f'X({number - 1}, {RejectReason(number - 1).name}, "{RejectReason(number - 1).text}")'
    assert last in header.read_text()
    header.write_text(header.read_text().replace(last, last + f' \\\n    X({number}, WEATHER, "it rains")'))
    assert "messages.py not current" in generate(copy, "--check").stderr
    assert generate(copy).returncode == 0
    assert generate(copy, "--check").returncode == 0
    assert f"WEATHER = {number}" in (copy / "messages.py").read_text()


def test_changed_layout_needs_a_new_version(copy: Path) -> None:
    """A changed struct is refused until PROTOCOL_VERSION is raised."""
    header = copy / "protocol.h"
    text = header.read_text().replace("int64_t last_price_e9;", "int64_t newest_price_e9;")
    header.write_text(text)
    version, known = messages.PROTOCOL_VERSION, len((copy / "layout.lock").read_text().splitlines())
    done = generate(copy)
    assert done.returncode == 1 and f"raise it to {version + 1}" in done.stderr
    header.write_text(re.sub(rf"(?m)^(#define PROTOCOL_VERSION +){version}$", rf"\g<1>{version + 1}", text))
    assert generate(copy).returncode == 0
    assert len((copy / "layout.lock").read_text().splitlines()) == known + 1


@pytest.mark.parametrize(
    "line", ["double x;", "int64_t *x;", "int64_t x : 3;", "uint8_t x;", "long x;", "struct nobody x;"]
)
def test_generator_is_strict(copy: Path, line: str) -> None:
    """Floats, pointers, bit-fields, unnamed padding and unknown types are refused."""
    header = copy / "protocol.h"
    start = "struct message_heartbeat {"
    header.write_text(header.read_text().replace(start, f"{start} {line}"))
    assert generate(copy).returncode == 1


def test_sizes_and_hash_are_those_of_c() -> None:
    """Every record is as long as its struct in C, every body as long as the channel expects."""
    assert lib.protocol_layout_hash() == messages.LAYOUT_HASH
    for kind in MessageKind:
        assert lib.protocol_body_size(kind) == BODIES[kind].SIZE
    for name in ("ledger_slot", "page_fill", "page_position", "page_venue", "page_signal", "journal_record"):
        record = getattr(messages, "".join(part.capitalize() for part in name.split("_")))
        assert ffi.sizeof(f"struct {name}") == record.SIZE == len(record().pack())


def test_fields_lie_where_c_puts_them() -> None:
    """A record packed in Python reads the same through the struct in C, and back."""
    report = MessageExecutionReport(
        client_order_id=2**64 - 1,
        venue=2,
        maker=1,
        symbol="BTCUSDT",
        last_price_e9=-5,
        text="héllo",
        wall_ns=7,
    )
    inside = ffi.new("struct message_execution_report *")
    ffi.buffer(inside)[:] = report.pack()
    assert inside.client_order_id == 2**64 - 1 and inside.venue == 2 and inside.maker == 1
    assert ffi.string(inside.symbol) == b"BTCUSDT" and inside.last_price_e9 == -5 and inside.wall_ns == 7
    assert MessageExecutionReport.unpack(bytes(ffi.buffer(inside))) == report


def test_reasons_are_those_of_c() -> None:
    """Names and sentences agree with reasons.h."""
    for reason in RejectReason:
        assert ffi.string(lib.reject_reason_name(reason)).decode() == reason.name
        assert ffi.string(lib.reject_reason_text(reason)).decode() == reason.text


@given(st.binary(min_size=MessageSignal.SIZE, max_size=MessageSignal.SIZE))
def test_any_bytes_unpack(data: bytes) -> None:
    """Hostile bytes of the right length give a record, never an exception."""
    MessageSignal.unpack(data)


@given(st.text(max_size=60))
def test_text_is_cut_at_a_character(text: str) -> None:
    """Text longer than its field loses whole characters at the end."""
    read = MessageSignal.unpack(MessageSignal(symbol=text).pack()).symbol
    assert text.split("\0")[0].startswith(read) and len(read.encode()) <= 32
