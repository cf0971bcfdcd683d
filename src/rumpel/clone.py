# SPDX-License-Identifier: GPL-2.0-only
"""Run a function with a private copy of a kernel: in a child process, by fork.

What comes back goes through a pipe: eight bytes with its length, then a pickle.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from rumpel.errors import CloneError, KernelClosed

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["run"]

T = TypeVar("T")

_HEAD = 8
_CHUNK = 1 << 20


def run(
    kernel: Kernel, function: Callable[..., T], args: tuple[Any, ...], timeout: float | None
) -> T:
    """See :meth:`rumpel.Kernel.clone`."""
    limit = None if timeout is None else time.monotonic() + timeout
    # What is in their buffers now would be written by both processes.
    _flush()
    reader, writer = os.pipe()
    try:
        try:
            pid = _fork()
            if not pid:
                os.close(reader)
                _child(kernel, function, args, writer)
        finally:
            os.close(writer)
        data, code = _wait(pid, reader, limit)
    finally:
        os.close(reader)
    if data is None:
        raise CloneError(f"the clone ended without a result: {_how(code)}", code)
    returned, value, trace = pickle.loads(data)
    if returned:
        result: T = value
        return result
    value.add_note(f"In the clone:\n{trace}")
    raise value


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:  # most real-time signals have no names
        return f"signal {-code}"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _fork() -> int:
    """Fork.

    Python warns when a process with threads forks, and sees a kernel's own as well, which
    know of forks. If there are others, its warning stands.
    """
    threading = sys.modules.get("threading")
    names = [t.name for t in threading.enumerate()] if threading else []
    with contextlib.ExitStack() as stack:
        if len([name for name in names if name != "rumpel-log"]) <= 1:
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        return os.fork()


# ---- in the child ----


def _child(
    kernel: Kernel, function: Callable[..., object], args: tuple[Any, ...], writer: int
) -> NoReturn:
    """Nothing of the parent's goes on here: no handlers at exit, no buffers but stdio's."""
    code = 1
    try:
        # An event loop of the parent's would hear of the child's signals.
        signal.set_wakeup_fd(-1)
        try:
            data = pickle.dumps((True, function(kernel, *args), ""))
        except BaseException as error:
            data = _failure(error)
        with contextlib.suppress(KernelClosed):  # the function may have halted it
            kernel._end_log()
        _flush()
        view = memoryview(len(data).to_bytes(_HEAD, "little") + data)
        while view:
            view = view[os.write(writer, view) :]
        code = 0
    finally:
        os._exit(code)


def _failure(error: BaseException) -> bytes:
    """An exception as bytes, or another in place of one that does not come through."""
    trace = "".join(traceback.format_exception(error))
    try:
        data = pickle.dumps((False, error, trace))
        pickle.loads(data)
    except Exception:
        name = type(error).__qualname__
        stand_in = CloneError(f"the clone raised {name}, which cannot be pickled: {error}")
        data = pickle.dumps((False, stand_in, trace))
    return data


# ---- in the parent ----


def _wait(pid: int, reader: int, limit: float | None) -> tuple[bytes | None, int]:
    """Wait for the child, which is gone afterwards, whatever happens.

    Returns:
        What it sent, or None; its exit code, negative for a signal.
    """
    pidfd = os.pidfd_open(pid)
    try:
        try:
            data = _receive(reader, pidfd, limit)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            raise
        finally:
            code = _reap(pid)
    finally:
        os.close(pidfd)
    return data, code


def _reap(pid: int) -> int:
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:  # somebody waits for all children
            return 0
        except KeyboardInterrupt:  # it was killed, or is about to end
            continue


def _receive(reader: int, pidfd: int, limit: float | None) -> bytes | None:
    """Take what the child sends; not to its end, which a grandchild may hold open."""
    got = bytearray()
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    while len(got) < _HEAD or len(got) < _HEAD + int.from_bytes(got[:_HEAD], "little"):
        left = None if limit is None else max(0.0, limit - time.monotonic()) * 1e3
        ready = [fd for fd, _ in poll.poll(left)]
        if not ready:
            raise TimeoutError("the clone did not end in time")
        more = os.read(reader, _CHUNK) if reader in ready else b""
        if not more:
            return None
        got += more
    return bytes(got[_HEAD:])
