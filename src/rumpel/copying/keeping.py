# SPDX-License-Identifier: GPL-2.0-only
"""Keeping owners, modes, times and extended attributes of what was made."""

from __future__ import annotations

import errno
import stat

from rumpel.copying import Lost
from rumpel.copying.attributes import Attributes
from rumpel.copying.source import NO_XATTRS, xattr_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["DEFAULT_ACL", "Keeper"]

DEFAULT_ACL, _ACL = "system.posix_acl_default", "system.posix_acl_access"
_REFUSED = (*NO_XATTRS, errno.EINVAL, errno.ENODATA, errno.ENOSPC, errno.E2BIG, errno.EDQUOT)
"""Of an owner, a time or an attribute: what a file system has no way or no room to keep."""


class Keeper:
    """Keeps what there is besides names and content.

    Args:
        os: the module of the side on which it is.
        path: of an item, for messages.
        lost: what could not be kept is added.
    """

    def __init__(self, os: Any, path: Callable[[str], str], lost: list[Lost]) -> None:
        self._os = os
        self._path = path
        self._lost = lost

    def keep(self, fd: int, rel: str, attributes: Attributes, inherits: bool) -> None:
        """Keep owner, mode, extended attributes and times, in an order that keeps all of them."""
        to = self._os
        owned = self._try(rel, "owner", to.fchown, fd, attributes.uid, attributes.gid)
        self._try(rel, "mode", to.fchmod, fd, _mode(attributes.mode, owned))
        if inherits:
            for name in (_ACL, DEFAULT_ACL):
                if name in xattr_names(to, fd):
                    to.removexattr(fd, name)
        for name, value in attributes.xattrs:
            self._try(rel, name, to.setxattr, fd, name, value.encode("latin-1"))
        self.keep_times(fd, rel, attributes)

    def keep_times(self, fd: int, rel: str, attributes: Attributes) -> None:
        """Keep the times alone."""
        times = attributes.atime, attributes.mtime
        self._try(rel, "times", self._os.utime, fd, ns=times)

    def keep_by_name(
        self, at: int | None, name: str, rel: str, attributes: Attributes, is_link: bool
    ) -> None:
        """The same for what cannot be opened."""
        to = self._os
        where: dict[str, Any] = {"dir_fd": at, "follow_symlinks": False}
        owned = self._try(rel, "owner", to.chown, name, attributes.uid, attributes.gid, **where)
        if not is_link:
            self._try(rel, "mode", to.chmod, name, _mode(attributes.mode, owned), dir_fd=at)
        path = self._path(rel)
        for attribute, value in attributes.xattrs:
            data = value.encode("latin-1")
            self._try(rel, attribute, to.setxattr, path, attribute, data, follow_symlinks=False)
        times = attributes.atime, attributes.mtime
        self._try(rel, "times", to.utime, name, ns=times, **where)

    def _try(self, rel: str, what: str, call: Callable[..., Any], *args: Any, **how: Any) -> bool:
        """Try; what is refused is noted."""
        try:
            call(*args, **how)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._lost.append(Lost(self._path(rel), what, error))
            return False
        return True


def _mode(mode: int, owned: bool) -> int:
    """The mode to set: nobody becomes the user of a program that was somebody else's."""
    mode = stat.S_IMODE(mode)
    return mode if owned else mode & ~(stat.S_ISUID | stat.S_ISGID)
