# SPDX-License-Identifier: GPL-2.0-only
"""What the C library promises, without Python: its tests on a kernel, and the examples."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(directory: str, target: str, image: str) -> None:
    """Run make; what it prints is the failure's text."""
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT / directory), target, f"RUMPEL_IMAGE={image}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


# One test, since all of it links with one library, which two must not build at a time.
@pytest.mark.timeout(600)
def test_c_programs(default_image: str) -> None:
    """Kernels, devices and links from C; the example copies a file into an ext4 image."""
    make("runtime/tests/kernel", "check", default_image)
    make("examples", "test", default_image)
