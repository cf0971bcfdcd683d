# SPDX-License-Identifier: GPL-2.0-only
"""Modules of the standard library on a kernel, beside themselves on the host."""

from __future__ import annotations

import fcntl
import glob
import os
import pathlib
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rumpel import Kernel
from tests.api.stories import relative
from tests.conftest import Boot

pytestmark = pytest.mark.kernel

Story = Callable[[Any, Any], Any]
STORIES: list[Story] = []

HOST = SimpleNamespace(
    fcntl=fcntl,
    glob=glob,
    open=open,
    os=os,
    Path=pathlib.Path,
    shutil=shutil,
    tarfile=tarfile,
    tempfile=tempfile,
    zipfile=zipfile,
)


def story(function: Story) -> Story:
    """A function of a kernel (or what stands for the host) and the path of a directory."""
    STORIES.append(function)
    return function


@pytest.mark.filterwarnings("ignore:Python 3.14 will, by default, filter:DeprecationWarning")
@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_same_end(story: Story, kernel: Kernel, tmp_path: Path) -> None:
    kernel.os.mkdir("/tmp/test")
    ours = story(kernel, kernel.Path("/tmp/test"))
    theirs = story(HOST, tmp_path)
    assert relative(ours, "/tmp/test") == relative(theirs, str(tmp_path))


def shown(value: Any) -> Any:
    """Paths as text."""
    if isinstance(value, pathlib.PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [shown(v) for v in value]
    return value


@story
def paths(k: Any, root: Any) -> Any:
    (root / "a" / "b").mkdir(parents=True)
    file = root / "a" / "file.txt"
    result = [file.write_text("grüße\n", encoding="utf-8"), file.read_bytes(), file.suffix]
    (root / "a" / "link").symlink_to("file.txt")
    (root / "a" / "hard").hardlink_to(file)
    (root / "a" / "b" / "deep.txt").touch()
    result += [sorted(shown(list(root.rglob("*")))), sorted(shown(list(root.glob("**/*.txt"))))]
    result += [sorted(shown(list((root / "a").iterdir()))), file.stat().st_nlink]
    link = root / "a" / "link"
    result += [link.is_symlink(), str(link.readlink()), str(link.resolve()), link.samefile(file)]
    result += [file.exists(), file.is_file(), root.is_dir(), file.is_fifo(), root.is_mount()]
    file.chmod(0o640)
    result += [oct(file.stat().st_mode), str(file.rename(root / "moved")), file.exists()]
    result += [shown((root / "moved").with_suffix(".x")), (root / "moved").lstat().st_size]
    with (root / "moved").open("a", encoding="utf-8") as handle:
        handle.write("more")
    result += [(root / "moved").read_text(encoding="utf-8"), str(handle.name)]
    (root / "moved").unlink()
    (root / "moved").unlink(missing_ok=True)
    for call in (root.rmdir, (root / "none").stat, (root / "none").read_text):
        try:
            call()
        except OSError as error:
            result.append((type(error).__name__, error.errno, error.filename))
    result += [repr(root / "x").replace(str(root), "ROOT"), hash(root) == hash(root / ".")]
    return [*result, (root / "a") < (root / "b"), shown((root / "a/../a").resolve())]


@story
def trees(k: Any, root: Any) -> Any:
    source = root / "source"
    (source / "sub").mkdir(parents=True)
    (source / "file").write_bytes(b"x" * 100_000)
    (source / "file").chmod(0o751)
    k.os.utime(source / "file", ns=(10**18 + 1, 10**18 + 2))
    (source / "sub" / "link").symlink_to("../file")
    result: list[Any] = [str(k.shutil.copytree(source, root / "copy", symlinks=True))]
    copy = root / "copy" / "file"
    result += [copy.stat().st_size, oct(copy.stat().st_mode), copy.stat().st_mtime_ns]
    result += [str(k.shutil.copy2(copy, root / "one")), str(k.shutil.move(root / "one", source))]
    result += [sorted(k.os.listdir(source)), k.shutil.disk_usage(root).total > 0]
    try:
        k.shutil.copytree(source, root / "copy")
    except FileExistsError as error:
        result.append(error.filename)
    try:
        k.shutil.copyfile(source / "file", source / "file")
    except k.shutil.SameFileError:
        result.append("same")
    k.shutil.rmtree(source)
    k.os.mkdir(root / "bin")
    (root / "bin" / "tool").touch(0o755)
    result += [k.shutil.which("tool", path=str(root / "bin")), k.shutil.which("no-such-tool")]
    return [*result, source.exists(), k.shutil.rmtree.avoids_symlink_attacks]


@story
def patterns(k: Any, root: Any) -> Any:
    for name in ("a.txt", "b.txt", ".hidden", "c.dat"):
        (root / name).touch()
    (root / "sub").mkdir()
    (root / "sub" / "d.txt").touch()
    found: list[Any] = [
        sorted(k.glob.glob(f"{root}/*.txt")),
        sorted(k.glob.glob("**", root_dir=root)),
    ]
    found += [sorted(k.glob.glob(f"{root}/**/*.txt", recursive=True))]
    return [*found, sorted(k.glob.iglob(os.fsencode(str(root)) + b"/[ab].*"))]


@story
def temporary_files(k: Any, root: Any) -> Any:
    result: list[Any] = []
    with k.tempfile.TemporaryDirectory(dir=str(root)) as name:
        with k.tempfile.NamedTemporaryFile("w+", dir=name) as file:
            file.write("text")
            file.seek(0)
            result += [file.read(), k.os.path.exists(file.name), len(k.os.listdir(name))]
        result += [k.os.path.exists(file.name)]
        with k.tempfile.TemporaryFile(dir=name) as file:
            result += [file.write(b"xyz"), k.os.listdir(name), k.os.fstat(file.fileno()).st_nlink]
        with k.tempfile.SpooledTemporaryFile(10, dir=name) as file:
            file.write(b"more than ten bytes")
            result += [k.os.fstat(file.fileno()).st_size]
        fd, path = k.tempfile.mkstemp(".x", "y", name)
        result += [k.os.path.basename(path)[:1], path[-2:], k.os.close(fd)]
    return [*result, k.os.path.exists(name), k.tempfile.gettempdir()]


@story
def archives(k: Any, root: Any) -> Any:
    (root / "in" / "sub").mkdir(parents=True)
    (root / "in" / "file").write_bytes(b"content")
    (root / "in" / "sub" / "link").symlink_to("../file")
    result: list[Any] = []
    for kind in ("gztar", "bztar", "xztar", "tar", "zip"):
        made = k.shutil.make_archive(str(root / kind), kind, str(root / "in"))
        k.shutil.unpack_archive(made, str(root / f"out-{kind}"))
        result += [made, sorted(str(p) for p in (root / f"out-{kind}").rglob("*"))]
        result += [(root / f"out-{kind}" / "file").read_text()]
    result += [(root / "out-gztar" / "sub" / "link").is_symlink()]
    with k.tarfile.open(str(root / "gztar.tar.gz")) as tar:
        result += [sorted(tar.getnames())]
    with k.zipfile.ZipFile(root / "zip.zip") as archive:
        return [*result, archive.read("file")]


@story
def locks_and_flags(k: Any, root: Any) -> Any:
    (root / "x").touch()
    with k.open(str(root / "x"), "r+") as one, k.open(str(root / "x"), "r+") as two:
        result = [k.fcntl.flock(one, k.fcntl.LOCK_EX)]
        try:
            k.fcntl.flock(two, k.fcntl.LOCK_EX | k.fcntl.LOCK_NB)
        except BlockingIOError as error:
            result.append(error.errno)
        k.fcntl.flock(one, k.fcntl.LOCK_UN)
        k.fcntl.flock(two, k.fcntl.LOCK_SH | k.fcntl.LOCK_NB)
        result += [k.fcntl.lockf(one, k.fcntl.LOCK_EX, 10, 5), k.fcntl.lockf(one, k.fcntl.LOCK_UN)]
        result += [k.fcntl.fcntl(one, k.fcntl.F_GETFD), k.fcntl.fcntl(one, k.fcntl.F_SETFD, 0)]
        result += [k.os.get_inheritable(one.fileno())]
        flock = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0)
        found = k.fcntl.fcntl(one.fileno(), k.fcntl.F_GETLK, flock)
        result += [len(found), found[0]]
        for call, args in (
            (k.fcntl.fcntl, (one, k.fcntl.F_GETLK, b"x" * 2000)),
            (k.fcntl.lockf, (one, 99)),
            (k.fcntl.flock, (-1, k.fcntl.LOCK_EX)),
            (k.fcntl.flock, ("x", k.fcntl.LOCK_EX)),
        ):
            try:
                call(*args)
            except (ValueError, TypeError) as error:
                result.append(type(error).__name__)
    return result


@story
def what_a_device_is_asked(k: Any, root: Any) -> Any:
    r, w = k.os.pipe()
    k.os.write(w, b"12345")
    fionread = 0x541B
    buffer = bytearray(4)
    result = [k.fcntl.ioctl(r, fionread, buffer), bytes(buffer)]
    result += [k.fcntl.ioctl(r, fionread, bytes(4)), k.fcntl.ioctl(r, fionread, buffer, False)]
    try:
        k.fcntl.ioctl(r, 0x5401, bytes(60))
    except OSError as error:
        result.append(error.errno)
    return [*result, k.os.close(r), k.os.close(w)]


@story
def kinds_of_files(k: Any, root: Any) -> Any:
    result: list[Any] = []
    fd = k.os.open(str(root), k.os.O_TMPFILE | k.os.O_RDWR)
    with k.open(fd, "w+b") as file:
        result += [file.write(b"12"), file.seek(0), file.read(), k.os.fstat(fd).st_nlink]
    k.os.mkfifo(root / "fifo")
    fd = k.os.open(root / "fifo", k.os.O_RDWR | k.os.O_NONBLOCK)
    with k.open(fd, "rb", 0) as raw:
        result += [raw.read(), raw.seekable(), raw.isatty(), k.os.write(fd, b"x"), raw.read(5)]
    with k.open("/dev/null", "r+b", 0) as null:
        result += [null.write(b"gone"), null.read(), null.name]
    with k.open(root / "t", "w", encoding="utf-16", newline="\r\n") as text:
        result += [text.write("a\nb\n"), text.encoding, text.newlines]
    result += [(root / "t").read_bytes()]
    with k.os.fdopen(k.os.open(root / "t", k.os.O_RDONLY), "rb") as file:
        return [*result, len(file.read())]


def test_a_path_of_a_kernel_is_none_of_the_host(kernel: Kernel, tmp_path: Path) -> None:
    """Whoever mixes them up gets an error, not another file of the same name."""
    path = kernel.Path("/etc/hostname")
    with kernel.os.scandir("/") as entries:
        entry = next(entries)
    for wrong in (path, entry):
        for call in (open, os.stat, os.listdir, os.fspath, pathlib.Path, shutil.rmtree):
            if call is pathlib.Path and wrong is path:
                continue  # takes any pure path, for its name
            # Our own words, or those of a pathlib that asks for them and throws them away.
            with pytest.raises(TypeError, match=r"belongs to a kernel|os\.PathLike"):
                call(wrong)
    with pytest.raises(TypeError, match="belongs to a kernel"):
        subprocess.run(["/bin/true", path], check=True)
    assert isinstance(path, pathlib.PurePosixPath)
    assert not isinstance(path, pathlib.Path)
    pure = pathlib.PurePosixPath("/etc/hostname")
    assert path == pure
    assert pure == path
    assert hash(path) == hash(pure)
    assert sorted([path, pure / "x", pure.parent]) == [pure.parent, path, pure / "x"]
    assert path != pathlib.PureWindowsPath("/etc/hostname")
    assert str(path) == "/etc/hostname"


def test_a_path_asks_its_own_kernel(kernel: Kernel) -> None:
    """What pathlib leaves to os.path: links, mounts, homes and the working directory."""
    kernel.os.makedirs("/home/user")
    kernel.os.symlink("/home/user", "/tmp/link")
    kernel.os.makedirs("/etc", exist_ok=True)
    with kernel.open("/etc/passwd", "w") as file:
        file.write("root:x:0:0::/kernel-root:/\nuser:x:1:1::/home/user:/\n")
    link = kernel.Path("/tmp/link")
    assert link.resolve() == kernel.Path("/home/user")
    assert kernel.Path("/proc").is_mount()
    assert not kernel.Path("/home").is_mount()
    assert str(kernel.Path("~user/x").expanduser()) == "/home/user/x"
    kernel.os.chdir("/home/user")
    assert str(kernel.Path("x").absolute()) == str(kernel.Path.cwd() / "x") == "/home/user/x"
    assert kernel.Path("/").is_absolute()
    if hasattr(link, "is_junction"):
        assert not link.is_junction()


def test_a_path_of_a_kernel_is_none_of_another(kernel: Kernel, boot: Boot) -> None:
    other = boot()
    with pytest.raises(TypeError, match="another kernel"):
        other.os.stat(kernel.Path("/tmp"))
    with pytest.raises(TypeError, match="another kernel"):
        other.open(kernel.Path("/tmp/x"), "w")
    with kernel.os.scandir("/") as entries, pytest.raises(TypeError, match="another kernel"):
        other.os.stat(next(entries))


def test_every_function_takes_a_path(kernel: Kernel) -> None:
    """kernel.Path, and any os.PathLike of names."""
    path = kernel.Path("/tmp/x")
    path.write_bytes(b"123")
    for each in (path, pathlib.PurePosixPath("/tmp/x"), "/tmp/x", b"/tmp/x"):
        assert kernel.os.stat(each).st_size == 3
        assert kernel.os.path.getsize(each) == 3
        assert kernel.syscall("truncate", each, 3) == 0
        assert os.fsdecode(kernel.os.path.basename(each)) == "x"
        with kernel.open(each, "rb") as file:
            assert file.read() == b"123"
    with pytest.raises(FileNotFoundError) as caught:
        kernel.os.stat(kernel.Path("/none"))
    assert caught.value.filename == "/none"
    assert kernel.os.fsencode(path) == b"/tmp/x"


@pytest.mark.filterwarnings("ignore:Python 3.14 will, by default, filter:DeprecationWarning")
def test_nothing_of_the_host_is_touched(kernel: Kernel, tmp_path: Path) -> None:
    """Archives and temporary files, whose modules open files themselves."""
    kernel.os.makedirs(str(tmp_path))
    (tmp_path / "file").write_text("the host's")
    kernel.Path(str(tmp_path), "file").write_text("the kernel's")
    for kind in ("zip", "tar", "gztar", "bztar", "xztar"):
        made = kernel.shutil.make_archive(str(tmp_path / kind), kind, str(tmp_path))
        kernel.shutil.unpack_archive(made, str(tmp_path / "out"))
    for name in ("gzip", "bz2", "lzma"):
        with getattr(kernel, name).open(str(tmp_path / name), "wb") as file:
            file.write(b"x")
    for name in ("gz", "bz2", "xz"):
        with kernel.tarfile.open(str(tmp_path / "packed"), f"w:{name}") as tar:
            tar.add(str(tmp_path / "file"))
    assert sorted(os.listdir(tmp_path)) == ["file"]
    assert kernel.Path(str(tmp_path), "out", "file").read_text() == "the kernel's"
    kernel.shutil.rmtree(str(tmp_path))
    assert (tmp_path / "file").read_text() == "the host's"
