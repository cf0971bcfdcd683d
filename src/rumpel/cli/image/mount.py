# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel image mount``."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from rumpel.cli.image.clicked import Command, options
from rumpel.cli.image.how import How
from rumpel.images.locate import parse

_OF_FUSE = ("allow_other", "default_permissions")
"""What the file system in the image does not know."""
_ON_HOST = ("default_permissions", "noexec", "sync", "dirsync")
"""Of the mount at the directory."""


@click.command(cls=Command)
@options
@click.argument("name", metavar="IMAGE[:PARTITION]")
@click.argument("directory")
@click.option("--foreground", "-f", is_flag=True, help="Stay until it is unmounted.")
@click.option("--allow-other", is_flag=True, help="Let other users in, as far as modes allow.")
def command(how: How, name: str, directory: str, foreground: bool, allow_other: bool) -> None:
    """Mount a file system of an image at a directory, without root.

    Unmount it with fusermount3 -u DIRECTORY; with --foreground also with Ctrl-C. All is written
    to the image then, and its file system is clean. -o has options of mount(8) for the file
    system in the image; ro, allow_other and noexec are about the directory.

    \b
    Example:
      rumpel image mount disk.img:2 mnt
      make -C src install DESTDIR=$PWD/mnt
      fusermount3 -u mnt
    """
    from rumpel.images.fuse.mount import mount

    location = parse(name)
    if location.path not in (None, "/"):
        raise click.UsageError(f"{name}: only whole file systems are mounted")
    paths = [location.image, *how.disks]
    words = [word for word in how.mount_options.split(",") if word]
    own = [word for word in words if word in _OF_FUSE]
    how = how._replace(mount_options=",".join(word for word in words if word not in own))
    opened = how.options(not how.read_only)
    on_host = [word for word in words if word in _ON_HOST]
    shown: dict[str, Any] = {"allow_other": allow_other or "allow_other" in own, "on_host": on_host}
    directory = os.path.abspath(directory)  # noqa: PTH100 (symbolic links stay)
    if foreground:
        mount(paths, location.partition, directory, opened, **shown)
        return
    up, told = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(told)
        _leave(up, pid)
    os.close(up)
    os.setsid()

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        os.close(null)
        os.write(told, b"!")
        os.close(told)

    mount(paths, location.partition, directory, opened, **shown, ready=ready)


def _leave(up: int, pid: int) -> NoReturn:
    """End when the other process has mounted it; or with its exit status."""
    if os.read(up, 1):
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
