# SPDX-License-Identifier: GPL-2.0-only
"""Putting an overlay's content into the image below."""

from __future__ import annotations

import errno
import os

from rumpel.devices import Overlay
from rumpel.images.errors import ImageError
from rumpel.images.formats import COMPRESSED
from rumpel.images.sources import check, header_of, open_source

__all__ = ["commit"]


def commit(image: str, overlay: str, format: str | None = None, backing: bool = False) -> None:
    """Put what was written to an overlay into its image; the overlay is empty then.

    If it is interrupted it can be made again.

    Args:
        image: its path.
        overlay: the overlay's.
        format: of the image; None looks for itself.
        backing: may it name files that are in other directories?

    Raises:
        ImageError: if the image cannot be opened, or written to.
        OSError: if somebody has one of them open (EBUSY), or a disk is full.
        DeviceError: if it is no overlay of this image.
    """
    check(image)
    kind = header_of(image, format).format
    if kind in COMPRESSED:
        raise ImageError(image, f"is compressed ({kind}), and cannot be written to")
    try:
        _commit(image, overlay, format, backing)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        name = os.fspath(error.filename or image)
        raise OSError(errno.EBUSY, "in use: another process has it open", name) from None


def _commit(image: str, overlay: str, format: str | None, backing: bool) -> None:
    served = open_source(image, format, False, backing)
    if served is None:
        disk = Overlay(image, overlay)
        disk.commit()
        disk.close()
        return
    try:
        spec = served.spec(served.connection.fileno(), False, None)
        disk = Overlay(spec.served_disk(), overlay)
        disk.commit()
        disk.close()
    finally:
        served.close()
    # The image is what it is now only since the program has ended: made anew over that.
    os.truncate(overlay, 0)
