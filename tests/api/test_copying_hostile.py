# SPDX-License-Identifier: GPL-2.0-only
"""A series of items that lies writes nothing outside of its target, and leaves nothing open.

No kernel is needed: what is told by a sandbox is written with the host's own module os.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from rumpel.copying.source import read_tree
from rumpel.copying.target import Writer

TOP = ["d", "", [0o40755, -1, -1, 0, 0, 2, []]]


def attributes(kind: int, **changed: Any) -> list[Any]:
    """Those of a file, some of them changed."""
    names = ("mode", "uid", "gid", "atime", "mtime", "names", "xattrs")
    values = dict(zip(names, (kind | 0o644, -1, -1, 0, 0, 2, []), strict=True))
    return list({**values, **changed}.values())


def file(path: str, data: bytes = b"evil", **changed: Any) -> tuple[list[Any], bytes]:
    return ["f", path, attributes(stat.S_IFREG, **changed), True, len(data)], data


def link(path: str, to: Any) -> tuple[list[Any], bytes]:
    return ["l", path, attributes(stat.S_IFLNK), to], b""


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A directory that nothing may happen to, nor to what is around it."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("old")
    return victim


def write(target: Path, *items: tuple[list[Any], bytes]) -> list[str]:
    """Write what is told; the reasons for what was not made."""
    before = len(os.listdir("/proc/self/fd"))
    try:
        Writer(os, str(target), "/source").run(iter(items))
    except shutil.Error as error:
        return [why for _, _, why in error.args[0]]
    finally:
        assert len(os.listdir("/proc/self/fd")) <= before  # those of earlier tests may go
    return []


@pytest.mark.parametrize("is_there", [False, True])
def test_a_second_top(tmp_path: Path, victim: Path, is_there: bool) -> None:
    """Neither a link as the top that is then a directory, nor the other way round."""
    for number, first in enumerate((link("", str(victim)), (TOP, b""))):
        target = tmp_path / f"target{number}"
        if is_there:
            target.mkdir()
        whys = write(target, first, link("", str(victim)), (TOP, b""), file("file"), file(""))
        assert whys
        assert (victim / "file").read_text() == "old"
        assert [path.name for path in victim.iterdir()] == ["file"]


def test_a_second_top_after_entries(tmp_path: Path, victim: Path) -> None:
    """The top that no item was about counts as one."""
    target = tmp_path / "target"
    assert write(target, file("a"), link("", str(victim)), (TOP, b""), file("b"))
    assert not (victim / "b").exists()
    assert not target.is_symlink()


@pytest.mark.parametrize(
    "path",
    ["../up", "..", ".", "/up", "a/../../up", "a//up", "//up", "a/", "nul\0", "lone \ud800"],
)
def test_paths_that_lead_out(tmp_path: Path, path: str) -> None:
    """They are errors, and nothing appears beside the target."""
    target = tmp_path / "target"
    whys = write(target, (TOP, b""), file(path), file("good", b"good"))
    assert len(whys) == 1
    assert "no name for an entry" in whys[0]
    assert (target / "good").read_bytes() == b"good"
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]
    assert not Path("/up").exists()


def test_through_a_link_of_its_own(tmp_path: Path, victim: Path) -> None:
    """A directory that turns into a link is not followed."""
    target = tmp_path / "target"
    directory = ["d", "way", TOP[2]], b""
    write(target, (TOP, b""), link("way", str(victim)), directory, file("way/file"))
    write(target, (TOP, b""), link("way", str(victim)), file("way/file"))
    write(target, (TOP, b""), directory, file("x"), link("way", str(victim)), file("way/new"))
    assert (victim / "file").read_text() == "old"
    assert [path.name for path in victim.iterdir()] == ["file"]


def test_further_names(tmp_path: Path, victim: Path) -> None:
    """Only of files that were made just now, never of what an absolute path names."""
    target = tmp_path / "target"
    secret = str(victim / "file")
    whys = write(
        target,
        (TOP, b""),
        file(secret, names=2),
        (["h", "stolen", secret], b""),
        (["h", "up", "../victim/file"], b""),
        (["h", "", "good"], b""),
        link("link", secret),
        (["h", "again", "link"], b""),
    )
    assert len(whys) == 4
    assert (victim / "file").stat().st_nlink == 1
    assert (target / "again").is_symlink()


@pytest.mark.parametrize(
    "changed",
    [
        {"mtime": 1 << 200},
        {"uid": 1 << 80},
        {"gid": -7},
        {"mode": -1},
        {"mode": "rwx"},
        {"names": None},
        {"xattrs": 5},
        {"xattrs": [["user.x", 5]]},
        {"xattrs": [["user.x"]]},
        {"xattrs": [["user.x", "\u2028"]]},
        {"xattrs": [["user\0x", ""]]},
    ],
)
def test_attributes_that_are_none(tmp_path: Path, changed: dict[str, Any]) -> None:
    """The file is not made, the others are."""
    target = tmp_path / "target"
    whys = write(target, (TOP, b""), file("bad", **changed), file("good"))
    assert len(whys) == 1
    assert "no attributes of a file" in whys[0]
    assert [path.name for path in target.iterdir()] == ["good"]


def test_specials_that_are_none(tmp_path: Path) -> None:
    """A link to nothing that can be named, a device beyond numbers, a file as a device."""
    target = tmp_path / "target"
    whys = write(
        target,
        (TOP, b""),
        link("nul", "a\0b"),
        (["s", "device", attributes(stat.S_IFCHR), 1 << 80], b""),
        (["s", "device", attributes(stat.S_IFREG), 0], b""),
    )
    assert len(whys) == 3
    assert not list(target.iterdir())


def test_files_without_an_end(tmp_path: Path) -> None:
    """What begins before they ended, also the end of all, ends them: half a file goes."""
    target = tmp_path / "target"
    begun = (["f", "half", attributes(stat.S_IFREG), False, 100], b"")
    deep = (["d", "a", TOP[2]], b"")
    inner = (["f", "a/half", attributes(stat.S_IFREG), False, 100], b"")
    piece = (["c", 0], b"data")
    whys = write(target, (TOP, b""), begun, piece, deep, inner, piece, file("next"), begun, piece)
    assert whys == ["its content came to no end"] * 3
    assert sorted(path.name for path in target.rglob("*")) == ["a", "next"]


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 80])
def test_offsets_that_are_none(tmp_path: Path, offset: int) -> None:
    """The file is not made."""
    target = tmp_path / "target"
    begun = (["f", "file", attributes(stat.S_IFREG), False, 100], b"")
    for kind in ("c", "e"):
        assert len(write(target, (TOP, b""), begun, ([kind, offset], b"x"), file("next"))) == 1
        assert [path.name for path in target.iterdir()] == ["next"]


def test_an_honest_series(tmp_path: Path, victim: Path) -> None:
    """The same writer takes what a tree says, through a link that the user named."""
    (tmp_path / "link").symlink_to(victim)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "new").write_text("new")
    assert not write(tmp_path / "link", *read_tree(os, str(tmp_path / "tree")))
    assert sorted(path.name for path in victim.iterdir()) == ["file", "new"]
