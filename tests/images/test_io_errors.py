# SPDX-License-Identifier: GPL-2.0-only
"""I/O errors at each request: the tool says so, or all is done; and fsck can repair the image.

RUMPEL_IO_ERRORS=1 tries every request of each file system, 3 every third; without it some are.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rumpel.images import open_image
from rumpel.images.served import ServedByThread
from rumpel.images.tools import fsck
from tests.conftest import VERSION
from tests.images.tool import Ended, Tool
from tests.images.tools import check, make

pytestmark = pytest.mark.kernel

SIZES = {"ext4": 32, "xfs": 304, "btrfs": 128, "f2fs": 64}
_EACH = int(os.environ.get("RUMPEL_IO_ERRORS", "0"))


class Faulty:
    """A file as a disk's backend, of which one request fails, or all from one on.

    Args:
        path: of the file.

    Attributes:
        counts: how many requests of each kind there have been.
        kind: of those that fail: ``read``, ``write`` or ``flush``.
        first: the number of the first that fails; 0 is none.
        dead: do all fail that come after it, of any kind?
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self.size = path.stat().st_size
        self.counts: Counter[str] = Counter()
        self.kind, self.first, self.dead = "", 0, False
        self._is_dead = False

    def _count(self, kind: str) -> None:
        self.counts[kind] += 1
        hit = kind == self.kind and self.counts[kind] == self.first
        self._is_dead = self._is_dead or (hit and self.dead)
        if hit or self._is_dead:
            raise OSError(errno.EIO, "the disk has failed")

    def pread(self, offset: int, length: int) -> bytes:
        """As any disk."""
        self._count("read")
        return os.pread(self._file.fileno(), length, offset)

    def pwrite(self, offset: int, data: bytes) -> None:
        """As any disk."""
        self._count("write")
        os.pwrite(self._file.fileno(), data, offset)

    def write_zeroes(self, offset: int, length: int) -> None:
        """As any disk."""
        self.pwrite(offset, bytes(length))

    def flush(self) -> None:
        """As any disk."""
        self._count("flush")

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


class Rig:
    """A disk image that the tool reads and writes through something faulty."""

    def __init__(self, top: Path, kind: str, monkeypatch: pytest.MonkeyPatch, tool: Tool) -> None:
        self.kind, self.disk, self.tree = kind, top / "disk.img", top / "tree"
        self._base, self._tool, self._monkeypatch = top / "base.img", tool, monkeypatch
        self._top = top
        self.backend: Faulty
        for number in range(30):
            path = self.tree / str(number % 3) / str(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(number * 1000))
        (self.tree / "large").write_bytes(os.urandom(1 << 20))
        make(self._base, kind, SIZES[kind])
        with open_image(self._base, version=VERSION) as image:
            image.copy_in(self.tree, "/before")

    def run(self, command: str, kind: str = "", first: int = 0, dead: bool = False) -> Ended:
        """Run a command on a new copy of the disk with a fault."""
        subprocess.run(["cp", "--sparse=always", self._base, self.disk], check=True)
        shutil.rmtree(self._top / "out", ignore_errors=True)
        before, new = f"{self.disk}:/before", f"{self.disk}:/new"
        name, *args = {
            "in": ["cp", "-r", str(self.tree), new],
            "out": ["cp", "-r", before, str(self._top / "out")],
            "rm": ["rm", "-r", before],
            "mv": ["mv", before, new],
        }[command]
        with self._monkeypatch.context() as patch:
            patch.setattr("rumpel.images.session.open_source", self._opened(kind, first, dead))
            return self._tool(name, *args)

    def _opened(self, kind: str, first: int, dead: bool) -> Any:
        def open_source(image: str, format: str | None, read_only: bool, backing: bool) -> Any:
            self.backend = Faulty(Path(image))
            self.backend.kind, self.backend.first, self.backend.dead = kind, first, dead
            stack = contextlib.ExitStack()
            stack.callback(self.backend.close)
            return ServedByThread(image, self.backend, self.backend.size, read_only, stack)

        return open_source

    def files(self, image: Any, top: str) -> dict[str, bytes]:
        """What is below a directory of the image."""
        if not image.exists(top):
            return {}
        names = [each.path for each in image.volume.walk(top) if each.mode & 0o170000 == 0o100000]
        return {name: image.cat(f"{top}/{name}") for name in names}

    def compare(self, command: str, ended: Ended) -> None:
        """What is claimed is there; if nothing is claimed it can be repaired."""
        whole = {
            str(path.relative_to(self.tree)): path.read_bytes()
            for path in self.tree.rglob("*")
            if path.is_file()
        }
        if command == "out":
            check(self.disk, self.kind)
            out = self._top / "out"
            for path in out.rglob("*"):
                if path.is_file():
                    assert path.read_bytes() == whole.pop(str(path.relative_to(out)))
            assert ended.status or not whole
            return
        if ended.status:
            self._repair()
        check(self.disk, self.kind)
        with open_image(self.disk, read_only=True, version=VERSION) as image:
            before, new = (self.files(image, top) for top in ("/before", "/new"))
        if ended.status == 0:
            assert before == (whole if command == "in" else {})
            assert new == ({} if command == "rm" else whole)
        elif command == "in":
            assert before == whole
            assert set(new) <= set(whole)
        elif command == "mv":
            assert whole in (before, new)
        else:
            assert before == {path: whole[path] for path in before}

    def _repair(self) -> None:
        """As the docs say: the kernel replays the journal, then the file system's own fsck."""
        ended = self._tool("check", "--repair", self.disk)
        if ended.status:  # its errors are corrected, and it says that there were some
            fsck(str(self.disk), self.kind, str(self.disk), repair=True)


@pytest.mark.timeout(3600 if _EACH else 300)
@pytest.mark.parametrize("kind", list(SIZES))
def test_every_request(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """The n-th read, write or flush fails, alone or with all after it."""
    chance = random.Random(kind)
    rig = Rig(tmp_path, kind, monkeypatch, Tool(monkeypatch, capfdbinary))
    rounds: list[tuple[str, str, int, bool]] = []
    for command in ("in", "out", "rm", "mv") if _EACH else ("in", chance.choice(("out", "rm"))):
        ended = rig.run(command)
        assert (ended.status, ended.error) == (0, "")
        rig.compare(command, ended)
        counts = rig.backend.counts
        rounds += [
            (command, what, number, dead)
            for what in counts
            for number in range(1, counts[what] + 1)
            for dead in (False, True)
        ]
    chosen = rounds[random.randrange(_EACH) :: _EACH] if _EACH else chance.sample(rounds, 5)
    failed, wrong = 0, []
    for command, what, number, dead in chosen:
        ended = rig.run(command, what, number, dead)
        failed += ended.status
        try:
            rig.compare(command, ended)
        except Exception as error:
            how = f"{kind}: {command}, {what} {number} fails" + (" for good" if dead else "")
            wrong.append(f"{how}: {ended}: {error!r:.2000}")
    assert failed
    assert not wrong, "\n".join([f"{len(wrong)} of {len(chosen)}", *wrong])
