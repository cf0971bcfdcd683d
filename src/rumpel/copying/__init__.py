# SPDX-License-Identifier: GPL-2.0-only
"""Copy trees between the host and a kernel, or between kernels.

All that a tree has besides names and content is kept: modes, owners, times, extended
attributes (access control lists and capabilities among them), holes, links. Entries go in the
order of their names, not in the directory's order, so that the same tree makes the same image.

``source`` makes a series of items of a tree, ``target`` a tree of items; both work on the
module os of either side. Items are numbers, text and bytes, so they may as well come from
another process, and from one that is not to be trusted: ``target`` never leaves its directory.
"""

from __future__ import annotations

from rumpel.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Progress = Callable[["Copied"], object]

__all__ = ["Copied", "Lost", "Progress", "copy"]


class Lost(NamedTuple):
    """What of a file could not be kept, though its content was.

    Attributes:
        path: in the target.
        what: ``owner``, ``mode``, ``times``, or the name of an extended attribute.
        error: why.
    """

    path: str
    what: str
    error: OSError


class Copied:
    """What was copied so far.

    Attributes:
        path: the entry that was last begun, relative to the source; "" is the source itself.
        files: regular files; further names of one are links.
        directories: directories, those that existed before among them.
        links: symbolic links and further names of files.
        specials: devices, named pipes and sockets.
        bytes: of content; holes do not count.
        lost: what could not be kept.
    """

    def __init__(self) -> None:
        self.path = ""
        self.files = 0
        self.directories = 0
        self.links = 0
        self.specials = 0
        self.bytes = 0
        self.lost: list[Lost] = []

    def __repr__(self) -> str:
        return f"Copied({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def copy(
    source_os: Any,
    source: Any,
    target_os: Any,
    target: Any,
    *,
    one_file_system: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copy a file or a tree; see :meth:`rumpel.Kernel.copy_in`."""
    from rumpel.copying.source import read_tree
    from rumpel.copying.target import Writer

    source = source_os.fsdecode(source)
    items = read_tree(source_os, source, one_file_system=one_file_system, packed=True)
    writer = Writer(target_os, target_os.fsdecode(target), source, progress=progress)
    return writer.run(items)
