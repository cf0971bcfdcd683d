# SPDX-License-Identifier: GPL-2.0-only
"""Reading ahead in a tree: several files at once, for disks and networks that answer slowly.

A tree is read one file after the other, so that it comes in its order. What takes long where
nothing is cached is to wait for each; so threads look at the files that come next and ask for
their content, which is there then.

Source: posix_fadvise(2).
"""

from __future__ import annotations

import os as host
import stat
from _queue import Empty, SimpleQueue

from rumpel.errors import RumpelError
from rumpel.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

__all__ = ["Ahead"]

_WINDOW = 8
"""Files for each thread: more might be forgotten again before they are read."""
_MOST = 4 << 20
"""Of a file's content: the rest is read ahead as files are."""


class Ahead:
    """Threads that look at what will be read.

    Args:
        os: the module of the side on which it is.
        jobs: how many threads.
    """

    def __init__(self, os: Any, jobs: int) -> None:
        self._os = os
        self._wanted: SimpleQueue[str | None] = SimpleQueue()
        self._most = jobs * _WINDOW
        self._asked = 0
        self._coming: list[Iterator[str]] = []
        self._threads = [Thread(self._run) for _ in range(jobs)]

    def enter(self, directory: str, names: Sequence[str]) -> None:
        """These will be read next."""
        self._coming.append(f"{directory}/{name}" for name in names)
        self._ask()

    def passed(self) -> None:
        """One of them was read."""
        self._asked = max(0, self._asked - 1)
        self._ask()

    def _ask(self) -> None:
        while self._asked < self._most and self._coming:
            path = next(self._coming[-1], None)
            if path is None:
                self._coming.pop()
            else:
                self._asked += 1
                self._wanted.put(path)

    def _run(self) -> None:
        while (path := self._wanted.get()) is not None:
            # Whatever is wrong with it, or with its kernel, who reads it will say so.
            try:  # noqa: SIM105 - contextlib takes long to import, here and below
                self._look(path)
            except (OSError, RumpelError):
                pass

    def _look(self, path: str) -> None:
        os = self._os
        status = os.stat(path, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            return
        fd = os.open(path, host.O_RDONLY | host.O_NOFOLLOW | host.O_NONBLOCK)
        try:
            size = min(status.st_size, _MOST)
            os.posix_fadvise(fd, 0, size, host.POSIX_FADV_WILLNEED)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Let the threads end."""
        try:
            while True:
                self._wanted.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()
