# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's death on one page."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rumpel.errors import KernelPanic

if TYPE_CHECKING:
    from rumpel.kernel import Kernel

__all__ = ["report"]

_FRAMES = 16
_CALLS = 6
_LOG = 20


def report(error: KernelPanic, kernel: Kernel | None = None) -> str:
    """Describe a panic so that somebody else can work on it: at most 60 lines of text.

    It says why the kernel ended, where it was (innermost first), which Python code had
    called it (innermost last), and what it logged last.

    Args:
        error: the exception.
        kernel: the kernel, which is dead or closed now; names version and uptime.

    Raises:
        TypeError: if it is no panic.

    Example:
        >>> import rumpel.crash
        >>> try:  # doctest: +SKIP
        ...     k.os.write(fd, b"c")
        ... except rumpel.KernelPanic as error:
        ...     print(rumpel.crash.report(error, k))
    """
    from rumpel import __version__

    if not isinstance(error, KernelPanic):
        raise TypeError(f"a report is about a KernelPanic, not {type(error).__name__}")
    lines = [f"KERNEL PANIC: {error.reason}", ""]
    if kernel is not None:
        records = list(kernel.log)
        lines.append(f"kernel   Linux {kernel.release}")
        if records:
            lines.append(f"uptime   {records[-1].time - records[0].time:.3f} s")
    lines.append(
        f"rumpel   {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    lines += _section("Where the kernel was", _first(error.backtrace, _FRAMES))
    calls = [
        f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    lines += _section("Who had called it", calls[-_CALLS:])
    lines += _section("What it logged last", error.log.splitlines()[-_LOG:])
    return "\n".join(lines) + "\n"


def _first(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"... and {len(lines) - most + 1} more"]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines or ["(not known)"])]
