# SPDX-License-Identifier: GPL-2.0-only
"""Several processes on one kernel: the C tests of the shared runtime."""

from __future__ import annotations

import pytest

from tests.runtime.test_c_programs import make


@pytest.mark.long
@pytest.mark.timeout(900)
def test_shared_kernel(tiny_image: str, default_image: str) -> None:
    """Processes attach, fork, exec, wait and die; calls use the memory of their own process."""
    make("runtime/tests/shared", "check", tiny_image)
    # The tiny kernel has no disks.
    make("runtime/tests/shared", "check", default_image, "TESTS=test_disk")
