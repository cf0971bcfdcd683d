# SPDX-License-Identifier: GPL-2.0-only
"""The modules :mod:`pwd` and :mod:`grp` for a kernel: what its /etc says about users and groups."""

from __future__ import annotations

import grp
import pwd

from rumpel.swapped import Names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rumpel.os.base import Base

__all__ = ["groups", "grp_module", "pwd_module", "users"]


def _rows(os: Any, path: str) -> Iterator[list[str]]:
    """Lines of a file of fields; none if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
    finally:
        os.close(fd)
    for line in b"".join(parts).decode(errors="surrogateescape").splitlines():
        if line and not line.startswith("#"):
            yield line.split(":")


def users(os: Base) -> list[pwd.struct_passwd]:
    """The users in /etc/passwd."""
    return [
        pwd.struct_passwd((r[0], r[1], int(r[2]), int(r[3]), *r[4:7]))
        for r in _rows(os, "/etc/passwd")
        if len(r) == 7
    ]


def groups(os: Base) -> list[grp.struct_group]:
    """The groups in /etc/group."""
    return [
        grp.struct_group((r[0], r[1], int(r[2]), r[3].split(",") if r[3] else []))
        for r in _rows(os, "/etc/group")
        if len(r) == 4
    ]


def _find(rows: Callable[[], list[Any]], what: str, field: str, key: str) -> Callable[[Any], Any]:
    def find(wanted: Any, /) -> Any:
        for row in rows():
            if getattr(row, field) == wanted:
                return row
        shown = repr(wanted) if isinstance(wanted, str) else wanted
        raise KeyError(f"{what}(): {key} not found: {shown}")

    return find


def pwd_module(os: Base) -> Names:
    """The module :mod:`pwd`."""

    def getpwall() -> list[pwd.struct_passwd]:
        return users(os)

    return Names(
        "rumpel.pwd",
        struct_passwd=pwd.struct_passwd,
        getpwall=getpwall,
        getpwnam=_find(getpwall, "getpwnam", "pw_name", "name"),
        getpwuid=_find(getpwall, "getpwuid", "pw_uid", "uid"),
    )


def grp_module(os: Base) -> Names:
    """The module :mod:`grp`."""

    def getgrall() -> list[grp.struct_group]:
        return groups(os)

    return Names(
        "rumpel.grp",
        struct_group=grp.struct_group,
        getgrall=getgrall,
        getgrnam=_find(getgrall, "getgrnam", "gr_name", "name"),
        getgrgid=_find(getgrall, "getgrgid", "gr_gid", "gid"),
    )
