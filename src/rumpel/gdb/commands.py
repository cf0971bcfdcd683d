# SPDX-License-Identifier: GPL-2.0-only
"""Loaded by gdb: lx-symbols, lx-ps, lx-bt and lx-dmesg, named as the kernel's own scripts."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import gdb

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rumpel.gdb.kernels import Kernel, NotThereError, Task, kernels, quietly

_loaded: dict[int, Path] = {}
"""Load addresses of the kernels whose symbols gdb has."""


def load_symbols() -> list[Kernel]:
    """Tell gdb the functions of new kernels, and take away those of kernels that are gone."""
    found = kernels()
    here = {kernel.base: kernel.image for kernel in found}
    for base, image in list(_loaded.items()):
        if here.get(base) != image:
            quietly(f"remove-symbol-file {image.with_name('vmlinux')}")
            # gdb takes one of several by its name: the others are added again.
            _loaded.clear()
    for base, image in here.items():
        symbols = image.with_name("vmlinux")
        if base not in _loaded and symbols.exists():
            quietly(f"add-symbol-file {symbols} -o {base:#x}")
            _loaded[base] = image
    return found


class Command(gdb.Command):
    """A command that is a function of its argument."""

    def __init__(self, name: str, kind: int, run: Callable[[str], None]) -> None:
        self.__doc__ = run.__doc__
        self._run = run
        super().__init__(name, kind)

    def invoke(self, argument: str, from_tty: bool) -> None:
        """Run it; what is missing is one line."""
        try:
            self._run(argument.strip())
        except NotThereError as e:
            raise gdb.GdbError(str(e)) from None


def lx_symbols(argument: str) -> None:
    """Load the symbols of every kernel in the process, and list the kernels."""
    for kernel in load_symbols():
        print(f"{kernel.number}  {kernel.base:#x}  {kernel.image}")


def lx_ps(argument: str) -> None:
    """List the tasks of all kernels: kernel, pid, state, name, and whose task it is.

    "host" is a task whose user mode is code of this process; "*" is the one that runs.
    """
    for kernel in load_symbols():
        for task in kernel.tasks():
            mark = "*" if task.is_current else " "
            owner = "host" if task.caller else ""
            print(
                f"{kernel.number} {task.pid:6}{mark} {task.state} {task.comm:16} {owner}".rstrip()
            )


def lx_bt(argument: str) -> None:
    """Show the kernel stack of a task that need not be running: lx-bt PID [KERNEL], or all.

    Without frame pointers every word that points into a function is shown: more than
    the truth, never less.
    """
    pid, _, number = argument.partition(" ")
    if not (pid == "all" or pid.isdigit()) or not (not number or number.isdigit()):
        raise NotThereError("usage: lx-bt PID|all [KERNEL]")
    shown = [
        task
        for kernel in load_symbols()
        if not number or kernel.number == int(number)
        for task in kernel.tasks()
        if pid == "all" or task.pid == int(pid)
    ]
    if not shown:
        raise NotThereError(f"no task {argument}; lx-ps lists them")
    for task in shown:
        _show(task)


def _show(task: Task) -> None:
    print(f"kernel {task.kernel.number} pid {task.pid} {task.comm} ({task.state})")
    for address, name in task.backtrace():
        print(f"    {address:#x} {name}")


def lx_dmesg(argument: str) -> None:
    """Print what the kernels logged: lx-dmesg [KERNEL]."""
    for kernel in kernels():
        if not argument or argument == str(kernel.number):
            print(kernel.log(), end="")


def _on_stop(event: gdb.Event) -> None:
    """New kernels' functions are known by name wherever the process stops."""
    with contextlib.suppress(NotThereError, gdb.error):  # there may be none yet
        load_symbols()


Command("lx-symbols", gdb.COMMAND_FILES, lx_symbols)
Command("lx-ps", gdb.COMMAND_STATUS, lx_ps)
Command("lx-bt", gdb.COMMAND_STACK, lx_bt)
Command("lx-dmesg", gdb.COMMAND_STATUS, lx_dmesg)
gdb.events.stop.connect(_on_stop)
