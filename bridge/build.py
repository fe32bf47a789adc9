"""Builds bridge._bridge, the cffi module (API mode) over the same C files that the engine links.

    python bridge/build.py [FOLDER]     FOLDER defaults to this file's own

The declarations are made by preprocessing the headers with -DPURSER_CDEF, so the layout is written down once;
the C compiler then checks every size and offset that Python believes in.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import cffi  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
HEADERS = ("protocol.h", "wall_clock.h", "ledger.h", "page.h", "channel.h", "crc32c.h", "instance.h")
COMPILE_FLAGS = HERE.parent / "setup" / "compile-flags.sh"
FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-fno-strict-aliasing"]
CONSTANT = r"^#define +([A-Z][A-Z0-9_]*) +(?:0x[0-9A-Fa-f]+|[0-9]+)\b"
EXTRA = "const char *reject_reason_name(int reason);\nconst char *reject_reason_text(int reason);\n"


def declarations() -> str:
    """What cffi reads: the preprocessed headers, and their integer constants by name."""
    text = ""
    constants = ""
    for header in HEADERS:
        command = ["cc", "-E", "-P", "-DPURSER_CDEF", f"-I{HERE}", str(HERE / header)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"build: cannot preprocess {header}; install a C compiler: {done.stderr}")
        text += done.stdout
        names = re.findall(CONSTANT, (HERE / header).read_text(), re.MULTILINE)
        constants += "".join(f"#define {name} ...\n" for name in names)
    return constants + text + EXTRA


def machine_flags() -> list[str]:
    """What the Makefile compiles with: OPT from it, or the same choice for this machine."""
    return subprocess.run([COMPILE_FLAGS], capture_output=True, text=True, check=True).stdout.split()


def build(folder: Path) -> Path:
    """Compiles in a temporary folder, so that no generated C is left among the sources."""
    builder = cffi.FFI()
    builder.cdef(declarations())
    builder.set_source(
        "bridge._bridge",
        "\n".join(f'#include "{header}"' for header in (*HEADERS, "reasons.h")),
        sources=[str(path) for path in sorted(HERE.glob("*.c"))],
        include_dirs=[str(HERE)],
        extra_compile_args=FLAGS + machine_flags(),
        libraries=["pthread"],
    )
    target = folder / ("_bridge" + str(sysconfig.get_config_var("EXT_SUFFIX")))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        made = builder.compile(tmpdir=work)
        # A running process may have the old file mapped: replace it, never write into it.
        fresh = target.with_suffix(f".{os.getpid()}.fresh")
        shutil.copy(made, fresh)
        fresh.replace(target)
    return target


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE)
