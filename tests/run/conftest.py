# SPDX-License-Identifier: GPL-2.0-only
"""Programs under the agent, beside the same without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
START = "import sys; from rumpel.run import *; execute(sys.argv[2:], trap=Trap[sys.argv[1]])"
BUILDS = {
    "dynamic": ["gcc"],
    "static": ["gcc", "-static"],
    "static-pie": ["gcc", "-static-pie"],
    "fixed": ["gcc", "-no-pie"],
    "musl": ["musl-gcc", "-static"],
}
"""Kinds of executables, and how they are made."""

PRELUDE = """
up() { until (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null; do sleep 0.05; done; }
over() { kill "$@"; wait "$@" || true; }
"""

CLI = [sys.executable, "-c", "from rumpel.cli import main; main()"]

Done = subprocess.CompletedProcess[str]
Build = Callable[[str, str], Path]


def under(arguments: list[str], trap: str = "AUTO") -> list[str]:
    """The arguments that run a program under the agent."""
    return [sys.executable, "-c", START, trap, *arguments]


def run(arguments: list[str], **options: Any) -> Done:
    """Run a program to its end, without the agent."""
    options = {"timeout": 120, "capture_output": True, "text": True, "check": False} | options
    return subprocess.run(arguments, **options)


def intercepted(arguments: list[str], trap: str = "AUTO", **options: Any) -> Done:
    """Run a program to its end under the agent."""
    return run(under(arguments, trap), **options)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile a program of this directory, by its name and one of BUILDS."""

    def compiled(name: str, kind: str) -> Path:
        output = directory / kind / name
        if not output.exists():
            output.parent.mkdir(exist_ok=True)
            source = HERE / "programs" / f"{name}.c"
            flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
            subprocess.run([*BUILDS[kind], *flags, source, "-o", output], check=True)
        return output

    directory = tmp_path_factory.mktemp("programs")
    return compiled


def installed(program: str) -> str:
    """The path of a program that apt.txt promises."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    assert found, f"{program} is missing, see apt.txt"
    return found


class OnKernel:
    """Programs with a kernel, which ends with them.

    Attributes:
        image: the kernel's.
        environment: of the programs; kernels' names are this test's alone.
    """

    def __init__(self, image: str, directory: Path) -> None:
        self.image = image
        self._names = directory
        self.environment = os.environ | {"XDG_RUNTIME_DIR": str(directory)}

    def arguments(self, *options: str, program: list[str]) -> list[str]:
        """The arguments that run a program."""
        return [*CLI, "run", "--kernel", self.image, *options, "--", *program]

    def run(self, *options: str, program: list[str], **more: Any) -> Done:
        """Run a program to its end."""
        return run(self.arguments(*options, program=program), env=self.environment, **more)

    def sh(self, script: str, *options: str, **more: Any) -> Done:
        """Run a script of the shell, with nothing but the loopback interface by default.

        It has the function ``up PORT``, which waits until somebody listens, and ``over PID``,
        which ends a process.
        """
        shell = ["/bin/bash", "-euc", PRELUDE + script]
        return self.run(*(options or ("--net", "none")), program=shell, **more)

    @contextmanager
    def start(self, *options: str, program: list[str], **more: Any) -> Iterator[Any]:
        """A program in the background, which is killed in the end."""
        process = subprocess.Popen(
            self.arguments(*options, program=program),
            env=self.environment,
            start_new_session=True,
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | more,
        )
        with process:
            try:
                yield process
            finally:
                kill_session(process.pid)

    def is_over(self) -> bool:
        """Has every kernel ended? They take their names with them."""
        return not any(self._names.glob("rumpel/*"))


def kill_session(leader: int) -> None:
    """End all processes of a session."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader:
                os.kill(int(entry.name), 9)
        except ProcessLookupError:
            pass


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Look until it is true, or time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def listens(path: Path) -> bool:
    """Does somebody listen at a unix socket? It has its name before that: unix(7), proc(5)."""
    accepts = "00010000"
    lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    return any(line.split()[3] == accepts and line.endswith(f" {path}") for line in lines)


@pytest.fixture
def on_kernel(default_image: str) -> Iterator[OnKernel]:
    """Run programs on kernels; none of these is left behind."""
    # A test's own directory is too long for sockets.
    with tempfile.TemporaryDirectory(prefix="run-") as names:
        runner = OnKernel(default_image, Path(names))
        yield runner
        assert wait_until(runner.is_over), "a kernel outlives its programs"


class Lab:
    """A network namespace of the host with a TAP device for a kernel.

    Attributes:
        net: what ``--net`` has to say, but for the kernel's address.
        kernel: an address for that, which the host has a route to.
        host: the host's.
    """

    host, kernel = "192.0.2.1", "192.0.2.2"

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def net(self) -> list[str]:
        """Options of ``rumpel run``, which itself must run inside()."""
        return ["--net", f"tap:tap0,ip={self.kernel}/24,gw={self.host},mtu=1500"]

    def inside(self, arguments: list[str]) -> list[str]:
        """The arguments that run a program of the host in the namespace."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, *arguments: str, **more: Any) -> Done:
        """Run a program of the host there."""
        return run(self.inside(list(arguments)), **more)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A namespace with a TAP device."""
    if os.geteuid():
        pytest.skip("namespaces take root")
    lab = Lab(f"rumpel-{uuid.uuid4().hex[:8]}")
    subprocess.run(["ip", "netns", "add", lab.name], check=True)
    try:
        for command in (
            "ip link set lo up",
            "ip tuntap add mode tap tap0",
            f"ip addr add {lab.host}/24 dev tap0",
            "ip addr add 2001:db8::1/64 dev tap0 nodad",
            "ip link set tap0 up",
        ):
            subprocess.run(lab.inside(command.split()), check=True)
        yield lab
    finally:
        subprocess.run(["ip", "netns", "del", lab.name], check=True)
