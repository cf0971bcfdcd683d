# SPDX-License-Identifier: GPL-2.0-only
"""Small files are read and made many at a time, of the host by other threads: the tree is the same.

No kernel is needed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rumpel import _native
from rumpel.copying import Copied
from rumpel.copying.packed import RECORD, unpacked
from rumpel.copying.source import read_tree
from rumpel.copying.target import Writer
from tests import threads

_NOBODY = 65534

_S = 1_000_000_000
Item = tuple[list[Any], bytes]


@pytest.fixture(autouse=True, params=["threads", "none"])
def cpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where threads are of use, or not; nothing is left of them."""
    there = {0, 1} if request.param == "threads" else {0}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: there)
    monkeypatch.setattr("rumpel.copying.behind._FILES", 4)
    before, others = set(os.listdir("/proc/self/fd")), threads.count()
    yield
    # Those of earlier tests may go meanwhile.
    assert set(os.listdir("/proc/self/fd")) <= before
    assert threads.are_left(others)


def attributes(kind: int, mode: int = 0o600, mtime: int = 5 * _S + 7, names: int = 1) -> list[Any]:
    return [kind | mode, os.geteuid(), os.getegid(), 3 * _S, mtime, names, []]


def directory(path: str, mtime: int = 9 * _S) -> Item:
    return ["d", path, attributes(stat.S_IFDIR, 0o700, mtime)], b""


def file(path: str, data: bytes = b"data", **changed: Any) -> Item:
    return ["f", path, attributes(stat.S_IFREG, **changed), True, len(data)], data


def record(data: bytes = b"data", mode: int = 0o600, mtime: int = 5 * _S + 7, **ids: int) -> bytes:
    uid, gid = ids.get("uid", os.geteuid()), ids.get("gid", os.getegid())
    seconds, ns = divmod(mtime, _S)
    return RECORD.pack(stat.S_IFREG | mode, uid, gid, len(data), 3, seconds, 0, ns) + data


def files(path: str, *names: str, data: bytes = b"data", **changed: Any) -> Item:
    return ["b", path, list(names)], record(data, **changed) * len(names)


def write(target: Path, *items: Item, **options: Any) -> Copied:
    return Writer(os, str(target), "/source", **options).run(iter(items))


def test_a_tree(tmp_path: Path) -> None:
    """Contents, modes and times of all are kept, those of directories too, however many."""
    there = tmp_path / "from"
    for number in range(40):
        below = there / f"d{number}" / "e"
        below.mkdir(parents=True)
        for each in range(number % 11):
            made = below.parent / f"f{each}"
            made.write_bytes(b"x" * (number * each * 701))
            made.chmod(0o400 + number)
            os.utime(made, ns=(3, number * each))
        (below / "z").symlink_to("f1")
        (below / "large").write_bytes(b"y" * (70_000 * (number % 3)))
        os.utime(below, ns=(5, number))
    os.link(there / "d9" / "f1", there / "d9" / "link")
    os.truncate(there / "d9" / "f2", 1 << 20)
    items = [([*item], bytes(data)) for item, data in read_tree(os, str(there), packed=True)]
    assert sum(item[0] == "b" for item, _ in items) > 40
    copied = write(tmp_path / "to", *items)
    for (item, data), (again, made_of) in zip(
        read_tree(os, str(there)), read_tree(os, str(tmp_path / "to")), strict=True
    ):
        # Who looks reads, and so changes times of access.
        if item[0] in "dfl":
            item[2][3] = again[2][3] = 0
        assert (item, data) == (again, made_of)
    plain = [each for each in there.rglob("*") if each.is_file() and not each.is_symlink()]
    assert copied.files == len({each.stat().st_ino for each in plain})
    assert copied.bytes == sum(len(data) for item, data in read_tree(os, str(there)))
    # The same as one by one.
    single = [item for item, _ in read_tree(os, str(there))]
    one_by_one = [
        each
        for item, data in items
        for each in ([i for i, _ in unpacked(item, data)] if item[0] == "b" else [item])
    ]
    for entry in (*single, *one_by_one):
        if entry[0] in "dfl":
            entry[2][3] = 0
    assert one_by_one == single


def test_one_name_twice(tmp_path: Path) -> None:
    """The last one stays, be it a file, a link or a directory's part."""
    to = tmp_path / "to"
    link: list[Any] = ["l", "link", attributes(stat.S_IFLNK), "there"]
    items = [directory(""), files("", "a", data=b"1"), files("", "a", data=b"2"), files("", "link")]
    items += [(link, b""), files("", "b", data=b"1"), files("", *map(str, range(9)))]
    copied = write(to, *items, files("", "b", "b", data=b"2"), file("0", b"last"))
    assert ((to / "a").read_bytes(), (to / "b").read_bytes()) == (b"2", b"2")
    assert (to / "0").read_bytes() == b"last"
    assert os.readlink(to / "link") == "there"  # noqa: PTH115
    assert (copied.files, copied.bytes) == (16, 1 + 1 + 4 + 1 + 36 + 2 + 4)


def test_hard_links(tmp_path: Path) -> None:
    """A link to a file that was only just told of; none to one that has no other name."""
    to = tmp_path / "to"
    link: Item = ["h", "b", "a"], b""
    write(to, directory(""), file("a", names=2), link)
    assert (to / "a").samefile(to / "b")
    with pytest.raises(shutil.Error):
        write(tmp_path / "other", directory(""), files("", "a"), link)


def test_what_is_there_already(tmp_path: Path) -> None:
    """Files and links are replaced, and what a link leads to stays as it is."""
    to = tmp_path / "to"
    to.mkdir()
    (to / "file").write_text("old")
    (tmp_path / "victim").write_text("safe")
    (to / "link").symlink_to(tmp_path / "victim")
    write(to, directory(""), files("", "file", "link"), directory("new"), files("new", "f"))
    assert (to / "file").read_text() == (to / "link").read_text() == "data"
    assert (tmp_path / "victim").read_text() == "safe"


def test_what_cannot_be_made(tmp_path: Path) -> None:
    """It is told of each, and what is around it is made."""
    to = tmp_path / "to"
    long = "n" * 300
    items = [directory(""), directory("d"), files("d", long, *map(str, range(9)))]
    with pytest.raises(shutil.Error) as caught:
        write(to, *items, directory("d/x"), files("d", "x", "y"), files("", "last"))
    told = [(source, why) for source, _, why in caught.value.args[0]]
    assert [source for source, _ in told] == [f"/source/d/{long}", "/source/d/x"]
    assert os.strerror(errno.ENAMETOOLONG) in told[0][1]
    assert os.strerror(errno.EISDIR) in told[1][1]
    assert sorted(os.listdir(to / "d")) == [*map(str, range(9)), "x", "y"]
    assert (to / "last").read_text() == "data"
    assert (to / "d").stat().st_mtime == 9


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "../up", "/up", "a/../../up", "nul\0", "\udc00\ud800"]
)
def test_names_that_are_none(bad: str, tmp_path: Path) -> None:
    """Nothing is made outside of the target, and an error says so."""
    to = tmp_path / "in" / "to"
    to.parent.mkdir()
    with pytest.raises(shutil.Error, match="Errno 22"):
        write(to, directory(""), files("", "good", bad))
    assert sorted(os.listdir(tmp_path)) == ["in"]
    assert os.listdir(tmp_path / "in") == ["to"]
    assert set(os.listdir(to)) <= {"good"}


def test_a_directory_that_is_a_link(tmp_path: Path) -> None:
    """What a series says of a directory is not believed."""
    to, link = tmp_path / "to", ["l", "link", attributes(stat.S_IFLNK), str(tmp_path)]
    with pytest.raises(shutil.Error):
        write(to, directory(""), (link, b""), files("link", "file"), files("link/..", "file"))
    assert os.listdir(tmp_path) == ["to"]


@pytest.mark.parametrize("cut", [record()[:-1], record()[:20], record() * 2, b""])
def test_not_as_many_files_as_names(cut: bytes, tmp_path: Path) -> None:
    """It is an error, and none of it is read beyond its end."""
    with pytest.raises((ValueError, shutil.Error), match="not as many"):
        write(tmp_path / "to", directory(""), (["b", "", ["a"]], cut))
    for names in (5, "ab", [5], [], [["a"]]):
        with pytest.raises((ValueError, TypeError)):
            write(tmp_path / "to", directory(""), (["b", "", names], record()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners(tmp_path: Path) -> None:
    """They are kept, or all have the one that is wanted; programs keep their bits with them."""
    to = tmp_path / "to"
    theirs = files("", "a", mode=0o4755, uid=7, gid=8)
    write(to, directory(""), theirs, files("", "b", mode=0o6711))
    found = [
        (each.st_uid, each.st_gid, each.st_mode & 0o7777)
        for each in map(os.stat, (to / "a", to / "b"))
    ]
    assert found == [(7, 8, 0o4755), (0, 0, 0o6711)]
    write(to, directory("c"), files("c", "a", uid=7), owner=(5, 6))
    assert ((to / "c" / "a").stat().st_uid, (to / "c" / "a").stat().st_gid) == (5, 6)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A directory of a user's who gives no files away, and who that is."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid():
            yield Path(name)
            return
        os.chown(name, _NOBODY, -1)
        os.seteuid(_NOBODY)  # of all threads
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_owners_that_cannot_be_kept(nobody: Path) -> None:
    """They are noted, and a program is none of who copies it."""
    copied = write(nobody / "to", directory(""), files("", "a", "b", mode=0o4755, uid=0))
    assert [(lost.what, lost.error.errno) for lost in copied.lost] == [("owner", errno.EPERM)] * 2
    assert (nobody / "to" / "a").stat().st_mode & 0o7777 == 0o755


def test_times_that_are_none(tmp_path: Path) -> None:
    """A file whose time no host has is there, and its time is noted as lost, if it is not kept."""
    to = tmp_path / "to"
    copied = write(to, directory(""), files("", "a", mtime=(1 << 61) * _S), files("", "b"))
    assert (to / "a").read_text() == (to / "b").read_text() == "data"
    assert copied.files == 2
    assert {what for _, what, _ in copied.lost} <= {"times"}


def test_a_series_that_breaks_off(tmp_path: Path) -> None:
    """Nothing is left open, whatever was under way."""

    def items() -> Iterator[Item]:
        yield directory("")
        for number in range(50):
            yield directory(f"d{number}")
            yield files(f"d{number}", "f")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Writer(os, str(tmp_path / "to"), "/source").run(items())


def test_making_files(tmp_path: Path) -> None:
    """What the binding says of those that it cannot make, and that nothing of them is left."""
    at = os.open(tmp_path, os.O_RDONLY)
    how: Any = (os.geteuid(), os.getegid()), 0o22, True, None
    try:
        (tmp_path / "there").write_text("old")
        names: Any = ["a", "there", b"b", "", "x/y"]
        made = _native.make_files(None, at, names, record() * 5, *how)
        assert made == [
            (1, "file", errno.EEXIST),
            (3, "file", errno.EINVAL),
            (4, "file", errno.EINVAL),
        ]
        assert (tmp_path / "there").read_text() == "old"
        assert (tmp_path / "a").stat().st_mtime_ns == 5 * _S + 7
        wrong_time = RECORD.pack(stat.S_IFREG, os.geteuid(), os.getegid(), 0, 1, 2, _S, 3)
        assert _native.make_files(None, at, ["c"], wrong_time, *how) == [(0, "file", errno.EINVAL)]
        assert sorted(os.listdir(tmp_path)) == ["a", "b", "there"]
        assert _native.make_files(None, at, [], b"", *how) == []
        for names in (5, [5], ["nul\0"]):
            with pytest.raises((TypeError, ValueError)):
                _native.make_files(None, at, names, record(), *how)
        with pytest.raises(TypeError):
            _native.make_files(5, at, ["d"], record(), *how)  # type: ignore[arg-type]  # pyright: ignore
        assert not (tmp_path / "d").exists()
    finally:
        os.close(at)


def test_reading_files(tmp_path: Path) -> None:
    """It goes as far as there are small files, which are whole; what is none stays for others."""
    at, room = os.open(tmp_path, os.O_RDONLY), bytearray(1000)
    try:
        for name in ("a", "b", "empty"):
            (tmp_path / name).write_text(name if name != "empty" else "")
        (tmp_path / "link").symlink_to("a")
        (tmp_path / "sparse").touch()
        os.truncate(tmp_path / "sparse", 100)
        os.link(tmp_path / "b", tmp_path / "other")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "many").mkdir()
        names = ["a", "empty", "a"]
        assert _native.read_files(None, at, names, room, 100) == (3, 3 * RECORD.size + 2)
        item = ["b", "", names]
        found = [bytes(data) for _, data in unpacked(item, room[: 3 * RECORD.size + 2])]
        assert found == [b"a", b"", b"a"]
        for name in ("b", "link", "sparse", "other", "pipe", "many", "none", "", "."):
            assert _native.read_files(None, at, ["a", name, "a"], room, 100) == (1, RECORD.size + 1)
        assert _native.read_files(None, at, ["a"], room, 0) == (0, 0)
        assert _native.read_files(None, at, ["a", "a"], room[:60], 100) == (1, RECORD.size + 1)
        assert _native.read_files(None, at, ["a"], bytearray(RECORD.size), 100) == (0, 0)
        proc = os.open("/proc/self", os.O_RDONLY)
        try:
            assert _native.read_files(None, proc, ["status"], room, 100) == (0, 0)
        finally:
            os.close(proc)
    finally:
        os.close(at)
