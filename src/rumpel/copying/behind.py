# SPDX-License-Identifier: GPL-2.0-only
"""Files of the host that other threads make, while it is seen what comes next.

To make a file takes the host longer than to say which, and what takes long does not need the
interpreter: so small files are gathered, and made some at a time. What becomes of a directory once
all its files are there waits until they are.
"""

from __future__ import annotations

import os
from _queue import SimpleQueue
from _thread import allocate_lock

from rumpel.threads import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

__all__ = ["Batch", "Behind"]

_FILES, _BYTES = 32, 256 << 10
"""How many files are gathered, and how long they are together."""
_UNDER_WAY = 6
"""Batches; each holds the directories open that its files are in."""
_THREADS = 2


class Batch:
    """Files that are made at once, and what they wait for.

    Attributes:
        told: what the caller has to know of each group of files.
        left: directories that are complete when these files are there.
        made: what :attr:`work` has returned of each group; None if it has failed.
    """

    def __init__(self) -> None:
        self.work: list[Callable[[], Any]] = []
        self.told: list[Any] = []
        self.left: list[Any] = []
        self.made: list[Any] = []
        self.paths: list[str] = []
        self.bytes = 0
        self._done = allocate_lock()
        self._done.acquire()

    def make(self) -> None:
        """Make them."""
        try:
            for each in self.work:
                self.made.append(_attempt(each))
        finally:
            self.made += [None] * (len(self.work) - len(self.made))
            self._done.release()

    def wait(self) -> None:
        """Wait until they are made."""
        with self._done:
            pass


def _attempt(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception:
        return None  # who tries it again will say what is wrong


class Behind:
    """Threads that make files, for one thread that says which.

    Attributes:
        paths: of the files that are not yet known to be there.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self._batch = Batch()
        self._under_way: list[Batch] = []
        self._wanted: SimpleQueue[Batch | None] = SimpleQueue()
        self._threads: list[Thread] = []

    @classmethod
    def if_useful(cls, target_os: Any) -> Behind | None:
        """One, if files are made on the host, and there is a CPU for it."""
        if target_os is not os or len(os.sched_getaffinity(0)) < 2:
            return None
        return cls()

    def add(
        self, paths: Sequence[str], work: Callable[[], Any], told: Any, size: int
    ) -> Iterator[Batch]:
        """Make more files; batches that are done.

        Args:
            paths: of the files, for :attr:`paths`.
            work: makes them.
            told: for :attr:`Batch.told`.
            size: how long they are together.
        """
        batch = self._batch
        batch.work.append(work)
        batch.told.append(told)
        batch.bytes += size
        batch.paths += paths
        self.paths.update(paths)
        if len(batch.paths) >= _FILES or batch.bytes >= _BYTES:
            yield from self._send()

    def leave(self, directory: Any) -> Iterator[Batch] | None:
        """Keep a directory until all files before it are there; None if they are."""
        if not self._under_way and not self._batch.work and not self._batch.left:
            return None
        self._batch.left.append(directory)
        return self._send() if len(self._batch.left) >= _FILES else iter(())

    def _send(self) -> Iterator[Batch]:
        batch, self._batch = self._batch, Batch()
        self._under_way.append(batch)
        if len(self._threads) < _THREADS:
            self._threads.append(Thread(self._run))
        self._wanted.put(batch)
        while len(self._under_way) > _UNDER_WAY:
            yield from self._oldest()

    def _oldest(self) -> Iterator[Batch]:
        batch = self._under_way[0]
        batch.wait()
        yield batch
        # Until now its directories are known to who has to close them.
        del self._under_way[0]
        self.paths.difference_update(batch.paths)

    def finish(self) -> Iterator[Batch]:
        """All batches that are left, in their order."""
        if self._batch.work or self._batch.left:
            yield from self._send()
        while self._under_way:
            yield from self._oldest()

    def _run(self) -> None:
        while (batch := self._wanted.get()) is not None:
            batch.make()

    def close(self) -> list[Any]:
        """End the threads; the directories that are left."""
        for _ in self._threads:
            self._wanted.put(None)
        for thread in self._threads:
            thread.join()
        batches, self._under_way, self._batch = [*self._under_way, self._batch], [], Batch()
        return [directory for batch in batches for directory in batch.left]
