# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own suites about sockets and processes end on a library kernel as on the host.

Each is run on both and compared test by test, with the reasons of what was skipped.
RUMPEL_SUITES=1 runs the whole of them (ten minutes); without it, what is quick of those that no
other test here runs.
"""

from __future__ import annotations

import json
import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.conftest import VERSION
from tests.run.conftest import Done, OnKernel, run

PYTHON = "/usr/bin/python3.11"
LIBRARY = Path("/usr/lib/python3.11/test/test_asyncio/__init__.py")
SUITE = Path(__file__).parent / "programs/suite.py"
WHOLE = bool(os.environ.get("RUMPEL_SUITES"))

NEVER = ["-*VSOCK*"]
"""They hang on a host that is a virtual machine, with us and without: nobody answers there."""

QUICK = {
    "test_socket": ["*cvmsg*", "Sendmsg*", "Interrupted*", "NonBlocking*", "Basic*", "Create*"],
    "test_ssl": ["ThreadedTests.test_[nr]*_*e[rn]*o", "*.test_sendfile", "TestPreHandshakeClose.*"],
    "test_subprocess": ["*.test_close_fds*", "*.test_swap_fds", "*.test_preexec*"],
    "test_asyncio": ["test_sock_lowlevel.EPoll*"],
}

SUITES = list(QUICK)
if WHOLE:
    SUITES += ["test_select", "test_selectors", "test_epoll", "test_httplib", "test_ftplib"]
    SUITES += ["test_smtplib", "test_socketserver"]

EXPLAINED = {
    "test_socket": ["*SCTP*"],
    "test_selectors": ["*.test_above_fd_setsize"],
}
"""What docs/limits.md says to be different."""

if VERSION != "6.12":
    EXPLAINED["test_socket"].append("*UDPLITE*")  # removed from Linux


@pytest.mark.kernel
@pytest.mark.timeout(1500)
@pytest.mark.skipif(not LIBRARY.exists(), reason="libpython3.11-testsuite is not installed here")
@pytest.mark.parametrize("suite", SUITES)
def test_the_same_on_a_kernel_and_on_the_host(
    suite: str, on_kernel: OnKernel, tmp_path: Path
) -> None:
    """Each test that is not explained has the same outcome."""
    patterns = NEVER + ([] if WHOLE else QUICK[suite])

    def program(report: Path) -> list[str]:
        return [PYTHON, "-B", str(SUITE), str(report), suite, *patterns]

    def outcomes(done: Done, report: Path) -> dict[str, tuple[str, str]]:
        assert done.returncode == 0, done.stderr[-10_000:]
        found: dict[str, tuple[str, str]] = json.loads(report.read_text())
        # Why it failed on both may name a port.
        return {name: (how, why if how == "skipped" else "") for name, (how, why) in found.items()}

    files = [tmp_path / "host", tmp_path / "kernel"]
    options = {"cwd": tmp_path, "timeout": 700}
    host = outcomes(run(program(files[0]), **options), files[0])
    ours = on_kernel.run("--net", "none", program=program(files[1]), **options)
    kernel = outcomes(ours, files[1])
    different = {
        name: (host.get(name), kernel.get(name))
        for name in host.keys() | kernel.keys()
        if host.get(name) != kernel.get(name)
        and not any(fnmatchcase(name, pattern) for pattern in EXPLAINED.get(suite, []))
    }
    assert not different, ours.stderr[-10_000:]
    assert sum(outcome == "passed" for outcome, _ in kernel.values()) >= 5
