# SPDX-License-Identifier: GPL-2.0-only
"""What benchmarks of programs share: namespaces of the host, and a program to run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rumpel.bench.options import Options
from rumpel.errors import RumpelError

__all__ = ["TAP", "background", "namespaces", "need", "on_kernel"]

CLI = [sys.executable, "-c", "from rumpel.cli import program; program()"]
TAP = "tap:tap0,ip=192.0.2.2/24,mtu=1500"
"""What ``--net`` says in the first of the namespaces; the host is 192.0.2.1 there."""
PATIENCE = 20


def on_kernel(options: Options, *more: str) -> list[str]:
    """What stands before a program to run it on a kernel."""
    return [*CLI, "run", "--kernel", options.path(), *more, "--"]


def need(*programs: str) -> None:
    """See that programs are there.

    Raises:
        RumpelError: if one is not.
    """
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for program in programs:
        if not shutil.which(program, path=path):
            raise RumpelError(f"this benchmark needs {program}, see apt.txt")


@contextmanager
def background(arguments: Sequence[str], ready: Callable[[], bool]) -> Iterator[None]:
    """A server that runs meanwhile; ``ready`` says whether it answers."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RumpelError(f"{arguments[-1]} does not start")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()


def _ip(text: str) -> None:
    subprocess.run(["ip", *text.split()], check=True)


@contextmanager
def namespaces() -> Iterator[tuple[list[str], list[str]]]:
    """Two, joined by a veth; the first has a TAP device for the kernel, too."""
    if os.geteuid():
        raise RumpelError("this benchmark makes network namespaces, for which it must be root")
    names = [f"rumpel-bench-{os.getpid()}-{side}" for side in "ab"]
    inside: list[list[str]] = [["ip", "netns", "exec", name] for name in names]
    made: list[str] = []
    try:
        for name in names:
            _ip(f"netns add {name}")
            made.append(name)
        _ip(f"-n {names[0]} link add veth0 type veth peer name veth1 netns {names[1]}")
        for side, name in enumerate(names):
            _ip(f"-n {name} addr add 198.51.100.{side + 1}/24 dev veth{side}")
            _ip(f"-n {name} link set veth{side} up")
        _ip(f"-n {names[0]} tuntap add mode tap tap0")
        _ip(f"-n {names[0]} addr add 192.0.2.1/24 dev tap0")
        _ip(f"-n {names[0]} link set tap0 up")
        yield inside[0], inside[1]
    finally:
        for name in made:
            _ip(f"netns del {name}")
