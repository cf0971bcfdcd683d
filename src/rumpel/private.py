# SPDX-License-Identifier: GPL-2.0-only
"""The directory of this user for what lives as long as a process.

Source: XDG Base Directory Specification.
"""

from __future__ import annotations

import os

from rumpel.errors import BootError

__all__ = ["directory"]


def directory() -> str:
    """Where sockets and records of this user are; nobody else may look into it.

    Without what takes long to import: each ``rumpel run`` asks.

    Raises:
        BootError: if it belongs to somebody else.
    """
    run = os.environ.get("XDG_RUNTIME_DIR")
    path = f"{run}/rumpel" if run else f"{_for_temporary_files()}/rumpel-{os.getuid()}"
    try:  # noqa: SIM105 (contextlib takes long to import)
        os.mkdir(path, 0o700)  # noqa: PTH102
    except FileExistsError:
        pass
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise BootError(f"{path} is not this user's alone")
    return path


def _for_temporary_files() -> str:
    """As tempfile.gettempdir()."""
    told = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    for path in (*told, "/tmp", "/var/tmp"):
        if path and os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):  # noqa: PTH112
            return os.path.abspath(path)  # noqa: PTH100
    return os.getcwd()  # noqa: PTH109
