# SPDX-License-Identifier: GPL-2.0-only
"""Limits of resources are about what a program has, not about what the kernel has beside it."""

from __future__ import annotations

import pytest

from tests.run.conftest import OnKernel, run

LIMITED = """
import os, resource, socket, subprocess
kind, mib = resource.RLIMIT_AS, 1 << 20
resource.setrlimit(kind, (300 * mib, 400 * mib))
assert resource.prlimit(0, kind, (350 * mib, 390 * mib)) == (300 * mib, 400 * mib)
assert resource.getrlimit(kind) == (350 * mib, 390 * mib)
kept = bytearray(100 * mib)
try:
    bytearray(340 * mib)
except MemoryError:
    print("refused")
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
print(subprocess.check_output("ulimit -v; ulimit -Hv; ip -br link show lo", shell=True, text=True))
try:
    resource.setrlimit(kind, (400 * mib, 350 * mib))
except ValueError:
    print("soft above hard")
"""
"""As dovecot and vsftpd limit themselves. What they execute afterwards has to find room as well."""


@pytest.mark.kernel
def test_addresses_of_a_program_are_limited(on_kernel: OnKernel) -> None:
    """``ulimit -v`` holds as on the host, also for what a program executes."""
    program = ["/usr/bin/python3", "-c", LIMITED]
    ours, host = on_kernel.run("--net", "none", program=program), run(program)
    said = ours.stdout.split()
    assert ours.returncode == 0, ours.stderr
    assert said[:4] == ["refused", str(350 << 10), str(390 << 10), "lo"], ours.stdout
    assert (said[:4], said[-3:]) == (host.stdout.split()[:4], host.stdout.split()[-3:])


@pytest.mark.kernel
@pytest.mark.once
def test_a_limit_from_before(on_kernel: OnKernel) -> None:
    """A kernel has room beside a limit that may be raised; else a message says what is missing."""
    inner = on_kernel.arguments("--net", "none", program=["/bin/bash", "-c", "ulimit -v"])
    limited = ["/bin/bash", "-c", 'ulimit -S -v 400000; exec "$@"', "-", *inner]
    done = run(limited, env=on_kernel.environment)
    assert (done.stdout, done.returncode) == ("400000\n", 0), done.stderr
    drop = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    limited[2] = 'ulimit -v 400000; exec "$@"'
    done = run([*drop, *limited], env=on_kernel.environment)
    assert done.returncode != 0
    assert "(ulimit -v) is 400000, and a kernel needs" in done.stderr
    assert "Traceback" not in done.stderr
