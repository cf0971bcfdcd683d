# SPDX-License-Identifier: GPL-2.0-only
"""Test modules about networks, with the kernel's ``socket``, ... in place of the host's."""

from __future__ import annotations

import _socket
import contextlib
import io
import os
import socket
import struct
import types
from pathlib import Path
from typing import Any

from test.support import warnings_helper  # type: ignore[import-not-found]

import rumpel
from rumpel.imports import Modules
from rumpel.netlink import Rtnetlink, attribute

NAMES = ("socket", "select", "selectors", "ssl", "fcntl")
# Those whose subject is descriptors: what they open is the kernel's, too.
DESCRIPTORS = ("test_socket", "test_select", "test_poll", "test_epoll", "test_selectors")
# What of os the tests do to descriptors and paths of the kernel.
OS = (
    *("close", "closerange", "dup", "dup2", "fstat", "lseek", "open", "pipe", "pipe2", "read"),
    *("write", "sendfile", "get_blocking", "set_blocking", "get_inheritable", "set_inheritable"),
    *("chdir", "getcwd", "mkdir", "remove", "rmdir", "unlink"),
)


class Mixed:
    """A module of the host with some of its functions replaced."""

    def __init__(self, module: Any, **instead: Any) -> None:
        self.__dict__.update(instead, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def prepare(kernel: rumpel.Kernel, name: str) -> Any:
    """Load a test module for a kernel that has what the tests want.

    Args:
        kernel: just booted.
        name: such as ``test_socket``.
    """
    _can(kernel)
    _rds(kernel)
    kernel.socket.sethostname("localhost")
    instead = {each: getattr(kernel, each) for each in NAMES}
    instead["_socket"] = _constants(kernel)
    # What these servers of tests are made with is imported past the import statement.
    modules: Modules
    instead["test.support.warnings_helper"] = Mixed(
        warnings_helper, import_deprecated=lambda name: modules.load(name)
    )
    if name not in DESCRIPTORS:
        modules = Modules(instead, NAMES)
        return modules.load(f"test.{name}")
    instead["os"] = Mixed(os, **{each: getattr(kernel.os, each) for each in OS})
    instead["shutil"] = kernel.shutil
    instead["tempfile"] = kernel.tempfile
    instead["builtins.open"] = _open(kernel)
    modules = Modules(instead, NAMES)
    tests = modules.load(f"test.{name}")
    if hasattr(tests, "os_helper"):
        tests.os_helper = Mixed(tests.os_helper, unlink=_unlink(kernel))
    # Some make files in the working directory, or open their own source.
    kernel.os.makedirs(str(Path.cwd()))
    kernel.os.chdir(str(Path.cwd()))
    kernel.os.makedirs(str(Path(tests.__file__).parent))
    kernel.open(tests.__file__, "w").close()
    return tests


def _open(kernel: rumpel.Kernel) -> Any:
    def open(file: Any, *args: Any, **keywords: Any) -> Any:
        if file == "/proc/modules":
            # Tests look there for TIPC, which this kernel has without.
            return io.StringIO("tipc 1 0 - Live 0x0\n")
        return kernel.open(file, *args, **keywords)

    return open


def _constants(kernel: rumpel.Kernel) -> Any:
    """What the module in C has: constants, and the class that Python's is made of."""
    module = types.ModuleType("_socket")
    vars(module).update(vars(_socket), socket=kernel.socket.SocketType)
    return module


def _unlink(kernel: rumpel.Kernel) -> Any:
    def unlink(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            kernel.os.unlink(path)

    return unlink


def _can(kernel: rumpel.Kernel) -> None:
    """Make the interface that the tests of CAN want; see SocketCANTest."""
    newlink, create_exclusively = 16, 0x600
    ifname, linkinfo, kind = 3, 18, 1
    payload = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 1, 1) + attribute(ifname, b"vcan0\0")
    payload += attribute(linkinfo, attribute(kind, b"vcan\0"))
    with Rtnetlink(kernel.os) as netlink:
        netlink.request(newlink, create_exclusively, payload, "vcan0")


def _rds(kernel: rumpel.Kernel) -> None:
    """Connect 127.0.0.1 with itself.

    The first message of RDS waits for a connection, and is dropped if its sender closes
    the socket before there is one, as the tests do.
    """
    rds = socket.PF_RDS, socket.SOCK_SEQPACKET
    with kernel.socket.socket(*rds) as a, kernel.socket.socket(*rds) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        a.sendto(b"x", b.getsockname())
        assert b.recv(9) == b"x"
