# SPDX-License-Identifier: GPL-2.0-only
"""What is made of a kernel when it is first used: its attributes, from the modules behind them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rumpel.kernel import Kernel

__all__ = ["PARTS"]


def _part_os(kernel: Kernel) -> Any:
    from rumpel.os import Os

    return Os(kernel._native)


def _part_io(kernel: Kernel) -> Any:
    from rumpel.io import io_module

    return io_module(kernel.os)


def _part_open(kernel: Kernel) -> Any:
    return kernel.io.open


def _part_fcntl(kernel: Kernel) -> Any:
    from rumpel.fcntl import FcntlModule

    return FcntlModule(kernel.os)


def _part_pathlib(kernel: Kernel) -> Any:
    from rumpel.path import pathlib_module

    return pathlib_module(kernel)


def _part_path(kernel: Kernel) -> Any:
    return kernel.pathlib.Path


def _part_pwd(kernel: Kernel) -> Any:
    return kernel.os._pwd


def _part_grp(kernel: Kernel) -> Any:
    from rumpel.users import grp_module

    return grp_module(kernel.os)


def _swapped(name: str) -> Callable[[Kernel], Any]:
    def part(kernel: Kernel) -> Any:
        from rumpel.modules import module

        return module(kernel, name)

    return part


def _part_socket(kernel: Kernel) -> Any:
    from rumpel.socket import SocketModule

    return SocketModule(kernel.os)


def _part_sysctl(kernel: Kernel) -> Any:
    from rumpel.sysctl import Sysctl

    return Sysctl(kernel.os)


def _part_dm(kernel: Kernel) -> Any:
    from rumpel.devicemapper import DeviceMapper

    return DeviceMapper(kernel)


def _part_mmap(kernel: Kernel) -> Any:
    from rumpel.mmap import MmapModule

    return MmapModule(kernel._native, kernel.os)


def _part_select(kernel: Kernel) -> Any:
    from rumpel.select import SelectModule

    return SelectModule(kernel.os)


def _part_net(kernel: Kernel) -> Any:
    from rumpel.net import Net

    return Net(kernel)


def _part_pyroute2(kernel: Kernel) -> Any:
    from rumpel.net.module import Pyroute2

    return Pyroute2(kernel)


def _part_aio(kernel: Kernel) -> Any:
    from rumpel.aio import Aio

    return Aio(kernel)


def _part_selectors(kernel: Kernel) -> Any:
    from rumpel.swapped import private_copy

    return private_copy("selectors", {"select": kernel.select})


def _part_ssl(kernel: Kernel) -> Any:
    from rumpel.ssl import SslModule

    return SslModule(kernel.socket)


def _part_modules(kernel: Kernel) -> Any:
    from rumpel.imports import Modules

    names = ("socket", "select", "selectors", "ssl", "fcntl")
    return Modules({name: getattr(kernel, name) for name in names}, names[:-1])


PARTS: dict[str, Callable[[Kernel], Any]] = {
    "_modules": _part_modules,
    "aio": _part_aio,
    "os": _part_os,
    "io": _part_io,
    "open": _part_open,
    "fcntl": _part_fcntl,
    "pathlib": _part_pathlib,
    "Path": _part_path,
    "pwd": _part_pwd,
    "grp": _part_grp,
    "dm": _part_dm,
    "bz2": _swapped("bz2"),
    "glob": _swapped("glob"),
    "gzip": _swapped("gzip"),
    "lzma": _swapped("lzma"),
    "shutil": _swapped("shutil"),
    "tarfile": _swapped("tarfile"),
    "tempfile": _swapped("tempfile"),
    "zipfile": _swapped("zipfile"),
    "socket": _part_socket,
    "mmap": _part_mmap,
    "select": _part_select,
    "selectors": _part_selectors,
    "net": _part_net,
    "pyroute2": _part_pyroute2,
    "ssl": _part_ssl,
    "sysctl": _part_sysctl,
}
