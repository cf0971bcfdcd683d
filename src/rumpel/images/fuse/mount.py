# SPDX-License-Identifier: GPL-2.0-only
"""Mounting an image at a directory of the host, without root.

fusermount3(1) is what may do that; it hands over the open device.

Source: fusermount3(1), mount.fuse3(8).
"""

from __future__ import annotations

import array
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from rumpel.images.errors import ImageError
from rumpel.images.fuse.mounts import Mounted, mounts
from rumpel.images.fuse.outcome import kept, opened, outcome
from rumpel.images.session import Options, Service
from rumpel.images.sources import is_url, name_of
from rumpel.images.volume import open_volume

__all__ = ["mount", "unmount"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERVAL = 0.02
_MODULE = "rumpel.images.fuse.server"


def mount(
    paths: Sequence[str],
    partition: str | int | None,
    directory: str,
    options: Options,
    *,
    allow_other: bool = False,
    on_host: Sequence[str] = (),
    ready: Callable[[], object] = lambda: None,
) -> None:
    """Mount a file system of an image, and serve it until it is unmounted.

    That is by fusermount3 -u, umount, or a signal: SIGINT, SIGTERM or SIGHUP. The file system
    in the image is unmounted then, too. The second signal does not wait for what is under way.

    Args:
        paths: of the image's disks.
        partition: which, as for :func:`rumpel.images.open_image`.
        directory: of the host.
        options: how.
        allow_other: let other users in, as far as modes allow; else they are kept out.
        on_host: more options of the mount: default_permissions, noexec, sync, dirsync.
        ready: called when it is there.

    Raises:
        ImageError: if the image or the directory cannot be mounted.
        OSError: if the image may not be opened, or somebody else has it open (EBUSY).
    """
    where = os.path.realpath(directory)  # nobody answers there later, until it is served
    is_up = threading.Event()
    stop, stopping = os.pipe2(os.O_CLOEXEC)
    with ExitStack() as stack:
        stopper = stack.enter_context(open(stopping, "wb"))
        fds = ExitStack()
        stack.callback(fds.close)
        fds.callback(os.close, stop)
        with (
            _attached(
                paths[0], directory, options.read_only, allow_other, on_host, is_up
            ) as device,
            kept(_mounted(where).device, is_up),
        ):
            fds.callback(os.close, device)
            service = Service(_MODULE, (device, stop))
            with open_volume(paths, partition, options, service) as volume:
                if options.sandbox:
                    # When the sandbox ends, nobody has it: who looks there gets an error.
                    fds.close()
                with _signals(directory, stopper):
                    is_up.set()
                    ready()
                    volume.session.serve(options.read_only)


def unmount(directory: str) -> None:
    """Unmount, and wait until all is in the image and nobody has it any more.

    Raises:
        ImageError: if there is no mount of an image, somebody uses it, or not all could be
            written.
    """
    mounted = _mounted(os.path.realpath(directory))
    with ExitStack() as stack:
        told = opened(mounted.device)
        if told:
            stack.enter_context(told)
        if not _detach(directory):
            raise ImageError(directory, "is busy")
        why = outcome(told, mounted.device) if told else ""
        # The kernel's process writes what there is, also if nobody serves it any more.
        while (why or not told) and not mounted.read_only and _is_held(mounted.source):
            time.sleep(_INTERVAL)
        if why:
            raise ImageError(directory, f"not all may be in the image: {why}")


def _mounted(directory: str) -> Mounted:
    """What is mounted there; no links lead there."""
    found = [each for each in mounts() if each.directory == directory]
    if not found:
        raise ImageError(directory, "no image is mounted there")
    return found[-1]


def _is_held(image: str) -> bool:
    """Has somebody opened the image?"""
    from rumpel.devices import Disk

    try:
        Disk(image, read_only=True)
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


@contextmanager
def _attached(
    name: str,
    directory: str,
    read_only: bool,
    allow_other: bool,
    on_host: Sequence[str],
    is_up: threading.Event,
) -> Iterator[int]:
    """A mount that nobody serves yet: its device."""
    if not Path(directory).is_dir():
        raise ImageError(directory, "is no directory")
    words = ["ro" if read_only else "rw", "nosuid", "nodev", "subtype=rumpel", *on_host]
    # Everybody may read this. A comma would end it, and a backslash quotes.
    source = name_of(name) if is_url(name) else os.path.realpath(name)
    words.append("fsname=" + re.sub(r"([\\,])", r"\\\1", source))
    if allow_other:
        words += ["allow_other", "default_permissions"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        env = {**os.environ, "_FUSE_COMMFD": str(theirs.fileno())}
        command = [_program(), "-o", ",".join(words), "--", directory]
        done = subprocess.run(
            command, env=env, pass_fds=[theirs.fileno()], capture_output=True, text=True
        )
        theirs.close()
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    if done.returncode or not ancillary:
        said = done.stderr.strip().splitlines()
        raise ImageError(directory, said[-1] if said else "cannot be mounted at")
    device = array.array("i", ancillary[0][2])[0]
    os.set_blocking(device, False)
    try:
        yield device
    except BaseException as error:
        # Whoever is at work in a mount that failed gets errors. Without it he would go on, in
        # the host's directory.
        if not is_up.is_set() or not isinstance(error, Exception):
            _detach(directory, lazy=True)
        raise


def _detach(directory: str, lazy: bool = False) -> bool:
    """Unmount; whether that went well."""
    command = [_program(), "-u", *(["-z"] if lazy else []), "-q", "--", directory]
    return subprocess.run(command, capture_output=True).returncode == 0


def _program() -> str:
    program = shutil.which("fusermount3")
    if program is None:
        raise ImageError("mount", "fusermount3 is not installed (Debian: fuse3)")
    return program


@contextmanager
def _signals(directory: str, stopper: IO[bytes]) -> Iterator[None]:
    """Let signals unmount. The file system is served meanwhile, as unmounting may write to it."""
    thread: list[threading.Thread] = []

    def unmount() -> None:
        if not _detach(directory):
            # Somebody uses it, and will get errors from now on.
            _detach(directory, lazy=True)
        stopper.close()

    def handle(number: int, frame: FrameType | None) -> None:
        if thread:
            raise SystemExit(128 + number)
        thread.append(threading.Thread(target=unmount, daemon=True))
        thread[0].start()

    before: dict[signal.Signals, Any] = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        if thread:
            thread[0].join()
