# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run --image``: which file system of an image is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from rumpel.run import Image

__all__ = ["find"]

_MOUNTED_AS = {"ntfs": "ntfs3"}


def find(name: str, options: Mapping[str, Any]) -> Image:
    """Look into an image, in a sandbox.

    Args:
        name: ``IMAGE[:PARTITION]:/DIR``, of which the partition is named as for ``rumpel image``.
        options: of the kernel that looks: its version and profile.

    Raises:
        BadParameter: if it is no such name.
        ImageError: if there is no such partition.
        OSError: if the image cannot be opened.
    """
    from rumpel.images.locate import parse
    from rumpel.images.session import Options, Session
    from rumpel.images.sources import check_raw

    location = parse(name)
    if location.path is None:
        raise click.BadParameter(f"{name!r} is not IMAGE[:PARTITION]:/DIR")
    check_raw(location.image)
    kernel = {key: options[key] for key in ("version", "profile") if key in options}
    session = Session([location.image], Options(read_only=True, **kernel))
    try:
        device, _ = session.find(location.partition)
    finally:
        session.close()
    if device.volume:
        raise click.BadParameter(f"{name}: volumes in volumes cannot be used here, only partitions")
    kind = _MOUNTED_AS.get(device.kind, device.kind) or None
    return Image(location.image, location.path, device.number, kind)
