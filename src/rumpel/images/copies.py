# SPDX-License-Identifier: GPL-2.0-only
"""Copies of trees where the kernel is: jobs as those of :mod:`rumpel.images.jobs`.

By themselves, as who only looks at files does without.
"""

from __future__ import annotations

import errno
import stat

from rumpel.copying.placed import places
from rumpel.copying.source import read_tree
from rumpel.copying.target import Writer
from rumpel.sandbox.channel import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from rumpel.images.jobs import Message, Where

__all__ = ["duplicate", "read", "write"]

_MOST_TOLD = 256 << 10
_OFTEN, _MUCH = 64, 8 << 20
"""Entries and bytes after which a copy tells how far it is."""


def read(
    where: Where,
    path: str,
    exclude: list[str],
    follow: bool,
    one_file_system: bool,
    jobs: int,
    packed: bool,
    placed: bool,
) -> Iterator[Message]:
    """A tree, as items of :mod:`rumpel.copying.source`."""
    return read_tree(
        where.kernel.os,
        path,
        exclude=exclude,
        follow=follow,
        one_file_system=one_file_system,
        jobs=jobs,
        room=where.room,
        packed=packed,
        places=(lambda fd, size: places(where.kernel, fd, size)) if placed else None,
    )


def write(
    where: Where, items: Iterable[Message], target: str, source: str, owner: list[int] | None
) -> dict[str, Any]:
    """Make a tree of items; counts, and what was lost or failed."""
    writer = _writer(where, target, source, owner)
    for _ in writer.steps(items):
        pass
    return _written(writer)


def _writer(where: Where, target: str, source: str, owner: list[int] | None) -> Writer:
    return Writer(where.kernel.os, target, source, owner=(owner[0], owner[1]) if owner else None)


def _written(writer: Writer) -> dict[str, Any]:
    copied = vars(writer.copied).copy()
    copied["lost"] = [
        (lost.path, lost.what, lost.error.errno, lost.error.strerror) for lost in copied["lost"]
    ]
    copied["lost"] = _first(copied["lost"], lambda more: ("...", f"of {more} more", 0, ""))
    errors = _first(writer.errors, lambda more: ("...", "", f"and {more} more"))
    return {"copied": copied, "errors": errors}


def _first(told: list[Any], last: Callable[[int], tuple[Any, ...]]) -> list[Any]:
    """As many as a message takes, and how many more there are."""
    room = _MOST_TOLD
    for at, each in enumerate(told):
        room -= len(encode(each))
        if room < 0:
            return [*told[:at], last(len(told) - at)]
    return told


def duplicate(
    where: Where,
    source: str,
    target: str,
    exclude: list[str],
    owner: list[int] | None,
    progress: bool,
    jobs: int,
) -> Iterator[Message]:
    """Copy a tree within the file system; the last message is as that of :func:`write`.

    With ``progress`` there are others before: ``{"copied": counts so far}``.
    """
    os = where.kernel.os
    real = os.path.realpath(target)
    inside = os.path.realpath(source).rstrip("/") + "/"
    if stat.S_ISDIR(os.lstat(source).st_mode) and f"{real}/".startswith(inside):
        raise OSError(errno.EINVAL, "cannot copy a directory into itself", source)
    writer = _writer(where, target, source, owner)
    entries = said = 0
    items = read_tree(os, source, exclude=exclude, jobs=jobs, packed=True)
    for number, _ in enumerate(writer.steps(items)):
        copied = writer.copied
        count = number + copied.files
        if progress and (number == 0 or count - entries > _OFTEN or copied.bytes - said > _MUCH):
            entries, said = count, copied.bytes
            yield {"copied": {**vars(copied), "lost": []}}, b""
    yield _written(writer), b""
