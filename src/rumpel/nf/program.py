# SPDX-License-Identifier: GPL-2.0-only
"""An unmodified program on a stage's network: ``rumpel run`` at the other end of a socket."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rumpel import _native
from rumpel.devices import FdNic
from rumpel.nf.stage import StageError
from rumpel.nf.stages.ping import near

__all__ = ["Program"]

_CLI = [sys.executable, "-P", "-c", "from rumpel.cli import main; main()"]
_PREFIX = {4: 24, 6: 64}
"""Bits of the network that the program is on, where it finds its gateway."""
PATIENCE = 1.0
"""Seconds that it has to end in: the stage itself has no more than GRACE."""


class Program:
    """A program, and the wire to its kernel.

    Args:
        command: its line, in words as the shell has them.
        addresses: of its kernel.

    Raises:
        StageError: if that is no command, or these are no addresses.
    """

    def __init__(self, command: str, addresses: Sequence[str]) -> None:
        try:
            self._words = shlex.split(command)
            self._net = "".join(_of_net(address) for address in addresses)
        except ValueError as error:
            raise StageError(str(error)) from None
        if not self._words:
            raise StageError("a program is expected behind --run")
        self._wire: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> FdNic:
        """Make the wire; its end for the stage's kernel."""
        ours, self._wire = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours:
            return FdNic(ours)

    async def run(self, linux: Mapping[str, Any]) -> int:
        """Run it until it ends; its exit code."""
        assert self._wire is not None
        fd = self._wire.fileno()
        kernel = str(linux.get("image") or linux.get("version") or "")
        self._process = subprocess.Popen(
            [
                *_CLI,
                "run",
                *(["--kernel", kernel] if kernel else []),
                *("--net", f"fd:{fd}{self._net}", "--", *self._words),
            ],
            pass_fds=[fd],
            preexec_fn=lambda: _native.end_with_parent(signal.SIGTERM),
        )
        self._wire.close()
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        process = os.pidfd_open(self._process.pid)
        loop.add_reader(process, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(process)
            os.close(process)
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """End it, if it still runs."""
        if self._wire is not None:
            self._wire.close()
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE)
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()


def _of_net(text: str) -> str:
    """An address with its gateway, as --net has them. Any will do: the stage answers for all."""
    address = ipaddress.ip_address(text.partition("/")[0])
    gateway = near(str(address))
    return f",ip={address}/{_PREFIX[address.version]},gw={gateway}"
