# SPDX-License-Identifier: GPL-2.0-only
"""Kernel parameters: a mapping on /proc/sys."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rumpel.os import Os

__all__ = ["Sysctl"]

_ROOT = "/proc/sys"


class Sysctl(MutableMapping[str, str]):
    """The parameters of a kernel: ``kernel.sysctl``.

    Names are those of sysctl(8): parts are separated by dots. If a part has a dot in it
    (an interface called eth0.5), separate by slashes. Values are text without the
    newline; what is set may also be an integer. Parameters cannot be made or deleted.

    Example:
        >>> k.sysctl["net.ipv4.tcp_congestion_control"] = "bbr"  # doctest: +SKIP
        >>> k.sysctl["net.ipv4.tcp_congestion_control"]  # doctest: +SKIP
        'bbr'
    """

    def __init__(self, os: Os) -> None:
        self._os = os

    def __getitem__(self, name: str) -> str:
        try:
            fd = self._os.open(_path(name), os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            raise KeyError(name) from None
        try:
            parts = []
            while part := self._os.read(fd, 65536):
                parts.append(part)
        except IsADirectoryError:
            raise KeyError(name) from None
        finally:
            self._os.close(fd)
        return b"".join(parts).decode().rstrip("\n")

    def __setitem__(self, name: str, value: str | int) -> None:
        try:
            fd = self._os.open(_path(name), os.O_WRONLY)
        except FileNotFoundError:
            raise KeyError(name) from None
        try:
            self._os.write(fd, f"{value}\n".encode())
        except OSError as error:
            error.filename = _path(name)
            raise
        finally:
            self._os.close(fd)

    def __delitem__(self, name: str) -> None:
        raise TypeError("kernel parameters cannot be deleted")

    def __iter__(self) -> Iterator[str]:
        for here, _, files in self._os.walk(_ROOT):
            prefix = here[len(_ROOT) + 1 :]
            for file in files:
                parts = [*prefix.split("/"), file] if prefix else [file]
                yield ("/" if any("." in p for p in parts) else ".").join(parts)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._os.access(_path(name), os.F_OK)


def _path(name: str) -> str:
    """Find the file of a parameter: the first separator says which one is used.

    Example:
        >>> _path("net.ipv4.conf.eth0/5.forwarding"), _path("kernel/ostype")
        ('/proc/sys/net/ipv4/conf/eth0.5/forwarding', '/proc/sys/kernel/ostype')
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a parameter is text, not {name!r}")
    dot, slash = name.find("."), name.find("/")
    if dot >= 0 and (slash < 0 or dot < slash):
        name = name.translate({ord("."): "/", ord("/"): "."})
    return f"{_ROOT}/{name}"
