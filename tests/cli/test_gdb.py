# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel gdb``: a debugger that knows the kernels in a process."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed"),
]

RUMPEL_GDB = (sys.executable, "-c", "from rumpel.cli import main; main()", "gdb")

PROGRAM = """
import os, signal, sys, threading, time
import rumpel

kernels = [rumpel.boot(image=image) for image in sys.argv[1:]]
k = kernels[0]
reader, writer = k.os.pipe()
tids = []

def block():
    tids.append(k.syscall("gettid"))
    k.os.read(reader, 1)

def state():
    with k.open(f"/proc/{tids[0]}/stat") as file:
        return file.read().split()[2]

blocked = threading.Thread(target=block)
blocked.start()
while not tids or state() != "S":
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGUSR1)
k.os.sync()
k.os.write(writer, b"x")
blocked.join()
for k in kernels:
    k.halt()
print("the program has ended well")
"""


def gdb(tmp_path: Path, images: list[str], *commands: str) -> str:
    """What gdb prints for commands, the program standing where it raises SIGUSR1."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    arguments = [
        x for command in ("handle SIGUSR1 nopass", "run", *commands) for x in ("-ex", command)
    ]
    run = subprocess.run(
        [*RUMPEL_GDB, "-batch", *arguments, "--args", sys.executable, str(program), *images],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
    )
    return run.stdout


def test_tasks_of_all_kernels_and_their_stacks(
    tmp_path: Path, tiny_image: str, default_image: str
) -> None:
    """lx-ps lists both kernels' tasks; lx-bt shows where a sleeping one is."""
    out = gdb(
        tmp_path,
        [tiny_image, default_image],
        *("set confirm off", "lx-symbols", "lx-ps", "lx-bt all 1", "lx-dmesg 2", "show confirm"),
    )
    assert "dangerous operations is off." in out  # it stays as it is
    assert re.search(rf"^1  0x[0-9a-f]+  {tiny_image}$", out, re.M), out
    assert re.search(rf"^2  0x[0-9a-f]+  {default_image}$", out, re.M), out
    for number in "12":
        assert re.search(rf"^{number} +2[ *] [SI] kthreadd$", out, re.M), out
        assert re.search(rf"^{number} +1[ *] \w .* host$", out, re.M), out
    assert re.search(r"kernel 1 pid \d+ \S+ \(S\)\n(    0x\w+ .*\n)*.* (anon_)?pipe_read\+", out), (
        out
    )
    assert "Linux version" in out


def test_breakpoints_in_kernel_functions(tmp_path: Path, tiny_image: str) -> None:
    """A breakpoint by a kernel function's name stops there, and the program goes on."""
    out = gdb(
        tmp_path,
        [tiny_image],
        "break sys_sync",
        "continue",
        "info symbol $rip",
        "delete",
        "continue",
    )
    assert re.search(r"^sys_sync.* in section \.text", out, re.M), out
    assert "the program has ended well" in out


def test_a_process_without_kernels(tmp_path: Path) -> None:
    """The commands say so in one line."""
    run = subprocess.run(
        [*RUMPEL_GDB, "-batch", "-ex", "lx-ps", "-ex", "lx-bt", "--args", "/bin/true"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "this process has not loaded rumpel" in run.stderr
    assert "usage: lx-bt PID|all [KERNEL]" in run.stderr
    assert "Traceback" not in run.stderr
