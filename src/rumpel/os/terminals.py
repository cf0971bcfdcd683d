# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: terminals and pseudo terminals. Source: ioctl_tty(2), pts(4)."""

from __future__ import annotations

import _struct as struct
import os

from rumpel.os.base import AT_FDCWD, NUMBERS, Base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel import _native

_TCGETS, _TIOCGPGRP, _TIOCSPGRP, _TIOCGWINSZ = 0x5401, 0x540F, 0x5410, 0x5413
_TIOCGPTN, _TIOCSPTLCK = 0x80045430, 0x40045431
_TERMIOS = 60


class Terminals(Base):
    """Functions of :mod:`os` on terminals."""

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        self._ioctl = self._bind("ioctl")
        self._readlink = self._bind("readlinkat", paths=2)
        self._openpt = self._bind("openat", paths=2, flags=NUMBERS)
        self._closept = self._bind("close", flags=NUMBERS)

    def isatty(self, fd: int, /) -> bool:
        """Is it a terminal?"""
        try:
            self._ioctl(fd, _TCGETS, bytearray(_TERMIOS))
        except OSError:
            return False
        return True

    def ttyname(self, fd: int, /) -> str:
        """The path of a terminal."""
        self._ioctl(fd, _TCGETS, bytearray(_TERMIOS))
        buffer = bytearray(4096)
        size = self._readlink(AT_FDCWD, f"/proc/self/fd/{fd}", buffer, len(buffer))
        return os.fsdecode(bytes(buffer[:size]))

    def get_terminal_size(self, fd: int = 1, /) -> os.terminal_size:
        """Columns and lines."""
        size = bytearray(8)
        self._ioctl(fd, _TIOCGWINSZ, size)
        lines, columns = struct.unpack_from("HH", size)
        return os.terminal_size((columns, lines))

    def device_encoding(self, fd: int) -> str | None:
        """The encoding of a terminal; None for what is none."""
        if not self.isatty(fd):
            return None
        import locale  # which takes as long to import as all else here

        return locale.getencoding()

    def tcgetpgrp(self, fd: int, /) -> int:
        """The process group in the foreground."""
        return self._int(fd, _TIOCGPGRP)

    def tcsetpgrp(self, fd: int, pgid: int, /) -> None:
        """Bring a process group to the foreground."""
        self._ioctl(fd, _TIOCSPGRP, struct.pack("i", pgid))

    def posix_openpt(self, oflag: int, /) -> int:
        """Make a pseudo terminal; /dev/pts has to be mounted."""
        return self._openpt(AT_FDCWD, "/dev/ptmx", oflag | os.O_CLOEXEC)  # type: ignore[no-any-return]

    def grantpt(self, fd: int, /) -> None:
        """Nothing is left to do: the kernel makes the other side with the right owner."""
        self._int(fd, _TIOCGPTN)

    def unlockpt(self, fd: int, /) -> None:
        """Let the other side be opened."""
        self._ioctl(fd, _TIOCSPTLCK, struct.pack("i", 0))

    def ptsname(self, fd: int, /) -> str:
        """The path of the other side."""
        return f"/dev/pts/{self._int(fd, _TIOCGPTN)}"

    def openpty(self) -> tuple[int, int]:
        """Make a pseudo terminal and open both sides."""
        master = self.posix_openpt(os.O_RDWR | os.O_NOCTTY)
        try:
            self.unlockpt(master)
            flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
            return master, self._openpt(AT_FDCWD, self.ptsname(master), flags)
        except OSError:
            self._closept(master)
            raise

    def _int(self, fd: int, request: int) -> int:
        value = bytearray(4)
        self._ioctl(fd, request, value)
        return int.from_bytes(value, "little", signed=True)
