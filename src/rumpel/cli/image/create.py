# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image create``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import click

from rumpel.cli.image.common import How, Images, options, owner
from rumpel.cli.image.cp import said
from rumpel.images.errors import ImageError
from rumpel.images.locate import Location
from rumpel.images.tools import copy_range, mkfs, run
from rumpel.sizes import to_bytes

_MIB = 1 << 20
_TYPES = {"vfat": ("uefi", "c"), "swap": ("swap", "82")}
_TABLES = {"gpt": "gpt", "mbr": "dos"}


class Part(NamedTuple):
    """A partition to be made."""

    size: int | None
    kind: str
    label: str


@click.command()
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
    one through the kernel.

    \b
    Examples:
      rumpel image create data.img 1G --fs ext4 --from tree
      rumpel image create disk.img 4G -p 256M:vfat:EFI -p rest:ext4:root
    """
    if kind and wanted:
        raise click.UsageError("--fs is for an image without partitions")
    path = Path(image)
    try:
        total = to_bytes(size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SIZE") from None
    if source is not None and not os.path.exists(source):  # noqa: PTH110
        raise click.UsageError(f"{source}: no such file or directory")
    parts = [_part(text) for text in wanted]
    try:
        with path.open("wb" if force else "xb") as file:
            file.truncate(total)
    except FileExistsError:
        raise ImageError(image, "there is such a file already (--force replaces it)") from None
    except OSError as error:
        raise ImageError(image, error.strerror or str(error)) from None
    try:
        if kind:
            mkfs(image, kind, image, label, arguments)
        elif parts:
            _partitions(path, total, parts, table, arguments)
        if source is not None:
            with Images(how, writes=True) as images:
                _fill(images, image, len(parts), source, owner)
    except BaseException:
        # Half an image is worse than none.
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def _part(text: str) -> Part:
    size, _, rest = text.partition(":")
    kind, _, label = rest.partition(":")
    try:
        return Part(None if size == "rest" else to_bytes(size), kind, label)
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: {error}", param_hint="--partition") from None


def _partitions(
    path: Path, total: int, parts: list[Part], table: str, arguments: tuple[str, ...]
) -> None:
    name = str(path)
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
        title = f', name="{part.label}"' if part.label and table == "gpt" else ""
        lines.append(f"start={at // 512}, size={room // 512}, type={kind}{title}")
        at += room
    run(name, ["sfdisk", "-q", name], "fdisk", input="\n".join(lines) + "\n")
    for (start, room), part in zip(places, parts, strict=True):
        if not part.kind:
            continue
        piece = path.with_name(f"{path.name}.part")
        try:
            with piece.open("xb") as file:
                file.truncate(room)
            mkfs(name, part.kind, str(piece), part.label, arguments)
            copy_range(piece, 0, path, start, room)
        finally:
            piece.unlink(missing_ok=True)


def _fill(
    images: Images, image: str, parts: int, source: str, owner: tuple[int, int] | None
) -> None:
    import shutil

    place = images.place(Location(image, str(parts) if parts else None, "/"))
    try:
        if os.path.isdir(source):  # noqa: PTH112
            said(images, place.volume.copy_in(source, "/", follow=True, owner=owner))
            return
        from rumpel.images.archive import read_tar

        with open(source, "rb") as file:
            said(images, place.volume.write(read_tar(file), "/", source, owner=owner))
    except shutil.Error as error:
        path, _, why = error.args[0][0]
        raise ImageError(image, f"cannot be filled: {path}: {why}") from None
