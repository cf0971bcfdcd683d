# SPDX-License-Identifier: GPL-2.0-only
"""Programs on a shared kernel as :mod:`subprocess` has them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from rumpel.errors import KernelClosed
from rumpel.run import agent, limits
from rumpel.run.instance import Joined
from rumpel.run.keeper import COUNT

__all__ = ["Popen", "output"]

Word = str | bytes | os.PathLike[Any]

_numbers = threading.Lock()
"""The agent's descriptors have the same numbers for each program that is started."""

_NOT_PUT_OFF = (signal.SIGKILL, signal.SIGSTOP)


class Popen(subprocess.Popen[Any]):
    """A program on a kernel that it shares; see :meth:`rumpel.run.SharedKernel.popen`."""

    def __init__(
        self,
        kernel: Joined,
        args: Word | Sequence[Word],
        *,
        executable: Word | None = None,
        shell: bool = False,
        env: Any = None,
        cwd: Any = None,
        pass_fds: Iterable[int] = (),
        restore_signals: bool = True,
        rules: Sequence[str] | None = None,
        holds: bool = True,
        **options: Any,
    ) -> None:
        self._kernel = kernel
        # Without this one a program does not keep the kernel alive.
        control = kernel.first + COUNT - 1
        words = _words(args, shell)
        # What Python's own start has set is set back by the agent, which also is where
        # subprocess would.
        flags = kernel.flags | (agent.FLAG_PYTHON if restore_signals else 0)
        name = os.fsdecode(words[0] if executable is None or shell else executable)
        if shell and executable is not None:
            name = words[0] = os.fsdecode(executable)
        path = None if env is None else os.fsdecode(env.get("PATH", os.defpath))
        found = agent.find_program(name, path, os.fsdecode(cwd or ""))
        told = agent.message(found, kernel.rules if rules is None else rules, kernel.first, flags)
        with _numbers:
            if not kernel.fds:
                raise KernelClosed(f"the kernel {kernel.name} is closed here")
            fds = agent.place(told)
            try:
                with limits.more_addresses(limits.room_of(kernel.first)):
                    super().__init__(
                        words,
                        # By this name the agent knows its descriptor.
                        executable=f"/dev/fd/{fds[agent.FD_AGENT]}",
                        env=env,
                        cwd=cwd,
                        pass_fds=[
                            *pass_fds,
                            *fds,
                            *(f for f in kernel.fds if holds or f != control),
                        ],
                        restore_signals=restore_signals,
                        **options,
                    )
            finally:
                for fd in fds:
                    os.close(fd)
        self.args = args

    def send_signal(self, sig: int) -> None:
        """Send a signal, as :meth:`subprocess.Popen.send_signal`.

        What ends or stops a process at once is sent by a program on the same kernel, which
        waits until the process is not in the middle of the kernel's code: it would take the
        kernel along.
        """
        if sig not in _NOT_PUT_OFF or not self._kernel.fds:
            super().send_signal(sig)
        elif self.poll() is None:
            script = ["/bin/sh", "-c", 'kill "-$0" "$1" 2>/dev/null', f"{int(sig)}", f"{self.pid}"]
            Popen(self._kernel, script).wait()


def output(
    kernel: Joined, program: Sequence[Word], rules: Sequence[str], told: bytes = b""
) -> tuple[int, str]:
    """Run a program of ours on a kernel: its status, and all that it says.

    Args:
        kernel: that runs.
        program: and its arguments.
        rules: which of its calls are the kernel's, instead of those of other programs.
        told: its standard input.
    """
    pipe, same = subprocess.PIPE, subprocess.STDOUT
    with Popen(kernel, program, rules=rules, stdin=pipe, stdout=pipe, stderr=same) as process:
        said: bytes = process.communicate(told)[0]
    return process.returncode, said.decode(errors="replace")


def _words(args: Word | Sequence[Word], shell: bool) -> list[Any]:
    words: list[Any] = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    if shell:
        return ["/bin/sh", "-c", *words]
    if not words:
        raise ValueError("there is no program to run")
    return words
