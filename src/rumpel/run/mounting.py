# SPDX-License-Identifier: GPL-2.0-only
"""Mount a device: a program whose calls ``mkdir``, ``mount`` and ``syslog`` are a library kernel's.

    python -I -S mounting.py DEVICE DIRECTORY [TYPE]

It is executed, not imported, and knows nothing of rumpel. See mount(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import sys

_NEED_OPTIONS = ("ufs",)
"""Cannot be tried: there are several kinds, and one has to know."""


def _make(directory: str) -> None:
    path = ""
    for part in directory.strip("/").split("/"):
        path += f"/{part}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)  # noqa: PTH102


def _types() -> list[str]:
    with open("/proc/filesystems") as file:
        rows = [line.split() for line in file]
    return [row[0] for row in rows if len(row) == 1 and row[0] not in _NEED_OPTIONS]


def _mount(device: str, directory: str, types: list[str]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    error = errno.ENODEV
    for kind in types:
        if not libc.mount(*map(os.fsencode, (device, directory, kind)), 0, None):
            return 0
        error = ctypes.get_errno()
        # Those that do not know what is there say EINVAL, and so may the one that does.
        if error != errno.EINVAL:
            break
    return error


def _log() -> str:
    """What the kernel has printed: syslog(2), SYSLOG_ACTION_READ_ALL."""
    buffer = ctypes.create_string_buffer(1 << 20)
    size = ctypes.CDLL(None).klogctl(3, buffer, len(buffer))
    return buffer.raw[: max(size, 0)].decode(errors="replace")


def _text(line: str) -> str:
    """Without the level and the time."""
    return re.sub(r"^<\d+>(\[[^]]*\] *)?", "", line)


def main(device: str, directory: str, *types: str) -> None:
    """Mount it, or say in one line why not."""
    _make(directory)
    before = len(_log())
    error = _mount(device, directory, list(types) or _types())
    if error and not types:
        sys.exit(f"no file system that this Linux knows ({os.strerror(error)})")
    if error:
        said = _log()[before:].splitlines()
        sys.exit("; ".join([os.strerror(error), *(_text(line) for line in said[-1:])]))


if __name__ == "__main__":
    main(*sys.argv[1:])
