# SPDX-License-Identifier: GPL-2.0-only
"""``rumpel run --image``: a program's files on a file system of the library kernel."""

from __future__ import annotations

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from rumpel.run import Image, Options, boot
from rumpel.run.images import settle
from tests.conftest import VERSION
from tests.images.test_lvm import group, write
from tests.images.test_raid import array, shim
from tests.images.volumes import PASSWORD, encrypt, examined, ext4, sparse, tool
from tests.run.conftest import CLI, OnKernel, installed, run, wait_until

__all__ = ["shim"]

pytestmark = [pytest.mark.kernel, pytest.mark.once]

DATABASE = """
import sqlite3
with sqlite3.connect("/data/music.db") as db:
    db.execute("create table if not exists songs (name)")
    db.execute("insert into songs values ('one'), ('two')")
    print(db.execute("select count(*) from songs").fetchone()[0])
"""


def image(path: Path, fstype: str, size: int = 64 << 20) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    quiet = ["-q"] if fstype != "btrfs" else ["-q", "-f"]
    subprocess.run([installed(f"mkfs.{fstype}"), *quiet, path], check=True)
    return path


@pytest.mark.parametrize(("fstype", "size"), [("ext4", 64 << 20), ("xfs", 320 << 20)])
def test_a_database(on_kernel: OnKernel, tmp_path: Path, fstype: str, size: int) -> None:
    """It is there in the next run, and in the image, which is clean."""
    disk = image(tmp_path / "disk.img", fstype, size)
    program = ["/usr/bin/python3", "-c", DATABASE]
    for count in ("2\n", "4\n"):
        # At once: the second waits until the first one's kernel has let go of the image.
        done = on_kernel.run("--net", "none", "--image", f"{disk}:/data", program=program)
        assert (done.stdout, done.stderr) == (count, "")
    assert wait_until(on_kernel.is_over)
    listed = run([*CLI, "image", "ls", f"{disk}:/"]).stdout
    assert "music.db" in listed
    assert not Path("/data").exists()
    if fstype == "ext4":
        assert run([installed("e2fsck"), "-fn", str(disk)]).returncode == 0


RELATIVE = """
import os, subprocess
os.makedirs("/data/a/b")
os.chdir("/data/a")
assert (os.getcwd(), os.listdir()) == ("/data/a", ["b"])
with open("file", "w") as file:
    file.write("relative")
os.rename("file", "b/file")
print(subprocess.check_output(["sh", "-ec", "pwd; cd b; mkdir -p c/d; ls; cat file"], text=True))
os.chdir("..")
assert os.listdir("a/b") and os.getcwd() == "/data"
here = os.open("/usr", os.O_RDONLY)
os.fchdir(here)
assert os.getcwd() == "/usr" and "bin" in os.listdir(".")
"""


def test_relative_paths(on_kernel: OnKernel, tmp_path: Path) -> None:
    """What is named from a current directory of the kernel's is the kernel's, over exec, too."""
    disk = image(tmp_path / "disk.img", "ext4")
    program = ["/usr/bin/python3", "-c", RELATIVE]
    options = ["--net", "none", "--image", f"{disk}:/data"]
    done = on_kernel.run(*options, program=program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["/data/a", "c", "file", "relative"]
    assert os.listdir(tmp_path) == ["disk.img"]


def test_a_server_whose_directory_is_on_an_image(on_kernel: OnKernel, tmp_path: Path) -> None:
    """It changes into it, and names its files from there."""
    disk = image(tmp_path / "disk.img", "xfs", 320 << 20)
    script = """
    redis-server --dir /data --save "" --port 6379 >/dev/null &
    until [ "$(redis-cli set a b)" = OK ]; do sleep 0.05; done 2>/dev/null
    redis-cli save; kill $!; wait $! || true; ls /data
    """
    done = on_kernel.sh(script, "--net", "none", "--image", f"{disk}:/data", cwd=tmp_path)
    assert done.stdout.split() == ["OK", "dump.rdb"], done.stderr
    assert os.listdir(tmp_path) == ["disk.img"]


DIRECT = """
import ctypes, errno, fcntl, mmap, os, struct
libc = ctypes.CDLL(None, use_errno=True)

def openat2(path, flags):
    how = struct.pack("QQQ", flags, 0o644 if flags & os.O_CREAT else 0, 0)
    fd = libc.syscall(437, -100, path, how, len(how))
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd

page = mmap.mmap(-1, 4096)
page[:] = b"direct!!" * 512
flags = os.O_RDWR | os.O_CREAT | os.O_DIRECT
for name, opened in ((b"/data/a", os.open), (b"/data/b", openat2)):
    fd = opened(name, flags)
    assert os.pwrite(fd, page, 4096) == 4096
    assert os.pwritev(fd, [page], 0) == 4096
    os.fdatasync(fd)
    got = mmap.mmap(-1, 8192)
    assert os.preadv(fd, [got], 0) == 8192 and got[:] == page[:] * 2
    assert os.pread(fd, 5, 3) == b"ect!!"  # as on file systems that know no direct I/O
fd = os.open("/data/c", os.O_RDWR | os.O_CREAT)
fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT | os.O_APPEND)
assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
assert os.write(fd, page) == os.write(fd, b"end") + 4093
assert libc.syscall(437, -100, b"/data/a", bytes(8), 8) == -1
assert ctypes.get_errno() == errno.EINVAL
"""


@pytest.mark.parametrize(("fstype", "size"), [("ext4", 64 << 20), ("xfs", 320 << 20)])
def test_direct_io(on_kernel: OnKernel, tmp_path: Path, fstype: str, size: int) -> None:
    """Databases want it, with memory of their own: it goes through the page cache."""
    disk = image(tmp_path / "disk.img", fstype, size)
    program = ["/usr/bin/python3", "-c", DIRECT]
    done = on_kernel.run("--net", "none", "--image", f"{disk}:/data", program=program)
    assert (done.returncode, done.stderr) == (0, "")
    assert wait_until(on_kernel.is_over)
    assert run([*CLI, "image", "cat", f"{disk}:/c"]).stdout == "direct!!" * 512 + "end"


AIO = """
import ctypes, os
libc, context = ctypes.CDLL(None, use_errno=True), ctypes.c_ulong()
done = libc.syscall(206, 8, ctypes.byref(context))  # io_setup
print(os.strerror(ctypes.get_errno()) if done else "done")
"""


def test_asynchronous_io(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Where files may be the kernel's, libaio is not there: MariaDB waits for its files then."""
    program = ["/usr/bin/python3", "-c", AIO]
    assert on_kernel.run("--net", "none", program=program).stdout == "done\n"
    disk = image(tmp_path / "disk.img", "ext4")
    done = on_kernel.run("--net", "none", "--image", f"{disk}:/data", program=program)
    assert done.stdout == "Function not implemented\n"


def test_partitions(on_kernel: OnKernel, tmp_path: Path) -> None:
    """They are named as for rumpel image; several are at several places."""
    disk = tmp_path / "disk.img"
    parts = ["-p", "16M:ext4:first", "-p", "rest:vfat:SECOND"]
    run([*CLI, "image", "create", str(disk), "64M", *parts], check=True)
    options = ["--image", f"{disk}:1:/srv/one/deep", "--image", f"{disk}:LABEL=SECOND:/two"]
    script = "echo a >/srv/one/deep/a; echo b >/two/b; grep -h /dev/vd /proc/mounts; cat /two/b"
    options += ["--path", "/proc/mounts=kernel"]
    done = on_kernel.run("--net", "none", *options, program=["sh", "-c", script])
    mounted = [line.split()[:3] for line in done.stdout.splitlines()]
    expected = [["/dev/vda1", "/srv/one/deep", "ext4"], ["/dev/vda2", "/two", "vfat"], ["b"]]
    assert mounted == expected, done.stderr
    assert wait_until(on_kernel.is_over)
    assert run([*CLI, "image", "cat", f"{disk}:2:/b"]).stdout == "b\n"


def test_qcow2_and_luks(on_kernel: OnKernel, tmp_path: Path) -> None:
    """What is written through dm-crypt and qemu-nbd is there afterwards."""
    plain = ext4(tmp_path / "disk.img", 16)
    os.truncate(plain, 24 << 20)
    encrypt(plain, "pbkdf2")
    disk = tmp_path / "disk.qcow2"
    tool("qemu-img", "convert", "-O", "qcow2", plain, disk)
    on_kernel.environment["RUMPEL_PASSWORD"] = PASSWORD
    program = ["sh", "-c", "echo kept >/data/file; ls /data"]
    done = on_kernel.run("--net", "none", "--image", f"{disk}:/data", program=program)
    assert "file" in done.stdout, done.stderr
    assert wait_until(on_kernel.is_over)
    cat = [*CLI, "image", "cat", f"{disk}:/file"]
    assert run(cat, env=on_kernel.environment).stdout == "kept\n"
    wrong = on_kernel.environment | {"RUMPEL_PASSWORD": "wrong"}
    line = on_kernel.arguments("--net", "none", "--image", f"{disk}:/data", program=["true"])
    done = run(line, env=wrong)
    assert "no key slot of it knows that password" in done.stderr
    assert done.returncode


def test_logical_volumes(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Two of one group, by their names; the group is another one's business no more."""
    disk = sparse(tmp_path / "disk.img", 64)
    group("vg", [disk], {"a": ["-l", "20"], "b": ["-l", "20"]})
    for volume in "ab":
        write([disk], f"vg/{volume}", ext4(tmp_path / f"{volume}.img", 16, name=volume))
    options = ["--image", f"{disk}:vg/a:/one", "--image", f"{disk}:vg/b:/two"]
    script = "cat /one/name /two/name; cp /one/name /two/other"
    done = on_kernel.run("--net", "none", *options, program=["sh", "-c", script])
    assert (done.stdout, done.stderr) == ("ab", "")
    assert wait_until(on_kernel.is_over)
    assert run([*CLI, "image", "cat", f"{disk}:vg/b:/other"]).stdout == "a"


def test_a_mirror(on_kernel: OnKernel, shim: Path, tmp_path: Path) -> None:
    """RAID on two partitions of an image: both have what was written, and are clean."""
    members = array(shim, tmp_path, "1", 2, "1.2", 87)
    disk = sparse(tmp_path / "disk.img", 48)
    tool("sfdisk", "-q", disk, stdin="2048,40960,raid\n43008,40960,raid\n")
    with disk.open("r+b") as file:
        for at, member in zip((1 << 20, 21 << 20), members, strict=True):
            file.seek(at)
            file.write(member.read_bytes())
    script = "cat /data/hello; echo kept >/data/new"
    options = ["--net", "none", "--image", f"{disk}:md/home:/data"]
    done = on_kernel.run(*options, program=["sh", "-c", script])
    assert (done.stdout, done.stderr) == ("on raid\n", "")
    settle(str(disk))
    with disk.open("rb") as file:
        for at, member in zip((1 << 20, 21 << 20), members, strict=True):
            file.seek(at)
            member.write_bytes(file.read(20 << 20))
    told = [examined(member) for member in members]
    assert {each["State"] for each in told} == {"clean"}
    assert len({each["Events"] for each in told}) == 1
    for member in members:
        assert b"kept\n" in member.read_bytes()
    got = run([*CLI, "image", "cat", "--kernel", VERSION, f"{disk}:md/home:/new"])
    assert got.stdout == "kept\n", got.stderr


def test_from_python(on_kernel: OnKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the kernel is closed all is in the image."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", on_kernel.environment["XDG_RUNTIME_DIR"])
    disk = image(tmp_path / "disk.img", "ext4")
    options = Options(nets=["none"], version=on_kernel.image, images=[Image(str(disk), "/data")])
    with boot(options) as k:
        k.run(["cp", "/etc/passwd", "/data/passwd"], check=True)
    got = run([*CLI, "image", "cat", f"{disk}:/passwd"])
    assert got.stdout == Path("/etc/passwd").read_text(), got.stderr


def test_mistakes(on_kernel: OnKernel, tmp_path: Path) -> None:
    """Each is one line, and no program starts."""
    disk = image(tmp_path / "disk.img", "ext4")
    empty = tmp_path / "empty.img"
    empty.write_bytes(bytes(1 << 20))
    cut = image(tmp_path / "cut.img", "ext4")
    os.truncate(cut, 32 << 20)
    gz = tmp_path / "disk.gz"
    gz.write_bytes(gzip.compress(bytes(1 << 20)))
    for name, said in (
        (f"{disk}", "is not IMAGE[:PARTITION]:/DIR"),
        (f"{disk}:7:/data", "has no partition 7"),
        (f"{disk}:/", "an image must be at an absolute path"),
        (
            f"{empty}:/data",
            "cannot be mounted at /data: no file system that this Linux knows (Invalid",
        ),
        (f"{cut}:/data", "Invalid argument; EXT4-fs (vda): bad geometry"),
        (f"{gz}:/data", "is gzip, and cannot be written to: decompress it"),
        (f"{tmp_path}/none.img:/data", "no such image"),
    ):
        done = on_kernel.run("--net", "none", "--image", name, program=["echo", "started"])
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
        assert done.returncode
    hold = ["--net", "none", "--name", "holds", "--image", f"{disk}:/data"]
    with on_kernel.start(*hold, program=["sleep", "60"]):
        assert wait_until(lambda: "holds" in run([*CLI, "ps"], env=on_kernel.environment).stdout)
        done = on_kernel.run("--net", "none", "--image", f"{disk}:/data", program=["true"])
        assert "in use" in done.stderr
        assert done.returncode == 1
