"""Builds c_core._engine, the cffi module (API mode) over libengine and libbridge.

    python c_core/build.py --build-dir build [--output FOLDER]     FOLDER defaults to this file's own

The two archives must have been built there by make. The declarations are made by preprocessing the public
headers with -DPURSER_CDEF, so that the C compiler re-checks every size and offset that Python believes in.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import cffi  # type: ignore[import-untyped]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
HEADERS = (ROOT / "bridge" / "protocol.h", HERE / "include" / "engine.h")
COMPILE_FLAGS = ROOT / "setup" / "compile-flags.sh"
FLAGS = ["-std=c17", "-D_GNU_SOURCE", "-fno-strict-aliasing"]
LIBRARIES = ["ssl", "crypto", "curl", "jansson", "zmq", "z", "pthread", "m"]
CONSTANT = r"^#define +([A-Z][A-Z0-9_]*) +(?:0x[0-9A-Fa-f]+|[0-9]+)\b"
REASONS = "const char *reject_reason_name(int reason);\nconst char *reject_reason_text(int reason);\n"


def declarations() -> str:
    """What cffi reads: the preprocessed headers, and their integer constants by name."""
    include = [argument for header in HEADERS for argument in ("-include", str(header))]
    command = ["cc", "-E", "-P", "-DPURSER_CDEF", *include, "-x", "c", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"build: cannot preprocess the headers; install a C compiler: {done.stderr}")
    names = [name for header in HEADERS for name in re.findall(CONSTANT, header.read_text(), re.MULTILINE)]
    return "".join(f"#define {name} ...\n" for name in names) + done.stdout + REASONS


def machine_flags() -> list[str]:
    """What the Makefile compiles with: OPT from it, or the same choice for this machine."""
    return subprocess.run([COMPILE_FLAGS], capture_output=True, text=True, check=True).stdout.split()


def build(build_dir: Path, folder: Path) -> Path:
    """Compiles in a temporary folder, so that no generated C is left among the sources."""
    archives = [build_dir / name for name in ("libengine.a", "libbridge.a")]
    for archive in archives:
        if not archive.exists():
            raise SystemExit(f"build: {archive} is missing; run: make {archive}")
    builder = cffi.FFI()
    builder.cdef(declarations())
    builder.set_source(
        "c_core._engine",
        "".join(f'#include "{header}"\n' for header in (*HEADERS, ROOT / "bridge" / "reasons.h")),
        extra_compile_args=FLAGS + machine_flags(),
        extra_objects=[str(archive) for archive in archives],
        libraries=LIBRARIES,
    )
    target = folder / ("_engine" + str(sysconfig.get_config_var("EXT_SUFFIX")))
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        made = builder.compile(tmpdir=work)
        # A running process may have the old file mapped: replace it, never write into it.
        fresh = target.with_suffix(f".{os.getpid()}.fresh")
        shutil.copy(made, fresh)
        fresh.replace(target)
    return target


def main() -> None:
    """Parses the command line and builds."""
    parser = argparse.ArgumentParser(description="Builds the c_core._engine module.")
    parser.add_argument("--build-dir", type=Path, default=ROOT / "build", help="where the archives are")
    parser.add_argument("--output", type=Path, default=HERE, help="where the module goes")
    arguments = parser.parse_args()
    build(arguments.build_dir.resolve(), arguments.output.resolve())


if __name__ == "__main__":
    main()
