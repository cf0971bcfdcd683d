# SPDX-License-Identifier: GPL-2.0-only
"""What kernels for images are booted with; one can be on its way before anything else is known.

Imports next to nothing: that is what the command line begins with.
"""

from __future__ import annotations

import os

from rumpel.errors import RumpelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COPIES", "JOBS", "KERNEL", "LOOKING", "MEMORY", "MODULES", "PROFILE", "prestart"]

KERNEL, PROFILE, MEMORY = "6.12", "default", "64M"
JOBS, COPIES = "rumpel.images.jobs", "rumpel.images.copies"
LOOKING = (JOBS, "rumpel.devices", "rumpel.mounts")
"""What the kernel's side may need once it can import no more, for who only looks at files."""
MODULES = (*LOOKING, COPIES)
"""And for all else."""
_LOOK = ("cat", "df", "du", "find", "info", "ls", "stat", "tree")
"""The commands that do."""


def prestart(argv: Sequence[str]) -> None:
    """Start the process of a command's kernel: it boots while it is seen what there is to do.

    Args:
        argv: the command's arguments, of which a guess is made. If that is wrong it was in vain.
    """
    from rumpel.build.lookup import image_path
    from rumpel.sandbox.spawn import Setup, prestart
    from rumpel.sizes import to_bytes

    try:
        version, memory = _given(argv, "--kernel", KERNEL), _given(argv, "--memory", MEMORY)
        profile = _given(argv, "--profile", PROFILE)
        image = version if "/" in version else image_path(version, profile)
        modules = LOOKING if argv[1] in _LOOK else MODULES
        prestart(Setup(os.path.abspath(image), to_bytes(memory), modules))  # noqa: PTH100
    except (RumpelError, ValueError, OSError):
        pass  # who wants it will hear


def _given(argv: Sequence[str], option: str, default: str) -> str:
    """An option's value."""
    for word, following in zip(argv, [*argv[1:], default], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word[len(option) + 1 :]
    return default
