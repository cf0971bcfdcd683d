# SPDX-License-Identifier: GPL-2.0-only
"""Images from strangers: damaged ones, and what a kernel that was taken over may send."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import struct
from pathlib import Path
from typing import Any

import pytest

from rumpel.copying.target import Writer
from rumpel.errors import RumpelError, SandboxError
from rumpel.images.found import entries, paths
from rumpel.images.walking import STATX_SIZE
from tests.images.tools import make

DIRECTORY = [stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), 0, 0, 2, []]
FILE = [stat.S_IFREG | 0o644, os.getuid(), os.getgid(), 0, 0, 2, []]
LINK = [stat.S_IFLNK | 0o777, os.getuid(), os.getgid(), 0, 0, 2, []]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "megabytes"), [("ext4", 16), ("btrfs", 128), ("vfat", 16), ("ntfs", 16), ("xfs", 304)]
)
def test_damaged_images(kind: str, megabytes: int, opened: Any, tmp_path: Path) -> None:
    """What can be read is read, all else is an error; nothing hangs, and the caller lives."""
    disk = make(tmp_path / "disk.img", kind, megabytes)
    with opened(disk) as image:
        image.makedirs("/a/b/c")
        for number in range(20):
            image.pipe(f"/a/b/{number}", os.urandom(3000))
    original = tmp_path / "original"
    disk.rename(original)
    used = [(at, min(1 << 16, end - at)) for at, end in extents(original) if end > at]
    for seed in range(4):
        chance = random.Random(f"{kind} {seed}")
        shutil.copyfile(original, disk)
        with disk.open("r+b") as file:
            for _ in range(4 << seed):
                start, size = chance.choice(used)
                file.seek(start + chance.randrange(size))
                file.write(chance.randbytes(chance.choice((1, 4, 16))))
        try:
            with opened(disk, timeout=60.0) as image:
                read(image)
                image.pipe("/new", b"x" * 10_000)
        except (OSError, RumpelError, ExceptionGroup) as error:
            assert str(error)


def extents(path: Path) -> list[tuple[int, int]]:
    """Where a file has no holes."""
    found: list[tuple[int, int]] = []
    end = 0
    with path.open("rb") as file:
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                return found
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, end))


def read(image: Any) -> None:
    """Everything that can be read."""
    names: list[str] = []
    with contextlib.suppress(OSError):
        names += [entry.path for entry in image.volume.walk("/")]
    for name in names:
        try:
            image.cat(f"/{name}")
        except OSError:
            continue


def write(target: Path, *items: list[Any]) -> list[Any]:
    """Make a tree of items; what could not be made."""
    try:
        Writer(os, str(target), "hostile").run((item, b"data") for item in items)
    except shutil.Error as error:
        return list(error.args[0])
    return []


@pytest.mark.parametrize(
    "name", ["../up", "a/../../up", "..", ".", "a//b", "/etc/up", "a/", "/", "a\0b", "./x"]
)
def test_names_that_are_none(name: str, tmp_path: Path) -> None:
    """Nothing is made outside of the target, nor anything by such a name."""
    errors = write(tmp_path / "in", ["d", "", DIRECTORY], ["f", name, FILE, True, 4])
    assert len(errors) == 1
    assert os.listdir(tmp_path) == ["in"]
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_file()]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither those that the series makes, nor those that were there."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "victim").write_text("whole")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "there").symlink_to(tmp_path / "out")
    errors = write(
        tmp_path / "in",
        ["d", "", DIRECTORY],
        ["l", "link", LINK, str(tmp_path / "out")],
        ["f", "link/victim", FILE, True, 4],
        ["d", "link", DIRECTORY],
        ["f", "link/new", FILE, True, 4],
        ["f", "there/victim", FILE, True, 4],
        ["l", "file", LINK, str(tmp_path / "out" / "victim")],
        ["f", "file", FILE, True, 4],
    )
    assert len(errors) == 3  # what is below a directory that cannot be made goes by
    assert os.listdir(tmp_path / "out") == ["victim"]
    assert (tmp_path / "out" / "victim").read_text() == "whole"
    # The last replaces the link, and does not write through it.
    assert (tmp_path / "in" / "file").read_bytes() == b"data"
    assert not (tmp_path / "in" / "file").is_symlink()


def test_hard_links_only_to_what_was_made(tmp_path: Path) -> None:
    """A name of a file outside, or one that was there before, cannot be had."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "before").write_text("old")
    (tmp_path / "secret").write_text("secret")
    errors = write(
        tmp_path / "in",
        ["d", "", DIRECTORY],
        ["l", "link", LINK, str(tmp_path)],
        ["h", "1", "link/secret"],
        ["h", "2", "../secret"],
        ["h", "3", str(tmp_path / "secret")],
        ["h", "4", "before"],
        ["f", "made", FILE, True, 4],
        ["h", "5", "made"],
    )
    assert len(errors) == 4
    assert sorted(os.listdir(tmp_path / "in")) == ["5", "before", "link", "made"]
    assert (tmp_path / "secret").stat().st_nlink == 1


def test_pieces_that_belong_to_nothing(tmp_path: Path) -> None:
    """They go by; a second top is refused."""
    errors = write(
        tmp_path / "in",
        ["c", 0],
        ["e", 100],
        ["d", "", DIRECTORY],
        ["c", 1 << 60],
        ["f", "", FILE, True, 4],
        ["s", "device", FILE, 5],
    )
    assert len(errors) == 2
    assert os.listdir(tmp_path / "in") == []


@pytest.mark.parametrize(
    "item", [["f", "x"], ["f", "x", [], True, 4], ["d"], [], ["?", "x", FILE, 1], ["f", "x", 7, 1]]
)
def test_items_that_are_none(item: list[Any], tmp_path: Path) -> None:
    """They are what copying out of a sandbox makes an error of."""
    with pytest.raises((TypeError, ValueError, IndexError)):
        Writer(os, str(tmp_path / "in"), "hostile").run([(["d", "", DIRECTORY], b""), (item, b"")])


def told(*entries: tuple[str, int], targets: Any = (), failures: Any = ()) -> tuple[Any, bytes]:
    """A message of a walk: paths and modes."""
    data = bytearray(STATX_SIZE * len(entries))
    for at, (_, mode) in enumerate(entries):
        struct.pack_into("<H", data, at * STATX_SIZE + 28, mode)
    return [[path for path, _ in entries], targets, failures], bytes(data)


def test_names_that_lead_out_of_a_walk() -> None:
    """What a walk tells of becomes names on the host, of fsspec's get among others."""
    top, file = ("", 0o40755), ("file", 0o100644)
    for hostile in (
        [("early", 0o100644)],
        [top, top],
        [top, ("none/file", 0o100644)],
        [top, file, ("file/below", 0o100644)],
        *([top, (name, 0o100644)] for name in ("../up", "/up", "a/../../up", "nul\0", "file/")),
        *([top, (name, 0o100644)] for name in (".", "..", "./file", "file//below")),
    ):
        with pytest.raises(SandboxError, match="nonsense"):
            list(entries([told(*hostile)], "/"))
    (paths, targets, failures), data = told(file)
    for message in (
        (5, b""),
        (None, b""),
        ({"a": 1}, b""),
        ([paths, targets], data),
        (["file", targets, failures], data * 4),
        ([[5], targets, failures], data),
        ([[["file"]], targets, failures], data),
        ([paths, 5, failures], data),
        ([paths, [[0]], failures], data),
        ([paths, [[0, 5]], failures], data),
        ([paths, [["0", "to"]], failures], data),
        ([paths, [[[], "to"]], failures], data),
        ([paths, targets, [5]], data),
        ([paths, targets, failures], data[:-1]),
        ([paths, targets, failures], data * 2),
        ([paths, targets, failures], b""),
    ):
        with pytest.raises(SandboxError, match="nonsense"):
            list(entries([told(top), message], "/"))
    link = told(("link", 0o120777), targets=[[0, "to"], [7, "nowhere"]])
    found = list(entries([told(top), told(file), link], "/"))
    assert [(each.path, each.target) for each in found] == [
        ("", None), ("file", None), ("link", "to")
    ]  # fmt: skip
    with pytest.raises(OSError, match="why") as caught:
        list(entries([told(top), told(failures=[["bad", "why"]])], "/top"))
    assert caught.value.filename == "/top/bad"


def test_paths_that_are_none() -> None:
    """What is listed by name alone is only printed; all the same it is what it should be."""
    assert list(paths([([], b"\0file\0a/file\0"), ([], b"")], "/")) == [["", "file", "a/file"], []]
    for hostile in (b"file", b"/up\0", b"../up\0", b"a/../../up\0", b"a/\0", b"a//b\0", b".\0"):
        with pytest.raises(SandboxError, match="nonsense"):
            list(paths([([], hostile)], "/"))
    for failures in (5, [5], [["bad"]], None):
        with pytest.raises(SandboxError, match="nonsense"):
            list(paths([(failures, b"")], "/"))
    with pytest.raises(OSError, match="why") as caught:
        list(paths([([["bad", "why"]], b"bad\0")], "/top"))
    assert caught.value.filename == "/top/bad"
