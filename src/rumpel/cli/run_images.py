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
        options: the kernel that looks, by its version and profile; where a password is.

    Raises:
        BadParameter: if it is no such name.
        ImageError: if there is no such partition.
        OSError: if the image cannot be opened.
    """
    from rumpel.cli.image.passwords import key
    from rumpel.images.errors import ImageError
    from rumpel.images.formats import COMPRESSED
    from rumpel.images.locate import parse
    from rumpel.images.session import Options, Session
    from rumpel.images.sources import check, header_of, is_url
    from rumpel.run.images import settle

    location = parse(name)
    if location.path is None:
        raise click.BadParameter(f"{name!r} is not IMAGE[:PARTITION]:/DIR")
    if is_url(location.image):
        raise ImageError(location.image, "cannot be written to: fetch it first")
    check(location.image)
    settle(location.image)
    if (format := header_of(location.image).format) in COMPRESSED:
        raise ImageError(location.image, f"is {format}, and cannot be written to: decompress it")
    kernel = {each: options[each] for each in ("version", "profile") if each in options}
    opens = key(options.get("password_file"), options.get("key_file"), True)
    session = Session([location.image], Options(read_only=True, key=opens, **kernel))
    try:
        device, _ = session.find(location.partition)
    finally:
        session.close()
    kind = _MOUNTED_AS.get(device.kind, device.kind) or None
    return Image(location.image, location.path, device.number, kind, device.volume, opens)
