# SPDX-License-Identifier: GPL-2.0-only
"""Common mistakes: what is said about them, before anything was done."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import math
import os
import re
import socket as host
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rumpel
from rumpel import FdNic, Kernel, KernelClosed, Link, MemoryDisk, PythonNic, Tap, UserNet
from tests.conftest import Boot

NAN = math.nan


def refused(error: type[Exception], message: str, function: Callable[[], Any]) -> None:
    with pytest.raises(error, match=re.escape(message)):
        function()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ('disks must be a list, such as disks=["disk.img"], not', {"disks": "disk.img"}),
        ("disks must be a list", {"disks": Path("disk.img")}),
        ("disks must be a list", {"disks": None}),
        ("disks are paths and disks, not 5", {"disks": [5]}),
        ("nics must be a list, such as nics=[rumpel.UserNet()], not", {"nics": PythonNic()}),
        ("nics are interfaces, such as rumpel.Tap(\"tap0\"), not 'tap0'", {"nics": ["tap0"]}),
        ("nics are interfaces", {"nics": [MemoryDisk("1M")]}),
        ("disks are paths and disks", {"disks": [PythonNic()]}),
        ("devices are such as rumpel.Entropy(), not 1", {"devices": [1]}),
        ("a size is an integer or such as '64M', not 64.5", {"memory": 64.5}),
        ("log must be a function, a logging.Logger", {"log": "file"}),
        ("log must be a function", {"log": True}),
        ("log must be a function", {"log": object()}),
    ],
)
def test_boot_refuses_other_types(message: str, arguments: dict[str, Any]) -> None:
    refused(TypeError, message, lambda: rumpel.boot(**arguments))


def test_boot_refuses_what_takes_no_records() -> None:
    for number in (-1, 9999):
        refused(
            OSError,
            f"log: Bad file descriptor: {number}",
            functools.partial(rumpel.boot, log=number),
        )
    refused(ValueError, "log cannot be standard input", lambda: rumpel.boot(log=0))
    refused(io.UnsupportedOperation, "fileno", lambda: rumpel.boot(log=io.StringIO()))


@pytest.mark.kernel
def test_what_takes_records(boot: Boot) -> None:
    """A descriptor, an open file, a logger, any function."""
    records: list[Any] = []
    logger = logging.Logger("kernel")
    logger.addHandler(logging.NullHandler())
    with tempfile.TemporaryFile() as first, tempfile.TemporaryFile("w+") as second:
        for log in (first.fileno(), second, logger, records.append):
            boot(log=log).halt()
        for file in (first, second):
            assert os.pread(file.fileno(), 1 << 20, 0).count(b"Linux version") == 1
    assert any("Linux version" in record.text for record in records)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "a sector of 512 bytes at least, not 0", lambda: MemoryDisk(0)),
        (ValueError, "a sector of 512 bytes at least, not 100", lambda: MemoryDisk(bytes(100))),
        (TypeError, "not 'NoneType'", lambda: MemoryDisk(None)),  # type: ignore[arg-type]
        (ValueError, "name: 'aaaaaaaaaaaaaaaa' is longer than the 15", lambda: Tap("a" * 16)),
        (ValueError, "is a group's MAC address", lambda: PythonNic(mac="01:00:00:00:00:01")),
        (ValueError, "is nobody's MAC address", lambda: PythonNic(mac="00:00:00:00:00:00")),
        (TypeError, "a descriptor is expected", lambda: FdNic("x")),  # type: ignore[arg-type]
        (TypeError, "a descriptor is expected", lambda: Tap(fd="x")),  # type: ignore[arg-type]
        (TypeError, "a descriptor is expected", lambda: rumpel.Console("x")),  # type: ignore[arg-type]
        (TypeError, "a port is an integer, not 'x'", lambda: UserNet().forward("x")),  # type: ignore[arg-type]
        (ValueError, "Invalid value NaN", lambda: Link(delay=NAN)),
        (TypeError, "must be real number, not str", lambda: Link(delay="1ms")),  # type: ignore[arg-type]
        (OverflowError, "do not fit in 64 bits of nanoseconds", lambda: Link(delay=1e300)),
        (TypeError, "must be real number, not str", lambda: rumpel.VirtualClock("x")),  # type: ignore[arg-type]
    ],
)
def test_devices_say_which_argument(
    error: type[Exception], message: str, make: Callable[[], Any]
) -> None:
    refused(error, message, make)


@pytest.fixture(scope="module")
def shared(tiny_image: str) -> Iterator[Kernel]:
    """A kernel whose state none of these tests changes."""
    with rumpel.boot(image=tiny_image) as kernel:
        yield kernel


@pytest.mark.kernel
def test_plug_and_unplug_take_devices(shared: Kernel) -> None:
    refused(TypeError, "plug() takes a device, not 'x'", lambda: shared.plug("x"))  # type: ignore[arg-type]
    refused(TypeError, "unplug() takes a device, not 5", lambda: shared.unplug(5))  # type: ignore[arg-type]


@pytest.mark.kernel
def test_all_attributes_are_listed(shared: Kernel) -> None:
    """Also those that are made when they are first used; what is private is not."""
    names = dir(shared)
    assert {"os", "socket", "open", "Path", "aio", "net", "sysctl", "halt", "log"} <= {*names}
    assert "_modules" not in names


@pytest.mark.kernel
def test_times_are_the_hosts(shared: Kernel) -> None:
    """NaN, what is too long and what is no number, with the host's exceptions."""
    with shared.socket.socket(host.AF_UNIX) as ours, host.socket(host.AF_UNIX) as theirs:
        values: list[Any] = [NAN, 1e300, -1, "1", -math.inf, math.inf]
        for value in values:
            kinds = []
            for sock in (ours, theirs):
                with pytest.raises((ValueError, TypeError, OverflowError)) as caught:
                    sock.settimeout(value)
                kinds.append(caught.type)
            assert kinds[0] is kinds[1], value
            kinds = []
            for sleep in (shared.sleep, time.sleep):
                with pytest.raises((ValueError, TypeError, OverflowError)) as caught:
                    sleep(value)
                kinds.append(caught.type)
            assert kinds[0] is kinds[1], value
        ours.settimeout(3)


@pytest.mark.kernel
def test_none_is_no_path(shared: Kernel) -> None:
    calls: list[Callable[[Any], Any]] = [
        shared.os.stat,
        shared.os.lstat,
        shared.os.mkdir,
        shared.os.rmdir,
        shared.os.unlink,
        shared.os.chdir,
        shared.os.readlink,
        shared.os.statvfs,
        lambda path: shared.os.open(path, 0),
        lambda path: shared.os.chmod(path, 0o600),
        lambda path: shared.os.chown(path, 0, 0),
        lambda path: shared.os.rename("/none", path),
        lambda path: shared.os.link(path, "/none"),
        lambda path: shared.os.symlink(path, "/none"),
        lambda path: shared.os.truncate(path, 0),
        lambda path: shared.os.utime(path),
        lambda path: shared.os.access(path, 0),
        lambda path: shared.os.mkfifo(path),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(TypeError, match="NoneType"):
            raise AssertionError(f"{number}: {call(None)}")
    assert shared.os.listdir(None) == shared.os.listdir(".")


@pytest.mark.kernel
def test_other_wrong_types(shared: Kernel) -> None:
    refused(TypeError, "the name of a parameter is text, not 5", lambda: shared.sysctl[5])  # type: ignore[index]
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        shared.os.sendfile(1, 2, None, "x")  # type: ignore[arg-type]
    refused(TypeError, "clone() takes a function, not int", lambda: shared.clone(5))  # type: ignore[arg-type]


@pytest.mark.kernel
def test_a_kernel_that_is_gone_is_not_entered(boot: Boot, tiny_image: str) -> None:
    kernel = boot(image=tiny_image)
    kernel.halt()

    def enter() -> None:
        with kernel:
            pass

    async def main() -> None:
        pass

    for use in (enter, lambda: kernel.clone(print), lambda: kernel.aio.run(main())):
        refused(KernelClosed, "the kernel does not run any more: it is halted", use)


@pytest.mark.kernel
@pytest.mark.filterwarnings("error")
def test_a_loop_in_a_loop(shared: Kernel) -> None:
    """One exception, and no warning that the coroutine was never awaited."""

    async def inner() -> None:
        pass

    async def main() -> None:
        refused(RuntimeError, "where an event loop runs", lambda: shared.aio.run(inner()))

    asyncio.run(main())
