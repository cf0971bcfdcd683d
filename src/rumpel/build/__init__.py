# SPDX-License-Identifier: GPL-2.0-only
"""From kernel source to kernel image.

The order of the modules, from the bottom: ``layout`` (directories), ``memo``,
``progress``, ``lock``; ``versions``, ``pin``, ``apt``, ``tree`` and ``source`` (what
is built from), ``kconfig`` and ``config`` (what is
built), ``toolchain``, ``compile`` and ``types`` (by
what); ``image`` (the result), ``build`` (all steps), ``ensure`` (find or
build), ``compare`` and ``verify`` (is the source untouched).

Finding a ready image imports and reads little, since every boot does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
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


def verify_image(image: Image, progress: Progress | None = None) -> Verified:
    """Prove that the image's source is the package's; see :mod:`rumpel.build.verify`."""
    from rumpel.build.verify import verify_image as verify

    return verify(image, progress)
