# SPDX-License-Identifier: GPL-2.0-only
"""Threads, without the import of :mod:`threading`, which brings functools and collections.

That takes 2 ms, as long as a kernel takes to start.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Flag", "Thread"]


class Thread:
    """A thread that runs a function; the process does not wait for it when it ends.

    Args:
        run: the function. What it raises is printed.

    Example:
        >>> said = []
        >>> Thread(lambda: said.append("hello")).join()
        >>> said
        ['hello']
    """

    def __init__(self, run: Callable[[], object]) -> None:
        self._lives = allocate_lock()
        self._lives.acquire()
        self._what = run
        start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._what()
        finally:
            self._lives.release()

    def join(self) -> None:
        """Wait until it has ended."""
        with self._lives:
            pass


class Flag:
    """Something that becomes true, once and for all, and that a thread waits for.

    Example:
        >>> flag = Flag()
        >>> flag.wait(0.001), flag.set(), flag.wait(1)
        (False, None, True)
    """

    def __init__(self) -> None:
        self._unset = allocate_lock()
        self._unset.acquire()

    def set(self) -> None:
        """Let it be true."""
        try:  # noqa: SIM105 - contextlib takes as long to import as what this avoids
            self._unset.release()
        except RuntimeError:
            pass  # it was

    def wait(self, seconds: float = -1) -> bool:
        """Wait until it is true, or for so many seconds; is it?"""
        if not self._unset.acquire(timeout=seconds):
            return False
        self.set()
        return True
