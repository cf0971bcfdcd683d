# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image create``."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import click

from rumpel.cli.image.clicked import Command, options, owner
from rumpel.cli.image.common import Images
from rumpel.cli.image.cp import said
from rumpel.cli.image.how import How
from rumpel.devices import Disk
from rumpel.images.errors import ImageError
from rumpel.images.formats import NAMES, QEMU
from rumpel.images.locate import Location
from rumpel.images.locks import in_use
from rumpel.images.qemu import convert_raw
from rumpel.images.tools import copy_range, mkfs, run
from rumpel.sizes import to_bytes

_SECTOR = 512
_MIB = 1 << 20
_TYPES = {"vfat": ("uefi", "c"), "swap": ("swap", "82")}
_TABLES = {"gpt": "gpt", "mbr": "dos"}


_LONGEST = 36
"""Name of a partition, in units of UTF-16."""


class Part(NamedTuple):
    """A partition to be made."""

    size: int | None
    kind: str
    label: str


@click.command(cls=Command)
@options
@click.argument("image", type=click.Path())
@click.argument("size", metavar="SIZE")
@click.option("--fs", "kind", help="One file system, of this kind, without partitions.")
@click.option("--label", default="", help="Its label.")
@click.option(
    "--partition",
    "-p",
    "wanted",
    multiple=True,
    metavar="SIZE:KIND[:LABEL]",
    help="A partition; SIZE may be 'rest'. More than once.",
)
@click.option("--table", type=click.Choice(list(_TABLES)), default="gpt", show_default=True)
@click.option("--from", "source", metavar="DIRECTORY|TAR", help="What the file system shall hold.")
@click.option("--mkfs", "arguments", multiple=True, metavar="ARGUMENT", help="More for mkfs.")
@click.option("--force", "-f", is_flag=True, help="Replace a file that is there.")
@owner
def command(
    how: How,
    image: str,
    size: str,
    kind: str | None,
    label: str,
    wanted: tuple[str, ...],
    table: str,
    source: str | None,
    arguments: tuple[str, ...],
    force: bool,
    owner: tuple[int, int] | None,
) -> None:
    """Make an image of a size, with file systems or none.

    File systems are made by their own tools, which must be installed; --from fills the last
    one through the kernel. --format qcow2 (vmdk, vhd, vhdx, vdi) makes that, else it is raw.

    \b
    Examples:
      rumpel image create data.img 1G --fs ext4 --from tree
      rumpel image create disk.img 4G -p 256M:vfat:EFI -p rest:ext4:root
    """
    format = NAMES.get(how.format or "raw", how.format or "raw")
    if format not in ("raw", *QEMU):
        raise click.UsageError(f"--format {format}: known are raw, {', '.join(QEMU)}")
    how = how._replace(format="raw")
    if kind and wanted:
        raise click.UsageError("--fs is for an image without partitions")
    if how.overlay or how.disks or how.read_only:
        raise click.UsageError("--overlay, --disk and --read-only are for images that are there")
    try:
        total = to_bytes(size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SIZE") from None
    if total < _SECTOR:
        raise click.BadParameter(f"{total} bytes are no disk (write 64M)", param_hint="SIZE")
    if source is not None and not os.path.exists(source):  # noqa: PTH110
        raise click.UsageError(f"{source}: no such file or directory")
    parts = [_part(text) for text in wanted]
    with _new(image, total, force, format) as path:
        if kind:
            mkfs(image, kind, str(path), label, arguments)
        elif parts:
            _partitions(image, path, total, parts, table, arguments)
        if source is not None:
            with Images(how, writes=True) as images:
                _fill(images, image, path, len(parts), source, owner)


@contextmanager
def _new(image: str, size: int, force: bool, format: str) -> Iterator[Path]:
    """A file beside the image, which takes its name once all is in it, and else goes."""
    final = Path(os.path.realpath(image))
    files: list[Path] = []
    try:
        _check(image, final, force)
        files.append(_file(final, size))
        yield files[0]
        _check(image, final, force)
        if format != "raw":
            files.append(_file(final, 0))
            convert_raw(image, files[0], files[1], format)
        files.pop().rename(final)
    except OSError as error:
        raise ImageError(image, error.strerror or str(error)) from None
    finally:
        for file in files:
            with suppress(OSError):
                file.unlink()


def _file(final: Path, size: int) -> Path:
    fd, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name}-")
    with open(fd, "wb") as file:
        file.truncate(size)
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(fd, 0o666 & ~umask)
    return Path(name)


def _check(image: str, final: Path, force: bool) -> None:
    """May this name be taken?"""
    if not os.path.lexists(final):
        return
    if not force:
        raise ImageError(image, "there is such a file already (--force replaces it)")
    if not final.is_file():
        raise ImageError(image, "is no regular file")
    try:
        Disk(final)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise ImageError(image, in_use(str(final))) from None


def _part(text: str) -> Part:
    size, _, rest = text.partition(":")
    kind, _, label = rest.partition(":")
    try:
        return Part(None if size == "rest" else to_bytes(size), kind, label)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--partition") from None


def _partitions(
    name: str, path: Path, total: int, parts: list[Part], table: str, arguments: tuple[str, ...]
) -> None:
    lines = [f"label: {_TABLES[table]}"]
    at = _MIB
    places: list[tuple[int, int]] = []
    for part in parts:
        # The second table of GPT is at the end.
        most = (total - at - (_MIB if table == "gpt" else 0)) // _MIB * _MIB
        room = most if part.size is None else -(-part.size // _MIB) * _MIB
        if room > most or room <= 0:
            raise ImageError(name, "has no room for its partitions")
        places.append((at, room))
        kind = _TYPES.get(part.kind, ("linux", "83"))[table != "gpt"]
        title = f', name="{_quoted(name, part.label)}"' if part.label and table == "gpt" else ""
        lines.append(f"start={at // 512}, size={room // 512}, type={kind}{title}")
        at += room
    run(name, ["sfdisk", "-q", str(path)], "fdisk", input="\n".join(lines) + "\n")
    for (start, room), part in zip(places, parts, strict=True):
        if not part.kind:
            continue
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}-") as piece:
            piece.truncate(room)
            mkfs(name, part.kind, piece.name, part.label, arguments)
            copy_range(Path(piece.name), 0, path, start, room)


def _quoted(name: str, label: str) -> str:
    """A partition's name, as sfdisk takes any."""
    try:
        length = len(label.encode("utf-16-le"))
    except UnicodeEncodeError:
        raise ImageError(name, f"{label!r} is no text, as a partition's name is") from None
    if length > 2 * _LONGEST:
        raise ImageError(name, f"{label!r} is too long for a partition: {_LONGEST} characters")
    return "".join(
        each
        if each.isprintable() and each not in '"\\'
        else "".join(f"\\x{byte:02x}" for byte in os.fsencode(each))
        for each in label
    )


def _fill(
    images: Images,
    image: str,
    path: Path,
    parts: int,
    source: str,
    owner: tuple[int, int] | None,
) -> None:
    import shutil
    import tarfile

    place = images.place(Location(str(path), str(parts) if parts else None, "/"))
    try:
        if os.path.isdir(source):  # noqa: PTH112
            said(images, place.volume.copy_in(source, "/", follow=True, owner=owner))
            return
        from rumpel.images.archive import read_tar

        with open(source, "rb") as file:
            said(images, place.volume.write(read_tar(file), "/", source, owner=owner))
    except shutil.Error as error:
        what, _, why = error.args[0][0]
        raise ImageError(image, f"cannot be filled: {what}: {why}") from None
    except tarfile.TarError as error:
        raise ImageError(image, f"cannot be filled: {source}: {error}") from None
