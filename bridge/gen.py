"""Writes what is derived from protocol.h and reasons.h: layout.h (the layout hash and an assertion for
every offset, so that the compiler agrees with this program), messages.py (typed Python records) and
layout.lock (the hash that belongs to each PROTOCOL_VERSION).

    python bridge/gen.py            write them
    python bridge/gen.py --check    fail when one of them is stale
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pycparser import c_ast, c_parser  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
SCALARS = {
    "char": (1, "s"),
    "int8_t": (1, "b"),
    "uint8_t": (1, "B"),
    "int16_t": (2, "h"),
    "uint16_t": (2, "H"),
    "int32_t": (4, "i"),
    "uint32_t": (4, "I"),
    "int64_t": (8, "q"),
    "uint64_t": (8, "Q"),
}
# These hold slots, rings and histograms; Python reads them through cffi, not as flat records.
NOT_FLAT = {"ledger_header", "ledger_participant", "ledger_shared", "ledger_participant_view", "ledger_view"}
NOT_FLAT |= {"histogram", "participant_page"}


class LayoutError(Exception):
    """The headers hold something that this strict reader does not know, or a rule about them is broken."""


@dataclass(frozen=True)
class Field:
    """One member: count is 1 for a scalar, and kind a scalar's C name or "struct NAME"."""

    name: str
    kind: str
    count: int
    offset: int
    size: int


@dataclass(frozen=True)
class Struct:
    """One struct with its computed size and alignment."""

    name: str
    fields: tuple[Field, ...]
    size: int
    alignment: int


@dataclass(frozen=True)
class Layout:
    """Everything that protocol.h and reasons.h say."""

    version: int
    structs: dict[str, Struct]
    enums: dict[str, dict[str, int]]
    constants: dict[str, int]
    reasons: tuple[tuple[int, str, str], ...]

    def text(self) -> str:
        """The canonical description whose hash both sides of a connection compare."""
        constants = {k: v for k, v in self.constants.items() if k != "PROTOCOL_VERSION"}
        lines = [f"const {name} {value}" for name, value in constants.items()]
        for name, members in self.enums.items():
            lines += [f"enum {name} {member} {value}" for member, value in members.items()]
        for struct in self.structs.values():
            lines.append(f"struct {struct.name} {struct.size}")
            lines += [f"  {f.kind} {f.name} {f.count} {f.offset}" for f in struct.fields]
        return "\n".join(lines) + "\n"

    def hash(self) -> int:
        """64 bits of SHA-256 over text()."""
        return int.from_bytes(hashlib.sha256(self.text().encode()).digest()[:8], "little")


def preprocess(header: Path) -> str:
    """Runs the C preprocessor in the form that cffi and pycparser read."""
    compiler = os.environ.get("CC", "cc").split()
    command = [*compiler, "-E", "-P", "-DPURSER_CDEF", f"-I{header.parent}", str(header)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LayoutError(f"cannot preprocess {header.name}; install a C compiler: {done.stderr.strip()}")
    return done.stdout


def read_constants(header: Path) -> dict[str, int]:
    """The integer #defines of a header, in order."""
    pattern = re.compile(r"^#define +([A-Z][A-Z0-9_]*) +(0x[0-9A-Fa-f]+|[0-9]+)\b", re.MULTILINE)
    return {name: int(value, 0) for name, value in pattern.findall(header.read_text())}


def read_reasons() -> tuple[tuple[int, str, str], ...]:
    """The lines of reasons.h; numbers must count up from 0."""
    pattern = re.compile(r'X\((\d+), ([A-Z_]+), "([^"]*)"\)')
    found = pattern.findall((HERE / "reasons.h").read_text())
    reasons = tuple((int(number), name, text) for number, name, text in found)
    if [number for number, _, _ in reasons] != list(range(len(reasons))):
        raise LayoutError("reasons.h: number the lines 0, 1, 2 …; never reuse or skip a number")
    return reasons


def _constant(node: c_ast.Node | None, what: str) -> int:
    if isinstance(node, c_ast.Constant):
        return int(node.value, 0)
    raise LayoutError(f"{what}: write a plain number")


def _enum(node: c_ast.Enum) -> dict[str, int]:
    members = node.values.enumerators
    return {member.name: _constant(member.value, f"enum {node.name} {member.name}") for member in members}


def _member_type(node: c_ast.Node, where: str, structs: dict[str, Struct]) -> tuple[str, int, int, int]:
    """Kind, count, size of one element, alignment."""
    count = 1
    if isinstance(node, c_ast.ArrayDecl):
        count = _constant(node.dim, where)
        node = node.type
    if isinstance(node, c_ast.TypeDecl):
        inner = node.type
        if isinstance(inner, c_ast.IdentifierType) and len(inner.names) == 1 and inner.names[0] in SCALARS:
            size = SCALARS[inner.names[0]][0]
            return inner.names[0], count, size, size
        if isinstance(inner, c_ast.Struct) and inner.name in structs:
            return f"struct {inner.name}", count, structs[inner.name].size, structs[inner.name].alignment
    raise LayoutError(f"{where}: only fixed-width integers, char arrays and structs above it are allowed")


def _struct(node: c_ast.Struct, structs: dict[str, Struct]) -> Struct:
    fields: list[Field] = []
    offset = 0
    alignment = 1
    for member in node.decls:
        where = f"struct {node.name}.{member.name}"
        if member.bitsize is not None:
            raise LayoutError(f"{where}: no bit-fields")
        kind, count, size, align = _member_type(member.type, where, structs)
        if offset % align:
            raise LayoutError(f"{where}: offset {offset} leaves a hole; name the padding before it")
        fields.append(Field(member.name, kind, count, offset, size * count))
        offset += size * count
        alignment = max(alignment, align)
    if offset % alignment:
        raise LayoutError(f"struct {node.name}: its end leaves a hole; name the padding")
    return Struct(node.name, tuple(fields), offset, alignment)


def read_layout() -> Layout:
    """Parses protocol.h and reasons.h strictly."""
    source = preprocess(HERE / "protocol.h")
    typedefs = "".join(f"typedef long {name};" for name in SCALARS if name != "char")
    structs: dict[str, Struct] = {}
    enums: dict[str, dict[str, int]] = {}
    for node in c_parser.CParser().parse(typedefs + source).ext:
        declared = node.type if isinstance(node, c_ast.Decl) else None
        if isinstance(declared, c_ast.Enum):
            enums[declared.name] = _enum(declared)
        elif isinstance(declared, c_ast.Struct):
            structs[declared.name] = _struct(declared, structs)
        elif not isinstance(node, c_ast.Typedef):
            raise LayoutError(f"protocol.h: only structs and enums are allowed, not {type(node).__name__}")
    constants = read_constants(HERE / "protocol.h")
    return Layout(constants["PROTOCOL_VERSION"], structs, enums, constants, read_reasons())


# ---- layout.h ------------------------------------------------------------------------------------


def layout_header(layout: Layout) -> str:
    """The text of layout.h."""
    lines = [
        "/* Written by gen.py from protocol.h; do not edit. */",
        "#ifndef PURSER_BRIDGE_LAYOUT_H",
        "#define PURSER_BRIDGE_LAYOUT_H",
        "",
        "#include <stddef.h>",
        "",
        '#include "protocol.h"',
        "",
        f"#define PROTOCOL_LAYOUT_HASH 0x{layout.hash():016X}ULL",
        "",
        "#define LAYOUT_AT(type, field, offset) \\",
        '    _Static_assert(offsetof(struct type, field) == (offset), #type "." #field)',
        "",
    ]
    for struct in layout.structs.values():
        lines.append(f'_Static_assert(sizeof(struct {struct.name}) == {struct.size}, "{struct.name}");')
        lines += [f"LAYOUT_AT({struct.name}, {field.name}, {field.offset});" for field in struct.fields]
    lines += ["", "#endif", ""]
    return "\n".join(lines)


# ---- messages.py ---------------------------------------------------------------------------------


def class_name(name: str) -> str:
    """message_new_order becomes MessageNewOrder."""
    return "".join(part.capitalize() for part in name.split("_"))


def enum_prefix(members: dict[str, int]) -> str:
    """The longest common beginning that ends with an underscore."""
    first, last = min(members), max(members)
    same = 0
    while same < len(first) and first[same] == last[same]:
        same += 1
    return first[: first.rfind("_", 0, same) + 1]


def _enum_class(name: str, members: dict[str, int]) -> list[str]:
    prefix = enum_prefix(members)
    lines = [f"class {class_name(name)}(IntEnum):", f'    """enum {name}."""', ""]
    lines += [f"    {member[len(prefix) :]} = {value}" for member, value in members.items()]
    return [*lines, "", ""]


def _code(field: Field) -> str:
    size, code = SCALARS[field.kind]
    if field.name.startswith("reserved"):
        return f"{size * field.count}x"
    if field.kind == "char":
        return f"{field.count}s"
    return code if field.count == 1 else f"{field.count}{code}"


def _record_class(struct: Struct) -> list[str]:
    name = class_name(struct.name)
    shown = [field for field in struct.fields if not field.name.startswith("reserved")]
    layout = "<" + "".join(_code(field) for field in struct.fields)
    lines = [f'_{struct.name.upper()} = Struct("{layout}")', "", ""]
    lines += ["@dataclass(frozen=True, slots=True)", f"class {name}:"]
    lines += [f'    """struct {struct.name}, {struct.size} bytes."""', ""]
    lines += [f"    SIZE: ClassVar[int] = {struct.size}", ""]
    arguments: list[str] = []
    positions: list[str] = []
    at = 0
    for field in shown:
        if field.kind == "char":
            lines.append(f'    {field.name}: str = ""')
            arguments.append(f"_encode(self.{field.name}, {field.count})")
            positions.append(f"_decode(v[{at}])")
            at += 1
        elif field.count == 1:
            lines.append(f"    {field.name}: int = 0")
            arguments.append(f"self.{field.name}")
            positions.append(f"v[{at}]")
            at += 1
        else:
            zeroes = ", ".join(["0"] * field.count)
            kinds = ", ".join(["int"] * field.count)
            lines.append(f"    {field.name}: tuple[{kinds}] = ({zeroes})")
            arguments.append(f"*self.{field.name}")
            positions.append("(" + ", ".join(f"v[{at + i}]" for i in range(field.count)) + ")")
            at += field.count
    lines += ["", "    def pack(self) -> bytes:", '        """The bytes as they lie in C."""']
    lines += [f"        return _{struct.name.upper()}.pack("]
    lines += [f"            {argument}," for argument in arguments]
    lines += ["        )", "", "    @classmethod", f"    def unpack(cls, data: Buffer) -> {name}:"]
    lines += ['        """Reads exactly SIZE bytes; struct.error otherwise."""']
    lines += [f"        v = _{struct.name.upper()}.unpack(data)", "        return cls("]
    lines += [f"            {position}," for position in positions]
    return [*lines, "        )", "", ""]


HEADER = '''"""Written by gen.py from protocol.h and reasons.h; do not edit.

Typed records of the bridge's flat structs: pack() gives the bytes as they lie in C, unpack() reads them.
Units are in the names, as protocol.h explains. Text is NUL-padded UTF-8: pack() cuts it at the field's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import ClassVar

Buffer = bytes | bytearray | memoryview


def _encode(text: str, size: int) -> bytes:
    data = text.encode()
    return data if len(data) <= size else data[:size].decode(errors="ignore").encode()


def _decode(data: bytes) -> str:
    return data.split(b"\\0", 1)[0].decode(errors="replace")


'''


def messages_module(layout: Layout) -> str:
    """The text of messages.py."""
    lines = [HEADER.rstrip("\n"), "", ""]
    lines += [f"{name} = {value}" for name, value in layout.constants.items()]
    lines += [f"LAYOUT_HASH = 0x{layout.hash():016X}", "", ""]
    for name, members in layout.enums.items():
        lines += _enum_class(name, members)
    lines += ["class RejectReason(IntEnum):", '    """enum reject_reason, from reasons.h."""', ""]
    lines += [f"    {name} = {number}" for number, name, _ in layout.reasons]
    lines += ["", "    @property", "    def text(self) -> str:", '        """The sentence for people."""']
    lines += ["        return _REASON_TEXTS[self]", "", "", "_REASON_TEXTS = {"]
    lines += [f'    RejectReason.{name}: "{text}",' for _, name, text in layout.reasons]
    lines += ["}", "", ""]
    flat = [struct for struct in layout.structs.values() if struct.name not in NOT_FLAT]
    for struct in flat:
        lines += _record_class(struct)
    bodies = [(m, m.replace("MESSAGE_", "message_").lower()) for m in layout.enums["message_kind"]]
    names = [class_name(struct) for _, struct in bodies]
    lines += ["Message = ("] + [f"    {'| ' if i else ''}{name}" for i, name in enumerate(names)] + [")", ""]
    lines += ["BODIES: dict[int, type[Message]] = {"]
    lines += [f"    MessageKind.{m[8:]}: {class_name(s)}," for m, s in bodies]
    lines += ["}", "KINDS: dict[type[Message], MessageKind] = {"]
    lines += [f"    {class_name(s)}: MessageKind.{m[8:]}," for m, s in bodies]
    return "\n".join([*lines, "}", ""])


# ---- layout.lock ---------------------------------------------------------------------------------


def lock_text(layout: Layout, recorded: str) -> str:
    """The lock with this version's line added; a known version must keep its hash."""
    versions = dict(line.split() for line in recorded.splitlines() if line)
    mine = f"0x{layout.hash():016X}"
    if versions.setdefault(str(layout.version), mine) != mine:
        raise LayoutError(
            f"protocol.h changed but PROTOCOL_VERSION is still {layout.version}: "
            f"raise it to {layout.version + 1} and run `python bridge/gen.py`"
        )
    ordered = sorted(versions.items(), key=lambda item: int(item[0]))
    return "".join(f"{version} {value}\n" for version, value in ordered)


def main() -> int:
    """Command line; 0 ok, 1 stale or broken."""
    arguments = argparse.ArgumentParser(description="Write the files derived from protocol.h and reasons.h.")
    arguments.add_argument("--check", action="store_true", help="change nothing; fail when a file is stale")
    check = arguments.parse_args().check
    lock = HERE / "layout.lock"
    try:
        layout = read_layout()
        texts = {
            lock: lock_text(layout, lock.read_text() if lock.exists() else ""),
            HERE / "layout.h": layout_header(layout),
            HERE / "messages.py": messages_module(layout),
        }
    except LayoutError as error:
        print(f"gen: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        names = ", ".join(path.name for path in stale)
        print(f"gen: {names} not current; run `python bridge/gen.py` and commit the result", file=sys.stderr)
        return 1
    for path in stale:
        path.write_text(texts[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
