# SPDX-License-Identifier: GPL-2.0-only
"""Images that QEMU's programs read and write: qcow2, VMDK, VHD, VHDX and VDI.

A header may name other files: what a qcow2 or VMDK lies over, what a VMDK is made of. It may come
from a stranger, and those files are read with our rights. So QEMU is told which files there are:
those in the directory of the image, or wherever they are if the caller says so. It can open no
others (:mod:`rumpel.sandbox.launch`).

Source: QEMU's qapi/block-core.json; qemu-nbd(8).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rumpel.images.errors import ImageError
from rumpel.images.formats import QEMU, Header, look
from rumpel.images.locks import lock, open_file
from rumpel.images.served import ServedByProgram
from rumpel.images.tools import run
from rumpel.sandbox import launch

__all__ = ["convert_raw", "open_with_qemu", "run_qemu_img"]

_DEEPEST = 32


def open_with_qemu(path: str, header: Header, read_only: bool, backing: bool) -> ServedByProgram:
    """Let qemu-nbd serve an image.

    Args:
        path: of the image.
        header: what is in it.
        read_only: refuse writes.
        backing: may files be elsewhere that it names?

    Raises:
        ImageError: if it names a file that it may not, qemu-nbd is not there, or cannot open it.
        OSError: if a file may not be opened, or somebody else has it open (EBUSY).
    """
    program = shutil.which("qemu-nbd")
    if program is None:
        raise ImageError(path, f"{header.format} needs qemu-nbd: apt install qemu-utils")
    chain = _Chain(path, backing)
    try:
        node = chain.node(path, header, read_only)
        args = [program, "--discard=unmap", *(["--read-only"] if read_only else [])]
        command = launch.command([*args, f"json:{json.dumps(node)}"], chain.files)
        return ServedByProgram(
            path, command, chain.locks, format=header.format, path=path, program="qemu-nbd"
        )
    finally:
        chain.close()


@contextmanager
def run_qemu_img(path: str, header: Header, backing: bool) -> Iterator[Callable[..., None]]:
    """Give an image, which nobody else can open meanwhile, to qemu-img.

    Args:
        path: of the image.
        header: what is in it.
        backing: may files be elsewhere that it names?

    Yields:
        A function that takes qemu-img's arguments, of which None is the image, and ``writes``:
        another file that it may write to.

    Raises:
        ImageError: as :func:`open_with_qemu`, and if qemu-img fails.
        OSError: the same.
    """
    program = shutil.which("qemu-img")
    if program is None:
        raise ImageError(path, f"{header.format} needs qemu-img: apt install qemu-utils")
    chain = _Chain(path, backing)

    def call(*args: str | None, writes: str = "") -> None:
        words = [f"json:{json.dumps(node)}" if each is None else each for each in args]
        files = [*chain.files, *([(writes, True)] if writes else [])]
        command = launch.command([program, *words], files)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"has failed ({done.returncode})"]
            raise ImageError(path, f"qemu-img: {said[-1].removeprefix('qemu-img: ')}")

    try:
        node = chain.node(path, header, read_only=False)
        yield call
    finally:
        chain.close()


def convert_raw(name: str, raw: Path, target: Path, format: str) -> None:
    """Make an image of a format of a raw one.

    Args:
        name: of the image, for errors.
        raw: what it shall hold.
        target: where it shall be.
        format: one of QEMU's.

    Raises:
        ImageError: if it cannot be.
    """
    # Else its size would be what old BIOSes can say.
    exactly = ["-o", "force_size=on"] if format == "vpc" else []
    convert = ["qemu-img", "convert", "-f", "raw", "-O", format, *exactly]
    run(name, [*convert, str(raw), str(target)], "qemu-utils")


class _Chain:
    """The files of an image, as they are locked one after the other."""

    def __init__(self, name: str, backing: bool) -> None:
        self._name = name
        self._anywhere = backing
        self._files: set[tuple[int, int]] = set()
        self.locks: list[int] = []
        self.files: list[tuple[str, bool]] = []

    def close(self) -> None:
        """They are the program's from now on."""
        for fd in self.locks:
            os.close(fd)

    def node(self, path: str, header: Header, read_only: bool) -> dict[str, Any]:
        """A node of QEMU's block layer, with those below it."""
        path = os.path.abspath(path)  # noqa: PTH100
        file = self._file(path, read_only)
        for extent in header.extents:
            where = self._allowed(path, extent)
            self._file(where, read_only)
            if _look(where).extents:
                raise ImageError(self._name, f"is made of {extent!r}, which is made of others")
        node = {"driver": header.format, "file": file, "read-only": read_only}
        if header.extents:
            node["extents"] = [{"locking": "off"}] * len(header.extents)
        if header.format in ("qcow2", "qcow", "vmdk"):
            node["backing"] = self._below(path, header) if header.backing else None
        return node

    def _below(self, path: str, header: Header) -> dict[str, Any]:
        below = self._allowed(path, header.backing)
        # What it says counts: a raw disk may hold anything, also another header.
        told = _look(below, header.backing_format or None)
        if told.format not in ("raw", *QEMU):
            raise ImageError(self._name, f"lies over {below}, which is compressed")
        return self.node(below, told, True)

    def _allowed(self, path: str, name: str) -> str:
        """Where a file is that another one names.

        Raises:
            ImageError: if it is none, or not where it may be.
        """
        directory = os.path.dirname(path)  # noqa: PTH120
        found = os.path.join(directory, name)  # noqa: PTH118
        # QEMU would take what is before a colon for a protocol.
        if "\0" in name or ":" in name or not os.path.isfile(found):  # noqa: PTH113
            raise ImageError(self._name, f"lies over {name!r}, and there is no such file")
        real = os.path.dirname(os.path.realpath(found))  # noqa: PTH120
        if not self._anywhere and real != os.path.realpath(directory):
            raise ImageError(
                self._name,
                f"lies over {name!r}, which is in another directory: allow it (--backing,"
                " backing=True) if you trust the image",
            )
        return found

    def _file(self, path: str, read_only: bool) -> dict[str, Any]:
        """Lock a file; what QEMU has to know of it."""
        fd = open_file(path, read_only)
        self.locks.append(fd)
        self.files.append((path, not read_only))
        status = os.fstat(fd)
        key = status.st_dev, status.st_ino
        if key in self._files or len(self._files) >= _DEEPEST:
            raise ImageError(self._name, "lies over itself, or over too many files")
        self._files.add(key)
        lock(fd, path, read_only)
        driver = "host_device" if stat.S_ISBLK(status.st_mode) else "file"
        return {
            "driver": driver,
            "filename": path,
            "locking": "off",  # it would find ours
            "read-only": read_only,
            **({} if read_only else {"discard": "unmap"}),
        }


def _look(path: str, format: str | None = None) -> Header:
    fd = open_file(path, True)
    try:
        size = os.fstat(fd).st_size
        return look(path, lambda at, length: os.pread(fd, length, at), size, format)
    finally:
        os.close(fd)
