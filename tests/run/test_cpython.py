# SPDX-License-Identifier: GPL-2.0-only
"""CPython's own tests of what the agent has most to do with: they end as they do without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.run.conftest import OnKernel, intercepted

pytestmark = pytest.mark.long

PYTHON = Path("/usr/bin/python3.11")
TEST = [str(PYTHON), "-m", "test", "-q", "--timeout", "3600"]
"""Let what is waited for come late: half a minute over loopback, a minute and a half of others."""
LIBRARY = Path("/usr/lib/python3.11/test/test_eintr.py")


@pytest.mark.skipif(not LIBRARY.exists(), reason="libpython3.11-testsuite is not installed here")
@pytest.mark.parametrize("name", ["test_eintr", "test_wait4", "test_fork1"])
def test_cpython(name: str, tmp_path: Path) -> None:
    """Calls that signals interrupt, and children."""
    done = intercepted([*TEST, name], cwd=tmp_path, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


NETWORK = [
    "test_select",
    "test_selectors",
    "test_epoll",
    "test_httplib",
    "test_ftplib",
    "test_smtplib",
]
"""Those that take minutes (test_socket, test_ssl, test_asyncio, test_subprocess) are left out."""


ON_LOOPBACK = ["-u", "network", "test_socketserver"]
"""What this one calls the network is the loopback interface."""


@pytest.mark.kernel
@pytest.mark.once
@pytest.mark.skipif(not LIBRARY.exists(), reason="libpython3.11-testsuite is not installed here")
@pytest.mark.parametrize("tests", [NETWORK, ON_LOOPBACK], ids=["network", "servers"])
def test_cpython_on_a_kernel(on_kernel: OnKernel, tmp_path: Path, tests: list[str]) -> None:
    """Their sockets are the library kernel's, everything else is the host's."""
    program = [*TEST, *tests]
    done = on_kernel.run("--net", "none", program=program, cwd=tmp_path, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
