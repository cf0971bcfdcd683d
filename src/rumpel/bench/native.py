# SPDX-License-Identifier: GPL-2.0-only
"""The loops in C, compiled when they are first used."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rumpel import _native
from rumpel.bench.measure import Work
from rumpel.bench.options import Options
from rumpel.build.layout import Layout, make_dir
from rumpel.build.snapshots import snapshot_file
from rumpel.errors import BootError, RumpelError

HERE = Path(__file__).parent
MEMORY = 64 << 20
"""Bytes of a kernel: what rumpel_boot() takes by default."""
FLAGS = ["-std=gnu11", "-O2", "-Wall", "-shared", "-fPIC", "-pthread"]


def build(layout: Layout | None = None) -> Path:
    """Compile the loops, unless the cache has them.

    Raises:
        RumpelError: if there is no compiler, or it fails.
        BuildError: if the cache cannot be written.
    """
    layout = layout or Layout()
    include = layout.data / "include"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RumpelError(
            "this benchmark needs a C compiler; to install: sudo apt-get install gcc libc6-dev"
        )
    sources = sorted(HERE.glob("*.c"))
    digest = hashlib.sha256(" ".join((compiler, *FLAGS)).encode())
    for file in (*sources, *sorted(HERE.glob("*.h")), include / "rumpel/rumpel.h"):
        digest.update(file.read_bytes())
    library = make_dir(layout.cache / "bench") / f"{digest.hexdigest()[:16]}.so"
    if not library.exists():
        # Somebody else may be doing the same: the last one's is as good.
        made = library.with_suffix(f".{os.getpid()}")
        command = [compiler, *FLAGS, f"-I{include}", *map(str, sources), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RumpelError(f"the benchmark does not compile: {done.stderr.strip()}")
        made.rename(library)
    return library


def load() -> ctypes.CDLL:
    """Load the loops; the functions of rumpel.h that they call are those of the binding."""
    ctypes.CDLL(_native.__file__, mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(build()))
    library.bench_open.argtypes = [
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_char_p),
    ]
    library.bench_close.argtypes = [ctypes.c_void_p]
    library.bench_close.restype = None
    return library


class Bench:
    """A kernel that the loops in C run on."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library = library
        self._handle = handle

    def sides(self, name: str, size: int = 0) -> tuple[Work, Work]:
        """Work on this kernel, and the same on the host's.

        Args:
            name: a function of ``side.h`` without ``bench_``.
            size: bytes of a round, where that means something.
        """
        function = getattr(self._library, f"bench_{name}")
        function.argtypes = [ctypes.c_void_p, ctypes.c_bool, ctypes.c_long, ctypes.c_long]
        function.restype = ctypes.c_int64

        def side(ours: bool) -> Work:
            def work(rounds: int) -> float:
                ns: int = function(self._handle, ours, rounds, size)
                if ns < 0:
                    raise OSError(-ns, f"{os.strerror(-ns)} (benchmark {name})")
                return ns / 1e9

            return work

        return side(True), side(False)


@contextmanager
def boot(options: Options) -> Iterator[Bench]:
    """Boot a kernel through the C API; it starts from a snapshot as those of Python do.

    Raises:
        BootError: if there is no image or it does not boot.
    """
    path = options.path()
    library = load()
    handle, why = ctypes.c_void_p(), ctypes.c_char_p()
    snapshot = snapshot_file(path, MEMORY, _native.__file__)
    error = library.bench_open(
        os.fsencode(path),
        os.fsencode(snapshot) if snapshot else None,
        ctypes.byref(handle),
        ctypes.byref(why),
    )
    if error:
        reason = why.value.decode() if why.value else os.strerror(-error)
        raise BootError(f"{path} does not boot: {reason}")
    try:
        yield Bench(library, handle)
    finally:
        library.bench_close(handle)
