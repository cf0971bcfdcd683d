# SPDX-License-Identifier: GPL-2.0-only
"""Programs on a library kernel, whose peers are on the host's own stack: a TAP device between.

The host's side is a network namespace that lives as long as one script of the shell does.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.run.conftest import CLI, Done, OnKernel, kill_session

__all__ = ["HOST", "KERNEL", "Across", "across"]

HOST, KERNEL = "192.0.2.1", "192.0.2.2"

# What is sent to a kernel that is not up yet is sent again after a second: nobody waits for that.
_PRELUDE = f"""
host={HOST} kernel={KERNEL}
ip -batch - <<END
link set lo up
tuntap add mode tap tap0
addr add $host/24 dev tap0
link set tap0 up
ntable change name arp_cache dev tap0 retrans 50
END
up() {{ until timeout 0.2 nc -z $1 $2; do sleep 0.02; done; }}
over() {{ kill "$@"; wait "$@" || true; }}
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
"""

_KERNEL = """#!/bin/sh
while [ -e "$XDG_RUNTIME_DIR/rumpel/k.socket" ]; do sleep 0.01; done
exec {run} --net tap:tap0,ip={kernel}/24,gw={host} --name k $OPTIONS -- "$@"
"""
"""It makes a kernel, when the last one has given its name back."""

_ALSO = """#!/bin/sh
until [ -e "$XDG_RUNTIME_DIR/rumpel/k.socket" ]; do sleep 0.01; done
RUMPEL_KERNEL=k exec {run} -- "$@"
"""


class Across:
    """Scripts of a namespace of the host that has a TAP device, and a kernel at its other end.

    Args:
        runner: says which kernel.
        directory: of the scripts.
    """

    def __init__(self, runner: OnKernel, directory: Path) -> None:
        self._directory = directory
        commands = directory / "commands"
        commands.mkdir()
        path = f"{commands}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self._environment = runner.environment | {"PATH": path}
        words = {"host": HOST, "kernel": KERNEL}
        made = {"k": (_KERNEL, ["--kernel", runner.image]), "also": (_ALSO, [])}
        for name, (text, options) in made.items():
            run = shlex.join([*CLI, "run", *options])
            (commands / name).write_text(text.format(run=run, **words))
            (commands / name).chmod(0o755)

    def sh(self, script: str, **more: Any) -> Done:
        """Run a script in the namespace.

        Args:
            script: ``k PROGRAM...`` runs a program on a kernel of its own, whose address is
                ``$kernel``, with what ``$OPTIONS`` has; ``also PROGRAM...`` runs another one there
                meanwhile. All else is on the host's stack, at ``$host``. ``up ADDRESS PORT`` waits
                for a server, ``over PID`` ends processes.
            more: as subprocess.Popen has it.
        """
        timeout = more.pop("timeout", 100)
        shell = ["unshare", "--net", "/bin/bash", "-euc", _PRELUDE + script]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options = {"env": self._environment, "cwd": self._directory, **pipes, **more}
        with subprocess.Popen(shell, start_new_session=True, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            finally:
                kill_session(process.pid)
        return Done(shell, process.returncode, out, err)


@pytest.fixture
def across(on_kernel: OnKernel, tmp_path: Path) -> Across:
    """A namespace of the host, and a kernel across a TAP device."""
    if os.geteuid():
        pytest.skip("namespaces take root")
    return Across(on_kernel, tmp_path)
