# SPDX-License-Identifier: GPL-2.0-only
"""What is done where the kernel is: all that would be thousands of system calls.

Each function gets the worker, of which it uses ``kernel`` and ``disks``. Those that are
iterated over say their results in messages and bytes; the others read such from a series.
"""

from __future__ import annotations

import errno
import os as host
import stat

from rumpel.copying.pieces import read
from rumpel.images.features import features
from rumpel.images.labels import gpt_name, label_and_uuid
from rumpel.images.mounting import attach, detach
from rumpel.images.probe import SIZE, probe, probe_end, table
from rumpel.images.walking import walk, walk_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from rumpel.copying.pieces import Room
    from rumpel.images.probe import Found
    from rumpel.kernel import Kernel

    Message = tuple[Any, Any]

    class Where(Protocol):
        """Where a function runs: in a sandbox, or here.

        Attributes:
            kernel: the kernel.
            disks: its disks.
            room: where content may be read to that is said next.
        """

        kernel: Kernel
        disks: list[Any]
        room: Room | None


__all__ = [
    "Where",
    "attach",
    "content",
    "detach",
    "devices",
    "remove",
    "rollback",
    "snapshot",
    "walk",
    "walk_names",
]

_BUFFER = 512 << 10
_READ_AHEAD = b"2048"
"""In KiB."""


def content(where: Where, path: str) -> Iterator[Message]:
    """What is in a file."""
    os = where.kernel.os
    # Nobody will ever write to a pipe in an image.
    fd = os.open(path, host.O_RDONLY | host.O_NONBLOCK)
    try:
        mode = os.fstat(fd).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "not a regular file", path)
        while data := read(os, fd, _BUFFER, where.room):
            yield 0, data
    finally:
        os.close(fd)


def remove(where: Where, path: str) -> Iterator[Message]:
    """Remove a file, or a tree with all that is in it."""
    os = where.kernel.os
    if stat.S_ISDIR(os.lstat(path).st_mode):
        _remove_tree(os, path)
    else:
        os.unlink(path)
    yield 0, b""


def _remove_tree(os: Any, path: str) -> None:
    ahead = [path]
    while ahead:
        here = ahead[-1]
        below = []
        for name in os.listdir(here):
            full = f"{here}/{name}"
            try:
                os.unlink(full)
            except IsADirectoryError:
                below.append(full)
        if below:
            ahead += below
        else:
            os.rmdir(here)
            ahead.pop()


def devices(where: Where) -> Iterator[Message]:
    """Disks and partitions, and what is on them: dictionaries with the fields of a Device."""
    os = where.kernel.os
    for disk in sorted(os.listdir("/sys/block"), key=_by_number):
        top = f"/sys/block/{disk}"
        if not (disk.startswith(_VOLUMES) or os.path.exists(f"{top}/device")):
            continue
        _read_ahead(os, top)
        below = [name for name in os.listdir(top) if os.path.exists(f"{top}/{name}/partition")]
        for name in (disk, *sorted(below, key=_by_number)):
            told = _device(os, top if name == disk else f"{top}/{name}", name)
            if "!" in told["part_label"]:  # which Linux has for what is not ASCII
                told["part_label"] = _part_label(os, disk, told["number"]) or told["part_label"]
            yield told, b""


def _part_label(os: Any, disk: str, number: int) -> str:
    fd = os.open(f"/dev/{disk}", host.O_RDONLY)
    try:
        return gpt_name(lambda at, count: os.pread(fd, count, at), number)
    except (OSError, OverflowError):
        return ""
    finally:
        os.close(fd)


def _read_ahead(os: Any, disk: str) -> None:
    """Have large files read in large pieces: each is a call of the host."""
    fd = os.open(f"{disk}/queue/read_ahead_kb", host.O_WRONLY)
    try:
        os.write(fd, _READ_AHEAD)
    finally:
        os.close(fd)


_VOLUMES = ("dm-", "md")
"""How devices are called that are made of others."""


def _by_number(name: str) -> tuple[bool, int, str]:
    return name.startswith(_VOLUMES), len(name), name


def _device(os: Any, directory: str, name: str) -> dict[str, Any]:
    told: dict[str, str] = {}
    for line in _text(os, f"{directory}/uevent").splitlines():
        key, _, value = line.partition("=")
        told[key] = value
    found, kind_of_table, problem, data = None, "", "", b""
    part = "partition" in os.listdir(directory)
    size = int(_text(os, f"{directory}/size")) * 512
    fd = os.open(f"/dev/{name}", host.O_RDONLY)
    try:
        data = os.pread(fd, SIZE, 0)
        kind_of_table = table(data)
        found = probe(data)
        if part or found or not kind_of_table:
            # What is at its end says what is at its beginning, too.
            found = probe_end(lambda at, count: os.pread(fd, count, at), size) or found
        if found:
            found = _labelled(found, data, lambda at, count: os.pread(fd, count, at))
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    finally:
        os.close(fd)
    return {
        "name": name,
        "number": int(_text(os, f"{directory}/partition")) if part else 0,
        "start": int(_text(os, f"{directory}/start")) * 512 if part else 0,
        "size": size,
        "table": "" if part or (found and found.kind) else kind_of_table,
        "part_label": told.get("PARTNAME", ""),
        "part_uuid": told.get("PARTUUID", ""),
        "kind": found.kind if found else "",
        "label": found.label if found else "",
        "uuid": found.uuid if found else "",
        "mountable": bool(found and found.mountable),
        "features": " ".join(features(found.kind, data)) if found else "",
        "problem": problem,
        "below": [] if part else sorted(os.listdir(f"{directory}/slaves"), key=_by_number),
    }


def _labelled(found: Found, data: bytes, read: Callable[[int, int], bytes]) -> Found:
    """With a label and a UUID that are not in the superblock."""
    try:
        label, uuid = label_and_uuid(found.kind, data.ljust(SIZE, b"\0"), read)
    except (OSError, OverflowError):  # of what is damaged a number may be no place
        return found
    return found._replace(label=label or found.label, uuid=uuid or found.uuid)


def _text(os: Any, path: str) -> str:
    fd = os.open(path, host.O_RDONLY)
    try:
        data: bytes = os.read(fd, 4096)
        return data.decode(errors="replace").strip()
    finally:
        os.close(fd)


def snapshot(where: Where) -> Iterator[Message]:
    """Freeze the disks' state: what follows goes to an overlay in memory. None may be in use."""
    _swap(where, [disk.snapshot() for disk in _overlays(where)])
    yield 0, b""


def rollback(where: Where, depth: int) -> Iterator[Message]:
    """Forget what was written since the snapshot that made this depth."""
    disks, kept = _overlays(where), []
    # An overlay can be emptied once nobody knows those above it any more.
    where.disks.clear()
    while disks:
        top = disks.pop(0)
        while _depth(top) > depth:
            top = top.base
        top.discard()
        kept.append(top)
    _swap(where, kept)
    yield 0, b""


def _overlays(where: Where) -> list[Any]:
    if not all(hasattr(disk, "snapshot") for disk in where.disks):
        raise OSError(errno.EOPNOTSUPP, "snapshots need an overlay")
    for disk in where.disks:
        where.kernel.unplug(disk)
    return list(where.disks)


def _swap(where: Where, disks: list[Any]) -> None:
    for disk in disks:
        where.kernel.plug(disk)
    where.disks[:] = disks


def _depth(disk: Any) -> int:
    depth = 0
    while hasattr(disk.base, "snapshot"):
        disk, depth = disk.base, depth + 1
    return depth
