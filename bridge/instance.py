"""Which Purser this is: the id that client order ids carry; see instance.h for the rules."""

from __future__ import annotations

import errno
import os
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from bridge._bridge import ffi, lib

_ADVICE = {
    errno.ELOOP: "it is a link: move it away",
    errno.EISDIR: "it is no file: move it away",
    errno.EPERM: "it must belong to this user, and nobody else may write it: chmod 600",
    errno.EBUSY: "another process holds the folder: end it and start again",
}


class InstanceError(Exception):
    """The id cannot be read or made; the text says what to do."""


class Fate(IntEnum):
    """What happened to the id: enum instance_fate."""

    KEPT = 0
    MADE = 1
    COPIED = 2
    DAMAGED = 3


class Instance(NamedTuple):
    """`id` as orders carry it, and whether it is a new one."""

    id: int
    fate: Fate

    @property
    def name(self) -> str:
        """Eight hex digits, as every view shows it."""
        return f"{self.id:08x}"


def read_instance(home: Path) -> Instance:
    """The instance id of this home, made when it must be; InstanceError when that cannot be."""
    number, fate = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    code = -lib.instance_read(number, fate, os.fsencode(home))
    if code:
        advice = _ADVICE.get(
            code, "the folder must be writable: it tells this Purser from others on the account"
        )
        raise InstanceError(f"{home / 'instance'}: {os.strerror(code)}; {advice}")
    return Instance(number[0], Fate(fate[0]))
