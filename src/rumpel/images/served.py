# SPDX-License-Identifier: GPL-2.0-only
"""Images that somebody else reads for the kernel, which speaks NBD with him.

So a kernel in a sandbox has no more of such an image than a socket, whoever reads it: a program,
a process of ours, or a thread of this one.
"""

from __future__ import annotations

import _socket
import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from typing import Any

from rumpel import nbd
from rumpel.images.errors import ImageError, redacted
from rumpel.sandbox.disks import DiskSpec
from rumpel.sandbox.process import outwait
from rumpel.sandbox.spawn import KEEP

__all__ = ["Served", "ServedByProgram", "ServedByThread"]

_PATIENCE = 60.0
"""Seconds that a program may take to write all and end."""


class Served:
    """An image that is served.

    Args:
        name: of the image, for messages.
        connection: to the server, after the handshake.
        size: in bytes.
        flags: the transmission flags.
        format: of the image, as QEMU names it.
        path: of its file; None if it has none.

    Attributes:
        flags: as said.
    """

    def __init__(
        self,
        name: str,
        connection: _socket.socket,
        size: int,
        flags: int,
        format: str = "raw",
        path: str | None = None,
    ) -> None:
        self.name = name
        self.connection = connection
        self._parent = os.getpid()
        self.size = size
        self.flags = flags
        self._spec = DiskSpec(path or "", served=(-1, size, flags, format))

    def spec(self, fd: int, overlay: bool, file: str | None) -> DiskSpec:
        """The disk.

        Args:
            fd: the connection's, where the kernel is.
            overlay: see :class:`DiskSpec`.
            file: the same.
        """
        assert self._spec.served
        served = (fd, *self._spec.served[1:])
        return self._spec._replace(served=served, overlay=overlay, file=file)

    def trouble(self) -> str:
        """Why requests have failed, if they have."""
        return ""

    def close(self) -> None:
        """Hang up, and wait until all is written.

        Raises:
            ImageError: if not all could be.
        """
        if self.ours:
            with contextlib.suppress(OSError):
                self.connection.shutdown(_socket.SHUT_RDWR)
        self.connection.close()

    @property
    def ours(self) -> bool:
        """Is it this process that had it served? A forked one only has the descriptors."""
        return self._parent == os.getpid()


class ServedByThread(Served):
    """What a Python object has.

    Args:
        name: of the image, for messages.
        backend: see :class:`rumpel.DiskBackend`.
        size: in bytes.
        read_only: refuse writes.
        closes: what is let go at the end.
    """

    def __init__(
        self, name: str, backend: Any, size: int, read_only: bool, closes: contextlib.ExitStack
    ) -> None:
        ours, theirs = _socket.socketpair()
        super().__init__(name, ours, size, nbd.flags_of(backend, read_only))
        self._backend = backend
        self._error: Exception | None = None
        self._closes = closes
        self._thread = threading.Thread(
            target=self._run, args=(theirs, size, read_only), name="rumpel-image", daemon=True
        )
        self._thread.start()

    def _run(self, connection: _socket.socket, size: int, read_only: bool) -> None:
        nbd.serve(connection, self._backend, size, read_only, self._failed)
        connection.close()

    def _failed(self, error: Exception) -> None:
        self._error = error

    def trouble(self) -> str:
        """The last exception."""
        error = self._error
        if error is None:
            return ""
        name = type(error).__name__
        return f"{name}: {redacted(str(error))}" if str(error) else name

    def close(self) -> None:
        """Hang up, and wait for what is being read or written."""
        super().close()
        if not self.ours:
            return
        # An interpreter that ends has no more threads; they are daemons.
        self._thread.join()
        self._closes.close()


class ServedByProgram(Served):
    """What a program has that listens on a unix socket, its descriptor 3.

    The program has one connection, and ends when that ends: with the kernel, whether this
    process lives or not.

    Args:
        name: of the image, for messages.
        args: the program and its arguments.
        keep: descriptors that it holds open, such as those with locks; they are closed here.
        format: of the image, as QEMU names it.
        path: of its file.
        program: what messages call it; by default its name.

    Raises:
        ImageError: if it ends before it serves.
    """

    def __init__(
        self,
        name: str,
        args: Sequence[str],
        keep: Sequence[int] = (),
        format: str = "raw",
        path: str | None = None,
        program: str = "",
    ) -> None:
        self._program = program or os.path.basename(args[0])  # noqa: PTH119
        self._said = os.memfd_create("rumpel-said", os.MFD_CLOEXEC)
        self._pid = 0
        listener, connection = _pair()
        try:
            self._pid = self._spawn(args, listener, keep)
            listener.close()
            size, flags = nbd.handshake(connection)
        except (EOFError, OSError) as error:
            connection.close()
            self._wait()
            raise ImageError(name, f"{self._program}: {self._last_words() or error}") from None
        except BaseException:
            connection.close()
            self._kill()
            raise
        finally:
            listener.close()
        super().__init__(name, connection, size, flags, format, path)

    def _spawn(self, args: Sequence[str], listener: _socket.socket, keep: Sequence[int]) -> int:
        import fcntl

        spare = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (listener.fileno(), *keep)]
        try:
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, self._said, 2),
                *((os.POSIX_SPAWN_DUP2, fd, 3 + at) for at, fd in enumerate(spare)),
            ]
            env = {name: os.environ[name] for name in KEEP if name in os.environ}
            env |= {"PATH": os.defpath, "LC_ALL": "C", "LISTEN_FDS": "1"}
            # A terminal's Ctrl-C is ours to deal with.
            return os.posix_spawn(args[0], list(args), env, file_actions=actions, setpgroup=0)
        finally:
            for fd in spare:
                os.close(fd)

    def _last_words(self) -> str:
        said = os.pread(self._said, 1 << 16, 0).decode(errors="replace").strip().splitlines()
        return said[-1].removeprefix(f"{self._program}: ") if said else ""

    def trouble(self) -> str:
        """What it has said last."""
        said = self._last_words()
        return f"{self._program}: {said}" if said else ""

    def _kill(self) -> None:
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._wait()

    def _wait(self) -> int:
        """Its exit status; at most once."""
        pid, self._pid = self._pid, 0
        status = 0
        if pid:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                try:
                    outwait(pidfd, _PATIENCE)
                finally:
                    os.close(pidfd)
                    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status

    def close(self) -> None:
        """Hang up, and wait until it has written all."""
        super().close()
        if not self.ours:
            return
        status = self._wait()
        if status:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else "has failed"
            said = self._last_words()
            raise ImageError(self.name, f"{self._program} {how}" + (f": {said}" if said else ""))

    def __del__(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._said)


def _pair() -> tuple[_socket.socket, _socket.socket]:
    """A socket that listens, and one that is connected to it: nobody else can connect."""
    import shutil
    import tempfile

    directory = tempfile.mkdtemp(prefix="rumpel-")
    listener, connection = (_socket.socket(_socket.AF_UNIX) for _ in range(2))
    try:
        listener.bind(f"{directory}/socket")
        listener.listen(1)
        connection.connect(f"{directory}/socket")
    except BaseException:
        listener.close()
        connection.close()
        raise
    finally:
        shutil.rmtree(directory)
    return listener, connection
