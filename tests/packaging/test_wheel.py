# SPDX-License-Identifier: GPL-2.0-only
"""What pip installs elsewhere: an sdist makes a wheel, which boots without a compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.long("wheel"),
    pytest.mark.skipif(
        bool(os.environ.get("RUMPEL_TEST_VERSION", "6.12") != "6.12"),
        reason="the wheel holds kernels of 6.12, and was tested with them",
    ),
    pytest.mark.timeout(900),  # the first of them waits for the build
]


def tracked() -> list[str]:
    """The files that git keeps, relative to the root; of an sdist all that came with it."""
    run = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode == 0:
        return [name for name in run.stdout.splitlines() if (ROOT / name).exists()]
    listed = (ROOT / "src/rumpel.egg-info/SOURCES.txt").read_text()
    return [name for name in listed.splitlines() if "egg-info" not in name]


def compiler(directory: Path) -> dict[str, str]:
    """The environment for builds below a directory, which is another one each time."""
    if not shutil.which("ccache"):
        return {}
    compiler = os.environ.get("CC", "gcc")
    return {
        "CC": compiler if compiler.startswith("ccache ") else f"ccache {compiler}",
        "CCACHE_BASEDIR": str(directory),
        "CCACHE_NOHASHDIR": "1",
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    base = tmp_path_factory.mktemp("dist")
    tree, out = base / "tree", base / "out"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    run = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | compiler(base),
        timeout=800,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    return out


def test_sdist_holds_the_source(built: Path) -> None:
    """Whoever has an sdist has all that git has, but for git's own files."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    missing = [name for name in tracked() if name not in names and not name.startswith(".git")]
    assert not missing


def test_wheel_holds_library_and_kernel(built: Path) -> None:
    """Native library, port, and kernels that can be booted; no tests, no debug information."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.startswith("rumpel/_native.") and name.endswith(".so") for name in names)
    assert "rumpel/_images/6.12-default/rumpel.so" in names
    assert "rumpel/_images/6.12-tiny/image.json" in names
    assert "rumpel/_data/kernel/arch/rumpel/Kconfig" in names
    assert "rumpel/py.typed" in names
    assert not [name for name in names if name.startswith("tests") or name.endswith("vmlinux")]


def test_installed_without_a_compiler(built: Path, tmp_path: Path) -> None:
    """In a new environment with an empty PATH and no cache the kernels boot and can be listed."""
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "new"], check=True)
    python = tmp_path / "new/bin/python"
    library = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # What pip does with a wheel; its dependencies are not needed to boot.
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"),
            *("--target", library, wheel),
        ],
        check=True,
    )
    program = (
        "import rumpel, sys\n"
        "for profile in 'default', 'tiny':\n"
        "    with rumpel.boot(profile=profile) as k:\n"
        "        assert k.os.uname().sysname == 'Linux'\n"
        "        a, b = k.socket.socketpair()\n"
        "        a.sendall(b'sent')\n"
        "        assert b.recv(9) == b'sent'\n"
        "assert rumpel.__file__.startswith(sys.prefix)\n"
    )
    empty = {"PATH": str(tmp_path), "HOME": str(tmp_path), "RUMPEL_CACHE": str(tmp_path / "cache")}
    run = subprocess.run(
        [python, "-I", "-W", "error", "-c", program],
        env=empty,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
