# SPDX-License-Identifier: GPL-2.0-only
"""Where snapshots are: kernels as they are after a boot, so that the next one need not boot.

The runtime makes and checks them (``runtime/snapshot.h``); here they get names, and the oldest
ones go. Every boot asks, so nothing is imported.
"""

from __future__ import annotations

import os

from rumpel.build import roots

__all__ = ["snapshot_file"]

MOST = 24
"""Files that are kept: one has 3 to 30 MB, most of them 11 or 19."""


def snapshot_file(image: str, memory: int, runtime: str, cache: str | None = None) -> str | None:
    """The name that snapshots of an image begin with.

    Args:
        image: path of a kernel image.
        memory: of the kernel, in bytes.
        runtime: the file whose code starts the kernel: what another version of it has saved
            is of no use.
        cache: where what is built is kept; this process's cache by default.

    Returns:
        A path, to which the runtime adds ``.0``, ``.1``, ...; or None: there is no place for
        files of this user's.
    """
    cache = cache or roots.cache_root()
    directory = f"{cache}/snapshots"
    try:
        name = f"{_which(image)}-{_which(runtime)}-{memory >> 10}k"
        # No home directory is made for it.
        if os.path.isdir(os.path.dirname(cache)):  # noqa: PTH112, PTH120
            os.makedirs(directory, 0o700, exist_ok=True)  # noqa: PTH103
        if not _is_own(directory):
            return None
        if not os.path.exists(f"{directory}/{name}.0"):  # noqa: PTH110
            _make_room(directory)
    except OSError:
        return None
    return f"{directory}/{name}"


def _is_own(directory: str) -> bool:
    """Can nobody else put a file there?

    The runtime looks at the owner of each, but where all others seem to be the same one: a
    sandbox is in a user namespace then, unless this is root.
    """
    user = os.geteuid()
    st = os.stat(directory)  # noqa: PTH116 - every start imports this, without pathlib
    return not user or (st.st_uid == user and not st.st_mode & 0o022)


def _which(path: str) -> str:
    st = os.stat(path)  # noqa: PTH116 - likewise
    return f"{st.st_ino:x}.{st.st_mtime_ns:x}"


def _make_room(directory: str) -> None:
    """Remove the oldest: nobody who has one is disturbed by that."""
    with os.scandir(directory) as entries:
        files = sorted((entry.stat().st_mtime, entry.path) for entry in entries)
    for _, path in files[: -MOST + 1]:
        os.unlink(path)  # noqa: PTH108
