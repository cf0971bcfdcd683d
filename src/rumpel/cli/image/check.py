# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image check``."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from rumpel.cli.image.clicked import Command, as_json, options
from rumpel.cli.image.common import Images, show, show_json, warn
from rumpel.cli.image.how import How
from rumpel.errors import RumpelError
from rumpel.images.device import Device
from rumpel.images.errors import ImageError
from rumpel.images.formats import COMPRESSED
from rumpel.images.locate import parse
from rumpel.images.locks import held
from rumpel.images.session import Session
from rumpel.images.sources import check_raw, header_of, is_url
from rumpel.images.tools import copy_range, fsck
from rumpel.images.volume import open_volume


@click.command(cls=Command)
@options
@click.argument("names", nargs=-1, required=True, metavar="IMAGE[:PARTITION]...")
@click.option("--repair", is_flag=True, help="Replay the journal, and repair what is found.")
@click.option("-v", "verbose", is_flag=True, help="Show what the programs say.")
@as_json
def command(how: How, names: tuple[str, ...], repair: bool, verbose: bool, as_json: bool) -> None:
    """Check file systems with their own programs. The exit status is 1 if one is not clean.

    Without a partition all of an image are checked. With --repair the kernel mounts each first,
    which replays its journal. Such a program is killed after --timeout and a second for each 4 MB.
    It gets a copy of what is in a partition, a volume, a qcow2 or with --overlay; what is repaired
    is written back.

    \b
    Example:
      rumpel image check --repair disk.img:2
    """
    if repair and how.read_only:
        raise click.UsageError("--repair is not --read-only")
    if repair and how.verity:
        raise click.UsageError("what --verity checks cannot be written to")
    every: list[dict[str, object]] = []
    with Images(how) as images:
        for name in names:
            with images.attempt(name):
                location = parse(name)
                for device in _devices(how, location.image, location.partition):
                    title = f"{location.image}{device.suffix}" if device.suffix else name
                    clean, said = _check(how, location.image, device, repair)
                    images.failed = images.failed or not clean
                    if as_json:
                        told = {"type": device.kind, "clean": clean, "output": said}
                        every.append({"image": title, **told})
                        continue
                    show(f"{title}: {device.kind}: {'clean' if clean else 'NOT CLEAN'}")
                    if verbose or not clean:
                        for line in said.splitlines():
                            show(f"    {line}")
        if as_json:
            show_json(every)


def _devices(how: How, image: str, partition: str | None) -> list[Device]:
    session = Session(how.paths(image), how.options(False))
    try:
        device, devices = session.find(partition) if partition else (None, session.devices())
    finally:
        session.close()
    if device:
        return [device]
    found = [each for each in devices if each.mountable]
    if not found:
        raise ImageError(image, "no file system to check")
    # A disk with partitions has no file system itself, whatever is left of an old one.
    return [each for each in found if each.number or each.volume] or found


def _check(how: How, image: str, device: Device, repair: bool) -> tuple[bool, str]:
    is_content = bool(device.volume or how.overlay) or _is_served(how, image)
    if not is_content and len(how.paths(image)) > 1:
        raise click.UsageError(f"the program that checks {device.kind} knows no --disk")
    if repair:
        _replay(how, image, device)
    if is_content:
        return _check_content(how, image, device, repair)
    check_raw(image, how.format)
    with held(image, read_only=not repair):
        if not device.number:
            return fsck(image, device.kind, image, repair, how.timeout or None)
        return _check_copy(how, image, device, repair)


def _replay(how: How, image: str, device: Device) -> None:
    """Have the kernel replay the journal."""
    if not how.overlay and (is_url(image) or header_of(image, how.format).format in COMPRESSED):
        raise ImageError(image, "cannot be written to: repair it with an --overlay")
    try:
        open_volume(how.paths(image), device.title, how.options(True)).close()
    except ImageError as error:
        warn(f"{error}; trying to repair it")


def _room(image: str) -> str | None:
    """Where a copy lies: beside the image, where one as large is, unless nothing can be there."""
    beside = os.path.dirname(image) or "."  # noqa: PTH120
    return beside if not is_url(image) and os.access(beside, os.W_OK) else None


def _is_served(how: How, image: str) -> bool:
    """Is the image another's bytes than those of its file, as a qcow2 or a URL is?"""
    return is_url(image) or header_of(image, how.format).format != "raw"


def _check_content(how: How, image: str, device: Device, repair: bool) -> tuple[bool, str]:
    """What is in LUKS, LVM, RAID, a qcow2 or a compressed image is copied out of the kernel.

    What was repaired goes back the same way, while nobody else can open the image.
    """
    name = f"{image}{device.suffix}"
    path = Path(image)
    with tempfile.TemporaryDirectory(dir=_room(image), prefix=f".{path.name}-") as directory:
        copy = Path(directory, "volume")
        session = Session(how.paths(image), how.options(repair))
        try:
            device, _ = session.find(device.title)
            with copy.open("wb") as file:
                for piece in session.content(device):
                    if piece.count(0) < len(piece):
                        file.write(piece)
                    else:
                        file.seek(len(piece), os.SEEK_CUR)
                file.truncate(device.size)
            clean, said = fsck(name, device.kind, str(copy), repair, how.timeout or None)
            if repair:
                with _kept(name, copy, Path(_room(image) or tempfile.gettempdir())):
                    session.replace(device, copy)
        finally:
            session.close()
        return clean, said


def _check_copy(how: How, image: str, device: Device, repair: bool) -> tuple[bool, str]:
    """These programs know no partitions: they get a copy, with holes where the image has some."""
    path = Path(image)
    with tempfile.TemporaryDirectory(dir=_room(image), prefix=f".{path.name}-") as directory:
        copy = Path(directory, f"{path.name}.{device.number}")
        copy.touch()
        os.truncate(copy, device.size)
        copy_range(path, device.start, copy, 0, device.size)
        clean, said = fsck(image, device.kind, str(copy), repair, how.timeout or None)
        if repair:
            with _kept(image, copy, path.parent):
                copy_range(copy, 0, path, device.start, device.size)
        return clean, said


@contextmanager
def _kept(name: str, copy: Path, beside: Path) -> Iterator[None]:
    """Write what was repaired. Half of it would be worse than what was there."""
    typed = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in typed}
    try:
        yield
    except (OSError, RumpelError) as error:
        kept = Path(tempfile.mkdtemp(dir=beside, prefix="rumpel-repaired-"), copy.name)
        shutil.move(copy, kept)
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ImageError(name, f"{why}; what was repaired is kept in {kept}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
