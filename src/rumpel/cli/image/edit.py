# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image edit``."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.common import Images, warn
from rumpel.cli.image.how import How
from rumpel.copying.source import xattr_names, xattr_values
from rumpel.images.errors import ImageError
from rumpel.images.locate import parse

_TYPED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@click.command(cls=Command)
@options
@click.argument("name", metavar="IMAGE[:PARTITION]:PATH")
def command(how: How, name: str) -> None:
    """Edit a file with $VISUAL or $EDITOR. Nothing is written if it is left as it was.

    What cannot be written to the image is kept in a temporary directory.

    \b
    Example:
      rumpel image edit disk.img:LABEL=root:/etc/fstab
    """
    location = parse(name)
    with Images(how, writes=True) as images, images.attempt(name):
        place = images.place(location)
        before = b"".join(place.volume.content(place.path))
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="rumpel-edit-") as directory:
            copy = Path(directory, Path(place.path).name)
            copy.write_bytes(before)
            try:
                status = _run(name, [*shlex.split(editor), str(copy)])
                if status:
                    raise ImageError(name, f"{editor} exited with {status}; nothing is changed")
                after = copy.read_bytes()
                if after != before:
                    _replace(place.volume.kernel, place.path, after)
            except BaseException:
                _keep(name, copy, before)
                raise


def _keep(name: str, copy: Path, before: bytes) -> None:
    """Save what was edited, if anything."""
    if copy.is_file() and copy.read_bytes() != before:
        kept = Path(tempfile.mkdtemp(prefix="rumpel-edited-"), copy.name)
        shutil.move(copy, kept)
        warn(f"{name}: what was edited is kept in {kept}")


def _run(name: str, command: list[str]) -> int:
    """Run a program that has the terminal: what is typed, or its end, is for it alone."""
    # A handler that does nothing, unlike SIG_IGN, is not passed on to the program.
    before = {number: signal.signal(number, lambda *_: None) for number in _TYPED}
    try:
        return subprocess.run(command).returncode
    except OSError as error:
        why = f"{command[0]}: {error.strerror}"
        raise ImageError(name, f"{why} ($VISUAL and $EDITOR say what edits)") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _replace(kernel: object, path: str, data: bytes) -> None:
    """Write a file beside it and rename that, so that there is always one of the two."""
    from typing import Any

    k: Any = kernel
    path = k.os.path.realpath(path)
    status = k.os.stat(path)
    new = f"{path}.rumpel-new"
    try:
        with k.open(new, "xb") as file:
            file.write(data)
            file.flush()
            for attribute, value in xattr_values(k.os, path, xattr_names(k.os, path)):
                k.os.setxattr(file.fileno(), attribute, value)
            k.os.fchown(file.fileno(), status.st_uid, status.st_gid)
            k.os.fchmod(file.fileno(), status.st_mode & 0o7777)
            k.os.fsync(file.fileno())
        k.os.rename(new, path)
    except BaseException:
        if k.state == "running" and k.os.path.exists(new):
            k.os.unlink(new)
        raise
