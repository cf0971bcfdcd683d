# SPDX-License-Identifier: GPL-2.0-only
"""SIGKILL at random moments: what was there before is there, and the file system recovers.

RUMPEL_KILLS says how many for each file system; without it few, whose moments are random too.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rumpel.images import ImageError, open_image
from rumpel.images.locks import held
from tests.conftest import VERSION
from tests.images.tool import RUMPEL
from tests.images.tools import check, make

pytestmark = [pytest.mark.kernel, pytest.mark.once]

SIZES = {"ext4": 48, "xfs": 304, "btrfs": 160, "f2fs": 96}
_MANY = int(os.environ.get("RUMPEL_KILLS", "0"))
_PROGRAM = f"""
import os, sys
from rumpel.images import open_image
with open_image(sys.argv[1], version={VERSION!r}, sandbox=sys.argv[2] == "--sandbox") as image:
    to = image.volume.kernel.os
    for number in range(400):
        name = f"/kept/{{number}}"
        fd = to.open(name + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        to.write(fd, str(number).encode() * 3000)
        to.fsync(fd)
        to.close(fd)
        to.rename(name + ".new", name)
        fd = to.open("/kept", os.O_RDONLY)
        to.fsync(fd)
        to.close(fd)
        print(number, flush=True)
"""


class Before(NamedTuple):
    """What each round begins with."""

    disk: Path
    tree: Path
    archive: Path
    files: dict[str, bytes]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many small files and a few large ones."""
    top = tmp_path_factory.mktemp("killed") / "tree"
    chance = random.Random(1)
    for number in range(250):
        path = top / str(number % 10) / str(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.choice((10, 5000, 30_000))))
    for number in range(3):
        (top / f"large{number}").write_bytes(chance.randbytes(2 << 20))
    return top


@pytest.fixture
def before(request: pytest.FixtureRequest, tree: Path, tmp_path: Path) -> Before:
    """An image to which commands have written that ended well."""
    kind = request.getfixturevalue("kind")
    disk = make(tmp_path / "before.img", kind, SIZES[kind])
    files = {
        str(path.relative_to(tree)): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file()
    }
    with open_image(disk, version=VERSION) as image:
        image.makedirs("/kept")
        image.copy_in(tree, "/before")
        image.copy_in(tree, "/old")
    archive = tmp_path / "tree.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(tree, "new")
    return Before(disk, tree, archive, files)


def command_of(name: str, disk: Path, before: Before, sandbox: str) -> list[str]:
    """What is killed."""
    if name == "fsync":
        return [sys.executable, "-c", _PROGRAM, str(disk), sandbox]
    args = {
        "cp": ["-r", str(before.tree), f"{disk}:/new"],
        "untar": [str(before.archive), f"{disk}:/"],
        "rm": ["-r", f"{disk}:/old"],
        "mv": [f"{disk}:/old", f"{disk}:/new"],
    }
    return [*RUMPEL, name, "--kernel", VERSION, sandbox, *args[name]]


def kill(process: subprocess.Popen[bytes], who: str) -> None:
    """Kill the program, or its kernel's process, or both at a time."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        kernels = [int(each) for each in children.read_text().split()] if who != "tool" else []
    except FileNotFoundError:
        kernels = []  # it has ended
    for pid in kernels:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if who != "kernel":
        process.kill()


def wait_for(disk: Path) -> None:
    """Until nobody has it: the kernel's process ends after the program's."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with held(str(disk), read_only=False):
                return
        except ImageError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


class Ended(NamedTuple):
    """How a command has ended that was to be killed."""

    status: int
    out: bytes
    told: str


def killed(command: Sequence[str], disk: Path, who: str, chance: random.Random) -> Ended:
    """Run a command and kill it at a random moment, mostly after its first write."""
    unwritten = disk.stat().st_mtime_ns
    early, delay = chance.random() < 0.1, chance.uniform(0, 0.3)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while not early and disk.stat().st_mtime_ns == unwritten and process.poll() is None:
                time.sleep(0.001)
            time.sleep(delay)
            kill(process, who)
            out, error = process.communicate(timeout=120)
        finally:
            process.kill()
    wait_for(disk)
    if who == "kernel" and process.returncode:
        # The program lives, and says it.
        assert b"SIGKILL" in error.splitlines()[-1], error
        assert b"Traceback" not in error or list(command[: len(RUMPEL)]) != RUMPEL
    return Ended(process.returncode, out, f"{who}, {'early' if early else 'written'}, {delay}")


def content(image: Any, top: str) -> dict[str, bytes]:
    """All files below a directory."""
    if not image.exists(top):
        return {}
    names = [each.path for each in image.volume.walk(top) if stat.S_ISREG(each.mode)]
    return {name: image.cat(f"{top}/{name}") for name in names}


def has_nothing_else(data: bytes, whole: bytes) -> bool:
    """Is it a part of that, with holes where nothing was written yet? Nobody else's data."""
    return len(data) <= len(whole) and all(
        data[at : at + 512] in (whole[at : at + 512][: len(data) - at], bytes(len(data[at:][:512])))
        for at in range(0, len(data), 512)
    )


def compare(image: Any, before: Before, name: str, in_order: bool, ended: Ended) -> None:
    """All that was finished is there, and of the rest only what belongs there."""
    assert content(image, "/before") == before.files
    new, old = content(image, "/new"), content(image, "/old")
    done = ended.status == 0
    if name == "fsync":
        for number in ended.out.split():
            assert image.cat(f"/kept/{int(number)}") == number * 3000
    if name == "mv":
        assert (new, old) in ([({}, before.files)] if not done else []) + [(before.files, {})]
    elif name == "rm":
        assert old == {path: before.files[path] for path in old}
        assert not (done and old)
    else:
        assert old == before.files
        for path, data in new.items():
            whole = before.files[path]
            assert data == whole if in_order else has_nothing_else(data, whole), path
        if done and name != "fsync":
            assert new == before.files


def choose(chance: random.Random, at: int) -> tuple[str, str, str]:
    """What is killed: the command, who of it, and where its kernel is."""
    first = [("cp", "both", "--sandbox"), ("fsync", "kernel", "--sandbox")]
    if at < len(first):
        return first[at]
    name = chance.choice(("cp", "cp", "untar", "rm", "mv", "fsync", "fsync"))
    if chance.random() < 0.2:
        return name, "tool", "--no-sandbox"
    return name, chance.choice(("both", "both", "kernel", "tool")), "--sandbox"


@pytest.mark.timeout(max(300, 60 * _MANY))
@pytest.mark.parametrize("kind", list(SIZES))
def test_killed(kind: str, before: Before, tmp_path: Path) -> None:
    """The program alone: its kernel ends in order. With its kernel: the journal is replayed."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    disk, wrong = tmp_path / "disk.img", []
    for at in range(_MANY or 2):
        name, who, sandbox = choose(chance, at)
        subprocess.run(["cp", "--sparse=always", before.disk, disk], check=True)
        ended = killed(command_of(name, disk, before, sandbox), disk, who, chance)
        told = f"{kind}: {name} {sandbox}, {ended.told}; round {at}, seed {seed}"
        try:
            in_order = who == "tool" and sandbox == "--sandbox"
            if in_order:
                check(disk, kind)  # there is nothing to recover
            with open_image(disk, version=VERSION) as image:
                compare(image, before, name, in_order, ended)
            check(disk, kind)
        except Exception as error:
            wrong.append(f"{told}: {error!r:.2000}")
    assert not wrong, "\n".join(wrong)
