# SPDX-License-Identifier: GPL-2.0-only
"""Which images are mounted where.

Source: Documentation/filesystems/proc.rst, /proc/pid/mountinfo.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Mounted", "mounts"]


class Mounted(NamedTuple):
    """A mount of an image.

    Attributes:
        directory: where.
        device: its numbers.
        source: the image.
        read_only: may nothing be written?
    """

    directory: str
    device: str
    source: str
    read_only: bool


def mounts() -> Iterator[Mounted]:
    """All that there are, the newest last."""
    with open("/proc/self/mountinfo", "rb") as file:
        table = file.read()
    for line in table.split(b"\n"):
        # Who may mount may call it by any bytes.
        words = line.split(b" ")
        if b"-" not in words:
            continue
        kind, source, options = words[words.index(b"-") + 1 :][:3]
        if kind == b"fuse.rumpel":
            read_only = b"ro" in options.split(b",")
            yield Mounted(_unescaped(words[4]), words[2].decode(), _unescaped(source), read_only)


def _unescaped(text: bytes) -> str:
    """A name of /proc/self/mountinfo, which has octal digits for blanks and the like."""
    return os.fsdecode(re.sub(rb"\\(\d{3})", lambda match: bytes([int(match[1], 8)]), text))
