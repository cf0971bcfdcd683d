# SPDX-License-Identifier: GPL-2.0-only
"""How images, partitions and files in them are named: ``disk.img:2:/etc/hosts``."""

from __future__ import annotations

import os
import stat
from contextvars import ContextVar

from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

__all__ = ["HERE", "Location", "parse", "parse_any"]

_ONE = r"[A-Za-z][A-Za-z0-9+.-]+://[^/:]*(?::\d+)?"
_URL = rf"{_ONE}(?:(?:/|::(?:{_ONE})?)(?:[^:]|::(?:{_ONE})?)*)?"
"""With a port, and others behind it as fsspec chains them."""


class Location(NamedTuple):
    """A place in an image.

    Attributes:
        image: the image's path.
        partition: as it was named: a number, ``LABEL=root``, ``UUID=...``; None is the
            only one.
        path: in its file system, from its root; None if none was named.
    """

    image: str
    partition: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        name = self.image if self.partition is None else f"{self.image}:{self.partition}"
        if self.path is None:
            return name
        return f"{name}:{self.path}"


HERE: ContextVar[Location | None] = ContextVar("HERE", default=None)
"""Where names are that name no image: a directory in one, for a shell."""


def parse(text: str) -> Location:
    """Take a name apart. Of several ways, the first in which there is such an image.

    Args:
        text: ``IMAGE``, ``IMAGE:PARTITION``, ``IMAGE:PARTITION:PATH`` or ``IMAGE:/PATH``, of which
            the image may be a URL; in a shell ``:PATH`` or ``PATH`` as well.

    Example:
        >>> parse("disk.img:LABEL=root:/etc")
        Location(image='disk.img', partition='LABEL=root', path='/etc')
        >>> parse("disk.img:/etc")
        Location(image='disk.img', partition=None, path='/etc')
        >>> parse("https://example.org:80/disk.img:2:/etc")
        Location(image='https://example.org:80/disk.img', partition='2', path='/etc')
    """
    here = HERE.get()
    is_path = text.startswith(":") or ":" not in text
    if here and (is_path or not _is_image(_parse(text).image)):
        return here._replace(path=os.path.join(here.path or "/", text.removeprefix(":")))  # noqa: PTH118
    return _parse(text)


def _url(text: str) -> re.Match[str] | None:
    if "://" not in text:
        return None
    from re import match

    return match(_URL, text)


def _parse(text: str) -> Location:
    if url := _url(text):
        return _split(url[0], text[url.end() + 1 :]) if url[0] != text else Location(text)
    if _is_image(text):
        return Location(text)
    at = text.find(":", 1)
    while at > 0:
        if _is_image(text[:at]):
            return _split(text[:at], text[at + 1 :])
        at = text.find(":", at + 1)
    image, colon, rest = text.partition(":")
    return _split(image, rest) if colon else Location(image)


def parse_any(text: str) -> Location | None:
    """The same for what may be in an image or not: None if it is a path of the host."""
    if HERE.get() and text.startswith(":"):
        return parse(text)
    if ":" not in text or os.path.lexists(text):
        return None
    location = _parse(text)
    return location if _is_image(location.image) else None


def _split(image: str, rest: str) -> Location:
    if rest.startswith("/"):
        return Location(image, None, rest)
    partition, colon, path = rest.partition(":")
    # Paths begin at the file system's root, whether they say so or not.
    path = path if path.startswith("/") else f"/{path}"
    return Location(image, partition or None, path if colon else None)


def _is_image(path: str) -> bool:
    if _url(path):
        return True
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
