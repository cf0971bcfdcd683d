# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the benchmarks that measure their own process, which has done nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rumpel.errors import RumpelError

__all__ = ["run"]


def run(name: str, *arguments: str) -> Any:
    """Run one in a new process.

    Args:
        name: of a file beside this one, without ``.py``.
        arguments: its.

    Returns:
        What the line of JSON that it prints says.

    Raises:
        RumpelError: if it fails, with what it said.
    """
    program = Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, "-P", str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        *_, why = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RumpelError(f"a process with kernels failed: {why}")
    return json.loads(done.stdout)
