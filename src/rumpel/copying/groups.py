# SPDX-License-Identifier: GPL-2.0-only
"""Making small files of a directory, many at a time, here or by other threads."""

from __future__ import annotations

from rumpel import _native
from rumpel.copying import Copied
from rumpel.copying.behind import Batch, Behind
from rumpel.copying.packed import length, place_of, unpacked
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    class Writer(Protocol):
        """Who wants them; see :class:`rumpel.copying.target.Writer`."""

        copied: Copied
        errors: list[tuple[str, str, str]]

        def again(self, here: Any, name: str, file: list[Any], content: Any) -> None:
            """Make a file alone that could not be made with others."""

        def lost(self, rel: str, what: str, number: int) -> None:
            """Note what of a file could not be kept."""

        def complete(self, here: Any) -> None:
            """All that is in a directory is there."""


__all__ = ["Group", "Groups", "Maker"]


class Maker(NamedTuple):
    """Who makes files; see :func:`rumpel._native.make_files`."""

    ids: tuple[int, int]
    umask: int
    owner: tuple[int, int] | None


class Group(NamedTuple):
    """Files of a directory.

    Attributes:
        here: the directory, for the writer.
        fd, is_plain: of it.
        item: what is said of them; see :mod:`rumpel.copying.packed`.
        paths: of them.
        data: what belongs to the item.
    """

    here: Any
    fd: int
    is_plain: bool
    item: list[Any]
    paths: list[str]
    data: Any


class Groups:
    """Makes them.

    Args:
        os: the module of the side on which they are made.
        writer: who is told.
        maker: who makes files there.
    """

    def __init__(self, os: Any, writer: Writer, maker: Maker) -> None:
        self._place = place_of(os)
        self._writer = writer
        self._maker = maker
        self._behind = Behind.if_useful(os)

    def make(self, group: Group) -> None:
        """Make files, at once or by and by."""
        behind = self._behind
        if behind and not behind.paths.isdisjoint(group.paths):
            self.catch_up(None)
        if self._place is None:
            # It may be memory that a sandbox has as well.
            group = group._replace(data=bytes(group.data))
        ids, umask, owner = self._maker
        args = self._place, group.fd, group.item[2], group.data, ids, umask, group.is_plain, owner
        if behind:
            size = len(group.data)
            self._collect(behind.add(group.paths, lambda: _native.make_files(*args), group, size))
        else:
            self._made(group, _native.make_files(*args))

    def _made(self, group: Group, made: list[tuple[int, str, int]] | None) -> None:
        """Note what has become of files; those that could not be made are tried one by one."""
        writer, count = self._writer, len(group.paths)
        failed = set[int](range(count)) if made is None else set[int]()
        for index, what, number in made or ():
            if what == "file":
                failed.add(index)
            else:
                writer.lost(group.paths[index], what, number)
        done, size = count - len(failed), length(group.paths, group.data)
        try:
            files = unpacked(group.item, group.data) if failed else ()
            for index, (file, content) in enumerate(files):
                if index in failed:
                    size -= len(content)
                    writer.again(group.here, group.item[2][index], file, content)
        except OSError as error:
            writer.errors.append((group.paths[0], group.paths[0], str(error)))
        writer.copied.files += done
        writer.copied.bytes += size

    def leave(self, directory: Any) -> bool:
        """Complete a directory when all files before it are there; False if they are."""
        batches = self._behind.leave(directory) if self._behind else None
        if batches is None:
            return False
        self._collect(batches)
        return True

    def catch_up(self, rel: str | None) -> None:
        """Wait for what other threads make, if this path is among it; or for all."""
        behind = self._behind
        if behind and (rel is None or rel in behind.paths):
            self._collect(behind.finish())

    def _collect(self, batches: Iterable[Batch]) -> None:
        """Take what other threads have made."""
        for batch in batches:
            for group, made in zip(batch.told, batch.made, strict=True):
                self._made(group, made)
            while batch.left:
                self._writer.complete(batch.left.pop(0))

    def close(self) -> list[Any]:
        """End the threads; the directories that are left."""
        return self._behind.close() if self._behind else []
