# SPDX-License-Identifier: GPL-2.0-only
"""What tests of mappings have in common."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from rumpel import Kernel

Boot = Callable[..., Kernel]
PAGE = 4096
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def host(*command: str | Path) -> bytes:
    """The output of a tool of the host."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        check=True,
        env={**os.environ, "PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"},
    ).stdout


def make_file(kernel: Kernel, path: str, content: bytes) -> int:
    """A file with this content, open."""
    fd = kernel.os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    done = 0
    while done < len(content):
        done += kernel.os.write(fd, content[done:])
    return fd
