# SPDX-License-Identifier: GPL-2.0-only
"""The directory of this user for what lives as long as a process.

Source: XDG Base Directory Specification.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from rumpel.errors import BootError

__all__ = ["directory"]


def directory() -> Path:
    """Where sockets and records of this user are; nobody else may look into it.

    Raises:
        BootError: if it belongs to somebody else.
    """
    run = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(run) / "rumpel" if run else Path(tempfile.gettempdir()) / f"rumpel-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.stat(follow_symlinks=False)
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise BootError(f"{path} is not this user's alone")
    return path
