# SPDX-License-Identifier: GPL-2.0-only
"""Programs under the agent, beside the same without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
START = "import sys; from rumpel.run import *; execute(sys.argv[2:], trap=Trap[sys.argv[1]])"
BUILDS = {
    "dynamic": ["gcc"],
    "static": ["gcc", "-static"],
    "static-pie": ["gcc", "-static-pie"],
    "fixed": ["gcc", "-no-pie"],
    "musl": ["musl-gcc", "-static"],
}
"""Kinds of executables, and how they are made."""

Done = subprocess.CompletedProcess[str]
Build = Callable[[str, str], Path]


def under(arguments: list[str], trap: str = "AUTO") -> list[str]:
    """The arguments that run a program under the agent."""
    return [sys.executable, "-c", START, trap, *arguments]


def run(arguments: list[str], **options: Any) -> Done:
    """Run a program to its end, without the agent."""
    options = {"timeout": 60, "capture_output": True, "text": True, "check": False} | options
    return subprocess.run(arguments, **options)


def intercepted(arguments: list[str], trap: str = "AUTO", **options: Any) -> Done:
    """Run a program to its end under the agent."""
    return run(under(arguments, trap), **options)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile a program of this directory, by its name and one of BUILDS."""

    def compiled(name: str, kind: str) -> Path:
        output = directory / kind / name
        if not output.exists():
            output.parent.mkdir(exist_ok=True)
            source = HERE / "programs" / f"{name}.c"
            flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
            subprocess.run([*BUILDS[kind], *flags, source, "-o", output], check=True)
        return output

    directory = tmp_path_factory.mktemp("programs")
    return compiled


def installed(program: str) -> str:
    """The path of a program that apt.txt or the machine has, or skip."""
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin")
    if not found:
        pytest.skip(f"{program} is not installed here")
    return found
