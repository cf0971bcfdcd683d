# SPDX-License-Identifier: GPL-2.0-only
"""The compiler and the other programs that a kernel build runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rumpel.build.layout import Layout
from rumpel.build.memo import fingerprint, remember
from rumpel.build.roots import which
from rumpel.errors import BuildError

CC = "gcc"

TOOLS = {
    CC: "gcc",
    "make": "make",
    "ld": "binutils",
    "objcopy": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "tar": "tar",
    "xz": "xz-utils",
    "ccache": "ccache",
}

HEADERS = {"openssl/": "libssl-dev", "libelf.h": "libelf-dev", "gelf.h": "libelf-dev"}


def check(path: str | None = None) -> None:
    """Raise unless all programs are there; name the command that brings the missing ones."""
    import shutil

    missing = [tool for tool in TOOLS if not shutil.which(tool, path=path)]
    if missing:
        packages = " ".join(sorted({TOOLS[tool] for tool in missing}))
        raise BuildError(
            f"not installed: {', '.join(missing)}; to install: sudo apt-get install {packages}"
        )


def missing_header(log: str) -> str | None:
    """Name the package of a header that the log says is missing."""
    found = re.search(r"fatal error: (\S+): No such file", log)
    for header, package in HEADERS.items():
        if found and found[1].startswith(header):
            return package
    return None


def compiler(layout: Layout) -> str | None:
    """What the compiler calls itself, or None if there is none.

    Asked anew only when the program's file changes.
    """
    found = which(CC)
    if found is None:
        return None

    def ask() -> str:
        import subprocess

        done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        return (done.stdout.splitlines() or ["unknown"])[0]

    return remember(layout.state, "compiler", fingerprint([Path(found).resolve()]), ask)


def environment(base: Path) -> dict[str, str]:
    """The environment of a build: nothing of the user's that changes the result."""
    keep = {"PATH", "HOME", "TMPDIR", "TERM", "CCACHE_DIR", "CCACHE_DISABLE", "XDG_CACHE_HOME"}
    keep |= {"CCACHE_MAXSIZE", "CCACHE_CONFIGPATH", "LD_LIBRARY_PATH"}
    env = {k: v for k, v in os.environ.items() if k in keep}
    env.setdefault("CCACHE_MAXSIZE", "5G")
    return env | {
        "LC_ALL": "C",
        "TZ": "UTC",
        "CCACHE_BASEDIR": str(base),
        "CCACHE_NOHASHDIR": "1",
        "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
        "KBUILD_BUILD_USER": "rumpel",
        "KBUILD_BUILD_HOST": "rumpel",
        "KBUILD_BUILD_VERSION": "1",
    }
