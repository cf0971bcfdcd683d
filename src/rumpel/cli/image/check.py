# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image check``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from rumpel.cli.image.common import How, Images, options, show
from rumpel.images.errors import ImageError
from rumpel.images.locate import parse
from rumpel.images.session import Device, Session
from rumpel.images.tools import copy_range, fsck
from rumpel.images.volume import choose, open_volume


@click.command()
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]...")
@click.option("--repair", is_flag=True, help="Replay the journal, and repair what is found.")
@click.option("-v", "verbose", is_flag=True, help="Show what the programs say.")
def command(how: How, names: tuple[str, ...], repair: bool, verbose: bool) -> None:
    """Check file systems with their own programs. The exit status is 1 if one is not clean.

    Without a partition all of an image are checked. With --repair the kernel mounts each first,
    which replays its journal.
    """
    with Images(how) as images:
        for name in names:
            with images.attempt(name):
                location = parse(name)
                for device in _devices(how, location.image, location.partition):
                    title = f"{location.image}:{device.number}" if device.number else name
                    clean, said = _check(how, location.image, device, repair)
                    show(f"{title}: {device.kind}: {'clean' if clean else 'NOT CLEAN'}")
                    if verbose or not clean:
                        for line in said.splitlines():
                            show(f"    {line}")
                    images.failed = images.failed or not clean


def _devices(how: How, image: str, partition: str | None) -> list[Device]:
    session = Session([image], how.options(False))
    try:
        devices = session.devices()
    finally:
        session.close()
    if partition is not None:
        return [choose(image, devices, partition)]
    found = [each for each in devices if each.mountable]
    if not found:
        raise ImageError(image, "no file system to check")
    # A disk with partitions has no file system itself, whatever is left of an old one.
    return [each for each in found if each.number] or found


def _check(how: How, image: str, device: Device, repair: bool) -> tuple[bool, str]:
    if repair:
        try:
            open_volume([image], str(device.number), how.options(True)).close()
        except ImageError as error:
            click.echo(f"rumpel: {error}; trying to repair it", err=True)
    if not device.number:
        return fsck(image, device.kind, image, repair)
    path = Path(image)
    # These programs know no partitions: they get a copy, with holes where the image has some.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as copy:
        copy.truncate(device.size)
        copy_range(path, device.start, Path(copy.name), 0, device.size)
        clean, said = fsck(image, device.kind, copy.name, repair)
        if repair:
            copy_range(Path(copy.name), 0, path, device.start, device.size)
        return clean, said
