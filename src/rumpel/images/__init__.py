# SPDX-License-Identifier: GPL-2.0-only
"""Files in disk images: every file system that Linux has, without root.

:func:`open_image` is the way in. ``locate`` takes names of images apart, ``session`` is a
kernel with an image's disks, ``probe`` says what is on them, ``choose`` which of it is meant,
``volume`` is a mounted file system with all the work that is done in one piece, ``jobs`` the
half of it that runs where the kernel is, and ``filesystem`` makes of it what fsspec wants.
docs/images.md is for users.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing has it, which takes as long to import as a kernel to boot
if TYPE_CHECKING:
    from rumpel.images.errors import ImageError, LockedError
    from rumpel.images.filesystem import Image, open_image

__all__ = ["Image", "ImageError", "LockedError", "open_image"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the rest when it is used: the command line needs no fsspec."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = "errors" if name.endswith("Error") else "filesystem"
        try:
            value = globals()[name] = getattr(import_module(f"rumpel.images.{module}"), name)
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] == "fsspec":
                error.msg = "rumpel.images wants fsspec; to install: pip install 'rumpel[images]'"
            raise
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})
