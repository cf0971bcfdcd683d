# SPDX-License-Identifier: GPL-2.0-only
"""Users who are not root: ``rumpel image mount`` of images of every kind, snapshots."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.server import serving
from tests.images.tools import check, make

pytestmark = [
    pytest.mark.once,
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else"),
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="there is no /dev/fuse"),
]
USER = "nobody"
_OPEN = """
top=$1 keep=$2
if [ -n "$top" ]; then
    mount --bind "$top" "$keep"
    mount -t tmpfs -o mode=755 none /root
    mkdir -p "$top"
    mount --bind "$keep" "$top"
fi
echo ready
exec sleep 1000
"""
"""Lets everybody in where the interpreter is, of all that root has."""


class Home:
    """A directory of a user, in a mount namespace in which he may use this interpreter.

    Attributes:
        path: it has a kernel, and a directory to mount at.
        here: that directory.
    """

    def __init__(self, path: Path, namespace: int) -> None:
        self.path = path
        self.here = path / "here"
        self._enter = ["nsenter", "-t", str(namespace), "-m", f"--wd={path}", "--"]

    def run(self, *command: object, user: str = USER) -> subprocess.CompletedProcess[str]:
        """Run a program of his, with no rights but those of everybody."""
        found = pwd.getpwnam(user)
        drop = [f"--reuid={found.pw_uid}", f"--regid={found.pw_gid}", "--clear-groups"]
        env = {"PATH": os.environ["PATH"], "TMPDIR": str(self.path), "HOME": str(self.path)}
        words = [*self._enter, "setpriv", *drop, *map(str, command)]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=100)

    def rumpel(self, command: str, *args: object, code: int = 0) -> str:
        """Run ``rumpel image``."""
        program = [sys.executable, "-c", "from rumpel.cli import main; main()", "image", command]
        kernel = [] if command == "umount" else ["--kernel", self.path / "linux.so"]
        done = self.run(*program, *kernel, *args)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    @property
    def is_mounted(self) -> bool:
        """Is there something?"""
        return self.run("mountpoint", "-q", self.here).returncode == 0


@pytest.fixture
def home(default_image: str) -> Iterator[Home]:
    """A directory of the user."""
    user = pwd.getpwnam(USER)
    top = Path(sys.base_prefix)
    hidden = str(top) if top.is_relative_to("/root") else ""
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as keep:
        path = Path(directory)
        shutil.copy(default_image, path / "linux.so")
        (path / "here").mkdir()
        for each in (path, path / "here"):
            os.chown(each, user.pw_uid, user.pw_gid)
        words = ["unshare", "--mount", "sh", "-ec", _OPEN, "sh", hidden, keep]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout
                assert holder.stdout.readline() == "ready\n"
                home = Home(path, holder.pid)
                tried = home.run(sys.executable, "-c", "import rumpel._native")
                if tried.returncode:
                    pytest.skip(f"nobody but root may use this package: {tried.stderr}")
                yield home
            finally:
                # The namespace goes, and what is mounted in it.
                holder.kill()


def _disk(home: Home) -> Path:
    """An image of the user's, with a file that is his, and one that is root's."""
    user = pwd.getpwnam(USER)
    tree = home.path / "tree"
    tree.mkdir()
    (tree / "file").write_text("from the image\n")
    (tree / "secret").write_text("root's\n")
    (tree / "secret").chmod(0o600)
    os.chown(tree / "file", user.pw_uid, user.pw_gid)
    disk = make(home.path / "disk.img", "ext4", 32)
    os.chown(disk, user.pw_uid, user.pw_gid)
    for name in ("file", "secret"):
        commands = f"write {tree}/{name} {name}\nsif {name} uid {(tree / name).stat().st_uid}\n"
        subprocess.run(
            ["debugfs", "-w", "-f", "-", disk], input=commands.encode(), check=True,
            capture_output=True,
        )  # fmt: skip
    return disk


@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_writing(home: Home, kind: str) -> None:
    """He may do all in it, and it is his alone: not even root looks in. It is clean afterwards."""
    disk, here = _disk(home), home.here
    if kind == "qcow2":
        disk = home.path / "disk.qcow2"
        done = home.run("qemu-img", "convert", "-O", "qcow2", "disk.img", disk)
        assert done.returncode == 0, done.stderr
    home.rumpel("mount", disk, here)
    script = (
        "cat file secret && echo new > new && mkdir -p d/e && cp -a file d/e/ && stat -c %U new"
    )
    done = home.run("sh", "-ec", f"cd here && {script}")
    assert done.stdout == f"from the image\nroot's\n{USER}\n", done.stderr
    assert "Permission denied" in home.run("ls", here, user="root").stderr
    told = f"in use: it is mounted at {here}: work there, or rumpel image umount {here}"
    assert told in home.rumpel("ls", disk, code=1)
    home.rumpel("umount", here)
    assert not home.is_mounted
    assert home.rumpel("cat", f"{disk}:/new", f"{disk}:/d/e/file") == "new\nfrom the image\n"
    if kind == "raw":
        check(disk)
    else:
        assert home.run("qemu-img", "check", "-q", disk).returncode == 0


@pytest.mark.parametrize("kind", ["zst", "xz", "http"])
def test_reading(home: Home, kind: str) -> None:
    """Of what nobody can write to; with an overlay he can."""
    disk, here = _disk(home), home.here
    with serving() as server:
        if kind == "http":
            server.files["/disk.img"] = disk.read_bytes()
            source = f"{server.url}/disk.img"
        else:
            program = {"zst": "zstd", "xz": "xz"}[kind]
            subprocess.run([program, "-q", "-k", disk], check=True)
            source = f"{disk}.{kind}"
            Path(source).chmod(0o444)
        disk.unlink()
        home.rumpel("mount", source, here)
        done = home.run("sh", "-c", f"cat {here}/file; echo x > {here}/new")
        assert done.stdout == "from the image\n", done.stderr
        assert "Read-only file system" in done.stderr
        home.rumpel("umount", here)
        home.rumpel("mount", "--overlay", "o.qcow2", source, here)
        done = home.run("sh", "-c", f"echo new > {here}/new")
        assert done.returncode == 0, done.stderr
        home.rumpel("umount", here)
        assert home.rumpel("cat", "--overlay", "o.qcow2", f"{source}:/new") == "new\n"


def test_a_directory_of_somebody_else(home: Home) -> None:
    """fusermount3 says no, in one line."""
    disk = _disk(home)
    other = home.path / "other"
    other.mkdir(mode=0o755)
    told = home.rumpel("mount", disk, other, code=1)
    assert told.count("\n") == 1
    assert str(other) in told
    assert home.run("mountpoint", "-q", other).returncode != 0


def test_a_sandbox_starts_from_a_snapshot(home: Home) -> None:
    """In a user namespace too, from what is in the user's cache; not from what others put there."""
    boot = """
import sys, rumpel.sandbox
with rumpel.sandbox.boot([], image=sys.argv[1]) as k:
    print([record.time for record in k.log][:100])
"""

    def times() -> str:
        done = home.run(sys.executable, "-c", boot, home.path / "linux.so")
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert home.run("mkdir", home.path / ".cache").returncode == 0
    first = times()  # no two boots take equally long
    assert times() == first
    snapshots = home.path / ".cache" / "rumpel" / "snapshots"
    assert len(list(snapshots.iterdir())) == 1
    os.chown(snapshots, 0, 0)
    snapshots.chmod(0o777)
    assert times() != first
