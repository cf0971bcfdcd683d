# SPDX-License-Identifier: GPL-2.0-only
"""``kernel.os``: who the caller is. Source: credentials(7).

A kernel has credentials for each thread; these functions change those of the calling
thread only. The C library, and so the module :mod:`os`, changes all threads of a process.
"""

from __future__ import annotations

import _operator as operator
import _struct as struct

from rumpel.os.base import NUMBERS, VOID, Base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rumpel import _native


class Identity(Base):
    """Functions of :mod:`os` on user and group ids."""

    getuid: Callable[[], int]
    geteuid: Callable[[], int]
    getgid: Callable[[], int]
    getegid: Callable[[], int]
    setuid: Callable[[int], None]
    setgid: Callable[[int], None]
    setreuid: Callable[[int, int], None]
    setregid: Callable[[int, int], None]
    setresuid: Callable[[int, int, int], None]
    setresgid: Callable[[int, int, int], None]

    def __init__(self, native: _native.Kernel) -> None:
        super().__init__(native)
        for name in ("getuid", "geteuid", "getgid", "getegid"):
            setattr(self, name, self._bind(name, flags=NUMBERS))
        for name in ("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid"):
            setattr(self, name, self._bind(name, flags=VOID | NUMBERS))

    def seteuid(self, euid: int, /) -> None:
        """Set the effective user id."""
        self.setresuid(-1, euid, -1)

    def setegid(self, egid: int, /) -> None:
        """Set the effective group id."""
        self.setresgid(-1, egid, -1)

    def getresuid(self) -> tuple[int, int, int]:
        """The real, effective and saved user ids."""
        return self._triple("getresuid")

    def getresgid(self) -> tuple[int, int, int]:
        """The real, effective and saved group ids."""
        return self._triple("getresgid")

    def _triple(self, name: str) -> tuple[int, int, int]:
        ids = bytearray(4), bytearray(4), bytearray(4)
        self._call(name)(*ids)
        real, effective, saved = (int.from_bytes(i, "little") for i in ids)
        return real, effective, saved

    def getgroups(self) -> list[int]:
        """Supplementary groups."""
        call = self._call("getgroups")
        count = call(0, None)
        buffer = bytearray(4 * count)
        count = call(count, buffer)
        return list(struct.unpack(f"{count}I", buffer[: 4 * count]))

    def setgroups(self, groups: Sequence[int], /) -> None:
        """Set the supplementary groups."""
        ids = [operator.index(group) for group in groups]
        if ids and not 0 <= min(ids) <= max(ids) < 1 << 32:
            raise OverflowError("a group id does not fit in 32 bits")
        self._call("setgroups", VOID)(len(ids), struct.pack(f"{len(ids)}I", *ids))

    def getgrouplist(self, user: str, group: int, /) -> list[int]:
        """The groups of a user, as the kernel's /etc/group says, and ``group``."""
        from rumpel.users import groups

        found = [row.gr_gid for row in groups(self) if user in row.gr_mem]
        return [group, *(gid for gid in found if gid != group)]

    def initgroups(self, username: str, gid: int, /) -> None:
        """Set the supplementary groups to those of a user."""
        self.setgroups(self.getgrouplist(username, gid))
