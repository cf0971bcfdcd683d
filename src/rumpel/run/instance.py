# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that run for programs, by name: others can join them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rumpel.errors import BootError
from rumpel.private import directory
from rumpel.run import keeper

__all__ = [
    "Instance",
    "Joined",
    "NameTaken",
    "directory",
    "find",
    "instances",
    "name_for",
    "register",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")
_SUN_PATH = 107
"""How many bytes the path of a unix socket may have: unix(7)."""


class NameTaken(BootError):
    """There is an instance of this name."""


@dataclass(frozen=True)
class Instance:
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
    def socket(self) -> Path:
        """Where its keeper listens."""
        return directory() / f"{self.name}.socket"

    def join(self) -> Joined:
        """Have its descriptors in this process."""
        try:
            return Joined(self.name, self.rules, self.flags, keeper.join(self.socket))
        except ConnectionRefusedError:
            raise BootError(f"the kernel {self.name} has ended") from None


@dataclass
class Joined:
    """A kernel whose descriptors this process has.

    Attributes:
        name: of the instance.
        rules: which calls are the kernel's.
        flags: of the agent.
        first: the number from which its descriptors are.
        fds: these.
    """

    name: str
    rules: list[str]
    flags: int
    first: int
    fds: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.fds = keeper.descriptors(self.first)

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
    stem = _NOT_IN_NAMES.sub("_", Path(program).name[:40]).lstrip("_.-")
    return f"{stem or 'program'}-{os.getpid()}" + (f"-{number}" if number > 1 else "")


def register(instance: Instance) -> tuple[socket.socket, list[Path]]:
    """Make a name known.

    Returns:
        The socket at which its keeper has to listen, and files to be removed in the end.

    Raises:
        NameTaken: if it is in use.
        ValueError: if it is not fit to be a name, or to be that of a socket where it would lie.
    """
    if not _NAME.fullmatch(instance.name):
        raise ValueError(f"{instance.name!r} is not a name: letters, digits, and _ . - in it")
    if len(os.fsencode(instance.socket)) > _SUN_PATH:
        raise ValueError(
            f"{instance.socket} is too long for a socket: name the kernel, or set XDG_RUNTIME_DIR"
        )
    if _is_alive(instance.socket):
        raise NameTaken(f"there is a kernel {instance.name} already")
    record = directory() / f"{instance.name}.json"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    instance.socket.unlink(missing_ok=True)
    try:
        listener.bind(os.fspath(instance.socket))
    except OSError:
        listener.close()
        raise
    try:
        listener.listen(16)
        record.write_text(json.dumps(asdict(instance)))
    except BaseException:
        listener.close()
        _remove([instance.socket, record])
        raise
    return listener, [instance.socket, record]


def instances() -> Iterator[Instance]:
    """All that run; what others have left behind is removed."""
    for record in sorted(directory().glob("*.json")):
        with contextlib.suppress(FileNotFoundError, ValueError, TypeError):
            instance = Instance(**json.loads(record.read_text()))
            if _is_alive(instance.socket):
                yield instance
            elif time.time() - record.stat().st_mtime > 10:
                _remove([instance.socket, record, record.with_suffix(".resolv")])


def find(name: str) -> Instance:
    """The instance of this name.

    Raises:
        BootError: if there is none.
    """
    found = next((i for i in instances() if i.name == name), None)
    if found is None:
        raise BootError(f"there is no kernel {name}; rumpel ps lists them")
    return found


def _is_alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.setblocking(False)
        try:
            s.connect(os.fspath(path))
        except BlockingIOError:
            return True  # somebody listens, and is slow to accept
        except OSError:
            return False
    return True


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
