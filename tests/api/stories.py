# SPDX-License-Identifier: GPL-2.0-only
"""Stories told to a kernel's module and to the host's, with the same end."""

from __future__ import annotations

import os as host
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rumpel import Kernel

Story = Callable[[Any, str], Any]


class Stories(list[Story]):
    """Functions of an os and an empty directory; as decorator it takes another one."""

    def __call__(self, function: Story) -> Story:
        self.append(function)
        return function


def tell(story: Story, kernel: Kernel, tmp_path: Path) -> None:
    """To both, and compare what they return."""
    kernel.os.mkdir("/tmp/test")
    ours, theirs = story(kernel.os, "/tmp/test"), story(host, str(tmp_path))
    assert relative(ours, "/tmp/test") == relative(theirs, str(tmp_path))


def error_of(function: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Which error it is, and about which file."""
    try:
        function(*args, **keywords)
    except OSError as error:
        return type(error).__name__, error.errno, error.filename, error.filename2
    return None


def relative(value: Any, root: str) -> Any:
    """The same with a common name for the directory."""
    if isinstance(value, str):
        return value.replace(root, "ROOT")
    if isinstance(value, bytes):
        return value.replace(root.encode(), b"ROOT")
    if isinstance(value, list | tuple):
        return [relative(v, root) for v in value]
    return value


def make(os: Any, path: str | bytes, content: bytes = b"", mode: int = 0o644) -> None:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode)
    os.write(fd, content)
    os.close(fd)
