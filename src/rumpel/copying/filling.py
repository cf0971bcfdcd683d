# SPDX-License-Identifier: GPL-2.0-only
"""The regular file of a tree that is being written."""

from __future__ import annotations

import os as host

from rumpel.copying import Copied
from rumpel.copying.attributes import Attributes, nonsense
from rumpel.copying.keeping import Keeper
from rumpel.copying.placed import Placed
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rumpel.copying import Progress

__all__ = ["Filling", "replace"]

_CREATE = host.O_WRONLY | host.O_CREAT | host.O_EXCL | host.O_NOFOLLOW


def replace(os: Any, at: int | None, name: str, make: Callable[[], Any]) -> Any:
    """Make a name; if there is one already, and it is no directory, it goes.

    Args:
        os: the module of the side on which it is made.
        at: a descriptor of its directory.
        name: in there.
        make: makes it, and raises FileExistsError if it is there.
    """
    try:
        return make()
    except FileExistsError:
        os.unlink(name, dir_fd=at)
        return make()


class _Open(NamedTuple):
    """A file that is being written."""

    rel: str
    name: str
    at: int | None
    fd: int
    attributes: Attributes
    inherits: bool
    is_done: bool
    """Owner and mode are what they shall be."""


class Filling:
    """Writes files, one after the other, some of them in pieces.

    Args:
        os: the module of the side on which they are made.
        copied: is told what was.
        keeper: sets their attributes.
        fail: called with a path and why that could not be made.
        linkable: paths of which there may be other names; what is not made is taken out.
        progress: called after each piece.
        placed: what is taken from an image that lies on this side is.
    """

    def __init__(
        self,
        os: Any,
        copied: Copied,
        keeper: Keeper,
        fail: Callable[[str, str], None],
        linkable: set[str],
        progress: Progress | None,
        placed: Placed | None,
    ) -> None:
        self.os = os
        self.copied = copied
        self.progress = progress
        self._keeper = keeper
        self._fail = fail
        self._linkable = linkable
        self._placed = placed
        self._open: _Open | None = None
        self._position = 0

    def create(
        self,
        at: int | None,
        name: str,
        rel: str,
        attributes: Attributes,
        mode: int,
        is_done: bool,
        inherits: bool = False,
    ) -> None:
        """Make an empty file, which is written next.

        Args:
            at: a descriptor of its directory.
            name: in there.
            rel: its path.
            attributes: that it shall have.
            mode: that it is made with.
            is_done: owner and mode are what they shall be then.
            inherits: it may get an access control list from its directory.
        """
        create = self.os.open
        fd = replace(self.os, at, name, lambda: create(name, _CREATE, mode, dir_fd=at))
        self._open = _Open(rel, name, at, fd, attributes, inherits, is_done)
        self._position = 0

    def piece(self, kind: str, offset: int, data: Any, place: list[Any]) -> None:
        """A part of a large file, or its end. If it could not be made these go by."""
        file = self._open
        if file is None:
            return
        try:
            if not 0 <= int(offset) < 1 << 63:
                raise nonsense(file.rel)
            if kind == "e":
                if offset != self._position:
                    self.os.ftruncate(file.fd, offset)
                self._finish()
                return
            if offset != self._position:
                self._position = self.os.lseek(file.fd, offset, host.SEEK_SET)
            if kind == "i":
                self._take(file.fd, *place)
                return
            self._write(data)
            if self.progress:
                self.progress(self.copied)
        except OSError as error:
            self._fail(file.rel, str(error))
            self.give_up()

    def whole(self, data: Any) -> None:
        """All of its content."""
        self._write(data)
        self._finish()

    def _write(self, data: Any) -> None:
        assert self._open
        try:
            done = self.os.write(self._open.fd, data) if data else 0
            while done < len(data):
                done += self.os.write(self._open.fd, memoryview(data)[done:])
        except BaseException:
            self.abandon()
            raise
        self._position += done
        self.copied.bytes += done

    def _take(self, fd: int, where: Any, length: Any) -> None:
        """Have a part of the open file copied from the image."""
        if self._placed is None:
            raise ValueError("nothing was said of an image")
        for count in self._placed.copy(fd, where, length):
            self._position += count
            self.copied.bytes += count
            if self.progress:
                self.progress(self.copied)

    def _finish(self) -> None:
        file = self._open
        assert file
        try:
            if file.is_done:
                self._keeper.keep_times(file.fd, file.rel, file.attributes)
            else:
                self._keeper.keep(file.fd, file.rel, file.attributes, file.inherits)
        except BaseException:
            self.abandon()
            raise
        self._open = None
        self.os.close(file.fd)
        self.copied.files += 1

    def interrupted(self) -> None:
        """Whatever comes next, a file that is still open has not come to its end."""
        if self._open is not None:
            self._fail(self._open.rel, "its content came to no end")
            self.give_up()

    def give_up(self) -> None:
        """Abandon it, of which something was told already."""
        try:  # noqa: SIM105 - contextlib takes long to import
            self.abandon()
        except OSError:
            pass

    def abandon(self) -> None:
        """Half a file is worse than none."""
        file, self._open = self._open, None
        if file is not None:
            self._linkable.discard(file.rel)
            self.os.close(file.fd)
            self.os.unlink(file.name, dir_fd=file.at)
