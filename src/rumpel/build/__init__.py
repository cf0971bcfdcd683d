# SPDX-License-Identifier: GPL-2.0-only
"""From kernel source to kernel image.

The order of the modules, from the bottom: ``roots`` and ``layout`` (directories), ``memo``,
``progress``, ``lock``; ``versions``, ``pin``, ``apt``, ``tree`` and ``source`` (what
is built from), ``kconfig`` and ``config`` (what is
built), ``toolchain``, ``compile`` and ``types`` (by
what); ``image`` (the result), ``build`` (all steps), ``ensure`` (find or
build), ``lookup`` (where it was found), ``compare`` and ``verify`` (is the source untouched).

Where a ready image is is asked by every boot, so ``lookup`` imports and reads little.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rumpel.build.ensure import (
        DEFAULT_PROFILE,
        DEFAULT_VERSION,
        ensure_image,
        find_image,
        list_images,
        remove_image,
    )
    from rumpel.build.image import Image
    from rumpel.build.layout import Layout
    from rumpel.build.progress import Progress
    from rumpel.build.verify import Verified

__all__ = [
    "DEFAULT_PROFILE",
    "DEFAULT_VERSION",
    "Image",
    "Layout",
    "Progress",
    "ensure_image",
    "find_image",
    "list_images",
    "remove_image",
    "verify_image",
]

_ELSEWHERE = {"Image": "image", "Layout": "layout", "Progress": "progress"}


def verify_image(image: Image, progress: Progress | None = None) -> Verified:
    """Prove that the image's source is the package's; see :mod:`rumpel.build.verify`."""
    from rumpel.build.verify import verify_image as verify

    return verify(image, progress)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the rest when it is used: where an image is, ``lookup`` knows without."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = _ELSEWHERE.get(name, "ensure")
        value = globals()[name] = getattr(import_module(f"rumpel.build.{module}"), name)
        return value

    def __dir__() -> list[str]:
        """All names, also those that nobody has used yet."""
        return sorted({*globals(), *__all__})
