# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image edit``."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import click

from rumpel.cli.image.common import How, Images, options
from rumpel.images.locate import parse


@click.command()
@options
@click.argument("name", metavar="IMAGE[:PARTITION]:PATH")
def command(how: How, name: str) -> None:
    """Edit a file with $VISUAL or $EDITOR. Nothing is written if it is left as it was."""
    location = parse(name)
    with Images(how, writes=True) as images, images.attempt(name):
        place = images.place(location)
        before = b"".join(place.volume.content(place.path))
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="rumpel-edit-") as directory:
            copy = Path(directory, Path(place.path).name)
            copy.write_bytes(before)
            status = subprocess.run([*shlex.split(editor), copy]).returncode
            if status:
                images.complain(f"{name}: {editor} exited with {status}; nothing is changed")
                return
            after = copy.read_bytes()
        if after != before:
            _replace(place.volume.kernel, place.path, after)


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
            for attribute in k.os.listxattr(path):
                k.os.setxattr(file.fileno(), attribute, k.os.getxattr(path, attribute))
            k.os.fchown(file.fileno(), status.st_uid, status.st_gid)
            k.os.fchmod(file.fileno(), status.st_mode & 0o7777)
            k.os.fsync(file.fileno())
        k.os.rename(new, path)
    except BaseException:
        if k.state == "running" and k.os.path.exists(new):
            k.os.unlink(new)
        raise
