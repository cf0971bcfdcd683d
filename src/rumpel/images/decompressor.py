# SPDX-License-Identifier: GPL-2.0-only
"""A process that decompresses an image, and can do nothing else.

Decompressors read what strangers have made. This one has the file, a temporary one and a socket.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from rumpel.images.errors import ImageError
from rumpel.images.locks import lock, open_file
from rumpel.images.served import ServedByProgram

__all__ = ["main", "open_compressed"]

_LISTENER, _FILE, _STORE = 3, 4, 5
_MEMORY = 256 << 20


def open_compressed(path: str, format: str) -> ServedByProgram:
    """Let a process decompress an image.

    Args:
        path: of the image.
        format: ``gzip``, ``xz``, ``zstd`` or ``bzip2``.

    Raises:
        ImageError: if it cannot be decompressed.
        OSError: if it may not be opened, or somebody else writes to it (EBUSY).
    """
    spec = importlib.util.find_spec("zstandard")
    if spec is None or spec.origin is None:
        raise ImageError(path, f"{format} needs zstandard: pip install rumpel[images]")
    import tempfile

    package, library = Path(__file__).resolve().parents[2], Path(spec.origin).parents[1]
    code = (
        f"import sys; sys.path[:0] = [{str(package)!r}]; sys.path.append({str(library)!r});"
        f" from rumpel.images.decompressor import main; main({format!r})"
    )
    fd = open_file(path, True)
    try:
        lock(fd, path, True)
        with tempfile.TemporaryFile(prefix="rumpel-") as store:
            return ServedByProgram(
                path, [sys.executable, "-I", "-S", "-c", code], [fd, store.fileno()],
                format=format, path=path, program="decompressor",
            )  # fmt: skip
    finally:
        os.close(fd)


def main(format: str) -> None:
    """Serve: descriptor 3 listens, 4 is the file, 5 a temporary one."""
    import socket

    from rumpel import nbd
    from rumpel.images.compressed import Compressed
    from rumpel.sandbox import confine, leaving

    with socket.socket(fileno=_LISTENER) as listener:
        connection, _ = listener.accept()
    leave = leaving.prepare()
    length = os.lseek(_FILE, 0, os.SEEK_END)
    confine.confine({"DATA": _MEMORY, "FSIZE": 4 * length + (64 << 20)}, leave)
    try:
        with open(_STORE, "r+b", buffering=0) as store:
            backend = Compressed(
                lambda offset, size: os.pread(_FILE, size, offset), length, format, store
            )
            nbd.greet(connection, backend.size, nbd.flags_of(backend, True))
            nbd.serve(connection, backend, backend.size, True, _failed)
    except (ValueError, OSError, EOFError) as error:
        _failed(error)
        sys.exit(1)


def _failed(error: Exception) -> None:
    """Who has started it reads the last line."""
    print(error, file=sys.stderr)
