# SPDX-License-Identifier: GPL-2.0-only
"""A tree from a series of items, wherever they come from.

Targets are never followed: each name is made relative to a descriptor of its directory, which
was opened without following links, and names are checked to be names. So neither a hostile
image nor a hostile series writes outside the directory that it is copied to.
"""

from __future__ import annotations

import errno
import os as host
import stat

from rumpel.copying import Copied, Lost
from rumpel.copying.attributes import (
    Attributes,
    check_device,
    check_name,
    check_text,
    checked,
    nonsense,
)
from rumpel.copying.filling import Filling, replace
from rumpel.copying.groups import Group, Groups, Maker
from rumpel.copying.keeping import DEFAULT_ACL, Keeper
from rumpel.copying.packed import can_pack, unpacked
from rumpel.copying.placed import Placed
from rumpel.copying.source import attributes_of, xattr_names
from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from rumpel.copying import Progress
    from rumpel.copying.source import Item

__all__ = ["Writer"]

_DIRECTORY = host.O_RDONLY | host.O_DIRECTORY | host.O_NOFOLLOW
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


class _Directory(NamedTuple):
    """A directory that is being filled."""

    rel: str
    fd: int
    attributes: Attributes
    has_default_acl: bool
    is_plain: bool
    """What is made in it is ours, and has the mode that is asked for."""


class Writer:
    """Makes a tree.

    Args:
        os: the module of the side on which it is made.
        target: its path; if it is a directory and the source is none, it is made in there,
            under the source's name.
        source: what it is copied from, for messages.
        owner: user and group for all of it, instead of those that items have.
        progress: called after each entry, and after each piece of a large file.
        placed: what is taken from an image that lies on this side is.

    Attributes:
        copied: what was made so far.
        errors: what could not be: source, target, and why.
    """

    def __init__(
        self,
        os: Any,
        target: str,
        source: str,
        *,
        owner: tuple[int, int] | None = None,
        progress: Progress | None = None,
        placed: Placed | None = None,
    ) -> None:
        self.os = os
        self.target = target
        self.source = source
        self.owner = owner
        self.progress = progress
        self.copied = Copied()
        self.errors: list[tuple[str, str, str]] = []
        self._stack: list[_Directory] = []
        self._skipped: str | None = None
        self._linkable: set[str] = set()
        self._has_top = False
        # Who makes files, and what bits they have not whatever is asked for.
        self._ids = os.geteuid(), os.getegid()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._keeper = Keeper(os, lambda rel: self._paths(rel)[1], self.copied.lost)
        args = self.copied, self._keeper, self._fail, self._linkable, progress, placed
        self._filling = Filling(os, *args)
        maker = Maker(self._ids, self._umask, owner)
        fits = owner is None or all(0 <= each < 1 << 32 for each in owner)
        self._groups = Groups(os, self, maker) if fits and can_pack(os) else None

    def run(self, items: Iterable[Item]) -> Copied:
        """Make all.

        Raises:
            shutil.Error: at the end, with what could not be made.
        """
        for _ in self.steps(items):
            pass
        if self.errors:
            from shutil import Error

            raise Error(self.errors)
        return self.copied

    def steps(self, items: Iterable[Item]) -> Iterator[None]:
        """The same, an item for each step; :attr:`errors` are what could not be made."""
        try:
            for item, data in items:
                self._item(item, data)
                yield
            self._filling.interrupted()
            while self._stack:
                self._leave()
            self._catch_up(None)
        finally:
            self._filling.abandon()
            left = self._groups.close() if self._groups else []
            for directory in (*left, *self._stack):
                self.os.close(directory.fd)
            self._stack.clear()

    def _item(self, item: list[Any], data: Any) -> None:
        kind = item[0]
        if kind in ("c", "e", "i"):
            self._filling.piece(kind, item[1], data, item[2:])
            return
        rel = str(item[1])
        if kind == "b":
            self._files(rel, item, data)
            return
        if kind not in ("d", "f", "l", "h", "s", "x"):
            raise ValueError(f"{kind!r} is no kind of item")
        if kind == "x":
            self._filling.give_up()
            self._fail(rel, str(item[2]))
        elif self._skipped is not None and rel.startswith(self._skipped):
            return
        else:
            self._filling.interrupted()
            self._skipped = None
            self._entry(kind, rel, item, data)
        if self.progress:
            self.progress(self.copied)

    def _entry(self, kind: str, rel: str, item: list[Any], data: Any) -> None:
        self.copied.path = rel
        try:
            at, name = self._place(rel, kind)
            self._catch_up(rel)
            if kind == "h":
                self._catch_up(str(item[2]))
                self._link(str(item[2]), at, name)
                return
            attributes = self._attributes(item[2], rel)
            if kind == "f":
                here = self._stack[-1] if self._stack else None
                self._file(here, at, name, rel, attributes, data if item[3] else None)
            elif kind == "d":
                self._enter(at, name, rel, attributes)
            else:
                self._special(at, name, rel, attributes, kind, item[3])
            if attributes.names > 1 and kind != "d":
                self._linkable.add(rel)
        except OSError as error:
            self._fail(rel, str(error))
            if kind == "d":
                self._skipped = f"{rel}/" if rel else ""

    def _place(self, rel: str, kind: str) -> tuple[int | None, str]:
        """The directory of an entry, and its name there."""
        if not rel:
            # A second one would be made through what the first one is, such as a link.
            if self._has_top:
                raise nonsense(rel)
            self._has_top = True
            if kind != "d" and self.os.path.isdir(self.target):
                name = self.os.path.basename(self.source.rstrip("/"))
                self.target = self.os.path.join(self.target, name)
            return None, self.target
        parent, slash, name = rel.rpartition("/")
        check_name(name, rel)
        if slash and not parent:
            raise nonsense(rel)
        self._return_to(parent)
        return self._stack[-1].fd, name

    def _return_to(self, rel: str) -> None:
        """Be in a directory: the last one, one above it, or one that was left before."""
        while self._stack and not (
            f"{rel}/".startswith(f"{self._stack[-1].rel}/") or not self._stack[-1].rel
        ):
            self._leave()
        if not self._stack:
            if self._has_top:
                raise nonsense(rel)
            self._has_top = True
            self._open_directory("", None, self.target, 0)
        while (here := self._stack[-1]).rel != rel:
            name = rel[len(here.rel) + bool(here.rel) :].partition("/")[0]
            check_name(name, rel)
            below = f"{here.rel}/{name}" if here.rel else name
            self._open_directory(below, here.fd, name, host.O_NOFOLLOW)

    def _open_directory(self, rel: str, at: int | None, name: str, nofollow: int) -> None:
        """Be in a directory that no item was about, which stays as it is."""
        self._catch_up(rel)
        try:  # noqa: SIM105 - contextlib takes long to import
            self.os.mkdir(name, 0o755, dir_fd=at)
        except FileExistsError:
            pass
        fd = self.os.open(name, _DIRECTORY & ~host.O_NOFOLLOW | nofollow, dir_fd=at)
        attributes = Attributes(*attributes_of(self.os.fstat(fd), []))
        self._stack.append(_Directory(rel, fd, attributes, False, False))

    def _paths(self, rel: str) -> tuple[str, str]:
        if not rel:
            return self.source, self.target
        return f"{self.source.rstrip('/')}/{rel}", f"{self.target.rstrip('/')}/{rel}"

    def _fail(self, rel: str, why: str) -> None:
        self.errors.append((*self._paths(rel), why))

    def _link(self, first: str, at: int | None, name: str) -> None:
        # What was made here has no links in its path; all else is not to be believed.
        if first not in self._linkable:
            raise FileNotFoundError(errno.ENOENT, "the file's first name was not copied", first)
        top = self._stack[0].fd
        how: dict[str, Any] = {"src_dir_fd": top, "dst_dir_fd": at, "follow_symlinks": False}
        replace(self.os, at, name, lambda: self.os.link(first, name, **how))
        self.copied.links += 1

    def _special(
        self, at: int | None, name: str, rel: str, attributes: Attributes, kind: str, what: Any
    ) -> None:
        """A symbolic link, device, pipe or socket."""
        to = self.os
        if kind == "l":
            check_text(str(what), rel)
            replace(self.os, at, name, lambda: to.symlink(str(what), name, dir_fd=at))
            self.copied.links += 1
        else:
            device, mode = int(what), attributes.mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                raise nonsense(rel)
            check_device(device, rel)
            replace(self.os, at, name, lambda: to.mknod(name, mode, device, dir_fd=at))
            self.copied.specials += 1
        self._keeper.keep_by_name(at, name, rel, attributes, is_link=kind == "l")

    # Directories

    def _enter(self, at: int | None, name: str, rel: str, attributes: Attributes) -> None:
        flags, made = _DIRECTORY, False
        try:
            self.os.mkdir(name, 0o700, dir_fd=at)
            made = True
        except FileExistsError:
            # What is given for the target may be a link to a directory; what is below may not.
            if not rel:
                flags &= ~host.O_NOFOLLOW
        fd = self.os.open(name, flags, dir_fd=at)
        has_default_acl = DEFAULT_ACL in xattr_names(self.os, fd)
        plain = made and not has_default_acl and self._is_plain(self.os.fstat(fd))
        self._stack.append(_Directory(rel, fd, attributes, has_default_acl, plain))
        self.copied.directories += 1

    def _is_plain(self, made: host.stat_result) -> bool:
        """Does the file system keep owners and modes as they are asked for?

        Args:
            made: a directory that was just made with mode 700.
        """
        return (
            made.st_uid == self._ids[0]
            and made.st_gid == self._ids[1]
            and stat.S_IMODE(made.st_mode) == 0o700
        )

    def _leave(self) -> None:
        """Set a directory's attributes, which comes last: entries change its times."""
        here = self._stack.pop()
        if not (self._groups and self._groups.leave(here)):
            self.complete(here)

    def complete(self, here: _Directory) -> None:
        """All that is in a directory is there."""
        try:
            self._keeper.keep(here.fd, here.rel, here.attributes, here.has_default_acl)
        except OSError as error:
            self._fail(here.rel, str(error))
        finally:
            self.os.close(here.fd)

    def _catch_up(self, rel: str | None) -> None:
        """Wait for what other threads make, if this path is among it; or for all."""
        if self._groups:
            self._groups.catch_up(rel)

    def _files(self, rel: str, item: list[Any], data: Any) -> None:
        """Small files of a directory."""
        if self._skipped is not None and f"{rel}/".startswith(self._skipped):
            return
        names: list[str] = item[2]
        if not (isinstance(names, list) and {*map(type, names)} == {str}):
            raise ValueError("these are no names")
        self._filling.interrupted()
        self._skipped = None
        try:
            check_text("".join(names), rel)
            self._return_to(rel)
        except OSError as error:
            self._fail(rel, str(error))
            return
        here = self._stack[-1]
        if here.has_default_acl or not self._groups:
            for each in unpacked(item, data):
                self._item(*each)
            return
        paths = [f"{rel}/{name}" for name in names] if rel else names
        self.copied.path = paths[-1]
        self._groups.make(Group(here, here.fd, here.is_plain, item, paths, data))
        if self.progress:
            self.progress(self.copied)

    def again(self, here: Any, name: str, file: list[Any], content: Any) -> None:
        """Make a file alone that could not be made with others, and say why."""
        rel = file[1]
        try:
            check_name(name, rel)
            if "/" in name:
                raise nonsense(rel)
            self._file(here, here.fd, name, rel, self._attributes(file[2], rel), content)
        except OSError as error:
            self._fail(rel, str(error))

    def lost(self, rel: str, what: str, number: int) -> None:
        """Note what of a file could not be kept."""
        error = OSError(number, host.strerror(number))
        self.copied.lost.append(Lost(self._paths(rel)[1], what, error))

    def _attributes(self, values: Any, rel: str) -> Attributes:
        attributes = checked(values, rel)
        if self.owner is None:
            return attributes
        return attributes._replace(uid=self.owner[0], gid=self.owner[1])

    # Regular files

    def _file(
        self,
        here: _Directory | None,
        at: int | None,
        name: str,
        rel: str,
        attributes: Attributes,
        data: Any,
    ) -> None:
        mode = stat.S_IMODE(attributes.mode)
        # Nobody else may read what is not yet all there, and not yet his.
        ours = bool(
            here
            and here.is_plain
            and (attributes.uid, attributes.gid) == self._ids
            and not attributes.xattrs
            and not mode & (self._umask | _SPECIAL)
        )
        inherits = bool(here and here.has_default_acl)
        self._filling.create(at, name, rel, attributes, mode if ours else 0o600, ours, inherits)
        if data is not None:
            self._filling.whole(data)
