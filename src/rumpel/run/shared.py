# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that a Python program puts others on: :func:`boot`, ``k.run`` and ``k.popen``."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any

from rumpel.run import instance
from rumpel.run.launch import Options, start
from rumpel.run.popen import Popen, Word

__all__ = ["SharedKernel", "boot", "join"]

PATIENCE = 5.0
"""Seconds that :meth:`SharedKernel.close` waits for a kernel that it does not know to be in use."""


class SharedKernel:
    """A kernel that processes of the host share, this one not among them.

    As a context manager it is closed at the end.

    Attributes:
        name: what ``rumpel exec`` and :func:`join` know it by.
        run: :func:`subprocess.run`, on this kernel: the same arguments, results and exceptions.
    """

    run: Callable[..., subprocess.CompletedProcess[Any]]

    def __init__(self, joined: instance.Joined, *, booted: bool) -> None:
        self.name = joined.name
        self._joined = joined
        self._booted = booted
        self._programs: weakref.WeakSet[Popen] = weakref.WeakSet()
        # Whom this process executes by other ways does not get them.
        for fd in joined.fds:
            os.set_inheritable(fd, False)
        self.run = _with_popen(self.popen)

    def popen(self, args: Word | Sequence[Word], **options: Any) -> Popen:
        """Start a program: :class:`subprocess.Popen`, on this kernel.

        Its sockets are the kernel's, all else is the host's.

        Args:
            args: the program and its arguments.
            options: what :class:`subprocess.Popen` takes, by keyword.

        Raises:
            OSError: if the program cannot be run, as of subprocess.
            KernelClosed: if the kernel is closed.

        Example:
            >>> server = k.popen(["nginx", "-g", "daemon off;"])  # doctest: +SKIP
            >>> k.run(["curl", "-s", "http://127.0.0.1/"], check=True)  # doctest: +SKIP
        """
        program = Popen(self._joined, args, **options)
        self._programs.add(program)
        return program

    def close(self) -> None:
        """Have done with it: it halts as soon as its last program has ended.

        If it was booted here and none of its programs runs any more, it has halted on return,
        and what was written is in its images.
        """
        fds = self._joined.fds
        in_use = not self._booted or any(p.poll() is None for p in self._programs)
        ended = -1 if in_use else _keeper(fds)
        self._joined.close()
        if ended >= 0:
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            poll.poll(PATIENCE * 1000)
            os.close(ended)

    def __enter__(self) -> SharedKernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._joined.fds:
            warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"<SharedKernel {self.name}>"


def boot(options: Options | None = None) -> SharedKernel:
    """Boot a kernel for programs that this one starts.

    It is not in this process, as one of :func:`rumpel.boot` is, and has not its attributes: what
    is to be done on it is done by programs (``k.run(["ip", "addr"])``). How it is reached by
    others, or by a kernel of this process, is a matter of its networks.

    Args:
        options: as of ``rumpel run``.

    Raises:
        BootError: if there is no such kernel.
        OSError: if the host refuses what a network needs.
        ValueError: if an option makes no sense.

    Example:
        >>> with boot(Options(nets=["none"])) as k:  # doctest: +SKIP
        ...     k.run(["ip", "-br", "link"], capture_output=True, text=True).stdout.split()[:2]
        ['lo', 'UNKNOWN']
    """
    program = [sys.argv[0] or "python", *sys.argv[1:]]
    return SharedKernel(start(program, options or Options()), booted=True)


def join(name: str) -> SharedKernel:
    """Have a kernel that runs already, such as one of ``rumpel run --name web``.

    Args:
        name: as ``rumpel ps`` lists it.

    Raises:
        BootError: if there is no such kernel.
    """
    return SharedKernel(instance.find(name).join(), booted=False)


def _with_popen(popen: Callable[..., Popen]) -> Any:
    """The function of the standard library, which makes its process by another name."""
    plain: Any = subprocess.run
    names = {**vars(subprocess), "Popen": popen}
    swapped = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__)
    swapped.__kwdefaults__ = plain.__kwdefaults__
    return swapped


def _keeper(fds: Sequence[int]) -> int:
    """A descriptor that says when the keeper has ended; -1 if there is none."""
    for fd in fds:
        # pidfd_open(2): so its information is told from that of others.
        if "\nPid:\t" in Path(f"/proc/self/fdinfo/{fd}").read_text():
            return os.dup(fd)
    return -1
