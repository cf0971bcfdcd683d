# SPDX-License-Identifier: GPL-2.0-only
"""Remember a slow result as long as the files it came from keep their stat."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path

MOST = 64
"""Results that are remembered."""


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash of name, size, inode and change times of files: cheap, and moves on any edit."""
    digest = sha256()
    for path in paths:
        st = path.stat()
        digest.update(
            f"{path}\0{st.st_size}\0{st.st_mtime_ns}\0{st.st_ctime_ns}\0{st.st_ino}\n".encode()
        )
    return digest.hexdigest()


def remember(store: Path, name: str, stamp: str, compute: Callable[[], str]) -> str:
    """Return the value kept under ``name`` if its stamp is the same, else compute and keep it.

    The store is a convenience: if it cannot be read or written, the value is
    computed each time.
    """
    file = store / f"{name}.json"
    with contextlib.suppress(OSError, ValueError):
        kept = json.loads(file.read_text())
        if isinstance(kept, dict) and kept.get("stamp") == stamp and isinstance(kept["value"], str):
            return kept["value"]
    value = compute()
    keep(file, json.dumps({"stamp": stamp, "value": value}))
    return value


def keep(file: Path, text: str) -> None:
    """Write what is remembered, if that can be; what is oldest goes.

    No home directory is made for it: the one above the cache's has to be there.
    """
    store = file.parent
    with contextlib.suppress(OSError):
        if store.parent.parent.parent.is_dir():
            store.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text)
        # Each checkout has its own, and those that were removed have some still.
        oldest_first = sorted((st.st_mtime, path) for path, st in _stats(store))
        for _, path in oldest_first[:-MOST]:
            path.unlink(missing_ok=True)


def _stats(store: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in store.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process's, a moment ago
            yield path, path.stat()


def write_atomic(path: Path, text: str) -> None:
    """Write a small file so that readers see all of it or none."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
