"""No memory image of a process that holds keys, whatever it dies of."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """Limits core dumps of this process and of all that it starts to one byte: too little for any file,
    and the one value at which Linux does not feed a core to a crash collector's pipe either, which a
    limit of 0 would not stop (fs/coredump.c). The hard limit too, so that nothing can lift it again.

    The process stays "dumpable" in the sense of prctl(2): `control kill` finds its processes by their
    environment in /proc, which the kernel shows of dumpable ones only."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard != 0:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
