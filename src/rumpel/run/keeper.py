# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that the processes of a program share: started, and joined (docs/shared.md)."""

from __future__ import annotations

import _socket
import errno
import os
import resource
import struct

from rumpel.errors import BootError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["COUNT", "DEVICES", "KEEPER", "descriptors", "first_fd", "join", "start"]

KEEPER = f"{os.path.dirname(__file__)}/rumpel-shared"  # noqa: PTH120

COUNT = 64
"""Descriptors of a kernel in each of its processes: RUMPEL_SHARED_FDS of rumpel/shared.h."""

DEVICES = 24
"""Networks and disks that a kernel can have: MOST_DEVICES of runtime/shared/options.h."""

TIMEOUT = 20
"""Seconds that who joins waits for the keeper."""

USUAL, AGENTS = 900, 4
_CONTROL = COUNT - 1
"""The last one keeps the kernel alive as long as a process has it."""


def first_fd() -> int:
    """The number from which a new kernel's descriptors are: programs do not use these.

    Raises:
        BootError: if too few open files are allowed, or too many are open.
    """
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    first = min(USUAL, limit - AGENTS - COUNT)
    # Another kernel of this process may have the usual ones.
    while first >= 16 and descriptors(first):
        first -= COUNT
    if first < 16:
        raise BootError("the limit of open files (ulimit -n) is too low for a library kernel")
    return first


def descriptors(first: int) -> list[int]:
    """Which of a kernel's descriptors are open here."""
    return [fd for fd in range(first, first + COUNT) if _is_open(fd)]


def start(image: str, arguments: Iterable[str], pass_fds: Sequence[int] = ()) -> int:
    """Start a keeper: its kernel's descriptors come into this process, to be inherited.

    It is nobody's child, and ends with the last process that has the descriptors.

    Args:
        image: the kernel's.
        arguments: as runtime/shared/options.h has them.
        pass_fds: descriptors that they name.

    Returns:
        The number of the first descriptor.

    Raises:
        BootError: if it does not boot; the text is the keeper's.
    """
    first = first_fd()
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        try:
            child = _spawn(
                [f"control={theirs.fileno()}", f"image={image}", f"fds={first}", *arguments],
                (theirs.fileno(), *pass_fds),
            )
        finally:
            theirs.close()
        try:
            if _receive(ours) != first:
                raise BootError("the keeper's descriptors have other numbers")
        finally:
            os.waitpid(child, 0)
        os.dup2(ours.fileno(), first + _CONTROL, inheritable=True)
    finally:
        ours.close()
    return first


def join(path: str | os.PathLike[str]) -> int:
    """Have the descriptors of a kernel whose keeper listens at `path`.

    Returns:
        The number of the first.

    Raises:
        BootError: if it does not answer.
        OSError: if nobody listens.
    """
    s = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    # As unix(7) has it, a connect waits for a full backlog so long; Python's own limit
    # would make it fail at once.
    s.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, struct.pack("@ll", TIMEOUT, 0))
    try:
        s.connect(os.fspath(path))
        s.settimeout(TIMEOUT)
        return _receive(s)
    except (BlockingIOError, TimeoutError):
        raise BootError(f"the kernel's keeper does not answer at {path}") from None
    finally:
        s.close()


def _spawn(arguments: Sequence[str], fds: Iterable[int]) -> int:
    """The process that is there until the keeper is nobody's child."""
    if not os.path.exists(KEEPER):  # noqa: PTH110
        raise BootError(f"{KEEPER} is missing: rumpel was not installed as a whole")
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_DUP2, null, n) for n in range(3)]
    # dup2 to itself takes the close-on-exec flag away.
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]
    try:
        return os.posix_spawn(
            KEEPER, ["rumpel-shared", "detach=1", *arguments], {}, file_actions=actions, setsid=True
        )
    finally:
        os.close(null)


def _receive(s: _socket.socket) -> int:
    """The descriptors, at their numbers. The first of these."""
    data, ancillary, _, _ = s.recvmsg(COUNT * 4, _socket.CMSG_SPACE(COUNT * 4))
    if not ancillary:
        text = os.fsdecode(data).strip() or "the keeper of the kernel has ended"
        said, found, error = text.removesuffix(")").rpartition(" (error ")
        if found and error.isdigit():
            text = f"{said}: {os.strerror(int(error))}"
        raise BootError(f"no kernel: {text}")
    numbers, received = _integers(data), _integers(ancillary[0][2])
    taken = [n for n in (*numbers, numbers[0] + _CONTROL) if _is_open(n) and n not in received]
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if taken or numbers[0] + COUNT > limit:
        for fd in received:
            os.close(fd)
        raise BootError(
            f"the kernel's descriptors {numbers[0]} to {numbers[0] + COUNT - 1} are taken, "
            "or beyond the limit of open files (ulimit -n)"
        )
    for fd, number in zip(received, numbers, strict=True):
        os.dup2(fd, number, inheritable=True)
        if fd != number:
            os.close(fd)
    _fill(numbers[0])
    return numbers[0]


def _integers(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"{len(packed) // 4}i", packed)


def _fill(first: int) -> None:
    """Have something at the numbers that the kernel does not use: the host shall not give them.

    For a program all of them are none. Where few are allowed some stay free: the kernel opens
    files for a moment in its programs.
    """
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= first + COUNT + AGENTS:
        return
    null = os.open(os.devnull, os.O_PATH | os.O_CLOEXEC)
    for number in range(first, first + COUNT):
        if not _is_open(number):
            os.dup2(null, number, inheritable=True)
    os.close(null)


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except OSError as e:
        if e.errno != errno.EBADF:
            raise
        return False
    return True
