# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with an image."""

from __future__ import annotations

import re

from rumpel.errors import RumpelError

__all__ = ["ImageError", "redacted"]

_SECRET = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s:'\"]*")


class ImageError(RumpelError):
    """An image, or the part of it that was asked for, is not there or cannot be mounted.

    Args:
        name: of the image.
        reason: what is wrong.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def redacted(text: str) -> str:
    """A text without the passwords and signatures that URLs in it may have."""
    return _SECRET.sub("", text)
