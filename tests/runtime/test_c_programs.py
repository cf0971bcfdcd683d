# SPDX-License-Identifier: GPL-2.0-only
"""What the C library promises, without Python: its tests on a kernel, and the examples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# They build, too, which takes a busy host minutes.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]


def make(directory: str, target: str, image: str, *variables: str) -> None:
    """Run make; what it prints is the failure's text."""
    done = subprocess.run(
        ["make", "-s", "-C", str(ROOT / directory), target, f"RUMPEL_IMAGE={image}", *variables],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


# Each test builds in a directory of its own: two must not build one library at a time.
def test_c_programs(default_image: str) -> None:
    """Kernels, devices and links from C; the example copies a file into an ext4 image."""
    make("runtime/tests/kernel", "check", default_image)
    make("examples", "test", default_image)


@pytest.mark.parametrize(
    ("sanitizer", "tests"),
    [
        ("address", "test_ends test_devices test_tasks test_fork test_snapshot"),
        ("thread", "test_kernel test_tasks"),
    ],
)
def test_sanitizers(default_image: str, sanitizer: str, tests: str) -> None:
    """The same with a runtime that AddressSanitizer, UBSan or ThreadSanitizer watches."""
    make("runtime/tests/kernel", "check", default_image, f"SANITIZER={sanitizer}", f"TESTS={tests}")


def test_random_system_calls(default_image: str, tmp_path: Path) -> None:
    """Nothing that callers say ends or hangs the process: a short run of make fuzz."""
    seed = f"SEED={os.environ.get('RUMPEL_TEST_SEED', '1')}"
    make("runtime/tests/kernel", "fuzz", default_image, "SECONDS=10", seed, f"BUILD={tmp_path}")


@pytest.mark.skipif(not shutil.which("clang"), reason="no clang: apt-get install clang")
def test_devices_led_by_coverage() -> None:
    """Nothing in the models of devices crashes or hangs for libFuzzer: a short run."""
    make("runtime/tests", "libfuzzer", "", "SECONDS=10")


def test_valgrind(default_image: str, tmp_path: Path) -> None:
    """A boot, an ext4 mount, a copy and a halt, without a word from valgrind."""
    binary, source, disk = tmp_path / "copy", tmp_path / "source", tmp_path / "disk"
    library = tmp_path / "librumpel.a"
    make("runtime/tests/kernel", str(library), default_image, f"BUILD={tmp_path}")
    compiler: list[str | Path] = ["gcc", "-O1", "-g", f"-I{ROOT}/include", "-pthread", "-o", binary]
    subprocess.run([*compiler, ROOT / "examples/copy.c", library], check=True)
    source.write_bytes(os.urandom(100_000))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk, "32M"], check=True)
    valgrind = [sys.executable, "-c", "from rumpel.cli import main; main()", "valgrind"]
    program: list[str | Path] = [binary, default_image, disk, source, "copied"]
    done = subprocess.run(
        [*valgrind, "-q", "--error-exitcode=9", *program],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "invalid" not in done.stderr.lower()
