# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that run for programs, by name: others can join them."""

from __future__ import annotations

import _socket
import os
import time

from rumpel.errors import BootError
from rumpel.private import directory
from rumpel.run import keeper
from rumpel.run.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "Instance",
    "Joined",
    "NameTaken",
    "directory",
    "find",
    "instances",
    "name_for",
    "register",
    "remove",
]

_LONGEST_NAME = 64
_RECORD = ".instance"
"""Of a file that says what :class:`Instance` does, as Python writes a dict: without imports."""
_SUN_PATH = 107
"""How many bytes the path of a unix socket may have: unix(7)."""


class NameTaken(BootError):
    """There is an instance of this name."""


class Instance(Record):
    """A kernel that runs.

    Attributes:
        name: unique among those of a user.
        pid: of the program that it was started for.
        program: and what that is.
        version: of Linux.
        started: in seconds since 1970.
        rules: which calls are the kernel's.
        flags: of the agent.
    """

    name: str
    pid: int
    program: list[str]
    version: str
    started: float
    rules: list[str]
    flags: int

    @property
    def socket(self) -> str:
        """Where its keeper listens."""
        return f"{directory()}/{self.name}.socket"

    def join(self) -> Joined:
        """Have its descriptors in this process."""
        try:
            return Joined(self.name, self.rules, self.flags, keeper.join(self.socket))
        except ConnectionRefusedError:
            raise BootError(f"the kernel {self.name} has ended") from None


class Joined:
    """A kernel whose descriptors this process has.

    Args:
        name: of the instance.
        rules: which calls are the kernel's.
        flags: of the agent.
        first: the number from which its descriptors are.

    Attributes:
        fds: these.
    """

    def __init__(self, name: str, rules: list[str], flags: int, first: int) -> None:
        self.name = name
        self.rules = rules
        self.flags = flags
        self.first = first
        self.fds = keeper.descriptors(first)

    def close(self) -> None:
        """Give them back."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()


def name_for(program: str, number: int = 1) -> str:
    """A name for the kernel of a program that this process becomes, or starts.

    Args:
        program: by name or path.
        number: of the kernel, where a process has several.

    Example:
        >>> name_for("/usr/bin/g++").rpartition("-")[0]
        'g__'
    """
    stem = "".join(c if _fits(c) else "_" for c in os.path.basename(program)[:40])  # noqa: PTH119
    stem = stem.lstrip("_.-")
    return f"{stem or 'program'}-{os.getpid()}" + (f"-{number}" if number > 1 else "")


def _fits(character: str) -> bool:
    return character in "_.-" or (character.isascii() and character.isalnum())


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and name[0] not in "_.-" and all(map(_fits, name))


def register(instance: Instance) -> tuple[_socket.socket, list[str]]:
    """Make a name known.

    Returns:
        The socket at which its keeper has to listen, and files to be removed in the end.

    Raises:
        NameTaken: if it is in use.
        ValueError: if it is not fit to be a name, or to be that of a socket where it would lie.
    """
    if not _is_name(instance.name):
        raise ValueError(f"{instance.name!r} is not a name: letters, digits, and _ . - in it")
    if len(os.fsencode(instance.socket)) > _SUN_PATH:
        raise ValueError(
            f"{instance.socket} is too long for a socket: name the kernel, or set XDG_RUNTIME_DIR"
        )
    if _is_alive(instance.socket):
        raise NameTaken(f"there is a kernel {instance.name} already")
    record = f"{directory()}/{instance.name}{_RECORD}"
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    remove([instance.socket])
    try:
        listener.bind(instance.socket)
    except OSError:
        listener.close()
        raise
    try:
        listener.listen(16)
        with open(record, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(repr(instance.values()))
    except BaseException:
        listener.close()
        remove([instance.socket, record])
        raise
    return listener, [instance.socket, record]


def instances() -> Iterator[Instance]:
    """All that run; what others have left behind is removed."""
    from ast import literal_eval

    names = sorted(n.removesuffix(_RECORD) for n in os.listdir(directory()) if n.endswith(_RECORD))
    for name in names:
        record = f"{directory()}/{name}{_RECORD}"
        try:
            with open(record, encoding="utf-8", errors="surrogateescape") as file:
                instance = Instance(**literal_eval(file.read()))
            if _is_alive(instance.socket):
                yield instance
            elif time.time() - os.stat(record).st_mtime > 10:  # noqa: PTH116
                remove([instance.socket, record, f"{directory()}/{name}.resolv"])
        except (FileNotFoundError, ValueError, TypeError, SyntaxError):
            continue


def find(name: str) -> Instance:
    """The instance of this name.

    Raises:
        BootError: if there is none.
    """
    found = next((i for i in instances() if i.name == name), None)
    if found is None:
        raise BootError(f"there is no kernel {name}; rumpel ps lists them")
    return found


def _is_alive(path: str) -> bool:
    s = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        s.setblocking(False)
        s.connect(path)
    except BlockingIOError:
        return True  # somebody listens, and is slow to accept
    except OSError:
        return False
    finally:
        s.close()
    return True


def remove(paths: Iterable[str]) -> None:
    """Remove files, of which some may not be there."""
    for path in paths:
        try:  # noqa: SIM105 (contextlib takes long to import)
            os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            pass
