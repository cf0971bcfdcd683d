# SPDX-License-Identifier: GPL-2.0-only
"""What the parts of the demo share: tools of the host, sizes, and what goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from rumpel.errors import RumpelError

__all__ = ["DemoError", "check", "size", "tool"]


class DemoError(RumpelError):
    """Something did not come out as it must."""


def check(condition: object, what: str) -> None:
    """Insist on a result.

    Raises:
        DemoError: if it is not there.
    """
    if not condition:
        raise DemoError(what)


def tool(name: str, *arguments: str | Path, package: str) -> str:
    """Run a tool of the host.

    Args:
        name: of the program.
        arguments: for it.
        package: the Debian package that has it.

    Returns:
        Its output.

    Raises:
        DemoError: if it is missing or fails.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise DemoError(f"{name} is missing: sudo apt-get install {package}")
    result = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr or result.stdout).strip()
        raise DemoError(f"{name} failed with exit code {result.returncode}: {said}")
    return result.stdout


def size(bytes: float) -> str:
    """A size for people.

    Example:
        >>> size(1.5e9), size(96_000_000), size(4000)
        ('1.5 GB', '96 MB', '4 kB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes >= factor:
            number = bytes / factor
            return (
                f"{number:.1f} {unit}" if number < 10 and unit != "kB" else f"{number:.0f} {unit}"
            )
    return f"{bytes:.0f} bytes"
