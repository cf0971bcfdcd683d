# SPDX-License-Identifier: GPL-2.0-only
"""Tests of users, each on a copy of a kernel: what pytest says of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.once]

CONFTEST = """
import pytest, rumpel

pytest_plugins = ["rumpel.pytest_plugin"]

@pytest.fixture(scope="session")
def kernel():
    with rumpel.boot() as k:
        k.os.mkdir("/srv")
        yield k
        assert k.os.listdir("/srv") == ["plain"]
"""
TESTS = """
import time
import pytest

@pytest.mark.clone
@pytest.mark.parametrize("name", ["a", "b"])
def test_alone(kernel, name, tmp_path):
    kernel.os.mkdir(f"/srv/{name}")
    assert kernel.os.listdir("/srv") == [name]
    (tmp_path / "file").touch()

@pytest.mark.clone
def test_fails(kernel):
    assert kernel.os.listdir("/srv") == ["nobody"]

@pytest.mark.clone
def test_says_that_it_fails(kernel):
    pytest.fail("on purpose")

@pytest.mark.clone
def test_skips(kernel):
    pytest.skip("not today")

@pytest.mark.clone
def test_is_expected_to_fail(kernel):
    pytest.xfail("some day")

@pytest.mark.clone(timeout=0.5)
def test_takes_too_long(kernel):
    time.sleep(60)

@pytest.mark.clone
def test_has_no_kernel():
    pass

def test_without_a_mark(kernel):
    kernel.os.mkdir("/srv/plain")
"""


def test_each_has_a_copy(tmp_path: Path, default_image: str) -> None:
    """They see nothing of each other, whatever becomes of them."""
    (tmp_path / "conftest.py").write_text(
        CONFTEST.replace("boot()", f"boot(image={default_image!r})")
    )
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--strict-markers", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    for line in (
        "PASSED test_it.py::test_alone[a]",
        "PASSED test_it.py::test_alone[b]",
        "PASSED test_it.py::test_without_a_mark",
        "FAILED test_it.py::test_fails - AssertionError: assert [] == ['nobody']",
        "FAILED test_it.py::test_says_that_it_fails - Failed: on purpose",
        "XFAIL test_it.py::test_is_expected_to_fail - some day",
        "FAILED test_it.py::test_takes_too_long - TimeoutError",
        "FAILED test_it.py::test_has_no_kernel",
        "1 skipped",
        "no fixture is a kernel",
    ):
        assert line in done.stdout, done.stdout + done.stderr
    assert "4 failed, 3 passed, 1 skipped, 1 xfailed" in done.stdout
