# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with an image."""

from __future__ import annotations

from rumpel.errors import RumpelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rumpel.images.device import Device

__all__ = ["ImageError", "LockedError", "SeveralError", "redacted"]

_SECRET = r"(?<=://)[^/@\s]*@|\?[^\s:'\"]*"


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


class LockedError(ImageError):
    """What was asked for is encrypted, and there was no password for it.

    Args:
        name: of the image.
        reason: what is wrong.
        devices: that may hold it.
    """

    def __init__(self, name: str, reason: str, devices: Sequence[Device]) -> None:
        super().__init__(name, reason)
        self.devices = devices


class SeveralError(ImageError):
    """Of several file systems none was named.

    Args:
        name: of the image.
        reason: what is wrong.
        devices: that have one.
    """

    def __init__(self, name: str, reason: str, devices: Sequence[Device]) -> None:
        super().__init__(name, reason)
        self.devices = devices


def redacted(text: str) -> str:
    """A text without the passwords and signatures that URLs in it may have."""
    import re

    return re.sub(_SECRET, "", text)
