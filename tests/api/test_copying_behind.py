# SPDX-License-Identifier: GPL-2.0-only
"""Small files of the host are made by other threads: the tree is the same as without them.

No kernel is needed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel import _native
from rumpel.copying import Copied
from rumpel.copying.source import read_tree
from rumpel.copying.target import Writer

_S = 1_000_000_000
Item = tuple[list[Any], bytes]


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where it is of use; nothing is left of it."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr("rumpel.copying.behind._FILES", 4)
    fds, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    yield
    assert len(os.listdir("/proc/self/fd")) == fds
    assert threading.active_count() == threads


def attributes(kind: int, mode: int = 0o600, mtime: int = 5 * _S + 7, names: int = 1) -> list[Any]:
    return [kind | mode, os.geteuid(), os.getegid(), 3 * _S, mtime, names, []]


def directory(path: str, mtime: int = 9 * _S) -> Item:
    return ["d", path, attributes(stat.S_IFDIR, 0o700, mtime)], b""


def file(path: str, data: bytes = b"data", **changed: Any) -> Item:
    return ["f", path, attributes(stat.S_IFREG, **changed), True, len(data)], data


def write(target: Path, *items: Item) -> Copied:
    writer = Writer(os, str(target), "/source")
    assert writer._behind
    return writer.run(iter(items))


def test_a_tree(tmp_path: Path) -> None:
    """Contents, modes and times of all are kept, those of directories too, however many."""
    items = [directory("")]
    for number in range(40):
        items.append(directory(f"d{number}", number * _S))
        items += [
            file(f"d{number}/f{each}", b"x" * (number * each * 7), mode=0o400 + number)
            for each in range(number % 11)
        ]
        items += [directory(f"d{number}/e", number), file(f"d{number}/e/f", mtime=-number)]
    copied = write(tmp_path / "to", *items)
    found = dict.fromkeys(item[1] for item, _ in items)
    for (item, data), (made, there) in zip(
        sorted(items, key=lambda each: each[0][1].split("/")),
        sorted(read_tree(os, str(tmp_path / "to")), key=lambda each: each[0][1].split("/")),
        strict=True,
    ):
        # Who looks reads, and so changes times of access; directories have more names.
        assert (item[:2], item[2][:3], item[2][4], item[2][6]) == (
            made[:2], made[2][:3], made[2][4], made[2][6]
        )  # fmt: skip
        assert there == data
    assert copied.files + copied.directories == len(found)
    assert copied.bytes == sum(len(data) for _, data in items)


def test_one_name_twice(tmp_path: Path) -> None:
    """The last one stays, be it a file, a link or a directory's part."""
    to = tmp_path / "to"
    link = ["l", "link", attributes(stat.S_IFLNK), "there"]
    items = [directory(""), file("a", b"1"), file("a", b"2"), file("link"), (link, b"")]
    write(to, *items, file("b", b"1"), *[file(f"f{n}") for n in range(9)], file("b", b"2"))
    assert ((to / "a").read_bytes(), (to / "b").read_bytes()) == (b"2", b"2")
    assert os.readlink(to / "link") == "there"  # noqa: PTH115


def test_hard_links(tmp_path: Path) -> None:
    """A link to a file that was only just told of."""
    to, link = tmp_path / "to", ["h", "b", "a"]
    write(to, directory(""), file("a", names=2), (link, b""))
    assert (to / "a").samefile(to / "b")


def test_what_is_there_already(tmp_path: Path) -> None:
    """Files and links are replaced, and what a link leads to stays as it is."""
    to = tmp_path / "to"
    to.mkdir()
    (to / "file").write_text("old")
    (tmp_path / "victim").write_text("safe")
    (to / "link").symlink_to(tmp_path / "victim")
    # A directory that was there is no directory of ours: see to it that one is made.
    write(to, directory(""), directory("new"), file("new/f"), file("file"), file("link"))
    assert (to / "file").read_text() == (to / "link").read_text() == "data"
    assert (tmp_path / "victim").read_text() == "safe"


def test_what_cannot_be_made(tmp_path: Path) -> None:
    """It is told as without threads, and what is around it is made."""
    to = tmp_path / "to"
    long = "n" * 300
    items = [directory(""), directory("d"), file(f"d/{long}"), *(file(f"d/{n}") for n in range(9))]
    with pytest.raises(shutil.Error) as caught:
        write(to, *items, directory("d/x"), file("d/x", b"no"), file("last"))
    told = [(source, why) for source, _, why in caught.value.args[0]]
    assert [source for source, _ in told] == [f"/source/d/{long}", "/source/d/x"]
    assert os.strerror(errno.ENAMETOOLONG) in told[0][1]
    assert os.strerror(errno.EISDIR) in told[1][1]
    assert sorted(os.listdir(to / "d")) == [*map(str, range(9)), "x"]
    assert (to / "last").read_text() == "data"
    assert (to / "d").stat().st_mtime == 9


def test_times_that_are_none(tmp_path: Path) -> None:
    """A file whose time no host has is there, and its time is noted as lost, if it is not kept."""
    copied = write(tmp_path / "to", directory(""), file("a", mtime=(1 << 61) * _S), file("b"))
    assert (tmp_path / "to" / "a").read_text() == (tmp_path / "to" / "b").read_text() == "data"
    assert copied.files == 2
    assert {what for _, what, _ in copied.lost} <= {"times"}


def test_a_series_that_breaks_off(tmp_path: Path) -> None:
    """Nothing is left open, whatever was under way."""

    def items() -> Iterator[Item]:
        yield directory("")
        for number in range(50):
            yield directory(f"d{number}")
            yield file(f"d{number}/f")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Writer(os, str(tmp_path / "to"), "/source").run(items())


def test_making_files(tmp_path: Path) -> None:
    """What the binding says of those that it cannot make, and that nothing of them is left."""
    at = os.open(tmp_path, os.O_RDONLY)
    try:
        (tmp_path / "there").write_text("old")
        given = (0o600, b"data", 1, 2, 3, 4)
        made = _native.make_files([(at, name, *given) for name in ("a", "there", b"b", "")])
        assert made == [1, 3]
        assert (tmp_path / "there").read_text() == "old"
        assert (tmp_path / "a").stat().st_mtime_ns == 3 * _S + 4
        assert _native.make_files([(at, "c", 0o600, b"data", 1, _S, 3, 4)]) == [0]
        assert sorted(os.listdir(tmp_path)) == ["a", "b", "there"]
        assert _native.make_files([]) == []
        for wrong in (5, [5], [(at, "d")], [(at, "nul\0", *given)], [(at, "d", *given), ()]):
            with pytest.raises((TypeError, ValueError)):
                _native.make_files(wrong)  # type: ignore[arg-type]  # pyright: ignore
        assert not (tmp_path / "d").exists()
    finally:
        os.close(at)
